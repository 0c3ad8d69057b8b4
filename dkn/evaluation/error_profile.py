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

"""Where methods err: root mean square error by the distance to depth edges, and by depth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from dkn.depth.edges import near_edges

EDGE_DISTANCES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, math.inf)  # pixels
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, math.inf)  # metres


@dataclass(frozen=True)
class Bin:
    """Pixels from `low` (inclusive) to `high`: their share of all, and each method's RMSE over them."""

    low: float
    high: float
    share: float
    rmse: Mapping[str, float]

    @property
    def label(self) -> str:
        if math.isinf(self.high):
            return f"{self.low:g} +"
        return f"{self.low:g}–{self.high:g}"

    def to_json(self) -> dict[str, Any]:
        return {"from": self.low, "to": self.high, "share": self.share, "rmse": dict(self.rmse)}


class ErrorProfile:
    """Sums over frames; every pixel that is added counts alike.

    An edge is a step of more than 5 % of the nearer depth between two neighbours in the truth (`dkn.depth.near_edges`);
    both of them have the distance 0. A frame without any edge counts as infinitely far from one.
    """

    def __init__(self, methods: Sequence[str]):
        self._by_edge_distance = _Sums(EDGE_DISTANCES, methods)
        self._by_depth = _Sums(DEPTHS, methods)

    def add(self, truth: np.ndarray, known: np.ndarray, outputs: Mapping[str, np.ndarray]) -> None:
        """One frame: `truth` (H, W) metres, NaN = unknown; `outputs` likewise, judged where `known` (H, W) is set."""
        squares = {name: (output[known].astype(np.float64) - truth[known]) ** 2 for name, output in outputs.items()}
        self._by_edge_distance.add(edge_distance(truth)[known], squares)
        self._by_depth.add(truth[known], squares)

    @property
    def by_edge_distance(self) -> list[Bin]:
        """In pixels; bins without a pixel are left out."""
        return self._by_edge_distance.bins()

    @property
    def by_depth(self) -> list[Bin]:
        """In metres of the truth; bins without a pixel are left out."""
        return self._by_depth.bins()


def edge_distance(depth: np.ndarray) -> np.ndarray:
    """(H, W) float32 pixels from each pixel to the nearest one on a depth edge, centre to centre; inf if none."""
    edges = near_edges(depth, margin=0)
    if not edges.any():
        return np.full(depth.shape, np.inf, np.float32)
    return cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


class _Sums:
    """Number of pixels and sum of squared errors in each bin."""

    def __init__(self, limits: Sequence[float], methods: Sequence[str]):
        self._limits = np.asarray(limits)
        self._counts = np.zeros(len(limits) - 1)
        self._squares = {name: np.zeros(len(limits) - 1) for name in methods}

    def add(self, values: np.ndarray, squares: Mapping[str, np.ndarray]) -> None:
        index = np.digitize(values, self._limits[1:-1])
        self._counts += np.bincount(index, minlength=len(self._counts))
        for name, each in squares.items():
            self._squares[name] += np.bincount(index, each, minlength=len(self._counts))

    def bins(self) -> list[Bin]:
        total = self._counts.sum()
        return [
            Bin(
                float(self._limits[i]),
                float(self._limits[i + 1]),
                float(count / total),
                {name: math.sqrt(squares[i] / count) for name, squares in self._squares.items()},
            )
            for i, count in enumerate(self._counts)
            if count
        ]
