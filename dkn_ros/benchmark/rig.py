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

"""A camera and a listener in this process, the node in another, over DDS: what `benchmark` and `soak` measure with."""

from __future__ import annotations

import array
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from dkn.depth.units import to_metres
from dkn.errors import ConfigError
from dkn_ros.messages import compressed_depth, stamp_ns
from dkn_ros.node_process import ended, node_process

LIMIT = 90.0  # seconds that anything the node should do may take
QUEUE = 1  # messages that the camera keeps for those that ask again: no driver keeps fewer, and most of them no more
FRAME = "camera_color_optical_frame"


class Rig:
    """A context manager. The camera sends from the beginning on; `start` waits until depth comes back.

    Args:
        program: arguments for Python that start the node, as ("-m", "dkn_ros").
        parameters: of the node.
        color_size, depth_size: (width, height) of the camera's images.
        rate_hz: pairs per second.
        reliable: whether the camera offers reliable delivery, or best effort.
        color_format: jpeg or png, to send colour so compressed and depth as compressedDepth; by default both are raw.
        environment: of the node's process; by default that of this one.

    Raises:
        ConfigError: the node ended, or what is waited for did not come within `LIMIT`.
    """

    def __init__(
        self,
        program: Sequence[str],
        parameters: dict[str, Any],
        color_size: tuple[int, int],
        depth_size: tuple[int, int],
        rate_hz: float,
        reliable: bool = True,
        color_format: str = "",
        environment: Mapping[str, str] | None = None,
    ):
        self.sent = 0
        self.round_trips_ms: list[float] = []
        """From the stamp of a pair to the arrival of its depth, in the order of arrival."""
        self.statuses: list[tuple[float, Any]] = []
        """The node's DiagnosticStatus messages, with the time of each."""
        self._rate_hz = rate_hz
        self._ended = threading.Event()
        namespace = f"/rig_{os.getpid()}"
        if color_format:
            parameters = {**parameters, "color_transport": "compressed", "depth_transport": "compressedDepth"}
        self._of_node = namespace, parameters, os.environ if environment is None else environment, program
        self._context = Context()
        rclpy.init(context=self._context)
        self._ros = rclpy.create_node("rig", namespace=namespace, context=self._context)
        policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        self._messages = _camera(color_size, depth_size, color_format)
        qos = QoSProfile(depth=QUEUE, reliability=policy)
        self._publishers = {
            topic: self._ros.create_publisher(type(message), topic, qos) for topic, message in self._messages.items()
        }
        self._listen()
        self._ros.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=10))
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._ros)
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._spin, self._send)]

    def __enter__(self) -> Rig:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self.node = stack.enter_context(node_process(folder, *self._of_node))
            self._stack = stack.pop_all()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._executor.shutdown()
        for thread in self._threads:
            thread.join(5)
        self._ros.destroy_node()
        self._context.try_shutdown()
        self._stack.close()

    def start(self) -> None:
        """Wait for the first depth."""
        self._await("depth", self.round_trips_ms, 0)

    def stop_listening(self, seconds: float = 1.0) -> None:
        """Stop listening for a moment; the node goes idle meanwhile."""
        self._executor.create_task(lambda: self._ros.destroy_subscription(self._listener))
        time.sleep(seconds)
        self._executor.create_task(self._listen)

    def first_depth(self) -> float:
        """`stop_listening`; then the seconds from listening again to the first depth."""
        self.stop_listening()
        known, begin = len(self.round_trips_ms), time.monotonic()
        self._await("depth", self.round_trips_ms, known)
        return time.monotonic() - begin

    def _listen(self) -> None:
        topic, qos = "depth_upsampled/image_rect", QoSProfile(depth=5)
        self._listener = self._ros.create_subscription(Image, topic, self._on_depth, qos)

    def check(self) -> None:
        """Raise if the node has ended."""
        if self.node.poll() is not None:
            raise ended(self.node)

    def _await(self, what: str, received: Sequence[object], known: int) -> None:
        """Wait until more than `known` were received."""
        end = time.monotonic() + LIMIT
        while len(received) <= known:
            self.check()
            if time.monotonic() > end:
                raise ConfigError(f"no {what} came from the node within {LIMIT:.0f} s")
            time.sleep(0.001)

    def values(self) -> dict[str, str]:
        """What the node says of itself next."""
        self._await("diagnostics", self.statuses, len(self.statuses))
        return {pair.key: pair.value for pair in self.statuses[-1][1].values}

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while not self._ended.is_set():
                self._executor.spin_once(timeout_sec=0.1)

    def _send(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            due = max(due + 1 / self._rate_hz, time.monotonic())  # never two at once to make up for a delay
            time.sleep(max(0.0, due - time.monotonic()))
            stamp = self._ros.get_clock().now().to_msg()
            for topic, message in self._messages.items():
                message.header.stamp = stamp
                with contextlib.suppress(Exception):  # the context may be gone already
                    self._publishers[topic].publish(message)
            self.sent += 1

    def _on_depth(self, message: Any) -> None:
        self.round_trips_ms.append((time.time_ns() - stamp_ns(message)) / 1e6)

    def _on_diagnostics(self, message: Any) -> None:
        mine = f"{self._ros.get_namespace()}/upsample"
        self.statuses += [(time.monotonic(), status) for status in message.status if status.name.startswith(mine)]


def _camera(color_size: tuple[int, int], depth_size: tuple[int, int], color_format: str) -> dict[str, Any]:
    """The messages of a camera by topic: a wall of coloured patches, slanted, with a camera's noise on both, without
    which they would compress too well. Information first: it is small."""
    random = np.random.default_rng(0)
    messages: dict[str, Any] = {}
    for stream, (width, height) in (("color", color_size), ("depth", depth_size)):
        focus = 0.8 * width
        k = [focus, 0.0, width / 2, 0.0, focus, height / 2, 0.0, 0.0, 1.0]
        messages[f"{stream}/camera_info"] = CameraInfo(
            width=width, height=height, k=k, p=[*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
        )
        if stream == "color":
            patches = random.integers(0, 240, (height // 16, width // 16, 3)).astype(np.uint8)
            color = cv2.resize(patches, (width, height)) + random.integers(0, 16, (height, width, 3), np.uint8)
            topic, message = _color_message(color, color_format)
        else:
            y, x = np.mgrid[:height, :width]
            depth = (1500 + 1000 * x / width + 500 * y / height + random.normal(0, 2, x.shape)).astype(np.uint16)
            topic, message = _depth_message(depth, bool(color_format))
        messages[f"{stream}/{topic}"] = message
    for message in messages.values():
        message.header.frame_id = FRAME
    return messages


def _color_message(color: np.ndarray, form: str) -> tuple[str, Any]:
    if not form:
        return "image_raw", _image(color, "rgb8")
    _, data = cv2.imencode(f".{form}", color[..., ::-1])
    message = CompressedImage(format=f"rgb8; {form} compressed bgr8", data=array.array("B", data.tobytes()))
    return "image_raw/compressed", message


def _depth_message(millimetres: np.ndarray, compressed: bool) -> tuple[str, Any]:
    if not compressed:
        return "image_raw", _image(millimetres, "16UC1")
    form, data = compressed_depth(to_metres(millimetres), "16UC1")
    return "image_raw/compressedDepth", CompressedImage(format=form, data=data)


def _image(pixels: np.ndarray, encoding: str) -> Any:
    height, width = pixels.shape[:2]
    image = Image(height=height, width=width, encoding=encoding, step=pixels.strides[0])
    image.data = array.array("B", pixels.tobytes())
    return image


def idle_s() -> float:
    """Seconds that this machine had nothing to do since it was started, mean of its cores (Linux)."""
    total, *cores = (line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu"))
    idle, waiting = total.split()[4:6]
    return (int(idle) + int(waiting)) / os.sysconf("SC_CLK_TCK") / len(cores)


class Usage:
    """What a process of this machine uses (Linux).

    Args:
        pid: its number.
    """

    def __init__(self, pid: int):
        self._folder = Path(f"/proc/{pid}")

    @property
    def cpu_s(self) -> float:
        """Processor time so far, of all threads, in seconds."""
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory_mb(self) -> float:
        """Resident, without what is shared with other processes: theirs are the transport's segments."""
        fields = (self._folder / "statm").read_text().split()
        return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE") / 2**20

    @property
    def peak_mb(self) -> float:
        """The most that was ever resident, with what is shared."""
        lines = (self._folder / "status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**10

    @property
    def files(self) -> int:
        """Open file descriptors."""
        return len(list((self._folder / "fd").iterdir()))

    @property
    def threads(self) -> int:
        return len(list((self._folder / "task").iterdir()))
