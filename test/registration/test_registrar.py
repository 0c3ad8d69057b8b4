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

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source a ROS 2, or install requirements-ros.txt")

from sensor_msgs.msg import CameraInfo

from dkn.errors import ConfigError
from dkn.geometry import CameraModel, Registration
from dkn_ros.messages.camera_info import camera_model, is_rectified
from dkn_ros.registration.registrar import Registrar, View

MATRIX = np.eye(4)
MATRIX[0, 3] = -0.05
DEPTH = np.full((24, 32), 2.0, np.float32)


def camera_info(width: int, height: int, focal: float, model: str = "plumb_bob", d: tuple[float, ...] = ()) -> Any:
    k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    p = [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
    return CameraInfo(width=width, height=height, distortion_model=model, d=list(d), k=k, p=p)


COLOR_VIEW = View("color", camera_info(96, 64, 90.0), 96, 64, False)
DEPTH_VIEW = View("depth", camera_info(32, 24, 30.0), 32, 24, False)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def register(said: list[str]) -> Registrar:
    known = {("color", "depth"): MATRIX}
    return Registrar(lambda target, source: known.get((target, source)), said.append)


def test_auto_registers_what_lies_in_another_frame(register: Registrar, said: list[str]) -> None:
    found = register(DEPTH, COLOR_VIEW, DEPTH_VIEW)
    cameras = camera_model(DEPTH_VIEW.info, 32, 24), camera_model(COLOR_VIEW.info, 96, 64)
    assert np.array_equal(found, Registration(*cameras, MATRIX)(DEPTH), equal_nan=True)
    assert np.isfinite(found).any()
    register(DEPTH, COLOR_VIEW, DEPTH_VIEW)
    assert len(said) == 1 and "5.0 cm" in said[0] and "32x21" in said[0]


def test_a_new_calibration_is_taken(register: Registrar, said: list[str]) -> None:
    register(DEPTH, COLOR_VIEW, DEPTH_VIEW)
    other = DEPTH_VIEW._replace(info=camera_info(32, 24, 60.0))
    found = register(DEPTH, COLOR_VIEW, other)
    assert found.shape == (43, 64) and "64x43" in said[-1]


@pytest.mark.parametrize(
    ("color", "depth"),
    [
        (COLOR_VIEW, DEPTH_VIEW._replace(frame_id="color")),
        (COLOR_VIEW, DEPTH_VIEW._replace(frame_id="")),
        (COLOR_VIEW, DEPTH_VIEW._replace(frame_id="elsewhere")),
        (COLOR_VIEW, DEPTH_VIEW._replace(info=None)),
        (COLOR_VIEW._replace(info=camera_info(96, 64, 90.0, "unheard_of", (0.1,))), DEPTH_VIEW),
    ],
)
def test_else_depth_is_taken_as_it_is(register: Registrar, said: list[str], color: View, depth: View) -> None:
    assert register(DEPTH, color, depth) is None
    assert said == ["depth is taken as registered to colour"]
    assert bool(register.reason) == (depth.frame_id in ("depth", "elsewhere"))


def test_off_and_internal(register: Registrar) -> None:
    assert register(DEPTH, COLOR_VIEW, DEPTH_VIEW, "off") is None
    same_frame = DEPTH_VIEW._replace(frame_id="color")
    assert register(DEPTH, COLOR_VIEW, same_frame, "internal", MATRIX) is not None
    # Two cameras in one frame lie in one place.
    in_one_place = register(DEPTH, COLOR_VIEW, same_frame, "internal")
    assert np.array_equal(in_one_place, register(DEPTH, COLOR_VIEW, same_frame, "internal", np.eye(4)), equal_nan=True)
    with pytest.raises(ConfigError, match="/tf_static"):
        register(DEPTH, COLOR_VIEW, DEPTH_VIEW._replace(frame_id="elsewhere"), "internal")
    with pytest.raises(ConfigError, match="camera_info of depth"):
        register(DEPTH, COLOR_VIEW, DEPTH_VIEW._replace(info=None), "internal", MATRIX)


def test_camera_info_as_a_camera_model() -> None:
    info = camera_info(640, 480, 500.0, d=(0.1, 0.01, 0.0, 0.0, 0.0))
    assert camera_model(info, 640, 480) == CameraModel(640, 480, 500, 500, 320, 240, "plumb_bob", tuple(info.d))
    assert not camera_model(info, 640, 480, rectified=True).is_distorted
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 100, 50, 200, 100
    part = camera_model(info, 100, 50)  # a part of the sensor, two by two pixels binned
    assert (part.fx, part.cx, part.cy) == pytest.approx((250, (220 + 0.5) / 2 - 0.5, (190 + 0.5) / 2 - 0.5))
    with pytest.raises(ConfigError, match="no calibration"):
        camera_model(CameraInfo(width=640, height=480), 640, 480)
    with pytest.raises(ConfigError, match="unheard_of"):
        camera_model(camera_info(640, 480, 500.0, "unheard_of", (0.1,)), 640, 480)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("/camera/rgb/image_rect_color", True),
        ("/depth/image_rect_raw", True),
        ("/depth/image_rect", True),
        ("/color/image_rectified", True),
        ("/rect/image_raw", False),
        ("/color/image_corrected", False),
    ],
)
def test_rectified_by_name(topic: str, expected: bool) -> None:
    assert is_rectified(topic) is expected
