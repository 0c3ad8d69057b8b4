"""`python -m dkn`, and the `dkn` command."""

from __future__ import annotations

import sys

from dkn.threads import sleep_between_work


def main() -> int:
    """Run one command of `dkn.cli`; returns the exit status."""
    if sys.argv[1:2] != ["train"]:  # which is PyTorch's alone: there, waiting awake is faster
        sleep_between_work()
    from dkn import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
