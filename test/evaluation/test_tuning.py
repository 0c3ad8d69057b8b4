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

"""The search for the baselines' parameters."""

from __future__ import annotations

import numpy as np
import pytest

from dkn.data.nyu import NYU
from dkn.depth.degradation import degrade
from dkn.evaluation import rmse, tuning
from dkn.evaluation.baselines import BASELINES


def test_candidates_are_all_combinations_with_lengths_in_pixels(monkeypatch):
    monkeypatch.setitem(tuning.GRIDS, "made-up", {"radius": (0.5, 1), "eps": (3, 4)})
    assert tuning.candidates("made-up", 8) == [
        {"radius": 4, "eps": 3},
        {"radius": 4, "eps": 4},
        {"radius": 8, "eps": 3},
        {"radius": 8, "eps": 4},
    ]


def test_search_orders_by_error(tiny_nyu):
    data = NYU(tiny_nyu, "train")
    found = tuning.search(data, "guided filter", 4, [0, 3])
    assert len(found) == len(tuning.candidates("guided filter", 4))
    errors = [error for error, _ in found]
    assert errors == sorted(errors)
    for error, parameters in (found[0], found[-1]):
        each = []
        for sample in (data[0], data[3]):
            low = degrade(sample.depth, 4, "bicubic", np.random.default_rng(0))
            each.append(100 * rmse(BASELINES["guided filter"].run(sample.color, low, parameters), sample.depth, 6))
        assert error == pytest.approx(np.mean(each))


def test_command(tiny_nyu, capfd):
    tuning.main([f"--data={tiny_nyu}", "--images=2", "--scale", "4", "--method", "guided filter"])
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("| scale | method | best parameters")
    assert lines[2].startswith("| 4x | guided filter | radius ")
