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

"""Active stereo (RealSense D400, Orbbec Gemini): two infrared cameras and a projector that gives surfaces texture.

Windows of matching fatten whatever is near and leave its border ragged; what the second camera does not see has no
depth; noise grows with the square of the depth and is shared over some eight pixels; here and there a patch is matched
wrongly. The driver's spatial filter, on or off, smooths the noise further and closes small holes.
"""

from __future__ import annotations

import cv2
import numpy as np

from dkn.sensors import toolbox as t

FOCAL = 0.75  # of the depth cameras, relative to that of colour: they see more
BASELINES = (0.05, 0.095)  # metres between the two: D435, D455
TO_COLOR = 0.015  # metres from the left camera to colour
RANGE = (0.2, 10.0)  # metres

NOISE = {0.0: 0.1, 1.0: 0.38, 3.0: 0.37, 8.0: 0.15}
"""Sigma in pixels of a picture 640 wide → share of the variance."""


def active_stereo(depth: t.Depth, color: t.Color, size: t.Size, focal: float, rng: np.random.Generator) -> t.Depth:
    """What such a camera measures, aligned to colour. Arguments and result as of `structured_light`."""
    shape, baseline = depth.shape, rng.uniform(*BASELINES)
    unit = FOCAL * focal * baseline
    side = 1 if rng.random() < 0.5 else -1
    disparity = t.disparity_of(depth, unit)
    disparity = t.matching_window(disparity, rng.uniform(0.3, 1.8), rng.uniform(0.6, 1.4), rng.uniform(1.5, 4), rng)
    found = t.depth_of(disparity, unit, 0.01, np.inf)
    light, filtered = t.brightness(color), rng.random() < 0.5
    noise = {(1.5 * sigma + 0.7 if filtered else sigma): share for sigma, share in NOISE.items()}
    deviation = 0.05 * rng.uniform(0.0012, 0.0035) / baseline * (0.6 if filtered else 1.0)
    disparity += unit * np.float32(deviation) * t.correlated_noise(shape, noise, rng)
    wrong = t.random_mask(rng.uniform(0, 0.004), shape, rng.uniform(1, 3), rng)
    disparity[wrong] *= np.float32(rng.uniform(0.6, 1.5))
    disparity = np.round(disparity * 32) / np.float32(32)
    measured = t.depth_of(disparity, unit, *RANGE)

    lost = t.occluded(depth, side * FOCAL * focal * baseline)
    lost |= t.occluded(depth, -side * focal * TO_COLOR)
    lost &= found > 0.95 * depth
    hazard = rng.uniform(0, 0.15) + 0.15 * np.clip(1 - light / rng.uniform(0.04, 0.15), 0, 1)
    hazard += rng.uniform(0, 0.6) * np.clip((light - 0.93) / 0.07, 0, 1)
    hazard += np.clip((0.25 - t.facing(depth, focal)) / 0.25, 0, 1)
    hazard += rng.uniform(0, 0.1) * t.behind_edges(found, 3)
    lost |= t.random_mask(hazard, shape, rng.uniform(2, 6), rng)
    lost = t.without_specks(lost)  # a window bridges them
    measured[lost | ~np.isfinite(depth)] = np.nan
    if filtered:  # small holes take the depth beside them, the farther one
        around = np.nan_to_num(measured)
        around = np.fmax(np.roll(around, 1, 1), cv2.medianBlur(around, 3))
        small = lost & (around > 0)
        small &= cv2.erode(lost.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
        measured[small & np.isfinite(depth)] = around[small & np.isfinite(depth)]
    return t.points(measured, size) if rng.random() < 0.6 else t.means(measured, size)
