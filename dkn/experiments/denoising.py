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

"""`dkn denoise`: train a network on noisy depth, and its RMSE beside the guided filter's (supplement 4.1.1).

Each test image is scaled to 0..1 by its own span, gets noise of variance 0.005 (the same for every method), and is
cleaned under the guidance of its colour image. The supplement names no unit for its RMSE; both likely ones are given:
grey levels (0..1 = 0..255) and cm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from tqdm import tqdm

from dkn.data.sample import Dataset, Sample
from dkn.evaluation import paper, rmse
from dkn.evaluation.baselines import guided_filter
from dkn.experiments.noise import add_noise, scaled
from dkn.filter import Filter
from dkn.utils.tables import markdown

Cleaner = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Noisy (H, W) float32 around 0..1 and its guidance (H, W, 3) uint8 RGB → (H, W) float32."""

GUIDED_FILTER: dict[str, Any] = {"radius": 3, "eps": 195.075}
"""Best of radius 2, 3, 4 on six test images of NYU v2, in its favour; `dkn denoise tune` looks at training images."""
GRID: dict[str, Sequence[Any]] = {"radius": (2, 3, 4, 6, 8), "eps": tuple(255**2 * e for e in (1e-3, 3e-3, 1e-2, 3e-2))}


@dataclass(frozen=True)
class Cleaned:
    """One method's row: means over the images."""

    method: str
    rmse_levels: float
    """Grey levels: 1/255 of each image's span."""
    rmse_cm: float


def methods(models: Sequence[str], device: str = "auto") -> dict[str, Cleaner]:
    """What to compare: nothing done, the guided filter, and models."""
    found: dict[str, Cleaner] = {
        "noisy input": lambda noisy, color: noisy,
        "guided filter": partial(guided_filter, **GUIDED_FILTER),
    }
    return found | {str(model): Filter(model, device=device) for model in models}


def evaluate(dataset: Dataset, cleaners: Mapping[str, Cleaner], images: Sequence[int], seed: int = 0) -> list[Cleaned]:
    """RMSE of each method over these images, without the set's border."""
    errors: dict[str, list[tuple[float, float]]] = {name: [] for name in cleaners}
    for i in tqdm(images, desc=f"{dataset.name} noise", unit="image", delay=1):
        sample = dataset[i]
        truth, span = scaled(sample.depth)
        noisy = noisy_of(sample, np.random.default_rng((seed, i)))
        for name, clean in cleaners.items():
            error = rmse(clean(noisy, sample.color), truth, dataset.border)
            errors[name].append((255 * error, dataset.unit_scale * span * error))
    return [Cleaned(name, *(float(m) for m in np.mean(found, axis=0))) for name, found in errors.items()]


def noisy_of(sample: Sample, rng: np.random.Generator) -> np.ndarray:
    """The depth of a sample in 0..1 with noise; an unknown pixel holds the mean of the known ones, and noise."""
    truth = scaled(sample.depth)[0]
    known = np.isfinite(truth)
    return add_noise(np.where(known, truth, truth[known].mean() if known.any() else 0), rng)


def tune(dataset: Dataset, images: Sequence[int]) -> list[tuple[float, dict[str, float]]]:
    """RMSE in levels of the guided filter for each point of `GRID`, the best first."""
    grid = [dict(zip(GRID, values, strict=True)) for values in product(*GRID.values())]
    cleaners = {str(i): partial(guided_filter, **point) for i, point in enumerate(grid)}
    found = evaluate(dataset, cleaners, images)
    return sorted(((row.rmse_levels, p) for row, p in zip(found, grid, strict=True)), key=lambda pair: pair[0])


def table(rows: Sequence[Cleaned], dataset: str, count: int) -> str:
    """Markdown, with the supplement's own figures."""
    heads = [f"noise removal, {dataset}, {count} images", "RMSE, levels", "RMSE, cm"]
    found = markdown(heads, [[row.method, f"{row.rmse_levels:.2f}", f"{row.rmse_cm:.2f}"] for row in rows])
    quoted = ", ".join(f"{name} {value:.2f}" for name, value in paper.NOISE.items())
    return f"{found}\n\n*The supplement's own, unit not named, 449 images: {quoted}.*"
