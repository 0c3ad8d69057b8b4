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

"""Where nothing usable comes out, the node says why: on /diagnostics while it lasts, in its log once when it begins and
once when it ends. Two processes, over DDS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the node needs rclpy: source a ROS 2, or install requirements-ros.txt")

from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import COLOR_FRAME, METRES, MILLIMETRES, RGB, Bench, image, nanoseconds, pixels, running
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the harness reads /proc")

MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND
OK, WARN = b"\x00", b"\x01"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def node(tmp_path_factory, models) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("node"), models, mode="fdkn_x4") as bench:
        yield bench


@pytest.fixture
def bench(node) -> Bench:
    node.listen()
    node.camera()
    node.warm_up(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
    return node


def camera_info(width: int = 64, height: int = 48, **fields: Any) -> CameraInfo:
    """Of a camera that sees the same view at any size."""
    fx, fy, cx, cy = width * 0.8, height * 1.1, width / 2 - 0.5, height / 2 - 0.5
    info = CameraInfo(width=width, height=height, k=[fx, 0, cx, 0, fy, cy, 0, 0, 1])
    info.p = [fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0]
    info.header.frame_id = COLOR_FRAME
    for name, value in fields.items():
        setattr(info, name, value)
    return info


def send_all(bench: Bench, color: Any, depth: Any, info: Any = None, apart_ns: int = 0) -> None:
    """A frame of everything; depth is stamped `apart_ns` before colour."""
    stamp = bench.now()
    if info is not None:
        bench.send("color_info", info, stamp)
    bench.send("color", color, stamp)
    bench.send("depth", depth, stamp - apart_ns)
    bench.spin(0.02)


def complains(bench: Bench, sentence: str, feed: Callable[[], None]) -> Any:
    """Feed the node until it says this, on /diagnostics and once in its log."""
    before = bench.node.output.count(f"]: {sentence}")

    def says(status: Any) -> bool:
        feed()
        return sentence in status.message

    status = bench.status(says, sentence)
    assert status.level == WARN
    # If it has said something of the kind a moment ago, it takes its time.
    bench.until(lambda: feed() or bench.node.output.count(f"]: {sentence}") > before, f"{sentence!r} in the log")
    for _ in range(3):
        bench.status(says, f"{sentence!r} again")
    assert bench.node.output.count(f"]: {sentence}") == before + 1, bench.node.output
    return status


def is_put_right(bench: Bench, sentence: str, feed: Callable[[], None]) -> None:
    """Feed the node until it says so no longer, on /diagnostics and once in its log."""
    line = f"no longer: {sentence}"
    before = bench.node.output.count(line)

    def silent(status: Any) -> bool:
        feed()
        return sentence not in status.message

    bench.status(silent, f"an end of {sentence!r}")
    bench.until(lambda: feed() or bench.node.output.count(line) == before + 1, line)


# --------------------------------------------------------------------------------------------------- pairs


@pytest.mark.parametrize(
    ("apart_ns", "sentence"),
    [
        (30 * MILLISECOND, "stamps differ by 30 ms, slop is 20 ms: set slop"),
        (1_600_000_000 * SECOND, "colour and depth are stamped by different clocks, 1.6e+09 s apart: "),
    ],
    ids=["30 ms", "another clock"],
)
def test_what_does_not_pair(bench, apart_ns, sentence):
    color, depth = image(RGB, "rgb8"), image(MILLIMETRES, "16UC1")
    complains(bench, sentence, lambda: send_all(bench, color, depth, apart_ns=apart_ns))
    is_put_right(bench, sentence.partition(", slop")[0].partition(", 1.6")[0], lambda: send_all(bench, color, depth))


def test_a_wrong_topic_is_in_the_log_with_what_there_is_instead(bench):
    bench.unplug()
    for stream, topic in (("color", "elsewhere/color"), ("depth", "depth/image_raw")):
        bench.plug(stream, Image, topic, QoSProfile(depth=10))
    color, depth = image(RGB, "rgb8"), image(MILLIMETRES, "16UC1")
    namespace = f"/{bench.node.namespace}"
    sentence = (
        f"nothing received on {namespace}/color/image_raw, which has 0 publisher(s): sensor_msgs/msg/Image is sent"
    )
    status = complains(bench, sentence, lambda: send_all(bench, color, depth))
    assert f"{namespace}/elsewhere/color" in status.message
    assert f"{namespace}/depth_upsampled" not in status.message
    bench.camera()
    is_put_right(bench, sentence.partition(",")[0], lambda: send_all(bench, color, depth))


def test_another_transport_is_named(bench):
    bench.camera("/compressed", "/compressedDepth")
    topic = f"/{bench.node.namespace}/depth/image_raw"
    sentence = (
        f"nothing received on {topic}, which has 0 publisher(s): "
        f"the image comes on {topic}/compressedDepth, so set the transport to compressedDepth"
    )
    status = bench.status(lambda status: sentence in status.message, sentence)
    assert "set the transport to compressed;" in f"{status.message};"


def test_a_topic_of_another_type_is_recognised(bench):
    bench.unplug()
    bench.plug("color", CompressedImage, "color/image_raw", QoSProfile(depth=10))
    sentence = "they send sensor_msgs/msg/CompressedImage, and sensor_msgs/msg/Image is expected"
    bench.status(lambda status: sentence in status.message, sentence)


# ------------------------------------------------------------------------------------------- what images hold


def test_metres_that_are_millimetres(bench):
    sentence = "no depth between min_depth and max_depth (median 2025): are these millimetres?"
    assert np.median(MILLIMETRES) == 2025
    color, wrong = image(RGB, "rgb8"), image(MILLIMETRES.astype(np.float32), "32FC1")
    complains(bench, sentence, lambda: send_all(bench, color, wrong))
    is_put_right(bench, sentence.partition(":")[0], lambda: send_all(bench, color, image(METRES, "32FC1")))


def test_depth_that_is_all_unknown(bench):
    sentence = f"no pixel on /{bench.node.namespace}/depth/image_raw has a depth"
    color, nothing = image(RGB, "rgb8"), image(np.zeros_like(MILLIMETRES), "16UC1")
    complains(bench, sentence, lambda: send_all(bench, color, nothing))
    is_put_right(bench, sentence, lambda: send_all(bench, color, image(MILLIMETRES, "16UC1")))


def test_colour_that_is_turned(bench):
    sentence = "colour is 48x64 and depth 16x12: one of them is turned by 90 degrees, so that depth is not registered"
    depth, turned = image(MILLIMETRES, "16UC1"), image(np.rot90(RGB).copy(), "rgb8")
    complains(bench, sentence, lambda: send_all(bench, turned, depth))
    is_put_right(bench, sentence.partition(":")[0], lambda: send_all(bench, image(RGB, "rgb8"), depth))


def test_camera_info_of_no_use(bench):
    color, depth = image(RGB, "rgb8"), image(MILLIMETRES, "16UC1")
    prefix = f"camera_info on /{bench.node.namespace}/color/camera_info is of no use"
    sentence = f"{prefix}: K has values that are no numbers"
    complains(bench, sentence, lambda: send_all(bench, color, depth, camera_info(k=[math.nan] * 9)))
    is_put_right(bench, prefix, lambda: send_all(bench, color, depth, camera_info()))


# ------------------------------------------------------------------------------------------------ camera_info


def test_camera_info_is_beside_the_image_also_if_latched(tmp_path, models):
    """Inputs and outputs remapped as image_transport's would be; camera_info published once, beforehand."""
    rules = ("color/image_raw:=front/rgb/image", "depth_upsampled/image_rect:=front/hr/image")
    arguments = tuple(word for rule in rules for word in ("-r", rule))
    with running(tmp_path, models, frames_flow=False, mode="fdkn_x4", arguments=arguments) as bench:
        found: dict[str, list[Any]] = {"image": [], "camera_info": [], "image/compressedDepth": []}
        bench.plug("color_info", CameraInfo, "front/rgb/camera_info", LATCHED)
        bench.send("color_info", camera_info(), bench.now())
        bench.plug("color", Image, "front/rgb/image", QoSProfile(depth=10))
        bench.plug("depth", Image, "depth/image_raw", QoSProfile(depth=10))
        for (name, messages), kind in zip(found.items(), (Image, CameraInfo, CompressedImage), strict=True):
            bench.ros.create_subscription(kind, f"front/hr/{name}", messages.append, QoSProfile(depth=10))

        def all_came() -> bool:
            send_all(bench, image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
            return all(found.values())

        bench.until(all_came, "image, camera_info and compressedDepth")
        info = found["camera_info"][-1]
        np.testing.assert_allclose(info.k, camera_info().k)
        assert pixels(found["image"][-1]).min() > 0
        assert nanoseconds(info) in [nanoseconds(message) for message in found["image"]]


def test_camera_info_can_still_be_remapped_itself(tmp_path, models):
    arguments = ("-r", "color/image_raw:=front/rgb/image", "-r", "color/camera_info:=mine/info")
    with running(tmp_path, models, frames_flow=False, mode="fdkn_x4", arguments=arguments) as bench:
        bench.listen()
        bench.plug("color_info", CameraInfo, "mine/info", LATCHED)
        bench.send("color_info", camera_info(), bench.now())
        bench.plug("color", Image, "front/rgb/image", QoSProfile(depth=10))
        bench.plug("depth", Image, "depth/image_raw", QoSProfile(depth=10))
        bench.until(
            lambda: send_all(bench, image(RGB, "rgb8"), image(MILLIMETRES, "16UC1")) or bench.infos, "camera_info"
        )


# ----------------------------------------------------------------------------------------------------- fuzz


@dataclass(frozen=True)
class Feed:
    """What a camera with any number of faults sends, and what the node has to say of each that it can see."""

    color: Any
    depth: Any
    info: CameraInfo
    apart_ns: int | None
    """Depth's stamp before colour's; None: depth is never stamped."""
    sentences: tuple[str, ...]

    @classmethod
    def draw(cls, random: Random) -> Feed:
        apart_ns, unpaired = random.choice(STAMPS)
        encoding, values, empty = random.choice(DEPTHS)
        (height, width), (h, w), shape = random.choice(SIZES)
        frame, unregistered = random.choice(FRAMES)
        fields, useless = random.choice(INFOS)
        color = image(np.resize(RGB, (height, width, 3)), "rgb8")
        depth = image(np.resize(values, (h, w)), encoding, frame=frame)
        contents = [useless, empty, unregistered or shape]  # depth in another frame may have any shape
        sentences = [unpaired] if unpaired else [sentence for sentence in contents if sentence]
        info = camera_info(**({"width": width, "height": height} | fields))
        return cls(color, depth, info, apart_ns, tuple(sentences))

    def send(self, bench: Bench) -> None:
        stamp = bench.now()
        bench.send("color_info", self.info, stamp)
        bench.send("color", self.color, stamp)
        bench.send("depth", self.depth, 0 if self.apart_ns is None else stamp - self.apart_ns)
        bench.spin(0.02)


DIFFER = "stamps differ by"
CLOCKS = "colour and depth are stamped by different clocks"
STAMPS: list[tuple[int | None, str]] = [
    *[(apart * MILLISECOND, "") for apart in (0, 0, 0, 0, 0, 7, -19)],
    *[(apart * MILLISECOND, DIFFER) for apart in (25, -30, 50)],
    *[(apart * SECOND, CLOCKS) for apart in (1_000, 1_600_000_000, -100_000)],
    (None, "depth/image_raw repeat: does its driver fill header.stamp?"),
]
UNKNOWN, TOO_LARGE = "has a depth", "are these millimetres?"
DEPTHS: list[tuple[str, np.ndarray, str]] = [
    ("16UC1", MILLIMETRES, ""),
    ("mono16", MILLIMETRES, ""),
    ("32FC1", METRES, ""),
    ("32FC1", METRES * np.float32(1000), TOO_LARGE),
    ("32FC1", METRES * np.float32(1e9), TOO_LARGE),
    ("32FC1", -METRES, UNKNOWN),
    ("32FC1", METRES * np.float32(math.nan), UNKNOWN),
    ("32FC1", METRES * np.float32(math.inf), UNKNOWN),
    ("16UC1", MILLIMETRES * 0, UNKNOWN),
]
SIZES = [
    ((48, 64), (12, 16), ""),
    ((48, 64), (48, 64), ""),
    ((47, 63), (12, 16), ""),
    ((64, 48), (12, 16), "one of them is turned by 90 degrees"),
    ((48, 80), (12, 16), "they do not show the same view"),
    ((48, 64), (9, 9), "they do not show the same view"),
]
FRAMES = [(COLOR_FRAME, ""), (COLOR_FRAME, ""), ("", ""), ("another", "depth is in frame 'another'")]
INFOS: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({}, ""),
    ({"k": [math.nan] * 9}, "no use: K has values"),
    ({"d": [math.inf] * 5}, "no use: D has values"),
    ({"p": [0.0] * 12}, "no use: the focal lengths in P"),
    ({"p": [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]}, "no use: the focal lengths in P"),
    ({"k": [0.0] * 9}, "no use: K is zero"),
    ({"width": 0}, "no use: it is for an image of 0x"),
    ({"width": 10, "height": 500}, "no use: it is for 10x500 pixels"),
]


@pytest.mark.parametrize("seeds", [range(4), pytest.param(range(4, 60), marks=pytest.mark.slow)], ids=["few", "many"])
def test_either_depth_or_the_cause(tmp_path, models, seeds):
    """Whatever is wrong with stamps, values, sizes, frames and camera_info, alone or together: depth that can be used
    comes out, or what keeps it from being that is named, or both; and what was wrong before is not said any more."""
    of_stamps, of_contents = (
        {sentence for faults in kinds for *_, sentence in faults if sentence}
        for kinds in ([STAMPS], [DEPTHS, SIZES, FRAMES, INFOS])
    )
    with running(tmp_path, models, mode="fdkn_x4", engine="torch") as bench:
        for seed in seeds:
            feed = Feed.draw(Random(seed))

            # What does not pair is not looked into.
            every = of_stamps if of_stamps & set(feed.sentences) else of_stamps | of_contents

            def says_it_all(status: Any, feed: Feed = feed, every: set[str] = every) -> bool:
                feed.send(bench)
                return {sentence for sentence in every if sentence in status.message} == set(feed.sentences)

            status = bench.status(says_it_all, f"{feed.sentences} and nothing else of seed {seed}")
            assert (status.level != OK) >= bool(feed.sentences)
            if not feed.sentences:
                before = len(bench.images)
                bench.until(lambda before=before, feed=feed: feed.send(bench) or len(bench.images) > before, "depth")
                depth = pixels(bench.images[-1])
                assert (depth > 0).all() and depth.max() <= 1.1 * pixels(feed.depth).max()


def test_colour_that_goes_on_standing_beside_depth(bench):
    millimetres = np.full((48, 64), 3000, np.uint16)
    millimetres[10:40, 12:40] = 1500
    color = np.full((48, 64, 3), 200, np.uint8)
    color[10:40, 18:46] = 50
    depth = image(millimetres, "16UC1")
    complains(bench, "colour stands 6 pixels beside depth", lambda: send_all(bench, image(color, "rgb8"), depth))
    color[:] = np.where(millimetres[..., None] < 2000, 50, 200)

    def is_over(status: Any) -> bool:
        send_all(bench, image(color, "rgb8"), depth)
        return "beside depth" not in status.message

    bench.status(is_over, "the end of it")
    assert "]: no longer: colour stands 6 pixels beside depth" in bench.node.output
