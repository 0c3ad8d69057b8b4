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

"""Points and registration inside the node, as its users meet them: over DDS, against the library's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the node needs rclpy: source a ROS 2, or install requirements-ros.txt")

from rclpy.qos import QoSProfile
from ros_harness import COLOR_FRAME, METRES, MILLIMETRES, RGB, Bench, image, nanoseconds, pixels, running
from sensor_msgs.msg import CameraInfo, PointCloud2, PointField

from dkn import Upsampler
from dkn.depth.alignment import SKIPPED
from dkn.geometry import CameraModel, PointCloud, Registration

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the harness reads /proc")

COLOR = CameraModel(64, 48, 60.0, 60.0, 31.5, 23.5, "plumb_bob", (0.05, -0.02, 0.0, 0.001, 0.0))
DEPTH = CameraModel(16, 12, 15.0, 15.0, 7.5, 5.5)
MATRIX = np.eye(4)
MATRIX[0, 3] = -0.2


def info_of(camera: CameraModel, frame: str) -> Any:
    k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    p = [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
    info = CameraInfo(width=camera.width, height=camera.height, distortion_model=camera.model, k=k, p=p)
    info.d = list(camera.distortion)
    info.header.frame_id = frame
    return info


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("points"), models, mode="fdkn_x4") as bench:
        bench.clouds = []  # type: ignore[attr-defined]
        qos = QoSProfile(depth=10)
        bench.ros.create_subscription(PointCloud2, "points", bench.clouds.append, qos)  # type: ignore[attr-defined]
        yield bench


def exchange(bench: Bench, depth_frame: str = COLOR_FRAME) -> tuple[Any, Any]:
    """Send a pair with its camera_infos; returns the depth image and the cloud of it."""
    depth = image(MILLIMETRES, "16UC1", frame=depth_frame)
    for stream, camera, frame in (("color_info", COLOR, COLOR_FRAME), ("depth_info", DEPTH, depth_frame)):
        bench.send(stream, info_of(camera, frame), bench.now())
    for _ in range(3):  # camera_info comes on a topic of its own, at a time of its own
        result = bench.exchange(image(RGB, "rgb8"), depth)
    return result, cloud_of(bench, result)


def cloud_of(bench: Bench, result: Any) -> Any:
    """The cloud with the stamp of a depth image."""
    stamp = nanoseconds(result)
    (cloud,) = bench.until(lambda: [c for c in bench.clouds if nanoseconds(c) == stamp], "the cloud")  # type: ignore
    return cloud


def array_of(cloud: Any) -> np.ndarray:
    return np.frombuffer(cloud.data, np.float32).reshape(cloud.height, cloud.width, 8)


def test_points_of_the_depth_that_is_published(bench: Bench) -> None:
    result, cloud = exchange(bench)
    assert cloud.header.frame_id == COLOR_FRAME
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (48, 64, 32, 64 * 32)
    assert not cloud.is_dense and not cloud.is_bigendian
    fields = {f.name: (f.offset, f.datatype, f.count) for f in cloud.fields}
    assert fields == {n: (o, PointField.FLOAT32, 1) for n, o in (("x", 0), ("y", 4), ("z", 8), ("rgb", 16))}
    points = array_of(cloud)
    assert np.allclose(points[..., 2], pixels(result) / 1000, atol=6e-4)  # the image is in whole millimetres
    expected = PointCloud(COLOR)(np.ascontiguousarray(points[..., 2]), RGB)
    assert np.array_equal(points.view(np.uint32), expected.view(np.uint32))
    assert float(bench.counters()["points [ms]"]) > 0


def test_points_have_the_colour_that_was_moved_onto_them(bench: Bench) -> None:
    """A box that colour shows 6 pixels further to the right: its points are dark, and no others."""
    millimetres = np.full((48, 64), 3000, np.uint16)
    millimetres[10:40, 12:40] = 1500
    color = np.full((48, 64, 3), 200, np.uint8)
    color[10:40, 18:46] = 50
    bench.send("color_info", info_of(COLOR, COLOR_FRAME), bench.now())
    for _ in range(SKIPPED + 2):  # while it was in place not every frame is looked at
        result = bench.exchange(image(color, "rgb8"), image(millimetres, "16UC1"))
    assert bench.counters()["colour moved [px]"] == "-6, 0"
    shown = array_of(cloud_of(bench, result))[..., 4].copy().view(np.uint32) & 0xFF
    assert np.array_equal(shown == 50, millimetres == 1500)


def test_decimation_and_voxels_at_run_time(bench: Bench) -> None:
    with bench.parameter("points_decimation", 4, 1):
        _, cloud = exchange(bench)
        assert (cloud.height, cloud.width) == (12, 16)
    with bench.parameter("points_voxel_size", 0.5, 0.0):
        _, cloud = exchange(bench)
        assert cloud.height == 1 and cloud.is_dense and 0 < cloud.width < 400
        assert np.isfinite(array_of(cloud)[..., :3]).all()


def test_depth_in_its_own_frame_is_registered(bench: Bench, models: Path) -> None:
    with bench.parameter("depth_to_color", "-0.2 0 0 0 0 0 1", ""):
        result, _ = exchange(bench, "camera_depth_optical_frame")
        low = Registration(DEPTH, COLOR, MATRIX)(METRES)
        assert np.isnan(low).any() and np.isfinite(low).mean() > 0.7
        expected = Upsampler(models / "fdkn_x4.safetensors", device="cpu", precision="fp32")(RGB, low)
        shown = pixels(result)
        assert np.array_equal(shown > 0, np.isfinite(expected))
        assert np.nanmax(np.abs(np.where(shown > 0, shown / 1000, np.nan) - expected)) < 2e-3
        assert "20.0 cm apart" in bench.node.output
        assert not [p for p in bench.status().message.split(";") if "not registered" in p]
    # Without a transform it is taken as it is, and said to be wrong.
    result, _ = exchange(bench, "camera_depth_optical_frame")
    assert (pixels(result) > 0).all()
    status = bench.status(lambda s: "not registered" in s.message, "a word on registration")
    assert "depth_to_color" in status.message


def test_a_transform_that_is_none_is_refused(bench: Bench) -> None:
    assert "seven numbers" in bench.set_parameter("depth_to_color", "1 2 3")
