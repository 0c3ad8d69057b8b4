"""The one type that every data set gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Sample:
    """A colour image with the true depth of each of its pixels."""

    color: np.ndarray
    """(H, W, 3) uint8 RGB."""
    depth: np.ndarray
    """(H, W) float32 in the set's unit (metres for NYU v2), NaN where unknown."""
    name: str
    measured: np.ndarray | None = None
    """(H, W) float32 as `depth`: what a sensor gave, in sets that have it. The network's input is then made from this,
    and `depth` is only what its output is compared with."""

    @property
    def source(self) -> np.ndarray:
        """The map that low-resolution input is made from."""
        return self.depth if self.measured is None else self.measured


class Dataset(Protocol):
    """A sequence of samples, and how errors on it are reported."""

    name: str
    unit: str
    """What an RMSE is printed in, e.g. cm."""
    unit_scale: float
    """Depth values times this are in `unit`."""
    border: int
    """Pixels at each side that an error does not count (the paper's protocol)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...
