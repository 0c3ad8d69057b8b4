"""Printing what may come from a bag."""

from __future__ import annotations

import sys
from typing import TextIO


def say(text: str, file: TextIO | None = None) -> None:
    """Print; what a name in a bag might tell the terminal to do is printed as an escape sequence instead."""
    safe = "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
    print(safe, file=file or sys.stdout)
