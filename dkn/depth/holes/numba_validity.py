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

"""`dkn.depth.holes.validity` compiled. Only the input pixels beside a border are looked at, those of a row together, so
that their votes are vector instructions."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dkn.depth.grid import from_middle
from dkn.depth.stages.base import AGREES, COLOR, KEPT, REACH
from dkn.depth.units import Depth, Mask
from dkn.ops.compilation import compiled

Row = NDArray[np.float32]
CHANNELS = 3


def upsample_validity(valid: Mask, color: NDArray[np.uint8], low: Depth, depth: Depth) -> Mask:
    """`dkn.depth.holes.validity.vote` of one map.

    Args:
        valid: (h, w) bool, neither all True nor all False.
        color: (H, W, 3) uint8.
        low: (h, w) float32 metres.
        depth: (H, W) float32 metres.

    Returns:
        (H, W) bool.
    """
    around = np.ones((3, 3), np.uint8)
    bits = valid.view(np.uint8)
    mixed = cv2.dilate(bits, around) != cv2.erode(bits, around)  # another kind is among the eight neighbours
    needed = cv2.dilate(mixed.view(np.uint8), around).view(bool)  # those, and their neighbours
    colors = np.zeros((*valid.shape, CHANNELS), np.float32)
    _middles(color, needed, colors)
    result = np.empty(color.shape[:2], np.bool_)
    places = (*_places(color.shape[0], valid.shape[0]), *_places(color.shape[1], valid.shape[1]))
    _vote(valid, color, low, depth, mixed, colors, *places, REACH, COLOR, KEPT, AGREES, result)
    return result


def compile_all() -> None:
    """So that no frame with a hole waits for it."""
    known, depth = np.array([[True, False], [True, True]]), np.ones((6, 6), np.float32)
    upsample_validity(known, np.zeros((6, 6, 3), np.uint8), np.ones((2, 2), np.float32), depth)


def _places(size: int, low: int) -> tuple[NDArray[np.int64], Row]:
    """Along one axis: the first pixel whose centre lies in each input pixel, and the end; and how far each pixel lies
    from the middle of its input pixel, in input pixels."""
    return -(-2 * size * np.arange(low + 1) // low) // 2, from_middle(size, low)


@compiled(nogil=True, error_model="numpy")
def _vote(
    valid: Mask,
    color: NDArray[np.uint8],
    low: Depth,
    depth: Depth,
    mixed: Mask,
    colors: NDArray[np.float32],
    tops: NDArray[np.int64],
    down: Row,
    lefts: NDArray[np.int64],
    across: Row,
    reach: float,
    level: float,
    kept: float,
    agrees: float,
    result: Mask,
) -> None:
    """Write the result of `vote`. `colors`: (h, w, 3) of `_middles`; the rest of `_places`."""
    (rows, columns), width = valid.shape, len(across)
    # Of the pixels of a row that are looked at: where they are, their colour, the sum of the votes; of the input pixels
    # around each: colour, and weight along the row, negative if unknown.
    places, own, line = np.empty(width, np.int64), np.empty(width, np.bool_), np.empty(width, np.bool_)
    parents = np.empty(width, np.int64)
    row, total = np.empty((CHANNELS, width), np.float32), np.empty(width, np.float32)
    others = np.empty((3, 3, CHANNELS + 1, width), np.float32)
    scale = np.float32(1 / (level * level))
    for i in range(rows):
        count = 0
        for j in range(columns):
            for x in range(lefts[j], lefts[j + 1]):
                line[x], parents[x] = valid[i, j], j
                if mixed[i, j]:
                    places[count], own[count] = x, abs(across[x]) < kept
                    count += 1
        for y in range(tops[i], tops[i + 1]):
            for x in range(width):
                result[y, x] = line[x]
        if count == 0:
            continue
        for k in range(max(i - 1, 0), min(i + 2, rows)):
            _collect(valid[k], colors[k], mixed[i], lefts, across, np.float32(reach), others[k - i + 1])
        for y in range(tops[i], tops[i + 1]):
            for n in range(count):
                x = places[n]
                row[0, n], row[1, n], row[2, n] = color[y, x, 0], color[y, x, 1], color[y, x, 2]
            for n in range(count):
                total[n] = 0
            for k in range(max(i - 1, 0), min(i + 2, rows)):
                near = np.float32(1) - abs(down[y] - np.float32(k - i)) / np.float32(reach)
                for m in range(3):
                    _add(row, others[k - i + 1, m], near, scale, total[:count])
            middle = abs(down[y]) < kept
            for n in range(count):
                x = places[n]
                if not (middle and own[n]):
                    result[y, x] = total[n] > 0 and (
                        result[y, x] or _agrees(valid, low, i, parents[x], depth[y, x], np.float32(agrees))
                    )


@compiled(nogil=True, error_model="numpy")
def _collect(
    valid: Mask,
    colors: NDArray[np.float32],
    mixed: Mask,
    lefts: NDArray[np.int64],
    across: Row,
    reach: np.float32,
    out: NDArray[np.float32],
) -> None:
    """What the input pixels of one row say: out[m] of those one to the left, in the same column, and to the right."""
    columns = len(valid)
    for m in range(3):
        n = 0
        for j in range(columns):
            if not mixed[j]:
                continue
            other = j + m - 1
            inside = 0 <= other < columns
            sign = np.float32(0)
            r, g, b = np.float32(0), np.float32(0), np.float32(0)
            if inside:
                sign = np.float32(1) if valid[other] else np.float32(-1)
                r, g, b = colors[other, 0], colors[other, 1], colors[other, 2]
            for x in range(lefts[j], lefts[j + 1]):
                out[m, 0, n], out[m, 1, n], out[m, 2, n] = r, g, b
                out[m, CHANNELS, n] = sign * (np.float32(1) - abs(across[x] - np.float32(m - 1)) / reach)
                n += 1


@compiled(nogil=True, error_model="numpy")
def _add(row: Row, other: Row, near: np.float32, scale: np.float32, total: Row) -> None:
    """Add the votes of one input pixel around each pixel of a row."""
    for n in range(len(total)):
        red, green, blue = row[0, n] - other[0, n], row[1, n] - other[1, n], row[2, n] - other[2, n]
        total[n] += near * other[CHANNELS, n] / (np.float32(1) + (red * red + green * green + blue * blue) * scale)


@compiled(nogil=True)
def _agrees(valid: Mask, low: Depth, i: int, j: int, depth: np.float32, share: np.float32) -> bool:
    """Whether a depth is near one of those that were measured around input pixel i, j."""
    for y in range(max(i - 1, 0), min(i + 2, valid.shape[0])):
        for x in range(max(j - 1, 0), min(j + 2, valid.shape[1])):
            if valid[y, x] and abs(low[y, x] - depth) <= share * depth:
                return True
    return False


@compiled(nogil=True, error_model="numpy")
def _middles(color: NDArray[np.uint8], needed: Mask, means: NDArray[np.float32]) -> None:
    """Write the mean colour of the middle third of each input pixel that is needed."""
    rows, columns = needed.shape
    height, width = color.shape[0], color.shape[1]
    lefts, rights = np.empty(columns, np.int64), np.empty(columns, np.int64)
    for j in range(columns):
        lefts[j], rights[j] = (3 * j + 1) * width // (3 * columns), -(-(3 * j + 2) * width // (3 * columns))
    for i in range(rows):
        top, bottom = (3 * i + 1) * height // (3 * rows), -(-(3 * i + 2) * height // (3 * rows))
        for j in range(columns):
            if needed[i, j]:
                red, green, blue = 0, 0, 0
                for y in range(top, bottom):
                    for x in range(lefts[j], rights[j]):
                        red += color[y, x, 0]
                        green += color[y, x, 1]
                        blue += color[y, x, 2]
                area = np.float32((bottom - top) * (rights[j] - lefts[j]))
                means[i, j, 0], means[i, j, 1] = np.float32(red) / area, np.float32(green) / area
                means[i, j, 2] = np.float32(blue) / area
