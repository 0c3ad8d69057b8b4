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

"""The average over time: noise goes down where nothing moves, and nothing is dragged along where something does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dkn.data.rendered.room import Scene, render_sequence
from dkn.depth.kernels import numpy_temporal
from dkn.depth.temporal import AT_REST, COLOR_GATE, GATE, LONGEST_GAP, MOVING, NOISE, TemporalFilter, apparent_motion
from dkn.errors import ConfigError, ImageError

SIZE = 24, 32
GREY = np.full((*SIZE, 3), 128, np.uint8)


def sigma(depth):
    return NOISE[0] + NOISE[1] * depth**2


def test_a_still_scene_becomes_quiet():
    """As a first-order recursion does: the deviation falls by √((1 - w) / (1 + w)), a third at 0.8; the gate, which
    weighs what is far off less, leaves some of that."""
    rng = np.random.default_rng(0)
    filtered, average = [], TemporalFilter(0.8)
    for k in range(60):
        noisy = (2 + 0.5 * sigma(2) * rng.standard_normal(SIZE)).astype("f")
        color = GREY + rng.integers(0, 8, GREY.shape, np.uint8)  # a camera's noise
        filtered.append(average(color, noisy, k / 30))
    late = np.stack(filtered[20:])
    assert late.dtype == np.float32
    assert 0.25 < late.std() / (0.5 * sigma(2)) < 0.5
    assert late.mean() == pytest.approx(2, abs=1e-3)


def test_the_compiled_form_is_the_same():
    numba_temporal = pytest.importorskip("dkn.depth.kernels.numba_temporal")
    rng = np.random.default_rng(1)
    depth = rng.uniform(0.5, 6, SIZE).astype("f")
    mean = (depth + 2 * sigma(depth) * rng.standard_normal(SIZE)).astype("f")
    depth[rng.random(SIZE) < 0.2], mean[rng.random(SIZE) < 0.2] = np.nan, np.nan
    still = np.where(rng.random(SIZE) < 0.8, 255, 0).astype(np.uint8)
    gate = [np.float32(GATE * part) for part in NOISE]
    results = [np.empty_like(depth) for _ in range(2)]
    rows, columns, averages = np.arange(24) // 8, np.arange(32) // 8, []
    for kernels, result in zip((numpy_temporal, numba_temporal), results, strict=True):
        before = mean[::8, ::8].copy()
        agrees = kernels.agreement(depth[::8, ::8].copy(), before, np.float32(0.7), *gate)
        assert 0 == agrees.min() < agrees.max() <= 1
        averages.append(before)
        kernels.average(depth, mean, still, agrees, rows, columns, np.float32(0.7), *gate, result)
    np.testing.assert_allclose(*results, rtol=1e-6)
    np.testing.assert_allclose(*averages, rtol=1e-6)
    assert (averages[0] != depth[::8, ::8]).any()
    assert (results[0] != depth)[np.isfinite(depth)].any() and (np.isnan(results[0]) == np.isnan(depth)).all()


@pytest.mark.parametrize("scale", [1, 4])
def test_where_what_was_measured_is_as_it_was_depth_may_differ(scale):
    """A network's output that jumps, over measurements that do not; beside it both jump, which is no noise."""
    average = TemporalFilter(0.8)
    measured = np.full((24 // scale, 32 // scale), 2, np.float32)
    low, high = np.full(SIZE, 2, np.float32), np.full(SIZE, 3, np.float32)
    assert (average(GREY, low, 0.0, measured) == 2).all()
    assert average(GREY, high, 0.03, measured) == pytest.approx(np.full(SIZE, 2.2), abs=1e-5)
    beside, jumped = measured.copy(), slice(16 // scale, None)
    beside[:, jumped] = 3
    found = average(GREY, high, 0.06, beside)
    assert found[:, :16] == pytest.approx(np.full((24, 16), 2.36), abs=1e-5)
    assert (found[:, 16:] == 3).all()
    unknown = np.full_like(measured, np.nan)
    assert (average(GREY, low, 0.09, unknown) == 2).all()
    assert (average(GREY, high, 0.12, measured) == 3).all(), "and so is what was not known before"


def test_what_comes_nearer_slowly_is_not_left_behind():
    """A metre a second, less in a frame than the noise that is allowed: the average follows within that."""
    average = TemporalFilter(0.9)
    for k in range(40):
        now = np.full(SIZE, 3 - k / 30, np.float32)
        lag = average(GREY, now, k / 30, now[::8, ::8]) - now
        assert np.abs(lag).max() < GATE * sigma(now.max())


def test_the_unknown_stays_unknown_and_the_past_fills_nothing():
    average = TemporalFilter(0.9)
    average(GREY, np.full(SIZE, 2, np.float32), 0.0)
    holed = np.full(SIZE, 2, np.float32)
    holed[4:9, 3:7] = np.nan
    assert (np.isnan(average(GREY, holed, 0.03)) == np.isnan(holed)).all()
    again = average(GREY, np.full(SIZE, 2.01, np.float32), 0.06)
    assert (again[4:9, 3:7] == np.float32(2.01)).all()  # nothing to average with there
    assert 2 < again[0, 0] < 2.01


@pytest.mark.parametrize("what", ["depth", "colour", "gap", "time goes back", "size"])
def test_what_begins_anew(what):
    average = TemporalFilter(0.9)
    average(GREY, np.full(SIZE, 2, np.float32), 10.0)
    color, depth, stamp = GREY, np.full(SIZE, 2.01, np.float32), 10.03
    if what == "depth":
        depth = np.full(SIZE, 2 + 2 * GATE * sigma(2), np.float32)
    elif what == "colour":
        color = GREY + np.uint8(COLOR_GATE + 1)
    elif what == "gap":
        stamp = 10 + LONGEST_GAP + 0.1
    elif what == "time goes back":
        stamp = 9.9
    else:
        color, depth = GREY[:12], depth[:12]
    before = depth.copy()
    assert (average(color, depth, stamp) == before).all() and (depth == before).all()


def test_a_frame_that_its_owner_changes_is_not_remembered_changed():
    average, color, depth = TemporalFilter(0.5), GREY.copy(), np.full(SIZE, 2, np.float32)
    first = average(color, depth, 0.0)
    color[:], depth[:], first[:] = 0, 5, 7
    found = average(GREY, np.full(SIZE, 2.002, np.float32), 0.03)
    assert found == pytest.approx(np.full(SIZE, 2.001), abs=2e-4)


def test_a_camera_that_moves_is_not_averaged():
    """A rendered room seen by a hand-held camera, exact depth: whatever the average adds is its own error."""
    average, errors = TemporalFilter(0.9), []
    for frame in render_sequence(6, (160, 120), seed=3):
        errors.append(
            np.abs(average(frame.color, frame.depth, frame.stamp_ns / 1e9) - frame.depth) / sigma(frame.depth)
        )
    assert np.mean(errors[1:]) < 0.03


@pytest.mark.parametrize("scale", [0, 1, 8])
def test_no_ghost_behind_what_moves(scale):
    """A box that crosses the view of a camera that stands still, before the room, with noise. Where it was a frame ago
    no depth lies between it and the room; elsewhere the noise falls."""
    rng = np.random.default_rng(0)
    frame = next(iter(render_sequence(1, (160, 120), seed=3)))
    average, left, noise = TemporalFilter(0.9), [], []
    for k in range(20):
        color, depth = frame.color.copy(), frame.depth.copy()
        box = slice(50, 62), slice(4 * k, 4 * k + 16)
        color[box], depth[box] = 255 - color[box], 0.5
        noisy = (depth + 0.5 * sigma(depth) * rng.standard_normal(depth.shape)).astype("f")
        measured = noisy[scale // 2 :: scale, scale // 2 :: scale] if scale else None
        error = np.abs(average(color, noisy, k / 30, measured) - depth) / sigma(depth)
        left.append(error[50:62, max(4 * k - 8, 0) : 4 * k + 16].max())
        noise.append(error[:40].mean() / (np.abs(noisy - depth) / sigma(depth))[:40].mean())
    assert max(left) < GATE + 2.5  # the gate beyond the noise; the box is hundreds of deviations away
    assert np.mean(noise[10:]) < 0.6


@pytest.mark.parametrize("scale", [0, 1, 8])
@pytest.mark.parametrize("thing", [1, 3])
def test_no_ghost_behind_furniture_that_moves(thing, scale):
    """The camera stands still, a piece of furniture crosses its view at a metre a second; exact truth, and noise."""
    rng, scene, size = np.random.default_rng(0), Scene(3), (160, 120)
    pose = scene.camera_pose(0.0)
    seen = scene.seen(pose, size)
    largest = np.argsort(-np.bincount(seen[seen > 0]))[thing]
    solid, average, before = scene.solids[largest], TemporalFilter(0.9), None
    left, still = [], []
    for k in range(12):
        scene.solids[largest] = dataclasses.replace(solid, centre=solid.centre + pose[:3, 0] * 0.033 * (k - 6))
        color, depth = scene.render(pose, size)
        color = (color + rng.normal(0, 2, color.shape)).clip(0, 255).astype(np.uint8)
        noisy = (depth + 0.5 * sigma(depth) * rng.standard_normal(depth.shape)).astype("f")
        result = average(color, noisy, k / 30, noisy[scale // 2 :: scale, scale // 2 :: scale] if scale else None)
        error, noise = (np.abs(found - depth) / sigma(depth) for found in (result, noisy))
        if before is not None and (moved := np.abs(depth - before) > 2 * GATE * sigma(depth)).any():
            left.append(error[moved].max())
            if k > 8:
                still.append(error[~moved].mean() / noise[~moved].mean())
        before = depth
    assert len(left) > 8 and max(left) < 2.5  # what noise alone makes; a ghost would be 6 and more
    assert np.mean(still) < 0.6


def test_somebody_who_fills_a_third_of_the_picture_ends_the_average_only_where_he_is():
    rng, size = np.random.default_rng(0), (320, 240)
    room, man = (next(iter(render_sequence(1, size, seed=seed))) for seed in (3, 4))
    average, noise = TemporalFilter(0.8), []
    for k in range(20):
        color, depth = room.color.copy(), room.depth.copy()
        there = slice(8 * k, 8 * k + 107)
        color[:, there], depth[:, there] = man.color[:, :107], 0.9
        color = (color + rng.normal(0, 2, color.shape)).clip(0, 255).astype(np.uint8)
        noisy = (depth + 0.5 * sigma(depth) * rng.standard_normal(depth.shape)).astype("f")
        error, before = (np.abs(found - depth) / sigma(depth) for found in (average(color, noisy, k / 30), noisy))
        assert error.max() < GATE + 2.5  # the gate beyond the noise
        noise.append(error[:, 270:].mean() / before[:, 270:].mean())
    assert np.mean(noise[10:]) < 0.5


def test_the_same_picture_again_says_nothing_of_motion():
    """As cameras send it whose colour is slower than their depth."""
    frames = [frame.color for frame in render_sequence(3, (320, 240), seed=3)]
    assert apparent_motion(frames[0], frames[0]) is None
    average = TemporalFilter(0.9)
    for k, color in enumerate((frames[0], frames[1], frames[1], frames[1], frames[2])):
        depth = np.full(color.shape[:2], 2 + 0.002 * k, np.float32)
        assert (average(color, depth, k / 30) == depth).all()  # the camera goes on moving


@pytest.mark.parametrize("seed", [3, 7])
def test_motion_of_a_camera(seed):
    rng = np.random.default_rng(0)
    color = next(iter(render_sequence(1, (320, 240), seed=seed))).color

    def noisy(image, deviation):
        return (image + rng.normal(0, deviation, image.shape)).clip(0, 255).astype(np.uint8)

    for deviation in (1, 3, 6):
        assert apparent_motion(noisy(color, deviation), noisy(color, deviation)) < AT_REST
    moved = np.roll(color, 1, axis=1)
    assert apparent_motion(noisy(color, 2), noisy(moved, 2)) > 2 * MOVING
    assert apparent_motion(noisy(color, 2), noisy(np.minimum(color, 245) + 10, 2)) < AT_REST  # exposure
    assert apparent_motion(noisy(np.full_like(color, 90), 2), noisy(np.full_like(color, 90), 2)) == 0
    assert apparent_motion(color[:2], color[:2]) == 0


def test_a_hand_before_a_wall_leaves_nothing_behind():
    size = 48, 64
    average, grey = TemporalFilter(0.95), np.full((*size, 3), 128, np.uint8)
    for k in range(12):
        color, depth = grey.copy(), np.full(size, 2, np.float32)
        color[5:12, 2 * k : 2 * k + 8], depth[5:12, 2 * k : 2 * k + 8] = 160, 0.8
        assert np.abs(average(color, depth, k / 30) - depth).max() < 1e-6


@pytest.mark.parametrize("weight", [-0.1, 1.0, float("nan")])
def test_a_weight_that_is_none(weight):
    with pytest.raises(ConfigError, match="temporal"):
        TemporalFilter(weight)


def test_images_of_two_sizes():
    with pytest.raises(ImageError, match="one size"):
        TemporalFilter(0.5)(GREY, np.ones((3, 4), np.float32), 0.0)
