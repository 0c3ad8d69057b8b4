"""Arguments that several commands take."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def size(text: str) -> tuple[int, int]:
    """(width, height) of an argument such as 640x480; for the `type` of argparse."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 640x480") from None
    if min(width, height) < 32:
        raise argparse.ArgumentTypeError(f"{text}: at least 32x32 is needed")
    return width, height


def add_data_options(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Which data set, and where it lies."""
    parser.add_argument("--dataset", choices=names, default="nyu")
    parser.add_argument(
        "--data", type=Path, required=True, help="its file or folder (docs/data.md); synthetic: a folder to keep it in"
    )
    parser.add_argument("--unit", type=float, help="folder: metres a count; default 0.001 for 16 bits, 1 for floats")
    parser.add_argument("--depth-folder", help="folder: which sub-folder holds the depth, where there are several")
