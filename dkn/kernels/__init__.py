"""Fast versions of what sampling.py and networks.py define, tested against these. They may need optional packages."""
