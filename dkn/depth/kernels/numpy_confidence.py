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

"""`dkn.depth.confidence` in NumPy: what the compiled form is checked against, and what runs where Numba is missing."""

from __future__ import annotations

import numpy as np

from dkn.depth.grid import pixels_under

COUNT = 6
LEAST = np.float32(1e-3)
"""Relative differences below this are all alike: log of 0 is none."""


def probability(result: np.ndarray, low: np.ndarray, scale: float, coefficients: np.ndarray) -> np.ndarray:
    """Probability of each pixel.

    Args:
        result: (H, W) float32 metres, NaN = unknown.
        low: (h, w) float32 metres, NaN = unknown.
        scale: log₂ of the upsampling factor.
        coefficients: (28,) float32, of 1, the features, and their products.

    Returns:
        (H, W) float32, 0 where `result` has no depth.
    """
    found = features(result, low, scale)
    whole = np.concatenate((np.ones_like(found[..., :1]), found), axis=2)
    i, j = np.triu_indices(COUNT + 1)
    with np.errstate(over="ignore"):
        likely = 1 / (1 + np.exp(-(whole[..., i] * whole[..., j]) @ coefficients))
    return np.where(np.isfinite(result) & (result > 0), likely, 0).astype(np.float32)


def features(result: np.ndarray, low: np.ndarray, scale: float) -> np.ndarray:
    """`dkn.depth.confidence.FEATURES` of each pixel, (H, W, 6) float32; 0 where `result` has no depth."""
    known = np.isfinite(result) & (result > 0)
    depth = np.where(known, result, 1)
    row, column = map(pixels_under, result.shape, low.shape)
    padded = np.pad(np.where(np.isfinite(low) & (low > 0), low, np.nan), 1, constant_values=np.nan)
    least, most = np.full(result.shape, np.inf, np.float32), np.zeros(result.shape, np.float32)
    gap, count = depth.copy(), np.zeros(result.shape, np.float32)
    for i in range(3):
        for j in range(3):
            measured = padded[np.ix_(row + i, column + j)]
            count += np.isfinite(measured)
            least, most = np.fmin(least, measured), np.fmax(most, measured)
            gap = np.fmin(gap, np.abs(depth - measured))
    slope = np.zeros_like(depth)
    for axis in (0, 1):
        step = np.abs(np.diff(result, axis=axis))
        for side in ((1, 0), (0, 1)):
            slope = np.fmax(slope, np.pad(step, [side if k == axis else (0, 0) for k in (0, 1)], constant_values=0))
    spread = np.where(count > 0, (most - np.where(count > 0, least, 0)) / np.where(count > 0, least, 1), 1)
    found = (
        np.log(spread + LEAST),
        np.log(gap / depth + LEAST),
        np.log(slope / depth + LEAST),
        1 - count / 9,
        np.log(depth),
        np.full(result.shape, scale),
    )
    return np.where(known[..., None], np.stack(found, axis=2), 0).astype(np.float32)
