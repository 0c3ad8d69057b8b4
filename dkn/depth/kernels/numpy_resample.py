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

"""`dkn.depth.resample` of one map, in NumPy and OpenCV: serves until the same is compiled, and without Numba."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from dkn.depth.grid import cubic_taps, pixels_under
from dkn.depth.stages.base import OVERSHOOT
from dkn.depth.units import Depth, Mask
from dkn.ops.rows import in_rows


def fill_holes(depth: Depth, valid: Mask) -> Depth:
    """(h, w) float32, (h, w) bool → (h, w) float32."""
    filled = np.where(valid, depth, np.float32(0))
    if max(depth.shape) == 1 or valid.all():
        return filled
    even = [(0, n % 2) for n in depth.shape]
    total, count = (_of_four(np.pad(m, even)) for m in (filled, valid.astype(np.float32)))
    coarse = fill_holes(total / np.maximum(count, 1), count > 0)
    rows, columns = coarse.shape
    finer = cv2.resize(coarse, (2 * columns, 2 * rows), interpolation=cv2.INTER_LINEAR)
    return np.where(valid, filled, np.asarray(finer[: depth.shape[0], : depth.shape[1]], np.float32))


def _of_four(image: np.ndarray) -> np.ndarray:
    """The sum of each 2×2 pixels."""
    return np.asarray(image[::2, ::2] + image[::2, 1::2] + image[1::2, ::2] + image[1::2, 1::2])


def resize_bicubic(image: Depth, size: tuple[int, int]) -> Depth:
    """(h, w) float32 → (H, W) float32."""
    if image.shape == size:
        return image
    down, across = (_matrix(*lengths) for lengths in zip(image.shape, size, strict=True))
    return np.asarray(down @ (image @ across.T), np.float32)


def _matrix(size: int, other: int) -> np.ndarray:
    """`cubic_taps` as a matrix (other, size)."""
    pixels, weights = cubic_taps(size, other)
    matrix = np.zeros((other, size), np.float32)
    np.add.at(matrix, (np.arange(other)[:, None], pixels), weights)
    return matrix


def local_range(depth: Depth, valid: Mask, radius: tuple[int, int]) -> np.ndarray:
    """(h, w) float32 and bool, rows and columns on either side → (2, h, w) float32: what is allowed."""
    low, high = extremes(depth, valid, radius)
    margin = np.float32(OVERSHOOT) * (high - low)
    return np.stack((low - np.minimum(margin, np.float32(OVERSHOOT) * np.maximum(low, 0)), high + margin))


def clamp(result: Depth, low: Depth, high: Depth, unit: float = 1.0, start: float = 0.0) -> Depth:
    """(H, W), and bounds (h, w), float32."""
    rows, columns = map(pixels_under, result.shape, low.shape)
    least, most = (bound[rows[:, None], columns] for bound in (low, high))
    return np.clip(result * np.float32(unit) + np.float32(start), least, most)


def within(depth: Depth, least: float, most: float) -> Mask:
    """(h, w) → bool: positive, finite, and within these metres."""
    limits = np.float32(least), np.float32(most)
    return (depth > 0) & (depth >= limits[0]) & (depth <= limits[1]) & (depth < np.float32(np.inf))


def extremes(depth: Depth, valid: Mask, radius: tuple[int, int]) -> np.ndarray:
    """(2, h, w): the least and the largest depth within `radius` of each pixel, of those that are valid; where none is,
    of all."""
    found = _extremes(depth, valid, radius)
    unknown = found[0] > found[1]
    return np.where(unknown, _extremes(depth, np.ones_like(valid), radius), found) if unknown.any() else found


def _extremes(depth: Depth, valid: Mask, radius: tuple[int, int]) -> np.ndarray:
    """The same; the first above the second where none is valid."""
    window = np.ones([2 * r + 1 for r in radius], np.uint8)
    found = np.empty((2, *depth.shape), np.float32)

    def some_of_both(first: int, last: int) -> None:
        for i in range(first, last):
            nothing, extreme = ((np.inf, cv2.erode), (-np.inf, cv2.dilate))[i]
            some: Any = np.where(valid, depth, np.float32(nothing))
            extreme(some, window, found[i])

    in_rows(some_of_both, 2)
    return found
