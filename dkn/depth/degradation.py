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

"""How a low-resolution depth map arises from a high-resolution one.

All maps are (H, W) float32 in metres with NaN for invalid pixels. ``degrade`` makes the input of the
upsampling networks.

The low-resolution size is (H // scale, W // scale), at least 1 x 1, and covers the whole picture: where the
division leaves a remainder, a low-resolution pixel covers slightly more than ``scale`` pixels, exactly as
``PIL.Image.resize`` to that size does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from dkn.depth.grid import pixels_under
from dkn.depth.resample import resize_bicubic
from dkn.depth.sensor import axial_sigma, blobs, quantise_disparity
from dkn.depth.units import Depth
from dkn.errors import ConfigError
from dkn.sensors import CONCEIVABLE, SENSORS, measure

_COVER = 0.5  # a low-resolution pixel is valid if at least this share of its support is
_SHADOW_EDGE = 0.08  # the same at low resolution, where a slanted wall alone makes steps of several per cent


# --- Resampling -------------------------------------------------------------------------------------------


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -1/2 (Keys 1981)."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x**2 + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, inner, np.where(x < 2, outer, 0))


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1 - np.abs(x), 0)


@lru_cache(maxsize=64)
def _filter(kind: str, source: int, target: int) -> NDArray[np.float64]:
    """Resampling weights (target, source); every row sums to 1."""
    ratio = source / target
    if kind == "area":  # how much of each source pixel lies in each block
        start, pixel = np.arange(target)[:, None] * ratio, np.arange(source)
        weights = np.minimum(pixel + 1, start + ratio) - np.maximum(pixel, start)
        weights = np.maximum(weights, 0)
    else:
        kernel, radius = (_cubic, 2) if kind == "bicubic" else (_triangle, 1)
        centre = (np.arange(target)[:, None] + 0.5) * ratio
        # PIL cuts the support to whole pixels in this way before it normalises.
        first = np.maximum((centre - radius * ratio + 0.5).astype(int), 0)
        last = np.minimum((centre + radius * ratio + 0.5).astype(int), source)
        pixel = np.arange(source)
        weights = kernel((pixel + 0.5 - centre) / ratio)
        weights = np.where((pixel >= first) & (pixel < last), weights, 0)
    weights = weights / weights.sum(axis=1, keepdims=True)
    weights.setflags(write=False)
    return weights


def _resample(depth: Depth, size: tuple[int, int], kind: str) -> Depth:
    """Separable resampling to ``size`` = (h, w) in which invalid pixels have no weight."""
    valid = np.isfinite(depth)
    if kind == "bicubic" and valid.all():
        # The same values as below, some thirty times faster: training draws eight of these a step.
        exact = torch.from_numpy(depth.astype(np.float64))[None, None]
        return resize_bicubic(exact, size)[0, 0].numpy().astype(np.float32)
    rows, columns = (_filter(kind, depth.shape[k], size[k]) for k in (0, 1))
    filled = np.where(valid, depth, 0).astype(np.float64)
    result = rows @ filled @ columns.T
    if valid.all():
        return np.asarray(result, np.float32)
    # Without some of its pixels a kernel with negative lobes can leave the range of the rest. So where
    # a hole touches the support, the kernel without such lobes takes over.
    kind = "area" if kind == "area" else "bilinear"
    soft_rows, soft_columns = (_filter(kind, depth.shape[k], size[k]) for k in (0, 1))
    cover = soft_rows @ valid.astype(np.float64) @ soft_columns.T
    mean = soft_rows @ filled @ soft_columns.T / np.maximum(cover, 1e-9)
    touched = np.abs(rows) @ (~valid).astype(np.float64) @ np.abs(columns.T) > 1e-12
    result = np.where(touched, mean, result)
    return np.where(cover >= _COVER - 1e-9, result, np.nan).astype(np.float32)


def _nearest(depth: Depth, size: tuple[int, int]) -> Depth:
    return depth[np.ix_(*map(pixels_under, size, depth.shape))].copy()


# --- The kinds --------------------------------------------------------------------------------------------


def _bicubic(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    """Antialiased bicubic (a = -1/2), equal to PIL's ``resize`` and to torch's ``interpolate(mode="bicubic",
    antialias=True)``; the usual evaluation protocol.
    """
    return _resample(depth, size, "bicubic")


def _bilinear(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    """Antialiased bilinear, likewise."""
    return _resample(depth, size, "bilinear")


def _area(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    """Mean of the valid pixels in each block."""
    return _resample(depth, size, "area")


def _point(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    """The pixel at the centre of each block, index floor((i + 1/2) H / h). The centre of an even block lies between
    pixels; the one after it, ``scale // 2``, is taken, so the samples sit half a pixel right of and below the block
    centres.
    """
    return _nearest(depth, size)


def _noise(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    """Bicubic, then Gaussian noise with a deviation of 1 % of the depth."""
    low = _resample(depth, size, "bicubic")
    return low * (1 + np.float32(0.01) * rng.standard_normal(size, np.float32))


def _quantised(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    """Bicubic, then the disparity steps of the Kinect (see ``quantise_disparity``)."""
    return quantise_disparity(_resample(depth, size, "bicubic"))


def _holes(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    """Bicubic, then 30 % of the low-resolution pixels made invalid in random blobs."""
    low = _resample(depth, size, "bicubic")
    low[blobs(size, 0.3, rng)] = np.nan
    return low


def _misregistered(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    """Moved by 1 to 2 pixels of the high resolution in a random direction before bicubic, its border repeated."""
    moves = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if 1 <= y * y + x * x <= 4]
    down, right = moves[rng.integers(len(moves))]
    i = (np.arange(depth.shape[0]) - down).clip(0, depth.shape[0] - 1)
    j = (np.arange(depth.shape[1]) - right).clip(0, depth.shape[1] - 1)
    return _resample(depth[np.ix_(i, j)], size, "bicubic")


def _sensor(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    """Point samples or block means (at random), axial noise growing with the square of the depth, disparity steps, a
    projector shadow of 2 to 4 low-resolution pixels on the left of near surfaces, and a few per cent of holes in random
    blobs.
    """
    low = _nearest(depth, size) if rng.random() < 0.5 else _resample(depth, size, "area")
    shadow = np.zeros(size, bool)
    with np.errstate(invalid="ignore"):
        near = low[:, 1:] * (1 + _SHADOW_EDGE)
        step = low[:, :-1] > near
        for k in range(min(int(rng.integers(2, 5)), size[1] - 1)):
            # Of the pixels left of an edge those that lie behind the surface on its right.
            shadow[:, : size[1] - 1 - k] |= step[:, k:] & (low[:, : size[1] - 1 - k] > near[:, k:])
    low = quantise_disparity(low + axial_sigma(low) * rng.standard_normal(size, np.float32))
    low[shadow | blobs(size, rng.uniform(0.01, 0.05), rng)] = np.nan
    return low


RESAMPLED: dict[str, Callable[[Depth, tuple[int, int], np.random.Generator], Depth]] = {
    "bicubic": _bicubic,
    "bilinear": _bilinear,
    "area": _area,
    "nearest": _point,
    "noise": _noise,
    "quantised": _quantised,
    "holes": _holes,
    "misregistered": _misregistered,
    "sensor": _sensor,
}
"""By name: (depth, (h, w), rng) → low-resolution depth. Each function says what it does."""

DEGRADATIONS: tuple[str, ...] = (*RESAMPLED, *SENSORS)
"""Every kind there is. The last ones are cameras simulated as they work (`dkn.sensors`), at times with a registration
error."""


def degrade(
    depth: Depth,
    scale: int,
    kind: str,
    rng: np.random.Generator,
    color: NDArray[np.uint8] | None = None,
    width: int | None = None,
) -> Depth:
    """Low-resolution version of a depth map.

    Args:
        depth: (H, W) float32, metres, NaN = invalid, as what is further than `dkn.sensors.CONCEIVABLE`.
        scale: downsampling factor, at least 1.
        kind: one of ``DEGRADATIONS``.
        rng: source of all randomness; the same state gives the same map.
        color: (H, W, 3) uint8 RGB, which light comes from where a camera is simulated; without, all is grey.
        width: in pixels, of the whole picture, if this is a part of it; a simulated camera's focal length follows.

    Returns:
        (H // scale, W // scale) float32, metres. Invalid pixels never contribute: weights are renormalised
        over the valid part of the support, and the result is NaN where that is less than half.

    Raises:
        ConfigError: unknown kind, or scale not an integer of at least 1.
    """
    if kind not in DEGRADATIONS:
        raise ConfigError(f"unknown degradation {kind!r}; choose one of {', '.join(DEGRADATIONS)}")
    if isinstance(scale, bool) or not isinstance(scale, int | np.integer) or scale < 1:
        raise ConfigError(f"the downsampling factor must be an integer of at least 1, not {scale!r}")
    rows, columns = (max(1, length // int(scale)) for length in depth.shape)
    size = rows, columns
    depth = np.asarray(depth, np.float32)
    depth = np.where(np.abs(depth) <= CONCEIVABLE[1], depth, np.float32(np.nan))
    if kind in SENSORS:
        color = np.full((*depth.shape, 3), 128, np.uint8) if color is None else color
        return measure(kind, depth, color, size, rng, width)
    return RESAMPLED[kind](depth, size, rng)
