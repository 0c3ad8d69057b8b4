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

"""Resuming a run: it ends the same bit for bit, and a state that is damaged or another run's is refused."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from training_cases import TINY, TOLD, One

from dkn import checkpoint
from dkn.errors import CheckpointError, ConfigError
from dkn.networks.config import NetworkConfig
from dkn.training import Trainer


def states(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Everything that the next step depends on, and the average."""
    parts = {f"network.{k}": v for k, v in trainer.network.state_dict().items()}
    parts |= {f"ema.{k}": v for k, v in trainer.ema.state_dict().items()}
    assert len(trainer.optimiser.state_dict()["state"]) == len(list(trainer.network.parameters()))
    for i, moments in trainer.optimiser.state_dict()["state"].items():
        parts |= {f"optimiser.{i}.{k}": torch.as_tensor(v) for k, v in moments.items()}
    return {k: v.clone() for k, v in parts.items()}


EVERYTHING = {"network": TOLD, "scale": (1, 2, 4), "degradation": "sensor", "color_jitter": 0.3, "mix_synthetic": 0.5}


@pytest.mark.parametrize(
    "changes",
    [
        {"optimiser": "adam"},
        {"optimiser": "muon", "bf16": True},
        {"schedule": "steps", "ema_decay": 0.0, "loss": "l1"},
        EVERYTHING,
    ],
    ids=lambda changes: "-".join(changes),
)
def test_a_resumed_run_ends_bit_for_bit_the_same(dataset, tmp_path, make_scene, changes):
    config = dataclasses.replace(TINY, **changes)
    rooms = One(make_scene(24, 24)[1])
    straight = Trainer(dataset, config, tmp_path / "straight", rooms=rooms)
    straight.run()

    first = Trainer(dataset, config, tmp_path / "resumed", rooms=rooms)
    for _ in range(3):
        first.train_step()
    first.save()
    torch.manual_seed(99)
    second = Trainer(dataset, config, tmp_path / "resumed", resume=True, rooms=rooms)
    assert second.step == 3
    assert not second.finished
    second.run()
    assert second.finished

    ours, theirs = states(second), states(straight)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 100
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    models = [checkpoint.load(tmp_path / run / "model.safetensors")[0] for run in ("straight", "resumed")]
    assert all(torch.equal(a, b) for a, b in zip(*(m.state_dict().values() for m in models), strict=True))


def test_a_run_is_never_overwritten(dataset, tmp_path):
    Trainer(dataset, TINY, tmp_path).save()
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(ConfigError, match="resume"):
        Trainer(dataset, TINY, tmp_path)
    assert (tmp_path / "state.pt").read_bytes() == before


def test_resume_without_a_run_begins_one(dataset, tmp_path):
    assert Trainer(dataset, TINY, tmp_path / "new", resume=True).step == 0


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"scale": 8},
        {"scale": (2, 4)},
        {"learning_rate": 1e-4},
        {"network": NetworkConfig(n1=8, n2=9)},
        {"steps": 7},
        {"degradation": "noise"},
    ],
)
def test_another_configuration_is_not_resumed(dataset, tmp_path, change):
    Trainer(dataset, TINY, tmp_path).save()
    with pytest.raises(ConfigError, match=next(iter(change))):
        Trainer(dataset, dataclasses.replace(TINY, **change), tmp_path, resume=True)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_a_damaged_state(dataset, tmp_path, share):
    Trainer(dataset, TINY, tmp_path).save()
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[: int(share * state.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"state\.pt"):
        Trainer(dataset, TINY, tmp_path, resume=True)


def test_a_state_of_something_else(dataset, tmp_path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=r"state\.pt"):
        Trainer(dataset, TINY, tmp_path, resume=True)


@pytest.mark.parametrize("change", ["missing", "another shape"])
def test_a_state_whose_weights_do_not_fit(dataset, tmp_path, change):
    Trainer(dataset, TINY, tmp_path).save()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    if change == "missing":
        del state["ema"]
    else:
        state["network"] = {name: torch.zeros(7) for name in state["network"]}
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=r"state\.pt: not the state of this run"):
        Trainer(dataset, TINY, tmp_path, resume=True)


def _spoilt(tensors):
    return {name: tensor * math.nan if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("optimiser", ["muon", "adam"])
def test_a_state_with_something_else_inside(dataset, tmp_path, optimiser):
    config = dataclasses.replace(TINY, optimiser=optimiser)
    first = Trainer(dataset, config, tmp_path)
    first.train_step()
    first.save()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    kept = state["optimiser"]
    changes = {
        "config": ["nonsense", 5, None, "[1]", "5"],
        "step": ["2", None, -7, 1.5],
        "seconds": ["2", None, math.nan, -1.0],
        "network": [None, [1], {}, dict.fromkeys(state["network"], 1), _spoilt(state["network"])],
        "ema": [None, _spoilt(state["ema"])],
        "optimiser": [
            None,
            5,
            {},
            {**kept, "state": {0: {"x": 1}}},
            {**kept, "state": {0: _spoilt(kept["state"][0])}},
            {**kept, "state": {0: {name: torch.zeros(7) for name in kept["state"][0]}}},
        ],
        "begun_from": [None, 5],
        "card": [None, 5, [1, 2], {"terms": 5}, {5: "terms"}],
    }
    if optimiser == "adam":  # Muon begins such moments anew
        changes["optimiser"].append({**kept, "state": {0: {"step": torch.zeros(())}}})
        changes["optimiser"].append({**kept, "param_groups": [{"params": kept["param_groups"][0]["params"]}]})
    for name, values in changes.items():
        for value in values:
            torch.save({**state, name: value}, tmp_path / "state.pt")
            with pytest.raises(CheckpointError, match=r"state\.pt: not the state of") as error:
                Trainer(dataset, config, tmp_path, resume=True)
            assert "\n" not in str(error.value)
    torch.save(state, tmp_path / "state.pt")
    assert Trainer(dataset, config, tmp_path, resume=True).step == 1
