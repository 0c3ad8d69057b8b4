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

"""Table 4: its variants, a tiny run of them, and that nothing is done twice."""

from __future__ import annotations

import json

import pytest

from dkn import checkpoint
from dkn.data.nyu import NYU
from dkn.errors import ConfigError
from dkn.experiments import ablation
from dkn.networks.config import NetworkConfig
from dkn.training import TrainConfig, Trainer

SMALL = NetworkConfig(n1=8, n2=8)
CONFIG = TrainConfig(SMALL, 4, steps=2, batch_size=1, crop=16, bf16=False)


def test_variants_are_the_rows_of_the_paper():
    found = ablation.variants(NetworkConfig("dkn"), (3, 5, 7))
    assert len(found) == 7 * 3
    assert len({variant.name for variant in found}) == 21
    by_size = [v for v in found if v.network.kernel_size == 3]
    assert [v.quoted for v in by_size] == [5.92, 5.24, 5.03, 5.37, 4.06, 3.36, 3.26]
    last = by_size[-1].network
    assert (last.weights_from, last.offsets_from, last.residual) == ("both", "both", True)
    first = by_size[0].network
    assert (first.weights_from, first.offsets_from, first.residual) == ("rgb", "none", False)


def test_large_kernels_have_no_offsets():
    found = ablation.variants(NetworkConfig(), (15, 25))
    assert [(v.network.offsets_from, v.network.kernel_size) for v in found] == [("none", 15), ("none", 25)] * 3
    assert [v.network.window for v in found] == [15, 25] * 3
    assert found[1].quoted == 5.99


@pytest.fixture(scope="module")
def halves(tiny_nyu):
    return NYU(tiny_nyu, "train"), NYU(tiny_nyu, "test")


def test_run_then_again(halves, tmp_path, monkeypatch):
    table = ablation.run(*halves, CONFIG, tmp_path, (3,), limit=1)
    assert len(table) == 7
    assert all(variant.rmse > 0 for variant in table)
    facts = json.loads((tmp_path / "table4.json").read_text())
    assert (facts["dataset"], facts["unit"], facts["count"], facts["scale"], facts["steps"]) == ("nyu", "cm", 1, 4, 2)
    assert [row["rmse"] for row in facts["results"]] == [variant.rmse for variant in table]
    assert facts["results"][3]["weights_from"] == facts["results"][3]["offsets_from"] == "rgb"
    assert facts["results"][6]["quoted_from_the_paper"] == 3.58
    for variant in table:
        network, info = checkpoint.load(tmp_path / variant.name / "model.safetensors")
        assert network.config == variant.network
        assert info.training["steps"] == 2
    lines = (tmp_path / "table4.md").read_text().splitlines()
    assert lines[0] == "| weights from | offsets from | residual | 3×3 |"
    assert lines[2] == f"| bicubic interpolation, 4× |  |  | {facts['bicubic']:.3f} |"
    assert lines[3] == f"| RGB | regular grid | no | {table[0].rmse:.3f} *6.05* |"
    assert lines[9] == f"| RGB + depth | RGB + depth | yes | {table[6].rmse:.3f} *3.58* |"
    assert "2 steps" in lines[11]

    def never(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "train_step", never)
    assert ablation.run(*halves, CONFIG, tmp_path, (3,), limit=1) == table
    # Other test images: the same networks, evaluated anew.
    more = ablation.run(*halves, CONFIG, tmp_path, (3,), limit=2)
    assert json.loads((tmp_path / "table4.json").read_text())["count"] == 2
    assert [v.rmse for v in more] != [v.rmse for v in table]


def test_a_cut_off_run_goes_on(halves, tmp_path, monkeypatch):
    step, calls = Trainer.train_step, []

    def cut(trainer):
        calls.append(trainer.out.name)
        if len(calls) == 4:  # in the middle of the second variant
            trainer.save()
            raise KeyboardInterrupt
        return step(trainer)

    monkeypatch.setattr(Trainer, "train_step", cut)
    with pytest.raises(KeyboardInterrupt):
        ablation.run(*halves, CONFIG, tmp_path, (3,), limit=1)
    begun = json.loads((tmp_path / "table4.json").read_text())["results"]
    assert [row["rmse"] is None for row in begun] == [False] + [True] * 6
    assert "not yet" in (tmp_path / "table4.md").read_text()
    calls[:] = []
    monkeypatch.setattr(Trainer, "train_step", lambda trainer: calls.append(trainer.out.name) or step(trainer))
    ablation.run(*halves, CONFIG, tmp_path, (3,), limit=1)
    names = [variant.name for variant in ablation.variants(SMALL, (3,))]
    assert [calls.count(name) for name in names] == [0, 1, 2, 2, 2, 2, 2]


def test_another_budget_is_no_resumption(halves, tmp_path):
    one = TrainConfig(SMALL, 4, steps=1, batch_size=1, crop=16, bf16=False)
    name = ablation.variants(SMALL, (3,))[0].name
    Trainer(halves[0], TrainConfig(ablation.variants(SMALL, (3,))[0].network, 4, steps=9), tmp_path / name).save()
    with pytest.raises(ConfigError, match="steps"):
        ablation.run(*halves, one, tmp_path, (3,), limit=1)
