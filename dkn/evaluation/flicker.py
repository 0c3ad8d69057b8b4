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

"""Temporal flicker: how much a method's output moves where the scene does not.

Both measures are zero for a method that ignores noise, and equal the noise's standard deviation for one that passes
independent noise on; the row "bicubic" shows what the input brings along.

    A set of still images    The same crop again and again, each time with new noise from the degradation: standard
                             deviation over time of each pixel, then the root mean square over pixels.
    A recording              The camera moves, so the error against the truth of each frame stands for the output:
                             difference between successive frames' errors / √2, of the typical pixel (median of the
                             absolute differences × 1.4826, the deviation if they are normally distributed; pixels that
                             a step in depth has moved across do not count then).

Both are averaged over images (pairs of frames). Where the sensor or the truth knows nothing, nothing is counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from tqdm import tqdm

from dkn.data.sample import Dataset, Sample
from dkn.depth.degradation import degrade
from dkn.evaluation.protocol import Method
from dkn.utils.arguments import limited

CROP = 192  # pixels along the static crop, from the middle of the image; a multiple of every scale up to 16
DRAWS = 8  # frames of the static crop

_MEDIAN_TO_DEVIATION = 1.4826  # a normal distribution's deviation over its median absolute value


def flicker(
    dataset: Dataset,
    methods: Mapping[str, Method],
    scale: int,
    degradation: str,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Flicker of each method, in the unit of the set; 0 for a degradation without chance in it.

    Raises:
        ConfigError: a limit below 1.
    """
    count = limited(len(dataset), limit)
    measure = _of_recording if getattr(dataset, "sequential", False) else _of_still_images
    values = measure(dataset, methods, scale, degradation, count, seed)
    return {name: dataset.unit_scale * _mean(value) for name, value in values.items()}


def _of_still_images(
    dataset: Dataset, methods: Mapping[str, Method], scale: int, degradation: str, count: int, seed: int
) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {name: [] for name in methods}
    for i in tqdm(range(count), desc=f"flicker {scale}x {degradation}", unit="image"):
        sample = static_crop(dataset[i]).cropped(scale)
        inputs = [
            degrade(sample.source, scale, degradation, np.random.default_rng((seed, i, k)), sample.color)
            for k in range(DRAWS)
        ]
        for name, method in methods.items():
            outputs = np.stack([method(sample.color, low) for low in inputs]).astype(np.float64)
            values[name].append(deviation_over_time(outputs, np.isfinite(sample.depth)))
    return values


def _of_recording(
    dataset: Dataset, methods: Mapping[str, Method], scale: int, degradation: str, count: int, seed: int
) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {name: [] for name in methods}
    previous: dict[str, np.ndarray] = {}
    for i in tqdm(range(count), desc=f"flicker {scale}x {degradation}", unit="frame"):
        sample = dataset[i].cropped(scale)
        low = degrade(sample.source, scale, degradation, np.random.default_rng((seed, i)), sample.color)
        for name, method in methods.items():
            error = method(sample.color, low).astype(np.float64) - sample.depth
            if name in previous:
                values[name].append(change_over_time(previous[name], error))
            previous[name] = error
    return values


def static_crop(sample: Sample) -> Sample:
    """The middle `CROP` × `CROP` pixels, or as many as there are."""
    height, width = sample.depth.shape
    top, left = (max(n - CROP, 0) // 2 for n in (height, width))
    return sample.part(slice(top, top + CROP), slice(left, left + CROP))


def deviation_over_time(frames: np.ndarray, known: np.ndarray) -> float:
    """Root mean square over the known pixels of each one's standard deviation over (T, H, W) frames; NaN if none."""
    variance = frames.var(axis=0, ddof=1)[known]
    variance = variance[np.isfinite(variance)]
    return math.sqrt(variance.mean()) if variance.size else math.nan


def change_over_time(before: np.ndarray, after: np.ndarray) -> float:
    """1.4826 · median |after − before| / √2 over pixels known in both; NaN if there is none."""
    difference = after - before
    difference = difference[np.isfinite(difference)]
    return _MEDIAN_TO_DEVIATION * float(np.median(np.abs(difference))) / math.sqrt(2) if difference.size else math.nan


def _mean(values: list[float]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else math.nan
