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

"""`dkn.depth.network_input` compiled: whether a depth map consists of points or means."""

from __future__ import annotations

import numpy as np

from dkn.depth.stages.base import FLAT, LINES, MIXED, MIXED_EDGES, STEP
from dkn.depth.units import Depth, Mask
from dkn.ops.compilation import compiled


def mixed_pixels(depth: Depth, valid: Mask) -> float:
    """`dkn.depth.network_input.mixed_pixels` of one map: (h, w) float32 metres, finite, and (h, w) bool."""
    total, count = MIXED * MIXED_EDGES, float(MIXED_EDGES)
    for maps in ((depth, valid), (depth.T, valid.T)):
        every = max(1, len(maps[0]) // LINES)
        some, known = (np.ascontiguousarray(m[::every]) for m in maps)
        found = _edges(some, known, np.float32(STEP), np.float32(FLAT))
        total, count = total + found[0], count + found[1]
    return total / count


def compile_all() -> None:
    """So that no frame waits for it."""
    mixed_pixels(np.ones((6, 6), np.float32), np.ones((6, 6), np.bool_))


@compiled(nogil=True, error_model="numpy")
def _edges(depth, valid, step, flat):  # type: ignore[no-untyped-def]
    """Along rows: the sum of 4t(1 − t) over the edges, and how many there are."""
    total, count = 0.0, 0
    for y in range(depth.shape[0]):
        for x in range(depth.shape[1] - 4):
            left, right = depth[y, x + 1], depth[y, x + 3]
            height = abs(right - left)
            if height > step * min(left, right):
                beside = max(abs(left - depth[y, x]), abs(depth[y, x + 4] - right))
                if beside < flat * height and valid[y, x : x + 5].all():
                    share = min(max((depth[y, x + 2] - left) / (right - left), np.float32(0)), np.float32(1))
                    total += 4 * share * (1 - share)
                    count += 1
    return total, count
