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

"""From one pixel grid to another: bicubic interpolation, holes and validity masks, and the range of a result."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dkn.depth.grid import radii
from dkn.depth.stages.base import OVERSHOOT
from dkn.ops.rows import stacked

try:
    from dkn.depth.kernels import numba_resample as compiled
except ImportError:  # Numba is an extra: without it, slower and the same
    compiled = None  # type: ignore[assignment]


def resize_bicubic(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic interpolation to `size` (H, W) exactly as PIL does it: centres aligned, widened when it shrinks.

    Args:
        image: (N, C, h, w) float, without invalid values.
    """
    if tuple(image.shape[2:]) == tuple(size):
        return image
    if size[1] == 1:
        # torch (2.13) gets the rows of a result of one column wrong: columns first, then rows as columns.
        column = F.interpolate(image, size=(image.shape[2], 1), mode="bicubic", antialias=True)
        return F.interpolate(column.mT, size=(1, size[0]), mode="bicubic", antialias=True).mT
    return F.interpolate(image, size=size, mode="bicubic", antialias=True)


def fill_holes(depth: Tensor, valid: Tensor) -> Tensor:
    """Give every invalid pixel a plausible depth from around it, by a push-pull pyramid (Gortler et al. 1996).

    Going down, 2×2 pixels become the mean of the valid ones; going up, a hole takes the bilinear value of the level
    below. Valid pixels keep their depth exactly, and what lies under a hole has no influence.

    Args:
        depth: (N, 1, H, W); anything where not valid.
        valid: (N, 1, H, W) bool, with at least one valid pixel in each map.
    """
    if serves(compiled, depth):
        maps = zip(depth.numpy(), valid.numpy(), strict=True)
        return torch.from_numpy(stacked([compiled.fill_holes(d[0], v[0]) for d, v in maps])[:, None])
    if max(depth.shape[2:]) == 1 or (is_readable(valid) and bool(valid.all())):
        return depth
    height, width = depth.shape[2:]
    total = F.avg_pool2d(torch.where(valid, depth, 0), 2, ceil_mode=True)
    share = F.avg_pool2d(valid.to(depth.dtype), 2, ceil_mode=True)
    known = share > 0
    coarse = fill_holes(torch.where(known, total / share.clamp(min=1e-6), 0), known)
    filled = F.interpolate(coarse, scale_factor=2, mode="bilinear")[:, :, :height, :width]
    return torch.where(valid, depth, filled)


def to_grid(depth: Tensor, valid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Depth on the pixel grid of the colour image: (filled depth, validity), each (N, 1, H, W).

    Holes are filled before the interpolation, so that none leaks into its neighbours; a pixel of the new grid is
    valid if the one it lies in was. Any ratio, also different in x and y.

    Args:
        depth, valid: (N, 1, h, w) as for `fill_holes`.
        size: (H, W).
    """
    return resize_bicubic(fill_holes(depth, valid), size), resize_mask(valid, size)


def resize_mask(valid: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, 1, h, w) bool → (N, 1, H, W): each pixel is as valid as the one that its centre lies in."""
    return F.interpolate(valid.float(), size=size, mode="nearest-exact") > 0.5


def local_range(depth: Tensor, valid: Tensor, size: tuple[int, int], reach: int) -> Tensor:
    """The values that a result may have: those of the input around each pixel, plus `OVERSHOOT` of their range (and
    above zero: below by no more than `OVERSHOOT` of the smallest of them).

    Args:
        depth, valid: (N, 1, h, w), holes filled.
        size: (H, W) of the result.
        reach: how far the network's taps go, in pixels of the result.

    Returns:
        (N, 2, h, w): the least and the largest for the pixels of the result that lie in each of the input.
    """
    radius = radii((depth.shape[2], depth.shape[3]), size, reach)
    both = torch.cat((depth, -depth), dim=1)  # the largest of the negative is the smallest
    extremes = _local_max(torch.where(valid, both, -math.inf), radius)
    unknown = extremes == -math.inf
    if not is_readable(unknown) or bool(unknown.any()):
        extremes = torch.where(unknown, _local_max(both, radius), extremes)
    high, low = extremes[:, :1], -extremes[:, 1:]
    margin = OVERSHOOT * (high - low)
    # Downwards by no more than that share of the depth itself: next to a far wall a near pixel stays positive.
    return torch.cat((low - torch.minimum(margin, OVERSHOOT * low.clamp(min=0)), high + margin), dim=1)


def clamp(result: Tensor, bounds: Tensor, unit: Tensor | float = 1.0, start: Tensor | float = 0.0) -> Tensor:
    """result · unit + start, (N, 1, H, W), between the bounds (N, 2, h, w) of the input pixels that its pixels lie
    in."""
    low, high = F.interpolate(bounds, size=tuple(result.shape[2:]), mode="nearest-exact").chunk(2, dim=1)
    return (result * unit + start).clamp(low, high)


def serves(kernel: object, tensor: Tensor) -> bool:
    """Whether a module of `dkn.depth.kernels`, None without Numba, is to take the place of PyTorch for this tensor."""
    on_host = tensor.device.type == "cpu"
    return kernel is not None and on_host and tensor.dtype == torch.float32


def is_readable(tensor: Tensor) -> bool:
    """Whether its values may decide what is done next: a GPU would wait for the answer, and a CUDA graph cannot."""
    return not tensor.is_cuda


def _local_max(x: Tensor, radius: tuple[int, int]) -> Tensor:
    """Largest value within `radius` (rows, columns) of each pixel of x (N, C, h, w)."""
    for axis, r in zip((2, 3), radius, strict=True):
        padding = (r, r, 0, 0) if axis == 3 else (0, 0, r, r)
        x = F.pad(x, padding, value=-math.inf)
        # The maximum over 2n pixels is that of two over n: a wide window takes few passes over the image.
        window, reached = 2 * r + 1, 1
        while reached < window:
            step = min(reached, window - reached)
            length = x.shape[axis] - step
            x = torch.maximum(x.narrow(axis, 0, length), x.narrow(axis, step, length))
            reached += step
    return x


def upsample_bicubic(depth: np.ndarray, size: tuple[int, int], fill: bool = False) -> np.ndarray:
    """The same path without a network: (h, w) float metres with NaN → (H, W) float32, by bicubic interpolation."""
    low = torch.from_numpy(np.array(depth, np.float32, order="C"))[None, None]
    valid = (low > 0) & low.isfinite()
    if not bool(valid.any()):
        return np.full(size, np.nan, np.float32)
    result, known = to_grid(low, valid, size)
    return (result if fill else result.masked_fill(~known, math.nan))[0, 0].numpy()
