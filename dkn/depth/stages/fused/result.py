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

"""What follows the network, for GPUs: the range of the surroundings in two launches, and with it, and where nothing is
known, the result in one, before which one more takes the colours of the input pixels."""

# What Triton compiles has no Python types.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from dkn.depth.grid import radii
from dkn.depth.stages.base import AGREES, COLOR, KEPT, OVERSHOOT, REACH, Prepared, follows_color

BLOCK = 256  # pixels of one program
FEW = 64  # of one that sums over many


def local_range(depth: Tensor, valid: Tensor, size: tuple[int, int], reach: int) -> Tensor:
    """As `dkn.depth.resample.local_range`, of one map (N = 1)."""
    depth, known = depth.contiguous(), valid.contiguous().view(torch.uint8)
    height, width = depth.shape[2:]
    radius_y, radius_x = radii((height, width), size, reach)
    in_rows, bounds = depth.new_empty((4, height, width)), depth.new_empty((1, 2, height, width))
    grid = (triton.cdiv(height * width, BLOCK),)
    with torch.cuda.device_of(depth):
        _range_in_rows[grid](in_rows, depth, known, height, width, radius_x, BLOCK=BLOCK, num_warps=4)
        _local_range[grid](bounds, in_rows, height, width, radius_y, OVERSHOOT=OVERSHOOT, BLOCK=BLOCK, num_warps=4)
    return bounds


def finish(
    result: Tensor, prepared: Prepared, bounds: Tensor, low: Tensor, valid: Tensor, color: Tensor, cut: bool
) -> Tensor:
    """As `dkn.depth.stages.pytorch.finish`."""
    if isinstance(prepared.unit, Tensor):  # of the map itself: not known to the host
        result = torch.addcmul(torch.as_tensor(prepared.start), result, prepared.unit)
        start, unit = 0.0, 1.0
    else:
        start, unit = float(prepared.start), float(prepared.unit)
    result, low, color = result.contiguous(), low.contiguous(), color.contiguous()
    height, width = result.shape[2:]
    rows, columns = valid.shape[2:]
    votes = cut and follows_color((rows, columns), (height, width))
    known = (valid.contiguous() if cut else valid.any()).view(torch.uint8)
    final = torch.empty_like(result)
    with torch.cuda.device_of(result):
        colors = middle_colors(color, rows, columns) if votes else None
        _finish[(triton.cdiv(height * width, BLOCK),)](
            final,
            result,
            bounds,
            known,
            low,
            colors,
            color,
            height,
            width,
            rows,
            columns,
            rows / height,
            columns / width,
            unit,
            start,
            CUT=cut,
            VOTES=votes,
            REACH=REACH,
            COLOR=COLOR,
            KEPT=KEPT,
            AGREES=AGREES,
            BLOCK=BLOCK,
            num_warps=4,
        )
    return final


def middle_colors(color: Tensor, rows: int, columns: int) -> Tensor:
    """(H, W, 3) uint8 → (3, rows, columns) float32: the mean over the middle third, along both axes, of each pixel of a
    smaller grid, as `dkn.depth.holes.validity.vote` takes it."""
    height, width, _ = color.shape
    colors = torch.empty((3, rows, columns), device=color.device)
    with torch.cuda.device_of(color):
        _middle_colors[(triton.cdiv(rows * columns, FEW),)](
            colors,
            color.contiguous(),
            height,
            width,
            rows,
            columns,
            height // (3 * rows) + 2,
            width // (3 * columns) + 2,
            BLOCK=FEW,
            num_warps=2,
        )
    return colors


@triton.jit(do_not_specialize=["height", "width", "radius"])
def _range_in_rows(found, depth, valid, height, width, radius, BLOCK: tl.constexpr):
    """Largest and least of what is valid within `radius` along a row, then of everything: four planes."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = pixel < height * width
    x = pixel % width
    high = tl.full((BLOCK,), float("-inf"), tl.float32)
    low = tl.full((BLOCK,), float("inf"), tl.float32)
    high_of_all = tl.full((BLOCK,), float("-inf"), tl.float32)
    low_of_all = tl.full((BLOCK,), float("inf"), tl.float32)
    for i in range(-radius, radius + 1):
        inside = mask & (x + i >= 0) & (x + i < width)
        value = tl.load(depth + pixel + i, mask=inside, other=0.0)
        known = tl.load(valid + pixel + i, mask=inside, other=0) != 0
        high_of_all = tl.where(inside, tl.maximum(high_of_all, value), high_of_all)
        low_of_all = tl.where(inside, tl.minimum(low_of_all, value), low_of_all)
        high = tl.where(known, tl.maximum(high, value), high)
        low = tl.where(known, tl.minimum(low, value), low)
    plane = height * width
    tl.store(found + pixel, high, mask=mask)
    tl.store(found + plane + pixel, low, mask=mask)
    tl.store(found + 2 * plane + pixel, high_of_all, mask=mask)
    tl.store(found + 3 * plane + pixel, low_of_all, mask=mask)


@triton.jit(do_not_specialize=["height", "width", "radius"])
def _local_range(bounds, in_rows, height, width, radius, OVERSHOOT: tl.constexpr, BLOCK: tl.constexpr):
    """The same along columns, of everything where nothing valid is near; and from it the bounds of a result."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    plane = height * width
    mask = pixel < plane
    y = pixel // width
    high = tl.full((BLOCK,), float("-inf"), tl.float32)
    low = tl.full((BLOCK,), float("inf"), tl.float32)
    high_of_all = tl.full((BLOCK,), float("-inf"), tl.float32)
    low_of_all = tl.full((BLOCK,), float("inf"), tl.float32)
    for i in range(-radius, radius + 1):
        inside = mask & (y + i >= 0) & (y + i < height)
        at = in_rows + pixel + i * width
        high = tl.maximum(high, tl.load(at, mask=inside, other=float("-inf")))
        low = tl.minimum(low, tl.load(at + plane, mask=inside, other=float("inf")))
        high_of_all = tl.maximum(high_of_all, tl.load(at + 2 * plane, mask=inside, other=float("-inf")))
        low_of_all = tl.minimum(low_of_all, tl.load(at + 3 * plane, mask=inside, other=float("inf")))
    unknown = high == float("-inf")
    high = tl.where(unknown, high_of_all, high)
    low = tl.where(unknown, low_of_all, low)
    margin = OVERSHOOT * (high - low)
    least = low - tl.minimum(margin, OVERSHOOT * tl.maximum(low, 0.0))
    tl.store(bounds + pixel, least, mask=mask)
    tl.store(bounds + plane + pixel, high + margin, mask=mask)


@triton.jit(do_not_specialize=["height", "width", "rows", "columns", "most_y", "most_x"])
def _middle_colors(colors, color, height, width, rows, columns, most_y, most_x, BLOCK: tl.constexpr):
    """`middle_colors` of a block of pixels; no middle is larger than most_y × most_x."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = pixel < rows * columns
    row = pixel // columns
    column = pixel % columns
    top = (3 * row + 1) * height // (3 * rows)
    bottom = ((3 * row + 2) * height + 3 * rows - 1) // (3 * rows)
    left = (3 * column + 1) * width // (3 * columns)
    right = ((3 * column + 2) * width + 3 * columns - 1) // (3 * columns)
    red = tl.zeros((BLOCK,), tl.float32)
    green = tl.zeros((BLOCK,), tl.float32)
    blue = tl.zeros((BLOCK,), tl.float32)
    for i in range(most_y):
        for j in range(most_x):
            inside = mask & (top + i < bottom) & (left + j < right)
            at = color + ((top + i) * width + left + j) * 3
            red += tl.load(at, mask=inside, other=0).to(tl.float32)
            green += tl.load(at + 1, mask=inside, other=0).to(tl.float32)
            blue += tl.load(at + 2, mask=inside, other=0).to(tl.float32)
    area = ((bottom - top) * (right - left)).to(tl.float32)
    plane = rows * columns
    tl.store(colors + pixel, red / area, mask=mask)
    tl.store(colors + plane + pixel, green / area, mask=mask)
    tl.store(colors + 2 * plane + pixel, blue / area, mask=mask)


@triton.jit
def _nearest(pixel, scale, length):
    """Along one axis: the input pixel that a centre lies in, as PyTorch's "nearest-exact" finds it."""
    return tl.minimum(((pixel.to(tl.float32) + 0.5) * scale).to(tl.int32), length - 1)


@triton.jit
def _place(pixel, size, small, KEPT: tl.constexpr):
    """Along one axis: the input pixel that a centre lies in, how far from the middle of that, in input pixels, and
    whether that is less than KEPT. The last is exact: at six times the size, say, some centres lie just there."""
    at = (2 * pixel + 1) * small
    index = at // (2 * size)
    beside = (at - 2 * size * index - size).to(tl.float32)
    return index, beside / (2 * size), tl.abs(beside) < 2 * KEPT * size


@triton.jit(do_not_specialize=["height", "width", "rows", "columns"])
def _finish(
    final,
    result,
    bounds,
    valid,
    low,
    colors,
    color,
    height,
    width,
    rows,
    columns,
    scale_y,  # input pixels for one of the result
    scale_x,
    unit,
    start,
    CUT: tl.constexpr,
    VOTES: tl.constexpr,
    REACH: tl.constexpr,
    COLOR: tl.constexpr,
    KEPT: tl.constexpr,
    AGREES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A block of pixels: metres, bounds, and what is known. Without CUT, `valid` is one value for all."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = pixel < height * width
    y = pixel // width
    x = pixel % width
    parent = _nearest(y, scale_y, rows) * columns + _nearest(x, scale_x, columns)
    least = tl.load(bounds + parent, mask=mask, other=0.0)
    most = tl.load(bounds + rows * columns + parent, mask=mask, other=0.0)
    metres = tl.load(result + pixel, mask=mask, other=0.0) * unit + start
    # By comparisons that NaN fails: what is none stays none.
    metres = tl.where(metres < least, least, metres)
    metres = tl.where(metres > most, most, metres)
    if VOTES:
        known = _vote(
            metres, valid, low, colors, color + pixel * 3, y, x, mask,
            height, width, rows, columns, REACH, COLOR, KEPT, AGREES, BLOCK,
        )  # fmt: skip
    elif CUT:
        known = tl.load(valid + parent, mask=mask, other=0) != 0
    else:
        known = tl.zeros((BLOCK,), tl.uint8) + tl.load(valid) != 0
    tl.store(final + pixel, tl.where(known, metres, float("nan")), mask=mask)


@triton.jit
def _vote(
    metres,
    valid,
    low,
    colors,
    color,
    y,
    x,
    mask,
    height,
    width,
    rows,
    columns,
    REACH: tl.constexpr,
    COLOR: tl.constexpr,
    KEPT: tl.constexpr,
    AGREES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """`dkn.depth.holes.validity.vote` of a block of pixels."""
    row, down, kept_y = _place(y, height, rows, KEPT)
    column, across, kept_x = _place(x, width, columns, KEPT)
    red = tl.load(color, mask=mask, other=0).to(tl.float32)
    green = tl.load(color + 1, mask=mask, other=0).to(tl.float32)
    blue = tl.load(color + 2, mask=mask, other=0).to(tl.float32)
    plane = rows * columns
    total = tl.zeros((BLOCK,), tl.float32)
    agrees = tl.zeros((BLOCK,), tl.int32)
    for i in tl.static_range(-1, 2):
        for j in tl.static_range(-1, 2):
            inside = mask & (row + i >= 0) & (row + i < rows) & (column + j >= 0) & (column + j < columns)
            # As at the border, where nobody is there: without a vote, but of a depth that may agree.
            at = tl.minimum(tl.maximum(row + i, 0), rows - 1) * columns
            at += tl.minimum(tl.maximum(column + j, 0), columns - 1)
            near = (1 - tl.abs(down - i) / REACH) * (1 - tl.abs(across - j) / REACH)
            apart_red = red - tl.load(colors + at, mask=mask, other=0.0)
            apart_green = green - tl.load(colors + plane + at, mask=mask, other=0.0)
            apart_blue = blue - tl.load(colors + 2 * plane + at, mask=mask, other=0.0)
            apart = apart_red * apart_red + apart_green * apart_green + apart_blue * apart_blue
            weight = tl.where(inside, near, 0.0) / (1 + apart / (COLOR * COLOR))
            measured = tl.load(valid + at, mask=mask, other=0) != 0
            total += tl.where(measured, weight, -weight)
            close = tl.abs(tl.load(low + at, mask=mask, other=0.0) - metres) <= AGREES * metres
            agrees = tl.where(measured & close, 1, agrees)
    own = tl.load(valid + row * columns + column, mask=mask, other=0) != 0
    kept = kept_y & kept_x
    return (kept & own) | ((kept == 0) & (total > 0) & (own | (agrees != 0)))
