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

"""LiDAR of phones and tablets (iPhone, iPad Pro): some hundred dots that the device makes a map of 256×192 from.

The map has no holes. Its level comes from the dots, its shape from colour, through a network on the device: borders are
smeared over one to three of its pixels, lie off by as much, the same way over a region, and thin things are lost. Noise
is small, and what error there is goes from dot to dot.
"""

from __future__ import annotations

import cv2
import numpy as np

from dkn.sensors import toolbox as t

DOTS = 8.0  # pixels of the map from one dot to the next


def phone_lidar(depth: t.Depth, color: t.Color, size: t.Size, focal: float, rng: np.random.Generator) -> t.Depth:
    """What such a device gives. Arguments and result as of `structured_light`; unknown depth is filled in."""
    low = _filled(t.means(depth, size))
    if low is None:
        return np.full(size, np.nan, np.float32)
    thin = int(rng.integers(0, 2))  # what is narrower than twice this and one pixel is lost
    if thin:
        around = np.ones((2 * thin + 1,) * 2, np.uint8)
        low = cv2.morphologyEx(low, cv2.MORPH_CLOSE, around)  # near things are small values
    reach = rng.uniform(2, 6)
    off = rng.uniform(0.1, 0.9)
    low = t.displaced(low, *(off * t.smooth_noise(size, reach, rng) for _ in range(2)))
    low = cv2.GaussianBlur(low, (0, 0), rng.uniform(0.3, 1.1))
    dots = 10 ** rng.uniform(-3, -2) * t.smooth_noise(size, DOTS / 2, rng)
    slow = rng.uniform(0, 0.01) * t.smooth_noise(size, 5 * DOTS, rng)
    grain = 10 ** rng.uniform(-3.7, -2.8) * t.correlated_noise(size, {0.0: 0.5, 1.0: 0.5}, rng)
    return np.asarray(low * (1 + (dots + slow + grain)), np.float32)


def _filled(depth: t.Depth) -> t.Depth | None:
    """Unknown depth replaced by that of pixels around it, further and further away; None if there is none at all."""
    if not np.isfinite(depth).any():
        return None
    missing = ~np.isfinite(depth)
    weight, total, reach = (~missing).astype(np.float32), np.where(missing, 0, depth).astype(np.float32), 3
    result = depth.copy()
    while missing.any():
        share, mean = (cv2.blur(part, (reach, reach)) for part in (weight, total))
        found = missing & (share > 1e-6)
        result[found] = mean[found] / share[found]
        missing &= ~found
        reach = 2 * reach + 1
    return result
