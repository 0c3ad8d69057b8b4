"""How the threads of several libraries share the cores. Imports nothing: it has to come before PyTorch."""

import os


def sleep_between_work() -> None:
    """Make OpenMP's threads sleep when they have nothing to do, unless the user has decided that already.

    They would spin for some milliseconds after each of PyTorch's operations, on cores that OpenVINO's threads want
    by then: a seventh of the frame rate on two cores. To be called before PyTorch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
