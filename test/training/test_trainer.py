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

"""Training: the model it writes, the loss, the schedule, how long it goes on, and what it refuses."""

from __future__ import annotations

import dataclasses
import math
import time

import numpy as np
import pytest
import torch
from training_cases import SMALL, TINY, TOLD, One

from dkn import checkpoint
from dkn.data.sample import Sample
from dkn.errors import CheckpointError, ConfigError, DataError
from dkn.networks.config import NetworkConfig
from dkn.training import TrainConfig, Trainer, draw_batch
from dkn.training.config import recipe


def test_the_model_is_the_averaged_network(dataset, tmp_path):
    trainer = Trainer(dataset, TINY, tmp_path)
    average = {k: v.clone().double() for k, v in trainer.network.state_dict().items()}
    for step in range(1, 4):
        trainer.train_step()
        decay = min(TINY.ema_decay, step / (step + 10))
        for name, value in trainer.network.state_dict().items():
            if value.is_floating_point():
                average[name] = decay * average[name] + (1 - decay) * value.double()
            else:
                average[name] = value.double()
    trainer.save(test_rmse_cm=1.5)
    network, info = checkpoint.load(tmp_path / "model.safetensors")
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value.double(), average[name], rtol=1e-5, atol=1e-6)
    assert (info.network, info.scale, info.depth_range) == (SMALL, 4, 10.0)
    assert (info.training["data"], info.training["images"], info.training["steps"]) == ("nyu", 1000, 3)
    assert info.training["test_rmse_cm"] == 1.5
    assert info.training["recipe"]["learning_rate"] == TINY.learning_rate


def test_the_file_says_under_which_terms_it_was_made(dataset, tmp_path):
    """Those of what it began with, too, and after a pause."""

    def card(out: str) -> dict[str, str]:
        return checkpoint.load(tmp_path / out / "model.safetensors")[1].training

    first = Trainer(dataset, TINY, tmp_path / "first", card={"terms": "non-commercial", "held_out": "the last"})
    first.train_step()
    first.save()
    assert (card("first")["terms"], card("first")["held_out"]) == ("non-commercial", "the last")
    Trainer(dataset, TINY, tmp_path / "first", resume=True).save()
    assert (card("first")["terms"], card("first")["held_out"]) == ("non-commercial", "the last")
    init = tmp_path / "first" / "model.safetensors"
    for given, expected in (("", "non-commercial"), ("research", "non-commercial; research")):
        Trainer(dataset, TINY, tmp_path / f"second{given}", init=init, card={"terms": given} if given else {}).save()
        assert card(f"second{given}")["terms"] == expected
        assert "held_out" not in card(f"second{given}")
    for given in ("research", "research", "", "attribution"):
        Trainer(dataset, TINY, tmp_path / "second", resume=True, init=init, card={"terms": given}).save()
    assert card("second")["terms"] == "non-commercial; research; attribution"
    Trainer(dataset, TINY, tmp_path / "plain").save()
    assert "terms" not in card("plain")


def test_the_loss_goes_down(make_scene, tmp_path):
    color, depth = make_scene(32, 32)
    one = One(depth)
    one.sample = Sample(color, depth, "one")
    config = TrainConfig(SMALL, 8, steps=30, batch_size=1, crop=32, warmup_steps=3, learning_rate=3e-3, bf16=False)
    trainer = Trainer(one, config, tmp_path)
    losses = [trainer.train_step() for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:3])


@pytest.mark.parametrize("loss", ["l1", "rmse", "rmse+l1"])
def test_unknown_pixels_teach_nothing(tmp_path, loss):
    """The loss is over known pixels alone: the mean error, the root mean square of each crop, or the mean of both."""
    config = dataclasses.replace(TINY, loss=loss)
    depth = np.full((16, 16), 2.0, np.float32)
    depth[:] += np.linspace(0, 1, 16, dtype=np.float32)
    depth[:, 10:] = np.nan
    one = One(depth)
    trainer = Trainer(one, config, tmp_path)
    batch = draw_batch(one, config, 0)
    trainer.network.train()
    with torch.no_grad():
        error = (trainer.network(batch.guidance, batch.depth) - batch.target).abs()
    crops = [e[k].double() for e, k in zip(error, batch.known, strict=True)]
    assert [len(e) for e in crops] == [16 * 10] * 2
    mean, root = torch.cat(crops).mean(), sum(e.square().mean().sqrt() for e in crops) / 2
    expected = {"l1": mean, "rmse": root, "rmse+l1": (mean + root) / 2}[loss]
    assert trainer.train_step() == pytest.approx(float(expected), rel=1e-3)


def test_schedule(dataset, tmp_path):
    config = dataclasses.replace(TINY, steps=1000, warmup_steps=100, learning_rate=1e-2)
    trainer = Trainer(dataset, config, tmp_path)
    for step, expected in (
        (0, 1e-2 / 100),
        (49, 1e-2 * 0.5 * 0.5 * (1 + math.cos(math.pi * 0.049))),
        (250, 1e-2 * 0.5 * (1 + math.cos(math.pi / 4))),
        (500, 1e-2 * 0.5),
        (999, 1e-2 * 0.5 * (1 + math.cos(math.pi * 0.999))),
    ):
        trainer.step = step
        trainer.train_step()
        assert trainer.optimiser.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-6)


def test_a_fifth_after_each_quarter(dataset, tmp_path):
    """The paper's: 1e-3 divided by 5 every 10k of 40k steps."""
    config = recipe("paper", SMALL, 4, crop=16)
    trainer = Trainer(dataset, config, tmp_path)
    for step, expected in ((0, 1e-3), (9_999, 1e-3), (10_000, 2e-4), (20_000, 4e-5), (30_000, 8e-6), (39_999, 8e-6)):
        trainer.step = step
        trainer.train_step()
        assert trainer.learning_rate == pytest.approx(expected, rel=1e-6)


def test_without_an_average_the_model_is_the_network(dataset, tmp_path):
    trainer = Trainer(dataset, dataclasses.replace(TINY, ema_decay=0.0), tmp_path)
    trainer.run()
    network, _ = checkpoint.load(tmp_path / "model.safetensors")
    ours = trainer.network.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in network.state_dict().items())


def test_minutes_end_a_sitting(dataset, tmp_path):
    config = dataclasses.replace(TINY, steps=10**6, minutes=0.01)
    trainer = Trainer(dataset, config, tmp_path)
    started = time.monotonic()
    trainer.run()
    assert time.monotonic() - started < 30
    assert trainer.step > 0
    assert not trainer.finished
    # Another limit on the sitting is no other run.
    again = Trainer(dataset, dataclasses.replace(config, minutes=5), tmp_path, resume=True)
    assert again.step == trainer.step


def test_minutes_alone_are_the_schedule(dataset, tmp_path):
    trainer = Trainer(dataset, dataclasses.replace(TINY, steps=0, minutes=0.01), tmp_path)
    trainer.run()
    assert trainer.finished
    assert trainer.optimiser.param_groups[0]["lr"] < TINY.learning_rate


def test_the_smallest_crops_that_there_are(make_scene, tmp_path):
    _, depth = make_scene(16, 16)
    for change in ({"crop": 4}, {"crop": 8, "batch_size": 1}, {"network": NetworkConfig("dkn", n1=8, n2=8), "crop": 4}):
        config = dataclasses.replace(TINY, **change)
        Trainer(One(depth), config, tmp_path, device="cpu").train_step()
    tiny = dataclasses.replace(TINY, crop=0, batch_size=1)
    with pytest.raises(ConfigError, match="crop of 4x4"):
        Trainer(One(depth[:4, :4]), tiny, tmp_path, device="cpu").train_step()


@pytest.mark.parametrize("part", ["network", "ema"])
def test_weights_that_are_not_finite_are_not_written(dataset, tmp_path, part):
    trainer = Trainer(dataset, TINY, tmp_path)
    trainer.save()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with torch.no_grad():
        next(getattr(trainer, part).parameters())[3, 0] = math.nan
    with pytest.raises(CheckpointError, match="not finite"):
        trainer.save()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_model_for_many_scales_says_so(dataset, tmp_path):
    config = dataclasses.replace(TINY, network=TOLD, scale=(2, 4), degradation="sensor")
    Trainer(dataset, config, tmp_path).save()
    _, info = checkpoint.load(tmp_path / "model.safetensors")
    assert info.scale is None
    assert info.training["recipe"]["scale"] == [2, 4]


def test_a_crop_larger_than_the_pictures(dataset, tmp_path):
    trainer = Trainer(dataset, dataclasses.replace(TINY, crop=64), tmp_path)
    with pytest.raises(ConfigError, match="crop"):
        trainer.train_step()


def test_a_set_without_depth_is_refused_at_once(dataset, tmp_path):
    class Blind:
        name, unit, unit_scale, border = "blind", "cm", 100.0, 6

        def __len__(self) -> int:
            return len(dataset)

        def __getitem__(self, index: int) -> Sample:
            sample = dataset[index]
            return dataclasses.replace(sample, depth=np.full_like(sample.depth, np.nan))

    with pytest.raises(DataError, match="blind: no depth"):
        Trainer(Blind(), TINY, tmp_path)
