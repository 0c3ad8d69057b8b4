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

"""Depth and colour as a cloud of coloured points, in the layout that ROS's depth_image_proc gives them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dkn.errors import ConfigError, ImageError
from dkn.geometry.camera_model import CameraModel

try:
    from dkn.geometry import numba_points as kernels
except ImportError:  # Numba is an extra: without it, slower and the same
    from dkn.geometry import numpy_points as kernels  # type: ignore[no-redef]

POINT_FLOATS = 8
"""A point is 32 bytes: x, y, z as float32, four bytes of nothing, then blue, green, red, 255, and twelve of nothing."""


class PointCloud:
    """Makes points of depth and colour, in the camera's optical frame.

    Args:
        camera: that both images are of; its distortion is undone.
        decimation: take every so many-th pixel of every so many-th row.
        voxel_size: metres; above 0, the mean of the points in each cube of this edge length takes their place, and the
            cloud is no longer organised.

    Raises:
        ConfigError: a decimation below 1, or a negative voxel size.
    """

    def __init__(self, camera: CameraModel, decimation: int = 1, voxel_size: float = 0.0):
        if decimation < 1 or not voxel_size >= 0:
            raise ConfigError(f"decimation={decimation}, voxel_size={voxel_size}: at least 1, and not negative")
        self.camera, self.decimation, self.voxel_size = camera, decimation, voxel_size
        pick = slice(decimation // 2, None, decimation)
        self._pick = pick, pick
        self._rays = tuple(np.ascontiguousarray(ray[self._pick]) for ray in camera.rays())
        self.shape: tuple[int, int] = self._rays[0].shape
        """Rows and columns of the organised cloud. Empty where the image is smaller than half the decimation."""

    def __call__(self, depth: NDArray[np.float32], color: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The points.

        Args:
            depth: (H, W) float32 metres, NaN where unknown.
            color: (H, W, 3) uint8 RGB.
            out: (*shape, 8) float32 to write into, where zeros stay zeros.

        Returns:
            (*shape, 8) float32, a pixel without depth as NaN (its colour stays); or (N, 8) if `voxel_size` is set.

        Raises:
            ImageError: images of another size than the camera's.
        """
        size = self.camera.height, self.camera.width
        if depth.shape != size or color.shape != (*size, 3):
            raise ImageError(f"depth is {depth.shape} and colour {color.shape}; their camera has {size}")
        points = np.zeros((*self.shape, POINT_FLOATS), np.float32) if out is None else out
        x, y = self._rays
        kernels.organised(depth[self._pick], color[self._pick], x, y, points)
        return kernels.voxels(points.reshape(-1, POINT_FLOATS), self.voxel_size) if self.voxel_size else points
