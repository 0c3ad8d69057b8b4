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

"""The weighted average of `dkn.ops.sampling` for GPUs: one Triton kernel forward, one backward.

Nothing between the k² taps ever reaches memory: each thread walks over the taps of its pixel, and the backward pass
works the positions out again instead of keeping them.
"""

# What Triton compiles has no Python types.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 128  # pixels of one program


def weighted_average(image: Tensor, weights: Tensor, offsets: Tensor, taps: Tensor, window: int) -> Tensor:
    """What `dkn.ops.sampling.weighted_average` gives, for tensors on a GPU.

    Gradients flow to weights and offsets, and give the same bytes every time. A gradient with respect to `image`
    exists too, but many pixels add to one: it is summed in no fixed order. There is no second derivative; asking for
    one raises RuntimeError.

    Args:
        image: (N, C, H, W), float32, float16 or bfloat16.
        weights: (N, k², H, W), any of these, in any memory layout.
        offsets: (N, 2k², H, W), any of these, in any memory layout.
        taps: (k², 2).
        window: d, odd.

    Returns:
        (N, C, H, W) in the dtype of `image`. Coordinates and sums are float32.

    Raises:
        TypeError: a tensor in float64, which this would quietly round.
    """
    if torch.float64 in (image.dtype, weights.dtype, offsets.dtype):
        raise TypeError("the Triton kernels compute in float32: use dkn.ops.sampling.weighted_average for float64")
    taps = taps.to(image.device, torch.float32).contiguous()
    return _WeightedAverage.apply(image, weights, offsets, taps, window)


class _WeightedAverage(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, weights: Tensor, offsets: Tensor, taps: Tensor, window: int) -> Tensor:
        image = image.contiguous()
        ctx.save_for_backward(image, weights, offsets, taps)
        ctx.window = window
        result = torch.empty_like(image)
        _launch(_average, (result,), image, weights, offsets, taps, window, by_channel=True)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, result_grad: Tensor) -> tuple[Tensor | None, ...]:
        image, weights, offsets, taps = ctx.saved_tensors
        result_grad = result_grad.contiguous()
        image_grad = weights_grad = offsets_grad = None
        if ctx.needs_input_grad[0]:
            image_grad = torch.zeros_like(image, dtype=torch.float32)
            _launch(_scatter, (image_grad, result_grad), image, weights, offsets, taps, ctx.window, by_channel=True)
            image_grad = image_grad.to(image.dtype)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            weights_grad = torch.empty_like(weights, memory_format=torch.contiguous_format)
            if ctx.needs_input_grad[2]:  # a regular grid has none, and needs no memory for it
                offsets_grad = torch.empty_like(offsets, memory_format=torch.contiguous_format)
            grads = weights_grad, offsets_grad, result_grad
            _launch(_differentiate, grads, image, weights, offsets, taps, ctx.window, by_channel=False)
        return image_grad, weights_grad, offsets_grad, None, None


def _launch(
    kernel: Any,
    tensors: tuple[Tensor | None, ...],
    image: Tensor,
    weights: Tensor,
    offsets: Tensor,
    taps: Tensor,
    window: int,
    by_channel: bool,
) -> None:
    """Run one of the kernels below over all pixels, and over the channels too where each is on its own."""
    batch, channels, height, width = image.shape
    grid = triton.cdiv(height * width, BLOCK), batch * channels if by_channel else batch
    with torch.cuda.device_of(image):
        kernel[grid](
            *tensors,
            image,
            weights,
            offsets,
            taps,
            height,
            width,
            *weights.stride(),
            *offsets.stride(),
            CHANNELS=channels,
            TAPS=len(taps),
            RADIUS=window // 2,
            BLOCK=BLOCK,
            num_warps=4,
        )


@triton.jit
def neighbours(position, RADIUS: tl.constexpr):
    """Lower integer neighbour of `position`, a legal index whatever comes in; then g(s, t) of it and of the next, and
    whether each lies in [-RADIUS, RADIUS], as 0.0 or 1.0 (eq. 6 over a bounded window)."""
    floor = tl.floor(position)
    fraction = position - floor
    first_inside = (tl.abs(floor) <= RADIUS).to(tl.float32)
    second_inside = (tl.abs(floor + 1) <= RADIUS).to(tl.float32)
    # Clamped while still a float, by comparisons that NaN fails: no other conversion to an integer is defined.
    index = tl.where(floor >= -RADIUS, floor, -RADIUS - 1.0)
    index = tl.where(index <= RADIUS, index, RADIUS * 1.0).to(tl.int32)
    return index, (1 - fraction) * first_inside, fraction * second_inside, first_inside, second_inside


@triton.jit
def read(plane, y, x, height, width, mask):
    """Values of a contiguous plane as float32, zero outside it and where the mask is unset."""
    inside = mask & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return tl.load(plane + y * width + x, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _pixels(width, height, BLOCK: tl.constexpr):
    """This program's pixels: row, column, and whether there is such a pixel."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    return pixel // width, pixel % width, pixel < height * width


@triton.jit
def _at(tensor, sample, y, x, stride_n, stride_y, stride_x):
    """Pointers to the first channel. They then move from channel to channel: no index has to span k² planes."""
    return tensor + sample * stride_n + y.to(tl.int64) * stride_y + x.to(tl.int64) * stride_x


@triton.jit
def _tap(weights, offsets, offsets_t, tap, mask):
    """The weight of one tap, and its position q + Δq relative to the pixel, x and y."""
    weight = tl.load(weights, mask=mask, other=0.0).to(tl.float32)
    shift_x = tl.load(offsets, mask=mask, other=0.0).to(tl.float32)
    shift_y = tl.load(offsets + offsets_t, mask=mask, other=0.0).to(tl.float32)
    return weight, shift_x + tl.load(tap), shift_y + tl.load(tap + 1)


@triton.jit
def _average(
    result,
    image,
    weights,
    offsets,
    taps,
    height,
    width,
    weights_n,
    weights_t,
    weights_y,
    weights_x,
    offsets_n,
    offsets_t,
    offsets_y,
    offsets_x,
    CHANNELS: tl.constexpr,
    TAPS: tl.constexpr,
    RADIUS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Eq. (7) for one channel of a block of pixels."""
    y, x, mask = _pixels(width, height, BLOCK)
    plane = tl.program_id(1).to(tl.int64)
    sample = plane // CHANNELS
    image += plane * height * width
    weights = _at(weights, sample, y, x, weights_n, weights_y, weights_x)
    offsets = _at(offsets, sample, y, x, offsets_n, offsets_y, offsets_x)
    total = tl.zeros((BLOCK,), tl.float32)
    for t in range(TAPS):
        weight, shift_x, shift_y = _tap(weights, offsets, offsets_t, taps + 2 * t, mask)
        x0, left, right, _, _ = neighbours(shift_x, RADIUS)
        y0, upper, lower, _, _ = neighbours(shift_y, RADIUS)
        x0 += x
        y0 += y
        value = upper * (
            left * read(image, y0, x0, height, width, mask) + right * read(image, y0, x0 + 1, height, width, mask)
        )
        value += lower * (
            left * read(image, y0 + 1, x0, height, width, mask)
            + right * read(image, y0 + 1, x0 + 1, height, width, mask)
        )
        total += weight * value
        weights += weights_t
        offsets += 2 * offsets_t
    tl.store(result + plane * height * width + y * width + x, total, mask=mask)


@triton.jit
def _differentiate(
    weights_grad,
    offsets_grad,
    result_grad,
    image,
    weights,
    offsets,
    taps,
    height,
    width,
    weights_n,
    weights_t,
    weights_y,
    weights_x,
    offsets_n,
    offsets_t,
    offsets_y,
    offsets_x,
    CHANNELS: tl.constexpr,
    TAPS: tl.constexpr,
    RADIUS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gradients with respect to the weights and offsets (unless None) of a block of pixels; they are contiguous."""
    y, x, mask = _pixels(width, height, BLOCK)
    sample = tl.program_id(1).to(tl.int64)
    plane = height * width
    pixel = y * width + x
    image += sample * CHANNELS * plane
    result_grad += sample * CHANNELS * plane + pixel
    weights_grad += sample * TAPS * plane + pixel
    if offsets_grad is not None:
        offsets_grad += sample * 2 * TAPS * plane + pixel
    weights = _at(weights, sample, y, x, weights_n, weights_y, weights_x)
    offsets = _at(offsets, sample, y, x, offsets_n, offsets_y, offsets_x)
    for t in range(TAPS):
        weight, shift_x, shift_y = _tap(weights, offsets, offsets_t, taps + 2 * t, mask)
        x0, left, right, left_inside, right_inside = neighbours(shift_x, RADIUS)
        y0, upper, lower, upper_inside, lower_inside = neighbours(shift_y, RADIUS)
        x0 += x
        y0 += y
        value = tl.zeros((BLOCK,), tl.float32)
        along_x = tl.zeros((BLOCK,), tl.float32)
        along_y = tl.zeros((BLOCK,), tl.float32)
        channel = image
        grads = result_grad
        for _ in range(CHANNELS):
            grad = tl.load(grads, mask=mask, other=0.0).to(tl.float32)
            upper_left = read(channel, y0, x0, height, width, mask)
            upper_right = read(channel, y0, x0 + 1, height, width, mask)
            lower_left = read(channel, y0 + 1, x0, height, width, mask)
            lower_right = read(channel, y0 + 1, x0 + 1, height, width, mask)
            above = left * upper_left + right * upper_right
            below = left * lower_left + right * lower_right
            value += grad * (upper * above + lower * below)
            # Where a position moves on by 1, so much weight goes from its first neighbour to its second.
            along_x += grad * (
                upper * (right_inside * upper_right - left_inside * upper_left)
                + lower * (right_inside * lower_right - left_inside * lower_left)
            )
            along_y += grad * (lower_inside * below - upper_inside * above)
            channel += plane
            grads += plane
        tl.store(weights_grad, value, mask=mask)
        if offsets_grad is not None:
            tl.store(offsets_grad, weight * along_x, mask=mask)
            tl.store(offsets_grad + plane, weight * along_y, mask=mask)
            offsets_grad += 2 * plane
        weights += weights_t
        offsets += 2 * offsets_t
        weights_grad += plane


@triton.jit
def _scatter(
    image_grad,
    result_grad,
    image,  # not read: the kernels share one way to be launched
    weights,
    offsets,
    taps,
    height,
    width,
    weights_n,
    weights_t,
    weights_y,
    weights_x,
    offsets_n,
    offsets_t,
    offsets_y,
    offsets_x,
    CHANNELS: tl.constexpr,
    TAPS: tl.constexpr,
    RADIUS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gradient with respect to the image, added from one channel of a block of pixels to wherever their taps lie."""
    y, x, mask = _pixels(width, height, BLOCK)
    plane = tl.program_id(1).to(tl.int64)
    sample = plane // CHANNELS
    image_grad += plane * height * width
    weights = _at(weights, sample, y, x, weights_n, weights_y, weights_x)
    offsets = _at(offsets, sample, y, x, offsets_n, offsets_y, offsets_x)
    grad = tl.load(result_grad + plane * height * width + y * width + x, mask=mask, other=0.0).to(tl.float32)
    for t in range(TAPS):
        weight, shift_x, shift_y = _tap(weights, offsets, offsets_t, taps + 2 * t, mask)
        share = weight * grad
        x0, left, right, _, _ = neighbours(shift_x, RADIUS)
        y0, upper, lower, _, _ = neighbours(shift_y, RADIUS)
        x0 += x
        y0 += y
        _add(image_grad, y0, x0, height, width, share * upper * left, mask)
        _add(image_grad, y0, x0 + 1, height, width, share * upper * right, mask)
        _add(image_grad, y0 + 1, x0, height, width, share * lower * left, mask)
        _add(image_grad, y0 + 1, x0 + 1, height, width, share * lower * right, mask)
        weights += weights_t
        offsets += 2 * offsets_t


@triton.jit
def _add(plane, y, x, height, width, value, mask):
    inside = mask & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    tl.atomic_add(plane + y * width + x, value, mask=inside, sem="relaxed")
