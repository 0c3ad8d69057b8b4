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

"""Small networks, short training, and data sets of one picture."""

from __future__ import annotations

import dataclasses

import numpy as np

from dkn.data.sample import Sample
from dkn.networks.config import NetworkConfig
from dkn.training import TrainConfig

SMALL = NetworkConfig(n1=8, n2=8)
TINY = TrainConfig(SMALL, 4, steps=6, batch_size=2, crop=16, warmup_steps=2, bf16=False)
TOLD = NetworkConfig(n1=8, n2=8, depth_channels=4, window=21)


class One:
    """A set of one picture whose colour says where a pixel was: (row, column, 0)."""

    name, unit, unit_scale, border = "one", "cm", 100.0, 6

    def __init__(self, depth: np.ndarray) -> None:
        y, x = np.indices(depth.shape)
        self.sample = Sample(np.stack((y, x, 0 * y), 2).astype(np.uint8), depth, "one")

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return self.sample


class Measured(One):
    """A set whose sensor is off by 10 cm, and saw nothing in the left half."""

    name = "recording"

    def __init__(self, depth: np.ndarray) -> None:
        super().__init__(depth)
        measured = depth + np.float32(0.1)
        measured[:, : depth.shape[1] // 2] = np.nan
        self.sample = dataclasses.replace(self.sample, measured=measured)
