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

"""How likely a depth is right: within `TOLERANCE` of the truth.

A pixel is judged by what lies around it in the input and in the result, whichever engine made it: how far apart the
depths are that were measured near it, how far it lies from the nearest of them (a flying pixel lies between two
surfaces, near none), how many were not measured, its slope, its depth, and the scale. A logistic model turns these into
a probability; `dkn confidence --fit` fits it (`dkn.experiments.confidence`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dkn.depth.units import Depth

try:
    from dkn.depth.kernels import numba_confidence as kernels
except ImportError:  # Numba is an extra: without it, slower and the same
    from dkn.depth.kernels import numpy_confidence as kernels  # type: ignore[no-redef]

TOLERANCE = 0.02
"""Relative error up to which a depth is right."""

FEATURES = ("spread", "gap", "slope", "missing", "depth", "scale")
"""Of a pixel, beside 1: log of the relative range of the nine measured depths around it; log of its relative distance
from the nearest of these; log of the largest relative step to its four neighbours; the share of the nine that is
missing; log of its depth in metres; log₂ of the scale. The model has them, their squares and their products."""

# fmt: off
COEFFICIENTS = np.array([
    -8.148, 0.4574, -2.391, 0.4202, 4.33, 0.3519, 0.6438, 0.04068, 0.1171, -0.009731, 0.777, 0.04521,
    -0.1514, -0.134, -0.1053, 0.5653, -0.08874, 0.1266, 0.2987, 0.3876, 0.1841, 0.1258, 2.176, 0.2862,
    -0.3593, -0.05684, 0.1546, -0.0612,
], np.float32)
# fmt: on
"""Of 1, the features, and their products in the order of `expand`."""


def confidence(result: Depth, low: Depth) -> NDArray[np.float32]:
    """Probability that each depth is right, given as (H, W) float32, 0 to 1; 0 where there is none.

    Args:
        result: (H, W) float32 metres, NaN = unknown.
        low: (h, w) float32 metres, NaN = unknown: what it was upsampled from.
    """
    return kernels.probability(*_arguments(result, low), COEFFICIENTS)


def features(result: Depth, low: Depth) -> NDArray[np.float32]:
    """`FEATURES` of each pixel, (H, W, 6) float32; of no meaning where there is no depth. For fitting."""
    return kernels.features(*_arguments(result, low))


def expand(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 6) features → (n, 28): 1, the features, their squares and products, row by row of the upper triangle."""
    whole = np.concatenate((np.ones((len(found), 1)), found), axis=1)
    i, j = np.triu_indices(whole.shape[1])
    return np.asarray(whole[:, i] * whole[:, j])


def _arguments(result: Depth, low: Depth) -> tuple[Depth, Depth, float]:
    scale = math.log2(max(result.size / low.size, 1)) / 2
    return np.ascontiguousarray(result, np.float32), np.ascontiguousarray(low, np.float32), scale
