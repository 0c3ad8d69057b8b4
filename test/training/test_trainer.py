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

"""Training: the crop it learns from, exact resume, the schedule, and what it refuses."""

from __future__ import annotations

import copy
import dataclasses
import math
import time

import numpy as np
import pytest
import torch
from PIL import Image

from dkn import checkpoint
from dkn.checkpoint import ModelInfo
from dkn.data.nyu import NYU
from dkn.data.sample import Sample
from dkn.errors import CheckpointError, ConfigError, DataError
from dkn.networks import NetworkConfig, build, narrowed
from dkn.sensors import SENSORS
from dkn.training import TrainConfig, Trainer, draw_batch
from dkn.training.config import ANY_SCALE, recipe
from dkn.training.mixture import (
    EXACT,
    KINDS,
    MEASURED,
    RENDERED,
    Inputs,
    Kind,
    Mixture,
    Part,
    draw_input,
    draw_sample,
    inputs_of,
)

SMALL = NetworkConfig(n1=8, n2=8)
TINY = TrainConfig(SMALL, 4, steps=6, batch_size=2, crop=16, warmup_steps=2, bf16=False)


@pytest.fixture
def dataset(tiny_nyu) -> NYU:
    return NYU(tiny_nyu, "train")


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


# --- Crops --------------------------------------------------------------------------------------------------------


def test_crops_that_begin_anywhere():
    """At every position of the low-resolution grid, and the same depth as the whole picture would give."""
    depth = np.random.default_rng(0).uniform(1, 9, (64, 80)).astype(np.float32)
    low = Image.fromarray(depth).resize((10, 8), Image.Resampling.BICUBIC)
    whole = np.asarray(low.resize((80, 64), Image.Resampling.BICUBIC)) / 10
    config = TrainConfig(SMALL, 8, steps=1, crop=16, batch_size=40, flips=False, aligned=False)
    corners = set()
    for step in range(20):
        batch = draw_batch(One(depth), config, step)
        for color, shown, target in zip(batch.guidance, batch.depth, batch.target, strict=True):
            y, x = (int(255 * color[i, 0, 0] + 0.5) for i in range(2))
            corners.add((y, x))
            np.testing.assert_allclose(target[0] * 10, depth[y : y + 16, x : x + 16], rtol=1e-6)
            np.testing.assert_allclose(shown[0], whole[y : y + 16, x : x + 16].clip(0), atol=2e-2)
    assert {(y % 8, x % 8) for y, x in corners} == {(y, x) for y in range(8) for x in range(8)}
    assert {0, 48} <= {y for y, _ in corners}
    assert {0, 64} <= {x for _, x in corners}


@pytest.mark.parametrize("scale", [4, 8])
def test_a_crop_holds_what_the_whole_picture_would(scale):
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 9, (96, 128)).astype(np.float32)
    low = Image.fromarray(depth).resize((128 // scale, 96 // scale), Image.Resampling.BICUBIC)
    whole = np.asarray(low.resize((128, 96), Image.Resampling.BICUBIC)) / 10
    config = TrainConfig(SMALL, scale, steps=1, crop=16, batch_size=8)
    corners, flips = set(), set()
    for step in range(30):
        batch = draw_batch(One(depth), config, step)
        for guidance, up, target, known in zip(batch.guidance, batch.depth, batch.target, batch.known, strict=True):
            y, x = (255 * guidance[:2]).round().long().numpy()  # where each pixel came from
            np.testing.assert_allclose(up[0], whole[y, x], rtol=0, atol=2e-6)
            np.testing.assert_allclose(target[0], depth[y, x] / 10, rtol=1e-6)
            assert known.all()
            corners.add((int(y.min()), int(x.min())))
            flips.add((bool(y[0, 0] > y[1, 0]), bool(x[0, 0] > x[0, 1])))
    assert len(flips) == 4
    rows, columns = ({corner[i] for corner in corners} for i in (0, 1))
    assert rows == set(range(0, 96 - 15, scale))  # borders included
    assert columns == set(range(0, 128 - 15, scale))


def test_every_pixel_of_a_picture_is_seen():
    """The first and the last too: at least about half as often as the mean pixel."""
    seen = np.zeros((48, 96))
    config = TrainConfig(SMALL, 2, steps=1, crop=16, batch_size=25, flips=False)
    for step in range(100):
        for guidance in draw_batch(One(np.ones(seen.shape, np.float32)), config, step).guidance:
            y, x = (255 * guidance[:2]).round().long().numpy()
            seen[y, x] += 1
    by_row, by_column = seen.sum(1) / seen.sum(1).mean(), seen.sum(0) / seen.sum(0).mean()
    assert 0.4 < by_row.min() < by_row.max() < 1.7
    assert 0.4 < by_column.min() < by_column.max() < 1.7


def test_unknown_depth_is_marked():
    depth = np.full((16, 16), 2.0, np.float32)
    depth[3, 5] = np.nan
    batch = draw_batch(One(depth), TINY, 0)
    for guidance, known in zip(batch.guidance, batch.known, strict=True):
        y, x = (255 * guidance[:2]).round().long().numpy()
        assert np.array_equal(known[0].numpy(), (y != 3) | (x != 5))
    assert batch.depth.isfinite().all()
    assert batch.target.isfinite().all()


def test_batches_depend_on_step_and_seed_alone(dataset):
    def drawn(step: int, seed: int = 0) -> torch.Tensor:
        return draw_batch(dataset, dataclasses.replace(TINY, seed=seed), step).target

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))
    assert not torch.equal(drawn(3), drawn(3, seed=1))


def test_batches_are_shared_without_a_remainder(dataset):
    """What several processes draw is together what one draws."""
    config = dataclasses.replace(TINY, batch_size=4)
    whole = draw_batch(dataset, config, 5)
    shares = [draw_batch(dataset, config, 5, share=slice(rank, None, 2)) for rank in (0, 1)]
    for all_, first, second in zip(whole, *shares, strict=True):
        assert torch.equal(all_[0::2], first)
        assert torch.equal(all_[1::2], second)


@pytest.mark.parametrize("scale", [1, 2, 4, 16])
@pytest.mark.parametrize("kind", ["area", "nearest", "sensor"])
def test_a_crop_of_the_mixture(scale, kind, monkeypatch):
    """It is told what was measured, the scale, and what edges look like, as it will be in use."""
    depth = np.random.default_rng(0).uniform(1, 4, (64, 96)).astype(np.float32)
    depth[:16, :16] = np.nan
    config = TrainConfig(TOLD, (1, 2, 4, 16), "sensor", steps=1, crop=32, batch_size=3)
    monkeypatch.setattr("dkn.training.batches.draw_input", lambda *_: (scale, kind))
    batch = draw_batch(One(depth), config, 0)
    assert batch.depth.shape == (3, 4, 32, 32)
    assert batch.depth.isfinite().all()
    for guidance, (up, measured, log_scale, mixed), target, known in zip(
        batch.guidance, batch.depth, batch.target, batch.known, strict=True
    ):
        y, x = (255 * guidance[:2]).round().long().numpy()
        assert np.array_equal(known[0].numpy(), np.isfinite(depth[y, x]))
        assert torch.equal(target[0] > 0, known[0])
        assert np.allclose(log_scale, math.log2(scale) / 4)
        assert 0 <= measured.min() <= measured.max() <= 1
        assert 0 < mixed.min() == mixed.max() < 1
        if kind != "sensor":
            inside = (y < 12) & (x < 12) & (scale < 16)
            assert (measured.numpy()[inside] == 0).all()
            assert (measured.numpy()[(y >= 16 + scale) | (x >= 16 + scale)] == 1).all()
        assert up.min() > 0.05


def test_the_mixture_draws_by_its_tables():
    rng = np.random.default_rng(0)
    drawn = [draw_input(EXACT, ANY_SCALE, "sensor", rng) for _ in range(8000)]
    for scale, weight in EXACT.scales.items():
        assert np.mean([s == scale for s, _ in drawn]) == pytest.approx(weight, abs=0.02)
    for kind, (weight, smallest) in KINDS.items():
        assert not [s for s, k in drawn if k == kind and s < smallest]
        assert np.mean([k == kind for s, k in drawn if s >= 4]) == pytest.approx(weight, abs=0.02)
    assert sum(share for share, _ in KINDS.values()) == pytest.approx(1)


def test_one_kind_alone_is_not_mixed():
    """Point samples of a chequered scene are of either depth; nearly every other kind mixes them or adds noise."""
    depth = np.where(np.indices((64, 64)).sum(0) % 2, 1, 3).astype(np.float32)
    config = TrainConfig(SMALL, (1, 2), "nearest", steps=1, crop=16, batch_size=20)
    shown = 10 * draw_batch(One(depth), config, 0).depth
    assert set(shown[:, :, 6:10, 6:10].round(decimals=4).unique().tolist()) <= {1.0, 3.0}


class Measured(One):
    """A set whose sensor is off by 10 cm, and saw nothing in the left half."""

    name = "recording"

    def __init__(self, depth: np.ndarray) -> None:
        super().__init__(depth)
        measured = depth + np.float32(0.1)
        measured[:, : depth.shape[1] // 2] = np.nan
        self.sample = dataclasses.replace(self.sample, measured=measured)


def test_recordings_are_taken_as_they_were_measured():
    config = TrainConfig(TOLD, ANY_SCALE, "sensor", steps=1, crop=64, batch_size=30)
    mixed = Mixture([Part(One(np.full((64, 64), 1, np.float32)), 0.5, EXACT)])
    real = Measured(np.full((64, 64), 3, np.float32))
    mixed.parts.append(Part(real, 0.5, inputs_of(real, beside_another=True)))
    assert len(mixed) == 2
    assert [mixed[i].depth[0, 0] for i in range(2)] == [1, 3]
    scales = set()
    batches = [draw_batch(mixed, config, step) for step in range(4)]
    for batch in batches:
        for shown, target in zip(batch.depth, batch.target, strict=True):
            if target.max() < 0.2:
                continue
            torch.testing.assert_close(shown[0], torch.full_like(shown[0], 0.31))  # nothing added
            assert 0.3 < shown[1].mean() < 0.7
            scales.add(round(float(2 ** (4 * shown[2, 0, 0]))))
    assert scales >= {1, 2, 4, 8}
    shares = [float((batch.target > 0.2).float().mean()) for batch in batches]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.12)


def test_measured_depth_is_moved_against_its_truth():
    """Half of the crops: an edge of what was measured lies elsewhere than that of the truth, by a few pixels."""
    stripes = np.where(np.arange(640) // 64 % 2, 2, 3).astype(np.float32)
    real = One(np.tile(stripes, (64, 1)))
    config = TrainConfig(TOLD, 1, "sensor", steps=1, crop=64, batch_size=40, flips=False)
    moves = []
    for share in (0.0, MEASURED.misregistered, 1.0):
        inputs = Inputs({"nearest": Kind(1)}, {1: 1}, misregistered=share)
        batch = draw_batch(Mixture([Part(real, 1, inputs)]), config, 0)
        target = batch.target[:, 0]
        assert (target == target[:, :1]).all()  # the truth stays where it was
        moves.append(((batch.depth[:, 0, 32] < 0.25).sum(1) - (target[:, 32] < 0.25).sum(1)).numpy())
    assert not moves[0].any()
    assert 0.2 < np.mean(moves[1] != 0) < 0.6  # of half, those that were moved by less than half a pixel do not show
    assert 1 <= np.abs(moves[2]).max() <= 8
    assert np.unique(moves[2]).size >= 4


def test_what_is_drawn_from_each_set():
    exact = One(np.ones((8, 8), np.float32))
    rooms = One(np.ones((8, 8), np.float32))
    rooms.name = "synthetic"
    assert inputs_of(exact, beside_another=True) is EXACT
    assert inputs_of(rooms) is EXACT
    assert inputs_of(rooms, beside_another=True) is RENDERED
    assert inputs_of(Measured(np.ones((8, 8), np.float32))) is MEASURED
    assert set(RENDERED.kinds) == set(SENSORS)
    mixed = Mixture([Part(exact, 0.25, EXACT), Part(rooms, 0.75, RENDERED)])
    rng = np.random.default_rng(0)
    drawn = [draw_sample(mixed, rng)[1] is RENDERED for _ in range(2000)]
    assert np.mean(drawn) == pytest.approx(0.75, abs=0.03)
    assert mixed.name == "one + synthetic"


@pytest.mark.parametrize("kind", list(SENSORS))
def test_a_simulated_camera_errs_and_its_truth_does_not(kind, monkeypatch):
    config = TrainConfig(TOLD, ANY_SCALE, "sensor", steps=1, crop=64, batch_size=8)
    monkeypatch.setattr("dkn.training.batches.draw_input", lambda *_: (4, kind))
    batch = draw_batch(One(np.full((96, 128), 3.0, np.float32)), config, 0)
    assert torch.equal(batch.target, torch.full_like(batch.target, np.float32(3) / np.float32(10)))
    assert 0.0005 < (10 * (batch.depth[:, 0] - 0.3)).std() < 0.06


def test_a_crop_without_any_depth_is_not_judged():
    depth = np.full((16, 16), np.nan, np.float32)
    for kind in ("bicubic", "sensor"):
        batch = draw_batch(One(depth), dataclasses.replace(TINY, degradation=kind, network=TOLD), 0)
        assert batch.depth.isfinite().all()
        assert not batch.known.any()


def test_whole_pictures_end_with_the_low_resolution():
    """As evaluation cuts them."""
    depth = np.random.default_rng(0).uniform(1, 9, (50, 67)).astype(np.float32)
    batch = draw_batch(One(depth), recipe("paper", SMALL, 8), 0)
    low = Image.fromarray(depth[:48, :64]).resize((8, 6), Image.Resampling.BICUBIC)
    whole = np.asarray(low.resize((64, 48), Image.Resampling.BICUBIC)) / 10
    np.testing.assert_allclose(batch.depth[0, 0], whole, rtol=0, atol=2e-6)
    np.testing.assert_allclose(batch.target[0, 0], depth[:48, :64] / 10, rtol=1e-6)


def test_crops_of_rooms():
    """The share asked for comes from the other set."""
    config = dataclasses.replace(TINY, mix_synthetic=0.25, batch_size=400, crop=4)
    near, far = (One(np.full((8, 8), value, np.float32)) for value in (1, 2))
    batch = draw_batch(near, config, 0, far)
    assert (batch.target > 0.15).float().mean() == pytest.approx(0.25, abs=0.08)
    assert (draw_batch(near, dataclasses.replace(config, mix_synthetic=0.0), 0, far).target < 0.15).all()


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


# --- Steps --------------------------------------------------------------------------------------------------------


def states(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Everything that the next step depends on, and the average."""
    parts = {f"network.{k}": v for k, v in trainer.network.state_dict().items()}
    parts |= {f"ema.{k}": v for k, v in trainer.ema.state_dict().items()}
    assert len(trainer.optimiser.state_dict()["state"]) == len(list(trainer.network.parameters()))
    for i, moments in trainer.optimiser.state_dict()["state"].items():
        parts |= {f"optimiser.{i}.{k}": torch.as_tensor(v) for k, v in moments.items()}
    return {k: v.clone() for k, v in parts.items()}


TOLD = NetworkConfig(n1=8, n2=8, depth_channels=4, window=21)
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


def test_it_begins_with_a_wider_network(dataset, tmp_path):
    """What it begins with is that network, narrowed on its own first batch; a network that is narrower is refused."""
    wide = dataclasses.replace(SMALL, n1=SMALL.n1 + 4, n2=SMALL.n2 + 8)
    Trainer(dataset, dataclasses.replace(TINY, network=wide), tmp_path / "wide").save()
    init = tmp_path / "wide" / "model.safetensors"
    trainer = Trainer(dataset, TINY, tmp_path / "small", init=init)
    batch = trainer.batch(0)
    network = checkpoint.load(init)[0].eval()
    expected = narrowed(network, (), SMALL.n1, SMALL.n2, batch.guidance, batch.depth)
    assert all(map(torch.equal, trainer.network.state_dict().values(), expected.state_dict().values()))
    trainer.save()
    begun_from = checkpoint.load(tmp_path / "small" / "model.safetensors")[1].training["begun_from"]
    assert begun_from == "nyu, 4x, 0 steps of a wider network"
    told = build(dataclasses.replace(wide, depth_channels=4))
    checkpoint.save(tmp_path / "told.safetensors", told, ModelInfo(told.config, 4, 10.0))
    with pytest.raises(ConfigError, match="another network than"):  # which no crop here could be shown to
        Trainer(dataset, TINY, tmp_path / "told", init=tmp_path / "told.safetensors")
    wider = dataclasses.replace(TINY, network=dataclasses.replace(wide, n1=wide.n1 + 1))
    with pytest.raises(ConfigError, match="channels"):
        Trainer(dataset, wider, tmp_path / "wider", init=init)


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


# --- Refusals -----------------------------------------------------------------------------------------------------


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


def test_begin_with_the_weights_of_a_model(dataset, tmp_path, make_model):
    init = make_model(tmp_path / "m.safetensors", config=SMALL)
    trainer = Trainer(dataset, TINY, tmp_path / "run", init=init)
    theirs = checkpoint.load(init)[0].state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in trainer.network.state_dict().items())
    other = make_model(tmp_path / "other.safetensors", config=NetworkConfig(kernel_size=5, n1=8, n2=8))
    with pytest.raises(ConfigError, match="another network"):
        Trainer(dataset, TINY, tmp_path / "run2", init=other)


@pytest.mark.parametrize("architecture", ["fdkn", "dkn"])
def test_begin_with_a_network_that_was_told_less(dataset, tmp_path, make_model, architecture):
    """What is told beside depth has no weight at first, and a wider window lets taps go where they were cut off."""
    plain = NetworkConfig(architecture, n1=8, n2=8)
    init = make_model(tmp_path / "m.safetensors", config=plain)
    told = dataclasses.replace(plain, depth_channels=4, window=63)
    trainer = Trainer(dataset, dataclasses.replace(TINY, network=told), tmp_path / "run", init=init)
    source = checkpoint.load(init)[0]
    depth, guidance = torch.rand(1, 4, 16, 20), torch.rand(1, 3, 16, 20)
    with torch.no_grad():
        before = source.kernels(guidance, depth[:, :1])
        after = trainer.network.eval().kernels(guidance, depth)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    # Not the other way round, and nothing else may differ.
    trainer.save()
    with pytest.raises(ConfigError, match="another network"):
        Trainer(
            dataset, dataclasses.replace(TINY, network=plain), tmp_path / "r", init=trainer.out / "model.safetensors"
        )
    deeper = dataclasses.replace(told, kernel_size=5)
    with pytest.raises(ConfigError, match="another network"):
        Trainer(dataset, dataclasses.replace(TINY, network=deeper), tmp_path / "r", init=init)


def test_begin_with_a_network_on_cells(dataset, tmp_path, make_model):
    """The DKN goes on from what the cell network had reached, also if it is told more; its first norms stay."""
    cells = NetworkConfig("cells", n1=8, n2=8)
    init = make_model(tmp_path / "m.safetensors", config=cells)
    network = dataclasses.replace(cells, architecture="dkn", depth_channels=4)
    config = dataclasses.replace(TINY, network=network, phases=1, freeze_first_norms=True, learning_rate=1e-3)
    trainer = Trainer(dataset, config, tmp_path / "run", init=init)
    depth, guidance = torch.rand(1, 4, 16, 20), torch.rand(1, 3, 16, 20)
    with torch.no_grad():
        before = checkpoint.load(init)[0].kernels(guidance, depth[:, :1])
        after = trainer.ema.kernels(guidance, depth)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a[..., 2::4, 2::4], b[..., 2::4, 2::4], rtol=1e-5, atol=1e-5)

    def statistics() -> list[dict[str, torch.Tensor]]:
        layers = [layer for stream in trainer.network.streams().values() for layer in stream.layers()]
        return [dict(copy.deepcopy(norm).named_buffers()) for _, norm in layers if norm is not None]

    then = statistics()
    for _ in range(2):
        trainer.train_step()
    for i, (old, new) in enumerate(zip(then, statistics(), strict=True)):
        fifth = i % 3 == 2
        assert torch.equal(old["running_mean"], new["running_mean"]) != fifth
    trainer.save()
    assert checkpoint.load(tmp_path / "run" / "model.safetensors")[1].training["begun_from"].endswith("on cells")
    with pytest.raises(ConfigError, match="another network"):
        Trainer(dataset, TINY, tmp_path / "fdkn", init=init)


def test_begin_without_the_colour_or_the_residual_connection_of_a_model(dataset, tmp_path, make_model):
    init = make_model(tmp_path / "m.safetensors", config=SMALL)
    theirs = checkpoint.load(init)[0].state_dict()
    for i, change in enumerate(({"guidance": "none"}, {"residual": False})):
        network = dataclasses.replace(SMALL, **change)
        trainer = Trainer(dataset, dataclasses.replace(TINY, network=network), tmp_path / f"run{i}", init=init)
        ours = trainer.network.state_dict()
        assert any(name.startswith("guidance") for name in ours) == (network.guidance != "none")
        offsets = {name for name in ours if "heads.offsets" in name and network.guidance == "none"}
        assert all(torch.equal(ours[name], theirs[name]) for name in ours.keys() - offsets)
        assert all((ours[name] == 0).all() for name in offsets)
    blind = make_model(tmp_path / "blind.safetensors", config=dataclasses.replace(SMALL, guidance="none"))
    with pytest.raises(ConfigError, match="another network"):  # colour cannot be made up
        Trainer(dataset, TINY, tmp_path / "run", init=blind)


def test_a_model_for_many_scales_says_so(dataset, tmp_path):
    config = dataclasses.replace(TINY, network=TOLD, scale=(2, 4), degradation="sensor")
    Trainer(dataset, config, tmp_path).save()
    _, info = checkpoint.load(tmp_path / "model.safetensors")
    assert info.scale is None
    assert info.training["recipe"]["scale"] == [2, 4]


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
