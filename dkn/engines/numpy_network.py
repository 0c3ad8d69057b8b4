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

"""A network in NumPy: simple and slow. Engines are held to it where they are made, and it shows what numbers there are
inside (`dkn.engines.quantisation`). It is not the reference that everything is compared with (`reference.py`, PyTorch),
but equals it, and is there where PyTorch is not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from dkn.engines.folding import Convolution, FoldedStream, fold, of_rgb
from dkn.networks.config import NetworkConfig
from dkn.networks.weights import Weights

TINY = np.finfo(np.float32).tiny


def run(weights: Weights, color: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """The network, eq. (3) or (7).

    Args:
        color: (N, H, W, 3) uint8 RGB.
        depth: (N, C, H, W) float32, as for `dkn.engines.Engine`.

    Returns:
        (N, 1, H, W) float32.
    """
    config, (height, width) = weights.config, depth.shape[2:]
    images = {"rgb": color.transpose(0, 3, 1, 2).astype(np.float32), "depth": depth}
    kernel, shifts = np.float32(1), np.float32(1)  # Fig. 2: products over the streams
    for stream in fold(weights):
        stream = stream if stream.image == "depth" else of_rgb(stream, 255)
        *_, features = inputs(stream, to_cells(images[stream.image], config.phases))
        if stream.weights is not None:
            kernel = kernel * _sigmoid(convolve(features, stream.weights))
        if stream.offsets is not None:
            shifts = shifts * convolve(features, stream.offsets)
    kernel = _to_pixels(kernel, config.phases)[:, :, :height, :width]
    if config.offsets_from == "none":
        shifts = np.zeros((len(depth), 2 * config.kernel_size**2, height, width), np.float32)
    else:
        shifts = _to_pixels(shifts, config.phases)[:, :, :height, :width]
    if config.residual:
        kernel = kernel - kernel.mean(axis=1, keepdims=True)
    else:
        kernel = kernel / np.maximum(kernel.sum(axis=1, keepdims=True), TINY)
    average = np.stack([_average(config, *of) for of in zip(depth[:, 0], kernel, shifts, strict=True)])[:, None]
    return np.asarray(depth[:, :1] + average if config.residual else average, np.float32)


def inputs(stream: FoldedStream, image: np.ndarray, strided: bool = False) -> Iterator[np.ndarray]:
    """What each convolution of a stream sees, in the end what its heads see: (N, channels, rows, columns) float32.

    Args:
        image: (N, channels, H, W) float32; of an FDKN `to_cells`.
        strided: with the strides of a DKN, at every fourth pixel along each axis; otherwise at all.
    """
    x, dilations = image, [convolution.dilation for convolution in stream.features]
    for convolution, (now, then) in zip(stream.features, pairwise([*dilations, dilations[-1]]), strict=True):
        yield x
        stride, dilation = (then // now, 1) if strided else (1, now)
        x = np.maximum(convolve(x, convolution, stride, dilation), 0)
    yield x


def to_cells(image: np.ndarray, phases: int) -> np.ndarray:
    """(N, C, H, W) → (N, C·p², ⌈H/p⌉, ⌈W/p⌉): the pixels of p×p cells as channels, as `pixel_unshuffle` has them; what
    cells do not divide is continued by its last row and column."""
    count, channels, height, width = image.shape
    padded = np.pad(image, ((0, 0), (0, 0), (0, -height % phases), (0, -width % phases)), mode="edge")
    rows, columns = (n // phases for n in padded.shape[2:])
    cells = padded.reshape(count, channels, rows, phases, columns, phases).transpose(0, 1, 3, 5, 2, 4)
    return cells.reshape(count, -1, rows, columns)


def _to_pixels(cells: np.ndarray, phases: int) -> np.ndarray:
    """The other way, without the end: (N, C·p², h, w) → (N, C, h·p, w·p)."""
    count, channels, rows, columns = cells.shape
    pixels = cells.reshape(count, -1, phases, phases, rows, columns).transpose(0, 1, 4, 2, 5, 3)
    return pixels.reshape(count, channels // phases**2, rows * phases, columns * phases)


def convolve(x: np.ndarray, convolution: Convolution, stride: int = 1, dilation: int = 1) -> np.ndarray:
    """(N, channels in, H, W) → (N, channels out, H', W'). One image at a time: each pixel becomes all that it sees."""
    size = dilation * (convolution.weight.shape[2] - 1) + 1
    results = []
    for padded in np.pad(x, ((0, 0), (0, 0), convolution.padding, convolution.padding)):
        seen = sliding_window_view(padded, (size, size), axis=(1, 2))
        seen = seen[:, ::stride, ::stride, ::dilation, ::dilation]
        results.append(np.tensordot(convolution.weight, seen, axes=((1, 2, 3), (0, 3, 4))))
    return np.stack(results) + convolution.bias[:, None, None]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """With all its digits where it is small: eq. (7) divides by sums of such."""
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


def _average(config: NetworkConfig, depth: np.ndarray, kernel: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Σ_q K_q · f(q + Δq), eq. (4) to (6), of (H, W), (k², H, W) and (2k², H, W): (H, W). f is zero outside of the
    window and of the image."""
    radius = config.window // 2
    border = radius + 2
    padded = np.pad(depth, border)
    rows, columns = np.indices(depth.shape) + border
    total = np.zeros_like(depth)
    for t, tap in enumerate(config.taps()):
        shift = shifts[2 * t : 2 * t + 2] * np.float32(config.offset_unit)
        x, y = np.clip(tap[:, None, None] + shift, -radius - 2, radius + 1)
        for i in (np.floor(x), np.floor(x) + 1):
            for j in (np.floor(y), np.floor(y) + 1):
                share = (1 - abs(x - i)) * (1 - abs(y - j)) * (abs(i) <= radius) * (abs(j) <= radius)
                total += kernel[t] * share * padded[rows + j.astype(int), columns + i.astype(int)]
    return total
