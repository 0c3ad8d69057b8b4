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

"""Batches: what a crop shows, where crops lie, and that they depend on nothing but step and seed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from training_cases import SMALL, TINY, TOLD, One

from dkn.training import TrainConfig, draw_batch
from dkn.training.config import recipe
from dkn.training.surroundings import margin


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


def test_pictures_end_within_cells():
    """For a network on cells: at each of a cell's pixels, at all four sides, and nothing of them is seen beyond."""
    depth = np.full((64, 80), 2, np.float32)
    network = dataclasses.replace(SMALL, architecture="cells", depth_channels=1)
    config = TrainConfig(network, 8, steps=1, crop=16, batch_size=40, aligned=False)
    seen = set()
    for step in range(10):
        batch = draw_batch(One(depth), config, step)
        for shown, known in zip(batch.depth, batch.known, strict=True):
            around = shown[0] > 0
            m = margin(network.window)
            assert torch.equal(around[m:-m, m:-m], known[0])
            rows, columns = (torch.nonzero(around.any(dim=axis)).flatten() - m for axis in (1, 0))
            assert around.sum() == len(rows) * len(columns)
            counts = int(rows[0]), int(columns[0]), 15 - int(rows[-1]), 15 - int(columns[-1])
            sides = zip(("top", "left", "bottom", "right"), counts, strict=True)
            seen |= {(side, count) for side, count in sides if count >= 0}  # < 0: it ends beyond the crop, if at all
    assert seen == {(side, count) for side in ("top", "left", "bottom", "right") for count in range(4)}


def test_a_crop_of_one_cell_keeps_a_pixel():
    """However much is cut off for a picture's end: with nothing to judge there would be nothing to learn."""
    network = dataclasses.replace(SMALL, architecture="cells", depth_channels=1)
    config = TrainConfig(network, 4, steps=1, crop=4, batch_size=40, aligned=False)
    known = draw_batch(One(np.full((8, 12), 2, np.float32)), config, 0).known
    assert known.flatten(1).any(1).all()
    assert not known.all()


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
