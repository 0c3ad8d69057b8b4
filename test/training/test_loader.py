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

"""Batches drawn ahead, or cut out of a set on the device, are those that `draw_batch` draws."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from samples import Samples

from dkn.data.sample import Sample
from dkn.networks.config import NetworkConfig
from dkn.training import TrainConfig, Trainer, draw_batch
from dkn.training.loader import ResidentSet, batches

CPU = torch.device("cpu")
FDKN = TrainConfig(NetworkConfig(n1=8, n2=8), 8, steps=4, batch_size=5, crop=32, bf16=False)
DKN = dataclasses.replace(FDKN, network=NetworkConfig("dkn", n1=8, n2=8), phases=1)
ANYWHERE = dataclasses.replace(FDKN, network=NetworkConfig("cells", n1=8, n2=8), aligned=False)


def few() -> Samples:
    """Pictures of noise whose sizes no scale divides."""
    rng = np.random.default_rng(0)
    samples = [
        Sample(rng.integers(0, 256, (61, 83, 3)).astype(np.uint8), rng.uniform(1, 5, (61, 83)).astype("f"), str(i))
        for i in range(3)
    ]
    samples[1].depth[20:23, 30:40] = np.nan  # of the truth
    measured = [rng.uniform(1, 5, sample.depth.shape).astype("f") for sample in samples]
    return Samples([dataclasses.replace(sample, measured=m) for sample, m in zip(samples, measured, strict=True)])


@pytest.mark.parametrize("degradation", ["bicubic", "area", "nearest"])
@pytest.mark.parametrize(
    "config",
    [FDKN, DKN, dataclasses.replace(FDKN, flips=False, scale=4), ANYWHERE, dataclasses.replace(DKN, aligned=False)],
    ids=["F", "D", "4", "anywhere", "D anywhere"],
)
def test_a_resident_set_gives_the_same_crops(config, degradation):
    config = dataclasses.replace(config, degradation=degradation)
    whole = ResidentSet(few(), config, CPU)
    for step in range(8):
        expected, found = draw_batch(few(), config, step), whole.draw(config, step)
        for name, one, other in zip(expected._fields, expected, found, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-6, msg=f"{name} at step {step}")


def test_a_share_of_a_resident_batch():
    whole = ResidentSet(few(), DKN, CPU)
    for one, other in zip(whole.draw(DKN, 3), whole.draw(DKN, 3, slice(1, None, 2)), strict=True):
        assert torch.equal(one[1::2], other)


def test_a_set_on_the_cpu_is_not_resident():
    assert not ResidentSet.possible(few(), FDKN, CPU)


def test_workers_draw_the_same_in_order():
    drawn = batches(partial(draw_batch, few(), FDKN), 3, 2, CPU)
    for step, batch in zip(range(3, 9), drawn, strict=False):
        for one, other in zip(draw_batch(few(), FDKN, step), batch, strict=True):
            assert torch.equal(one, other)


def test_workers_change_nothing(tmp_path):
    """A run is a function of seed and step, however its batches were drawn, and from whichever step it goes on."""
    states = []
    for workers in (0, 2):
        out = tmp_path / str(workers)
        first = Trainer(few(), FDKN, out, device="cpu", workers=workers)
        first.train_step()
        first.train_step()
        first.save()
        second = Trainer(few(), FDKN, out, device="cpu", workers=workers, resume=True)
        second.train_step()
        states.append(second.network.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
