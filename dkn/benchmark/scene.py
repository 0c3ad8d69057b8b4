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

"""What is upsampled: colour and depth of a room that the project renders itself."""

from __future__ import annotations

from functools import cache

import numpy as np

from dkn.data.rendered.room import Scene
from dkn.depth.degradation import degrade

SCALE = 8


@cache
def make_scene(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Colour and low-resolution depth of a room that the project renders itself; size is (width, height)."""
    color, depth = render(size)
    whole = depth[: size[1] // SCALE * SCALE, : size[0] // SCALE * SCALE]
    return color, degrade(whole, SCALE, "bicubic", np.random.default_rng(0))


def render(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    scene = _furnished()
    return scene.render(scene.camera_pose(0.0), size)


@cache
def _furnished() -> Scene:
    return Scene()
