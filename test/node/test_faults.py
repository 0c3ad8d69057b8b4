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

"""Cameras that drop out, clocks that jump, messages that lie, parts of the node that break: two processes, over DDS.

After each of them the node goes on, nothing that was good is lost, and what was lost is counted. More of the kind is in
test_node.py (lying headers one by one, cameras that come back, bursts) and test_sync.py.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the node needs rclpy: source a ROS 2, or install requirements-ros.txt")

import os

from faulty_node import END_OF_ENGINE, END_OF_THREAD
from fuzz_messages import Fuzzer
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from ros_harness import (
    COLOR_FRAME,
    ENVIRONMENT,
    LIMIT,
    METRES,
    MILLIMETRES,
    RGB,
    Bench,
    NodeProcess,
    assert_unknown,
    image,
    nanoseconds,
    pixels,
    running,
    shared_context,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from dkn_ros import messages
from dkn_ros.node import UpsampleNode
from dkn_ros.pipeline import outputs
from dkn_ros.pipeline.outputs import Outputs
from dkn_ros.pipeline.progress import QUIET

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the harness reads /proc")

MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND
WARN = b"\x01"
FAULTY = (str(Path(__file__).parents[1] / "helpers" / "faulty_node.py"),)


@pytest.fixture(scope="module")
def models(tmp_path_factory, make_model, make_bicubic_model) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_bicubic_model(folder / "plain_x4.safetensors", 4)
    make_model(folder / "fdkn_x4.safetensors", 4)
    return folder


@pytest.fixture(scope="module")
def node(tmp_path_factory, models) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("node"), models, engine="torch", mode="plain_x4") as bench:
        yield bench


@pytest.fixture(scope="module")
def faulty(tmp_path_factory, models) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("node"), models, program=FAULTY, mode="fdkn_x4") as bench:
        yield bench


@pytest.fixture
def bench(node) -> Bench:
    node.exchange(color(), depth())
    return node


def color(frame: str = COLOR_FRAME) -> Any:
    return image(RGB, "rgb8", frame=frame)


def depth(millimetres: np.ndarray = MILLIMETRES, frame: str = COLOR_FRAME) -> Any:
    return image(millimetres, "16UC1", frame=frame)


def send_pair(bench: Bench, stamp_ns: int, apart_ns: int = 0) -> int:
    """Send colour, and depth so much later by its stamp, which is returned."""
    bench.send("color", color(), stamp_ns)
    bench.send("depth", depth(), stamp_ns + apart_ns)
    return stamp_ns + apart_ns


def counted(bench: Bench) -> dict[str, int]:
    """All counters, once they stand still."""
    before: dict[str, int] = {}
    while True:
        values = {k: int(v) for k, v in bench.counters().items() if v.isdigit()}
        if values == before:
            return values
        before = values


def since(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What has been counted in between."""
    return {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}


def assert_books_balance(news: dict[str, int], waiting: int = 0) -> None:
    """Each message that came was paired or dropped for a reason, each pair published or dropped for one."""
    for stream in ("color", "depth"):
        mine = f"dropped {stream} ", f"dropped bad_{stream}"
        reasons = sum(count for key, count in news.items() if key.startswith(mine))
        missing = news.get(f"received {stream}", 0) - news.get("matched", 0) - reasons
        assert 0 <= missing <= waiting, (stream, news)
    gone = sum(news.get(f"dropped {reason}", 0) for reason in ("superseded", "failed", "idle"))
    assert news.get("matched", 0) == news.get("published", 0) + gone, news


# -------------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize("stream", ["color", "depth"])
def test_one_stream_alone(bench, stream):
    before = counted(bench)
    message = color() if stream == "color" else depth()
    for _ in range(20):
        bench.send(stream, message, bench.now())
        bench.spin(0.01)
    bench.exchange(color(), depth())
    news = since(before, counted(bench))
    assert news["published"] == news["matched"] == 1
    assert news.get(f"dropped {stream} queue_full", 0) + news.get(f"dropped {stream} no_partner", 0) == 20
    assert_books_balance(news)


def test_frame_id_changes_in_mid_stream(bench):
    resets = bench.count("resets color_changed")
    for frame in ("another_frame", COLOR_FRAME):
        output = bench.exchange(color(frame), depth(frame=frame))
        assert output.header.frame_id == frame
    assert bench.count("resets color_changed") == resets + 2


def test_calibration_changes_in_mid_stream(bench):
    for focus in (50.0, 70.0):
        k = [focus, 0, 31.5, 0, focus, 23.5, 0, 0, 1]
        info = CameraInfo(width=64, height=48, k=k, p=[*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0])
        info.header.frame_id = COLOR_FRAME
        bench.send("color_info", info, bench.now())

        def of_this_focus(focus: float = focus) -> bool:
            bench.exchange(color(), depth())
            return bool(bench.infos) and bench.infos[-1].k[0] == focus

        bench.until(of_this_focus, f"camera_info with focus {focus}")


def test_colour_at_30_hz_with_depth_at_15_hz(bench):
    before, start = counted(bench), bench.now() + SECOND
    expected = []
    for i in range(40):
        at = start + i * 33 * MILLISECOND
        bench.send("color", color(), at)
        if i % 2 == 0:
            bench.send("depth", depth(), at + 2 * MILLISECOND)
            expected.append(at + 2 * MILLISECOND)
            bench.output(expected[-1])
    outputs = [nanoseconds(message) for message in bench.images]
    assert outputs[-len(expected) :] == expected
    bench.now()
    bench._last_ns = max(bench._last_ns, start + 2 * SECOND)
    bench.exchange(color(), depth())
    news = since(before, counted(bench))
    assert news["dropped color no_partner"] == 20
    assert_books_balance(news)


def test_jitter(bench):
    """Stamps up to 20 ms apart, which is the slop, either first."""
    random = np.random.default_rng(0)
    before, start = counted(bench), bench.now() + SECOND
    expected = []
    for i in range(40):
        expected.append(send_pair(bench, start + i * 66 * MILLISECOND, int(random.integers(-20, 21)) * MILLISECOND))
        bench.output(expected[-1])
    assert [nanoseconds(message) for message in bench.images[-40:]] == expected
    bench._last_ns = start + 4 * SECOND
    news = since(before, counted(bench))
    assert news["matched"] == 40
    assert_books_balance(news)


# --------------------------------------------------------------------------------------------------- clocks


def test_a_bag_that_loops_five_times(bench):
    start, frames = 900_000_000 * SECOND, 20
    for _ in range(5):
        first = len(bench.images)
        expected = []
        for i in range(frames):
            expected.append(send_pair(bench, start + i * 33 * MILLISECOND, 3 * MILLISECOND))
            bench.until(lambda count=first + i + 1: len(bench.images) == count, f"pair {i} of the loop")
        assert [nanoseconds(message) for message in bench.images[first:]] == expected


@pytest.mark.parametrize("alone", [None, "color", "depth"], ids=["both", "color", "depth"])
def test_a_stamp_far_in_the_future(bench, alone):
    far = (2**31 - 5) * SECOND
    before = counted(bench)
    if alone:
        bench.send(alone, color() if alone == "color" else depth(), far)
    else:
        send_pair(bench, far)
        bench.output(far)
        bench.images.clear()
    for _ in range(4):
        bench.output(send_pair(bench, bench.now()))
    news = since(before, counted(bench))
    if alone:
        assert (news.get("resets clock_jump", 0), news[f"dropped {alone} future"]) == (0, 1)
    else:
        assert news["resets clock_jump"] >= 1
    assert_books_balance(news)


def test_stamps_that_go_back_one_by_one(bench):
    """A clock that runs backwards: of no use, but what comes after it is."""
    before, at = counted(bench), bench.now()
    for i in range(10):
        send_pair(bench, at - i * 100 * MILLISECOND)
        bench.spin(0.01)
    bench.output(send_pair(bench, bench.now()))
    assert_books_balance(since(before, counted(bench)))


# --------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("value", [1, 1000, 65534])
def test_depth_that_is_all_equal(bench, value):
    output = bench.exchange(color(), depth(np.full_like(MILLIMETRES, value)))
    np.testing.assert_array_equal(pixels(output), np.full((48, 64), value))


@pytest.mark.parametrize("value", [0.0, -1.0, -np.inf, np.inf, np.nan, 1e30])
def test_float_depth_that_is_none(bench, value):
    before = pixels(bench.exchange(color(), image(METRES, "32FC1")))
    spoilt = METRES.copy()
    spoilt[4:8, 5:9] = value
    output = pixels(bench.exchange(color(), image(spoilt, "32FC1")))
    assert_unknown(np.isnan(output), spoilt != METRES)
    np.testing.assert_allclose(output[:8], before[:8], atol=1e-5)  # out of reach of the hole
    output = pixels(bench.exchange(color(), image(np.full_like(METRES, value), "32FC1")))
    assert np.isnan(output).all()


# ------------------------------------------------------------------------------------------- from the outside


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.slow)])
def test_fuzzed_messages(bench, count):
    """They go to all inputs; the node is none the worse."""
    fuzzer, before = Fuzzer(seed=count), counted(bench)
    for _ in range(count // 4):
        bench._camera["color"].publish(fuzzer.image(["rgb8", "bgr8", "mono8"]))
        bench._camera["depth"].publish(fuzzer.image(["16UC1", "32FC1"]))
        bench._camera["color_info"].publish(fuzzer.camera_info())
        bench._camera["depth_info"].publish(fuzzer.camera_info())
        bench.spin(0.005)
    news = since(before, counted(bench))
    assert min(news["dropped bad_color"], news["dropped bad_depth"]) > 20
    assert_books_balance(news, waiting=10)
    bench.warm_up(color(), depth())
    np.testing.assert_allclose(pixels(bench.exchange(color(), depth()))[::47, ::63][0, 0], 1500, atol=30)


def test_switching_the_model_under_load(bench):
    before = counted(bench)
    bench.until(bench._set.service_is_ready, "the parameter service")
    for mode in ["fdkn_x4", "plain_x4"] * 4:
        request = SetParameters.Request(parameters=[Parameter("mode", value=mode).to_parameter_msg()])
        answer = bench._set.call_async(request)
        while not answer.done():
            send_pair(bench, bench.now())
            bench.spin(0.01)
        assert answer.result().results[0].successful

        def in_force(status: Any, mode: str = mode) -> bool:
            send_pair(bench, bench.now())
            return mode in [pair.value for pair in status.values if pair.key == "mode"]

        bench.status(in_force, f"mode {mode}")
    bench.output(send_pair(bench, bench.now()))
    news = since(before, counted(bench))
    assert "dropped failed" not in news
    assert_books_balance(news)


def test_a_storm_of_parameters(bench):
    storm = [("slop", 0.01), ("slop", -1.0), ("fill_holes", True), ("max_depth", 5.0), ("mode", "no such model")]
    storm += [("min_depth", 6.0), ("slop", 0.02), ("fill_holes", False), ("max_depth", 65.535)]
    good = {"slop": (0.01, 0.02), "fill_holes": (True, False), "max_depth": (5.0, 65.535)}
    bench.until(bench._set.service_is_ready, "the parameter service")
    for _ in range(6):  # as many as the service's queue holds at once
        requests = [SetParameters.Request(parameters=[Parameter(n, value=v).to_parameter_msg()]) for n, v in storm]
        answers = [bench._set.call_async(request) for request in requests]
        send_pair(bench, bench.now())
        bench.until(lambda answers=answers: all(answer.done() for answer in answers), "all answers")
        taken = [answer.result().results[0].successful for answer in answers]
        assert taken == [value in good.get(name, ()) for name, value in storm]
    bench.output(send_pair(bench, bench.now()))


SLEEPER = """
import sys, time, rclpy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("sleeper")
node.create_subscription(Image, sys.argv[1], lambda _: None, 1)
while node.count_publishers(sys.argv[1]) == 0:
    rclpy.spin_once(node, timeout_sec=0.1)
print("there", flush=True)
time.sleep(600)
"""


def test_a_listener_that_never_reads(bench):
    """A process that has a reliable subscription and stands still."""
    topic = f"/{bench.node.namespace}/depth_upsampled/image_rect"
    command = [sys.executable, "-c", SLEEPER, topic]
    with subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}, stdout=subprocess.PIPE) as sleeper:
        try:
            assert sleeper.stdout.readline() == b"there\n"
            bench.until(lambda: bench.ros.count_subscribers(topic) == 2, "the other listener")
            sleeper.send_signal(signal.SIGSTOP)
            for _ in range(30):
                bench.output(send_pair(bench, bench.now()))
        finally:
            sleeper.kill()


def test_two_nodes_in_two_namespaces(bench, faulty):
    """Each upsamples what its own camera sees."""
    for i in range(3):
        for one, value in ((bench, 1000 + i), (faulty, 3000 + i)):
            output = one.exchange(color(), depth(np.full_like(MILLIMETRES, value)))
            assert (pixels(output) == value).all()


# --------------------------------------------------------------------------------------------- from the inside


def test_a_worker_thread_that_dies_is_replaced(faulty):
    before = counted(faulty)
    deadly = RGB.copy()
    deadly[0, 0] = END_OF_THREAD
    at = faulty.now()
    faulty.send("color", image(deadly, "rgb8"), at)
    faulty.send("depth", depth(), at)
    sentence = "the thread died of SystemExit: a library that ends the program and was started anew"
    faulty.status(lambda status: sentence in status.message, sentence)
    faulty.output(send_pair(faulty, faulty.now()))
    news = since(before, counted(faulty))
    assert (news["worker restarts"], news["dropped failed"], news["published"]) == (1, 1, 1)
    assert_books_balance(news)


def test_an_engine_that_fails_is_replaced(faulty):
    assert faulty.counters()["engine"] == "glass (cpu, fp32)"
    before, expected = counted(faulty), pixels(faulty.exchange(color(), depth()))
    breaking = RGB.copy()
    breaking[0, 0] = END_OF_ENGINE
    at = faulty.now()
    faulty.send("color", image(breaking, "rgb8"), at)
    faulty.send("depth", depth(), at)
    faulty.output(at)  # by the next engine: not even this frame is lost
    status = faulty.status(lambda status: "broken glass" in status.message, "a word on the engine")
    assert status.level == WARN
    assert "engine glass (cpu, fp32) failed, going on with" in status.message
    assert faulty.counters()["engine"] != "glass (cpu, fp32)"
    np.testing.assert_allclose(pixels(faulty.exchange(color(), depth())), expected, atol=1)
    assert "dropped failed" not in since(before, counted(faulty))


def test_it_ends_at_once_though_a_library_would_not(tmp_path, models):
    """A node that takes its time is killed by `ros2 launch`. Python itself would wait for the library's thread."""
    for mode, status, said in (("plain_x4", 0, "engine glass"), ("no_such_model", 2, "no model 'no_such_model'")):
        node = NodeProcess(tmp_path, environment={"DKN_MODELS": str(models)}, program=FAULTY, mode=mode, device="cpu")
        try:
            node.wait_for(said)
            assert node.end(signal.SIGINT) == status, node.output
            assert "Traceback" not in node.output
        finally:
            node.process.kill()


@pytest.mark.parametrize("has_event", [True, False], ids=["event", "no event"])
def test_listeners_are_noticed_with_and_without_an_event_that_tells_of_them(inner_node, monkeypatch, has_event):
    """Humble has none, and the node has to look for them."""
    if not has_event:
        monkeypatch.setattr(outputs, "_HAS_MATCHED", False)
        inner_node._outputs = Outputs(inner_node, "second", inner_node._follow_listeners, lambda _: None)
    executor = SingleThreadedExecutor(context=inner_node.context)
    executor.add_node(inner_node)

    def spin_until(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < end
            executor.spin_once(0.05)

    def subscribed() -> bool:
        return all(source.subscribed for source in inner_node._inputs.values())

    inner_node._follow_listeners()
    assert inner_node._listener_timer.is_canceled() == has_event  # at rest, it does not even look
    for _ in range(2):
        listener = inner_node.create_subscription(Image, inner_node._outputs.topic, lambda _: None, 1)
        spin_until(subscribed)
        assert not inner_node._listener_timer.is_canceled()
        inner_node.destroy_subscription(listener)
        spin_until(lambda: not subscribed())
    executor.shutdown()


def test_killed_and_started_again(tmp_path, models):
    """The camera and the viewer stay; nobody tidied up behind the node that was killed."""
    options = {"mode": "plain_x4", "engine": "torch"}
    with running(tmp_path, models, **options) as bench:
        assert bench.node.end(signal.SIGKILL) == -signal.SIGKILL
        bench.node = NodeProcess(tmp_path, bench.node.namespace, {"DKN_MODELS": str(models)}, **options)
        bench.warm_up(color(), depth())
        bench.output(send_pair(bench, bench.now()))


# ------------------------------------------------------------------------------------------ compressed output


def test_depth_goes_out_as_compressed_depth_when_somebody_listens(bench):
    topic = f"/{bench.node.namespace}/depth_upsampled/image_rect/compressedDepth"
    received: list[Any] = []
    bench.stop_listening()
    listener = bench.ros.create_subscription(CompressedImage, topic, received.append, 10)
    try:
        for depth_in in (depth(), image(METRES, "32FC1")):

            def of_this_kind(depth_in: Any = depth_in) -> bool:
                at = bench.now()
                bench.send("color", color(), at)
                bench.send("depth", depth_in, at)
                bench.spin(0.1)
                return bool(received) and received[-1].format == f"{depth_in.encoding}; compressedDepth png"

            bench.until(of_this_kind, "compressed depth")  # its listener alone is reason enough to work
        last = received[-1]
        assert last.header.frame_id == COLOR_FRAME
    finally:
        bench.ros.destroy_subscription(listener)
        bench.listen()
    bench.warm_up(color(), image(METRES, "32FC1"))
    raw = pixels(bench.exchange(color(), image(METRES, "32FC1")))
    assert np.abs(messages.depth_from_compressed(last) - raw).max() < 3**2 / 20200 * 1.2


# ------------------------------------------------------------------------------------------ fuzzed, in-process


@pytest.fixture
def inner_node(models, monkeypatch) -> Iterator[UpsampleNode]:
    """The node in this process, so that messages can be handed to it one by one."""
    monkeypatch.setenv("DKN_MODELS", str(models))
    values = {"mode": "plain_x4", "device": "cpu", "engine": "torch", "precision": "fp32", "max_pixels": 10_000}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = UpsampleNode(context=shared_context(), parameter_overrides=overrides, namespace="fuzzed")
    yield node
    node.close()
    node.destroy_node()


@pytest.mark.parametrize("stream", ["color", "depth"])
def test_larger_images_than_max_pixels_are_refused(inner_node, stream):
    for width, dropped in ((100, 0), (101, 1)):  # max_pixels is 10,000
        message = image(np.ones((100, width, 3), np.uint8), "rgb8")
        if stream == "depth":
            message = image(np.ones((100, width), np.uint16), "16UC1")
        inner_node._receive(stream, message)
        assert inner_node._health.snapshot().dropped[f"bad_{stream}"] == dropped
    ((_, sentence),) = inner_node._lasting.problems(time.monotonic())
    assert "101x100 = 10100 pixels, more than the 10000 pixels accepted (max_pixels)" in sentence


def test_a_node_that_cannot_be_made_leaves_nothing(models, monkeypatch):
    monkeypatch.setenv("DKN_MODELS", str(models))
    library = logging.getLogger("dkn")
    before, threads = list(library.handlers), set(threading.enumerate())
    wrong = [Parameter("mode", value="plain_x4"), Parameter("slop", value=7.0)]
    for overrides in (wrong, [wrong[0], Parameter("qos_overrides./fuzzed/points.publisher.depth", value=-3)]):
        with pytest.raises(Exception, match=r"slop|depth|-3"):
            UpsampleNode(context=shared_context(), parameter_overrides=overrides, namespace="fuzzed")
    assert list(library.handlers) == before
    new = {thread.name for thread in threading.enumerate() if thread not in threads}
    assert new.isdisjoint({"upsampling", "compressing", "points"})


def test_what_was_wrong_with_a_frame_does_not_outlive_it(inner_node):
    inner_node._receive("color", image(np.ones((32, 40, 3), np.uint8), "rgb8"))
    inner_node._receive("depth", image(np.zeros((8, 10), np.uint16), "16UC1"))
    inner_node._poll()
    end = time.monotonic() + LIMIT
    while not inner_node._health.snapshot().published:
        assert time.monotonic() < end, "waited in vain for the pair"
        time.sleep(0.01)
    assert "nothing" in inner_node._lasting._conditions
    assert not inner_node._lasting.problems(time.monotonic() + QUIET)


def test_depth_that_is_lost_on_the_way_is_missed(inner_node):
    (result,) = [inner_node._on_parameters([Parameter("min_confidence", value=1.0)])]
    assert result.successful
    inner_node._receive("color", image(np.ones((32, 40, 3), np.uint8), "rgb8"))
    inner_node._receive("depth", image(np.full((8, 10), 2000, np.uint16), "16UC1"))
    inner_node._poll()
    end = time.monotonic() + LIMIT
    while not inner_node._health.snapshot().published:
        assert time.monotonic() < end, "waited in vain for the pair"
        time.sleep(0.01)
    assert "min_confidence" in inner_node._lasting._conditions["nothing"].sentence


def test_another_camera_has_another_camera_info(inner_node):
    def receive(frame: str) -> None:
        picture = image(np.ones((32, 40, 3), np.uint8), "rgb8")
        picture.header.frame_id = frame
        inner_node._receive("color", picture)

    info = CameraInfo(width=40, height=32)
    info.header.frame_id = "first"
    receive("first")
    inner_node._receive_info("color", info)
    receive("first")
    assert inner_node._infos["color"] is info
    receive("second")
    assert inner_node._infos["color"] is None


@pytest.mark.parametrize("count", [500, pytest.param(20_000, marks=pytest.mark.slow)])
def test_fuzzed_messages_are_all_accounted_for(inner_node, count):
    """Handed over at once, raw and compressed: whatever is paired is also decoded and upsampled."""
    node, fuzzer = inner_node, Fuzzer(seed=count)
    for i in range(count):
        if i % 4 == 3:
            node._receive_info("color" if i % 8 == 3 else "depth", fuzzer.camera_info())
        else:
            stream = "color" if i % 4 == 0 else "depth"
            good = ["rgb8", "bgr8", "mono8"] if stream == "color" else ["16UC1", "32FC1"]
            node._receive(stream, fuzzer.compressed() if i > count / 2 else fuzzer.image(good))
        if i % 50 == 0:
            node._poll()
            time.sleep(0.002)
    node._synchronizer.reset("end")
    node._worker.close()
    statistics, health = node._synchronizer.statistics, node._health.snapshot()
    for stream in ("color", "depth"):
        assert statistics.received[stream] == statistics.matched + sum(statistics.dropped[stream].values())
    assert statistics.matched > count / 50
    assert health.published > 0
    assert not node._health.snapshot().dropped["failed"], node._lasting.problems(time.monotonic())
    assert node._worker.restarts == 0
