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

"""`dkn.depth.holes.validity` of one map in NumPy: serves until the same is compiled, and where Numba is missing."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dkn.depth.grid import from_middle, pixels_under
from dkn.depth.stages.base import AGREES, COLOR, KEPT, REACH
from dkn.depth.units import Depth, Mask


def upsample_validity(valid: Mask, color: NDArray[np.uint8], low: Depth, depth: Depth) -> Mask:
    """`dkn.depth.holes.validity.vote`: (h, w) bool, (H, W, 3) uint8, (h, w) and (H, W) float32 metres → (H, W) bool."""
    size, small = color.shape[:2], valid.shape
    row, column = map(pixels_under, size, small)
    down, across = map(from_middle, size, small)
    guide, colors = color.astype(np.float32), _middles(color, small)
    total, agrees = np.zeros(size, np.float32), np.zeros(size, bool)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            inside = ((row + i >= 0) & (row + i < small[0]))[:, None] & (column + j >= 0) & (column + j < small[1])
            at = (row + i).clip(0, small[0] - 1)[:, None], (column + j).clip(0, small[1] - 1)
            near = (1 - np.abs(down - i) / REACH)[:, None] * (1 - np.abs(across - j) / REACH)
            apart = np.square(guide - colors[at]).sum(axis=2) / np.float32(COLOR**2)
            weight = np.where(inside, near, 0) / (1 + apart)
            total += np.where(valid[at], weight, -weight).astype(np.float32)
            agrees |= valid[at] & (np.abs(low[at] - depth) <= AGREES * depth)
    own = valid[row[:, None], column]
    kept = (np.abs(down) < KEPT)[:, None] & (np.abs(across) < KEPT)
    return np.where(kept, own, (total > 0) & (own | agrees))


def _middles(color: NDArray[np.uint8], small: tuple[int, int]) -> NDArray[np.float32]:
    """The mean colour of the middle third of each input pixel, along both axes: (h, w, 3)."""
    sums = cv2.integral(color, sdepth=cv2.CV_64F)
    (top, bottom), (left, right) = (
        ((3 * np.arange(m) + 1) * n // (3 * m), -(-(3 * np.arange(m) + 2) * n // (3 * m)))
        for n, m in zip(color.shape[:2], small, strict=True)
    )
    corners = (sums[y[:, None], x] for y, x in ((bottom, right), (top, right), (bottom, left), (top, left)))
    all_of_it, above, beside, both = corners
    area = ((bottom - top)[:, None] * (right - left))[..., None]
    return np.asarray((all_of_it - above - beside + both) / area, np.float32)
