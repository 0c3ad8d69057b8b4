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

"""From a camera's depth map to the input of a network."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dkn.depth.resample import fill_holes, resize_bicubic, serves
from dkn.depth.stages.base import FLAT, LINES, MIXED, MIXED_EDGES, OCTAVES, STEP, Prepared

try:
    from dkn.depth.kernels import numba_network_input as compiled
except ImportError:  # Numba is an extra: without it, slower and the same
    compiled = None  # type: ignore[assignment]


def prepare(low: Tensor, valid: Tensor, size: tuple[int, int], depth_range: float | None, channels: int) -> Prepared:
    """From a camera's depth to a network's input: holes filled, interpolated, in units of a range, with its channels.

    Args:
        low, valid: (N, 1, h, w) metres and bool, as for `fill_holes`.
        size: (H, W) of the colour image.
        depth_range: metres that make 1; None: of the map itself, from its least to its largest.
        channels: as for `input_channels`.
    """
    filled = fill_holes(low, valid)
    depth = resize_bicubic(filled, size)
    start: Tensor | float = 0.0
    unit: Tensor | float
    if depth_range is not None:
        unit = depth_range
    else:
        start, unit = depth.min(), (depth.max() - depth.min()).clamp(min=1e-6)
    return Prepared(filled, input_channels((depth - start) / unit, filled, valid, channels), start, unit)


def input_channels(depth: Tensor, low: Tensor, valid: Tensor, channels: int) -> Tensor:
    """The input channels of a network: depth, and for a network with four channels its validity, the scale,
    and whether it consists of points or means. Without these a network cannot distinguish a measured edge from a filled
    hole, noise from detail, or the rough outline that point samples give a thing from its true one.

    Args:
        depth: (N, 1, H, W), interpolated, in units of the model's depth range.
        low: (N, 1, h, w) metres, finite: what it was interpolated from.
        valid: (N, 1, h, w) bool: which pixels of `low` were measured.
        channels: 1 or 4 (`NetworkConfig.depth_channels`).

    Returns:
        (N, channels, H, W): depth; how much of each pixel was measured, 0 to 1; log₂ of the scale over `OCTAVES`,
        scale = √(HW / hw); and `mixed_pixels`. The last two are the same everywhere.
    """
    if channels == 1:
        return depth
    size = depth.shape[2:]
    scale = math.sqrt(math.prod(size) / math.prod(valid.shape[2:]))
    measured = valid.to(depth.dtype)
    shown = depth.new_empty(len(depth), channels, *size)
    shown[:, :1] = depth
    shown[:, 1:2] = measured if measured.shape == depth.shape else F.interpolate(measured, size=size, mode="bilinear")
    shown[:, 2] = math.log2(scale) / OCTAVES
    shown[:, 3:] = mixed_pixels(low, valid)
    return shown


def mixed_pixels(depth: Tensor, valid: Tensor) -> Tensor:
    """How far pixels at depth edges are mixtures of both sides: low if each pixel is a point of the scene, high if it
    is the mean over its area, `MIXED` if there is no edge to tell by.

    An edge is a step over two pixels, along a row or a column, that is large against the depth and against what depth
    does on either side of it. The pixel in its middle lies at a share t of the step: the result is the mean of
    4t(1 - t), which is 0 on either side and 1 half-way.

    Args:
        depth: (N, 1, h, w) metres, finite.
        valid: (N, 1, h, w) bool.

    Returns:
        (N, 1, 1, 1), 0 to 1.
    """
    if serves(compiled, depth):
        maps = zip(depth.numpy()[:, 0], valid.numpy()[:, 0], strict=True)
        mixed = [compiled.mixed_pixels(*pair) for pair in maps]
        return depth.new_tensor(mixed)[:, None, None, None]
    count = depth.new_full((len(depth), 1, 1, 1), MIXED_EDGES)
    total = MIXED * count
    for axis in (2, 3):
        every = max(1, depth.shape[5 - axis] // LINES)
        lines, known = (x.transpose(axis, 3)[:, :, ::every] for x in (depth, valid))
        if lines.shape[3] < 5:
            continue
        before, left, middle, right, after = (lines[..., i : lines.shape[3] - 4 + i] for i in range(5))
        step = right - left
        height = step.abs()
        edge = height > STEP * torch.minimum(left, right)
        edge &= torch.maximum((left - before).abs(), (after - right).abs()) < FLAT * height
        edge &= known.unfold(3, 5, 1).all(dim=4)
        share = ((middle - left) / torch.where(edge, step, 1)).clamp(0, 1)
        total = total + torch.where(edge, 4 * share * (1 - share), 0).sum(dim=(1, 2, 3), keepdim=True)
        count = count + edge.sum(dim=(1, 2, 3), keepdim=True)
    return total / count
