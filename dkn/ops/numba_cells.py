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

"""Images as cells: what a network with p phases sees at one pixel of its features, p×p pixels side by side as channels.

Written by Numba straight into the layout that a CPU's convolutions read, in which the channels of a cell are neighbours
in memory. An image that cells do not divide is continued by its last row and column.
"""

from __future__ import annotations

import numpy as np

from dkn.ops.compilation import compiled
from dkn.ops.rows import in_rows


def color_cells(color: np.ndarray, phases: int) -> np.ndarray:
    """(H, W, 3) uint8 → (⌈H/p⌉, ⌈W/p⌉, 3p²) uint8: pixel after pixel of a cell, each with its three channels."""
    rows, columns = (-(-n // phases) for n in color.shape[:2])
    cells = np.empty((rows, columns, 3 * phases**2), np.uint8)
    in_rows(_color_cells, rows, color, phases, cells)
    return cells


def depth_cells(depth: np.ndarray, phases: int, parts: int) -> np.ndarray:
    """(C, H, W) float32, C = `NetworkConfig.depth_channels`, → (⌈H/p⌉, ⌈W/p⌉, n) float32, n = `depth_cell_size`.

    The depths of a cell; with two `parts` their leading bits, exact in bfloat16, then what remains of each; of four
    channels the second pixel by pixel too, and the last two, which are the same everywhere, once.
    """
    rows, columns = (-(-n // phases) for n in depth.shape[1:])
    cells = np.empty((rows, columns, depth_cell_size(len(depth), phases, parts)), np.float32)
    in_rows(_depth_cells, rows, depth, phases, parts, cells)
    return cells


def depth_cell_size(channels: int, phases: int, parts: int) -> int:
    """How many numbers `depth_cells` gives for a cell."""
    return phases**2 * (parts + (channels > 1)) + (2 if channels > 1 else 0)


# A row of the image at a time, for all of its cells: it is read in the order in which it lies.


@compiled(nogil=True)
def _color_cells(first, last, color, phases, cells):  # type: ignore[no-untyped-def]
    height, width, _ = color.shape
    for row in range(first, last):
        for dy in range(phases):
            line = color[min(phases * row + dy, height - 1)]
            for column in range(cells.shape[1]):
                cell = cells[row, column]
                for dx in range(phases):
                    x, i = min(phases * column + dx, width - 1), 3 * (phases * dy + dx)
                    cell[i], cell[i + 1], cell[i + 2] = line[x, 0], line[x, 1], line[x, 2]


@compiled(nogil=True)
def _depth_cells(first, last, depth, phases, parts, cells):  # type: ignore[no-untyped-def]
    channels, height, width = depth.shape
    area = phases * phases
    leading, rest = np.empty(width, np.float32), np.empty(width, np.float32)
    bits = leading.view(np.uint32)
    for row in range(first, last):
        for dy in range(phases):
            y = min(phases * row + dy, height - 1)
            leading[:] = depth[0, y]
            if parts == 2:
                for x in range(width):
                    bits[x] &= np.uint32(0xFFFF0000)
                for x in range(width):
                    rest[x] = depth[0, y, x] - leading[x]
            for column in range(cells.shape[1]):
                cell = cells[row, column]
                for dx in range(phases):
                    x, i = min(phases * column + dx, width - 1), phases * dy + dx
                    cell[i] = leading[x]
                    if parts == 2:
                        cell[area + i] = rest[x]
                    if channels > 1:
                        cell[parts * area + i] = depth[1, y, x]
        if channels > 1:
            for column in range(cells.shape[1]):
                cells[row, column, (parts + 1) * area] = depth[2, 0, 0]
                cells[row, column, (parts + 1) * area + 1] = depth[3, 0, 0]
