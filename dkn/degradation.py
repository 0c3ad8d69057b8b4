"""How a low-resolution depth map arises from a high-resolution one.

All maps are (H, W) float32 in metres with NaN for invalid pixels. ``degrade`` makes the input of the
upsampling networks; ``kinect_noise`` makes a full-resolution map look like that of a structured-light sensor.

The low-resolution size is (H // scale, W // scale), at least 1 x 1, and covers the whole picture: where the
division leaves a remainder, a low-resolution pixel covers slightly more than ``scale`` pixels, exactly as
``PIL.Image.resize`` to that size does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dkn.depth import resize_bicubic
from dkn.errors import ConfigError

Depth = NDArray[np.float32]
Mask = NDArray[np.bool_]

DEGRADATIONS: tuple[str, ...] = (
    "bicubic",
    "bilinear",
    "area",
    "nearest",
    "noise",
    "quantised",
    "holes",
    "misregistered",
    "sensor",
)

# The Kinect v1: disparity is measured in eighths of a pixel of its infrared camera (Khoshelham and
# Elberink, "Accuracy and Resolution of Kinect Depth Data", Sensors 2012, Table 1: f = 5.453 mm at a pixel
# of 9.3 um, b = 74.96 mm).
KINECT_FOCAL = 586.0  # pixels
KINECT_BASELINE = 0.075  # metres
KINECT_STEP = 0.125  # pixels of disparity
KINECT_RANGE = (0.4, 8.0)  # metres

_COVER = 0.5  # a low-resolution pixel is valid if at least this share of its support is
_EDGE = 0.04  # relative depth step that counts as a depth edge
_SHADOW_EDGE = 0.08  # the same at low resolution, where a slanted wall alone makes steps of several per cent


def degrade(depth: Depth, scale: int, kind: str, rng: np.random.Generator) -> Depth:
    """Low-resolution version of a depth map.

    Args:
        depth: (H, W) float32, metres, NaN = invalid.
        scale: downsampling factor, at least 1.
        kind: one of ``DEGRADATIONS``:

            - ``bicubic``: antialiased bicubic (a = -1/2), equal to PIL's ``resize`` and to torch's
              ``interpolate(mode="bicubic", antialias=True)``; the usual evaluation protocol.
            - ``bilinear``: antialiased bilinear, likewise.
            - ``area``: mean of the valid pixels in each block.
            - ``nearest``: the pixel at the centre of each block, index floor((i + 1/2) H / h). The centre of
              an even block lies between pixels; the one after it, ``scale // 2``, is taken, so the samples
              sit half a pixel right of and below the block centres.
            - ``noise``: bicubic, then Gaussian noise with a deviation of 1 % of the depth.
            - ``quantised``: bicubic, then the disparity steps of the Kinect (see ``quantise_disparity``).
            - ``holes``: bicubic, then 30 % of the low-resolution pixels made invalid in random blobs.
            - ``misregistered``: the depth is moved by 1 to 2 pixels of the high resolution in a random
              direction before bicubic, its border repeated.
            - ``sensor``: point samples or block means (at random), axial noise growing with the square of
              the depth, disparity steps, a projector shadow of 2 to 4 low-resolution pixels on the left of
              near surfaces, and a few per cent of holes in random blobs.
        rng: source of all randomness; the same state gives the same map.

    Returns:
        (H // scale, W // scale) float32, metres. Invalid pixels never contribute: weights are renormalised
        over the valid part of the support, and the result is NaN where that is less than half.

    Raises:
        ConfigError: unknown kind, or scale not an integer of at least 1.
    """
    if kind not in _KINDS:
        raise ConfigError(f"unknown degradation {kind!r}; choose one of {', '.join(DEGRADATIONS)}")
    if isinstance(scale, bool) or not isinstance(scale, int | np.integer) or scale < 1:
        raise ConfigError(f"the downsampling factor must be an integer of at least 1, not {scale!r}")
    height, width = depth.shape
    size = max(1, height // int(scale)), max(1, width // int(scale))
    return _KINDS[kind](np.asarray(depth, np.float32), size, rng)


def kinect_noise(
    depth: Depth,
    rng: np.random.Generator,
    focal: float | None = None,
    baseline: float = KINECT_BASELINE,
    holes: float = 0.01,
) -> Depth:
    """An exact depth map as a structured-light sensor of the Kinect v1's kind would deliver it.

    In this order: depth edges made ragged by a lateral jitter of about half a pixel; axial noise (see
    ``axial_sigma``) that neighbours share, as they share their matching window; disparity steps; the
    projector's shadow on the left of near surfaces; drop-outs at depth edges; random blobs without depth;
    nothing below 0.4 or above 8 m.

    Args:
        depth: (H, W) float32, metres, NaN = invalid.
        rng: source of all randomness.
        focal: focal length in pixels at this resolution; by default a Kinect's, 525 at a width of 640.
        baseline: metres between camera and projector.
        holes: share of the pixels lost to random blobs.

    Returns:
        (H, W) float32, metres, NaN = invalid.
    """
    depth = np.asarray(depth, np.float32)
    focal = 525.0 * depth.shape[1] / 640 if focal is None else focal
    shadow = _shadow(depth, focal * baseline)
    jumps = _edges(depth)
    lost = shadow | (jumps & (_smooth(depth.shape, 1.0, rng) > 0.3))
    noisy = _jitter(depth, rng)
    noisy += axial_sigma(noisy) * _smooth(depth.shape, 0.8, rng)
    noisy = quantise_disparity(noisy)
    with np.errstate(invalid="ignore"):
        lost |= (noisy < KINECT_RANGE[0]) | (noisy > KINECT_RANGE[1])
    lost |= _blobs(depth.shape, holes, rng)
    noisy[lost] = np.nan
    return noisy


def axial_sigma(depth: Depth) -> Depth:
    """Deviation in metres of a Kinect's depth, 0.0012 + 0.0019 (z - 0.4)^2 (Nguyen et al., 3DIMPVT 2012)."""
    return np.asarray(0.0012 + 0.0019 * (depth - 0.4) ** 2, np.float32)


def quantise_disparity(
    depth: Depth,
    focal: float = KINECT_FOCAL,
    baseline: float = KINECT_BASELINE,
    step: float = KINECT_STEP,
) -> Depth:
    """Depth after its disparity d = f b / z (pixels) has been rounded to a multiple of ``step``.

    The steps in depth grow as z^2 step / (f b): 3 mm at 1 m, 26 mm at 3 m. A depth so far away that its
    disparity rounds to zero, or not positive, becomes NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = np.round(focal * baseline / (depth.astype(np.float64) * step))
        result = focal * baseline / (levels * step)
        return np.where((levels > 0) & np.isfinite(levels), result, np.nan).astype(np.float32)


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
    i, j = (((2 * np.arange(size[k]) + 1) * depth.shape[k]) // (2 * size[k]) for k in (0, 1))
    return depth[np.ix_(i, j)].copy()


# --- Sensor effects ---------------------------------------------------------------------------------------


def _smooth(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> Depth:
    """Gaussian noise (H, W) of mean 0 and deviation 1 that is correlated over ``sigma`` pixels."""
    field = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), sigma)
    line = cv2.getGaussianKernel(2 * round(4 * sigma) + 1, sigma)
    return np.asarray(field / (line**2).sum(), np.float32)  # the deviation that the blur leaves


def _blobs(shape: tuple[int, ...], share: float, rng: np.random.Generator) -> Mask:
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


# --- The kinds --------------------------------------------------------------------------------------------


def _bicubic(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    return _resample(depth, size, "bicubic")


def _bilinear(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    return _resample(depth, size, "bilinear")


def _area(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    return _resample(depth, size, "area")


def _point(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    return _nearest(depth, size)


def _noise(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    low = _resample(depth, size, "bicubic")
    return low * (1 + np.float32(0.01) * rng.standard_normal(size, np.float32))


def _quantised(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    return quantise_disparity(_resample(depth, size, "bicubic"))


def _holes(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    low = _resample(depth, size, "bicubic")
    low[_blobs(size, 0.3, rng)] = np.nan
    return low


def _misregistered(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    moves = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if 1 <= y * y + x * x <= 4]
    down, right = moves[rng.integers(len(moves))]
    i = (np.arange(depth.shape[0]) - down).clip(0, depth.shape[0] - 1)
    j = (np.arange(depth.shape[1]) - right).clip(0, depth.shape[1] - 1)
    return _resample(depth[np.ix_(i, j)], size, "bicubic")


def _sensor(depth: Depth, size: tuple[int, int], rng: np.random.Generator) -> Depth:
    low = _nearest(depth, size) if rng.random() < 0.5 else _resample(depth, size, "area")
    shadow = np.zeros(size, bool)
    with np.errstate(invalid="ignore"):
        near = low[:, 1:] * (1 + _SHADOW_EDGE)
        step = low[:, :-1] > near
        for k in range(min(int(rng.integers(2, 5)), size[1] - 1)):
            # Of the pixels left of an edge those that lie behind the surface on its right.
            shadow[:, : size[1] - 1 - k] |= step[:, k:] & (low[:, : size[1] - 1 - k] > near[:, k:])
    low = quantise_disparity(low + axial_sigma(low) * rng.standard_normal(size, np.float32))
    low[shadow | _blobs(size, rng.uniform(0.01, 0.05), rng)] = np.nan
    return low


_KINDS: dict[str, Callable[[Depth, tuple[int, int], np.random.Generator], Depth]] = dict(
    zip(
        DEGRADATIONS,
        (_bicubic, _bilinear, _area, _point, _noise, _quantised, _holes, _misregistered, _sensor),
        strict=True,
    )
)
