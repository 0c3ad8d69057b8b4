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

"""Where the unknown ends: along colour, nowhere else, and the same compiled and in PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dkn import Upsampler
from dkn.data.rendered.room import render_sequence
from dkn.depth.holes.validity import upsample_validity
from dkn.depth.resample import resize_mask
from dkn.depth.stages.base import AGREES

GREY = np.full((96, 128, 3), 128, np.uint8)


def upsampled(valid: np.ndarray, color: np.ndarray) -> np.ndarray:
    """With one depth everywhere."""
    return judged(valid, color, np.ones(valid.shape, np.float32), np.ones(color.shape[:2], np.float32))


def judged(*arrays: np.ndarray, by=upsample_validity) -> np.ndarray:
    valid, color, low, result = map(torch.from_numpy, arrays)
    return by(valid[None, None], color, low[None, None], result[None, None])[0, 0].numpy()


def blocks(valid: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    return resize_mask(torch.from_numpy(valid)[None, None], (size[0], size[1]))[0, 0].numpy()


def points(mask: np.ndarray, scale: int) -> np.ndarray:
    return mask[scale // 2 :: scale, scale // 2 :: scale].copy()


def test_a_disk_that_no_sensor_sees():
    y, x = np.mgrid[:96, :128]
    known = np.hypot(y - 47, x - 60) > 30
    color = np.where(known[..., None], (180, 170, 160), (90, 110, 120)).astype(np.uint8)
    low = points(known, 8)
    wrong = [(found != known).mean() for found in (blocks(low, known.shape), upsampled(low, color))]
    assert wrong[1] < 0.3 * wrong[0]


@pytest.mark.parametrize(("kind", "at_most"), [("far", 0.8), ("dark", 0.8)])
def test_in_a_room(kind, at_most):
    """What is far, or dark, is unknown, as to a camera of limited range or of light of its own."""
    wrong = np.zeros(2)
    for seed in (3, 4):
        frame = next(iter(render_sequence(1, (640, 480), seed=seed)))
        bright = frame.color.max(2)
        known = frame.depth < np.median(frame.depth) if kind == "far" else bright > np.quantile(bright, 0.15)
        low = points(known, 8)
        wrong += [(found != known).mean() for found in (blocks(low, known.shape), upsampled(low, frame.color))]
    assert wrong[1] < at_most * wrong[0]


@pytest.mark.parametrize("size", [(96, 128), (97, 131), (100, 150)])
def test_only_what_lies_beside_a_border_changes(size):
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (*size, 3), np.uint8)
    low = rng.random((24, 32)) < 0.6
    low[5:15, 5:15], low[5:15, 18:28] = False, True
    found, before = upsampled(low, color), blocks(low, size)
    assert (found != before).any()
    alone = np.zeros(low.shape, bool)  # input pixels among their like
    alone[6:14, 6:14] = alone[6:14, 19:27] = True
    inside = blocks(alone, size)
    np.testing.assert_array_equal(found[inside], before[inside])
    row, column = ((2 * np.arange(n) + 1) * m / (2 * n) % 1 for n, m in zip(size, low.shape, strict=True))
    middle = (np.abs(row - 0.5) < 0.24)[:, None] & (np.abs(column - 0.5) < 0.24)
    np.testing.assert_array_equal(found[middle], before[middle])


def test_without_colour_a_hole_keeps_its_size_and_loses_its_corners():
    low = np.ones((12, 16), bool)
    low[3:8, 4:10] = False
    found, before = upsampled(low, GREY), blocks(low, GREY.shape[:2])
    assert not (before & ~found).any()
    assert 0.9 < (~found).sum() / (~before).sum() < 1


@pytest.mark.parametrize("size", [(24, 32), (48, 64), (71, 95)])
def test_at_small_scales_nothing_changes(size):
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (*size, 3), np.uint8)
    low = rng.random((24, 32)) < 0.5
    np.testing.assert_array_equal(upsampled(low, color), blocks(low, size))


@pytest.mark.parametrize("value", [False, True])
def test_nothing_or_everything_known(value):
    assert (upsampled(np.full((12, 16), value), GREY) == value).all()


def test_what_lies_on_no_measured_surface_stays_unknown():
    """Something that looks like the wall, of whose depth some is in mid-air."""
    known = np.ones((96, 128), bool)
    known[33:70, 43:86] = False
    color, low = np.repeat(np.where(known[..., None], 200, 60).astype(np.uint8), 3, axis=2), points(known, 8)
    depth, result = np.where(low, np.float32(2), np.float32(math.nan)), np.full(known.shape, 2, np.float32)
    gained = judged(low, color, depth, result) & ~blocks(low, known.shape)
    assert gained.sum() > 100
    result[:, 64:] *= 1 + 2 * AGREES
    found = judged(low, color, depth, result)
    assert (found & ~blocks(low, known.shape))[:, :64].sum() == gained[:, :64].sum() > 0
    assert not (found & ~blocks(low, known.shape))[:, 64:].any()
    assert (found[:, :32] == blocks(low, known.shape)[:, :32]).all()


def any_maps(size):
    rng = np.random.default_rng(0)
    color, low = rng.integers(0, 256, (*size, 3), np.uint8), rng.uniform(1, 1.1, (24, 32)).astype("f")
    valid = rng.random(low.shape) < 0.5
    low[~valid] = math.nan
    low[0, :9] = math.nan  # small holes that are filled are valid too
    return valid, color, low, rng.uniform(1, 1.1, size).astype("f")


@pytest.mark.parametrize("size", [(96, 128), (97, 131), (100, 200), (384, 512)])
def test_the_compiled_form_is_the_same(size):
    pytest.importorskip("numba")
    from dkn.depth.holes import numba_validity, numpy_validity

    maps = any_maps(size)
    for module in (numba_validity, numpy_validity):
        found = module.upsample_validity(*maps)
        assert np.mean(found != judged(*maps)) < 1e-3  # votes that are even but for rounding


@pytest.mark.parametrize("fill", ["none", "small"])
def test_an_upsampler_follows_colour(make_model, tmp_path, fill):
    model = make_model(tmp_path / "m_x4.safetensors", scale=4)
    known = np.ones((96, 128), bool)
    known[30:75, 41:90] = False
    color = np.repeat(np.where(known[..., None], 200, 60).astype(np.uint8), 3, axis=2)
    depth = np.where(points(known, 4), np.float32(2), np.float32(math.nan))
    result = Upsampler(model, device="cpu", precision="fp32", fill_holes=fill)(color[:, ::-1][:, ::-1], depth)
    assert np.mean(np.isfinite(result) != known) < 0.3 * np.mean(blocks(np.isfinite(depth), known.shape) != known)
    assert (result[np.isfinite(result)] > 1).all()


def test_nothing_is_compiled_when_a_frame_waits(make_model, tmp_path):
    kernels = pytest.importorskip("dkn.depth.holes.numba_validity")
    model = make_model(tmp_path / "m_x4.safetensors", scale=4)
    for fill in ("none", "small"):
        upsampler = Upsampler(model, device="cpu", fill_holes=fill)
        upsampler.load(4)
        ready = list(kernels._vote.signatures)
        depth = np.ones((24, 32), np.float32)
        depth[4:20, 5:20] = math.nan
        assert np.isnan(upsampler(GREY[:, ::-1], depth.astype(np.float64)[::-1])).any()
        assert kernels._vote.signatures == ready
