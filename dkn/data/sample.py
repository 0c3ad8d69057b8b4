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
