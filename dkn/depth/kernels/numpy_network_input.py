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

"""`dkn.depth.network_input` of one map in NumPy: serves until the same is compiled, and where Numba is missing."""

from __future__ import annotations

import numpy as np

from dkn.depth.stages.base import FLAT, LINES, MIXED, MIXED_EDGES, STEP
from dkn.depth.units import Depth, Mask


def mixed_pixels(depth: Depth, valid: Mask) -> float:
    """(h, w) float32 metres, finite, and (h, w) bool."""
    total, count = MIXED * MIXED_EDGES, float(MIXED_EDGES)
    for along, mask in ((depth, valid), (depth.T, valid.T)):
        every = max(1, len(along) // LINES)
        lines, known = along[::every], mask[::every]
        width = lines.shape[1] - 4
        if width < 1:
            continue
        before, left, middle, right, after = (lines[:, i : i + width] for i in range(5))
        height = np.abs(right - left)
        edge = height > np.float32(STEP) * np.minimum(left, right)
        edge &= np.maximum(np.abs(left - before), np.abs(after - right)) < np.float32(FLAT) * height
        edge &= np.logical_and.reduce([known[:, i : i + width] for i in range(5)])
        share = ((middle - left)[edge] / (right - left)[edge]).clip(0, 1)
        total, count = total + float((4 * share * (1 - share)).sum()), count + len(share)
    return total / count
