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

"""`dkn.depth.resample` compiled: holes, and what is held to the range of its surroundings."""

from __future__ import annotations

import math

import numpy as np

from dkn.depth.grid import cubic_taps, pixels_under
from dkn.depth.kernels.numpy_resample import extremes
from dkn.depth.stages.base import OVERSHOOT
from dkn.depth.units import Depth, Mask
from dkn.ops.compilation import compiled
from dkn.ops.rows import in_rows


def fill_holes(depth: Depth, valid: Mask) -> Depth:
    """`dkn.depth.resample.fill_holes` of one map: (h, w) float32, (h, w) bool → (h, w) float32."""
    filled = np.where(valid, depth, np.float32(0))
    _fill(filled, valid)
    return filled


def _fill(depth: Depth, valid: Mask) -> None:
    """In place; `depth` is zero where not valid."""
    if max(depth.shape) == 1 or valid.all():
        return
    coarse, known = _down(depth, valid)
    _fill(coarse, known)
    _up(coarse, valid, depth)


@compiled(nogil=True, error_model="numpy")
def _down(depth, valid):  # type: ignore[no-untyped-def]
    """The mean of what is valid of 2×2 pixels, and whether anything is."""
    height, width = depth.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    coarse, known = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.bool_)
    for i in range(rows):
        # Beyond the end a row or column counts twice, which changes no mean.
        y, below = 2 * i, min(2 * i + 1, height - 1)
        for j in range(columns):
            x, right = 2 * j, min(2 * j + 1, width - 1)
            total = depth[y, x] + depth[y, right] + depth[below, x] + depth[below, right]
            count = np.int32(valid[y, x]) + np.int32(valid[y, right]) + np.int32(valid[below, x])
            count += np.int32(valid[below, right])
            known[i, j] = count > 0
            coarse[i, j] = total / np.float32(max(count, 1))
    return coarse, known


@compiled(nogil=True, error_model="numpy")
def _up(coarse, valid, depth):  # type: ignore[no-untyped-def]
    """Write the bilinear value of the coarser level where nothing is valid."""
    height, width = depth.shape
    rows, columns = coarse.shape
    near, far = np.float32(0.75), np.float32(0.25)
    for y in range(height):
        i = y // 2
        k = min(max(i + 2 * (y % 2) - 1, 0), rows - 1)  # the row on the other side
        for x in range(width):
            if not valid[y, x]:
                j = x // 2
                m = min(max(j + 2 * (x % 2) - 1, 0), columns - 1)
                upper = near * coarse[i, j] + far * coarse[i, m]
                depth[y, x] = near * upper + far * (near * coarse[k, j] + far * coarse[k, m])


def local_range(depth: Depth, valid: Mask, radius: tuple[int, int]) -> np.ndarray:
    """`dkn.depth.resample.local_range` of one map.

    Args:
        depth, valid: (h, w) float32 and bool.
        radius: rows and columns on either side.

    Returns:
        (2, h, w) float32: the least and the largest value that is allowed.
    """
    bounds = extremes(depth, valid, radius)
    in_rows(_widen, bounds.shape[1], bounds, np.float32(OVERSHOOT))
    return bounds


@compiled(nogil=True)
def _widen(first, last, bounds, overshoot):  # type: ignore[no-untyped-def]
    for y in range(first, last):
        for x in range(bounds.shape[2]):
            low, high = bounds[0, y, x], bounds[1, y, x]
            margin = overshoot * (high - low)
            # Downwards by no more than that share of the depth itself: next to a far wall a near pixel stays positive.
            bounds[0, y, x] = low - min(margin, overshoot * max(low, np.float32(0)))
            bounds[1, y, x] = high + margin


def resize_bicubic(image: Depth, size: tuple[int, int]) -> Depth:
    """`dkn.depth.resample.resize_bicubic` of one map: (h, w) float32 → (H, W) float32."""
    if image.shape == size:
        return image
    wide = np.empty((image.shape[0], size[1]), np.float32)
    in_rows(_resize_across, len(wide), image, *cubic_taps(image.shape[1], size[1]), wide)
    resized = np.empty(size, np.float32)
    in_rows(_resize_down, len(resized), wide, *cubic_taps(image.shape[0], size[0]), resized)
    return resized


@compiled(nogil=True)
def _resize_across(first, last, image, pixels, weights, out):  # type: ignore[no-untyped-def]  # Numba infers them
    for y in range(first, last):
        for x in range(out.shape[1]):
            total = np.float32(0)
            for k in range(pixels.shape[1]):
                total += weights[x, k] * image[y, pixels[x, k]]
            out[y, x] = total


@compiled(nogil=True)
def _resize_down(first, last, image, pixels, weights, out):  # type: ignore[no-untyped-def]  # Numba infers them
    for y in range(first, last):
        line = out[y]
        line[:] = np.float32(0)
        for k in range(pixels.shape[1]):
            weight = weights[y, k]
            if weight != 0:
                above = image[pixels[y, k]]
                for x in range(len(line)):
                    line[x] += weight * above[x]


def clamp(result: Depth, low: Depth, high: Depth, unit: float = 1.0, start: float = 0.0) -> Depth:
    """`dkn.depth.resample.clamp` of one map: (H, W), and bounds (h, w), float32."""
    rows, columns = map(pixels_under, result.shape, low.shape)
    clamped = np.empty_like(result)
    in_rows(_clamp, len(result), result, np.float32(unit), np.float32(start), low, high, rows, columns, clamped)
    return clamped


def within(depth: Depth, least: float, most: float) -> Mask:
    """`dkn.depth.stages.pytorch.validity` of one map."""
    valid = np.empty(depth.shape, np.bool_)
    in_rows(_within, len(depth), depth, np.float32(least), np.float32(most), valid)
    return valid


@compiled(nogil=True)
def _within(first, last, depth, least, most, valid):  # type: ignore[no-untyped-def]  # Numba infers them
    for y in range(first, last):
        for x in range(depth.shape[1]):
            value = depth[y, x]  # all are False for NaN
            valid[y, x] = (value > 0) & (value >= least) & (value <= most) & (value < np.float32(np.inf))


def compile_all() -> None:
    """So that no frame waits for it."""
    low, valid = np.ones((2, 2), np.float32), np.array([[True, False], [True, True]])
    bounds = local_range(fill_holes(low, valid), valid, (1, 1))
    clamp(resize_bicubic(low, (6, 6)), *bounds)
    within(low, 0.0, math.inf)


@compiled(nogil=True)
def _clamp(first, last, result, unit, start, low, high, rows, columns, out):  # type: ignore[no-untyped-def]
    width = result.shape[1]
    least, most = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(first, last):
        i = rows[y]
        if y == first or i != rows[y - 1]:
            for x in range(width):
                least[x], most[x] = low[i, columns[x]], high[i, columns[x]]
        for x in range(width):
            value = result[y, x] * unit + start
            out[y, x] = least[x] if value < least[x] else most[x] if value > most[x] else value
