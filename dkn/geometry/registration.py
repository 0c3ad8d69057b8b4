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

"""Depth from its own camera's view to the colour camera's: lift, move, project.

The result lies on a grid as coarse as the depth camera sees, not on colour's pixels: there, depth's pixels would be
few dots with gaps between them, through which what lies behind shows. Of several pixels that fall into one of the grid
the nearest wins. Where none does, depth is unknown, unless that place lies between two that are neighbours in the depth
image and on one surface. What only one of the two cameras sees stays unknown.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkn.errors import ConfigError, ImageError
from dkn.geometry.camera_model import CameraModel
from dkn.ops import triton_version

try:
    from dkn.geometry import numba_registration as kernels
except ImportError:  # Numba is an extra: without it, slower and the same
    from dkn.geometry import numpy_registration as kernels  # type: ignore[no-redef]

log = logging.getLogger("dkn")

RADIAL_STEPS = 4096  # of the table of a lens's radial distortion over r²: 1e-3 pixels of error for common lenses
SURFACE = 0.04
"""Neighbours whose inverse depths differ by more than this share belong to two surfaces."""


Implementation = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""`numpy_registration.register` with all but depth, which is the same in each frame."""


class Registration:
    """Registers depth images to a colour camera.

    Args:
        depth_camera, color_camera: of the images; colour's may have any size.
        depth_to_color: (4, 4), rotation and translation in metres: a point of the depth camera's frame to colour's.
        device: where it is computed: cpu, or cuda (cuda:1 …), where Triton does it if it can there.

    Attributes:
        grid: the colour camera with an image of so few pixels that they are as large as the depth camera's.

    Raises:
        ConfigError: a matrix that is no rotation and translation.
    """

    def __init__(
        self, depth_camera: CameraModel, color_camera: CameraModel, depth_to_color: np.ndarray, device: str = "cpu"
    ):
        matrix = np.asarray(depth_to_color, np.float64)
        if matrix.shape != (4, 4) or not np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-4):
            raise ConfigError("depth_to_color must be a (4, 4) matrix of a rotation and a translation")
        self.depth_camera, self.color_camera, self.depth_to_color = depth_camera, color_camera, matrix
        finer = _pixels_of_color(depth_camera, color_camera, matrix[:3, :3])
        size = (max(1, round(n / max(1.0, finer))) for n in (color_camera.width, color_camera.height))
        self.grid = color_camera.resized(*size)
        x, y = depth_camera.rays()
        # z·ray + t in colour's frame, with the ray turned beforehand
        rays = [np.ascontiguousarray(r[0] * x + r[1] * y + r[2], np.float32) for r in matrix[:3, :3]]
        max_r2 = self.grid.max_r2
        k = self.grid.radial(np.linspace(0, max_r2, RADIAL_STEPS)) if self.grid.is_distorted else np.ones(1)
        lens = np.append(k, np.nan).astype(np.float32), np.float32(max_r2)
        g = self.grid
        numbers = np.array([*matrix[:3, 3], g.fx, g.fy, g.cx, g.cy, *g.tangential], np.float32)
        known: dict[str, Any] = {"rays": rays, "lens": lens, "numbers": numbers, "surface": SURFACE}
        known["size"] = g.height, g.width
        self._on_cpu: Implementation = partial(kernels.register, **known)
        self._register: Implementation = _on_gpu(device, **known) or self._on_cpu

    def __call__(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """(h, w) float metres of the depth camera, invalid = NaN (or not positive) → (grid.height, grid.width) float32.

        Raises:
            ImageError: another size than the depth camera's.
        """
        size = self.depth_camera.height, self.depth_camera.width
        if depth.shape != size:
            raise ImageError(f"depth is {depth.shape}; its camera has {size}")
        z = np.ascontiguousarray(depth, np.float32)
        try:
            return self._register(z)
        except RuntimeError as error:  # a GPU that was lost
            if self._register is self._on_cpu:
                raise
            log.warning("Registration failed, and the processor goes on with it: %s", error)
            self._register = self._on_cpu
            return self._register(z)


def _on_gpu(device: str, **known: Any) -> Implementation | None:
    """Triton's, given all arguments of `numpy_registration.register` but depth; None if the processor has to do it."""
    if not (device.startswith("cuda") and triton_version.is_new_enough()):
        return None
    from dkn.geometry.triton_registration import Register

    if problem := _problem(device):
        log.warning("Registration on %s %s; the processor does it", device, problem)
        return None
    return Register(**known, device=device)


@cache
def _problem(device: str) -> str:
    """What is wrong with Triton's on a small made-up image: a step, a slope and holes, seen from 5 cm beside, without a
    lens and with one, which takes a kernel of its own; empty if nothing is."""
    from dkn.geometry.triton_registration import Register

    y, x = np.mgrid[:48, :64].astype(np.float32)
    depth = 1 + 0.01 * y + (x > 30)
    depth[10:15, 20:40] = np.nan
    numbers = np.array([0.05, 0, 0.01, 50, 50, 32, 24, 0.01, -0.02, 0.01, 0.02, -0.01, 0.01], np.float32)
    rays = [(x - 32) / 50, (y - 24) / 50, np.ones_like(x)]
    known: dict[str, Any] = {"rays": rays, "numbers": numbers, "surface": SURFACE, "size": (48, 64)}
    apart = 0.0
    for radial in ([1, np.nan], [1, 0.95, 0.85, np.nan]):
        known["lens"] = np.array(radial, np.float32), np.float32(0.3)
        try:
            found = Register(**known, device=device)(depth)
        except Exception as error:  # its compiler, the driver or the GPU: many kinds, and none is worth a crash
            return f"failed with {type(error).__name__}: {error}"
        differ = ~np.isclose(found, kernels.register(depth, **known), rtol=1e-4, equal_nan=True)
        apart = max(apart, float(differ.mean()))
    # A point on the edge of a pixel may fall to either side.
    return f"differs in {apart:.1%} of the pixels" if apart > 0.01 else ""


def _pixels_of_color(depth_camera: CameraModel, color_camera: CameraModel, rotation: np.ndarray) -> float:
    """How wide a pixel of the depth camera is in colour's image, in pixels: the median over what both see far away."""
    x, y = (ray.astype(np.float64) for ray in depth_camera.rays())
    u, v = color_camera.project(np.stack([x, y, np.ones_like(x)], -1) @ rotation.T)
    area = np.abs(
        np.diff(u, axis=1)[1:] * np.diff(v, axis=0)[:, 1:] - np.diff(u, axis=0)[:, 1:] * np.diff(v, axis=1)[1:]
    )
    inside = (u >= 0) & (u < color_camera.width) & (v >= 0) & (v < color_camera.height)
    area = area[inside[1:, 1:] & np.isfinite(area)]
    if area.size:
        return math.sqrt(float(np.median(area)))
    return math.sqrt(color_camera.fx * color_camera.fy / (depth_camera.fx * depth_camera.fy))
