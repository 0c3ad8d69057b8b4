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

"""The mean of several rounds of training."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from training_cases import SMALL

from dkn import checkpoint
from dkn.checkpoint import ModelInfo
from dkn.cli import main
from dkn.networks.dkn import FDKN

CARD = {"data": "nyu", "steps": 7, "test_images": 150, "test_rmse_cm": 2.3, "chosen_by": "something", "terms": "a; b"}


@pytest.fixture
def rounds(tmp_path, liven):
    """Two models of random weights, and their networks."""
    info = ModelInfo(SMALL, 8, 10.0, CARD)
    older = dataclasses.replace(info, training=CARD | {"steps": 3, "terms": "b; c"})
    found = []
    for name, card in (("a", older), ("b", info)):
        found.append(liven(FDKN(SMALL)))
        with torch.no_grad():
            for value in found[-1].state_dict().values():
                if value.is_floating_point():
                    value.add_(torch.rand_like(value))
        checkpoint.save(tmp_path / f"{name}.safetensors", found[-1], card)
    return found


@pytest.mark.parametrize(("shares", "expected"), [([], (0.5, 0.5)), (["--shares", "1", "3"], (0.25, 0.75))], ids=str)
def test_the_mean(tmp_path, rounds, shares, expected, capfd):
    models = [str(tmp_path / f"{name}.safetensors") for name in "ab"]
    assert main(["average", *models, *shares, "--out", str(tmp_path / "mean.safetensors")]) == 0
    assert capfd.readouterr().out.strip() == str(tmp_path / "mean.safetensors")
    network, info = checkpoint.load(tmp_path / "mean.safetensors")
    states = [one.state_dict() for one in rounds]
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            wanted = expected[0] * states[0][name].double() + expected[1] * states[1][name].double()
            torch.testing.assert_close(value.double(), wanted, rtol=1e-6, atol=1e-7)
            assert not torch.equal(value, states[0][name])
    assert info.training["averaged"] == [
        {"share": share, "data": "nyu", "steps": steps} for share, steps in zip(expected, (3, 7), strict=True)
    ]
    assert info.training["terms"] == "b; c; a"
    assert not {"test_images", "test_rmse_cm", "chosen_by"} & info.training.keys()
    assert (info.scale, info.depth_range, info.network) == (8, 10.0, SMALL)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["a"], "two models"),
        (["a", "b", "--shares", "1"], "shares"),
        (["a", "b", "--shares", "-1", "2"], "shares"),
        (["a", "b", "--shares", "0", "0"], "shares"),
        (["a", "b", "--shares", "nan", "1"], "shares"),
        (["a", "other scale"], "scale"),
        (["a", "other network"], "network"),
        (["a", "none"], "no such model"),
    ],
    ids=str,
)
def test_what_has_no_mean(tmp_path, rounds, arguments, reason, capfd):
    checkpoint.save(tmp_path / "other scale.safetensors", rounds[0], ModelInfo(SMALL, 4, 10.0))
    wider = dataclasses.replace(SMALL, window=SMALL.window + 2)
    checkpoint.save(tmp_path / "other network.safetensors", FDKN(wider), ModelInfo(wider, 8, 10.0))
    given = [str(tmp_path / f"{a}.safetensors") if a[0] in "abon" and a != "nan" else a for a in arguments]
    assert main(["average", *given, "--out", str(tmp_path / "mean.safetensors")]) == 2
    assert reason in capfd.readouterr().err
    assert not (tmp_path / "mean.safetensors").exists()
