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

"""`dkn.depth.confidence` compiled."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from dkn.depth.kernels.numpy_confidence import COUNT, LEAST
from dkn.ops.compilation import compiled


@compiled(nogil=True)
def probability(result: np.ndarray, low: np.ndarray, scale: float, coefficients: np.ndarray) -> np.ndarray:
    """(H, W) float32, 0 where `result` has no depth; arguments as of `numpy_confidence.probability`."""
    height, width = result.shape
    out = np.zeros((height, width), np.float32)
    found = np.empty(COUNT + 1, np.float32)
    found[0] = 1
    for y in range(height):
        for x in range(width):
            if not (result[y, x] > 0 and math.isfinite(result[y, x])):
                continue
            _of_pixel(result, low, scale, y, x, found[1:])
            total, k = np.float32(0), 0
            for i in range(COUNT + 1):
                for j in range(i, COUNT + 1):
                    total += coefficients[k] * found[i] * found[j]
                    k += 1
            out[y, x] = 1 / (1 + math.exp(-total))
    return out


@compiled(nogil=True)
def features(result: np.ndarray, low: np.ndarray, scale: float) -> np.ndarray:
    """(H, W, 6) float32; arguments as of `numpy_confidence.features`."""
    height, width = result.shape
    out = np.zeros((height, width, COUNT), np.float32)
    for y in range(height):
        for x in range(width):
            if result[y, x] > 0 and math.isfinite(result[y, x]):
                _of_pixel(result, low, scale, y, x, out[y, x])
    return out


@njit(inline="always")
def _of_pixel(result, low, scale, y, x, out):  # type: ignore[no-untyped-def]
    height, width = result.shape
    rows, columns = low.shape
    row, column = (2 * y + 1) * rows // (2 * height), (2 * x + 1) * columns // (2 * width)
    depth = result[y, x]
    least, most, gap, count = np.float32(np.inf), np.float32(0), depth, 0
    for i in range(max(row - 1, 0), min(row + 2, rows)):
        for j in range(max(column - 1, 0), min(column + 2, columns)):
            measured = low[i, j]
            if measured > 0 and math.isfinite(measured):
                count += 1
                least, most = min(least, measured), max(most, measured)
                gap = min(gap, abs(depth - measured))
    slope = np.float32(0)
    if y > 0 and math.isfinite(result[y - 1, x]):
        slope = max(slope, abs(depth - result[y - 1, x]))
    if y + 1 < height and math.isfinite(result[y + 1, x]):
        slope = max(slope, abs(depth - result[y + 1, x]))
    if x > 0 and math.isfinite(result[y, x - 1]):
        slope = max(slope, abs(depth - result[y, x - 1]))
    if x + 1 < width and math.isfinite(result[y, x + 1]):
        slope = max(slope, abs(depth - result[y, x + 1]))
    spread = (most - least) / least if count else np.float32(1)
    out[0] = math.log(spread + LEAST)
    out[1] = math.log(gap / depth + LEAST)
    out[2] = math.log(slope / depth + LEAST)
    out[3] = 1 - count / 9
    out[4] = math.log(depth)
    out[5] = scale
