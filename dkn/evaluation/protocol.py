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

"""RMSE of methods on a data set, by the protocol of the paper (section 4.2).

The low-resolution depth is made from the true one, each method upsamples it, and the root mean square error of each
image, without a border, is averaged over the images. Rows and columns that the scale does not divide are cut off at
the bottom and the right first, so that the low-resolution depth is smaller by the scale exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from dkn.data.sample import Dataset
from dkn.depth.degradation import degrade
from dkn.depth.resample import upsample_bicubic
from dkn.errors import ConfigError, DataError
from dkn.evaluation.metrics import median_error, rmse
from dkn.evaluation.recorded import RecordedErrors, mean_figures, mean_of_known
from dkn.utils.arguments import limited

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(H, W, 3) uint8 RGB and (h, w) float32 metres with NaN → (H, W) float32 metres with NaN."""


@dataclass(frozen=True)
class Result:
    """One method's row: mean RMSE over the images, and mean seconds an image."""

    method: str
    rmse: float
    mean_seconds: float
    median_error: float | None = None
    """Median absolute error, mean over the images; for what a sensor measured only. There a few pixels are off by whole
    steps in depth, whatever the method, and make most of the RMSE."""
    flicker: float | None = None
    """How much the output moves over time where the scene does not (`flicker.py`); None: not measured."""
    unjudged: int | None = None
    """Of how many images no pixel is known in both result and truth: they count nowhere; None: of none."""
    recorded: Mapping[str, float] = field(default_factory=dict)
    """On a recording, what else there is to know of its errors (`recorded.py`)."""

    def to_json(self) -> dict[str, Any]:
        """The fields that have a value, those of `recorded` among them."""
        figures = {key: value for key, value in vars(self).items() if key != "recorded" and value is not None}
        return figures | dict(self.recorded)


@dataclass(frozen=True)
class Evaluation:
    """A table of results, and what they were measured on."""

    dataset: str
    scale: int
    degradation: str
    unit: str
    count: int
    results: Sequence[Result]

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "results": [result.to_json() for result in self.results]}

    def with_flicker(self, flicker: Mapping[str, float]) -> Evaluation:
        """The same with each method's flicker."""
        return replace(self, results=[replace(r, flicker=flicker[r.method]) for r in self.results])

    def left_out(self) -> list[str]:
        """How many images could not be judged, in words: of all methods, or of some."""
        words = []
        for count in sorted({r.unjudged for r in self.results if r.unjudged}):
            names = [r.method for r in self.results if r.unjudged == count]
            of = "" if len(names) == len(self.results) else f"{', '.join(names)}: "
            words.append(f"{of}no pixel to judge in {count} of {self.count} images, which count nowhere")
        return words

    def table(self) -> str:
        """The results as text, best first."""
        title = f"{self.dataset}, {self.scale}x, {self.degradation}, {self.count} images, RMSE in {self.unit}"
        width = max(len(result.method) for result in self.results)
        lines = [f"  {left_out}" for left_out in self.left_out()]
        for r in sorted(self.results, key=lambda r: (math.isnan(r.rmse), r.rmse)):
            further = {
                "median": r.median_error,
                "edges judged": r.recorded.get("rmse_all"),
                "mean error near edges": r.recorded.get("mean_error_edges"),
                "flicker": r.flicker,
            }
            known = {name: value for name, value in further.items() if value is not None and not math.isnan(value)}
            more = "".join(f"   {name} {value:.3f}" for name, value in known.items())
            lines.append(f"  {r.method:<{width}}  {r.rmse:8.3f}  {1e3 * r.mean_seconds:8.1f} ms{more}")
        return "\n".join([title, *lines])


def bicubic(color: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """The baseline that looks at depth alone."""
    return upsample_bicubic(depth, (color.shape[0], color.shape[1]), fill=True)


def evaluate(
    dataset: Dataset,
    methods: Mapping[str, Method],
    scale: int,
    degradation: str = "bicubic",
    limit: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """Run every method on the same low-resolution depth of each image.

    Means are over the images that have a pixel to judge, known in both result and truth.

    Raises:
        ConfigError: an unknown degradation, a scale or limit below 1, or nothing to evaluate.
        DataError: no pixel to judge in any of the images.
    """
    count = limited(len(dataset), limit)
    if count < 1 or not methods:
        raise ConfigError("nothing to evaluate: no images, or no method")
    if scale < 1:
        raise ConfigError(f"scale={scale}: a factor of at least 1 is needed")
    errors: dict[str, list[float]] = {name: [] for name in methods}
    medians: dict[str, list[float]] = {name: [] for name in methods}
    recorded: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    seconds = dict.fromkeys(methods, 0.0)
    for i in tqdm(range(count), desc=f"{dataset.name} {scale}x {degradation}", unit="image"):
        sample = dataset[i].cropped(scale)
        low = degrade(sample.source, scale, degradation, np.random.default_rng((seed, i)), sample.color)
        figures = None if sample.measured is None else RecordedErrors(sample, dataset.border, dataset.unit_scale)
        for name, method in methods.items():
            started = time.perf_counter()
            result = method(sample.color, low)
            seconds[name] += time.perf_counter() - started
            errors[name].append(dataset.unit_scale * rmse(result, sample.depth, dataset.border))
            if figures is not None:
                recorded[name].append(figures.of(result))
                medians[name].append(dataset.unit_scale * median_error(result, sample.depth, dataset.border))
    if not np.isfinite(list(errors.values())).any():
        raise DataError(
            f"{dataset.name}: no pixel to judge in any of {count} images: inside a border of {dataset.border} pixels, "
            "none is known in both truth and result"
        )
    results = [
        Result(
            name,
            mean_of_known(errors[name]),
            seconds[name] / count,
            mean_of_known(m) if (m := medians[name]) else None,
            unjudged=int(np.isnan(errors[name]).sum()) or None,
            recorded=mean_figures(recorded[name]) if recorded[name] else {},
        )
        for name in methods
    ]
    return Evaluation(dataset.name, scale, degradation, dataset.unit, count, results)
