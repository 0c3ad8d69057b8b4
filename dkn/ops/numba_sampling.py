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

"""The deformable weighted average on the CPU, forward and backward: machine code by Numba.

Equal to `dkn.ops.sampling.weighted_average`, but one pass over memory: no tensor of taps is ever written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from dkn.ops.compilation import compiled
from dkn.ops.rows import FAST, in_rows, with_border

ONE, ZERO = np.float32(1), np.float32(0)


def weighted_average(image: Tensor, weights: Tensor, offsets: Tensor, taps: Tensor, window: int) -> Tensor:
    """Drop-in for `dkn.ops.sampling.weighted_average`, which see, for float32 tensors on the CPU.

    The gradient is there for all three tensors; a second derivative is not.
    """
    return _WeightedAverage.apply(image, weights, offsets, taps, window)


class _WeightedAverage(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, weights: Tensor, offsets: Tensor, taps: Tensor, window: int) -> Tensor:
        ctx.save_for_backward(image, weights, offsets, taps)
        ctx.window = window
        output = torch.empty_like(image, memory_format=torch.contiguous_format)
        for n, kernel, shifts in _samples(weights, offsets):
            for channel, out in zip(image[n], output[n], strict=True):
                padded, pad = with_border(_array(channel), window)
                in_rows(_forward, len(out), padded, pad, kernel, shifts, _array(taps), window // 2, out.numpy())
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        image, weights, offsets, taps = ctx.saved_tensors
        of_image = torch.zeros_like(image) if ctx.needs_input_grad[0] else None
        of_weights = torch.zeros_like(weights, memory_format=torch.contiguous_format)
        of_offsets = torch.zeros_like(offsets, memory_format=torch.contiguous_format)
        height = image.shape[2]
        for n, kernel, shifts in _samples(weights, offsets):
            kernels = (kernel, shifts, _array(taps), ctx.window // 2)
            for c, channel in enumerate(image[n]):
                padded, pad = with_border(_array(channel), ctx.window)
                given = _array(gradient[n, c])
                into = (of_weights[n].numpy(), of_offsets[n].numpy())
                in_rows(_backward, height, padded, pad, *kernels, given, *into)
                if of_image is not None:
                    # Neighbouring rows write to the same pixels: one thread, always in the same order.
                    scattered = np.zeros_like(padded)
                    _scatter(0, height, scattered, pad, *kernels, given)
                    of_image[n, c] = torch.from_numpy(scattered[pad:-pad, pad:-pad])
        return of_image, of_weights, of_offsets, None, None


def _samples(weights: Tensor, offsets: Tensor) -> list[tuple[int, np.ndarray, np.ndarray]]:
    return [
        (n, _array(kernel), _array(shifts)) for n, (kernel, shifts) in enumerate(zip(weights, offsets, strict=True))
    ]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


@njit(inline="always", fastmath=FAST)
def _tap(position, radius):  # type: ignore[no-untyped-def]
    """Along one axis: the lower neighbour as an index, and eq. (6) for it and for the next, zero outside the window.

    The last two say which of the neighbours are inside.
    """
    # A wild offset then reads a legal address. NaN fails every comparison and ends up as NaN weight at index 0.
    if position > radius + 1:
        position = np.float32(radius + 1)
    elif position < -radius - 2:
        position = np.float32(-radius - 2)
    floor = np.floor(position)
    fraction = position - floor
    lower = ONE if abs(floor) <= radius else ZERO
    upper = ONE if abs(floor + ONE) <= radius else ZERO
    index = np.int32(floor) if floor == floor else np.int32(0)
    return index, (ONE - fraction) * lower, fraction * upper, lower, upper


@compiled(nogil=True, fastmath=FAST)
def _forward(first, last, image, pad, weights, offsets, taps, radius, output):  # type: ignore[no-untyped-def]
    stride = np.int32(image.shape[1])
    flat = image.ravel()
    for row in range(first, last):
        start = np.int32((row + pad) * stride + pad)
        total = output[row]
        total[:] = ZERO
        for t in range(len(taps)):
            kernel, along_x, along_y = weights[t, row], offsets[2 * t, row], offsets[2 * t + 1, row]
            tap_x, tap_y = taps[t, 0], taps[t, 1]
            for column in range(len(total)):
                x0, left, right, _, _ = _tap(along_x[column] + tap_x, radius)
                y0, upper, lower, _, _ = _tap(along_y[column] + tap_y, radius)
                at = start + np.int32(column) + y0 * stride + x0
                value = upper * (left * flat[at] + right * flat[at + 1])
                value += lower * (left * flat[at + stride] + right * flat[at + stride + 1])
                total[column] += kernel[column] * value


@compiled(nogil=True, fastmath=FAST)
def _backward(  # type: ignore[no-untyped-def]
    first, last, image, pad, weights, offsets, taps, radius, gradient, of_weights, of_offsets
):
    columns = gradient.shape[1]
    stride = np.int32(image.shape[1])
    flat = image.ravel()
    for row in range(first, last):
        start = np.int32((row + pad) * stride + pad)
        given = gradient[row]
        for t in range(len(taps)):
            kernel, along_x, along_y = weights[t, row], offsets[2 * t, row], offsets[2 * t + 1, row]
            of_kernel, of_x, of_y = of_weights[t, row], of_offsets[2 * t, row], of_offsets[2 * t + 1, row]
            tap_x, tap_y = taps[t, 0], taps[t, 1]
            for column in range(columns):
                x0, left, right, has_left, has_right = _tap(along_x[column] + tap_x, radius)
                y0, upper, lower, has_upper, has_lower = _tap(along_y[column] + tap_y, radius)
                at = start + np.int32(column) + y0 * stride + x0
                a, b, c, d = flat[at], flat[at + 1], flat[at + stride], flat[at + stride + 1]
                of_value = given[column] * kernel[column]
                of_kernel[column] += given[column] * (upper * (left * a + right * b) + lower * (left * c + right * d))
                of_x[column] += of_value * (
                    upper * (has_right * b - has_left * a) + lower * (has_right * d - has_left * c)
                )
                of_y[column] += of_value * (has_lower * (left * c + right * d) - has_upper * (left * a + right * b))


@compiled(nogil=True, fastmath=FAST)
def _scatter(first, last, of_image, pad, weights, offsets, taps, radius, gradient):  # type: ignore[no-untyped-def]
    for row in range(first, last):
        for t in range(len(taps)):
            for column in range(gradient.shape[1]):
                x0, left, right, _, _ = _tap(offsets[2 * t, row, column] + taps[t, 0], radius)
                y0, upper, lower, _, _ = _tap(offsets[2 * t + 1, row, column] + taps[t, 1], radius)
                y, x = row + pad + y0, column + pad + x0
                of_value = gradient[row, column] * weights[t, row, column]
                of_image[y, x] += of_value * upper * left
                of_image[y, x + 1] += of_value * upper * right
                of_image[y + 1, x] += of_value * lower * left
                of_image[y + 1, x + 1] += of_value * lower * right
