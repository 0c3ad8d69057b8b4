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

"""Errors on a recording of a real sensor, and where they lie.

RMSE and median error count the pixels that are safe to judge: measured, and not beside a depth edge, where the truth is
one to three pixels off. Edges are what guidance is for, though, and holes what is left to fill: so these count too,
each in figures of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from dkn.data.sample import Sample
from dkn.evaluation.error_profile import edge_distance

EDGE_REACH = 4.0  # pixels around a depth edge of the truth

FIGURES: Mapping[str, str] = {
    "mean_error": "mean absolute error",
    "rmse_all": "RMSE, edges judged",
    "median_error_all": "median absolute error, edges judged",
    "mean_error_all": "mean absolute error, edges judged",
    "rmse_edges": "RMSE within 4 px of edges",
    "mean_error_edges": "mean absolute error within 4 px of edges",
    "median_error_holes": "median absolute error in holes",
    "mean_error_holes": "mean absolute error in holes",
    "completeness": "share of the pixels with depth, %",
}
"""What is measured, as results call it, and as tables do. The last one is no error."""


class RecordedErrors:
    """The figures of one frame, for any number of methods.

    Args:
        sample: with `measured`, `full_depth` and `judged`.
        border: pixels left out at each side.
        unit_scale: what errors are multiplied by.
    """

    def __init__(self, sample: Sample, border: int, unit_scale: float):
        inner = (slice(border, -border or None),) * 2
        full = sample.depth if sample.full_depth is None else sample.full_depth
        judged = np.isfinite(sample.depth) if sample.judged is None else sample.judged
        known = np.isfinite(full)
        near = edge_distance(full) <= EDGE_REACH
        self._inner, self._unit_scale = inner, unit_scale
        self._truth = full[inner].astype(np.float64)
        self._known = known[inner]
        self._regions = {
            "": np.isfinite(sample.depth)[inner],
            "_all": (known & judged)[inner],
            "_edges": (known & judged & near)[inner],
            "_holes": (known & ~sample.seen)[inner],
        }

    def of(self, result: np.ndarray) -> dict[str, float]:
        """Each of `FIGURES` for a method's depth (H, W); NaN where there is no pixel to tell."""
        error = self._unit_scale * np.abs(result[self._inner] - self._truth)
        found = np.isfinite(error)
        figures = {"completeness": 100 * float(found[self._known].mean()) if self._known.any() else math.nan}
        for name, region in self._regions.items():
            errors = error[region & found]
            if errors.size:
                figures[f"rmse{name}"] = math.sqrt(float(np.mean(errors**2)))
                figures[f"mean_error{name}"] = float(errors.mean())
                figures[f"median_error{name}"] = float(np.median(errors))
        return {key: figures.get(key, math.nan) for key in FIGURES}


def mean_figures(frames: list[dict[str, float]]) -> dict[str, float]:
    """Means over the frames that have each."""
    return {key: mean_of_known([frame[key] for frame in frames]) for key in frames[0]}


def mean_of_known(values: Sequence[float]) -> float:
    """The mean of those that are numbers; NaN if none is."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
