# Copyright 2026 dkn_ros maintainers
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The one type that every data set gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from dkn.depth.grid import pixels_under

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
    """(H, W) float32 as `depth`, or fewer pixels: what a sensor gave, in sets that have it. The network's input is then
    made from this, and `depth` is only what its output is compared with."""
    full_depth: np.ndarray | None = None
    """(H, W) float32: all that is known of the depth, in sets where `depth` leaves out what is hard to judge."""
    judged: np.ndarray | None = None
    """(H, W) bool: where `full_depth` is compared with if depth edges are not left out."""

    @property
    def source(self) -> np.ndarray:
        """The map that low-resolution input is made from."""
        return self.depth if self.measured is None else self.measured

    @property
    def seen(self) -> np.ndarray:
        """(H, W) bool: where `source` has depth; pixels of a coarser one cover several."""
        return np.isfinite(self.spread().source)

    def spread(self) -> Sample:
        """With a value of `measured` for each pixel of colour: where it has fewer, that of the one it lies in."""
        if self.measured is None or self.measured.shape == self.depth.shape:
            return self
        under = np.ix_(*map(pixels_under, self.depth.shape, self.measured.shape))
        return replace(self, measured=self.measured[under])

    def cropped(self, multiple: int) -> Sample:
        """Without the rows at the bottom and the columns at the right that `multiple` does not divide. Where a sensor
        has fewer pixels than colour nothing is cut: their ratio is what it is."""
        if self.source.shape != self.depth.shape:
            return self
        height, width = (n - n % multiple or n for n in self.depth.shape)
        return self.part(slice(height), slice(width))

    def part(self, rows: slice, columns: slice) -> Sample:
        """A rectangle of it, `spread`."""
        maps = self.spread().measured, self.full_depth, self.judged
        return Sample(
            self.color[rows, columns],
            self.depth[rows, columns],
            self.name,
            *(None if each is None else each[rows, columns] for each in maps),
        )


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


class Subset:
    """Some of a set's samples, as a set."""

    def __init__(self, whole: Dataset, indices: Sequence[int]):
        self._whole, self._indices = whole, indices
        self.name, self.unit, self.unit_scale, self.border = whole.name, whole.unit, whole.unit_scale, whole.border

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        return self._whole[self._indices[index]]


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
