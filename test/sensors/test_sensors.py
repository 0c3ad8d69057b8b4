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

"""Simulated cameras: their statistics against those of real recordings, and the tools they are made of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dkn.data.rendered.room import KINECT_SIZE, render_sequence
from dkn.experiments.sensor_statistics import simulated, statistics
from dkn.sensors import SENSORS, measure, toolbox
from dkn.sensors.registration_error import LARGEST, registration_error

CORRELATIONS = [f"correlation, {lag} px" for lag in (1, 2, 4, 8, 16)]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def rooms():
    """(colour, depth) of two rooms, each four times: a camera is another one every time."""
    return 4 * [(f.color, f.depth) for seed in range(2) for f in render_sequence(1, KINECT_SIZE, seed=40 + seed)]


def box(height=120, width=160, side=30):
    """A box at 1.5 m in front of a wall at 3 m."""
    depth = np.full((height, width), 3, np.float32)
    depth[side:-side, side + 10 : -side - 10] = 1.5
    return depth


GREY = np.full((120, 160, 3), 128, np.uint8)


# --- The estimators -----------------------------------------------------------------------------------------------


def test_a_perfect_camera():
    figures = statistics([(box(), box())])
    assert figures["borders"] == 2 * (60 + 80)
    none = "growth, px", "wander, px", "shift right, px", "borders with a hole, %", "wrong side, %", "invalid, %"
    assert [figures[name] for name in none] == [0] * 6


def test_a_shift_and_a_growth_are_read_as_what_they_are():
    moved = statistics([(np.roll(box(), 3, axis=1), box())])
    assert moved["shift right, px"] == 3
    assert moved["growth, px"] == 0
    grown = statistics([(box(side=28), box())])
    assert grown["growth, px"] == 2
    assert grown["shift right, px"] == 0
    assert grown["wrong side, %"] == pytest.approx(100 * 2 / 6, abs=1)


def test_holes_are_counted_by_side():
    measured = box()
    measured[:, 118:] = np.nan  # two pixels of the box, and all to the right of it
    figures = statistics([(measured, box())])
    assert [figures[f"{side}, %"] for side in ("left", "right")] == [0, 100]
    assert figures["up, %"] == figures["down, %"] < 5


def test_noise_and_its_correlation_are_read():
    truth = [np.full((240, 320), z, np.float32) for z in (1, 2, 4)]
    noise = [0.003 * t**2 * toolbox.smooth_noise(t.shape, 2.0, rng(i)) for i, t in enumerate(truth)]
    figures = statistics([(t + n, t) for t, n in zip(truth, noise, strict=True)])
    assert figures["noise, mm at 1 m"] == pytest.approx(3, rel=0.08)
    for name, lag in zip(CORRELATIONS, (1, 2, 4, 8, 16), strict=True):
        assert figures[name] == pytest.approx(math.exp(-(lag**2) / 16), abs=0.06)
    white = statistics([(t + 0.002 * t**2 * rng().standard_normal(t.shape), t) for t in truth])
    assert white["noise, mm at 1 m"] == pytest.approx(2, rel=0.03)
    assert white["within 15×15 px"] == pytest.approx(2, rel=0.03)
    x = np.arange(320)
    slow = statistics([(t + 1e-5 * x * t**2, t) for t in truth])  # what a plane explains is not local
    assert slow["noise, mm at 1 m"] > 0.5
    assert slow["within 15×15 px"] == pytest.approx(0, abs=1e-3)


def test_smeared_borders():
    measured = box()
    measured[:, 120:122] = 2.25
    figures = statistics([(measured, box())])
    assert figures["mixed borders, %"] == pytest.approx(100 * 60 / 280)
    assert figures["flying pixels, %"] == pytest.approx(100 * 120 / (280 * 6))


# --- The cameras, against what recordings of real ones show (docs/sensors.md) --------------------------------------


def test_structured_light_errs_as_a_kinect_does(rooms):
    f = statistics(simulated(rooms, "structured_light", 1))
    assert 0.5 < f["growth, px"] < 1.3
    assert 0.8 < f["wander, px"] < 1.8
    assert 20 < f["borders with a hole, %"] < 45
    assert min(f["left, %"], f["right, %"]) > 0.9 * max(f["up, %"], f["down, %"])
    assert f["mixed borders, %"] < 7  # what jumps stays a jump
    assert 15 < f["wrong side, %"] < 30
    assert 5 < f["invalid, %"] < 30
    assert 1.9 < f["noise, mm at 1 m"] < 3.0
    assert 1.2 < f["within 15×15 px"] < 2.0
    for name, real in zip(CORRELATIONS, (0.82, 0.73, 0.62, 0.48, 0.39), strict=True):
        assert f[name] == pytest.approx(real, abs=0.1), name


def test_active_stereo_errs_as_a_realsense_does(rooms):
    f = statistics(simulated(rooms, "active_stereo", 1))
    assert 0.5 < f["growth, px"] < 1.7
    assert 15 < f["borders with a hole, %"] < 45
    assert f["mixed borders, %"] < 5
    assert 3 < f["invalid, %"] < 25
    assert 1.2 < f["noise, mm at 1 m"] < 3
    for name, real in zip(CORRELATIONS, (0.82, 0.7, 0.51, 0.29, 0.13), strict=True):
        assert f[name] == pytest.approx(real, abs=0.14), name


def test_time_of_flight_mixes_near_and_far(rooms):
    f = statistics(simulated(rooms, "time_of_flight", 2))
    assert f["mixed borders, %"] > 25
    assert f["flying pixels, %"] > 8
    assert f["wrong side, %"] < 20
    assert f["noise, mm at 1 m"] < 3


def test_a_phone_smears_borders_and_has_no_holes(rooms):
    f = statistics(simulated(rooms, "phone_lidar", 4))
    assert f["invalid, %"] == 0
    assert f["mixed borders, %"] > 55
    assert abs(f["growth, px"]) < 0.7  # thin things are lost
    assert f["wander, px"] < 1


def test_flying_pixels_lie_between_both_surfaces():
    """On the nearer one's side if that is bright."""
    depth, dark = box(), GREY.copy()
    low = [measure("time_of_flight", depth, GREY, (30, 40), rng(i), misregistered=0) for i in range(30)]
    values = np.concatenate([m[np.isfinite(m)] for m in low])
    assert ((values > 1.6) & (values < 2.8)).sum() > 100
    assert np.mean((values > 1.3) & (values < 3.2)) > 0.99
    dark[depth < 2] = 2  # a black box in front of a grey wall
    black = [measure("time_of_flight", depth, dark, (30, 40), rng(i), misregistered=0) for i in range(30)]
    both = [np.isfinite(a) & np.isfinite(b) & (a > 1.7) & (a < 2.7) for a, b in zip(low, black, strict=True)]
    moved = [np.median((b - a)[m]) for a, b, m in zip(low, black, both, strict=True) if m.sum() > 20]
    assert np.median(moved) > 0.03


def test_a_shadow_is_as_wide_as_the_baseline_says():
    """Structured light: projector and camera lie on either side, 7.5 cm apart in all."""
    depth = box()
    share = np.zeros(160)
    for i in range(60):
        share += np.isnan(measure("structured_light", depth, GREY, (120, 160), rng(i), 640, 0))[50:70].mean(0) / 60
    widths = 525 * (1 / 1.5 - 1 / 3) * np.array([0.05, 0.025])  # 8.7 and 4.4 px, either way round
    assert share[42:118].max() < 0.4
    left, right = share[20:40].sum(), share[120:140].sum()
    assert left + right == pytest.approx(widths.sum() - 1.7, abs=4)  # near surfaces grow over some of it


# --- What they have in common -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(SENSORS))
@pytest.mark.parametrize("size", [(97, 131), (24, 32), (7, 5)])
def test_form_and_determinism(kind, size):
    depth = np.full((97, 131), 2, np.float32)
    depth[20:60, 40:90] = 1
    depth[:30, :30] = np.nan
    color = rng(1).integers(0, 256, (97, 131, 3), np.uint8)
    before = depth.copy(), color.copy()
    measured = [measure(kind, depth, color, size, rng(3)) for _ in range(2)]
    np.testing.assert_array_equal(*measured)
    np.testing.assert_array_equal(depth, before[0])
    np.testing.assert_array_equal(color, before[1])
    assert measured[0].shape == size
    assert measured[0].dtype == np.float32
    assert not np.isinf(measured[0]).any()
    assert (measured[0][np.isfinite(measured[0])] > 0).all()
    assert np.isfinite(measured[0]).mean() > 0.3
    other = measure(kind, depth, color, size, rng(4))
    assert not np.array_equal(measured[0], other, equal_nan=True)


@pytest.mark.parametrize("kind", list(SENSORS))
def test_nothing_known_nothing_measured(kind):
    measured = measure(kind, np.full((64, 64), np.nan, np.float32), GREY[:64, :64], (16, 16), rng())
    assert np.isnan(measured).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_registration_error_is_small_and_goes_on_over_a_region(seed):
    """A map whose depth says where it was: beyond the border of the picture it repeats itself."""
    y, x = np.indices((200, 200)).astype(np.float32)
    for image, there in ((x, x), (y, y)):
        moved = registration_error(3 + image / 1000, 640, rng(seed))
        step = (1000 * (moved - 3) - there)[20:-20, 20:-20]
        assert np.nanmax(np.abs(step)) <= LARGEST + 1.6
        known = np.isfinite(step)
        assert known.mean() > 0.97
        assert np.nanstd(step) < 1.5


def test_near_things_move_more_where_the_baseline_is_off():
    found = set()
    for seed in range(40):
        moved = registration_error(box(), 640, rng(seed))
        if np.isnan(moved).any():
            found.add(bool(np.isnan(moved[:, :80]).any()))
            assert np.isnan(moved[60]).sum() <= 6
    assert found == {True, False}  # slivers, on the left or on the right


def test_smooth_noise():
    for sigma in (0.0, 1.2, 3.0, 12.0):
        fields = np.stack([toolbox.smooth_noise((96, 128), sigma, rng(i)) for i in range(60)])
        assert fields.mean() == pytest.approx(0, abs=0.1)
        assert fields.std() == pytest.approx(1, abs=0.06)
        for lag in (1, 4):
            product = (fields[:, :, :-lag] * fields[:, :, lag:]).mean() / (fields**2).mean()
            assert product == pytest.approx(math.exp(-(lag**2) / (4 * max(sigma, 0.01) ** 2)), abs=0.05)


def test_occlusion_is_what_rays_say():
    """Against every pair of pixels of a row."""
    depth = np.float32(rng(0).choice([1.0, 1.4, 2.0, 3.0], (4, 60)))
    depth[1, 7] = np.nan
    for pixel_metres in (6.0, -6.0):
        found = toolbox.occluded(depth, pixel_metres)
        for row in range(4):
            seen = np.arange(60) - pixel_metres / depth[row]
            for i in range(60):
                beyond = seen[i + 1 :] if pixel_metres > 0 else seen[:i]
                hidden = (beyond < seen[i] - 0.5) if pixel_metres > 0 else (beyond > seen[i] + 0.5)
                assert found[row, i] == (bool(hidden.any()) and np.isfinite(depth[row, i])), (row, i)


def test_masks_have_the_share_they_shall():
    shares = [toolbox.random_mask(0.1, (96, 128), 2.0, rng(i)).mean() for i in range(40)]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.02)
    probability = np.zeros((96, 128), np.float32)
    probability[:, 64:] = 0.3
    masks = [toolbox.random_mask(probability, (96, 128), 2.0, rng(i)) for i in range(40)]
    assert not any(mask[:, :64].any() for mask in masks)
    assert np.mean([mask[:, 64:].mean() for mask in masks]) == pytest.approx(0.3, abs=0.03)


def test_points_and_means():
    depth = np.float32([[1, 3, 5, np.nan], [2, 6, np.nan, np.nan]])
    np.testing.assert_allclose(toolbox.means(depth, (1, 2)), [[3, np.nan]])
    np.testing.assert_array_equal(
        toolbox.points(np.arange(16, dtype=np.float32).reshape(4, 4), (2, 2)), [[5, 7], [13, 15]]
    )


@pytest.mark.parametrize("axis", [0, 1])
def test_a_single_row_or_column_slopes_as_its_neighbours_tell(axis):
    depth = np.linspace(1, 2, 50, dtype=np.float32)[None]
    one = depth if axis == 0 else depth.T
    many = np.repeat(one, 3, axis)
    np.testing.assert_array_equal(toolbox.facing(one, 20.0), np.take(toolbox.facing(many, 20.0), [1], axis))


def test_slopes():
    """A plane that recedes by as much as it goes sideways is seen at 45°."""
    focal, x = 500.0, np.arange(200) - 100
    depth = np.broadcast_to(2 / (1 - x / focal), (50, 200)).astype(np.float32)  # z = 2 + X
    cosine = toolbox.facing(depth, focal)[20, 95:105]
    np.testing.assert_allclose(cosine, math.sqrt(0.5), atol=0.03)
