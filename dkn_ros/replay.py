"""`dkn-replay`: play a recording into the real node over DDS, and measure what comes back.

The recording's own depth (or a second topic) is the truth. It is reduced by the scale factor, sent to a node in a
process of its own together with the colour images, and the node's answers are timed and compared with the truth,
beside bicubic interpolation of the same input.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from tqdm import tqdm

from dkn.degradation import DEGRADATIONS, degrade
from dkn.depth import to_metres, to_millimetres
from dkn.errors import ConfigError, DataError, DknError
from dkn.evaluation import rmse
from dkn.upsampler import upsample_bicubic
from dkn_ros import bags, images
from dkn_ros.diagnostics import percentiles
from dkn_ros.share import fast_dds_environment
from dkn_ros.sync import PairSynchronizer

START_TIMEOUT = 60.0  # seconds for the node to come up
QUIET = 3.0  # seconds without an answer after which none is expected any more
SLOP = 0.02  # seconds; the node's default
AHEAD = 300  # messages prepared before they are due: a short recording plays without competing with the node


@dataclass
class Replay:
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


@dataclass(frozen=True)
class Example:
    """One frame of the replay, for a picture: arrays as `dkn` has them, depths in metres."""

    color: np.ndarray
    low: np.ndarray
    bicubic: np.ndarray
    output: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What a replay gave; RMSE over the pixels that truth, output and bicubic all know, mean of the frames, in cm."""

    pairs_in: int
    pairs_out: int
    dropped: dict[str, int]
    rate_hz: float
    latency_ms: dict[str, float]
    rmse_cm: float
    rmse_cm_bicubic: float
    resets: int
    example: Example | None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "example"}

    def table(self) -> str:
        dropped = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items()) or "none"
        latency = ", ".join(f"{name} {value:.0f}" for name, value in self.latency_ms.items()) or "none"
        better = 100 * (1 - self.rmse_cm / self.rmse_cm_bicubic) if self.rmse_cm_bicubic > 0 else float("nan")
        rows = {
            "pairs sent": f"{self.pairs_in}",
            "pairs upsampled": f"{self.pairs_out}",
            "dropped": dropped,
            "rate": f"{self.rate_hz:.1f} Hz",
            "latency [ms]": latency,
            "RMSE, output": f"{self.rmse_cm:.2f} cm  ({better:+.0f} % better than bicubic)",
            "RMSE, bicubic": f"{self.rmse_cm_bicubic:.2f} cm",
            "resets": f"{self.resets}",
        }
        return "\n".join(f"  {name:<16} {value}" for name, value in rows.items())


def run(replay: Replay) -> Outcome:
    """Play a recording into a node of its own process, and evaluate the answers.

    Raises:
        DataError: a recording that is missing, damaged, or lacks a topic.
        ConfigError: a node that does not start with these parameters.
    """
    kinds = bags.topics(replay.bag)
    wanted = [replay.color, replay.depth, *([replay.truth] if replay.truth else [])]
    next(bags.read(replay.bag, wanted), None)  # a missing topic is told before anything starts
    for topic in wanted:
        if kinds[topic] not in (bags.IMAGE, bags.COMPRESSED_IMAGE):
            raise DataError(f"topic {topic} of bag {replay.bag} is {kinds[topic]}, not an image")
    os.environ.update(fast_dds_environment())
    # What is played here is nobody else's business.
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    namespace = f"/dkn_replay_{os.getpid()}"
    parameters = {"diagnostics_period": 0.5, **replay.parameters}
    if kinds[replay.color] == bags.COMPRESSED_IMAGE:
        parameters["color_transport"] = "compressed"
    with tempfile.TemporaryDirectory() as folder, _node_process(namespace, parameters) as process:
        player = _Player(replay, kinds, namespace, process, Path(folder))
        with player:
            player.play()
        return player.outcome()


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


class _Player:
    """Publishes the recording, and collects the node's answers with the time each took."""

    def __init__(
        self,
        replay: Replay,
        kinds: dict[str, str],
        namespace: str,
        process: subprocess.Popen[bytes],
        folder: Path,
    ):
        self.replay, self._kinds, self._process, self._folder = replay, kinds, process, folder
        self._namespace = namespace
        info = replay.color.rsplit("/", 2 if kinds[replay.color] == bags.COMPRESSED_IMAGE else 1)[0] + "/camera_info"
        self._info = info if kinds.get(info) == bags.CAMERA_INFO else None
        self._sent_s: dict[int, float] = {}
        self._latency_ms: list[float] = []
        self._answers: set[int] = set()
        self._arrivals_s: list[float] = []
        self._health: dict[str, str] = {}
        self._health_s = 0.0
        self._pairs_in = 0

    def __enter__(self) -> _Player:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import QoSProfile
        from rclpy.signals import SignalHandlerOptions
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image

        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("player", namespace=self._namespace)
        qos = QoSProfile(depth=10)
        compressed = self._kinds[self.replay.color] == bags.COMPRESSED_IMAGE
        color = ("color/image_raw/compressed", CompressedImage) if compressed else ("color/image_raw", Image)
        self._color_publisher = self._node.create_publisher(color[1], color[0], qos)
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
        import rclpy

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
        stamp = _stamp_ns(message)
        self._arrivals_s.append(now)
        if stamp in self._sent_s:
            self._latency_ms.append(1e3 * (now - self._sent_s[stamp]))
        # To a file: a long recording's answers would not fit into memory.
        np.save(self._folder / f"{stamp}.npy", images.depth_from_image(message))
        self._answers.add(stamp)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name.startswith(self._namespace + "/"):
                self._health = {value.key: value.value for value in status.values}
                self._health_s = time.monotonic()

    # --------------------------------------------------------------------------------------------- sending

    def play(self) -> None:
        """Send all there is at the recorded pace, and wait for the last answer."""
        self._wait_for_node()
        counter: PairSynchronizer[None, None] = PairSynchronizer(round(1e9 * SLOP))
        progress = tqdm(desc="replaying", unit="message")
        started = first_ns = None
        for topic, time_ns, message in self._prepared():
            if started is None or first_ns is None:
                started, first_ns = time.monotonic(), time_ns
            due = started + 1e-9 * (time_ns - first_ns) / self.replay.rate
            time.sleep(max(0.0, due - time.monotonic()))
            self._send(topic, message, counter)
            progress.update()
            if self._process.poll() is not None:
                raise ConfigError(f"the node ended with status {self._process.returncode}; its own message is above")
        counter.poll(2**62)  # no wait lasts that long
        self._pairs_in = counter.statistics.matched
        self._wait_for_quiet()
        progress.close()

    def _send(self, topic: str, message: Any, counter: PairSynchronizer[None, None]) -> None:
        stamp, now = _stamp_ns(message), time.monotonic_ns()
        if topic == self.replay.color:
            self._color_publisher.publish(message)
            counter.add_color(stamp, None, now)
        elif topic == self.replay.depth:
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
        topics = [self.replay.color, self.replay.depth, *([self._info] if self._info else [])]
        offset = 0
        for _ in range(self.replay.loops):
            first = last = None
            for topic, time_ns, message in bags.read(self.replay.bag, topics):
                first = time_ns if first is None else first
                last = time_ns
                yield topic, time_ns + offset, self._ros_message(topic, message)
            if first is None or last is None:
                raise DataError(f"bag {self.replay.bag} has no message on {' and '.join(topics[:2])}")
            offset += last - first + 100_000_000  # a tenth of a second between two passes

    def _ros_message(self, topic: str, message: Any) -> Any:
        """A message of `rosbags` as one of rclpy; depth reduced."""
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image

        if topic == self._info:
            info = CameraInfo(height=message.height, width=message.width, distortion_model=message.distortion_model)
            info.d, info.k, info.r, info.p = (list(map(float, v)) for v in (message.d, message.k, message.r, message.p))
            return _with_header(info, message)
        if topic == self.replay.color and self._kinds[topic] == bags.COMPRESSED_IMAGE:
            picture = CompressedImage(format=message.format)
            picture.data = array.array("B", bytes(message.data))
            return _with_header(picture, message)
        if topic == self.replay.color:
            fields = {name: getattr(message, name) for name in ("height", "width", "encoding", "is_bigendian", "step")}
            picture = Image(**fields)
            picture.data = array.array("B", bytes(message.data))
            return _with_header(picture, message)
        low = self._reduced(message)
        encoding = "32FC1" if getattr(message, "encoding", "") == "32FC1" else "16UC1"
        pixels = low if encoding == "32FC1" else to_millimetres(low)
        picture = Image(height=low.shape[0], width=low.shape[1], encoding=encoding, step=pixels.strides[0])
        picture.data = array.array("B", pixels.tobytes())
        return _with_header(picture, message)

    def _reduced(self, message: Any) -> np.ndarray:
        """The depth that the node is given, the same at every call for one message."""
        depth = _depth(message)
        if self.replay.scale == 1 and self.replay.degradation == "bicubic":
            return depth
        return degrade(depth, self.replay.scale, self.replay.degradation, np.random.default_rng(_stamp_ns(message)))

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
            last = max([sent, *self._arrivals_s[-1:]])
            if time.monotonic() - last > QUIET and self._health_s > last + 1.0:
                return
            time.sleep(0.1)

    # ------------------------------------------------------------------------------------------ evaluation

    def outcome(self) -> Outcome:
        """Compare what came back with the truth."""
        ours, theirs, example = self._errors()
        answered = len(self._arrivals_s)
        span = self._arrivals_s[-1] - self._arrivals_s[0] if answered > 1 else 0.0
        resets = sum(int(value) for key, value in self._health.items() if key.startswith("resets "))
        return Outcome(
            pairs_in=self._pairs_in,
            pairs_out=answered,
            dropped=self._dropped(answered),
            rate_hz=round((answered - 1) / span, 2) if span else 0.0,
            latency_ms={name: round(value, 2) for name, value in percentiles(self._latency_ms).items()},
            rmse_cm=_mean_cm(ours),
            rmse_cm_bicubic=_mean_cm(theirs),
            resets=resets,
            example=example,
        )

    def _dropped(self, answered: int) -> dict[str, int]:
        """What the node counted as dropped, and pairs that nobody counted: lost on the way."""
        prefix = "dropped "
        counts = {key.removeprefix(prefix): int(v) for key, v in self._health.items() if key.startswith(prefix)}
        counts = {reason: count for reason, count in counts.items() if count}
        of_pairs = sum(count for reason, count in counts.items() if reason in ("superseded", "failed"))
        if (lost := self._pairs_in - answered - of_pairs) > 0:
            counts["not delivered"] = lost
        return counts

    def _errors(self) -> tuple[list[float], list[float], Example | None]:
        ours: list[float] = []
        theirs: list[float] = []
        truth_topic = self.replay.truth or self.replay.depth
        topics = list(dict.fromkeys([self.replay.color, self.replay.depth, truth_topic]))
        wanted = sorted(self._answers)[len(self._answers) // 2] if self._answers else None
        held: dict[str, Any] = {}
        example = None
        done: set[int] = set()
        for topic, _, message in bags.read(self.replay.bag, topics):
            held[topic] = message
            stamp = _stamp_ns(message)
            if topic == self.replay.color or stamp not in self._answers or stamp in done:
                continue
            pair = held.get(self.replay.depth), held.get(truth_topic)
            if any(m is None or _stamp_ns(m) != stamp for m in pair):
                continue
            done.add(stamp)
            low, truth = self._reduced(pair[0]), _depth(pair[1])
            output = to_metres(np.load(self._folder / f"{stamp}.npy"))
            bicubic = upsample_bicubic(low, (output.shape[0], output.shape[1]))
            if truth.shape != output.shape:
                raise DataError(
                    f"the truth on {truth_topic} is {truth.shape[1]}x{truth.shape[0]}, "
                    f"the output {output.shape[1]}x{output.shape[0]}: depth and colour must have one size"
                )
            known = np.isfinite(output) & np.isfinite(bicubic) & np.isfinite(truth)
            if known.any():
                masked = np.where(known, truth, np.nan)
                ours.append(rmse(output, masked))
                theirs.append(rmse(bicubic, masked))
            if stamp == wanted and self.replay.color in held:
                color = _color(held[self.replay.color])
                example = Example(color, low, bicubic, output, truth)
        return ours, theirs, example


def _stamp_ns(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _with_header(message: Any, source: Any) -> Any:
    message.header.frame_id = source.header.frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = source.header.stamp.sec, source.header.stamp.nanosec
    return message


def _depth(message: Any) -> np.ndarray:
    compressed = message.__msgtype__ == bags.COMPRESSED_IMAGE
    return to_metres(images.depth_from_compressed(message) if compressed else images.depth_from_image(message))


def _color(message: Any) -> np.ndarray:
    compressed = message.__msgtype__ == bags.COMPRESSED_IMAGE
    return images.color_from_compressed(message) if compressed else images.color_from_image(message)


def _mean_cm(errors: list[float]) -> float:
    return round(100 * float(np.mean(errors)), 4) if errors else float("nan")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status, 2 for a mistake of the user's."""
    parser = argparse.ArgumentParser(prog="dkn-replay", description=__doc__.splitlines()[0])
    parser.add_argument("bag", type=Path, help="folder of a ROS 2 bag (sqlite3 or mcap)")
    parser.add_argument("--color", required=True, help="topic of the colour images")
    parser.add_argument("--depth", required=True, help="topic of the depth images, registered to colour")
    parser.add_argument("--truth", help="topic of the true depth; default: --depth before it is reduced")
    parser.add_argument("--scale", type=int, default=8, help="reduce depth by this factor before it is sent")
    parser.add_argument("--degradation", choices=DEGRADATIONS, default="bicubic", help="how it is reduced")
    parser.add_argument("--rate", type=float, default=1.0, help="speed, 1 = as recorded")
    parser.add_argument("--loop", type=int, nargs="?", const=2, default=1, help="play so many times")
    parser.add_argument("--mode", default="fdkn", help="the node's parameter mode")
    parser.add_argument("--device", default="auto", help="the node's parameter device")
    parser.add_argument("--json", type=Path, help="write the result here too")
    options = parser.parse_args(arguments)
    try:
        replay = Replay(
            options.bag,
            options.color,
            options.depth,
            options.truth,
            options.scale,
            options.degradation,
            options.rate,
            options.loop,
            {"mode": options.mode, "device": options.device},
        )
        outcome = run(replay)
    except DknError as error:
        print(f"dkn-replay: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(outcome.table())
    if options.json:
        write_json(options.json, outcome)
    return 0


def write_json(path: Path, outcome: Outcome) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(outcome.to_json(), indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
