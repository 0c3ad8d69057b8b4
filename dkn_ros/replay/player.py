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

"""Plays a recording into the real node, in a process of its own and over DDS, and collects its answers."""

from __future__ import annotations

import array
import contextlib
import dataclasses
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from tqdm import tqdm

from dkn.depth.units import to_counts, to_metres
from dkn.errors import ConfigError, ImageError
from dkn_ros import bags, messages
from dkn_ros.fast_dds import fast_dds_environment
from dkn_ros.messages import stamp_ns
from dkn_ros.node import NAME as NODE
from dkn_ros.node_process import ended, node_process
from dkn_ros.parameters import Options
from dkn_ros.replay.playback import Playback
from dkn_ros.replay.recorder import Recorder

START_TIMEOUT = 60.0  # seconds for the node to come up
QUIET = 3.0  # seconds without an answer after which none is expected any more
PATIENCE = 30.0  # seconds for one answer, where the next pair waits for it: the first may have to load a model
AHEAD = 300  # messages prepared before they are due: a short recording plays without competing with the node


@dataclass(frozen=True)
class Answer:
    """One depth image that came back: the stamp of its input (ns), when (seconds since the first message was sent), and
    how long after its input."""

    stamp: int
    arrived_s: float
    latency_ms: float | None


@dataclass
class Answers:
    """What came back, and what the node said of itself."""

    folder: Path
    """Holds the images, one <stamp>.npy each: a long recording's would not fit into memory."""
    answers: list[Answer] = field(default_factory=list)
    paired_s: list[float] = field(default_factory=list)
    """When each pair was complete, in seconds since the first message was sent."""
    sent_stamps: list[int] = field(default_factory=list)
    """Of the depth images, in the order they were sent."""
    unreadable: int = 0
    """Depth images of the recording that could not be reduced, and were not sent."""
    health: dict[str, str] = field(default_factory=dict)
    """The node's last /diagnostics, its values by name."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """All that the node has, by name."""
    started_s: float = 0.0
    """`time.monotonic` at the first message."""

    @property
    def stamps(self) -> set[int]:
        return {answer.stamp for answer in self.answers}

    def depth(self, stamp: int) -> np.ndarray:
        """(H, W) float32 metres."""
        return to_metres(np.load(self.folder / f"{stamp}.npy"))

    def counters(self, prefix: str) -> dict[str, int]:
        """The node's counters above zero whose names begin so, by the rest of the name."""
        found = {key.removeprefix(prefix): int(v) for key, v in self.health.items() if key.startswith(prefix)}
        return {name: count for name, count in found.items() if count}


def play(playback: Playback, folder: Path) -> Answers:
    """Play a recording into a node of its own process; its answers are kept in `folder`.

    Raises:
        DataError: a recording that is missing, damaged, or lacks a topic, or a bag that cannot be written.
        ConfigError: a node that does not start with these parameters.
    """
    playback.check()
    kinds = bags.topics(playback.bag)
    os.environ.update(fast_dds_environment())
    # What is played here is nobody else's business.
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    namespace = f"/dkn_replay_{os.getpid()}"
    parameters = {"diagnostics_period": 0.5, **playback.parameters}
    if kinds[playback.color] == bags.COMPRESSED_IMAGE:
        parameters["color_transport"] = "compressed"
    with contextlib.ExitStack() as stack:
        recorder = stack.enter_context(Recorder(playback.record)) if playback.record else None
        process = stack.enter_context(node_process(folder, namespace, parameters, os.environ))
        player = stack.enter_context(_Player(playback, kinds, namespace, process, Answers(folder), recorder))
        player.play()
    return player.answers


class _Player:
    """Publishes the recording, and collects the node's answers with the time each took."""

    def __init__(
        self,
        playback: Playback,
        kinds: dict[str, str],
        namespace: str,
        process: subprocess.Popen[bytes],
        answers: Answers,
        recorder: Recorder | None,
    ):
        self.answers = answers
        self._playback, self._namespace, self._process, self._recorder = playback, namespace, process, recorder
        self._compressed = kinds[playback.color] == bags.COMPRESSED_IMAGE
        self._info = bags.info_topic(playback.color, kinds)
        self._topics = [playback.color, playback.depth, *([self._info] if self._info else [])]
        self._pairs = playback.synchronizer()
        self._sent_s: dict[int, float] = {}
        self._news = threading.Event()  # an answer or a diagnosis has come
        self._health_s = 0.0
        self._given_up = 0  # pairs without an answer that nothing waits for
        self._error: Exception | None = None

    def __enter__(self) -> _Player:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("player", namespace=self._namespace)
        qos = QoSProfile(depth=10)
        color = (CompressedImage, "color/image_raw/compressed") if self._compressed else (Image, "color/image_raw")
        self._color_publisher = self._node.create_publisher(*color, qos)
        self._depth_publisher = self._node.create_publisher(Image, "depth/image_raw", qos)
        self._info_publisher = self._node.create_publisher(CameraInfo, "color/camera_info", qos)
        self._node.create_subscription(Image, "depth_upsampled/image_rect", self._on_answer, qos)
        if self._recorder:
            self._node.create_subscription(CameraInfo, "depth_upsampled/camera_info", self._recorder.info, qos)
        if self._playback.points:  # the node makes them only while somebody listens
            self._node.create_subscription(PointCloud2, "points", lambda _: None, QoSProfile(depth=1), raw=True)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown()

    # ---------------------------------------------------------------------- answers, on a thread of their own

    def _spin(self) -> None:
        try:
            while not self._stopped.is_set():
                self._executor.spin_once(timeout_sec=0.05)
        except Exception as error:  # for the thread that plays
            self._error = error
            self._news.set()

    def _on_answer(self, message: Any) -> None:
        now = time.monotonic()
        stamp = stamp_ns(message)
        sent = self._sent_s.get(stamp)
        latency = None if sent is None else 1e3 * (now - sent)
        np.save(self.answers.folder / f"{stamp}.npy", messages.depth_from_image(message))
        self.answers.answers.append(Answer(stamp, now - self.answers.started_s, latency))
        self._news.set()
        if self._recorder:
            self._recorder.depth(message)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name.startswith(self._namespace + "/"):
                self.answers.health = {value.key: value.value for value in status.values} | {"message": status.message}
                self._health_s = time.monotonic()
                self._news.set()

    # --------------------------------------------------------------------------------------------- sending

    def play(self) -> None:
        """Send all there is at the recorded pace, or that of the answers, and wait for the last answer."""
        self._wait_for_node()
        with tqdm(desc="replaying", unit="message", total=self._playback.count(self._topics)) as progress:
            first_ns = None
            for topic, time_ns, message in self._prepared():
                if first_ns is None:
                    first_ns, self.answers.started_s = time_ns, time.monotonic()
                if self._playback.paced:
                    due = self.answers.started_s + 1e-9 * (time_ns - first_ns) / self._playback.rate
                    time.sleep(max(0.0, due - time.monotonic()))
                else:
                    self._wait_for_answers()
                self._send(topic, message)
                progress.update()
                self._check()
            self._note_pairs(2**62)  # no wait lasts that long
            self._wait_for_quiet()

    def _check(self) -> None:
        """Write what has come, and raise what went wrong on the other side."""
        if self._recorder:
            self._recorder.flush()
        if self._error is not None:
            raise self._error
        if self._process.poll() is not None:
            raise ended(self._process)

    def _send(self, topic: str, message: Any) -> None:
        stamp, now = stamp_ns(message), time.monotonic()
        if topic == self._playback.color:
            self._color_publisher.publish(message)
            self._pairs.add_color(stamp, None, round(1e9 * now))
        elif topic == self._playback.depth:
            self._sent_s[stamp] = now
            self.answers.sent_stamps.append(stamp)
            self._depth_publisher.publish(message)
            self._pairs.add_depth(stamp, None, round(1e9 * now))
        else:
            self._info_publisher.publish(message)
        self._note_pairs(round(1e9 * now))

    def _note_pairs(self, now_ns: int) -> None:
        """Note when each pair was complete that the node should have found by now."""
        self._pairs.poll(now_ns)
        new = self._pairs.statistics.matched - len(self.answers.paired_s)
        self.answers.paired_s += [time.monotonic() - self.answers.started_s] * new

    def _wait_for_answers(self) -> None:
        """Until every pair that is complete has been answered, or the node has said that it dropped something."""
        while (deadline_ns := self._pairs.deadline_ns()) is not None and deadline_ns > time.monotonic_ns():
            time.sleep(1e-3)
        self._note_pairs(time.monotonic_ns())
        begun, dropped = time.monotonic(), self._dropped()
        while (unanswered := len(self.answers.paired_s) - len(self.answers.answers)) > self._given_up:
            self._check()
            self._news.wait(0.2)
            self._news.clear()
            if self._dropped() > dropped or time.monotonic() > begun + PATIENCE:
                self._given_up = unanswered
                return
        self._given_up = max(unanswered, 0)  # less, if one came late

    def _dropped(self) -> int:
        return sum(self.answers.counters("dropped ").values())

    def _prepared(self) -> Iterator[tuple[str, int, Any]]:
        """ROS messages in order with the time (ns) each is due, made ahead on a thread of their own."""
        ready: queue.Queue[Any] = queue.Queue(AHEAD)
        end = object()
        stop = threading.Event()

        def put(item: Any) -> None:
            while not stop.is_set():
                with contextlib.suppress(queue.Full):
                    ready.put(item, timeout=0.2)
                    return

        def prepare() -> None:
            try:
                for item in self._messages():
                    put(item)
                    if stop.is_set():
                        return
                put(end)
            except Exception as error:  # for the thread that plays, which would wait for the end
                put(error)

        thread = threading.Thread(target=prepare, daemon=True)
        thread.start()
        while thread.is_alive() and not ready.full():
            time.sleep(0.01)
        try:
            while (item := ready.get()) is not end:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            stop.set()

    def _messages(self) -> Iterator[tuple[str, int, Any]]:
        for topic, time_ns, message in self._playback.messages(self._topics):
            try:
                yield topic, time_ns, self._ros_message(topic, message)
            except ImageError:
                self.answers.unreadable += 1

    def _ros_message(self, topic: str, message: Any) -> Any:
        """A message of `rosbags` as one of rclpy; depth reduced."""
        if topic == self._info:
            return camera_info(message)
        if topic == self._playback.color and self._compressed:
            picture = CompressedImage(format=message.format)
            picture.data = array.array("B", bytes(message.data))
            return _with_header(picture, message)
        if topic == self._playback.color:
            fields = {name: getattr(message, name) for name in ("height", "width", "encoding", "is_bigendian", "step")}
            picture = Image(**fields)
            picture.data = array.array("B", bytes(message.data))
            return _with_header(picture, message)
        low = self._playback.reduced(message)
        encoding = "32FC1" if getattr(message, "encoding", "") == "32FC1" else "16UC1"
        pixels = low if encoding == "32FC1" else to_counts(low, self._playback.depth_unit)
        picture = Image(height=low.shape[0], width=low.shape[1], encoding=encoding, step=pixels.strides[0])
        picture.data = array.array("B", pixels.tobytes())
        return _with_header(picture, message)

    # --------------------------------------------------------------------------------------------- waiting

    def _wait_for_node(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        publishers = self._color_publisher, self._depth_publisher
        while not all(publisher.get_subscription_count() for publisher in publishers):
            self._check()
            if time.monotonic() > deadline:
                raise ConfigError(f"the node did not subscribe within {START_TIMEOUT:.0f} s")
            time.sleep(0.05)
        self._ask_parameters()
        time.sleep(0.5)  # until both sides have matched

    def _ask_parameters(self) -> None:
        names = [field.name for field in dataclasses.fields(Options)]
        client: Any = self._node.create_client(GetParameters, f"{self._namespace}/{NODE}/get_parameters")
        if client.wait_for_service(timeout_sec=5.0):
            reply = client.call_async(GetParameters.Request(names=names))
            deadline = time.monotonic() + 5.0
            while not reply.done() and time.monotonic() < deadline:
                time.sleep(0.01)
            if reply.done():
                values = map(parameter_value_to_python, reply.result().values)
                self.answers.parameters = dict(zip(names, values, strict=True))

    def _wait_for_quiet(self) -> None:
        """Until no answer came for a while, and the node has told its counters after that."""
        sent = time.monotonic()
        deadline = sent + START_TIMEOUT
        while time.monotonic() < deadline:
            self._check()
            last = max([sent, *(self.answers.started_s + answer.arrived_s for answer in self.answers.answers[-1:])])
            # What was asked for one by one has all been answered.
            quiet = QUIET if self._playback.paced else 0.0
            if time.monotonic() - last > quiet and self._health_s > last + 1.0:
                return
            time.sleep(0.1)


def camera_info(message: Any) -> CameraInfo:
    """A CameraInfo of `rosbags` as one of rclpy, with all that it says: binning and region of interest too."""
    info = CameraInfo(height=message.height, width=message.width, distortion_model=message.distortion_model)
    info.d, info.k, info.r, info.p = (list(map(float, v)) for v in (message.d, message.k, message.r, message.p))
    info.binning_x, info.binning_y = message.binning_x, message.binning_y
    for name in ("x_offset", "y_offset", "height", "width", "do_rectify"):
        setattr(info.roi, name, getattr(message.roi, name))
    return _with_header(info, message)


def _with_header(message: Any, source: Any) -> Any:
    message.header.frame_id = source.header.frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = source.header.stamp.sec, source.header.stamp.nanosec
    return message
