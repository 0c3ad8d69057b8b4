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

"""Depth that does not lie quite where colour does: calibration a little off, or stamps some milliseconds apart.

Small errors of rotation move the map, turn it, and those of focal length stretch it; an error of the baseline, and the
way a moving camera goes between two stamps, move near things more than far ones and leave slivers without depth beside
them. All of these are the same over a region, unlike noise.
"""

from __future__ import annotations

import numpy as np

from dkn.sensors import toolbox as t

SHIFT = 1.2  # deviation in pixels, of a picture 640 wide
LARGEST = 5.0
TURN = 0.003  # radians
STRETCH = 0.003
PARALLAX = 2.0  # pixels at a depth of one metre


def registration_error(depth: t.Depth, width: int, rng: np.random.Generator) -> t.Depth:
    """A depth map (H, W) moved by up to `LARGEST` pixels of a picture 640 wide; NaN where nothing came to lie.

    Args:
        depth: a picture, or part of one.
        width: of the whole picture, in pixels.
        rng: source of all randomness.
    """
    height, across = depth.shape
    unit = width / 640
    y, x = np.ogrid[:height, :across]
    # The centre of rotation and stretch lies anywhere in the picture that this is a part of.
    down, right = (np.float32(v - rng.uniform(-0.5, 0.5) * width) for v in (y - height / 2, x - across / 2))
    turn, stretch = rng.normal(0, TURN), rng.normal(0, STRETCH)
    largest = LARGEST * unit
    dx = rng.normal(0, SHIFT * unit) + stretch * right - turn * down
    dy = rng.normal(0, SHIFT * unit) + stretch * down + turn * right
    moved = t.displaced(depth, *(np.clip(d, -largest, largest).astype(np.float32) for d in (dx, dy)))
    return _seen_from_beside(moved, rng.normal(0, PARALLAX * unit)) if rng.random() < 0.5 else moved


def _seen_from_beside(depth: t.Depth, pixel_metres: float) -> t.Depth:
    """Every point moved to the right by `pixel_metres` / z, less what the median depth moves by. What is nearer hides
    what lies behind it."""
    if pixel_metres < 0:
        return _seen_from_beside(depth[:, ::-1], -pixel_metres)[:, ::-1]
    valid = np.isfinite(depth)
    if not valid.any():
        return depth
    shift = np.float32(pixel_metres) * (1 / np.where(valid, depth, np.inf) - 1 / np.float32(np.median(depth[valid])))
    column = np.rint(np.arange(depth.shape[1], dtype=np.float32) + shift).astype(np.intp)
    column = column.clip(0, depth.shape[1] - 1)
    # From the right to the left: of the points that meet in a pixel the leftmost moved furthest, so it is the nearest,
    # and the last that is written.
    result = np.full_like(depth, np.nan)
    rows = np.broadcast_to(np.arange(depth.shape[0])[:, None], depth.shape)
    result[rows[:, ::-1], column[:, ::-1]] = depth[:, ::-1]
    return result
