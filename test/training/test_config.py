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

"""Training's options: the recipes, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import pytest
from training_cases import SMALL, TINY

from dkn.errors import ConfigError
from dkn.networks.config import NetworkConfig
from dkn.training import TrainConfig
from dkn.training.config import recipe


def test_recipes():
    paper, best = (recipe(name, NetworkConfig("dkn"), 8, steps=7, seed=3) for name in ("paper", "best"))
    assert (paper.steps, paper.seed, paper.crop, paper.batch_size) == (7, 3, 0, 1)
    assert (paper.optimiser, paper.loss, paper.schedule, paper.learning_rate) == ("adam", "l1", "steps", 1e-3)
    assert not (paper.flips or paper.bf16 or paper.ema_decay or paper.warmup_steps or paper.color_jitter)
    assert (paper.phases, best.phases) == (16, 1)
    assert recipe("paper", SMALL, 8).steps == 40_000
    assert recipe("best", SMALL, 8, minutes=1) == TrainConfig(SMALL, 8, minutes=1)
    with pytest.raises(ConfigError, match="recipe"):
        recipe("worst", SMALL, 8, steps=1)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"crop": 15},
        {"scale": 0},
        {"scale": 3},
        {"crop": -16},
        {"batch_size": 0},
        {"steps": -3, "minutes": 1.0},
        {"minutes": -1.0},
        {"minutes": math.nan},
        {"minutes": math.inf},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"depth_range": math.nan},
        {"seed": -1},
        {"seed": 2**63},
        {"mix": (("nyu", math.nan),)},
        {"mix": (("nyu", -0.5), ("nyu", 1.5))},
        {"scale": 1, "crop": 1},
        {"network": NetworkConfig("dkn"), "scale": 1, "crop": 3, "phases": 1},
        {"crop": 4, "batch_size": 1},
    ],
)
def test_contradictory_configurations(change):
    with pytest.raises(ConfigError):
        dataclasses.replace(TINY, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"scale": (2, 3)},
        {"scale": ()},
        {"degradation": "blur"},
        {"optimiser": "sgd"},
        {"schedule": "flat"},
        {"color_jitter": 1.5},
        {"mix_synthetic": -0.1},
        {"ema_decay": 2.0},
        {"phases": 1},
    ],
)
def test_choices_that_there_are_not(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        dataclasses.replace(TINY, **change)
