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

"""`dkn.depth.resample.fill_holes` for GPUs: a small map in one launch, a large one in some more (`launches`).

The levels lie one after the other in one buffer, in which NaN is a hole. A large map goes down `AT_ONCE` levels in a
launch, each program with a tile of its own; what is left is small enough for one program, which goes down to a single
pixel and up again, with a barrier between levels; from there on, each level up is a launch.
"""

# What Triton compiles has no Python types.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

SMALL = 8192  # pixels that one program fills alone
AT_ONCE = 3  # levels that a tile goes down: `_down` writes them out
TILE = 32  # pixels along its sides
BLOCK = 256  # pixels of a program on the way up
WARPS = 16  # of the one that is alone, BLOCK_ALONE pixels at a time: it waits for memory, not for arithmetic
BLOCK_ALONE = 2048


def fill_holes(depth: Tensor, valid: Tensor) -> Tensor:
    """As `dkn.depth.resample.fill_holes`, of one map (1, 1, h, w); zeros where nothing is valid."""
    height, width = depth.shape[2:]
    depth, valid = depth.contiguous(), valid.contiguous().view(torch.uint8)
    sizes = _sizes(height, width)
    alone, starts = _alone(sizes), _starts(sizes)
    pyramid = depth.new_empty(starts[-1])
    with torch.cuda.device_of(depth):
        for level in range(0, alone, AT_ONCE):
            rows, columns = sizes[level]
            _down[triton.cdiv(rows, TILE), triton.cdiv(columns, TILE)](
                pyramid[starts[level] :],
                depth,
                valid,
                rows,
                columns,
                FIRST=level == 0,
                TILE=TILE,
                num_warps=4,
            )
        _down_and_up[(1,)](
            pyramid[starts[alone] :],
            depth,
            valid,
            *sizes[alone],
            len(sizes) - 1 - alone,
            FIRST=alone == 0,
            BLOCK=BLOCK_ALONE,
            num_warps=WARPS,
            num_stages=1,  # no load may be moved before the barrier that it waits for
        )
        for level in reversed(range(alone)):
            rows, columns = sizes[level]
            _up[(triton.cdiv(rows * columns, BLOCK),)](
                pyramid[starts[level] :], rows, columns, BLOCK=BLOCK, num_warps=4
            )
    return pyramid[: height * width].view(1, 1, height, width)


def launches(height: int, width: int) -> int:
    """How many `fill_holes` takes for a map of that size."""
    alone = _alone(_sizes(height, width))
    return triton.cdiv(alone, AT_ONCE) + 1 + alone


def _sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Rows and columns of each level, from the map itself to one pixel."""
    sizes = [(height, width)]
    while max(sizes[-1]) > 1:
        sizes.append((triton.cdiv(sizes[-1][0], 2), triton.cdiv(sizes[-1][1], 2)))
    return sizes


def _alone(sizes: list[tuple[int, int]]) -> int:
    """The first level that one program can do, among those that a launch down ends at."""
    return next(level for level in range(0, len(sizes), AT_ONCE) if sizes[level][0] * sizes[level][1] <= SMALL)


def _starts(sizes: list[tuple[int, int]]) -> list[int]:
    """Where each level begins in the buffer; last, where that ends."""
    starts = [0]
    for rows, columns in sizes:
        starts.append(starts[-1] + rows * columns)
    return starts


@triton.jit
def _coded(depth, valid, at, mask):
    """Depth, with NaN where it is not valid."""
    known = tl.load(valid + at, mask=mask, other=0) != 0
    return tl.where(known, tl.load(depth + at, mask=mask, other=0.0), float("nan"))


@triton.jit
def _halved(values, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """(2 ROWS, 2 COLUMNS) → (ROWS, COLUMNS): the mean of what is known of each 2×2, NaN where nothing is."""
    known = values == values
    total = tl.reshape(tl.where(known, values, 0.0), (ROWS, 2, COLUMNS, 2))
    count = tl.reshape(known.to(tl.float32), (ROWS, 2, COLUMNS, 2))
    total = tl.sum(tl.sum(total, axis=3), axis=1)
    count = tl.sum(tl.sum(count, axis=3), axis=1)
    return tl.where(count > 0, total / tl.maximum(count, 1.0), float("nan"))


@triton.jit
def _store_tile(level, values, height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    y = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    x = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    mask = (y < height)[:, None] & (x < width)[None, :]
    tl.store(level + y[:, None] * width + x[None, :], values, mask=mask)


@triton.jit(do_not_specialize=["height", "width"])
def _down(level, depth, valid, height, width, FIRST: tl.constexpr, TILE: tl.constexpr):
    """Of a tile, AT_ONCE levels below this one, and this one itself if it is the FIRST."""
    y = tl.program_id(0) * TILE + tl.arange(0, TILE)
    x = tl.program_id(1) * TILE + tl.arange(0, TILE)
    mask = (y < height)[:, None] & (x < width)[None, :]
    at = y[:, None] * width + x[None, :]
    if FIRST:
        values = _coded(depth, valid, at, mask)
        tl.store(level + at, values, mask=mask)
    else:
        values = tl.load(level + at, mask=mask, other=float("nan"))
    level += height * width
    height = (height + 1) // 2
    width = (width + 1) // 2
    half = _halved(values, TILE // 2, TILE // 2)
    _store_tile(level, half, height, width, TILE // 2, TILE // 2)
    level += height * width
    height = (height + 1) // 2
    width = (width + 1) // 2
    quarter = _halved(half, TILE // 4, TILE // 4)
    _store_tile(level, quarter, height, width, TILE // 4, TILE // 4)
    level += height * width
    height = (height + 1) // 2
    width = (width + 1) // 2
    _store_tile(level, _halved(quarter, TILE // 8, TILE // 8), height, width, TILE // 8, TILE // 8)


@triton.jit
def _pull(fine, coarse, start, height, width, BLOCK: tl.constexpr):
    """Fill the holes of a block of pixels of a level: the bilinear value of the level below it, which has none."""
    pixel = start + tl.arange(0, BLOCK)
    mask = pixel < height * width
    value = tl.load(fine + pixel, mask=mask, other=0.0)
    hole = mask & (value != value)
    y = tl.maximum((pixel // width).to(tl.float32) * 0.5 - 0.25, 0.0)
    x = tl.maximum((pixel % width).to(tl.float32) * 0.5 - 0.25, 0.0)
    top = y.to(tl.int32)
    left = x.to(tl.int32)
    down = y - top.to(tl.float32)
    across = x - left.to(tl.float32)
    coarse_width = (width + 1) // 2
    upper = coarse + top * coarse_width
    lower = coarse + tl.minimum(top + 1, (height + 1) // 2 - 1) * coarse_width
    right = tl.minimum(left + 1, coarse_width - 1)
    above = (1 - across) * tl.load(upper + left, mask=hole, other=0.0)
    above += across * tl.load(upper + right, mask=hole, other=0.0)
    below = (1 - across) * tl.load(lower + left, mask=hole, other=0.0)
    below += across * tl.load(lower + right, mask=hole, other=0.0)
    tl.store(fine + pixel, (1 - down) * above + down * below, mask=hole)


@triton.jit(do_not_specialize=["height", "width"])
def _up(level, height, width, BLOCK: tl.constexpr):
    """`_pull` for a block of pixels of a large level."""
    _pull(level, level + height * width, tl.program_id(0) * BLOCK, height, width, BLOCK)


@triton.jit
def _push(fine, coarse, start, height, width, BLOCK: tl.constexpr):
    """A block of pixels of the next level: the mean of what is known of the 2×2 in each, NaN where nothing is."""
    coarse_width = (width + 1) // 2
    pixel = start + tl.arange(0, BLOCK)
    mask = pixel < (height + 1) // 2 * coarse_width
    y = pixel // coarse_width * 2
    x = pixel % coarse_width * 2
    total = tl.zeros((BLOCK,), tl.float32)
    count = tl.zeros((BLOCK,), tl.float32)
    for i in tl.static_range(2):
        for j in tl.static_range(2):
            inside = mask & (y + i < height) & (x + j < width)
            value = tl.load(fine + (y + i) * width + x + j, mask=inside, other=float("nan"))
            known = value == value
            total += tl.where(known, value, 0.0)
            count += known.to(tl.float32)
    tl.store(coarse + pixel, tl.where(count > 0, total / tl.maximum(count, 1.0), float("nan")), mask=mask)


@triton.jit(do_not_specialize=["height", "width", "below"])
def _down_and_up(level, depth, valid, height, width, below, FIRST: tl.constexpr, BLOCK: tl.constexpr):
    """All of a small map in one program; below: how many levels there are below this one."""
    if FIRST:
        for start in range(0, height * width, BLOCK):
            pixel = start + tl.arange(0, BLOCK)
            mask = pixel < height * width
            tl.store(level + pixel, _coded(depth, valid, pixel, mask), mask=mask)
    tl.debug_barrier()
    rows = height
    columns = width
    for _ in range(below):
        coarse = level + rows * columns
        for start in range(0, (rows + 1) // 2 * ((columns + 1) // 2), BLOCK):
            _push(level, coarse, start, rows, columns, BLOCK)
        tl.debug_barrier()
        level = coarse
        rows = (rows + 1) // 2
        columns = (columns + 1) // 2
    # The last level is one pixel. It is a hole if all of the map is one.
    top = tl.load(level)
    tl.debug_barrier()
    tl.store(level, tl.where(top == top, top, 0.0))
    tl.debug_barrier()
    for i in range(below):
        # ⌈⌈n/2⌉/2⌉ = ⌈n/4⌉: the size of a level follows from that of the first.
        step = below - 1 - i
        rows = (height + (1 << step) - 1) >> step
        columns = (width + (1 << step) - 1) >> step
        coarse = level
        level -= rows * columns
        for start in range(0, rows * columns, BLOCK):
            _pull(level, coarse, start, rows, columns, BLOCK)
        tl.debug_barrier()
