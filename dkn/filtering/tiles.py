"""A picture in tiles that overlap, so that what is computed tile by tile equals what the whole picture would give."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from dkn.networks import STRIDE, NetworkConfig

RECEPTIVE_RADIUS = {"fdkn": 6 * STRIDE, "dkn": 25}
"""Pixels that an output pixel looks away at most; FDKN: six 3×3 convolutions at a quarter of the size."""


class Tile(NamedTuple):
    """A rectangle to be computed, and what has to be seen for it; each (rows, columns)."""

    seen: tuple[slice, slice]
    """With its context, in the picture."""
    inner: tuple[slice, slice]
    """The rectangle, inside what is seen."""
    place: tuple[slice, slice]
    """The rectangle, in the picture."""


def context(config: NetworkConfig) -> int:
    """Pixels around a tile that decide what comes out in it: the receptive field, or the window if it is larger."""
    reach = max(RECEPTIVE_RADIUS[config.architecture], config.window // 2 + 1)
    return math.ceil(reach / STRIDE) * STRIDE


def tiles(size: tuple[int, int], edge: int, around: int) -> Iterator[Tile]:
    """Cut a picture of `size` (H, W) into tiles of `edge` pixels, row by row.

    All begin, context included, at multiples of 4, where FDKN's phases begin; and none sees an edge that is not
    the picture's own within `around` pixels.

    Args:
        edge, around: multiples of 4.
    """
    for rows in _spans(size[0], edge, around):
        for columns in _spans(size[1], edge, around):
            seen, inner, place = zip(rows, columns, strict=True)
            yield Tile(seen, inner, place)


def _spans(length: int, edge: int, around: int) -> Iterator[tuple[slice, slice, slice]]:
    for start in range(0, length, edge):
        stop = min(start + edge, length)
        first, last = max(start - around, 0), min(stop + around, length)
        yield slice(first, last), slice(start - first, stop - first), slice(start, stop)
