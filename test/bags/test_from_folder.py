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

"""A folder of frames as a bag, read back by rosbags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from dkn.errors import ConfigError, DataError, DknError
from dkn_ros import bags
from dkn_ros.bags import from_folder

CAMERA = """
image_width: 8
image_height: 6
camera_matrix: {rows: 3, cols: 3, data: [10, 0, 4.5, 0, 11, 3.5, 0, 0, 1]}
distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}
"""
TABLE = """n,t_sec,rgb,depth_raw,depth_gt_tsdf
1,0.1,rgb/b.png,depth_raw/b.png,depth_gt_tsdf/b.png
0,0.0,rgb/a.png,depth_raw/a.png,depth_gt_tsdf/a.png
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two frames, whose depth is 1000 and 2000 mm with a hole, the better depth 10 mm more."""
    for name in ("rgb", "depth_raw", "depth_gt_tsdf"):
        (tmp_path / "in" / name).mkdir(parents=True)
    for k, name in enumerate("ab"):
        depth = np.full((6, 8), 1000 * (k + 1), np.uint16)
        depth[0, 0] = 0
        cv2.imwrite(str(tmp_path / f"in/rgb/{name}.png"), np.full((6, 8, 3), (10, 20, 30 + k), np.uint8))  # BGR
        cv2.imwrite(str(tmp_path / f"in/depth_raw/{name}.png"), depth)
        cv2.imwrite(str(tmp_path / f"in/depth_gt_tsdf/{name}.png"), depth + np.uint16(10))
    (tmp_path / "in/frames.csv").write_text(TABLE)
    (tmp_path / "in/camera_info.yaml").write_text(CAMERA)
    return tmp_path / "in"


def read(path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
        for connection, time, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            assert time == message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            found.setdefault(connection.topic, []).append(message)
    return found


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_what_is_in_the_folder_is_in_the_bag(folder: Path, storage: str, capsys: Any) -> None:
    out = folder.parent / "deep" / "bag"
    assert from_folder.main([str(folder), str(out), "--storage", storage]) == 0
    found = read(out)
    assert set(found) == {
        "/camera/color/image_raw",
        "/camera/color/camera_info",
        "/camera/depth/image_raw",
        "/camera/depth_gt_tsdf/image_raw",
    }
    stamps = [[m.header.stamp.sec + m.header.stamp.nanosec / 1e9 for m in messages] for messages in found.values()]
    assert stamps == [[1.0, 1.1]] * 4  # by frames.csv, not by its order; a stamp of zero would mean none
    colors, depths, truths = (
        found[topic] for topic in (bags.COLOR_TOPIC, bags.DEPTH_TOPIC, "/camera/depth_gt_tsdf/image_raw")
    )
    assert [m.data[:3].tolist() for m in colors] == [[30, 20, 10], [31, 20, 10]]
    assert [m.data.view("<u2")[[0, 1]].tolist() for m in depths] == [[0, 1000], [0, 2000]]
    assert [m.data.view("<u2")[[0, 1]].tolist() for m in truths] == [[10, 1010], [10, 2010]]
    info = found[bags.COLOR_INFO_TOPIC][0]
    assert info.k.tolist() == [10, 0, 4.5, 0, 11, 3.5, 0, 0, 1] and (info.width, info.height) == (8, 6)
    assert "depth_gt_tsdf" in capsys.readouterr().out


def test_without_a_table_names_count(folder: Path, tmp_path: Path) -> None:
    (folder / "frames.csv").unlink()
    (folder / "camera_info.yaml").unlink()
    (folder / "rgb" / "c.png").write_bytes((folder / "rgb" / "b.png").read_bytes())  # without depth
    from_folder.write_bag(folder, tmp_path / "bag", rate_hz=4)
    found = read(tmp_path / "bag")
    assert bags.COLOR_INFO_TOPIC not in found
    assert [m.header.stamp.nanosec for m in found[bags.DEPTH_TOPIC]] == [0, 250_000_000]


def test_of_two_pictures_with_one_name_neither_is_guessed(folder: Path, tmp_path: Path) -> None:
    (folder / "frames.csv").unlink()
    (folder / "depth_raw" / "._a.png").write_bytes(b"what some file managers leave")
    from_folder.write_bag(folder, tmp_path / "bag")
    (folder / "rgb" / "a.jpg").write_bytes((folder / "rgb" / "a.png").read_bytes())
    with pytest.raises(DataError, match="the same picture"):
        from_folder.write_bag(folder, tmp_path / "other")


def test_a_limit(folder: Path, tmp_path: Path) -> None:
    from_folder.write_bag(folder, tmp_path / "bag", limit=1)
    assert {len(messages) for messages in read(tmp_path / "bag").values()} == {1}


@pytest.mark.parametrize("option", ["--limit=0", "--limit=-1", "--rate=0", "--rate=nan"])
def test_numbers_that_make_no_sense(folder: Path, tmp_path: Path, capsys: Any, option: str) -> None:
    assert from_folder.main([str(folder), str(tmp_path / "bag"), option]) == 2
    assert option.removeprefix("--").partition("=")[0] in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()


def test_times_since_1970_stay(folder: Path, tmp_path: Path) -> None:
    (folder / "frames.csv").write_text(TABLE.replace(",0.1,", ",1700000000.1,").replace(",0.0,", ",1700000000.0,"))
    from_folder.write_bag(folder, tmp_path / "bag")
    assert [m.header.stamp.sec for m in read(tmp_path / "bag")[bags.DEPTH_TOPIC]] == [1_700_000_000] * 2


def test_a_table_without_times(folder: Path, tmp_path: Path, capsys: Any) -> None:
    """Of poses, say."""
    (folder / "frames.csv").write_text("name,x,y,z\na,0,0,0\n")
    from_folder.write_bag(folder, tmp_path / "bag", rate_hz=10)
    first, second = (m.header.stamp for m in read(tmp_path / "bag")[bags.DEPTH_TOPIC])
    assert second.nanosec - first.nanosec == 100_000_000
    assert "frames.csv has no column t_sec" in capsys.readouterr().out


def break_table(folder: Path) -> None:
    (folder / "frames.csv").write_text("n,t_sec,rgb\n0,0.0,rgb/a.png\n")


def break_picture(folder: Path) -> None:
    (folder / "rgb" / "b.png").write_text("no picture")


def break_depth(folder: Path) -> None:
    cv2.imwrite(str(folder / "depth_raw" / "a.png"), np.zeros((6, 8), np.uint8))


def break_camera(folder: Path) -> None:
    # A tag that would run a command, if YAML were read with its full power.
    (folder / "camera_info.yaml").write_text("camera_matrix: !!python/object/apply:os.system ['touch ran']")


def bend_camera(folder: Path) -> None:
    (folder / "camera_info.yaml").write_text(CAMERA.replace("[0, 0, 0, 0, 0]", "[0.1, 0, 0, 0, 0]"))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (break_table, "columns t_sec, rgb, depth_raw, depth_gt_tsdf"),
        (break_picture, "b.png"),
        (break_depth, "no usual unit"),
        (break_camera, "not a calibration"),
        (bend_camera, "distortion"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_bag(
    folder: Path, tmp_path: Path, change: Any, complaint: str, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    change(folder)
    with pytest.raises(DknError, match=complaint) as error:
        from_folder.write_bag(folder, tmp_path / "bag")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "bag").exists() and not (tmp_path / "ran").exists()


def test_nothing_is_replaced(folder: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "bag").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        from_folder.write_bag(folder, tmp_path / "bag")
    assert from_folder.main([str(folder), str(tmp_path / "bag")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_folder_without_depth(tmp_path: Path) -> None:
    (tmp_path / "rgb").mkdir()
    with pytest.raises(DataError, match="begins with depth"):
        from_folder.write_bag(tmp_path, tmp_path / "bag")
    with pytest.raises(DataError, match="no folder"):
        from_folder.write_bag(tmp_path / "none", tmp_path / "bag")
