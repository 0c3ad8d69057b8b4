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

"""`dkn.depth.network_input` for GPUs: the network's input in one launch, two where it has four channels."""

# What Triton compiles has no Python types.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from dkn.depth.resample import resize_bicubic
from dkn.depth.stages.base import FLAT, LINES, MIXED, MIXED_EDGES, OCTAVES, STEP, Prepared
from dkn.depth.stages.fused.pyramid import fill_holes

BLOCK = 256  # pixels of one program
PARTS = 64  # programs that look for edges, each with a sum of its own


def validity(low: Tensor, least: float, most: float) -> Tensor:
    """As `dkn.depth.stages.pytorch.validity`."""
    low = low.contiguous()
    valid = torch.empty_like(low, dtype=torch.bool)
    count = low.numel()
    with torch.cuda.device_of(low):
        _validity[(triton.cdiv(count, BLOCK),)](
            valid.view(torch.uint8), low, count, float(least), float(most), BLOCK=BLOCK, num_warps=4
        )
    return valid


def prepare(low: Tensor, valid: Tensor, size: tuple[int, int], depth_range: float | None, channels: int) -> Prepared:
    """As `dkn.depth.network_input.prepare`, of one map (N = 1)."""
    filled = fill_holes(low, valid)
    shrinks = any(n < m for n, m in zip(size, low.shape[2:], strict=True))
    # PyTorch's bicubic interpolation also widens its kernel. What it made is then read pixel by pixel.
    source = resize_bicubic(filled, size).contiguous() if shrinks else filled
    edges = mixed_edges(filled, valid) if channels == 4 else None
    shown = _input(source, valid, edges, size, depth_range or 1.0, channels)
    if depth_range is not None:
        return Prepared(filled, shown, 0.0, depth_range)
    depth = shown[:, :1]
    start = depth.min()
    unit = (depth.max() - start).clamp(min=1e-6)
    depth.sub_(start).div_(unit)
    return Prepared(filled, shown, start, unit)


def mixed_edges(depth: Tensor, valid: Tensor) -> Tensor:
    """Of `dkn.depth.network_input.mixed_pixels` what each of `PARTS` programs found: (2, PARTS) float32, the sums of
    4t(1 - t) over edges, and how many edges there were."""
    parts = depth.new_empty((2, PARTS))
    height, width = depth.shape[2:]
    with torch.cuda.device_of(depth):
        _mixed_edges[(PARTS,)](
            parts,
            depth.contiguous(),
            valid.contiguous().view(torch.uint8),
            height,
            width,
            STEP=STEP,
            FLAT=FLAT,
            LINES=LINES,
            PARTS=PARTS,
            BLOCK=BLOCK,
            num_warps=4,
        )
    return parts


def _input(
    source: Tensor, valid: Tensor, edges: Tensor | None, size: tuple[int, int], unit: float, channels: int
) -> Tensor:
    """(1, channels, H, W) from what is no larger than that, and for four channels from edges of `mixed_edges`."""
    height, width = size
    rows, columns = valid.shape[2:]
    octaves = math.log2(math.sqrt(height * width / (rows * columns))) / OCTAVES
    shown = source.new_empty((1, channels, height, width))
    with torch.cuda.device_of(source):
        _network_input[(triton.cdiv(height * width, BLOCK),)](
            shown,
            source,
            valid.contiguous().view(torch.uint8),
            edges,
            height,
            width,
            *source.shape[2:],
            rows,
            columns,
            source.shape[2] / height,
            source.shape[3] / width,
            rows / height,
            columns / width,
            float(unit),
            float(octaves),
            CHANNELS=channels,
            MIXED=MIXED,
            MIXED_EDGES=MIXED_EDGES,
            PARTS=PARTS,
            BLOCK=BLOCK,
            num_warps=4,
        )
    return shown


@triton.jit(do_not_specialize=["count"])
def _validity(valid, low, count, least, most, BLOCK: tl.constexpr):
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    depth = tl.load(low + pixel, mask=pixel < count, other=0.0)
    good = (depth > 0) & (depth >= least) & (depth <= most) & (depth < float("inf"))
    tl.store(valid + pixel, good.to(tl.uint8), mask=pixel < count)


@triton.jit(do_not_specialize=["height", "width"])
def _mixed_edges(
    parts,
    depth,
    valid,
    height,
    width,
    STEP: tl.constexpr,
    FLAT: tl.constexpr,
    LINES: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A part of the pixels of some columns, then of some rows."""
    total = tl.zeros((BLOCK,), tl.float32)
    count = tl.zeros((BLOCK,), tl.float32)
    for axis in tl.static_range(2):
        length = width if axis else height
        others = height if axis else width
        along = 1 if axis else width
        across = width if axis else 1
        every = tl.maximum(others // LINES, 1)
        middles = tl.maximum(length - 4, 0)
        pixels = (others + every - 1) // every * middles
        for start in range(tl.program_id(0) * BLOCK, pixels, PARTS * BLOCK):
            pixel = start + tl.arange(0, BLOCK)
            mask = pixel < pixels
            at = pixel // tl.maximum(middles, 1) * every * across + pixel % tl.maximum(middles, 1) * along
            before = tl.load(depth + at, mask=mask, other=0.0)
            left = tl.load(depth + at + along, mask=mask, other=0.0)
            middle = tl.load(depth + at + 2 * along, mask=mask, other=0.0)
            right = tl.load(depth + at + 3 * along, mask=mask, other=0.0)
            after = tl.load(depth + at + 4 * along, mask=mask, other=0.0)
            known = mask
            for i in tl.static_range(5):
                known = known & (tl.load(valid + at + i * along, mask=mask, other=0) != 0)
            step = right - left
            size = tl.abs(step)
            edge = known & (size > STEP * tl.minimum(left, right))
            edge = edge & (tl.maximum(tl.abs(left - before), tl.abs(after - right)) < FLAT * size)
            share = (middle - left) / tl.where(edge, step, 1.0)
            share = tl.minimum(tl.maximum(share, 0.0), 1.0)
            total += tl.where(edge, 4 * share * (1 - share), 0.0)
            count += edge.to(tl.float32)
    tl.store(parts + tl.program_id(0), tl.sum(total, axis=0))
    tl.store(parts + PARTS + tl.program_id(0), tl.sum(count, axis=0))


@triton.jit
def _cubic(x):
    """The cubic kernel with a = -1/2 (Keys 1981), for |x| up to 2."""
    x = tl.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return tl.where(x < 1, near, tl.where(x < 2, far, 0.0))


@triton.jit
def _first_of_four(pixel, scale, length):
    """Along one axis: the first of the four pixels that the cubic kernel of a pixel of the result covers, where that
    kernel has its middle, and the sum of its weights over pixels that there are."""
    center = (pixel.to(tl.float32) + 0.5) * scale
    first = tl.floor(center - 1.5).to(tl.int32)
    total = tl.zeros_like(center)
    for i in tl.static_range(4):
        total += _weight(first + i, center, length)
    return first, center, total


@triton.jit
def _weight(index, center, length):
    weight = _cubic(index.to(tl.float32) - center + 0.5)
    return tl.where((index >= 0) & (index < length), weight, 0.0)


@triton.jit
def _between_two(pixel, scale, length):
    """Along one axis: the two pixels that bilinear interpolation takes, and the weight of the second."""
    at = tl.maximum((pixel.to(tl.float32) + 0.5) * scale - 0.5, 0.0)
    first = tl.minimum(at.to(tl.int32), length - 1)
    return first, tl.minimum(first + 1, length - 1), at - first.to(tl.float32)


@triton.jit(do_not_specialize=["height", "width", "source_height", "source_width", "rows", "columns"])
def _network_input(
    shown,
    source,
    valid,
    edges,
    height,
    width,
    source_height,
    source_width,
    rows,
    columns,
    source_y,  # pixels of the source for one of the result, along each axis; and of the validity
    source_x,
    valid_y,
    valid_x,
    unit,
    octaves,
    CHANNELS: tl.constexpr,
    MIXED: tl.constexpr,
    MIXED_EDGES: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """All channels of a block of pixels. Bicubic weights are those of PIL: cut off at borders, then of sum 1."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = pixel < height * width
    y = tl.minimum(pixel // width, height - 1)
    x = pixel % width
    top, center_y, total_y = _first_of_four(y, source_y, source_height)
    left, center_x, total_x = _first_of_four(x, source_x, source_width)
    depth = tl.zeros((BLOCK,), tl.float32)
    for i in tl.static_range(4):
        row = source + tl.minimum(tl.maximum(top + i, 0), source_height - 1) * source_width
        line = tl.zeros((BLOCK,), tl.float32)
        for j in tl.static_range(4):
            at = tl.minimum(tl.maximum(left + j, 0), source_width - 1)
            value = tl.load(row + at, mask=mask, other=0.0)
            line += _weight(left + j, center_x, source_width) / total_x * value
        depth += _weight(top + i, center_y, source_height) / total_y * line
    tl.store(shown + pixel, depth / unit, mask=mask)
    if CHANNELS == 4:
        upper, lower, down = _between_two(y, valid_y, rows)
        first, second, across = _between_two(x, valid_x, columns)
        measured = (1 - down) * (
            (1 - across) * tl.load(valid + upper * columns + first, mask=mask, other=0).to(tl.float32)
            + across * tl.load(valid + upper * columns + second, mask=mask, other=0).to(tl.float32)
        )
        measured += down * (
            (1 - across) * tl.load(valid + lower * columns + first, mask=mask, other=0).to(tl.float32)
            + across * tl.load(valid + lower * columns + second, mask=mask, other=0).to(tl.float32)
        )
        part = tl.arange(0, PARTS)
        total = tl.sum(tl.load(edges + part), axis=0) + MIXED * MIXED_EDGES
        count = tl.sum(tl.load(edges + PARTS + part), axis=0) + MIXED_EDGES
        plane = height * width
        tl.store(shown + plane + pixel, measured, mask=mask)
        tl.store(shown + 2 * plane + pixel, tl.zeros((BLOCK,), tl.float32) + octaves, mask=mask)
        tl.store(shown + 3 * plane + pixel, tl.zeros((BLOCK,), tl.float32) + total / count, mask=mask)
