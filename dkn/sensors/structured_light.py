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

"""Structured light (Kinect v1, Xtion, PrimeSense): a projected pattern is matched in a window against a stored one.

The order of things, each of which the recordings of such cameras show (docs/sensors.md): near surfaces grow by part of
the matching window and their borders wander; disparity has noise, mostly shared by neighbours, and comes in eighths of
a pixel; there is no depth where the projector does not reach or the infrared camera does not see, nor on much that is
dark, shining, slanted or far; and few borders are free of holes.
"""

from __future__ import annotations

import numpy as np

from dkn.sensors import kinect
from dkn.sensors import toolbox as t

FOCAL = kinect.INFRARED_FOCAL / kinect.COLOR_FOCAL  # of the infrared camera, relative to that of colour
TO_CAMERA = 0.025  # metres from the colour camera to the infrared one, on the other side than the projector
RANGE = (0.4, 9.0)  # metres

NOISE = {0.0: 0.02, 1.2: 0.20, 4.0: 0.16, 12.0: 0.14, 40.0: 0.40}
"""Sigma in pixels → share: with the disparity steps a fifth is white, and a third goes on over 16 pixels."""


def structured_light(depth: t.Depth, color: t.Color, size: t.Size, focal: float, rng: np.random.Generator) -> t.Depth:
    """What such a camera measures, registered to colour.

    Args:
        depth: (H, W) float32 metres, NaN = unknown: the truth. All known depth is `dkn.sensors.CONCEIVABLE`, which
            `dkn.sensors.measure` sees to.
        color: (H, W, 3) uint8 RGB.
        size: (h, w) of the map wanted. A smaller one has points of the full one, or means.
        focal: of the colour camera, in pixels of `depth`.
        rng: source of all randomness.

    Returns:
        (h, w) float32 metres, NaN = nothing measured.
    """
    shape, unit = depth.shape, FOCAL * focal * kinect.BASELINE
    side = 1 if rng.random() < 0.5 else -1
    disparity = t.disparity_of(depth, unit)
    disparity = t.matching_window(disparity, rng.uniform(0.4, 1.3), rng.uniform(0.6, 1.5), rng.uniform(1.5, 3), rng)
    found = t.depth_of(disparity, unit, 0.01, np.inf)
    disparity += unit * np.float32(rng.uniform(0.0016, 0.0027)) * t.correlated_noise(shape, NOISE, rng)
    disparity = np.round(disparity / np.float32(kinect.STEP)) * np.float32(kinect.STEP)
    measured = t.depth_of(disparity, unit, *RANGE)

    lost = t.occluded(depth, side * focal * (kinect.BASELINE - TO_CAMERA)) | t.occluded(
        depth, -side * focal * TO_CAMERA
    )
    lost &= found > 0.95 * depth  # near surfaces that have grown cover part of what cannot be seen
    light, slant = t.brightness(color), t.facing(depth, focal)
    hazard = rng.uniform(0.0, 0.2) + 0.25 * np.clip(1 - light / rng.uniform(0.05, 0.2), 0, 1)
    hazard += rng.uniform(0, 0.5) * np.clip((light - 0.93) / 0.07, 0, 1)
    hazard += np.clip((0.35 - slant) / 0.35, 0, 1)
    hazard += np.clip((np.nan_to_num(depth) - 4) / 8, 0, 0.4)
    hazard += rng.uniform(0.0, 0.12) * t.behind_edges(found, 3)
    lost |= t.random_mask(hazard, shape, rng.uniform(3, 8), rng)
    lost = t.without_specks(lost)  # a window bridges them
    measured[lost | ~np.isfinite(depth)] = np.nan
    return t.points(measured, size) if rng.random() < 0.5 else t.means(measured, size)
