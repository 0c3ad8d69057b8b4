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

"""Solids and the rays that meet them: exact depth of a scene of boxes, spheres and frusta.

Camera frame: x right, y down, z forward (the optical frame of ROS). A ray is written ``o + t d`` with ``d`` scaled
to one unit along the optical axis, so that ``t`` is the z-depth itself.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Color = tuple[float, float, float]

_NEAR = 1e-3  # metres; what is closer lies behind the camera


@dataclass(frozen=True)
class Surface:
    """What a solid looks like: a texture of the scene times a tint, plus light that it gives off itself."""

    texture: str = "plain"
    tint: Color = (1.0, 1.0, 1.0)
    tile: float = 1.0  # metres that one tile of the texture covers
    glow: float = 0.0


@dataclass(frozen=True)
class Solid(ABC):
    """A solid in its own frame: ``rotation`` (3, 3) turns the own frame into the world's, ``centre`` (3,)."""

    centre: Array
    rotation: Array
    surface: Surface

    @abstractmethod
    def bounds(self) -> Array:
        """Half extents (3,) in metres of a box around the solid, in its own frame."""

    @abstractmethod
    def hit(self, o: Array, d: Sequence[Array]) -> Array:
        """The smallest t > 0 where ``o + t d`` meets the surface, inf for a miss; all in the own frame."""

    @abstractmethod
    def detail(self, p: Array) -> tuple[Array, Array, Array]:
        """Normal (3, N) and texture coordinates u, v (N,) in metres at surface points p (3, N)."""


@dataclass(frozen=True)
class Box(Solid):
    """A box with half extents ``half`` (3,) in metres; seen from within if ``inside`` (the room)."""

    half: Array
    inside: bool = False

    def bounds(self) -> Array:
        return self.half

    def hit(self, o: Array, d: Sequence[Array]) -> Array:
        # The slab method: the ray is inside the box while it is between all three pairs of planes.
        near: Array | float = -np.inf
        far: Array | float = np.inf
        with np.errstate(divide="ignore", invalid="ignore"):
            for k in range(3):
                # A ray along the planes divides by zero: infinities of the right signs.
                one, two = (-self.half[k] - o[k]) / d[k], (self.half[k] - o[k]) / d[k]
                near = np.fmax(near, np.fmin(one, two))
                far = np.fmin(far, np.fmax(one, two))
        if self.inside:
            return np.asarray(far)
        return np.where((near <= far) & (near > _NEAR), near, np.inf)

    def detail(self, p: Array) -> tuple[Array, Array, Array]:
        face = np.argmax(np.abs(p) / self.half[:, None], axis=0)
        each = np.arange(p.shape[1])
        normal = np.zeros_like(p)
        normal[face, each] = np.sign(p[face, each]) * (-1 if self.inside else 1)
        # Pictures are counted from an upper corner, so that one tile can fit its face. v runs along the
        # longer edge of a face, as the grain of wood does.
        q = np.stack([p[0] + self.half[0], p[1] + self.half[1], self.half[2] - p[2]])
        axes = np.array([sorted({0, 1, 2} - {k}, key=lambda m: float(self.half[m])) for k in range(3)])
        u, v = q[axes[face, 0], each], q[axes[face, 1], each]
        return normal, u, v


@dataclass(frozen=True)
class Sphere(Solid):
    """A sphere of ``radius`` metres."""

    radius: float

    def bounds(self) -> Array:
        return np.full(3, self.radius)

    def hit(self, o: Array, d: Sequence[Array]) -> Array:
        a = d[0] ** 2 + d[1] ** 2 + d[2] ** 2
        b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
        root = b**2 - a * (o @ o - self.radius**2)
        t = (-b - np.sqrt(np.maximum(root, 0))) / a
        return np.where((root >= 0) & (t > _NEAR), t, np.inf)

    def detail(self, p: Array) -> tuple[Array, Array, Array]:
        n = p / self.radius
        return n, np.arctan2(n[1], n[0]) * self.radius, np.arccos(np.clip(n[2], -1, 1)) * self.radius


@dataclass(frozen=True)
class Frustum(Solid):
    """A capped cone frustum along its own z axis: radius ``bottom`` at -half, ``top`` at +half (metres)."""

    bottom: float
    top: float
    half: float

    def bounds(self) -> Array:
        radius = max(self.bottom, self.top)
        return np.array([radius, radius, self.half])

    def hit(self, o: Array, d: Sequence[Array]) -> Array:
        slope = (self.top - self.bottom) / (2 * self.half)
        radius = (self.top + self.bottom) / 2 + slope * o[2]  # of the cone at the height of the origin
        # x^2 + y^2 = (radius + slope z)^2 along the ray
        a = d[0] ** 2 + d[1] ** 2 - (slope * d[2]) ** 2
        b = o[0] * d[0] + o[1] * d[1] - radius * slope * d[2]
        c = o[0] ** 2 + o[1] ** 2 - radius**2
        root = b**2 - a * c
        best = np.full(root.shape, np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.sqrt(np.maximum(root, 0))
            for sign in (-1, 1):
                t = (-b + sign * spread) / a
                # The height bound also drops the mirror cone, which lies beyond the tip.
                good = (root >= 0) & (np.abs(o[2] + t * d[2]) <= self.half) & (t > _NEAR)
                best = np.where(good & (t < best), t, best)
            for end, r in ((-self.half, self.bottom), (self.half, self.top)):
                t = (end - o[2]) / d[2]
                good = (o[0] + t * d[0]) ** 2 + (o[1] + t * d[1]) ** 2 <= r**2
                best = np.where(good & (t > _NEAR) & (t < best), t, best)
        return best

    def detail(self, p: Array) -> tuple[Array, Array, Array]:
        slope = (self.top - self.bottom) / (2 * self.half)
        around = np.hypot(p[0], p[1])
        radius = (self.top + self.bottom) / 2 + slope * p[2]
        cap = (np.abs(p[2]) > self.half - 1e-6) & (around < radius - 1e-6)
        length = math.hypot(1, slope)
        n = np.stack([p[0], p[1], -slope * around]) / (np.maximum(around, 1e-9) * length)
        n[:, cap] = 0
        n[2, cap] = np.sign(p[2, cap])
        u = np.where(cap, p[0], np.arctan2(p[1], p[0]) * max(self.bottom, self.top))
        return n, u, np.where(cap, p[1], p[2])


@dataclass(frozen=True)
class Hits:
    """What each pixel of a view sees: ``t`` (H, W) z-depth in metres, ``index`` (H, W) of the solid."""

    t: Array
    index: NDArray[np.int16]


def trace(solids: Sequence[Solid], pose: Array, x: Array, y: Array) -> Hits:
    """Nearest surface along the rays ``(x[j], y[i], 1)`` of the camera frame.

    Args:
        solids: the scene; a pixel that sees none keeps t = inf, index = -1.
        pose: (4, 4) camera to world.
        x: (W,) ascending, normalised image coordinates (u - cx) / fx of the columns.
        y: (H,) ascending, likewise of the rows.
    """
    t = np.full((len(y), len(x)), np.inf)
    index = np.full(t.shape, -1, np.int16)
    for k, solid in enumerate(solids):
        window = _window(solid, pose, x, y)
        if window is None:
            continue
        o, d = own_rays(solid, pose, x[window[1]], y[window[0]])
        new, old = solid.hit(o, d), t[window]
        nearer = new < old
        old[nearer] = new[nearer]
        index[window][nearer] = k
    return Hits(t, index)


def trace_any(solids: Sequence[Solid], pose: Array, x: Array, y: Array) -> Array:
    """The same t (H, W) for rays in any order, as a lens with distortion has them: x and y are (H, W) each. Slower."""
    t = np.full(x.shape, np.inf)
    for solid in solids:
        o = solid.rotation.T @ (pose[:3, 3] - solid.centre)
        a = solid.rotation.T @ pose[:3, :3]
        t = np.fmin(t, solid.hit(o, [a[k, 0] * x + a[k, 1] * y + a[k, 2] for k in range(3)]))
    return t


def own_rays(solid: Solid, pose: Array, x: Array, y: Array) -> tuple[Array, list[Array]]:
    """Origin (3,) and directions 3 x (H, W) of a view's rays in the frame of a solid."""
    o = solid.rotation.T @ (pose[:3, 3] - solid.centre)
    a = solid.rotation.T @ pose[:3, :3]
    return o, [(a[k, 0] * x + a[k, 2]) + (a[k, 1] * y)[:, None] for k in range(3)]


def _window(solid: Solid, pose: Array, x: Array, y: Array) -> tuple[slice, slice] | None:
    """The rows and columns in which a solid can appear, None if there are none."""
    whole = slice(0, len(y)), slice(0, len(x))
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8)
    corners = solid.centre[:, None] + solid.rotation @ (signs * solid.bounds()[:, None])
    seen = pose[:3, :3].T @ (corners - pose[:3, 3:])
    if np.all(seen[2] < _NEAR):
        return None
    if np.any(seen[2] < 0.05):  # too close to project its corners safely
        return whole
    u, v = seen[0] / seen[2], seen[1] / seen[2]
    rows = slice(int(np.searchsorted(y, v.min())), int(np.searchsorted(y, v.max(), "right")))
    columns = slice(int(np.searchsorted(x, u.min())), int(np.searchsorted(x, u.max(), "right")))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def turn(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Array:
    """Rotation (3, 3): roll about y, then pitch about x, then yaw about z (radians)."""
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    return np.asarray(about_z @ about_x @ about_y)
