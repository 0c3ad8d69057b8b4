"""Arguments that several commands take."""

from __future__ import annotations

import argparse


def size(text: str) -> tuple[int, int]:
    """(width, height) of an argument such as 640x480; for the `type` of argparse."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 640x480") from None
    if min(width, height) < 32:
        raise argparse.ArgumentTypeError(f"{text}: at least 32x32 is needed")
    return width, height
