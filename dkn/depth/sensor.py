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

"""What a structured-light sensor does to an exact depth map."""

from __future__ import annotations

import cv2
import numpy as np

from dkn.depth.units import Depth, Mask, measured
from dkn.sensors import CONCEIVABLE, kinect

_EDGE = 0.04  # relative depth step that counts as a depth edge


def kinect_noise(
    depth: Depth,
    rng: np.random.Generator,
    focal: float | None = None,
    baseline: float = kinect.BASELINE,
    holes: float = 0.01,
) -> Depth:
    """An exact depth map as a structured-light sensor of the Kinect v1's kind would deliver it.

    In this order: depth edges made ragged by a lateral jitter of about half a pixel; axial noise (see
    ``axial_sigma``) that neighbours share, as they share their matching window; disparity steps; the
    projector's shadow on the left of near surfaces; drop-outs at depth edges; random blobs without depth;
    nothing below 0.4 or above 8 m.

    Args:
        depth: (H, W) float32, metres, NaN = invalid, as what is not `dkn.sensors.CONCEIVABLE`.
        rng: source of all randomness.
        focal: focal length in pixels at this resolution; by default a Kinect's, 525 at a width of 640.
        baseline: metres between camera and projector.
        holes: share of the pixels lost to random blobs.

    Returns:
        (H, W) float32, metres, NaN = invalid.
    """
    depth = measured(np.asarray(depth, np.float32), *CONCEIVABLE)
    focal = kinect.COLOR_FOCAL * depth.shape[1] / kinect.SIZE[0] if focal is None else focal
    shadow = _shadow(depth, focal * baseline)
    jumps = _edges(depth)
    lost = shadow | (jumps & (_smooth(depth.shape, 1.0, rng) > 0.3))
    noisy = _jitter(depth, rng)
    noisy += axial_sigma(noisy) * _smooth(depth.shape, 0.8, rng)
    noisy = quantise_disparity(noisy)
    with np.errstate(invalid="ignore"):
        lost |= (noisy < kinect.RANGE[0]) | (noisy > kinect.RANGE[1])
    lost |= blobs(depth.shape, holes, rng)
    noisy[lost] = np.nan
    return noisy


def axial_sigma(depth: Depth) -> Depth:
    """Deviation in metres of a Kinect's depth, 0.0012 + 0.0019 (z - 0.4)^2 (Nguyen et al., 3DIMPVT 2012); infinite
    where that is more than float32 can say.
    """
    with np.errstate(over="ignore"):
        return np.asarray(0.0012 + 0.0019 * (depth - 0.4) ** 2, np.float32)


def quantise_disparity(
    depth: Depth,
    focal: float = kinect.INFRARED_FOCAL,
    baseline: float = kinect.BASELINE,
    step: float = kinect.STEP,
) -> Depth:
    """Depth after its disparity d = f b / z (pixels) has been rounded to a multiple of ``step``.

    The steps in depth grow as z^2 step / (f b): 3 mm at 1 m, 26 mm at 3 m. A depth so far away that its
    disparity rounds to zero, or not positive, becomes NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = np.round(focal * baseline / (depth.astype(np.float64) * step))
        result = focal * baseline / (levels * step)
        return np.where((levels > 0) & np.isfinite(levels), result, np.nan).astype(np.float32)


def _smooth(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> Depth:
    """Gaussian noise (H, W) of mean 0 and deviation 1 that is correlated over ``sigma`` pixels."""
    field = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), sigma)
    line = cv2.getGaussianKernel(2 * round(4 * sigma) + 1, sigma)
    return np.asarray(field / (line**2).sum(), np.float32)  # the deviation that the blur leaves


def blobs(shape: tuple[int, ...], share: float, rng: np.random.Generator) -> Mask:
    """A mask (H, W) of random blobs that covers ``share`` of the pixels (to the nearest pixel)."""
    field = _smooth(shape, max(1.0, 0.012 * max(shape)), rng).ravel()
    mask = np.zeros(field.size, bool)
    mask[np.argsort(field, kind="stable")[: round(share * field.size)]] = True
    return mask.reshape(shape)


def _edges(depth: Depth) -> Mask:
    """Pixels (H, W) with a depth edge in their 3 x 3 neighbourhood; NaN makes no edge."""
    around = np.ones((3, 3), np.uint8)
    valid = np.isfinite(depth)
    high = cv2.dilate(np.where(valid, depth, -1e6).astype(np.float32), around)
    low = cv2.erode(np.where(valid, depth, 1e6).astype(np.float32), around)
    return np.asarray(high - low > _EDGE * np.maximum(low, 0))


def _shadow(depth: Depth, pixel_metres: float) -> Mask:
    """What the projector, ``pixel_metres`` = f b to the right of the camera, does not light.

    A pixel in column x is lit from the projector's column x - f b / z. Along a row these columns ascend
    unless something further right is nearer: then it hides the pixel from the projector.
    """
    with np.errstate(divide="ignore"):
        column = np.arange(depth.shape[1]) - pixel_metres / np.where(depth > 0, depth, np.inf)
    least = np.minimum.accumulate(column[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(column > least)


def _jitter(depth: Depth, rng: np.random.Generator) -> Depth:
    """The map read at coordinates off by about half a pixel, the same for close neighbours."""
    i, j = np.indices(depth.shape)
    i = i + np.rint(0.5 * _smooth(depth.shape, 0.8, rng)).astype(int)
    j = j + np.rint(0.5 * _smooth(depth.shape, 0.8, rng)).astype(int)
    return depth[i.clip(0, depth.shape[0] - 1), j.clip(0, depth.shape[1] - 1)]
