"""Depth maps: units, validity, holes, and the way from one pixel grid to another.

At Python's boundary depth is float32 metres, invalid = NaN. On the wire (REP 118) it is 16UC1 millimetres, invalid
= 0, or 32FC1 metres, invalid = NaN. Inside, a map and its validity travel as two tensors (N, 1, H, W), so that no
arithmetic ever meets a NaN.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dkn.errors import ImageError

OVERSHOOT = 0.1  # how far, in local ranges, an upsampled depth may leave the values around it

OCTAVES = 4  # from a scale of 1 to 16

# Of `mixed_pixels`:
STEP, FLAT = 0.05, 0.25  # an edge is a step of more than this share of the depth; beside it, less than that of the step
MIXED, MIXED_EDGES = 0.6, 8  # what is assumed before any edge is seen, and how many edges outweigh it
LINES = 120  # of a larger map, so many rows and columns say enough


def to_metres(raw: np.ndarray) -> np.ndarray:
    """Depth as a camera gives it → float32 metres with NaN for invalid.

    Args:
        raw: (H, W) uint16 millimetres (16UC1, mono16) or float metres (32FC1), of either byte order.

    Raises:
        ImageError: another shape or dtype.
    """
    if raw.ndim != 2:
        raise ImageError(f"depth has shape {raw.shape}; expected (H, W)")
    if raw.dtype.kind == "u" and raw.dtype.itemsize == 2:
        metres = raw.astype(np.float32)
        metres *= np.float32(1e-3)
    elif raw.dtype.kind == "f":
        metres = raw.astype(np.float32)
        metres[~np.isfinite(metres)] = np.nan
    else:
        raise ImageError(f"depth is {raw.dtype}; expected uint16 millimetres or float metres")
    metres[metres <= 0] = np.nan
    return metres


def to_millimetres(metres: np.ndarray) -> np.ndarray:
    """float32 metres with NaN → uint16 millimetres with 0 for invalid, and for what 16 bits cannot say."""
    millimetres = np.rint(metres * np.float32(1e3))
    fits = (millimetres >= 1) & (millimetres <= 65535)  # False for NaN
    return np.where(fits, millimetres, 0).astype(np.uint16)


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
    if max(depth.shape[2:]) == 1 or (may_ask(valid) and bool(valid.all())):
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


class Prepared(NamedTuple):
    """A depth map as a network wants to see it."""

    filled: Tensor
    """(N, 1, h, w) metres, without holes."""
    shown: Tensor
    """(N, C, H, W), C = `depth_channels` of the network; the first · unit + start are metres."""
    start: Tensor | float
    unit: Tensor | float


def prepare(low: Tensor, valid: Tensor, size: tuple[int, int], depth_range: float | None, channels: int) -> Prepared:
    """The way from a camera's depth to a network's input: holes filled, interpolated, in units of a range, explained.

    Args:
        low, valid: (N, 1, h, w) metres and bool, as for `fill_holes`.
        size: (H, W) of the colour image.
        depth_range: metres that make 1; None: of the map itself, from its least to its largest.
        channels: as for `with_knowledge`.
    """
    filled = fill_holes(low, valid)
    depth = resize_bicubic(filled, size)
    start: Tensor | float = 0.0
    unit: Tensor | float
    if depth_range is not None:
        unit = depth_range
    else:
        start, unit = depth.min(), (depth.max() - depth.min()).clamp(min=1e-6)
    return Prepared(filled, with_knowledge((depth - start) / unit, filled, valid, channels), start, unit)


def with_knowledge(depth: Tensor, low: Tensor, valid: Tensor, channels: int) -> Tensor:
    """What a network is shown of a depth map: the map, and if it wants four channels, what there was before
    interpolation. Without these it cannot tell a measured edge from a filled hole, noise from detail, or the rough
    outline that point samples give a thing from its true one.

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
    measured = F.interpolate(valid.to(depth.dtype), size=tuple(size), mode="bilinear")
    mixed = mixed_pixels(low, valid).expand_as(depth)
    return torch.cat((depth, measured, torch.full_like(depth, math.log2(scale) / OCTAVES), mixed), dim=1)


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


def clamp_to_local_range(result: Tensor, depth: Tensor, valid: Tensor, reach: int) -> Tensor:
    """Keep an upsampled map inside the values of the input around each pixel, plus `OVERSHOOT` of their range (and
    above zero: below by no more than `OVERSHOOT` of the smallest of them).

    Args:
        result: (N, 1, H, W), upsampled.
        depth, valid: (N, 1, h, w), what it was upsampled from; holes filled.
        reach: how far the network's taps go, in pixels of `result`.
    """
    size = result.shape[2:]
    # Two input pixels for the bicubic kernel, and those that the taps can reach.
    radius = [2 + math.ceil(reach * n / big) for n, big in zip(depth.shape[2:], size, strict=True)]
    both = torch.cat((depth, -depth), dim=1)  # the largest of the negative is the smallest
    extremes = _local_max(torch.where(valid, both, -math.inf), radius)
    unknown = extremes == -math.inf
    if not may_ask(unknown) or bool(unknown.any()):
        extremes = torch.where(unknown, _local_max(both, radius), extremes)
    high, low = extremes[:, :1], -extremes[:, 1:]
    margin = OVERSHOOT * (high - low)
    # Downwards by no more than that share of the depth itself: next to a far wall a near pixel stays positive.
    bounds = torch.cat((low - torch.minimum(margin, OVERSHOOT * low.clamp(min=0)), high + margin), dim=1)
    low, high = F.interpolate(bounds, size=tuple(size), mode="nearest-exact").chunk(2, dim=1)
    return result.clamp(low, high)


def may_ask(tensor: Tensor) -> bool:
    """Whether its values may decide what is done next: a GPU would wait for the answer, and a CUDA graph cannot."""
    return not tensor.is_cuda


def _local_max(x: Tensor, radius: list[int]) -> Tensor:
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
