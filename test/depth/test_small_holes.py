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

"""Small holes: which are, by hand, and what an `Upsampler` makes of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dkn import Upsampler
from dkn.depth.holes.small import STEP, small_holes
from dkn.errors import ConfigError


@pytest.fixture
def model(make_model, tmp_path):
    return make_model(tmp_path / "m_x4.safetensors", scale=4)


def wall(size=(40, 60)):
    return np.full(size, 2, np.float32)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("width", [1, 2, 3, 3.9, 4, 5, 6])
def test_how_wide(rows, width):
    depth = wall()
    depth[10 : 10 + rows, 20:40] = np.nan  # so many rows high, whatever its length
    assert (small_holes(depth, width) == (np.isnan(depth) & (rows <= width))).all(), (rows, width)


def test_one_surface():
    depth = wall()
    depth[:, 30:] = 2 * (1 + 0.9 * STEP)  # a step too small for two surfaces
    depth[8:11, 28:32] = np.nan
    assert (small_holes(depth, 8) == np.isnan(depth)).all()
    depth[10, 32] = 2 * (1 + 1.1 * STEP)  # one pixel that touches it is of another
    assert not small_holes(depth, 8).any()


def test_a_shadow_beside_a_near_thing_stays():
    depth = wall()
    depth[10:30, 20:35] = 1
    depth[10:30, 17:20] = np.nan
    assert not small_holes(depth, 8).any()


def test_at_the_border_nothing_encloses_it():
    depth = wall()
    depth[0:3, 10:13] = depth[20:23, -3:] = np.nan
    depth[20:23, 20:23] = 0  # 0 is unknown, too
    expected = np.zeros(depth.shape, bool)
    expected[20:23, 20:23] = True
    assert (small_holes(depth, 8) == expected).all()


@pytest.mark.parametrize("value", [np.nan, 2.0])
def test_nothing_or_everything_known(value):
    assert not small_holes(np.full((6, 8), value, np.float32), 8).any()


def test_an_upsampler_fills_small_ones_alone(model):
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (96, 128, 3), np.uint8)
    depth = np.full((24, 32), 2, np.float32)
    depth[4:7, 4:7] = np.nan  # 12 of the result's pixels
    depth[12:20, 10:20] = np.nan  # 32
    results = {}
    for fill in ("none", "small", "all", False, True):
        results[fill] = Upsampler(model, device="cpu", precision="fp32", fill_holes=fill)(color, depth)
    np.testing.assert_array_equal(results[False], results["none"])
    np.testing.assert_array_equal(results[True], results["all"])
    unknown = {fill: np.isnan(result) for fill, result in results.items()}
    large, small = np.zeros((2, 96, 128), bool)
    large[48:80, 40:80] = small[16:28, 16:28] = True
    around = np.ones((9, 9), np.uint8)  # where a hole ends, to an input pixel, is the colour's to say
    inside, outside = (cv2.erode(mask.astype(np.uint8), around) > 0 for mask in (large, ~(large | small)))
    assert unknown["small"][inside].all() and unknown["none"][inside].all()
    assert not unknown["small"][outside | small].any() and not unknown["none"][outside].any()
    assert unknown["none"][small].sum() > 50 and not unknown["all"].any()
    known = ~unknown["small"]
    np.testing.assert_array_equal(results["small"][known], results["all"][known])


def test_how_wide_is_an_option(model):
    color, depth = np.full((96, 128, 3), 90, np.uint8), np.full((24, 32), 2, np.float32)
    depth[4:7, 4:7] = np.nan  # 12 of the result's pixels
    upsampler = Upsampler(model, device="cpu", precision="fp32", fill_holes="small", hole_width=11)
    assert np.isnan(upsampler(color, depth)).any()
    upsampler.hole_width = 12
    assert np.isfinite(upsampler(color, depth)).all()
    with pytest.raises(ConfigError, match="hole_width"):
        upsampler.hole_width = 0


def test_it_may_change_from_frame_to_frame(model):
    upsampler = Upsampler(model, device="cpu", precision="fp32")
    upsampler.fill_holes = True
    assert upsampler.fill_holes == "all"
    with pytest.raises(ConfigError, match="none, small, all"):
        upsampler.fill_holes = "some"
    assert upsampler.fill_holes == "all"


def test_its_width_is_that_of_the_largest_square_in_it():
    """Holes at random, against a search for squares."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        depth = wall((24, 24))
        depth[4:20, 4:20][rng.random((16, 16)) < 0.6] = np.nan
        unknown = np.isnan(depth).astype(np.uint8)
        count, labels = cv2.connectedComponents(unknown, connectivity=8)
        expected = np.zeros(depth.shape, bool)
        for hole in range(1, count):
            mask = labels == hole
            fits = any(mask[y : y + 4, x : x + 4].all() for y in range(20) for x in range(20))
            expected |= mask & (not fits)
        np.testing.assert_array_equal(small_holes(depth, 3), expected)


@pytest.mark.parametrize("width", [1e9, np.inf])
def test_holes_of_any_width(width):
    depth = np.ones((20, 30), np.float32)
    depth[5:15, 8:20] = np.nan
    assert np.array_equal(small_holes(depth, width), np.isnan(depth))
