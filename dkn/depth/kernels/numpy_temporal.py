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


def agreement(
    depth: Depth, mean: Depth, weight: np.float32, least: np.float32, growing: np.float32
) -> NDArray[np.float32]:
    """How far depths agree with the mean of those before them: (h, w) float32, 1 entirely, 0 not at all, or unknown.

    Args:
        depth: (h, w) float32 metres, NaN = unknown.
        mean: likewise; goes on with `depth`, as far as that agrees.
        weight: of the mean, where it agrees entirely.
        least, growing: metres, and metres at 1 m growing with z²: beyond the sum of both nothing agrees.
    """
    agrees = _agreement(depth, mean, least, growing)
    mean[...] = depth + weight * agrees * np.where(agrees > 0, mean - depth, np.float32(0))
    return agrees


def average(
    depth: Depth,
    mean: Depth,
    still: NDArray[np.uint8],
    measured: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    weight: np.float32,
    least: np.float32,
    growing: np.float32,
    result: Depth,
) -> None:
    """Write into `result` the depth (H, W), averaged with the mean before it as far as either itself or what was
    measured there agrees with the past.

    Args:
        depth, mean: (H, W) float32 metres, NaN = unknown.
        still: (H, W), other than 0 where colour is as it was.
        measured: (h, w), `agreement` of what was measured.
        rows, columns: (H,), (W,): of the pixel of `measured` that each lies in.
        weight: of the mean, where it agrees entirely.
        least, growing: as for `agreement`.
    """
    agrees = np.maximum(_agreement(depth, mean, least, growing), measured[rows[:, None], columns])
    held = np.where((still > 0) & np.isfinite(mean - depth), weight * agrees, np.float32(0))
    result[...] = depth + held * np.where(held > 0, mean - depth, np.float32(0))


def _agreement(depth: Depth, mean: Depth, least: np.float32, growing: np.float32) -> NDArray[np.float32]:
    share = (mean - depth) / (least + growing * depth * depth)
    found = np.maximum(1 - share * share, np.float32(0))
    return np.where(np.isfinite(found), found, np.float32(0))
