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

"""One training step as `dkn train` does it, beside its usual form."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from dkn.benchmark.scene import SCALE, render
from dkn.benchmark.timing import WARM_UP, describe, interleave
from dkn.data.sample import Sample
from dkn.engines.reference import average_by_unfolding
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import KernelNetwork
from dkn.training import TrainConfig, Trainer
from dkn.utils.arguments import at_least_one
from dkn.utils.device import choose_device


@dataclass(frozen=True)
class TrainingBenchmark:
    """One step of training on 8 crops of 128×128."""

    device: str
    runs: int
    median_ms: float
    plain_ms: float
    ratio: float


def training_ratio(device: str = "auto", runs: int = 5) -> TrainingBenchmark:
    """One training step as `dkn train` does it, and as it is usually written, taking turns.

    Usually written: the window unfolded, sampled by torch, float32 throughout.

    Raises:
        ConfigError: fewer runs than one.
    """
    at_least_one(runs=runs)
    target = choose_device(device)
    trainers = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, changes in (("dkn train", {}), ("plain", {"bf16": False, "optimiser": "adam"})):
            config = TrainConfig(NetworkConfig(), SCALE, steps=10 * (runs + WARM_UP), **changes)  # type: ignore[arg-type]
            trainers[name] = Trainer(_OnePicture(), config, Path(folder) / name.replace(" ", "-"), device=device)
        plain = trainers["plain"].network
        plain.average = partial(_average_by_unfolding, plain)  # type: ignore[method-assign]
        turns = {name: trainer.train_step for name, trainer in trainers.items()}
        seconds = interleave(turns, runs, "training step", target)
    ours, usual = 1e3 * seconds["dkn train"], 1e3 * seconds["plain"]
    return TrainingBenchmark(describe(target), runs, ours, usual, usual / ours)


class _OnePicture:
    """A data set of one picture, the rendered room."""

    name, unit, unit_scale, border = "room", "cm", 100.0, 0

    def __init__(self) -> None:
        self._sample = Sample(*render((640, 480)), "room")

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return self._sample


def _average_by_unfolding(network: KernelNetwork, depth: Tensor, weights: Tensor, offsets: Tensor | None) -> Tensor:
    assert offsets is not None
    return depth + average_by_unfolding(depth, weights, offsets, network.taps, network.config.window)
