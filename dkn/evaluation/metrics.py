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

"""Errors of a depth map against the truth."""

from __future__ import annotations

import math

import numpy as np

FLYING = 0.05  # of the depth, from every surface
AROUND = 3  # pixels in which surfaces are looked for


def rmse(result: np.ndarray, truth: np.ndarray, border: int = 0) -> float:
    """Root mean square error in the unit of both, over pixels known in both; NaN if there is none.

    Args:
        result, truth: (H, W), NaN = unknown.
        border: pixels left out at each side.
    """
    difference = _known_differences(result, truth, border)
    return math.sqrt(float(np.mean(difference**2))) if difference.size else math.nan


def median_error(result: np.ndarray, truth: np.ndarray, border: int = 0) -> float:
    """Median absolute error over the same pixels; NaN if there is none."""
    difference = _known_differences(result, truth, border)
    return float(np.median(np.abs(difference))) if difference.size else math.nan


def _known_differences(result: np.ndarray, truth: np.ndarray, border: int) -> np.ndarray:
    inner = (slice(border, -border or None),) * 2
    difference = (result.astype(np.float64) - truth)[inner]
    return difference[np.isfinite(difference)]


def flying_pixels(result: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Which depths are further than 5 % from every true depth within 3 pixels (rows and columns): (H, W) bool. Where no
    truth is known around a pixel, it is not.

    Args:
        result, truth: (H, W) float metres, NaN = unknown.
    """
    with np.errstate(invalid="ignore"):
        rows, columns = np.nonzero(np.isfinite(result) & ~(np.abs(truth - result) <= FLYING * result))
    padded = np.pad(truth, AROUND, constant_values=np.nan)
    depth, nearest = result[rows, columns], np.full(len(rows), np.inf)
    for i in range(2 * AROUND + 1):
        for j in range(2 * AROUND + 1):
            nearest = np.fmin(nearest, np.abs(padded[rows + i, columns + j] - depth))
    found = np.zeros(truth.shape, bool)
    found[rows, columns] = np.isfinite(nearest) & (nearest > FLYING * depth)
    return found


def flying_share(result: np.ndarray, truth: np.ndarray) -> float:
    """Share of flying pixels among those known in both; NaN if there is none."""
    known = np.isfinite(result) & np.isfinite(truth)
    return float(flying_pixels(result, truth)[known].mean()) if known.any() else math.nan
