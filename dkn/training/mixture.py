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

"""Several data sets as one to train on, and what inputs are drawn from each.

A model for real sensors sees exact depth that every kind of input is made of, and frames of real cameras, whose depth
is taken as it was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dkn.data.sample import Dataset, Sample
from dkn.sensors import SENSORS


class Kind(NamedTuple):
    """A kind of degradation in a mixture."""

    share: float
    """How often it is drawn, in relation to the others."""
    smallest_scale: int = 1
    """Below this it is not: it would change nothing, or no such camera has pixels as small as colour's."""


class Inputs(NamedTuple):
    """What a sensor model is trained to upsample."""

    kinds: Mapping[str, Kind]
    scales: Mapping[int, float]
    """How often each is drawn, in relation to the others; 0.1 for those that are not named."""
    misregistered: float = 0.0
    """How often depth is moved against colour and truth before it is reduced (`dkn.sensors.registration_error`)."""


KINDS = {
    "bicubic": Kind(0.05, 2),
    "area": Kind(0.05, 2),
    "nearest": Kind(0.37, 2),
    "noise": Kind(0.09),
    "holes": Kind(0.12),
    "sensor": Kind(0.02),
    "quantised": Kind(0.01),
    "misregistered": Kind(0.01),
    "structured_light": Kind(0.11),
    "active_stereo": Kind(0.06),
    "time_of_flight": Kind(0.06),
    "phone_lidar": Kind(0.05, 4),
}
"""The mixture for real sensors. The last four are cameras simulated as they work (`dkn.sensors`)."""

EXACT = Inputs(KINDS, {1: 0.12, 2: 0.08, 4: 0.14, 8: 0.54, 16: 0.12})
"""For exact depth."""
RENDERED = Inputs(
    {name: kind for name, kind in KINDS.items() if name in SENSORS},
    {1: 1, 2: 1, 4: 1, 8: 1, 16: 0.3},
)
"""For rendered rooms beside another set: cameras alone. Of the other kinds real pictures teach more."""
MEASURED = Inputs({"nearest": Kind(0.6), "area": Kind(0.4)}, {1: 1, 2: 1, 4: 1, 8: 1, 16: 0.3}, misregistered=0.5)
"""For what a camera measured. Every camera's depth lies beside its colour in a way of its own: frames of one camera
alone would teach that one way."""


class Part(NamedTuple):
    """A data set in a mixture."""

    dataset: Dataset
    share: float
    inputs: Inputs


class Mixture:
    """Data sets that crops are drawn from by their shares; as a sequence, one after the other.

    Args:
        parts: shares count in relation to their sum.
    """

    def __init__(self, parts: Sequence[Part]):
        self.parts = list(parts)
        first = parts[0].dataset
        self.name = " + ".join(dict.fromkeys(part.dataset.name for part in parts))
        self.unit, self.unit_scale, self.border = first.unit, first.unit_scale, first.border

    def __len__(self) -> int:
        return sum(len(part.dataset) for part in self.parts)

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        for part in self.parts:
            if index < len(part.dataset):
                return part.dataset[index]
            index -= len(part.dataset)
        raise IndexError(index)


def inputs_of(dataset: Dataset, beside_another: bool = False) -> Inputs:
    """What a set's crops are made into, alone or beside the set that is trained on first of all."""
    if dataset.name == "recording":
        return MEASURED
    return RENDERED if beside_another and dataset.name == "synthetic" else EXACT


def draw_sample(dataset: Dataset, rng: np.random.Generator) -> tuple[Sample, Inputs]:
    """One of a set's samples at random, and what its crop may be made into."""
    if not isinstance(dataset, Mixture):
        return dataset[int(rng.integers(len(dataset)))], inputs_of(dataset)
    part = dataset.parts[choose([part.share for part in dataset.parts], rng)]
    if isinstance(part.dataset, Mixture):
        return draw_sample(part.dataset, rng)
    return part.dataset[int(rng.integers(len(part.dataset)))], part.inputs


def draw_input(inputs: Inputs, scales: Sequence[int], degradation: str, rng: np.random.Generator) -> tuple[int, str]:
    """A scale, of those given, and a kind: `degradation`, or if that is `sensor` one of the mixture."""
    scale = scales[choose([inputs.scales.get(s, 0.1) for s in scales], rng)] if len(scales) > 1 else scales[0]
    if degradation != "sensor":
        return scale, degradation
    kinds = [name for name, kind in inputs.kinds.items() if scale >= kind.smallest_scale]
    return scale, kinds[choose([inputs.kinds[name].share for name in kinds], rng)]


def choose(weights: Sequence[float], rng: np.random.Generator) -> int:
    return int(rng.choice(len(weights), p=np.divide(weights, sum(weights))))
