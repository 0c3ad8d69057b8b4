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

"""Registration judged on rendered rooms that two cameras see: exact depth of both, as their geometry has it.

Each camera pair is a product's, with rounded figures of calibrations that its users have published. Depth of the
depth camera goes through one of `ARRANGEMENTS` to colour's view, and is compared there with what colour sees.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from dkn.data.rendered.raycast import Array, trace_any
from dkn.data.rendered.room import Scene
from dkn.depth.units import Depth
from dkn.evaluation.metrics import flying_pixels
from dkn.evaluation.protocol import Method
from dkn.geometry import POINT_FLOATS, CameraModel, PointCloud, Registration
from dkn.utils.arguments import at_least_one
from dkn.utils.tables import markdown

SEEN = 0.01  # of the depth by which a point may miss what the depth camera sees there, and count as seen


@dataclass(frozen=True)
class CameraPair:
    """A depth camera and a colour camera on one body."""

    depth: CameraModel
    color: CameraModel
    baseline: float
    """Metres from colour to the left to the depth camera to the right, along x."""
    tilt: float = 0.0
    """Degrees by which the depth camera looks further down."""

    @property
    def depth_to_color(self) -> Array:
        """(4, 4)."""
        a = math.radians(self.tilt)
        matrix = np.eye(4)
        matrix[1:3, 1:3] = [[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]
        matrix[0, 3] = self.baseline
        return matrix


PAIRS = {
    "kinect_v1": CameraPair(
        CameraModel(640, 480, 586.0, 586.0, 315.0, 243.0), CameraModel(640, 480, 525.0, 525.0, 319.5, 239.5), 0.025
    ),
    "kinect_v2": CameraPair(
        CameraModel(512, 424, 366.0, 366.0, 258.6, 206.5, "plumb_bob", (0.0905, -0.2675, 0.0, 0.0, 0.0949)),
        CameraModel(960, 540, 530.0, 530.0, 479.5, 269.5, "plumb_bob", (0.045, -0.04, 0.0, 0.0, 0.0)),
        0.052,
    ),
    "azure": CameraPair(
        CameraModel(
            640, 576, 504.0, 504.0, 322.0, 332.0, "rational_polynomial", (5.9, 3.9, 0.0, 0.0, 0.2, 6.2, 5.8, 1.0)
        ),
        CameraModel(
            1280, 720, 610.0, 610.0, 639.0, 366.0, "rational_polynomial",
            (0.52, -2.7, 0.001, -0.0002, 1.55, 0.4, -2.5, 1.48),
        ),
        -0.032,
        6.0,
    ),
    "realsense_d455": CameraPair(
        CameraModel(848, 480, 430.0, 430.0, 424.0, 240.0), CameraModel(1280, 720, 645.0, 645.0, 640.0, 360.0), -0.059
    ),
}  # fmt: skip


@dataclass(frozen=True)
class TwoViews:
    """What both cameras see of a room at one moment."""

    pair: CameraPair
    color: np.ndarray
    """(H, W, 3) uint8."""
    truth: Depth
    """(H, W) metres, of colour's view."""
    depth: Depth
    """(h, w) metres, of the depth camera's."""
    exact: Depth
    """On the grid of `Registration`: as if the depth camera stood where colour's does, and saw all that it sees."""
    seen: np.ndarray
    """(H, W) bool: where the depth camera sees what colour sees."""
    hidden: np.ndarray
    """(H, W) bool: where something stands before it, in the depth camera's view."""


def frames(pair: CameraPair, rooms: int) -> Iterator[TwoViews]:
    """One of each of so many rooms."""
    register = Registration(pair.depth, pair.color, pair.depth_to_color)
    x, y = (ray.astype(np.float64) for ray in pair.color.rays())
    for seed in range(rooms):
        scene = Scene(seed)
        pose = scene.camera_pose(0.5 * seed)

        def view(camera: CameraModel, at: Array, scene: Scene = scene) -> Array:
            return trace_any(scene.solids, at, *(ray.astype(np.float64) for ray in camera.rays()))

        depth_pose = pose @ pair.depth_to_color
        truth = view(pair.color, pose)
        points = np.stack([x * truth, y * truth, truth, np.ones_like(truth)], -1) @ np.linalg.inv(pair.depth_to_color).T
        seen_x, seen_y, seen_z = np.moveaxis(points[..., :3], -1, 0)
        nearest = trace_any(scene.solids, depth_pose, seen_x / seen_z, seen_y / seen_z)
        u, v = pair.depth.project(points[..., :3])
        inside = (u > -0.5) & (u < pair.depth.width - 0.5) & (v > -0.5) & (v < pair.depth.height - 0.5)
        first = nearest > (1 - SEEN) * seen_z
        c = pair.color
        pinhole, _ = scene.render(pose, (c.width, c.height), (c.fx, c.fy, c.cx, c.cy))
        map_x, map_y = ((f * ray + at).astype(np.float32) for f, ray, at in ((c.fx, x, c.cx), (c.fy, y, c.cy)))
        color = cv2.remap(pinhole, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        depth, exact = (view(*each).astype(np.float32) for each in ((pair.depth, depth_pose), (register.grid, pose)))
        yield TwoViews(pair, color, truth.astype(np.float32), depth, exact, inside & first, inside & ~first)


def at_full_resolution(pair: CameraPair, depth: Depth) -> Depth:
    """Depth projected onto colour's pixels, each of its pixels as the rectangle between its projected corners, the
    nearest wins: depth_image_proc's register node with `fill_upsampling_holes`. (h, w) → (H, W) metres, NaN = unknown.
    """
    c, d = pair.color, pair.depth
    corners = []
    for shift in (-0.5, 0.5):
        rows, columns = np.mgrid[: d.height, : d.width] + shift
        x, y = d.undistort((columns - d.cx) / d.fx, (rows - d.cy) / d.fy)
        points = (
            np.stack([x * depth, y * depth, depth], -1) @ pair.depth_to_color[:3, :3].T + pair.depth_to_color[:3, 3]
        )
        corners.append((*c.project(points), points[..., 2]))
    (u0, v0, z), (u1, v1, _) = corners
    good = np.isfinite(u0 + v0 + u1 + v1)
    u0, v0, u1, v1 = (np.floor(np.where(good, part, -9) + 0.5) for part in (u0, v0, u1, v1))
    result = np.full((c.height, c.width), np.inf)
    for dv in range(int((v1 - v0)[good].max()) + 1):
        for du in range(int((u1 - u0)[good].max()) + 1):
            u, v = u0 + du, v0 + dv
            on = good & (u <= u1) & (v <= v1) & (u >= 0) & (u < c.width) & (v >= 0) & (v < c.height)
            np.minimum.at(result, (v[on].astype(int), u[on].astype(int)), z[on])
    return np.where(np.isfinite(result), result, np.nan).astype(np.float32)


def arrangements(upsample: Method) -> dict[str, Callable[[TwoViews], Depth]]:
    """What is compared: depth at colour's size of a frame, by name.

    Args:
        upsample: takes registered depth of any size, as `dkn.Upsampler` does.
    """

    def coarse(frame: TwoViews) -> Depth:
        return Registration(frame.pair.depth, frame.pair.color, frame.pair.depth_to_color)(frame.depth)

    return {
        "full resolution, then filled": lambda f: at_full_resolution(f.pair, f.depth),
        "ours": lambda f: _enlarged(coarse(f), f.truth.shape),
        "exact": lambda f: _enlarged(f.exact, f.truth.shape),
        "full resolution, then filled; network": lambda f: upsample(f.color, at_full_resolution(f.pair, f.depth)),
        "ours; network": lambda f: upsample(f.color, coarse(f)),
        "exact; network": lambda f: upsample(f.color, f.exact),
    }


def _enlarged(depth: Depth, size: tuple[int, ...]) -> Depth:
    """Each pixel as the one that its centre lies in."""
    return np.asarray(cv2.resize(depth, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))


@dataclass(frozen=True)
class Score:
    """Means over frames.

    Attributes:
        rmse: metres, over the pixels that all methods know.
        known: share of the pixels that the depth camera sees too.
        wrong: share of the known ones that are flying pixels (`dkn.evaluation.metrics`): on no surface near by.
        hidden_wrong: the same share of the pixels that are hidden from the depth camera, whether known or not.
    """

    rmse: float
    known: float
    wrong: float
    hidden_wrong: float


def compare(pair: CameraPair, upsample: Method, rooms: int = 2) -> dict[str, Score]:
    """Scores of each of `arrangements`, by name.

    Raises:
        ConfigError: fewer rooms than one.
    """
    at_least_one(rooms=rooms)
    methods = arrangements(upsample)
    found: dict[str, list[Score]] = {name: [] for name in methods}
    for frame in frames(pair, rooms):
        results = {name: method(frame) for name, method in methods.items()}
        everywhere = np.isfinite(sum(results.values())) & frame.seen
        for name, result in results.items():
            known = np.isfinite(result)
            wrong = flying_pixels(result, frame.truth)
            difference = (result - frame.truth)[everywhere].astype(np.float64)
            found[name].append(
                Score(
                    math.sqrt(float(np.mean(difference**2))),
                    float(known[frame.seen].mean()),
                    float(wrong[known & frame.seen].mean()),
                    float(wrong[frame.hidden].mean()),
                )
            )
    return {name: _mean(scores) for name, scores in found.items()}


def milliseconds(pair: CameraPair, runs: int = 30) -> tuple[float, float]:
    """What it costs to register a depth image, and to make points of one of colour's size: medians."""
    register, cloud = Registration(pair.depth, pair.color, pair.depth_to_color), PointCloud(pair.color)
    x, y = pair.depth.rays()
    low = (2 + np.sin(4 * x) / 3 + (y > 0)).astype(np.float32)  # waves, and a step
    high = np.full((pair.color.height, pair.color.width), 2, np.float32)
    color, points = np.zeros((*high.shape, 3), np.uint8), np.zeros((*cloud.shape, POINT_FLOATS), np.float32)
    register(low)  # the first ones compile
    cloud(high, color, points)
    seconds: list[list[float]] = [[], []]
    for _ in range(runs):
        start = time.perf_counter()
        register(low)
        between = time.perf_counter()
        cloud(high, color, points)
        seconds[0].append(between - start)
        seconds[1].append(time.perf_counter() - between)
    return 1e3 * float(np.median(seconds[0])), 1e3 * float(np.median(seconds[1]))


def _mean(scores: list[Score]) -> Score:
    rows = np.array([(s.rmse, s.known, s.wrong, s.hidden_wrong) for s in scores])
    return Score(*map(float, rows.mean(axis=0)))


def table(scores: dict[str, Score]) -> str:
    """Of one pair, in Markdown: a row for each arrangement."""
    rows = [
        (name, f"{100 * s.rmse:.2f}", f"{100 * s.known:.1f}", f"{100 * s.wrong:.2f}", f"{100 * s.hidden_wrong:.2f}")
        for name, s in scores.items()
    ]
    return markdown(["", "RMSE, cm", "known, %", "flying, %", "of the hidden, %"], rows)
