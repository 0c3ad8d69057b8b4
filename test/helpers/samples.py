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

"""Made-up data: a data set that is a list, and depth for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dkn.data.sample import Sample


@dataclass
class Samples:
    """A data set in memory."""

    samples: list[Sample]
    name: str = "made-up"
    unit: str = "cm"
    unit_scale: float = 100.0
    border: int = 6

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def depth_in_steps(rng: np.random.Generator, shape: tuple[int, ...], smooth: bool) -> np.ndarray:
    """(…, h, w) float32 metres: 1 and 3 in turns of four columns, with noise of 1 cm; smooth: half-way between them at
    the edges, as means are."""
    steps = 1 + 2 * (np.arange(shape[-1]) // 4 % 2) + np.zeros(shape)
    if smooth:
        steps = (steps + np.roll(steps, 1, axis=-1)) / 2
    return (steps + 0.01 * rng.random(shape)).astype(np.float32)
