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

"""A ray-cast indoor scene with exact depth, for demonstrations, tests and as extra training pictures.

The room holds what makes guided depth upsampling hard: thin structures (chair legs, lamp pole, ladder,
leaves), slanted planes, strong texture without depth edges (posters, rug, floor) and depth edges without
a strong colour edge (a plaster pillar before a plaster wall, wood before wood).

World frame: x right, y into the room, z up, metres, origin on the floor below the middle of the wall behind
the camera. Shapes are in ``raycast.py``, what they form in ``furniture.py``, their look in ``textures.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dkn.data.rendered.furniture import furnish
from dkn.data.rendered.raycast import Array, Hits, trace
from dkn.data.rendered.textures import SIZE, Atlas, f32, make_textures
from dkn.sensors import kinect

Intrinsics = tuple[float, float, float, float]

KINECT_SIZE = kinect.SIZE
START_NS = 1_700_000_000_000_000_000  # ROS reads a zero stamp as "no time", hence a date

_SHADOW_MAP = 384  # texels along a shadow map's edge
_SHADOW_TAN = 2.4  # tangent of a shadow map's half angle


@dataclass(frozen=True)
class RenderedFrame:
    """One registered RGB-D frame.

    Attributes:
        color: (H, W, 3) uint8, RGB.
        depth: (H, W) float32, metres, z-depth (not ray length) along the ray of the pixel's centre, exact.
        stamp_ns: time of the frame in nanoseconds.
        intrinsics: (fx, fy, cx, cy) in pixels; the centre of the first pixel has coordinates (0, 0).
        pose: (4, 4) float64, camera to world.
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    stamp_ns: int
    intrinsics: Intrinsics
    pose: Array


def intrinsics(size: tuple[int, int]) -> Intrinsics:
    """Pinhole (fx, fy, cx, cy) in pixels of a Kinect v1 scaled to ``size`` = (width, height)."""
    width, height = size
    focal = kinect.COLOR_FOCAL * width / kinect.SIZE[0]
    return focal, focal, (width - 1) / 2, (height - 1) / 2


@dataclass(frozen=True)
class _Light:
    """A point light below the ceiling and the first two moments of the depth of what it sees below it."""

    at: Array
    power: NDArray[np.float32]
    moments: NDArray[np.float32]


class Scene:
    """A furnished room. The same seed gives the same layout, textures, light and camera path.

    Attributes:
        solids: all the geometry; the first one is the room, a box seen from within.
    """

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, 0])
        self.solids, self._half = furnish(rng)
        self._atlas = Atlas(make_textures(rng))
        self._path = rng.uniform(0, 2 * math.pi, (6, 3))  # phases of the camera's sway
        self._lights = self._make_lights(rng)
        self._ambient = f32([0.32, 0.335, 0.37])

    def camera_pose(self, seconds: float) -> Array:
        """(4, 4) camera to world at a time of a hand-held camera's smooth path."""
        rates = np.array([0.11, 0.29, 0.9])[None] * 2 * math.pi
        sway = np.sin(rates * seconds + self._path)  # (6, 3)
        reach = np.array(
            [
                [0.32, 0.06, 0.006],  # position x, y, z
                [0.16, 0.05, 0.005],
                [0.07, 0.04, 0.008],
                [0.16, 0.06, 0.012],  # target x, z
                [0.10, 0.04, 0.012],
                [0.015, 0.010, 0.005],  # roll
            ]
        )
        dx, dy, dz, tx, tz, roll = (reach * sway).sum(axis=1)
        eye = np.array([dx, 0.60 + dy, 1.42 + dz])
        forward = np.array([tx, 3.2, 0.86 + tz]) - eye
        forward /= np.linalg.norm(forward)
        level = np.cross(forward, [0, 0, 1])
        level /= np.linalg.norm(level)
        down = np.cross(forward, level)
        right = math.cos(roll) * level + math.sin(roll) * down
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
        pose[:3, 3] = eye
        return pose

    def depth(self, pose: Array, size: tuple[int, int]) -> NDArray[np.float32]:
        """Exact z-depth (H, W) float32 in metres at the pixel centres of a view of ``size`` = (W, H)."""
        return trace(self.solids, pose, *self._rays(size)).t.astype(np.float32)

    def seen(self, pose: Array, size: tuple[int, int]) -> NDArray[np.int64]:
        """Which of the solids each pixel of such a view sees: (H, W) indices."""
        return np.asarray(trace(self.solids, pose, *self._rays(size)).index, np.int64)

    def render(
        self, pose: Array, size: tuple[int, int], camera: Intrinsics | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Colour (H, W, 3) uint8 and exact z-depth (H, W) float32 in metres of a view of ``size`` = (W, H); of a
        Kinect's unless the intrinsics of another ``camera`` are given.

        A pixel's colour is half of what its centre sees plus an eighth of each of its corners (the quincunx
        pattern), which smooths edges and keeps them centred on those of the depth.
        """
        x, y = self._rays(size, camera)
        centre = trace(self.solids, pose, x, y)
        colors = self._shade(centre, pose, x, y)
        x, y = self._rays(size, camera, corners=True)
        corner = self._shade(trace(self.solids, pose, x, y), pose, x, y)
        colors = 0.5 * colors + 0.125 * (corner[1:, 1:] + corner[1:, :-1] + corner[:-1, 1:] + corner[:-1, :-1])
        return (colors.clip(0, 255) + 0.5).astype(np.uint8), centre.t.astype(np.float32)

    @staticmethod
    def _rays(size: tuple[int, int], camera: Intrinsics | None = None, corners: bool = False) -> tuple[Array, Array]:
        fx, fy, cx, cy = camera or intrinsics(size)
        shift, extra = (0.5, 1) if corners else (0.0, 0)
        x: Array = (np.arange(size[0] + extra, dtype=np.float64) - shift - cx) / fx
        y: Array = (np.arange(size[1] + extra, dtype=np.float64) - shift - cy) / fy
        return x, y

    def _make_lights(self, rng: np.random.Generator) -> list[_Light]:
        """A square ceiling lamp as four points, and one weak light of the sky near each of two walls."""
        width, _, height = 2 * self._half
        middle = np.array([rng.uniform(-0.5, 0.5), rng.uniform(2.0, 2.8), height - 0.15])
        offsets = [np.array([sx * 0.3, sy * 0.3, 0]) for sx in (-1, 1) for sy in (-1, 1)]
        places = [(middle + offset, 0.62) for offset in offsets]
        places += [(np.array([s * 0.3 * width, 1.2, height - 0.2]), 0.5) for s in (-1, 1)]
        warm = np.array([1.0, 0.95, 0.87]) * rng.uniform([0.95, 0.97, 0.97], [1.05, 1.03, 1.03])
        ray = np.linspace(-_SHADOW_TAN, _SHADOW_TAN, _SHADOW_MAP)
        lights = []
        for at, power in places:
            view = np.eye(4)
            view[:3, :3] = np.diag([1, -1, -1])  # straight down
            view[:3, 3] = at
            # The room is convex and shades nothing; without it the background is the floor.
            below = np.minimum(trace(self.solids[1:], view, ray, ray).t, at[2]).astype(np.float32)
            moments = np.stack([below, below**2], axis=-1)
            moments = np.asarray(cv2.GaussianBlur(moments, (0, 0), 1.2), np.float32)
            lights.append(_Light(at, f32(power * warm), moments))
        return lights

    def _shade(self, hits: Hits, pose: Array, x: Array, y: Array) -> NDArray[np.float32]:
        """Colours (H, W, 3), 0 ... 255, of the traced pixels."""
        shape = hits.t.shape
        # Pixels are put in order of the solid they see, so that each solid fills one contiguous run.
        order = np.argsort(hits.index, axis=None, kind="stable")
        stops = np.cumsum(np.bincount(hits.index.ravel() + 1, minlength=len(self.solids) + 1))
        i, j = np.divmod(order, shape[1])
        t = hits.t.ravel()[order].astype(np.float32)
        ray = np.stack([x.astype(np.float32)[j], y.astype(np.float32)[i], np.ones_like(t)])
        pixel = np.float32(x[1] - x[0])

        normal = np.zeros((3, t.size), np.float32)
        row, u, v, level, glow = np.zeros((5, t.size), np.float32)
        tint = np.zeros((t.size, 3), np.float32)
        for k, solid in enumerate(self.solids):
            run = slice(stops[k], stops[k + 1])
            if run.start == run.stop:
                continue
            a = (solid.rotation.T @ pose[:3, :3]).astype(np.float32)
            o = (solid.rotation.T @ (pose[:3, 3] - solid.centre)).astype(np.float32)
            d = a @ ray[:, run]
            n, pu, pv = solid.detail(o[:, None] + t[run] * d)
            normal[:, run] = solid.rotation.astype(np.float32) @ n
            surface = solid.surface
            tiles = np.float32(1 / surface.tile)
            u[run], v[run] = pu * tiles, pv * tiles
            # The footprint of a pixel on the surface, between its short and its long side.
            facing = np.abs((n * d).sum(0)) / np.sqrt((d * d).sum(0))
            level[run] = t[run] * (pixel * SIZE * tiles) / np.sqrt(np.maximum(facing, 0.02))
            row[run], tint[run], glow[run] = self._atlas.row[surface.texture], surface.tint, surface.glow
        level = np.log2(np.maximum(level, np.float32(1e-3))) - np.float32(0.3)
        # cv2.remap takes pictures, not long rows.
        row, u, v, level = (each.reshape(shape) for each in (row, u, v, level))
        albedo = self._atlas.sample(row, u, v, level).reshape(-1, 3) * tint / np.float32(255)
        albedo *= albedo  # gamma 2

        point = pose[:3, :3].astype(np.float32) @ ray * t + pose[:3, 3:].astype(np.float32)
        light = self._irradiance(point.reshape(3, *shape), normal.reshape(3, *shape)).reshape(-1, 3)
        light += np.float32(2.2) * glow[:, None]
        # A soft shoulder keeps bright walls from clipping: 1 - exp(-x), then gamma 2.
        image = np.empty((t.size, 3), np.float32)
        image[order] = np.float32(255) * np.sqrt(1 - np.exp(np.float32(-1.35) * albedo * light))
        return image.reshape(*shape, 3)

    def _irradiance(self, point: NDArray[np.float32], normal: NDArray[np.float32]) -> NDArray[np.float32]:
        """Light (H, W, 3) on surface points (3, H, W): lamps with soft shadows, and ambient light."""
        # Corners of the room see less of it: an exponential stand-in for ambient occlusion.
        width, depth = self._half[:2].astype(np.float32)
        open_ = np.ones_like(point[0])
        for k, gap in ((0, width - np.abs(point[0])), (1, depth - np.abs(point[1] - depth)), (2, point[2])):
            open_ *= 1 - np.float32(0.42) * (1 - np.abs(normal[k])) * np.exp(gap / np.float32(-0.28))
        # More of it comes from above, but the ceiling gets what the floor throws back.
        bounce = np.maximum(-normal[2], 0) * point[2] * np.float32(0.5)
        total = (open_ * (1 + np.float32(0.25) * normal[2] + bounce))[..., None] * self._ambient
        # Looked up a little off the surface, so that a surface does not shade itself.
        start = point + np.float32(0.025) * normal
        scale = np.float32((_SHADOW_MAP - 1) / (2 * _SHADOW_TAN))
        middle = np.float32((_SHADOW_MAP - 1) / 2)
        for light in self._lights:
            dx, dy, dz = (np.float32(light.at[k]) - start[k] for k in range(3))
            square = dx * dx + dy * dy + dz * dz
            cosine = (dx * normal[0] + dy * normal[1] + dz * normal[2]) / np.sqrt(square)
            per_metre = scale / np.maximum(dz, np.float32(0.05))
            moments = cv2.remap(
                light.moments,
                middle - dx * per_metre,
                middle + dy * per_metre,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            # Variance shadow map (Donnelly and Lauritzen 2006): Chebyshev's bound on the visible share.
            mean = moments[..., 0]
            behind = np.maximum(dz - mean, 0)
            spread = np.maximum(moments[..., 1] - mean * mean, np.float32(2e-4))
            seen = spread / (spread + behind * behind)
            strength = np.maximum(cosine, 0) * seen * open_ / (square * np.float32(0.25) + np.float32(0.6))
            for k in range(3):
                total[..., k] += strength * light.power[k]
        return np.asarray(total, np.float32)


def render_frame(scene: Scene, index: int, size: tuple[int, int], rate_hz: float, seed: int) -> RenderedFrame:
    """Frame ``index`` of a sequence: the camera's view at index / rate_hz seconds with mild colour noise."""
    pose = scene.camera_pose(index / rate_hz)
    color, depth = scene.render(pose, size)
    rng = np.random.default_rng([seed, 1, index])
    noisy = color + rng.standard_normal(color.shape, np.float32) * np.float32(1.6)
    stamp_ns = START_NS + round(index * 1e9 / rate_hz)
    return RenderedFrame((noisy.clip(0, 255) + 0.5).astype(np.uint8), depth, stamp_ns, intrinsics(size), pose)


def render_sequence(
    frames: int = 90, size: tuple[int, int] = KINECT_SIZE, rate_hz: float = 30.0, seed: int = 0
) -> Iterator[RenderedFrame]:
    """Frames of a hand-held camera in a room, rendered one at a time.

    Args:
        frames: their number.
        size: (width, height) in pixels.
        rate_hz: frames per second.
        seed: chooses layout, textures, light, camera path and noise; the same seed gives the same frames.
    """
    scene = Scene(seed)
    for index in range(frames):
        yield render_frame(scene, index, size, rate_hz, seed)
