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

"""A picture of methods side by side: the crop where bicubic interpolation errs most, and below it each one's error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from dkn.data.sample import Dataset
from dkn.depth.degradation import degrade
from dkn.depth.grid import pixels_under
from dkn.evaluation.metrics import rmse
from dkn.evaluation.protocol import Method, bicubic
from dkn.utils.visualize import beside, colorize, colorize_error, depth_span, labelled

CROP = 112  # pixels of the data set along a crop's side
_PANEL = 224  # screen pixels along a crop's side


def comparison(
    dataset: Dataset,
    methods: Mapping[str, Method],
    scale: int,
    degradation: str = "bicubic",
    index: int = 0,
    seed: int = 0,
) -> np.ndarray:
    """Colour, low-resolution input, every method and the truth; below each method its absolute error.

    The label of an error map is the crop's RMSE; white means as much error as the 98th percentile of bicubic
    interpolation's, in all of them.

    Args:
        methods: by name; their inputs are those of `evaluate` for the same image and seed.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    sample = dataset[index].cropped(scale)
    low = degrade(sample.source, scale, degradation, np.random.default_rng((seed, index)), sample.color)
    outputs = {name: method(sample.color, low) for name, method in methods.items()}
    start = bicubic(sample.color, low)
    inner = worst_crop(np.abs(start - sample.depth), dataset.border)
    truth = sample.depth[inner]
    depths = {"input": _blocks(low, sample.depth.shape)[inner]}
    depths |= {name: output[inner] for name, output in outputs.items()}
    span = depth_span(truth, depths["input"])
    errors = {name: np.abs(output - truth) for name, output in depths.items() if name != "input"}
    worst = np.abs(start[inner] - truth)
    worst = worst[np.isfinite(worst)]
    high = max(float(np.percentile(worst, 98)) if worst.size else 0.0, 1e-6)

    title = f"{dataset.name} {scale}x {degradation}, {sample.name}"
    above = [_panel(title, sample.color[inner])]
    above += [_panel(name, colorize(depth, *span)) for name, depth in depths.items()]
    above += [_panel("truth", colorize(truth, *span))]
    below = [_panel("", _empty()), _panel(f"white: {dataset.unit_scale * high:.3g} {dataset.unit}", _empty())]
    for name, error in errors.items():
        value = dataset.unit_scale * rmse(depths[name], truth)
        below.append(_panel(f"RMSE {value:.2f} {dataset.unit}", colorize_error(error, high)))
    below.append(_panel("", _empty()))
    return np.concatenate((beside(above), beside(below)))


def stack(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of any width below each other."""
    width = max(picture.shape[1] for picture in pictures)
    padded = [np.pad(p, ((0, 10), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures]
    return np.concatenate(padded)


def worst_crop(error: np.ndarray, border: int) -> tuple[slice, slice]:
    """The square of `CROP` pixels (or what fits inside the border) with the largest sum of squared errors. Of an image
    that is nothing but border, all of it."""
    border = border if min(error.shape) > 2 * border else 0
    inner = np.nan_to_num(error[border : -border or None, border : -border or None].astype(np.float64)) ** 2
    height, width = (min(CROP, n) for n in inner.shape)
    sums = cv2.integral(inner)
    total = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(int(total.argmax()), total.shape)
    y, x = int(top) + border, int(left) + border
    return slice(y, y + height), slice(x, x + width)


def _blocks(low: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Low-resolution pixels as the blocks of high-resolution ones that they stand for."""
    return low[np.ix_(*map(pixels_under, size, low.shape))]


def _panel(name: str, picture: np.ndarray) -> np.ndarray:
    return labelled(name, picture, (_PANEL, _PANEL))


def _empty() -> np.ndarray:
    return np.full((_PANEL, _PANEL, 3), 255, np.uint8)
