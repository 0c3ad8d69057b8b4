"""The one type that every data set gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

NEAR = 1.0
METRES_PER_LEVEL = 0.015
"""Sets that are not metric (disparity, scaled depth: grey levels 0 to 255) are put at the depths of a room, level 0 at
`NEAR`, level 255 at 4.8 m, where our networks learnt to see: the median image of the training half of NYU v2 reaches
from 1.0 to 4.8 m. Errors are reported in levels again, and an affine map does not change those of linear methods."""


@dataclass(frozen=True)
class Sample:
    """A colour image with the true depth of each of its pixels."""

    color: np.ndarray
    """(H, W, 3) uint8 RGB."""
    depth: np.ndarray
    """(H, W) float32 metres, for sets that are not metric by `from_levels`; NaN where unknown."""
    name: str
    measured: np.ndarray | None = None
    """(H, W) float32 as `depth`: what a sensor gave, in sets that have it. The network's input is then made from this,
    and `depth` is only what its output is compared with."""

    @property
    def source(self) -> np.ndarray:
        """The map that low-resolution input is made from."""
        return self.depth if self.measured is None else self.measured

    def cropped(self, multiple: int) -> Sample:
        """Without the rows at the bottom and the columns at the right that `multiple` does not divide."""
        height, width = (n - n % multiple or n for n in self.depth.shape)
        return self.part(slice(height), slice(width))

    def part(self, rows: slice, columns: slice) -> Sample:
        """A rectangle of it."""
        measured = None if self.measured is None else self.measured[rows, columns]
        return Sample(self.color[rows, columns], self.depth[rows, columns], self.name, measured)


class Dataset(Protocol):
    """A sequence of samples, and how errors on it are reported."""

    name: str
    unit: str
    """What an RMSE is printed in: cm, or levels of 0 to 255."""
    unit_scale: float
    """An error in depth times this is in `unit`."""
    border: int
    """Pixels at each side that an error does not count (the paper's protocol)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class InMetres:
    """What the sets have in common whose errors are reported in centimetres."""

    unit = "cm"
    unit_scale = 100.0
    border = 6


class InLevels:
    """What the sets have in common that the paper reports "scaled to the range [0, 255]" (Table 2)."""

    unit = "levels"
    unit_scale = 1 / METRES_PER_LEVEL
    border = 6


def from_levels(levels: np.ndarray) -> np.ndarray:
    """(H, W) grey levels 0 to 255, NaN where unknown → float32 metres, see `METRES_PER_LEVEL`."""
    return (NEAR + METRES_PER_LEVEL * levels.astype(np.float64)).astype(np.float32)
