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

"""`dkn.geometry.points` in NumPy: the reference of the compiled one, and what runs where Numba is missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_REACH = 1 << 20  # voxels from the camera in each direction


def organised(
    depth: NDArray[np.float32], color: np.ndarray, ray_x: np.ndarray, ray_y: np.ndarray, points: np.ndarray
) -> None:
    """Write a point for each pixel.

    Args:
        depth: (h, w) float32 metres, NaN where unknown.
        color: (h, w, 3) uint8 RGB.
        ray_x, ray_y: (h, w) float32, of the ray (x, y, 1) of each pixel.
        points: (h, w, 8) float32, as `dkn.geometry.points` lays them out; zero where nothing is said about it.
    """
    np.multiply(ray_x, depth, out=points[..., 0])
    np.multiply(ray_y, depth, out=points[..., 1])
    points[..., 2] = np.where(np.isnan(ray_x), np.nan, depth)
    colors = points.view(np.uint8)[..., 16:20]
    colors[..., :3], colors[..., 3] = color[..., ::-1], 255


def voxels(points: np.ndarray, size: float) -> np.ndarray:
    """The mean of the points of each voxel, position and colour, in order of each voxel's first point.

    Args:
        points: (N, 8) float32; what is NaN is left out.
        size: metres.

    Returns:
        (M, 8) float32.
    """
    known = points[np.isfinite(points[:, 2])]
    where = np.clip(np.floor(known[:, :3] * (1 / np.float32(size))), -_REACH, _REACH - 1).astype(np.int64) + _REACH
    keys = (where[:, 0] * 2 * _REACH + where[:, 1]) * 2 * _REACH + where[:, 2]
    _, first, index, count = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    result = np.zeros((len(count), points.shape[1]), np.float32)
    for axis in range(3):
        result[:, axis] = (np.bincount(index, known[:, axis]) / count)[order]
    colors = np.ascontiguousarray(known).view(np.uint8)[:, 16:19]
    mean = np.stack([np.bincount(index, colors[:, c]) for c in range(3)], axis=1) / count[:, None]
    shown = result.view(np.uint8)[:, 16:20]
    shown[:, :3], shown[:, 3] = np.floor(mean[order] + 0.5), 255
    return result
