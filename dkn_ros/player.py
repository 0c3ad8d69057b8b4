"""Plays a recording into the real node, in a process of its own and over DDS, and collects its answers."""

from __future__ import annotations

import array
import contextlib
import os
import queue
import signal
import subprocess
import sys
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
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tqdm import tqdm

from dkn.degradation import degrade
from dkn.depth import to_metres, to_millimetres
from dkn.errors import ConfigError, DataError, DknError
from dkn_ros import bags, images
from dkn_ros.images import stamp_ns
from dkn_ros.share import fast_dds_environment
from dkn_ros.sync import PairSynchronizer

START_TIMEOUT = 60.0  # seconds for the node to come up
QUIET = 3.0  # seconds without an answer after which none is expected any more
SLOP = 0.02  # seconds; the node's default
AHEAD = 300  # messages prepared before they are due: a short recording plays without competing with the node


@dataclass
class Playback:
    """What to play, and how.

    Args:
        bag: folder of a ROS 2 bag.
        color, depth: topics of Image or CompressedImage; depth registered to colour.
        truth: topic of the true depth; default: `depth` itself before it is reduced.
        scale: reduce depth by this factor before it is sent.
        degradation: how (see `dkn.degradation`).
        rate: speed, 1 = as recorded.
        loops: how often to play.
        parameters: of the node, by name.
    """

    bag: Path
    color: str
    depth: str
    truth: str | None = None
    scale: int = 8
    degradation: str = "bicubic"
    rate: float = 1.0
    loops: int = 1
    parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.loops < 1 or self.scale < 1:
            raise ConfigError("rate must be positive, loop and scale at least 1")

    def reduced(self, message: Any) -> np.ndarray:
        """The depth (h, w) that the node is given for a message of `depth`, the same at every call."""
        depth = depth_of(message)
        if self.scale == 1 and self.degradation == "bicubic":
            return depth
        return degrade(depth, self.scale, self.degradation, np.random.default_rng(stamp_ns(message)))


@dataclass
class Answers:
    """What came back, and what the node said of itself. Times are `time.monotonic` seconds."""

    folder: Path
    """Holds the images, one <stamp>.npy each: a long recording's would not fit into memory."""
    stamps: set[int] = field(default_factory=set)
    arrivals_s: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    pairs_in: int = 0
    health: dict[str, str] = field(default_factory=dict)
    health_s: float = 0.0

    def depth(self, stamp: int) -> np.ndarray:
        """(H, W) float32 metres."""
        return to_metres(np.load(self.folder / f"{stamp}.npy"))


@contextlib.contextmanager
def _node_process(namespace: str, parameters: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """The node, as `ros2 run` would start it; ended with SIGINT, and an error if it does not end well."""
    command = [sys.executable, "-m", "dkn_ros", "--ros-args", "-r", f"__ns:={namespace}"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            status = process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
    if status != 0:
        raise ConfigError(f"the node ended with status {status}; its own message is above")


def play(playback: Playback, folder: Path) -> Answers:
    """Play a recording into a node of its own process; its answers are kept in `folder`.

    Raises:
        DataError: a recording that is missing, damaged, or lacks a topic.
        ConfigError: a node that does not start with these parameters.
    """
    kinds = bags.topics(playback.bag)
    wanted = [playback.color, playback.depth, *([playback.truth] if playback.truth else [])]
    next(bags.read(playback.bag, wanted), None)  # a missing topic is told before anything starts
    for topic in wanted:
        if kinds[topic] not in (bags.IMAGE, bags.COMPRESSED_IMAGE):
            raise DataError(f"topic {topic} of bag {playback.bag} is {kinds[topic]}, not an image")
    os.environ.update(fast_dds_environment())
    # What is played here is nobody else's business.
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    namespace = f"/dkn_replay_{os.getpid()}"
    parameters = {"diagnostics_period": 0.5, **playback.parameters}
    if kinds[playback.color] == bags.COMPRESSED_IMAGE:
        parameters["color_transport"] = "compressed"
    with (
        _node_process(namespace, parameters) as process,
        _Player(playback, kinds, namespace, process, Answers(folder)) as player,
    ):
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
    ):
        self.answers = answers
        self._playback, self._kinds, self._namespace, self._process = playback, kinds, namespace, process
        self._compressed = kinds[playback.color] == bags.COMPRESSED_IMAGE
        info = playback.color.rsplit("/", 2 if self._compressed else 1)[0] + "/camera_info"
        self._info = info if kinds.get(info) == bags.CAMERA_INFO else None
        self._topics = [playback.color, playback.depth, *([self._info] if self._info else [])]
        self._sent_s: dict[int, float] = {}

    def __enter__(self) -> _Player:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("player", namespace=self._namespace)
        qos = QoSProfile(depth=10)
        color = (CompressedImage, "color/image_raw/compressed") if self._compressed else (Image, "color/image_raw")
        self._color_publisher = self._node.create_publisher(*color, qos)
        self._depth_publisher = self._node.create_publisher(Image, "depth/image_raw", qos)
        self._info_publisher = self._node.create_publisher(CameraInfo, "color/camera_info", qos)
        self._node.create_subscription(Image, "depth_upsampled/image_rect", self._on_answer, qos)
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

    def _spin(self) -> None:
        while not self._stopped.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    # --------------------------------------------------------------------------------------------- answers

    def _on_answer(self, message: Any) -> None:
        now = time.monotonic()
        stamp = stamp_ns(message)
        self.answers.arrivals_s.append(now)
        if stamp in self._sent_s:
            self.answers.latency_ms.append(1e3 * (now - self._sent_s[stamp]))
        # To a file: a long recording's answers would not fit into memory.
        np.save(self.answers.folder / f"{stamp}.npy", images.depth_from_image(message))
        self.answers.stamps.add(stamp)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name.startswith(self._namespace + "/"):
                self.answers.health = {value.key: value.value for value in status.values}
                self.answers.health_s = time.monotonic()

    # --------------------------------------------------------------------------------------------- sending

    def play(self) -> None:
        """Send all there is at the recorded pace, and wait for the last answer."""
        self._wait_for_node()
        counter: PairSynchronizer[None, None] = PairSynchronizer(round(1e9 * SLOP))
        total = self._playback.loops * bags.count(self._playback.bag, self._topics)
        progress = tqdm(desc="replaying", unit="message", total=total)
        started = first_ns = None
        for topic, time_ns, message in self._prepared():
            if started is None or first_ns is None:
                started, first_ns = time.monotonic(), time_ns
            due = started + 1e-9 * (time_ns - first_ns) / self._playback.rate
            time.sleep(max(0.0, due - time.monotonic()))
            self._send(topic, message, counter)
            progress.update()
            if self._process.poll() is not None:
                raise ConfigError(f"the node ended with status {self._process.returncode}; its own message is above")
        counter.poll(2**62)  # no wait lasts that long
        self.answers.pairs_in = counter.statistics.matched
        self._wait_for_quiet()
        progress.close()

    def _send(self, topic: str, message: Any, counter: PairSynchronizer[None, None]) -> None:
        stamp, now = stamp_ns(message), time.monotonic_ns()
        if topic == self._playback.color:
            self._color_publisher.publish(message)
            counter.add_color(stamp, None, now)
        elif topic == self._playback.depth:
            self._sent_s[stamp] = time.monotonic()
            self._depth_publisher.publish(message)
            counter.add_depth(stamp, None, now)
        else:
            self._info_publisher.publish(message)

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
            except DknError as error:
                put(error)

        thread = threading.Thread(target=prepare, daemon=True)
        thread.start()
        while thread.is_alive() and not ready.full():
            time.sleep(0.01)
        try:
            while (item := ready.get()) is not end:
                if isinstance(item, DknError):
                    raise item
                yield item
        finally:
            stop.set()

    def _messages(self) -> Iterator[tuple[str, int, Any]]:
        offset = 0
        for _ in range(self._playback.loops):
            first = last = None
            for topic, time_ns, message in bags.read(self._playback.bag, self._topics):
                first = time_ns if first is None else first
                last = time_ns
                yield topic, time_ns + offset, self._ros_message(topic, message)
            if first is None or last is None:
                raise DataError(f"bag {self._playback.bag} has no message on {' and '.join(self._topics[:2])}")
            offset += last - first + 100_000_000  # a tenth of a second between two passes

    def _ros_message(self, topic: str, message: Any) -> Any:
        """A message of `rosbags` as one of rclpy; depth reduced."""
        if topic == self._info:
            info = CameraInfo(height=message.height, width=message.width, distortion_model=message.distortion_model)
            info.d, info.k, info.r, info.p = (list(map(float, v)) for v in (message.d, message.k, message.r, message.p))
            return _with_header(info, message)
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
        pixels = low if encoding == "32FC1" else to_millimetres(low)
        picture = Image(height=low.shape[0], width=low.shape[1], encoding=encoding, step=pixels.strides[0])
        picture.data = array.array("B", pixels.tobytes())
        return _with_header(picture, message)

    def _wait_for_node(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        publishers = self._color_publisher, self._depth_publisher
        while not all(publisher.get_subscription_count() for publisher in publishers):
            if self._process.poll() is not None:
                raise ConfigError(f"the node ended with status {self._process.returncode}; its own message is above")
            if time.monotonic() > deadline:
                raise ConfigError(f"the node did not subscribe within {START_TIMEOUT:.0f} s")
            time.sleep(0.05)
        time.sleep(0.5)  # until both sides have matched

    def _wait_for_quiet(self) -> None:
        """Until no answer came for a while, and the node has told its counters after that."""
        sent = time.monotonic()
        deadline = sent + START_TIMEOUT
        while time.monotonic() < deadline:
            last = max([sent, *self.answers.arrivals_s[-1:]])
            if time.monotonic() - last > QUIET and self.answers.health_s > last + 1.0:
                return
            time.sleep(0.1)


def depth_of(message: Any) -> np.ndarray:
    compressed = message.__msgtype__ == bags.COMPRESSED_IMAGE
    return to_metres(images.depth_from_compressed(message) if compressed else images.depth_from_image(message))


def color_of(message: Any) -> np.ndarray:
    compressed = message.__msgtype__ == bags.COMPRESSED_IMAGE
    return images.color_from_compressed(message) if compressed else images.color_from_image(message)


def _with_header(message: Any, source: Any) -> Any:
    message.header.frame_id = source.header.frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = source.header.stamp.sec, source.header.stamp.nanosec
    return message
