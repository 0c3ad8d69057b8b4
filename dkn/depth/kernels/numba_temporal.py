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

"""`dkn.depth.temporal`, compiled: one pass over the pixels each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dkn.depth.units import Depth
from dkn.ops.compilation import compiled


@compiled(nogil=True, error_model="numpy")
def agreement(
    depth: Depth, mean: Depth, weight: np.float32, least: np.float32, growing: np.float32
) -> NDArray[np.float32]:
    """As `dkn.depth.kernels.numpy_temporal.agreement`."""
    result = np.empty(depth.shape, np.float32)
    for y in range(depth.shape[0]):
        for x in range(depth.shape[1]):
            now = depth[y, x]
            difference = mean[y, x] - now
            share = difference / (least + growing * now * now)
            agrees = np.float32(1) - share * share
            some = agrees > np.float32(0)  # NaN is not
            result[y, x] = agrees if some else np.float32(0)
            mean[y, x] = now + weight * agrees * difference if some else now
    return result


@compiled(nogil=True, error_model="numpy")
def average(
    depth: Depth,
    mean: Depth,
    still: NDArray[np.uint8],
    measured: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    weight: np.float32,
    least: np.float32,
    growing: np.float32,
    result: Depth,
) -> None:
    """As `dkn.depth.kernels.numpy_temporal.average`."""
    for y in range(depth.shape[0]):
        agrees = measured[rows[y]]
        for x in range(depth.shape[1]):
            now = depth[y, x]
            difference = mean[y, x] - now
            share = difference / (least + growing * now * now)
            held = weight * max(np.float32(1) - share * share, agrees[columns[x]])
            # Of an unknown depth on either side the difference is NaN, which equals nothing.
            holds = still[y, x] != 0 and held > np.float32(0) and difference == difference
            result[y, x] = now + held * difference if holds else now
