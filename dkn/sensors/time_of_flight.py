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

"""Time of flight (Kinect v2, Azure Kinect, phones, arrays of 8×8 to 320×240): the phase of modulated light.

A pixel sums the light of all it covers, and the phase of a sum lies between the phases: between near and far there are
flying pixels, nearer to the side that throws back more light. Light that arrives by way of other surfaces, or is
scattered in the lens, rounds corners. Noise falls with the light received; where that is little, or a pixel is seen to
be flying, drivers give no depth. Pixels are few.
"""

from __future__ import annotations

import cv2
import numpy as np

from dkn.sensors import toolbox as t

RANGE = (0.15, 10.0)  # metres


def time_of_flight(depth: t.Depth, color: t.Color, size: t.Size, focal: float, rng: np.random.Generator) -> t.Depth:
    """What such a camera measures, in colour's view. Arguments and result as of `structured_light`.

    The sensor's own pixels are those of `size`, or up to three times as large where a driver maps a coarser sensor to
    a finer grid.
    """
    scale = depth.shape[0] / size[0]
    coarser = max(1.0, rng.uniform(1.5, 3) / scale) if rng.random() < 0.7 else 1.0
    own = tuple(max(1, round(n / coarser)) for n in size)
    known = np.isfinite(depth)
    metres = np.where(known, depth, 1).astype(np.float32)
    # Infrared sees other contrasts than colour does: only partly the same.
    albedo = (0.15 + 0.85 * t.brightness(color)) ** np.float32(rng.uniform(0.3, 1.2))
    albedo = albedo * np.exp(np.float32(0.2) * t.smooth_noise(depth.shape, 12, rng))
    amplitude = np.where(known, albedo * t.facing(depth, focal) / metres**2, 0).astype(np.float32)
    wave = 2 * np.pi / rng.uniform(11, 20)  # radians a metre
    phase = np.float32(wave) * metres
    quantities = np.cos(phase), np.sin(phase), np.ones_like(phase), metres, metres**2
    parts = [_shrink(amplitude * part, own) for part in quantities]
    optics = rng.uniform(0.3, 0.7)  # of one of its pixels
    real, imaginary, light, first, second = (np.asarray(cv2.GaussianBlur(part, (3, 3), optics)) for part in parts)
    stray = np.float32(rng.uniform(0, 0.04))
    spread = max(own) * rng.uniform(0.01, 0.04)
    if spread >= 0.5:
        real, imaginary = (part + stray * _blur(part, spread) for part in (real, imaginary))
    measured = (np.arctan2(imaginary, real) % np.float32(2 * np.pi)) / np.float32(wave)

    with np.errstate(divide="ignore", invalid="ignore"):
        # The same light in every pixel would give a deviation that is the same everywhere.
        deviation = np.float32(10 ** rng.uniform(-3.5, -2.5)) / np.maximum(light, 1e-6) ** 0.7
        noise = {0.0: 0.5, 0.7: 0.3, 20.0: 0.2} if rng.random() < 0.5 else {0.8: 0.6, 2.0: 0.2, 20.0: 0.2}
        measured += np.minimum(deviation, 0.3) * t.correlated_noise(own, noise, rng)
        measured += np.float32(rng.uniform(0, 0.006)) * np.sin(measured * np.float32(rng.uniform(4, 12)))
        lost = (light < 1e-6) | (light < np.quantile(light, rng.uniform(0, 0.08)))
        if (
            rng.random() < 0.5 and depth.shape[0] < 6 * own[0]
        ):  # a filter of flying pixels; large pixels are all a bit so
            spread_out = np.sqrt(np.maximum(second / light - (first / light) ** 2, 0))
            lost |= spread_out > rng.uniform(0.02, 0.08) * first / light
    lost |= t.random_mask(rng.uniform(0, 0.01), own, 0, rng)
    lost |= ~((measured >= RANGE[0]) & (measured <= RANGE[1]))
    measured[lost] = np.nan
    return _enlarge(measured.astype(np.float32), size, smooth=rng.random() < 0.5)


def _shrink(image: t.Map, size: tuple[int, ...]) -> t.Map:
    return np.asarray(cv2.resize(image.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA))


def _blur(image: t.Map, sigma: float) -> t.Map:
    """A wide blur, on a coarser grid where that is enough."""
    step = max(1, min(int(sigma), *image.shape))
    small = cv2.resize(image, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA) if step > 1 else image
    small = cv2.GaussianBlur(small, (0, 0), sigma / step)
    return np.asarray(cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_LINEAR))


def _enlarge(depth: t.Depth, size: t.Size, smooth: bool) -> t.Depth:
    """On a finer grid, between valid pixels interpolated if `smooth`; NaN spreads."""
    if depth.shape == size:
        return depth
    if not smooth:
        return np.asarray(cv2.resize(depth, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
    return np.asarray(cv2.resize(depth, size[::-1], interpolation=cv2.INTER_LINEAR))
