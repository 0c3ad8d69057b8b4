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

"""The mixture that a model for sensors learns from: scales, degradations, cameras, recordings and rooms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from training_cases import SMALL, TOLD, Measured, One

from dkn.sensors import SENSORS
from dkn.training import TrainConfig, draw_batch
from dkn.training.config import ANY_SCALE
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
