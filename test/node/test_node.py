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

"""The node as its users meet it: a process fed by a camera in another process, over DDS.

Values are held against `dkn.Upsampler` on the same arrays, and against Pillow where the network adds nothing.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import fake_message_filters
import numpy as np
import pytest
from PIL import Image as Picture

pytest.importorskip("rclpy", reason="the node needs rclpy: source a ROS 2, or install requirements-ros.txt")

from rcl_interfaces.msg import Parameter
from rclpy.qos import ReliabilityPolicy
from ros_harness import (
    COLOR_FRAME,
    METRES,
    MILLIMETRES,
    NOT_SET,
    RGB,
    Bench,
    NodeProcess,
    assert_unknown,
    compressed,
    image,
    nanoseconds,
    pixels,
    running,
    unique_namespace,
)
from sensor_msgs.msg import CameraInfo

from dkn import Upsampler
from dkn.depth.units import to_metres
from dkn.networks.config import NetworkConfig

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the harness reads /proc")

MILLISECOND = 1_000_000
OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"


@pytest.fixture(scope="module")
def models(tmp_path_factory, make_model, make_bicubic_model) -> Path:
    """Two families, and a network that adds nothing to its input."""
    folder = tmp_path_factory.mktemp("models")
    for scale in (4, 8):
        make_model(folder / f"fdkn_x{scale}.safetensors", scale, seed=scale)
    make_model(folder / "dkn_x8.safetensors", 8, NetworkConfig("dkn", n1=8, n2=8))
    make_bicubic_model(folder / "plain_x4.safetensors", 4)
    return folder


@pytest.fixture(scope="module")
def raw_node(tmp_path_factory, models) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("node"), models, frames_flow=False, mode="fdkn", engine="torch") as bench:
        yield bench


@pytest.fixture(scope="module")
def compressed_node(tmp_path_factory, models) -> Iterator[Bench]:
    options = {
        "color_transport": "compressed",
        "depth_transport": "compressedDepth",
        "output_encoding": "32FC1",
        "reliability": "reliable",
    }
    folder = tmp_path_factory.mktemp("node")
    with running(folder, models, frames_flow=False, mode="fdkn", engine="torch", **options) as bench:
        yield bench


@pytest.fixture
def bench(raw_node) -> Bench:
    """A node that gets raw images, a reliable camera and a viewer; frames flow."""
    raw_node.listen()
    raw_node.camera()
    raw_node.warm_up(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
    return raw_node


@contextmanager
def mode(bench: Bench, name: str) -> Iterator[None]:
    """Another mode for a while, once its network has been made."""
    with bench.parameter("mode", name, default="fdkn"):
        wait_for_mode(bench, name)
        yield
    wait_for_mode(bench, "fdkn")


def wait_for_mode(bench: Bench, name: str) -> None:
    bench.status(lambda status: name in [pair.value for pair in status.values if pair.key == "mode"], f"mode {name}")


def upsampled(models: Path, depth: np.ndarray, color: np.ndarray = RGB, **options: Any) -> np.ndarray:
    return Upsampler(models / "fdkn_x4.safetensors", device="cpu", precision="fp32", **options)(color, depth)


def assert_millimetres(result: np.ndarray, metres: np.ndarray) -> None:
    """Equal but for rounding, and 0 for NaN."""
    np.testing.assert_allclose(result, np.nan_to_num(1000 * metres), rtol=0, atol=0.51)


# --------------------------------------------------------------------------------------------------- values


def test_values_are_those_of_the_library(bench, models):
    expected = upsampled(models, METRES)
    swapped = upsampled(models, METRES, RGB[..., ::-1])
    assert np.abs(expected - swapped).max() > 2e-3  # the network looks at colour, red is not blue

    output = bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
    assert (output.height, output.width, output.encoding) == (48, 64, "16UC1")
    assert_millimetres(pixels(output), expected)

    output = bench.exchange(image(RGB, "rgb8"), image(METRES, "32FC1"))
    assert output.encoding == "32FC1"
    np.testing.assert_allclose(pixels(output), expected, rtol=0, atol=1e-5)


def test_without_residual_it_is_pillows_bicubic(bench):
    expected = np.asarray(Picture.fromarray(METRES, "F").resize((64, 48), Picture.Resampling.BICUBIC))
    with mode(bench, "plain_x4"):
        output = bench.exchange(image(RGB, "rgb8"), image(METRES, "32FC1"))
    np.testing.assert_allclose(pixels(output), expected, rtol=0, atol=1e-5)


COLORS = {
    "rgb8": RGB,
    "bgr8": RGB[..., ::-1],
    "rgba8": np.dstack([RGB, np.full_like(RGB[..., 0], 7)]),
    "bgra8": np.dstack([RGB[..., ::-1], np.full_like(RGB[..., 0], 7)]),
    "mono8": RGB[..., 0],
}


@pytest.mark.parametrize("encoding", COLORS)
def test_color_encodings(bench, models, encoding):
    seen = RGB if encoding != "mono8" else np.dstack([RGB[..., 0]] * 3)
    output = bench.exchange(image(COLORS[encoding], encoding, padding=5), image(METRES, "32FC1"))
    np.testing.assert_allclose(pixels(output), upsampled(models, METRES, seen), rtol=0, atol=1e-5)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("bigendian", [False, True])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16", "32FC1"])
def test_depth_encodings(bench, models, encoding, bigendian, padding):
    depth = METRES if encoding == "32FC1" else MILLIMETRES
    output = bench.exchange(image(RGB, "rgb8"), image(depth, encoding, padding, bigendian))
    assert output.encoding == encoding
    metres = pixels(output) if encoding == "32FC1" else pixels(output) / 1000
    np.testing.assert_allclose(metres, upsampled(models, METRES), rtol=0, atol=6e-4)


def test_the_model_fits_the_ratio_of_the_sizes(bench, models):
    depth = np.ascontiguousarray(METRES[:6, :8])
    output = bench.exchange(image(RGB, "rgb8"), image(depth, "32FC1"))
    eight = Upsampler(models / "fdkn_x8.safetensors", device="cpu", precision="fp32")(RGB, depth)
    assert np.nanmax(np.abs(eight - upsampled(models, depth))) > 1e-3
    np.testing.assert_allclose(pixels(output), eight, rtol=0, atol=1e-5)
    assert bench.counters()["model"] == "fdkn_x8"


# ------------------------------------------------------------------------------------ header and camera_info


def camera_info(width: int, height: int, scale: float = 1.0) -> CameraInfo:
    k = [50.0 * scale, 0, 31.5 * scale, 0, 52.0 * scale, 23.5 * scale, 0, 0, 1]
    p = [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
    info = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.1 * scale] * 5, k=k, p=p)
    info.header.frame_id = COLOR_FRAME
    return info


def test_header_is_of_colour_in_space_and_of_depth_in_time(bench):
    color, depth = image(RGB, "rgb8"), image(MILLIMETRES, "16UC1", frame="")
    bench.warm_up(color, depth)
    stamp = bench.now()
    bench.send("color", color, stamp - 7 * MILLISECOND)
    bench.send("depth", depth, stamp)
    output = bench.output(stamp)
    assert output.header.frame_id == COLOR_FRAME
    assert output.is_bigendian == 0
    assert output.step == 2 * 64


@pytest.mark.parametrize("scale", [1, 2], ids=["same size", "of twice the size"])
def test_camera_info_comes_beside(bench, scale):
    info = camera_info(64 * scale, 48 * scale, scale)
    if scale == 2:  # pixel centres lie at integers: u = 31.5 of 64 pixels is the middle, 63.5 is that of 128
        info.k[2], info.p[2], info.k[5], info.p[6] = 63.5, 63.5, 47.5, 47.5
    bench.send("color_info", info, bench.now())

    def one_of_this_camera() -> Any:
        bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
        return next((i for i in bench.infos if i.d == info.d), None)

    found = bench.until(one_of_this_camera, "camera_info of this camera")
    output = bench.output(nanoseconds(found))
    assert found.header == output.header
    assert (found.width, found.height) == (64, 48)
    np.testing.assert_allclose(found.k, camera_info(64, 48).k)
    np.testing.assert_allclose(found.p, camera_info(64, 48).p)
    assert found.distortion_model == "plumb_bob"


# ---------------------------------------------------------------------------------------------------- holes


@pytest.fixture
def holed() -> tuple[np.ndarray, np.ndarray]:
    """Depth with a hole, in millimetres, and where the hole is."""
    depth = MILLIMETRES.copy()
    depth[4:8, 5:9] = 0
    return depth, depth == 0


def test_holes_stay_holes(bench, models, holed):
    depth, hole = holed
    output = pixels(bench.exchange(image(RGB, "rgb8"), image(depth, "16UC1")))
    assert_unknown(output == 0, hole)
    assert_millimetres(output, upsampled(models, to_metres(depth)))

    for nothing in (np.nan, 0, np.inf):
        metres = np.where(depth, depth / 1000, nothing).astype(np.float32)
        output = pixels(bench.exchange(image(RGB, "rgb8"), image(metres, "32FC1")))
        assert_unknown(np.isnan(output), hole)


def test_holes_are_filled_when_asked_while_it_runs(bench, models, holed):
    depth, hole = holed
    with bench.parameter("fill_holes", True, default=False):
        output = pixels(bench.exchange(image(RGB, "rgb8"), image(depth, "16UC1")))
    assert_millimetres(output, upsampled(models, to_metres(depth), fill_holes=True))
    assert output.min() > 1000
    output = pixels(bench.exchange(image(RGB, "rgb8"), image(depth, "16UC1")))
    assert_unknown(output == 0, hole)


def test_nothing_seen_gives_nothing(bench):
    output = bench.exchange(image(RGB, "rgb8"), image(np.zeros_like(MILLIMETRES), "16UC1"))
    assert pixels(output).shape == (48, 64)
    assert not pixels(output).any()
    output = bench.exchange(image(RGB, "rgb8"), image(np.full_like(METRES, np.nan), "32FC1"))
    assert np.isnan(pixels(output)).all()


def test_depth_range_is_live(bench):
    with bench.parameter("max_depth", 2.0, default=65.535):
        output = pixels(bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1")))
    assert_unknown(output == 0, MILLIMETRES > 2000)


# ----------------------------------------------------------------------------------------------- parameters


def test_the_unit_of_counts_is_live(bench, models):
    """A RealSense that counts tenths of a millimetre: 15000 to 18000 are 1.5 to 1.8 m."""
    counts = (10 * (MILLIMETRES.astype(int) - 1400)).astype(np.uint16)
    with bench.parameter("depth_unit", 0.0001, default=0.001):
        result = pixels(bench.exchange(image(RGB, "rgb8"), image(counts, "16UC1")))
    assert_millimetres(result, upsampled(models, counts * np.float32(1e-4)))


def test_what_makes_no_sense_is_refused_with_the_reason(bench):
    refused = {
        ("mode", "no_such_model"): "no model 'no_such_model'",
        ("mode", "no/such/file.safetensors"): "no such model file",
        ("mode", ""): "no model ''",
        ("slop", -1.0): "-1",
        ("slop", math.nan): "nan",
        ("slop", "much"): "number",
        ("fill_holes", 1): "text",
        ("min_depth", 65.535): "not below max_depth",
        ("device", "cuda"): "read-only",
        ("no_such_parameter", 1): "undeclared",
    }
    before = bench.counters()
    for (name, value), reason in refused.items():
        assert reason in bench.set_parameter(name, value), (name, value)
    assert bench.set_parameter_message(Parameter(name="slop", value=NOT_SET))  # ros2 param delete
    bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
    after = bench.counters()
    assert [after[key] for key in ("mode", "model")] == [before[key] for key in ("mode", "model")]


def test_mode_changes_while_it_runs(bench, models):
    bench.exchange(image(RGB, "rgb8"), image(METRES, "32FC1"))
    with mode(bench, str(models / "fdkn_x8.safetensors")):
        output = bench.exchange(image(RGB, "rgb8"), image(METRES, "32FC1"))
        assert bench.counters()["model"] == "fdkn_x8"
    eight = Upsampler(models / "fdkn_x8.safetensors", device="cpu", precision="fp32")(RGB, METRES)
    np.testing.assert_allclose(pixels(output), eight, rtol=0, atol=1e-5)
    bench.exchange(image(RGB, "rgb8"), image(METRES, "32FC1"))
    assert bench.counters()["model"] == "fdkn_x4"


def test_slop_is_live_and_what_it_parts_is_counted(bench):
    def apart(milliseconds: int) -> int:
        at = bench.now()
        bench.send("color", image(RGB, "rgb8"), at - milliseconds * MILLISECOND)
        bench.send("depth", image(MILLIMETRES, "16UC1"), at)
        return at

    def counters() -> list[int]:
        values = bench.counters()
        return [int(values.get(f"dropped {stream} no_partner", 0)) for stream in ("color", "depth")]

    bench.output(apart(15))
    before = counters()
    too_far = apart(30)
    bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
    assert counters() == [before[0] + 1, before[1] + 1]
    assert too_far not in map(nanoseconds, bench.images)

    with bench.parameter("slop", 0.005, default=0.02):
        too_far = apart(15)
        bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
        assert counters() == [before[0] + 2, before[1] + 2]
        assert too_far not in map(nanoseconds, bench.images)
    with bench.parameter("slop", 0.0, default=0.02):
        bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))


# ---------------------------------------------------------------------------------- listeners and ~/enable


def test_it_subscribes_only_while_somebody_listens(bench):
    assert bench.subscriptions() == [1, 1, 1, 1]
    bench.stop_listening()
    bench.until(lambda: bench.subscriptions() == [0, 0, 0, 0], "an end of the subscriptions")
    status = bench.status(lambda s: "nobody listens" in s.message)
    assert status.level == OK
    bench.listen()
    bench.until(lambda: bench.subscriptions() == [1, 1, 1, 1], "subscriptions")
    bench.warm_up(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))


def test_a_listener_of_camera_info_alone_counts(bench):
    bench.stop_listening("image_rect")
    bench.send("color_info", camera_info(64, 48), bench.now())
    before = len(bench.infos)

    def one_more() -> bool:
        stamp = bench.now()
        bench.send("color", image(RGB, "rgb8"), stamp)
        bench.send("depth", image(MILLIMETRES, "16UC1"), stamp)
        return len(bench.infos) > before

    bench.until(one_more, "camera_info")
    assert bench.subscriptions() == [1, 1, 1, 1]


def test_enable(bench):
    answer = bench.enable(False)
    assert (answer.success, answer.message) == (True, "disabled")
    bench.until(lambda: bench.subscriptions() == [0, 0, 0, 0], "an end of the subscriptions")
    status = bench.status(lambda s: "disabled" in s.message)
    assert status.level == OK
    published = bench.count("published")
    stamp = bench.now()
    bench.send("color", image(RGB, "rgb8"), stamp)
    bench.send("depth", image(MILLIMETRES, "16UC1"), stamp)
    assert bench.count("published") == published
    answer = bench.enable(True)
    assert (answer.success, answer.message) == (True, "enabled")
    bench.until(lambda: bench.subscriptions() == [1, 1, 1, 1], "subscriptions")
    bench.warm_up(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
    assert stamp not in map(nanoseconds, bench.images)


def test_going_to_and_fro_under_load_does_no_harm(bench):
    """Subscriptions are made and destroyed while messages of theirs are on the way."""
    for _ in range(10):
        for on in (False, True):
            for _ in range(10):
                stamp = bench.now()
                bench.send("color", image(RGB, "rgb8"), stamp)
                bench.send("depth", image(MILLIMETRES, "16UC1"), stamp)
            bench.enable(on)
    bench.warm_up(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))


# ---------------------------------------------------------------------------------------------- diagnostics


def test_diagnostics_tell_how_it_goes(bench):
    published, matched = bench.count("published"), bench.count("matched")
    for _ in range(5):
        bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))

    def flows(status: Any) -> bool:
        bench.send("color_info", camera_info(64, 48), bench.now())
        bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
        return status.message == "ok" and status.hardware_id == COLOR_FRAME

    status = bench.status(flows, "a status without complaint")
    assert status.level == OK
    values = {pair.key: pair.value for pair in status.values}
    assert values["mode"] == "fdkn"
    assert values["model"] == "fdkn_x4"
    assert values["device"] == "cpu"
    assert values["engine"] == "torch (cpu, fp32)"
    assert values["state"] == "active"
    assert int(values["published"]) >= published + 5
    assert int(values["matched"]) >= matched + 5
    assert all(float(values[f"{name} rate [Hz]"]) > 0 for name in ("color", "depth", "output"))
    for since in ("stamp", "arrival"):
        latencies = [float(values[f"latency from {since} {q} [ms]"]) for q in ("p50", "p95", "p99", "max")]
        assert latencies == sorted(latencies)
        # The stamps of this camera are old, its messages are not.
        assert (3000e3 < latencies[0] < 4000e3) if since == "stamp" else (0 < latencies[0] < 3000e3)
    assert float(values["stamp difference max [ms]"]) >= float(values["stamp difference last [ms]"]) == 0
    assert values["lost on the transport color"] == "0"


def test_a_slow_camera_is_no_missing_camera(bench):
    """Frames further apart than the diagnostics period, but less than what counts as quiet."""
    bench.spin(2.5)
    bench.warm_up(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
    first = time.time_ns()
    for _ in range(4):
        bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
        bench.spin(0.5)
    messages = [status.message for at, status in bench.statuses if at > first]
    assert messages
    assert not [text for text in messages if "image_raw" in text]


def test_loss_on_the_transport_is_told_from_camera_info(bench):
    """The driver sends one camera_info with each image; only large messages get lost."""

    def one_of_five(status: Any) -> bool:
        for _ in range(5):
            stamp = bench.now()
            bench.send("depth_info", camera_info(64, 48), stamp)
        bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"), stamp)
        return "lost on the transport" in status.message

    status = bench.status(one_of_five, "a word on loss")
    assert status.level == WARN
    assert f"/{bench.node.namespace}/depth/image_raw" in status.message
    assert "fastdds.xml" in status.message
    assert bench.node.output.count("are lost on the transport") == 1


def test_no_loss_is_not_mistaken_for_one(bench):
    bench.status(lambda status: "lost on the transport" not in status.message)
    first = time.time_ns()
    for _ in range(60):
        stamp = bench.now()
        for stream in ("color_info", "depth_info"):
            for _ in range(3):  # nor is a camera_info that comes more often than the image
                bench.send(stream, camera_info(64, 48), stamp)
        bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"), stamp)
        bench.spin(0.03)
    messages = [status.message for at, status in bench.statuses if at > first]
    assert messages
    assert not [text for text in messages if "lost on the transport" in text]


def test_a_camera_that_stops_is_missed_and_comes_back(bench):
    bench.unplug()
    topic = f"/{bench.node.namespace}/depth/image_raw"
    sentence = f"nothing received on {topic}, which has 0 publisher(s)"
    status = bench.status(lambda s: sentence in s.message, sentence)
    assert status.level == WARN
    assert "nothing received on " + topic.replace("depth", "color") in status.message
    assert bench.reliabilities() == {ReliabilityPolicy.RELIABLE}  # so that its first frames are not lost
    bench.camera()
    bench.warm_up(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))

    def flows(status: Any) -> bool:
        bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
        return "image_raw" not in status.message

    bench.status(flows, "an end of the complaint")


def test_unregistered_depth_is_recognised(bench):
    def says(frame: str, expected: bool) -> Any:
        def condition(status: Any) -> bool:
            bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1", frame=frame))
            return ("not registered" in status.message) == expected

        return bench.status(condition, "a word on registration" if expected else "an end of it")

    before = bench.node.output.count("not registered")
    status = says("camera_depth_optical_frame", True)
    assert status.level == WARN
    assert "depth_registration:=true" in status.message
    assert "camera_depth_optical_frame" in status.message
    assert bench.node.output.count("not registered") == before + 1  # in the log, once
    says(COLOR_FRAME, False)


def test_depth_of_another_camera_is_recognised_until_it_is_put_right(bench):
    def says(depth_focus: float, expected: bool) -> None:
        def condition(status: Any) -> bool:
            info = camera_info(64, 48)
            bench.send("color_info", info, bench.now())
            info.k[0] = depth_focus
            bench.send("depth_info", info, bench.now())
            bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
            return ("depth has other intrinsics than colour" in status.message) == expected

        bench.status(condition, "a word on intrinsics" if expected else "an end of it")

    says(57.0, True)
    says(50.0, False)


# ---------------------------------------------------------------------------------------------- bad messages


def spoilt(good: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        setattr(good, name, value)
    return good


def bad_colors() -> list[Any]:
    def good() -> Any:
        return image(RGB, "rgb8")

    return [
        spoilt(good(), height=49),
        spoilt(good(), height=47),
        spoilt(good(), width=65),
        spoilt(good(), width=2**32 - 1, height=2**32 - 1, step=2**32 - 1),
        spoilt(good(), width=0),
        spoilt(good(), height=0),
        spoilt(good(), width=0, height=0, step=0, data=[]),
        spoilt(good(), step=1),
        spoilt(good(), step=0),
        spoilt(good(), step=200),
        spoilt(good(), data=good().data[:-1]),
        spoilt(good(), data=[]),
        spoilt(good(), encoding="rgba8"),
        spoilt(good(), encoding="16UC1"),
        spoilt(good(), encoding="no_such_encoding"),
        spoilt(good(), encoding=""),
    ]


def bad_depths() -> list[Any]:
    def good() -> Any:
        return image(MILLIMETRES, "16UC1")

    return [
        spoilt(good(), height=13),
        spoilt(good(), width=17),
        spoilt(good(), width=0),
        spoilt(good(), height=0),
        spoilt(good(), step=31),
        spoilt(good(), step=2**32 - 1),
        spoilt(good(), data=good().data[1:]),
        spoilt(good(), data=[]),
        spoilt(good(), encoding="32FC1"),
        spoilt(good(), encoding="64FC1"),
        spoilt(good(), encoding="8UC1"),
        spoilt(good(), encoding="rgb8"),
    ]


def test_bad_messages_are_counted_and_harm_no_good_one(bench):
    """The bad ones carry the stamps of good ones, and come before or between them."""
    before = [bench.count(f"dropped bad_{stream}") for stream in ("color", "depth")]
    colors, depths = bad_colors(), bad_depths()
    for bad in colors:
        stamp = bench.now()
        bench.send("depth", image(MILLIMETRES, "16UC1"), stamp)
        bench.send("color", bad, stamp)
        bench.send("color", image(RGB, "rgb8"), stamp)
        bench.output(stamp)
    for bad in depths:
        stamp = bench.now()
        bench.send("color", image(RGB, "rgb8"), stamp)
        bench.send("depth", bad, stamp)
        bench.send("depth", image(MILLIMETRES, "16UC1"), stamp)
        bench.output(stamp)
    status = bench.status()
    assert "bad depth message: encoding 'rgb8' is no supported depth encoding" in status.message
    assert status.level in (WARN, ERROR)
    after = [bench.count(f"dropped bad_{stream}") for stream in ("color", "depth")]
    assert after == [before[0] + len(colors), before[1] + len(depths)]
    assert "bad color message: " in bench.node.output


def test_bad_messages_alone_are_an_error(bench):
    def condition(status: Any) -> bool:
        bench.send("color", spoilt(image(RGB, "rgb8"), step=1), bench.now())
        return status.level == ERROR and "the row step of 1 bytes is too small" in status.message

    bench.status(condition, "an error")


def test_another_size_and_encoding_from_one_frame_to_the_next(bench, models):
    resets = bench.count("resets color_changed")
    small, rgb = METRES[:6, :8].copy(), RGB[:24, :32].copy()
    output = bench.exchange(image(rgb[..., ::-1], "bgr8"), image(small, "32FC1"))
    np.testing.assert_allclose(pixels(output), upsampled(models, small, rgb), rtol=0, atol=1e-5)
    bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
    assert bench.count("resets color_changed") == resets + 2


# --------------------------------------------------------------------------------------------------- stamps


def test_each_stamp_comes_out_once(bench):
    at = bench.now()
    bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"), at)
    duplicates = bench.count("dropped depth duplicate")
    for _ in range(3):
        bench.send("color", image(RGB, "rgb8"), at)
        bench.send("depth", image(MILLIMETRES, "16UC1"), at)
    bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
    assert [nanoseconds(message) for message in bench.images].count(at) == 1
    assert bench.count("dropped depth duplicate") == duplicates + 3


def test_a_bag_that_starts_over(bench):
    jumps = bench.count("resets clock_jump")
    start = 1_000_000_000_000_000_000  # long ago: the first loop is a jump back, too
    for _ in range(3):
        before = len(bench.images)
        stamps = [start + i * 33 * MILLISECOND for i in range(30)]
        for at in stamps:
            bench.send("color", image(RGB, "rgb8"), at)
            bench.send("depth", image(MILLIMETRES, "16UC1"), at)
            bench.until(
                lambda at=at, before=before: at in map(nanoseconds, bench.images[before:]), "a frame of the bag"
            )
        assert list(map(nanoseconds, bench.images[before:])) == stamps
    assert bench.count("resets clock_jump") == jumps + 3


def test_no_stamps_at_all(bench):
    """A driver that leaves them zero: a single pair, and then duplicates, but it goes on when stamps come."""
    bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"), 0)
    for _ in range(3):
        bench.send("color", image(RGB, "rgb8"), 0)
        bench.send("depth", image(MILLIMETRES, "16UC1"), 0)
    bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))


def test_a_stamp_before_the_epoch_is_a_bad_message(bench):
    before = [bench.count(f"dropped bad_{stream}") for stream in ("color", "depth")]
    bench.send("color", image(RGB, "rgb8"), -5 * 10**9)
    bench.send("depth", image(MILLIMETRES, "16UC1"), -5 * 10**9)
    bench.exchange(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
    after = [bench.count(f"dropped bad_{stream}") for stream in ("color", "depth")]
    assert after == [before[0] + 1, before[1] + 1]


# ------------------------------------------------------------------------------------------------------ load


def test_a_burst_faster_than_the_network(bench):
    """The newest pair wins, the others are counted, and nothing waits in a line."""
    color = image(np.tile(RGB, (2, 2, 1)), "rgb8")
    with mode(bench, "dkn"):  # at four times the size, the slowest network there is
        bench.exchange(color, image(MILLIMETRES, "16UC1"))
        before, first = bench.counters(), len(bench.images)
        for _ in range(60):
            last = bench.now()
            bench.send("color", color, last)
            bench.send("depth", image(MILLIMETRES, "16UC1"), last)
            bench.spin(0.01)
        seen = len(bench.images)
        bench.output(last)

        def books_balance(status: Any) -> bool:
            """Every pair since the node began was either published or dropped for a reason; the last one is counted a
            moment after it came. What was published may be lost on the way here, on a machine that is busy."""
            values = {pair.key: pair.value for pair in status.values}
            keys = "matched", "published", "dropped superseded", "dropped idle", "dropped failed"
            matched, *fates = (int(values.get(key, 0)) for key in keys)
            superseded = fates[1] - int(before.get("dropped superseded", 0))
            return superseded > 0 and len(bench.images) > first and matched == sum(fates)

        bench.status(books_balance, "balanced books")
    stamps = [nanoseconds(message) for message in bench.images[first:]]
    assert stamps == sorted(set(stamps))
    assert stamps[-1] == last
    # After the last pair was sent: the one in work, one in the mailbox, and what the subscriptions still held.
    assert len(bench.images) - seen <= 8


# ----------------------------------------------------------------------------------------------- reliability


@pytest.mark.parametrize("reliable", [False, True], ids=["best_effort", "reliable"])
def test_reliability_follows_the_camera(bench, reliable):
    bench.camera(reliable=reliable)
    bench.warm_up(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
    assert bench.reliabilities() == {ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT}


def test_an_incompatible_camera_is_reported_once_in_words(compressed_node):
    bench = compressed_node
    bench.listen()
    bench.camera("/compressed", "/compressedDepth", reliable=False)
    sentence = "offers a QoS that our subscription (reliable) cannot take; set the parameter reliability"
    topic = f"a publisher of /{bench.node.namespace}/color/image_raw/compressed {sentence}"
    status = bench.status(lambda s: topic in s.message, "a word on QoS")
    assert status.level == ERROR
    bench.until(lambda: bench.node.output.count(sentence) >= 2, "a word on each of the images; camera_info is taken")
    bench.camera("/compressed", "/compressedDepth", reliable=False)  # the driver starts again, unchanged
    for _ in range(3):
        bench.status(lambda s: topic in s.message, "the same word on QoS")
    assert bench.node.output.count(topic) == 1

    bench.camera("/compressed", "/compressedDepth", reliable=True)
    bench.warm_up(jpeg(), compressed_depth())

    def flows(status: Any) -> bool:
        bench.exchange(jpeg(), compressed_depth())
        return status.level != ERROR and "QoS" not in status.message

    bench.status(flows, "an end of the complaint")


# -------------------------------------------------------------------------------------- compressed transports


def encoded(extension: str, array: np.ndarray) -> bytes:
    done, data = cv2.imencode(extension, array)
    assert done
    return data.tobytes()


def jpeg() -> Any:
    return compressed(encoded(".jpg", RGB[..., ::-1]), "rgb8; jpeg compressed bgr8")


def compressed_depth() -> Any:
    return compressed(struct.pack("<iff", 0, 0, 0) + encoded(".png", MILLIMETRES), "16UC1; compressedDepth png")


@pytest.fixture
def compressed_bench(compressed_node) -> Bench:
    compressed_node.listen()
    compressed_node.camera("/compressed", "/compressedDepth")
    compressed_node.warm_up(jpeg(), compressed_depth())
    return compressed_node


def test_compressed_images(compressed_bench, models):
    bench = compressed_bench
    output = bench.exchange(jpeg(), compressed_depth())
    assert output.encoding == "32FC1"  # forced
    assert output.header.frame_id == COLOR_FRAME
    seen = cv2.imdecode(np.frombuffer(jpeg().data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_allclose(pixels(output), upsampled(models, METRES, seen), rtol=0, atol=1e-5)

    png = compressed(encoded(".png", RGB[..., ::-1]), "bgr8; png compressed bgr8")
    output = bench.exchange(png, compressed_depth())
    np.testing.assert_allclose(pixels(output), upsampled(models, METRES), rtol=0, atol=1e-5)

    # 32FC1 travels as A / depth + B in 16 bits; this is its finest at 3 m.
    a, b = 100.0 * 101.0, 1.0 - 101.0
    codes = np.rint(a / METRES + b).astype(np.uint16)
    codes[4:8, 5:9] = 0
    depth = compressed(struct.pack("<iff", 0, a, b) + encoded(".png", codes), "32FC1; compressedDepth png")
    metres = np.where(codes, a / (codes - b), np.nan).astype(np.float32)
    output = bench.exchange(png, depth)
    np.testing.assert_allclose(pixels(output), upsampled(models, metres), rtol=0, atol=1e-5)
    assert_unknown(np.isnan(pixels(output)), codes == 0)


def test_bad_compressed_images_are_counted(compressed_bench):
    bench = compressed_bench
    keys = ["dropped bad_color", "dropped bad_depth"]
    before = [bench.count(key) for key in keys]
    colors = [
        spoilt(jpeg(), data=jpeg().data[:200]),
        spoilt(jpeg(), data=[]),
        spoilt(jpeg(), data=[1, 2, 3] * 20),
        spoilt(jpeg(), format="16UC1; compressedDepth png"),
    ]
    depths = [
        spoilt(compressed_depth(), data=compressed_depth().data[:60]),
        spoilt(compressed_depth(), data=[]),
        spoilt(compressed_depth(), data=[0] * 100),
        spoilt(compressed_depth(), format="8UC1; compressedDepth png"),
    ]
    pairs = [(bad, compressed_depth()) for bad in colors] + [(jpeg(), bad) for bad in depths]
    for count, (color, depth) in enumerate(pairs, start=sum(before) + 1):
        stamp = bench.now()
        bench.send("color", color, stamp)
        bench.send("depth", depth, stamp)
        # Whether it is bad shows when it is decoded; a good pair at once would take its place.
        bench.until(lambda count=count: sum(map(bench.count, keys)) == count, f"bad message {count}")
        bench.exchange(jpeg(), compressed_depth())
    assert [bench.count(key) for key in keys] == [before[0] + len(colors), before[1] + len(depths)]


# --------------------------------------------------------------------------------------- beginning and end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_it_ends_cleanly_while_it_starts(tmp_path, models, number):
    node = NodeProcess(tmp_path, environment={"DKN_MODELS": str(models)}, mode="fdkn")
    try:
        node.wait_for_handlers()  # before that, Python itself is still starting
        assert node.end(number) == 0, node.output
        assert "Traceback" not in node.output
    finally:
        node.process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_it_ends_cleanly_while_frames_flow(tmp_path, models, number):
    with running(tmp_path, models, mode="fdkn") as bench:
        node = bench.node
        node.process.send_signal(number)
        for i in range(20000):
            if not node.alive:
                break
            if i == 100 and number == signal.SIGINT:
                node.process.send_signal(number)  # an impatient user's second Ctrl-C
            stamp = bench.now()
            bench.send("color", image(RGB, "rgb8"), stamp)
            bench.send("depth", image(MILLIMETRES, "16UC1"), stamp)
            bench.spin(0.003)
        assert node.wait() == 0, node.output


def test_what_has_no_effect_is_named_and_what_was_chosen_has(tmp_path, models):
    """A misspelt parameter, a file for a node of another name; an integer; the QoS of a publisher."""
    foreign, nested = tmp_path / "foreign.yaml", tmp_path / "nested.yaml"
    foreign.write_text("upsampler:\n  ros__parameters: {slop: 0.5}\n")
    nested.write_text(f"/**:\n  upsample:\n    ros__parameters: {{mode: {models / 'fdkn_x4.safetensors'}}}\n")
    namespace = unique_namespace()
    override = f"qos_overrides./{namespace}/depth_upsampled/image_rect.publisher.reliability:=best_effort"
    arguments = ("--params-file", str(foreign), "--params-file", str(nested), "-p", "mdoe:=dkn", "-p", override)
    with running(
        tmp_path, models, frames_flow=False, namespace=namespace, arguments=arguments, slop=0.01, max_depth=5
    ) as bench:
        bench.node.wait_for(f"{foreign} has parameters for '/upsampler', none for /{namespace}/upsample")
        bench.node.wait_for("parameter 'mdoe' is unknown and does nothing: did you mean mode?")
        topic = f"/{namespace}/depth_upsampled/image_rect"
        (info,) = bench.until(lambda: bench.ros.get_publishers_info_by_topic(topic), "the publisher")
        assert info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
        assert "nested.yaml has" not in bench.node.output
        assert bench.node.output.count("[WARN]") == 2
        assert f"{models}/fdkn_x4.safetensors" in bench.node.output


def test_it_works_while_simulated_time_stands_still(tmp_path, models):
    """As with a recording that is played without --clock: nothing in the node may wait for /clock."""
    with running(tmp_path, models, mode="fdkn", use_sim_time=True) as bench:
        stamp = bench.now()
        bench.send("color", image(RGB, "rgb8"), stamp - 15 * MILLISECOND)  # not exact: it has to wait
        bench.send("depth", image(MILLIMETRES, "16UC1"), stamp)
        bench.output(stamp)


def test_message_filters_instead_of_our_own(tmp_path, models):
    shutil.copy(fake_message_filters.__file__, tmp_path / "message_filters.py")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    options = {"mode": "fdkn", "synchronizer": "message_filters", "environment": {"PYTHONPATH": path}}
    with running(tmp_path, models, **options) as bench:
        matched = bench.count("matched")
        stamp = bench.now()
        bench.send("color", image(RGB, "rgb8"), stamp - 15 * MILLISECOND)
        bench.send("depth", image(MILLIMETRES, "16UC1"), stamp)
        bench.output(stamp)
        bench.send("color", image(RGB, "rgb8"), -5 * 10**9)  # the package would raise
        with bench.parameter("slop", 0.005, default=0.02):
            bench.exchange(image(RGB, "rgb8"), image(METRES, "32FC1"))
        assert bench.count("matched") >= matched + 2
