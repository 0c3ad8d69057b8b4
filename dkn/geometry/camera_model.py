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

"""A camera: pinhole and lens distortion, as in OpenCV's calibration and ROS's camera_info.

All models are one formula here. A point (x, y) of the plane z = 1 comes to

    x' = x·k(r²) + 2·p1·x·y + p2·(r² + 2x²) + s1·r² + s2·r⁴
    y' = y·k(r²) + p1·(r² + 2y²) + 2·p2·x·y + s3·r² + s4·r⁴,    r² = x² + y²

with k a polynomial (plumb_bob), a ratio of two (rational_polynomial), or θ(1 + k1·θ² + …)/r with θ = atan r
(equidistant, OpenCV's fisheye, which has no p and s).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dkn.errors import ConfigError

Array = NDArray[np.float64]

MODELS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (0, 8, 12), "equidistant": (0, 4)}
"""Distortion models by the name that camera_info gives them, and how many coefficients each may have."""

_STEPS = 20  # of Newton's method; five do for common lenses
_CONVERGED = 1e-10  # in units of the focal length
_RADIUS = 4.0  # of the plane z = 1 that is searched for where a lens folds its image: a view of 150 degrees


@dataclass(frozen=True)
class CameraModel:
    """Equal cameras are equal objects, so that what is computed for one can be kept until the calibration changes.

    Args:
        width, height: of its image in pixels.
        fx, fy, cx, cy: focal lengths and principal point in pixels.
        model: one of `MODELS`.
        distortion: its coefficients in OpenCV's order; none: no distortion.

    Raises:
        ConfigError: another model or number of coefficients, or numbers that describe no camera.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: str = "plumb_bob"
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ConfigError(f"distortion model {self.model!r}: choose one of {', '.join(MODELS)}")
        if len(self.distortion) not in MODELS[self.model]:
            allowed = " or ".join(str(count) for count in MODELS[self.model])
            raise ConfigError(f"{self.model} has {allowed} coefficients, not {len(self.distortion)}")
        numbers = self.fx, self.fy, self.cx, self.cy, *self.distortion
        if not all(map(math.isfinite, numbers)) or min(self.fx, self.fy, self.width, self.height) <= 0:
            raise ConfigError(f"{self}: sizes and focal lengths must be positive, and all numbers finite")

    @property
    def is_distorted(self) -> bool:
        """Whether it is more than a pinhole."""
        return self.model == "equidistant" or any(self.distortion)

    def resized(self, width: int, height: int) -> CameraModel:
        """The same view in an image of another size."""
        sx, sy = width / self.width, height / self.height
        return dataclasses.replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
        )

    def cropped(self, x: int, y: int, width: int, height: int) -> CameraModel:
        """The part of the view whose first pixel is (x, y)."""
        return dataclasses.replace(self, width=width, height=height, cx=self.cx - x, cy=self.cy - y)

    def radial(self, r2: Array) -> Array:
        """k(r²)."""
        k = (*self.distortion, *[0.0] * 12)
        if self.model == "equidistant":
            r = np.sqrt(np.maximum(r2, 1e-16))
            theta = np.arctan(r)
            t2 = theta * theta
            return np.asarray(theta * (1 + t2 * (k[0] + t2 * (k[1] + t2 * (k[2] + t2 * k[3])))) / r)
        above = 1 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]))
        return above / (1 + r2 * (k[5] + r2 * (k[6] + r2 * k[7]))) if self.model == "rational_polynomial" else above

    @property
    def tangential(self) -> tuple[float, ...]:
        """p1, p2, s1, s2, s3, s4."""
        if self.model == "equidistant" or not self.distortion:
            return (0.0,) * 6
        return (*self.distortion[2:4], *(self.distortion[8:12] or (0.0,) * 4))

    @cached_property
    def max_r2(self) -> float:
        """r² from which on the polynomial leads back into the image: such points are not seen."""
        r = np.linspace(0, _RADIUS, 4096)
        image = r * self.radial(r * r)
        falling = np.flatnonzero(~(np.diff(image) > 0))  # NaN too
        return float(r[falling[0]] ** 2) if falling.size else _RADIUS**2

    def distort(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Points of the plane z = 1 to where the lens shows them, both in units of the focal length; NaN beyond
        `max_r2`."""
        r2 = x * x + y * y
        k = np.where(r2 <= self.max_r2, self.radial(r2), np.nan)
        p1, p2, s1, s2, s3, s4 = self.tangential
        return (
            x * k + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + r2 * (s1 + s2 * r2),
            y * k + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + r2 * (s3 + s4 * r2),
        )

    def project(self, points: Array) -> tuple[Array, Array]:
        """(…, 3) metres in the camera's frame → u, v (…) in pixels; NaN for what lies behind it or cannot be seen."""
        z = np.where(points[..., 2] > 0, points[..., 2], np.nan)
        x, y = points[..., 0] / z, points[..., 1] / z
        if self.is_distorted:
            x, y = self.distort(x, y)
        return self.fx * x + self.cx, self.fy * y + self.cy

    def rays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """x and y of the ray (x, y, 1) through each pixel, each (H, W); NaN where no ray leads to a pixel.

        Computed once for a calibration."""
        return self._rays

    @cached_property
    def _rays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        to_x = (np.arange(self.width) - self.cx) / self.fx
        to_y = (np.arange(self.height) - self.cy) / self.fy
        x, y = np.meshgrid(to_x, to_y)
        if self.is_distorted:
            x, y = self.undistort(x, y)
        return x.astype(np.float32), y.astype(np.float32)

    def undistort(self, x: Array, y: Array) -> tuple[Array, Array]:
        """The inverse of `distort`, by Newton's method; NaN where there is none."""
        goal_x, goal_y = x, y
        r = np.maximum(np.hypot(x, y), 1e-9)
        # An equidistant lens shows about the angle, whose tangent is sought; the others about that itself.
        start = np.tan(np.minimum(r, 1.5)) if self.model == "equidistant" else r
        shrunk = np.minimum(start, 0.99 * math.sqrt(self.max_r2)) / r
        x, y = x * shrunk, y * shrunk
        h = 1e-6
        with np.errstate(invalid="ignore", divide="ignore"):
            for _ in range(_STEPS):
                at_x, at_y = self.distort(x, y)
                dx_x, dy_x = self.distort(x + h, y)
                dx_y, dy_y = self.distort(x, y + h)
                a, b, c, d = ((one - at) / h for one, at in ((dx_x, at_x), (dx_y, at_x), (dy_x, at_y), (dy_y, at_y)))
                miss_x, miss_y = goal_x - at_x, goal_y - at_y
                determinant = a * d - b * c
                x, y = x + (d * miss_x - b * miss_y) / determinant, y + (a * miss_y - c * miss_x) / determinant
                if not np.nanmax(np.hypot(miss_x, miss_y), initial=0.0) > _CONVERGED:
                    break
            at_x, at_y = self.distort(x, y)
            good = np.hypot(goal_x - at_x, goal_y - at_y) < 1e-6
        return np.where(good, x, np.nan), np.where(good, y, np.nan)
