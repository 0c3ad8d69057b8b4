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

"""Depth cameras simulated as they work, one module a principle, from exact depth and colour."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dkn.sensors import kinect
from dkn.sensors.active_stereo import active_stereo
from dkn.sensors.phone_lidar import phone_lidar
from dkn.sensors.registration_error import registration_error
from dkn.sensors.structured_light import structured_light
from dkn.sensors.time_of_flight import time_of_flight
from dkn.sensors.toolbox import Color, Depth, Size

Sensor = Callable[[Depth, Color, Size, float, np.random.Generator], Depth]

SENSORS: dict[str, Sensor] = {
    "structured_light": structured_light,
    "active_stereo": active_stereo,
    "time_of_flight": time_of_flight,
    "phone_lidar": phone_lidar,
}
"""By name: (depth, colour, size, focal length, rng) → measured depth."""

FOCAL = kinect.COLOR_FOCAL / kinect.SIZE[0]
"""Of the colour camera, of its image's width, where nothing better is known: that of a Kinect v1 or Xtion."""
MISREGISTERED = 0.5
"""How often a registration error is added."""
CONCEIVABLE = (1e-3, 1e6)
"""Metres; what is nearer or further was not measured by anything, and its square may be no number."""


def measure(
    kind: str,
    depth: Depth,
    color: Color,
    size: Size,
    rng: np.random.Generator,
    width: int | None = None,
    misregistered: float = MISREGISTERED,
) -> Depth:
    """What a camera of this kind measures of a scene, at times with a registration error.

    Args:
        kind: one of `SENSORS`.
        depth: (H, W) float32 metres, NaN = unknown, as what is not `CONCEIVABLE`: the truth.
        color: (H, W, 3) uint8 RGB.
        size: (h, w) of the map wanted.
        rng: source of all randomness; the same state gives the same map.
        width: in pixels, of the whole picture, if this is a part of it.
        misregistered: probability of a registration error.

    Returns:
        (h, w) float32 metres, NaN = nothing measured.
    """
    width = width or depth.shape[1]
    depth = np.asarray(depth, np.float32)
    depth = np.where((depth >= CONCEIVABLE[0]) & (depth <= CONCEIVABLE[1]), depth, np.float32(np.nan))
    if rng.random() < misregistered:
        depth = registration_error(depth, width, rng)
    return SENSORS[kind](depth, color, size, FOCAL * width, rng)
