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

"""Degradations against PIL, torch, hand-made numbers and their own statistics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dkn.depth.degradation import DEGRADATIONS, degrade
from dkn.depth.sensor import axial_sigma, kinect_noise, quantise_disparity
from dkn.errors import ConfigError
from dkn.sensors import SENSORS

NAN = np.nan


def rng(seed=0):
    return np.random.default_rng(seed)


def scene(height=96, width=128, seed=0):
    """A slanted plane with two boxes in front of it and a little texture."""
    v, u = np.mgrid[:height, :width]
    depth = 3.0 + 0.01 * u - 0.004 * v + 0.01 * rng(seed).standard_normal((height, width))
    depth[height // 4 : height // 2, width // 8 : width // 3] = 1.2
    depth[height // 2 : -8, width // 2 : width * 3 // 4] = 2.0
    return depth.astype(np.float32)


@pytest.mark.parametrize("shape", [(96, 128), (97, 131), (50, 70)])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
def test_equals_pil_and_torch(shape, scale, kind):
    depth = scene(*shape)
    low = degrade(depth, scale, kind, rng())
    size = shape[0] // scale, shape[1] // scale
    method = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[kind]
    pil = np.asarray(Image.fromarray(depth).resize(size[::-1], method))
    np.testing.assert_allclose(low, pil, atol=2e-6)
    tensor = torch.nn.functional.interpolate(
        torch.from_numpy(depth)[None, None].double(), size=size, mode=kind, antialias=True
    )
    np.testing.assert_allclose(low, tensor[0, 0].numpy(), atol=2e-6)
    assert low.dtype == np.float32


def test_area_is_the_mean_of_the_valid_half():
    depth = np.float32([[1, 3, 5, NAN, 1, NAN], [2, 6, NAN, NAN, NAN, 4]])
    np.testing.assert_allclose(degrade(depth, 2, "area", rng()), [[3, NAN, 2.5]])
    whole = scene(60, 80)
    np.testing.assert_allclose(degrade(whole, 4, "area", rng()), whole.reshape(15, 4, 20, 4).mean((1, 3)), rtol=1e-6)


def test_nearest_takes_the_pixel_at_the_centre_of_each_block():
    depth = np.arange(12 * 12, dtype=np.float32).reshape(12, 12)
    np.testing.assert_array_equal(degrade(depth, 3, "nearest", rng()), depth[1::3, 1::3])
    np.testing.assert_array_equal(degrade(depth, 4, "nearest", rng()), depth[2::4, 2::4])


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_form_determinism_and_input_left_alone(kind):
    depth = scene(99, 130)
    depth[10:20, 30:50] = NAN
    before = depth.copy()
    low = degrade(depth, 4, kind, rng(5))
    assert low.shape == (24, 32) and low.dtype == np.float32
    assert np.isfinite(low).mean() > 0.5
    np.testing.assert_array_equal(low, degrade(depth, 4, kind, rng(5)))
    np.testing.assert_array_equal(depth, before)


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_pictures_smaller_than_the_scale_give_one_pixel(kind):
    assert degrade(np.full((3, 5), 2, np.float32), 16, kind, rng()).shape == (1, 1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (1, 64), (64, 1), (2, 3)])
@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_pictures_one_pixel_high_or_wide(kind, shape):
    depth = scene()[8 : 8 + shape[0], 8 : 8 + shape[1]]
    for seed in range(4):
        low = degrade(depth, 1, kind, rng(seed), width=640)
        assert low.shape == shape and low.dtype == np.float32
        known = low[np.isfinite(low)]
        assert ((known > 2) & (known < 5)).all(), "about 3 m, or unknown"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, -1.0, 1e-30, 1e30, np.inf])
@pytest.mark.parametrize("kind", SENSORS)
def test_what_no_camera_can_measure_is_unknown(kind, value):
    depth = scene()
    unknown = depth.copy()
    depth[:, :64], unknown[:, :64] = value, NAN
    for seed in range(4):
        found = degrade(depth, 2, kind, rng(seed))
        np.testing.assert_array_equal(found, degrade(unknown, 2, kind, rng(seed)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1e7, 1e30, 3e38, -3e38, np.inf, -np.inf])
@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_what_is_absurdly_far_is_unknown(kind, value):
    depth = scene()
    depth[:, :64] = value
    unknown = np.where(depth == np.float32(value), NAN, depth)
    found = degrade(depth, 2, kind, rng())
    np.testing.assert_array_equal(found, degrade(unknown, 2, kind, rng()))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, -1.0, 1e-44, 1e30, 3e38, np.inf, -np.inf])
def test_kinect_noise_on_absurd_depth(value):
    depth = scene()
    depth[:, :64] = value
    found = kinect_noise(depth, rng())
    unknown = np.where(depth == np.float32(value), np.float32(NAN), depth)
    np.testing.assert_array_equal(found, kinect_noise(unknown, rng()))
    assert not np.isnan(axial_sigma(depth)).any()


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_nothing_valid_gives_nothing_valid(kind):
    assert np.isnan(degrade(np.full((16, 16), NAN, np.float32), 4, kind, rng())).all()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["bicubic", "bilinear", "area", "nearest"]),
    st.integers(1, 5),
    st.floats(0.05, 0.9),
)
def test_holes_never_leak(seed, kind, scale, share):
    source = rng(seed)
    depth = np.full((21, 26), 2.5, np.float32)
    depth[source.random(depth.shape) < share] = NAN
    low = degrade(depth, scale, kind, source)
    np.testing.assert_allclose(low[np.isfinite(low)], 2.5, rtol=1e-6)


@pytest.mark.parametrize("kind", ["bicubic", "bilinear", "area"])
def test_a_hole_beside_an_edge_gives_no_depth_outside_the_range(kind):
    depth = np.where(np.arange(64) < 31, 1.0, 4.0)[None].repeat(32, 0).astype(np.float32)
    depth[8:24, 20:45] = NAN
    low = degrade(depth, 4, kind, rng())
    assert np.isnan(low[3:5, 6:10]).all()  # the middle of the hole
    beside = low[3:5][np.isfinite(low[3:5])]
    assert np.all((np.abs(beside - 1) < 1e-5) | (np.abs(beside - 4) < 1e-5))
    np.testing.assert_allclose(low[:, :4], 1, atol=1e-5)


def test_noise_is_one_per_cent_of_the_depth():
    depth = np.full((800, 800), 2, np.float32)
    depth[:, 400:] = 5
    low = degrade(depth, 4, "noise", rng())
    for half, z in ((low[:, :98], 2), (low[:, 102:], 5)):
        assert half.mean() == pytest.approx(z, rel=1e-3)
        assert half.std() == pytest.approx(0.01 * z, rel=0.03)


def test_quantised_depths_are_those_of_whole_disparity_steps():
    depth = np.linspace(0.8, 6, 64 * 64, dtype=np.float32).reshape(64, 64)
    low, plain = degrade(depth, 2, "quantised", rng()), degrade(depth, 2, "bicubic", rng())
    eighths = 586 * 0.075 / low.astype(float) * 8
    np.testing.assert_allclose(eighths, np.rint(eighths), atol=1e-3)
    # Half a step each way, dz = z^2 / (f b) dd.
    assert np.all(np.abs(low - plain) <= plain**2 / (586 * 0.075) / 8 / 2 * 1.05)
    step = np.diff(np.unique(low[(low > 2.9) & (low < 3.1)]))
    assert np.median(step) == pytest.approx(0.0256, rel=0.05)


def test_what_has_no_disparity_has_no_depth():
    result = quantise_disparity(np.float32([NAN, 0, -1, np.inf, 1e6, 1]))
    assert np.isnan(result[:5]).all() and result[5] == pytest.approx(1, abs=2e-3)


def test_holes_take_thirty_per_cent_in_blobs():
    depth = scene(480, 640)
    hole = np.isnan(degrade(depth, 4, "holes", rng()))
    assert hole.mean() == pytest.approx(0.30, abs=0.01)
    # In blobs a hole's neighbour is mostly a hole; with independent pixels 30 % would be.
    assert hole[:, 1:][hole[:, :-1]].mean() > 0.6
    low, plain = degrade(depth, 4, "holes", rng()), degrade(depth, 4, "bicubic", rng())
    np.testing.assert_array_equal(low[~hole], plain[~hole])


def test_misregistered_is_a_shift_of_one_to_two_pixels():
    v, u = np.mgrid[:64, :80].astype(np.float32)
    found = set()
    for seed in range(60):
        # The planes' depths tell by how much they have been moved.
        right = np.median(
            degrade(u, 4, "bicubic", rng())[4:-4, 4:-4] - degrade(u, 4, "misregistered", rng(seed))[4:-4, 4:-4]
        )
        down = np.median(
            degrade(v, 4, "bicubic", rng())[4:-4, 4:-4] - degrade(v, 4, "misregistered", rng(seed))[4:-4, 4:-4]
        )
        assert 1 - 1e-4 <= np.hypot(right, down) <= 2 + 1e-4
        found.add((round(float(right)), round(float(down))))
    assert len(found) > 8


def test_sensor_is_noisy_and_shadowed_on_the_left_of_near_surfaces():
    depth = np.full((480, 640), 4, np.float32)
    depth[:, 320:] = 1.5
    left, right, blobs = [], [], []
    for seed in range(20):
        low = degrade(depth, 8, "sensor", rng(seed))
        lost = np.isnan(low).mean(axis=0)
        left.append(np.count_nonzero(lost[30:40] == 1))
        right.append(lost[40:44].mean())
        flat = low[:, 4:30][np.isfinite(low[:, 4:30])]
        # Noise and disparity steps add up: a uniform error has a deviation of step / sqrt(12).
        step = 16 / (586 * 0.075) / 8
        expected = np.hypot(0.0012 + 0.0019 * 3.6**2, step / np.sqrt(12))
        assert flat.std() == pytest.approx(expected, rel=0.2)
        blobs.append(lost[:30].mean())
    assert set(left) == {2, 3, 4}
    assert np.mean(right) < 0.1 and 0.01 < np.mean(blobs) < 0.05


def test_sensor_keeps_a_slanted_wall():
    ray = (np.arange(640) - 319.5) / 525
    depth = (2.2 / (ray + 0.75))[None].repeat(480, 0).astype(np.float32)  # planar, 1.6 to 15 m
    depth = np.minimum(depth, 6)
    assert np.isnan(degrade(depth, 8, "sensor", rng(3))).mean() < 0.08


def test_a_part_of_a_picture_is_as_noisy_as_the_whole():
    """A camera's noise follows from its focal length in pixels, which a part of its picture does not tell."""

    def spread(shape, width):
        wall = np.full(shape, 3, np.float32)
        walls = [degrade(wall, 1, "structured_light", rng(seed), width=width) for seed in range(6)]
        return np.median([np.nanstd(wall[:, 40:]) for wall in walls])

    assert spread((160, 200), 640) == pytest.approx(spread((480, 640), None), rel=0.3)
    assert spread((160, 200), None) > 1.4 * spread((160, 200), 640)


# --- The full-resolution sensor ---------------------------------------------------------------------------


def test_kinect_noise_on_a_wall():
    depth = np.full((240, 320), 2, np.float32)
    noisy = kinect_noise(depth, rng(), holes=0.02)
    good = np.isfinite(noisy)
    assert np.mean(~good) == pytest.approx(0.02, abs=1e-4)
    step = 4 / (586 * 0.075) / 8
    expected = np.hypot(0.0012 + 0.0019 * 1.6**2, step / np.sqrt(12))
    assert noisy[good].std() == pytest.approx(expected, rel=0.1)
    assert noisy[good].mean() == pytest.approx(2, abs=0.003)
    assert noisy.dtype == np.float32
    np.testing.assert_array_equal(noisy, kinect_noise(depth, rng(), holes=0.02))


def test_kinect_noise_grows_with_the_square_of_the_depth():
    np.testing.assert_allclose(axial_sigma(np.float32([0.4, 1.4, 4.4])), [0.0012, 0.0031, 0.0316], rtol=1e-5)


def test_kinect_shadow_is_as_wide_as_the_parallax():
    depth = np.full((60, 640), 4, np.float32)
    depth[:, 300:400] = 1.0
    lost = np.isnan(kinect_noise(depth, rng(), holes=0.0)).mean(axis=0)
    width = 525 * 0.075 * (1 / 1.0 - 1 / 4)  # 29.5 pixels
    assert np.count_nonzero(lost[250:299] == 1) == pytest.approx(width, abs=2)
    assert lost[:268].max() == 0 and lost[405:].max() == 0
    assert 0 < lost[399:401].mean() < 1  # a ragged right edge without shadow


def test_kinect_sees_nothing_out_of_its_range():
    depth = np.full((40, 60), 2, np.float32)
    depth[:20] = 0.3
    depth[30:] = 9
    noisy = kinect_noise(depth, rng(), holes=0.0)
    assert np.isnan(noisy[:18]).all() and np.isnan(noisy[32:]).all() and np.isfinite(noisy[22:28]).all()


def test_kinect_holes_stay_holes():
    depth = np.full((60, 80), 2, np.float32)
    depth[20:40, 20:40] = NAN
    noisy = kinect_noise(depth, rng(), holes=0.0)
    assert np.isnan(noisy[24:36, 24:36]).all()
    assert np.isfinite(noisy[:, 50:]).all()
    assert np.nanmax(np.abs(noisy - 2)) < 0.1


# --- Errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0, -2, 2.5, True, None])
def test_scale_must_be_a_positive_integer(scale):
    with pytest.raises(ConfigError, match="factor"):
        degrade(scene(), scale, "bicubic", rng())


def test_unknown_kind_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"'cubic'.*bicubic.*sensor"):
        degrade(scene(), 4, "cubic", rng())


def test_names_and_order():
    expected = "bicubic bilinear area nearest noise quantised holes misregistered sensor "
    expected += "structured_light active_stereo time_of_flight phone_lidar"
    assert tuple(expected.split()) == DEGRADATIONS
