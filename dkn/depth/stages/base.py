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

"""The stages of a frame, and the numbers that all implementations share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

OVERSHOOT = 0.1  # how far, in local ranges, an upsampled depth may leave the values around it

OCTAVES = 4  # from a scale of 1 to 16

# Of mixed pixels:
STEP, FLAT = 0.05, 0.25  # an edge is a step of more than this share of the depth; beside it, less than that of the step
MIXED, MIXED_EDGES = 0.6, 8  # what is assumed before any edge is seen, and how many edges outweigh it
LINES = 120  # of a larger map, so many rows and columns say enough

# Of the vote about what is known:
LEAST_SCALE = 3.0
"""Factor below which, in either direction, a pixel is as valid as the input pixel that it lies in."""
REACH = 1.5
"""Input pixels at which the weight of one has fallen to zero, linearly, along either axis."""
COLOR = 25.0
"""Levels of colour, as a distance in RGB, at which it has fallen to a half."""
KEPT = 0.25
"""Input pixels on either side of the middle of one, along both axes, where nothing is changed."""
AGREES = 0.03
"""Relative difference from the nearest of the nine measured depths up to which a depth is of that surface."""

Map = Any
"""An array of NumPy on a CPU, or a tensor of PyTorch: (1, C, H, W)."""
Size = tuple[int, int]


class Prepared(NamedTuple):
    """A depth map as input of a network."""

    filled: Map
    """(N, 1, h, w) metres, without holes."""
    shown: Map
    """(N, C, H, W), C = `depth_channels` of the network; the first · unit + start are metres."""
    start: Any
    unit: Any


@dataclass(frozen=True)
class Stages:
    """The same functions by one implementation. Those of PyTorch say what they do; the others take one map at a time
    (N = 1)."""

    validity: Callable[[Map, float, float], Map]
    """`dkn.depth.stages.pytorch.validity`"""
    prepare: Callable[[Map, Map, Size, float | None, int], Prepared]
    """`dkn.depth.network_input.prepare`"""
    local_range: Callable[[Map, Map, Size, int], Map]
    """`dkn.depth.resample.local_range`"""
    finish: Callable[[Map, Prepared, Map, Map, Map, Map, bool], Map]
    """`dkn.depth.stages.pytorch.finish`"""
    known: Callable[[Map, Map, Map, Map], Map]
    """`dkn.depth.holes.validity.upsample_validity`"""


def follows_color(small: Size, size: Size) -> bool:
    """Whether the scale from (h, w) to (H, W) is large enough for what is known to end along the edges of colour."""
    return all(n >= LEAST_SCALE * m for n, m in zip(size, small, strict=True))
