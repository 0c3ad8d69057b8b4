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

"""`dkn.depth.alignment` in NumPy: the reference of the compiled one, and what runs where Numba is missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dkn.depth.units import Depth


def edges_in_rows(depth: Depth, step: float, gap: int) -> NDArray[np.int64]:
    """Where depth has edges between two neighbours in a row: (n, 2), the row, and the first pixel to the right of the
    edge; row by row, from left to right.

    Neighbours are known pixels with up to `gap` unknown ones between them. With some between, the edge is the end of
    the nearer one: what a camera does not see there lies behind.

    Args:
        depth: (h, w) float32 metres, NaN (or anything not positive) = unknown.
        step: share of the nearer depth by which neighbours differ at an edge.
    """
    with np.errstate(invalid="ignore"):
        known = depth > 0
    last = np.maximum.accumulate(np.where(known, np.arange(depth.shape[1]), -1), axis=1)
    before = np.pad(last, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    y, x = np.nonzero(known & (before >= 0))
    left = before[y, x]
    one, other = depth[y, left], depth[y, x]
    edge = (x - left <= gap + 1) & (np.abs(one - other) > np.float32(step) * np.minimum(one, other))
    return np.stack([y, np.where(one < other, left + 1, x)], 1)[edge]


def edges_in_columns(depth: Depth, step: float, gap: int) -> NDArray[np.int64]:
    """The same between neighbours in a column: the first pixel below the edge, and the column; row by row of the lower
    neighbour."""
    found = edges_in_rows(np.ascontiguousarray(depth.T), step, gap)[:, ::-1]
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def add_windows(image: NDArray[np.uint8], at: NDArray[np.int64], total: NDArray[np.int64]) -> None:
    """Add to `total` (n, n) the parts of an image of this size whose first pixels are `at` (m, 2), as (row, column)."""
    for y in range(total.shape[0]):
        for x in range(total.shape[1]):
            total[y, x] += image[at[:, 0] + y, at[:, 1] + x].sum(dtype=np.int64)
