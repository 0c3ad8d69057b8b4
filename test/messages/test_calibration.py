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

"""CameraInfo brought to another image, held against points that a camera sees; and when depth is not registered."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dkn_ros.messages.calibration import info_problem, registration_problem, scaled_camera_info

POINTS = np.array([[0.1, -0.2, 1.0], [0.7, 0.4, 2.0], [-0.3, 0.5, 1.5]])  # x, y, z in metres


class Roi(SimpleNamespace):
    def __init__(self, **fields: Any):
        super().__init__(**({"x_offset": 0, "y_offset": 0, "width": 0, "height": 0, "do_rectify": False} | fields))


def camera_info(width: int = 640, height: int = 480, f: float = 525.0, baseline: float = 0.0, **fields: Any) -> Any:
    cx, cy = (width - 1) / 2 + 3, (height - 1) / 2 - 2
    values = {
        "header": SimpleNamespace(frame_id="color", stamp=5),
        "width": width,
        "height": height,
        "distortion_model": "plumb_bob",
        "d": [0.1, -0.2, 0.0, 0.0, 0.3],
        "k": [f, 0.5, cx, 0, f + 1, cy, 0, 0, 1],
        "r": [1, 0, 0, 0, 1, 0, 0, 0, 1],
        "p": [f, 0.0, cx, -f * baseline, 0, f + 1, cy, 0, 0, 0, 1, 0],
        "binning_x": 0,
        "binning_y": 0,
        "roi": Roi(),
    }
    return SimpleNamespace(**(values | fields))


def seen(matrix: Any, points: np.ndarray = POINTS) -> np.ndarray:
    """(N, 2) pixels of points, by K (3×3) or P (3×4)."""
    m = np.reshape(matrix, (3, -1))
    uvw = points @ m[:, :3].T + (m[:, 3] if m.shape[1] == 4 else 0)
    return uvw[:, :2] / uvw[:, 2:]


def at_edges(pixels: np.ndarray) -> np.ndarray:
    """Pixels counted from the image's corner, where a pixel's index is its centre."""
    return pixels + 0.5


@pytest.mark.parametrize("size", [(320, 240), (1280, 960), (1280, 1024), (213, 160)])
@pytest.mark.parametrize("baseline", [0.0, 0.075])
def test_points_stay_where_they_are_in_the_picture(size, baseline):
    info = camera_info(baseline=baseline)
    result = scaled_camera_info(info, *size, "here", 7)
    share = np.array(size) / (640, 480)
    np.testing.assert_allclose(at_edges(seen(result.k)), at_edges(seen(info.k)) * share)
    np.testing.assert_allclose(at_edges(seen(result.p)), at_edges(seen(info.p)) * share)
    assert (result.width, result.height) == size
    assert (result.header.frame_id, result.header.stamp) == ("here", 7)
    assert (result.d, result.r, result.distortion_model) == (info.d, info.r, info.distortion_model)


def test_the_same_size_changes_nothing_but_the_header():
    info = camera_info()
    result = scaled_camera_info(info, 640, 480, "here", 7)
    assert (result.k, result.p) == (info.k, info.p)
    assert (info.header.frame_id, info.header.stamp) == ("color", 5)  # a copy


@pytest.mark.parametrize("binning", [1, 2])
def test_a_region_of_interest_becomes_the_whole_picture(binning):
    """K and P are for the full picture; the image shows a part of it, each of its pixels perhaps a mean of some."""
    roi = Roi(x_offset=100, y_offset=60, width=400, height=300)
    info = camera_info(roi=roi, binning_x=binning, binning_y=binning)
    result = scaled_camera_info(info, 400 // binning, 300 // binning, "here", 7)
    expected = (at_edges(seen(info.k)) - (100, 60)) / binning
    np.testing.assert_allclose(at_edges(seen(result.k)), expected)
    np.testing.assert_allclose(at_edges(seen(result.p)), (at_edges(seen(info.p)) - (100, 60)) / binning)
    assert (result.binning_x, result.binning_y) == (0, 0)
    assert result.roi == Roi()


def test_binning_of_the_whole_picture():
    info = camera_info(binning_x=2, binning_y=2)
    result = scaled_camera_info(info, 320, 240, "here", 7)
    np.testing.assert_allclose(at_edges(seen(result.k)), at_edges(seen(info.k)) / 2)


def test_an_uncalibrated_camera_stays_so():
    info = camera_info(k=[0.0] * 9, p=[0.0] * 12)
    result = scaled_camera_info(info, 320, 240, "here", 7)
    assert not any(result.k)
    assert not any(result.p)
    empty = scaled_camera_info(camera_info(0, 0, k=[0.0] * 9, p=[0.0] * 12), 320, 240, "here", 7)
    assert (empty.width, empty.height) == (320, 240)


def test_the_messages_of_ros():
    messages = pytest.importorskip("sensor_msgs.msg", reason="needs sensor_msgs")
    info = messages.CameraInfo(width=640, height=480, k=camera_info().k, p=camera_info().p)
    info.roi.width, info.roi.height = 320, 240
    result = scaled_camera_info(info, 640, 480, "here", info.header.stamp)
    np.testing.assert_allclose(at_edges(seen(result.k)), at_edges(seen(info.k)) * 2)
    assert result.roi == messages.CameraInfo().roi


# ------------------------------------------------------------------------------------------------ registration


def test_registered():
    info = camera_info()
    assert registration_problem("color", "color", info, info) is None
    assert registration_problem("color", "color", None, None) is None
    assert registration_problem("color", "", info, None) is None
    assert registration_problem("", "depth", None, info) is None
    assert registration_problem("color", "color", info, camera_info(k=[0.0] * 9)) is None


def test_registered_depth_of_another_size():
    small = scaled_camera_info(camera_info(), 160, 120, "color", 5)
    assert registration_problem("color", "color", camera_info(), small) is None


def test_registered_depth_beside_a_region_of_interest():
    """The same pixels, described by a region of interest here and by intrinsics of their own there."""
    part = camera_info(roi=Roi(x_offset=100, y_offset=60, width=400, height=300))
    own = scaled_camera_info(part, 400, 300, "color", 5)
    assert registration_problem("color", "color", part, own) is None
    assert "intrinsics" in registration_problem("color", "color", part, camera_info())


def test_another_frame():
    problem = registration_problem("camera_rgb_optical_frame", "camera_depth_optical_frame", None, None)
    assert "'camera_depth_optical_frame'" in problem
    assert "'camera_rgb_optical_frame'" in problem
    assert "depth_image_proc" in problem
    assert "\n" not in problem


@pytest.mark.parametrize("change", [{"f": 570.0}, {"f": 525.0 * 0.9}])
def test_another_camera(change):
    """The infrared camera of the same device, in a frame that somebody set to the colour's."""
    problem = registration_problem("color", "color", camera_info(), camera_info(**change))
    assert "intrinsics" in problem
    assert "depth_registration:=true" in problem


@pytest.mark.parametrize("size", [(16, 12), (8, 8), (320, 240), (640, 120)])
def test_the_same_view_at_any_size_is_registered(size):
    """The principal point of 640x480 is (319.5, 239.5), that of 16x12 (7.5, 5.5): the middle, from the edges."""
    color = camera_info(640, 480, k=[600.0, 0, 319.5, 0, 600.0, 239.5, 0, 0, 1])
    (w, h), k = (
        size,
        [600.0 * size[0] / 640, 0, size[0] / 2 - 0.5, 0, 600.0 * size[1] / 480, size[1] / 2 - 0.5, 0, 0, 1],
    )
    small = camera_info(w, h, k=k)
    assert registration_problem("color", "color", color, small, (640, 480), size) is None


@pytest.mark.parametrize(
    ("color", "depth", "cause"),
    [
        ((640, 480), (640, 480), None),
        ((640, 480), (80, 60), None),
        ((1241, 376), (155, 47), None),  # an eighth, cut to whole pixels
        ((3, 2), (1, 1), None),
        ((480, 640), (640, 480), "turned by 90 degrees"),
        ((1440, 1920), (256, 192), "turned by 90 degrees"),
        ((800, 480), (640, 480), "do not show the same view"),
        ((640, 480), (640, 360), "do not show the same view"),
        ((640, 480), (8, 8), "do not show the same view"),
    ],
)
def test_shapes(color, depth, cause):
    found = registration_problem("color", "color", None, None, color, depth)
    assert (cause in found) if cause else found is None


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({}, None),
        ({"width": 320, "height": 240}, None),  # for another size of the same shape
        ({"k": [math.nan] * 9}, "K has values that are no numbers"),
        ({"d": [math.inf]}, "D has values"),
        ({"k": [0.0] * 9, "p": [0.0] * 12}, "K is zero"),
        ({"p": [0.0] * 12}, "focal lengths in P, 0 and 0"),
        ({"k": [1.0, 0, 0, 0, 1, 0, 0, 0, 1]}, "focal lengths in K, 1 and 1"),
        ({"width": 480, "height": 640}, "it is for 480x640 pixels, and the image has 640x480"),
        ({"width": 0, "height": 0}, "it is for an image of 0x0 pixels"),
    ],
)
def test_camera_info_of_no_use(change, cause):
    info = camera_info(**{"d": [0.1], "r": [0.0] * 9, **change})
    found = info_problem(info, (640, 480))
    assert (cause in found) if cause else found is None
