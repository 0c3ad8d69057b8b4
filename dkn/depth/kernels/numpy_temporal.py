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

"""`dkn.depth.temporal` in NumPy: the reference of the compiled one, and what runs where Numba is missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dkn.depth.units import Depth


def average(
    depth: Depth,
    mean: Depth,
    still: NDArray[np.uint8],
    weight: np.float32,
    least: np.float32,
    growing: np.float32,
    result: Depth,
) -> None:
    """Write into `result` the depth (H, W), averaged with the mean before it.

    Args:
        depth, mean: (H, W) float32 metres, NaN = unknown.
        still: (H, W), other than 0 where colour is as it was.
        weight: of the mean, where it agrees entirely.
        least, growing: metres, and metres at 1 m growing with z²: beyond the sum of both nothing agrees.
    """
    difference = mean - depth
    share = difference / (least + growing * depth * depth)
    held = weight * np.maximum(1 - share * share, np.float32(0))
    held = np.where((still > 0) & np.isfinite(held), held, np.float32(0))
    result[...] = depth + held * np.where(held > 0, difference, np.float32(0))
