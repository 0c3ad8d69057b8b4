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

"""The node in a process of its own; a camera and a viewer for it in this one, over DDS."""

from __future__ import annotations

import array
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import SetBool

from dkn_ros.fast_dds import PROFILE_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60.0  # seconds until a condition has failed; nothing takes a tenth of it on a machine of one's own
AGE = 3600 * 10**9  # nanoseconds between a stamp and its message: stamps here may run ahead of the clock
COLOR_FRAME = "camera_color_optical_frame"

# One domain for each test process, so that several at once do not hear each other. Higher ones have ports that the
# system hands out to others.
ENVIRONMENT = {
    "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    PROFILE_VARIABLE: str(ROOT / "config" / "fastdds.xml"),
}
_numbers = itertools.count()

# A wall that slopes and curves a little: 16 × 12 pixels of depth seen by 64 × 48 of colour, so the factor is 4.
_Y, _X = np.mgrid[:12, :16]
MILLIMETRES = (1500 + 40 * _X + 25 * _Y + 3 * _X * _Y).astype(np.uint16)
METRES = (MILLIMETRES / 1000).astype(np.float32)
RGB = np.random.default_rng(3).integers(0, 200, (48, 64, 3), np.uint8)


@cache
def shared_context() -> Context:
    """ROS in this process, for all nodes of a file of tests: one participant of Fast DDS. Two in a process can block
    each other for ever when one of them goes (https://github.com/eProsima/Fast-DDS/issues/6193)."""
    context = Context()
    with mock.patch.dict(os.environ, ENVIRONMENT):
        rclpy.init(context=context)
    return context


def end_shared_context() -> None:
    """Once its nodes are gone."""
    if shared_context.cache_info().currsize:
        shared_context().try_shutdown()
        shared_context.cache_clear()


def unique_namespace() -> str:
    return f"test_{os.getpid()}_{next(_numbers)}"


# ------------------------------------------------------------------------------------------------- messages


def stamp(nanoseconds: int) -> Time:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return Time(sec=seconds, nanosec=rest)


def nanoseconds(message: Any) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def image(
    pixels: np.ndarray, encoding: str, padding: int = 0, bigendian: bool = False, frame: str = COLOR_FRAME
) -> Any:
    """A sensor_msgs/Image of (H, W) or (H, W, channels) samples, `padding` bytes after each row."""
    if bigendian:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    height, width = pixels.shape[:2]
    rows = np.frombuffer(np.ascontiguousarray(pixels).tobytes(), np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAA)
    message = Image(height=height, width=width, encoding=encoding, is_bigendian=int(bigendian), step=rows.shape[1])
    message.data = array.array("B", rows.tobytes())
    message.header.frame_id = frame
    return message


def compressed(data: bytes, form: str, frame: str = COLOR_FRAME) -> Any:
    message = CompressedImage(format=form)
    message.data = array.array("B", data)
    message.header.frame_id = frame
    return message


def pixels(message: Any) -> np.ndarray:
    """What a depth image says, read as any other program would."""
    dtype = {"16UC1": "<u2", "mono16": "<u2", "32FC1": "<f4"}[message.encoding]
    assert not message.is_bigendian
    return np.frombuffer(message.data, dtype).reshape(message.height, message.step // np.dtype(dtype).itemsize)


def _layout(message: Any) -> tuple[Any, ...]:
    size = () if isinstance(message, CompressedImage) else (message.encoding, message.width, message.height)
    return (*size, getattr(message, "format", ""), message.header.frame_id)


# ---------------------------------------------------------------------------------------------- the process


class NodeProcess:
    """`python -m dkn_ros`, or another program, with some arguments for ROS and parameters. What it writes goes to a
    file, so that no pipe ever fills up."""

    def __init__(
        self,
        folder: Path,
        namespace: str = "",
        environment: dict[str, str] | None = None,
        program: tuple[str, ...] = ("-m", "dkn_ros"),
        arguments: tuple[str, ...] = (),
        **parameters: Any,
    ):
        self.namespace = namespace or unique_namespace()
        command = [sys.executable, *program, "--ros-args", "-r", f"__ns:=/{self.namespace}"]
        command += arguments
        for name, value in parameters.items():
            command += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
        self._output = folder / f"{self.namespace}.log"
        # One thread: the pictures are tiny, and several processes share the machine.
        more = {"ROS_LOG_DIR": str(folder), "OMP_NUM_THREADS": "1", **(environment or {})}
        with self._output.open("wb") as file:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **ENVIRONMENT, **more}, stdout=file, stderr=subprocess.STDOUT
            )

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_for_handlers(self) -> None:
        """Until the process has a handler of its own for SIGTERM, which is the first thing that it does."""
        end = time.monotonic() + LIMIT
        while self.alive:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
            if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
                return
            assert time.monotonic() < end, f"no handler of SIGTERM:\n{self.output}"
            time.sleep(0.01)

    def wait_for(self, text: str) -> None:
        """Until it has said this."""
        end = time.monotonic() + LIMIT
        while text not in self.output:
            assert time.monotonic() < end, f"waited in vain for {text!r}:\n{self.output}"
            time.sleep(0.05)

    def wait(self) -> int:
        """The exit status, once it has ended by itself."""
        try:
            return self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the node has not ended:\n{self.output}") from None

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit status after a signal."""
        self.process.send_signal(number)
        return self.wait()


# ------------------------------------------------------------------------------------- camera and viewer


class Bench:
    """A camera that feeds one node, and a viewer of what the node publishes.

    Single-threaded: messages arrive while `until` waits. Pairs go in one at a time (`exchange`), so that a lost one
    is an error of the node and not of a busy machine.
    """

    def __init__(self, node: NodeProcess):
        self.node = node
        self.images: list[Any] = []
        self.infos: list[Any] = []
        self.statuses: list[tuple[int, DiagnosticStatus]] = []  # with the time in nanoseconds when each was composed
        self.ros = rclpy.create_node("bench", namespace=node.namespace, context=shared_context())
        self._executor = SingleThreadedExecutor(context=shared_context())
        self._executor.add_node(self.ros)
        self.ros.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=100))
        self._set = self.ros.create_client(SetParameters, f"/{node.namespace}/upsample/set_parameters")
        self._enable = self.ros.create_client(SetBool, f"/{node.namespace}/upsample/enable")
        self._viewer: dict[str, Any] = {}
        self._camera: dict[str, Any] = {}
        self._image_topics: list[str] = []
        self._last_ns = 0
        self._layout: list[Any] = []

    def close(self) -> None:
        self._executor.shutdown()
        self.ros.destroy_node()

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for a condition and return what made it true."""
        end = time.monotonic() + LIMIT
        while not (result := condition()):
            assert self.node.alive, f"the node ended while waiting for {what}:\n{self.node.output}"
            assert time.monotonic() < end, f"waited in vain for {what}:\n{self.node.output}"
            self._executor.spin_once(0.05)
        return result

    def spin(self, seconds: float) -> None:
        """Let things happen; for the pace of a camera, never for an expectation."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(left)

    # ------------------------------------------------------------------------------------------- the camera

    def camera(self, color_topic: str = "", depth_topic: str = "", reliable: bool = True, info: bool = True) -> None:
        """Put a camera in the place of the one that was there. Topics are what comes after image_raw."""
        self.unplug()
        policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=100, reliability=policy)
        self._image_topics = [
            f"/{self.node.namespace}/{name}"
            for name in (f"color/image_raw{color_topic}", f"depth/image_raw{depth_topic}")
        ]
        for name, suffix in (("color", color_topic), ("depth", depth_topic)):
            kind = CompressedImage if suffix else Image
            self._camera[name] = self.ros.create_publisher(kind, f"{name}/image_raw{suffix}", qos)
            if info:
                self._camera[f"{name}_info"] = self.ros.create_publisher(CameraInfo, f"{name}/camera_info", qos)

    def plug(self, stream: str, kind: type, topic: str, qos: QoSProfile) -> None:
        """Publish a stream, color, depth, color_info or depth_info, on a topic of one's own."""
        self._camera[stream] = self.ros.create_publisher(kind, topic, qos)

    def unplug(self) -> None:
        for publisher in self._camera.values():
            self.ros.destroy_publisher(publisher)
        self._camera.clear()

    def now(self) -> int:
        """A stamp in nanoseconds, newer than all before by more than the slop; about `AGE` ago, never in the future."""
        self._last_ns = max(time.time_ns() - AGE, self._last_ns + 100_000_000)
        return self._last_ns

    def send(self, stream: str, message: Any, stamp_ns: int) -> None:
        """Publish a message of the stream color, depth, color_info or depth_info."""
        message.header.stamp = stamp(stamp_ns)
        self._camera[stream].publish(message)

    def output(self, stamp_ns: int) -> Any:
        """Wait for the depth of this stamp."""
        found = self.until(
            lambda: [message for message in self.images if nanoseconds(message) == stamp_ns],
            f"the output of stamp {stamp_ns}",
        )
        return found[0]

    def exchange(self, color: Any, depth: Any, stamp_ns: int | None = None) -> Any:
        """Send a pair and wait for what comes out of it."""
        stamp_ns = self.now() if stamp_ns is None else stamp_ns
        if self._layout != (layout := [_layout(message) for message in (color, depth)]):
            # Pairing starts anew with another kind of stream, and whatever waited is gone.
            self._layout = layout
            self.warm_up(color, depth)
            stamp_ns = max(stamp_ns, self.now())
        self.send("color", color, stamp_ns)
        self.send("depth", depth, stamp_ns)
        return self.output(stamp_ns)

    def warm_up(self, color: Any, depth: Any) -> None:
        """Send pairs until one comes out: both sides know of each other then, as reliably as they ever will."""
        self._layout = [_layout(message) for message in (color, depth)]
        self._send_until_output(color, depth)
        # The node subscribes once more when it hears of a publisher that offers something else.
        offered = self._camera["color"].qos_profile.reliability
        self.until(lambda: self.reliabilities() == {offered}, "subscriptions as reliable as the camera")
        if offered == ReliabilityPolicy.RELIABLE:
            self.exchange(color, depth)  # then nothing of what was sent before is still on its way
        else:
            self._send_until_output(color, depth)

    def _send_until_output(self, color: Any, depth: Any) -> None:
        before, end = len(self.images), time.monotonic() + LIMIT
        while len(self.images) == before:
            assert self.node.alive and time.monotonic() < end, f"no output of any pair:\n{self.node.output}"
            stamp_ns = self.now()
            self.send("color", color, stamp_ns)
            self.send("depth", depth, stamp_ns)
            self.spin(0.2)

    def reliabilities(self) -> set[ReliabilityPolicy]:
        """What the node's subscriptions ask for, on the topics of the camera's images."""
        found = [self.ros.get_subscriptions_info_by_topic(topic) for topic in self._image_topics]
        return {info.qos_profile.reliability for infos in found for info in infos} if all(found) else set()

    def subscriptions(self) -> list[int]:
        """How many subscriptions each of the four input topics has."""
        topics = ("color/image_raw", "depth/image_raw", "color/camera_info", "depth/camera_info")
        return [self.ros.count_subscribers(f"/{self.node.namespace}/{topic}") for topic in topics]

    # ------------------------------------------------------------------------------------------- the viewer

    def listen(self) -> None:
        topics = {"image_rect": (Image, self.images.append), "camera_info": (CameraInfo, self.infos.append)}
        for name, (kind, callback) in topics.items():
            if name not in self._viewer:
                topic, qos = f"depth_upsampled/{name}", QoSProfile(depth=100)
                self._viewer[name] = self.ros.create_subscription(kind, topic, callback, qos)

    def stop_listening(self, *names: str) -> None:
        """To image_rect, camera_info, or both where none is named."""
        for name in names or tuple(self._viewer):
            self.ros.destroy_subscription(self._viewer.pop(name))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        mine = f"/{self.node.namespace}/upsample"
        found = [status for status in message.status if status.name.startswith(mine)]
        self.statuses += [(nanoseconds(message), status) for status in found]

    def status(self, condition: Callable[[DiagnosticStatus], bool] = lambda _: True, what: str = "diagnostics") -> Any:
        """The next status that the node composes from now on, and that meets a condition."""
        since = time.time_ns()

        def latest() -> DiagnosticStatus | None:
            found = [s for at, s in self.statuses if at > since and condition(s)]
            return found[-1] if found else None

        try:
            return self.until(latest, what)
        except AssertionError as error:
            last = self.statuses[-1][1] if self.statuses else "none"
            raise AssertionError(f"{error}\nlast status: {last}") from None

    def counters(self) -> dict[str, str]:
        """What the node has counted up to now, and what else the next status says."""
        return {pair.key: pair.value for pair in self.status().values}

    def count(self, key: str) -> int:
        return int(self.counters().get(key, 0))

    # --------------------------------------------------------------------------------------------- services

    def set_parameter(self, name: str, value: Any) -> str:
        """Set one by the parameter service; returns why it was refused, empty if it was not."""
        parameter = Parameter(name, value=value).to_parameter_msg()
        return self.set_parameter_message(parameter)

    def set_parameter_message(self, parameter: Any) -> str:
        self.until(self._set.service_is_ready, "the parameter service")
        future = self._set.call_async(SetParameters.Request(parameters=[parameter]))
        (result,) = self.until(lambda: future.done() and future.result(), "an answer of the parameter service").results
        assert result.successful != bool(result.reason)
        return result.reason

    @contextmanager
    def parameter(self, name: str, value: Any, default: Any) -> Iterator[None]:
        """Set a parameter for a while."""
        assert self.set_parameter(name, value) == ""
        try:
            yield
        finally:
            with suppress(AssertionError):  # the first error is the one to see
                self.set_parameter(name, default)

    def enable(self, on: bool) -> Any:
        self.until(self._enable.service_is_ready, "the service ~/enable")
        future = self._enable.call_async(SetBool.Request(data=on))
        return self.until(lambda: future.done() and future.result(), "an answer of ~/enable")


@contextmanager
def running(folder: Path, models: Path, frames_flow: bool = True, **options: Any) -> Iterator[Bench]:
    """A node with these options, which has to end well unless the test has ended it; with a camera and a viewer through
    which frames flow."""
    environment = {"DKN_MODELS": str(models), **options.pop("environment", {})}
    options = {"device": "cpu", "precision": "fp32", "diagnostics_period": 0.2} | options
    node = NodeProcess(folder, environment=environment, **options)
    bench = Bench(node)
    try:
        if frames_flow:
            bench.listen()
            bench.camera()
            bench.warm_up(image(RGB, "rgb8"), image(MILLIMETRES, "16UC1"))
        yield bench
        assert bench.node.end() == 0, bench.node.output
        assert "Traceback" not in bench.node.output
    finally:
        for each in (node, bench.node):
            each.process.kill()
        bench.close()


NOT_SET = ParameterValue()


def assert_unknown(unknown: np.ndarray, holes: np.ndarray) -> None:
    """Unknown where the input's holes are, to one input pixel whose middle stays: where exactly they end, colour says.

    Args:
        unknown: (k h, k w) bool, of the output.
        holes: (h, w) bool, of the input.
    """
    scale = unknown.shape[0] // holes.shape[0]
    around = np.ones((2 * scale + 1,) * 2, np.uint8)
    blocks = np.kron(holes, np.ones((scale, scale), bool)).astype(np.uint8)
    assert unknown[cv2.erode(blocks, around, borderValue=1) > 0].all()
    assert not unknown[cv2.dilate(blocks, around) == 0].any()
    middle = slice(scale // 2, None, scale)
    np.testing.assert_array_equal(unknown[middle, middle], holes)
