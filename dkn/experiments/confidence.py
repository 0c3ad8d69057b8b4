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

"""The model of `dkn.depth.confidence`: fitted on the training half of NYU v2, judged on others (`dkn confidence`).

calibration   mean over ten bins of equal width, weighted by how many pixels are in each, of the difference between
              the confidence said and the share that was right
AUSE          area between the sparsification curve by confidence and that by the true error (Ilg et al., Uncertainty
              Estimates and Multi-Hypotheses Networks for Optical Flow, ECCV 2018), of the share that is wrong, when
              the least confident pixels are taken away; beside it, the same by the slope of depth alone
flying        share of flying pixels (`dkn.evaluation.metrics.flying_pixels`) of those that are left
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from dkn.data.sample import Dataset
from dkn.depth.confidence import TOLERANCE, confidence, expand, features
from dkn.depth.degradation import degrade
from dkn.depth.resample import upsample_bicubic
from dkn.evaluation.metrics import flying_pixels
from dkn.upsampler import Upsampler

KINDS = ("nearest", "noise", "holes", "structured_light", "time_of_flight")
PIXELS = 2000  # of each picture that are fitted to
THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
BINS = 10


@dataclass(frozen=True)
class Case:
    """A picture upsampled: (H, W) metres with NaN, but for `low`, which is smaller."""

    low: np.ndarray
    result: np.ndarray
    bicubic: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Judgement:
    """Of confidence on a set at one scale and kind of input."""

    calibration: float
    ause: float
    ause_slope: float
    flying_bicubic: float
    flying: float
    """Without a threshold."""
    left: dict[float, tuple[float, float]]
    """By threshold: share of the known pixels that are left, and of flying pixels among them."""


def cases(dataset: Dataset, model: Upsampler, scale: int, kind: str, images: Iterable[int]) -> Iterator[Case]:
    """Pictures of a set, reduced and upsampled again."""
    for index in images:
        sample = dataset[index].cropped(scale)
        low = degrade(sample.source, scale, kind, np.random.default_rng((0, index)), sample.color)
        truth = sample.depth if sample.full_depth is None else sample.full_depth
        size = sample.color.shape[0], sample.color.shape[1]
        yield Case(low, model(sample.color, low), upsample_bicubic(low, size), truth)


def fit(dataset: Dataset, model: Upsampler, scales: Sequence[int], images: Sequence[int]) -> np.ndarray:
    """Coefficients for `dkn.depth.confidence`: logistic regression by Newton's method, (28,) float32."""
    rng = np.random.default_rng(0)
    rows, right = [], []
    for i, index in enumerate(tqdm(images, "fitting", unit="image")):
        scale, kind = scales[i % len(scales)], KINDS[i // len(scales) % len(KINDS)]
        for case in cases(dataset, model, scale, kind, [index]):
            known = np.flatnonzero(np.isfinite(case.result) & np.isfinite(case.truth))
            chosen = rng.choice(known, min(PIXELS, len(known)), replace=False)
            rows.append(features(case.result, case.low).reshape(-1, 6)[chosen])
            right.append(_right(case.result, case.truth).ravel()[chosen])
    x, y = expand(np.concatenate(rows).astype(np.float64)), np.concatenate(right).astype(np.float64)
    beta, ridge = np.zeros(x.shape[1]), 1e-3 * len(x) * np.diag(np.r_[0, np.full(x.shape[1] - 1, 1e-3)])
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        step = np.linalg.solve(
            (x * (p * (1 - p))[:, None]).T @ x + ridge + 1e-9 * np.eye(len(beta)), x.T @ (y - p) - ridge @ beta
        )
        beta += step
        if np.abs(step).max() < 1e-6:
            break
    return np.asarray(beta, np.float32)


def judge(found: Iterable[Case]) -> Judgement:
    """All pixels of all cases together."""
    said, right, slope, flying = [], [], [], []
    flying_bicubic = []
    for case in found:
        known = np.isfinite(case.result) & np.isfinite(case.truth)
        said.append(confidence(case.result, case.low)[known])
        right.append(_right(case.result, case.truth)[known])
        slope.append(features(case.result, case.low)[..., 2][known])
        flying.append(flying_pixels(case.result, case.truth)[known])
        both = np.isfinite(case.bicubic) & np.isfinite(case.truth)
        flying_bicubic.append(flying_pixels(case.bicubic, case.truth)[both])
    p, good, bad = np.concatenate(said), np.concatenate(right), np.concatenate(flying)
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    calibration = sum(abs(float((good[bins == b] - p[bins == b]).sum())) for b in range(BINS)) / len(p)
    left = {t: (float(np.mean(p >= t)), float(np.mean(bad[p >= t])) if (p >= t).any() else 0.0) for t in THRESHOLDS}
    return Judgement(
        calibration,
        ause(p, good),
        ause(-np.concatenate(slope), good),
        float(np.mean(np.concatenate(flying_bicubic))),
        float(np.mean(bad)),
        left,
    )


def ause(trust: np.ndarray, right: np.ndarray, steps: int = 100) -> float:
    """Area under the sparsification error curve of the share that is wrong, over the shares taken away."""
    wrong = ~right
    by_trust = wrong[np.argsort(-trust, kind="stable")].cumsum() / np.arange(1, len(wrong) + 1)
    ideal = np.sort(wrong).cumsum() / np.arange(1, len(wrong) + 1)
    at = (np.linspace(1 / steps, 1, steps) * len(wrong)).astype(int) - 1
    return float(np.mean(by_trust[at.clip(0)] - ideal[at.clip(0)]))


def _right(result: np.ndarray, truth: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(result - truth) <= TOLERANCE * truth)
