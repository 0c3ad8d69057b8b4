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

"""`dkn.geometry.points` in machine code. `numpy_points` is the same, readable."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dkn.ops.compilation import compiled
from dkn.ops.rows import in_rows

OPAQUE = np.uint32(255 << 24)
_REACH = 1 << 20  # voxels from the camera in each direction
_SPREAD = np.int64(-7046029254386353131)  # 2^64 over the golden ratio


def organised(
    depth: NDArray[np.float32], color: np.ndarray, ray_x: np.ndarray, ray_y: np.ndarray, points: np.ndarray
) -> None:
    """Arguments as of `numpy_points.organised`."""
    in_rows(_organised, len(depth), depth, color, ray_x, ray_y, points, points.view(np.uint32))


@compiled(nogil=True, error_model="numpy")
def _organised(first, last, depth, color, ray_x, ray_y, points, words):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for j in range(depth.shape[1]):
            z, x = depth[i, j], ray_x[i, j]
            points[i, j, 0] = x * z
            points[i, j, 1] = ray_y[i, j] * z
            points[i, j, 2] = z if x == x else x
            red, green, blue = np.uint32(color[i, j, 0]), np.uint32(color[i, j, 1]), np.uint32(color[i, j, 2])
            words[i, j, 4] = OPAQUE | red << np.uint32(16) | green << np.uint32(8) | blue


def voxels(points: np.ndarray, size: float) -> np.ndarray:
    """Arguments and result as of `numpy_points.voxels`."""
    slots = 1 << (2 * len(points)).bit_length()  # of a hash table, half of it free at least
    sums = np.empty((len(points), 7))  # x, y, z, red, green, blue, points
    count = _sort(points, points.view(np.uint32), 1 / np.float32(size), np.zeros(slots, np.int64), sums)
    result = np.zeros((count, points.shape[1]), np.float32)
    _divide(sums, result, result.view(np.uint32))
    return result


@compiled(nogil=True, error_model="numpy")
def _sort(points, words, per_metre, keys, sums):  # type: ignore[no-untyped-def]
    """Sums of each voxel, which is found by an open hash table with linear probing (Knuth, The Art of Computer
    Programming 3, 6.4, algorithm L); and how many voxels there are."""
    mask = len(keys) - 1
    voxel = np.empty(len(keys), np.int32)
    count, before, at = 0, np.int64(0), np.int32(0)
    for i in range(len(points)):
        if not np.isfinite(points[i, 2]):
            continue
        key = np.int64(0)
        for axis in range(3):
            step = np.floor(points[i, axis] * per_metre)
            key = key * 2 * _REACH + np.int64(min(max(step, -_REACH), _REACH - 1)) + _REACH
        key += 1  # zero: free
        if key != before:  # neighbours are often in the same
            slot = (key * _SPREAD >> np.int64(20)) & mask
            while keys[slot] != 0 and keys[slot] != key:
                slot = (slot + 1) & mask
            if keys[slot] == 0:
                keys[slot], voxel[slot] = key, count
                sums[count] = 0
                count += 1
            before, at = key, voxel[slot]
        word = words[i, 4]
        for axis in range(3):
            sums[at, axis] += points[i, axis]
            sums[at, 3 + axis] += word >> np.uint32(16 - 8 * axis) & np.uint32(255)
        sums[at, 6] += 1
    return count


@compiled(nogil=True, error_model="numpy")
def _divide(sums, result, words):  # type: ignore[no-untyped-def]
    for i in range(len(result)):
        n = sums[i, 6]
        color = OPAQUE
        for axis in range(3):
            result[i, axis] = sums[i, axis] / n
            color |= np.uint32(sums[i, 3 + axis] / n + 0.5) << np.uint32(16 - 8 * axis)
        words[i, 4] = color
