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

"""What the simulated cameras share: correlated noise, occlusion, matching windows, drop-outs, and a sensor's pixels."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist

import cv2
import numpy as np
import torch

Map = np.ndarray
"""(H, W) float32: a quantity of each pixel."""
Depth = Map
"""Metres, NaN where unknown."""
Color = np.ndarray
"""(H, W, 3) uint8 RGB."""
Mask = np.ndarray
"""(H, W) bool."""
Size = tuple[int, int]
"""(height, width)."""

_COVER = 0.5  # a mean is valid if at least this share of its pixels is
_COARSE = 1.8  # fields that are smoother than so many pixels are drawn on a coarser grid, at so many of its pixels
_EDGE = 0.05  # relative step in depth that is an edge


def smooth_noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> Map:
    """Gaussian noise (H, W) of mean 0 and deviation 1 whose correlation over r pixels is exp(-r² / 4 sigma²)."""
    if sigma <= 0:
        return rng.standard_normal(shape, np.float32)
    step = max(sigma / _COARSE, 1.0)
    pad = 3 if step > 1 else 0
    coarse = [int(np.ceil(n / step)) + 1 + 2 * pad for n in shape] if pad else shape
    field = cv2.GaussianBlur(rng.standard_normal(coarse, np.float32), (0, 0), sigma / step)
    line = cv2.getGaussianKernel(2 * round(4 * sigma / step) + 1, sigma / step)
    field = field / np.float32((line**2).sum())  # the deviation that the blur leaves
    if pad:
        across, down = pad + rng.uniform(0, 1, 2)
        matrix = np.array([[1 / step, 0, across], [0, 1 / step, down]])
        field = cv2.warpAffine(field, matrix, (shape[1], shape[0]), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(field, np.float32)


def correlated_noise(shape: tuple[int, ...], parts: Mapping[float, float], rng: np.random.Generator) -> Map:
    """The sum of several `smooth_noise`, again of deviation 1.

    Args:
        parts: sigma of each in pixels, 0 for white noise, and its share of the variance, relative to their sum.
    """
    total = sum(parts.values())
    field = np.zeros(shape, np.float32)
    for sigma, share in parts.items():
        field += np.float32((share / total) ** 0.5) * smooth_noise(shape, sigma, rng)
    return field


def random_mask(probability: Map | float, shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> Mask:
    """(H, W): set with this probability in each pixel, in blobs of about `sigma` pixels."""
    field = smooth_noise(shape, sigma, rng)
    if isinstance(probability, float):
        return np.asarray(field < NormalDist().inv_cdf(min(max(probability, 1e-9), 1 - 1e-9)))
    return np.asarray(torch.special.ndtr(torch.from_numpy(field)).numpy() < probability)


def occluded(depth: Depth, pixel_metres: float) -> Mask:
    """(H, W): which points of the map cannot be seen from beside the camera, for something nearer is in between.

    Args:
        pixel_metres: f b, focal length in pixels times the metres from the camera to the right; negative: to the left.

    A point in column x is seen from there in column x - f b / z. Along a row these columns ascend unless something
    further right is nearer: that hides the point.
    """
    if pixel_metres < 0:
        return occluded(depth[:, ::-1], -pixel_metres)[:, ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        column = np.arange(depth.shape[1], dtype=np.float32) - np.float32(pixel_metres) / depth
    column = np.where(np.isfinite(column), column, np.float32(np.inf))
    least = np.minimum.accumulate(column[:, ::-1], axis=1)[:, ::-1]
    return np.asarray((column > least + 0.5) & (depth > 0))


def disparity_of(depth: Depth, pixel_metres: float) -> Map:
    """f b / z, 0 where depth is unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        disparity = np.float32(pixel_metres) / depth
    return np.where(np.isfinite(disparity), disparity, 0).astype(np.float32)


def depth_of(disparity: Map, pixel_metres: float, near: float, far: float) -> Depth:
    """f b / d, NaN where that is not between `near` and `far` metres."""
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.float32(pixel_metres) / disparity
        return np.where((depth >= near) & (depth <= far), depth, np.nan).astype(np.float32)


def matching_window(disparity: Map, growth: float, wander: float, reach: float, rng: np.random.Generator) -> Map:
    """Disparity as block matching finds it: the nearer surface wins within a part of its window, and which part is
    another one everywhere, as texture and noise have it.

    Args:
        disparity: (H, W), 0 where there is none.
        growth: pixels that near surfaces gain on average, 0 or more.
        wander: deviation in pixels of where the border is found, in rows and in columns.
        reach: over how many pixels it is found in the same place (sigma of `smooth_noise`).
    """
    grown = disparity
    whole, part = divmod(growth, 1.0)
    if whole:
        grown = cv2.dilate(grown, _disc(int(whole)))
    grown = np.where(random_mask(part, disparity.shape, reach, rng), cv2.dilate(grown, _disc(1)), grown)
    moved = displaced(grown, *(wander * smooth_noise(disparity.shape, reach, rng) for _ in range(2)))
    return cv2.medianBlur(moved, 3)


def displaced(image: Map, right: Map | float, down: Map | float) -> Map:
    """(H, W) read at the nearest pixel to (x + right, y + down), its border repeated."""
    height, width = image.shape
    x = (np.arange(width, dtype=np.float32) + right + np.zeros((height, 1), np.float32)).astype(np.float32)
    y = (np.arange(height, dtype=np.float32)[:, None] + down + np.zeros(width, np.float32)).astype(np.float32)
    return cv2.remap(image, np.rint(x), np.rint(y), cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)


def brightness(color: Color) -> Map:
    """(H, W, 3) uint8 RGB → (H, W) float32, 0 to 1."""
    return cv2.cvtColor(np.ascontiguousarray(color), cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)


def facing(depth: Depth, focal: float) -> Map:
    """(H, W), 0 to 1: cosine of the angle between surface and ray, from the smaller of the slopes to either side."""
    with np.errstate(invalid="ignore", divide="ignore"):
        slopes = np.zeros_like(depth)
        for axis in (0, 1):
            if depth.shape[axis] == 1:  # no neighbour that tells
                continue
            step = np.abs(np.diff(depth, axis=axis))
            first, last = np.take(step, [0], axis), np.take(step, [-1], axis)
            either = np.fmin(np.concatenate((first, step), axis), np.concatenate((step, last), axis))
            slopes += (np.float32(focal) * either / depth) ** 2
        return np.nan_to_num(1 / np.sqrt(1 + slopes), nan=1.0).astype(np.float32)


def behind_edges(depth: Depth, reach: int) -> Mask:
    """(H, W): pixels that lie behind something that is within `reach` rows and columns; unknown depth hides nothing."""
    near = cv2.erode(np.where(depth > 0, depth, np.float32(1e6)).clip(max=1e6), np.ones((2 * reach + 1,) * 2, np.uint8))
    return np.asarray(depth > (1 + _EDGE) * near)


def without_specks(mask: Mask) -> Mask:
    """A mask (H, W) without its parts that are narrower than 3 pixels."""
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0


def points(depth: Depth, size: Size) -> Depth:
    """The pixel at the centre of each block: (h, w)."""
    if depth.shape == size:
        return depth.copy()
    i, j = (((2 * np.arange(size[k]) + 1) * depth.shape[k]) // (2 * size[k]) for k in (0, 1))
    return depth[np.ix_(i, j)]


def means(depth: Depth, size: Size) -> Depth:
    """The mean over the valid pixels of each block, NaN where that is less than half of it: (h, w)."""
    if depth.shape == size:
        return depth.copy()
    valid = np.isfinite(depth)
    total, share = (
        cv2.resize(part.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
        for part in (np.where(valid, depth, 0), valid)
    )
    return np.where(share >= _COVER - 1e-4, total / np.maximum(share, 1e-6), np.nan).astype(np.float32)


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
