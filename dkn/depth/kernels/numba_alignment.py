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

"""`dkn.depth.alignment`, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dkn.depth.units import Depth
from dkn.ops.compilation import compiled


@compiled(nogil=True, error_model="numpy")
def edges_in_rows(depth: Depth, step: float, gap: int) -> NDArray[np.int64]:
    """As `dkn.depth.kernels.numpy_alignment.edges_in_rows`."""
    height, width = depth.shape
    share = np.float32(step)
    found = np.empty((height * width, 2), np.int64)  # the system gives only what is written to
    count = 0
    for y in range(height):
        last, before = -1 - gap, np.float32(0)
        for x in range(width):
            now = depth[y, x]
            if now > np.float32(0):
                if x - last <= gap + 1 and last >= 0 and abs(now - before) > share * min(now, before):
                    found[count, 0], found[count, 1] = y, (last + 1 if before < now else x)
                    count += 1
                last, before = x, now
    return found[:count].copy()


@compiled(nogil=True, error_model="numpy")
def edges_in_columns(depth: Depth, step: float, gap: int) -> NDArray[np.int64]:
    """As `dkn.depth.kernels.numpy_alignment.edges_in_columns`, but for the order."""
    height, width = depth.shape
    share = np.float32(step)
    found = np.empty((height * width, 2), np.int64)
    last, before = np.full(width, -1), np.zeros(width, np.float32)
    count = 0
    for y in range(height):  # rows one after the other, as they lie in memory
        for x in range(width):
            now = depth[y, x]
            if now > np.float32(0):
                if last[x] >= 0 and y - last[x] <= gap + 1 and abs(now - before[x]) > share * min(now, before[x]):
                    found[count, 0], found[count, 1] = (last[x] + 1 if before[x] < now else y), x
                    count += 1
                last[x], before[x] = y, now
    return found[:count].copy()


@compiled(nogil=True, error_model="numpy")
def add_windows(image: NDArray[np.uint8], at: NDArray[np.int64], total: NDArray[np.int64]) -> None:
    """As `dkn.depth.kernels.numpy_alignment.add_windows`."""
    height, width = total.shape
    for i in range(at.shape[0]):
        top, left = at[i]
        for y in range(height):
            for x in range(width):
                total[y, x] += image[top + y, left + x]
