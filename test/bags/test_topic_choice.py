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

"""Choosing topics: bags of small messages in the layouts that drivers record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

from dkn.errors import DataError
from dkn_ros import bags
from dkn_ros.bags.topic_choice import choose

STORE = get_typestore(Stores.ROS2_HUMBLE)
TYPES = STORE.types


def header(frame: str) -> Any:
    return TYPES["std_msgs/msg/Header"](stamp=TYPES["builtin_interfaces/msg/Time"](sec=1, nanosec=0), frame_id=frame)


def image(encoding: str, width: int = 8, frame: str = "color") -> Any:
    data = np.zeros(6 * width * 8, np.uint8)
    fields = {"height": 6, "width": width, "encoding": encoding, "is_bigendian": 0, "step": width * 8, "data": data}
    return TYPES[bags.IMAGE](header=header(frame), **fields)


def compressed(form: str, frame: str = "color") -> Any:
    return TYPES[bags.COMPRESSED_IMAGE](header=header(frame), format=form, data=np.zeros(9, np.uint8))


def info() -> Any:
    roi = TYPES["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    matrices = {"d": np.zeros(5), "k": np.zeros(9), "r": np.zeros(9), "p": np.zeros(12)}
    size = {"height": 6, "width": 8, "binning_x": 0, "binning_y": 0}
    return TYPES[bags.CAMERA_INFO](header=header("c"), distortion_model="plumb_bob", roi=roi, **matrices, **size)


@pytest.fixture
def bag(tmp_path: Path) -> Any:
    def write(**messages: Any) -> Path:
        with Writer(tmp_path / "bag", version=8) as writer:
            for topic, message in messages.items():
                kind = message.__msgtype__
                connection = writer.add_connection("/" + topic, kind, typestore=STORE)
                writer.write(connection, 1, STORE.serialize_cdr(message, kind))
        return tmp_path / "bag"

    return write


def test_one_of_each_needs_no_word(bag: Any) -> None:
    path = bag(**{"rgb": image("bgr8"), "depth": image("16UC1"), "rgb/x": info()})
    choice = choose(path)
    assert (choice.color, choice.depth, choice.notes) == ("/rgb", "/depth", ())


def test_realsense(bag: Any) -> None:
    path = bag(
        **{
            "camera/infra1/image_rect_raw": image("mono8", frame="infra"),
            "camera/color/image_raw": image("rgb8"),
            "camera/color/image_raw/compressed": compressed("rgb8; jpeg compressed bgr8"),
            "camera/color/camera_info": info(),
            "camera/depth/image_rect_raw": image("16UC1", width=10, frame="depth"),
            "camera/aligned_depth_to_color/image_raw": image("16UC1"),
            "camera/aligned_depth_to_color/image_raw/compressedDepth": compressed("16UC1; compressedDepth png"),
        }
    )
    choice = choose(path)
    assert choice.color == "/camera/color/image_raw"
    assert choice.depth == "/camera/aligned_depth_to_color/image_raw"
    assert [note.split(" (")[0] for note in choice.notes] == [f"--color {choice.color}", f"--depth {choice.depth}"]
    assert all("\n" not in note for note in choice.notes)
    assert "/camera/infra1/image_rect_raw" in choice.notes[0] and "compressedDepth" in choice.notes[1]


def test_a_kinect_with_infrared_and_compressed_images_only(bag: Any) -> None:
    path = bag(
        **{
            "camera/rgb/image_raw/compressed": compressed("bgr8; jpeg compressed bgr8"),
            "camera/ir/image_raw": image("mono16"),
            "camera/depth/image_raw/compressedDepth": compressed("16UC1; compressedDepth"),
        }
    )
    choice = choose(path)
    assert choice.color == "/camera/rgb/image_raw/compressed"
    assert choice.depth == "/camera/depth/image_raw/compressedDepth"


def test_depth_of_the_colour_cameras_size_and_frame_comes_first(bag: Any) -> None:
    path = bag(**{"c": image("rgb8"), "a/image_raw": image("16UC1", 20, "other"), "b/image_raw": image("32FC1")})
    assert choose(path).depth == "/b/image_raw"


def test_what_fits_equally_well_is_asked_for(bag: Any) -> None:
    path = bag(**{"l/rgb": image("rgb8"), "r/rgb": image("rgb8"), "depth": image("16UC1")})
    with pytest.raises(DataError, match=r"/l/rgb, /r/rgb; choose by --color") as error:
        choose(path)
    assert "\n" not in str(error.value)
    assert choose(path, color="/r/rgb").depth == "/depth"


def test_what_is_named_is_taken(bag: Any) -> None:
    path = bag(rgb=image("rgb8"), depth=image("16UC1"), info=info())
    assert choose(path, "/rgb", "/depth").notes == ()
    for wrong, complaint in (("/none", r"it has /depth, /info, /rgb"), ("/info", "not an image")):
        with pytest.raises(DataError, match=complaint):
            choose(path, color=wrong)


def test_none_that_fits(bag: Any) -> None:
    path = bag(depth=image("16UC1"), info=info())
    with pytest.raises(DataError, match=r"no topic of color images.*/depth, /info"):
        choose(path)
