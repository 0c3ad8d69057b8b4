"""A camera and a listener in this process, the node in another, over DDS: what `benchmark` and `soak` measure with."""

from __future__ import annotations

import array
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from dkn.errors import ConfigError

START_LIMIT = 90.0  # seconds until the first depth must have come
FRAME = "camera_color_optical_frame"


class Rig:
    """A context manager. The camera sends from the beginning on; `start` waits until depth comes back.

    Args:
        program: arguments for Python that start the node, as ("-m", "dkn_ros").
        parameters: of the node.
        color_size, depth_size: (width, height) of the camera's images.
        rate_hz: pairs per second.
        reliable: whether the camera offers reliable delivery, or best effort.

    Raises:
        ConfigError: the node ended, or no depth came within `START_LIMIT`.
    """

    def __init__(
        self,
        program: Sequence[str],
        parameters: dict[str, Any],
        color_size: tuple[int, int],
        depth_size: tuple[int, int],
        rate_hz: float,
        reliable: bool = True,
    ):
        self.sent = 0
        self.round_trips_ms: list[float] = []
        """From the stamp of a pair to the arrival of its depth, in the order of arrival."""
        self.statuses: list[tuple[float, Any]] = []
        """The node's DiagnosticStatus messages, with the time of each."""
        self._rate_hz = rate_hz
        self._ended = threading.Event()
        namespace = f"/rig_{os.getpid()}"
        command = [sys.executable, *program, "--ros-args", "-r", f"__ns:={namespace}"]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={value}"]
        self.node = subprocess.Popen(command)
        self._context = Context()
        rclpy.init(context=self._context)
        self._ros = rclpy.create_node("rig", namespace=namespace, context=self._context)
        policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        self._messages = _camera(color_size, depth_size)
        qos = QoSProfile(depth=5, reliability=policy)
        self._publishers = {
            topic: self._ros.create_publisher(type(message), topic, qos) for topic, message in self._messages.items()
        }
        self._listen()
        self._ros.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=10))
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._ros)
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._spin, self._send)]

    def __enter__(self) -> Rig:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self.node.poll() is None:
            self.node.send_signal(signal.SIGINT)
        self._executor.shutdown()
        for thread in self._threads:
            thread.join(5)
        self._ros.destroy_node()
        self._context.try_shutdown()
        try:
            self.node.wait(15)
        except subprocess.TimeoutExpired:
            self.node.kill()
            self.node.wait()

    def start(self) -> None:
        """Wait for the first depth."""
        end = time.monotonic() + START_LIMIT
        while not self.round_trips_ms:
            self.check()
            if time.monotonic() > end:
                raise ConfigError(f"no depth came back within {START_LIMIT:.0f} s")
            time.sleep(0.05)

    def look_away(self, seconds: float = 1.0) -> None:
        """Stop listening for a moment; the node goes idle meanwhile."""
        self._executor.create_task(lambda: self._ros.destroy_subscription(self._listener))
        time.sleep(seconds)
        self._executor.create_task(self._listen)

    def _listen(self) -> None:
        topic, qos = "depth_upsampled/image_rect", QoSProfile(depth=5)
        self._listener = self._ros.create_subscription(Image, topic, self._on_depth, qos)

    def check(self) -> None:
        """Raise if the node has ended."""
        if self.node.poll() is not None:
            raise ConfigError(f"the node ended with status {self.node.returncode}; its own message is above")

    def values(self) -> dict[str, str]:
        """What the node said of itself last."""
        return {pair.key: pair.value for pair in self.statuses[-1][1].values} if self.statuses else {}

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
        stamp = message.header.stamp
        self.round_trips_ms.append((time.time_ns() - stamp.sec * 10**9 - stamp.nanosec) / 1e6)

    def _on_diagnostics(self, message: Any) -> None:
        mine = f"{self._ros.get_namespace()}/upsample"
        self.statuses += [(time.monotonic(), status) for status in message.status if status.name.startswith(mine)]


def _camera(color_size: tuple[int, int], depth_size: tuple[int, int]) -> dict[str, Any]:
    """The messages of a camera by topic: a slanted wall with noise on it. Information first: it is small."""
    random = np.random.default_rng(0)
    messages: dict[str, Any] = {}
    for stream, (width, height) in (("color", color_size), ("depth", depth_size)):
        focus = 0.8 * width
        k = [focus, 0.0, width / 2, 0.0, focus, height / 2, 0.0, 0.0, 1.0]
        messages[f"{stream}/camera_info"] = CameraInfo(
            width=width, height=height, k=k, p=[*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
        )
        if stream == "color":
            pixels = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
        else:
            y, x = np.mgrid[:height, :width]
            pixels = (1500 + 1000 * x / width + 500 * y / height).astype(np.uint16)
        image = Image(height=height, width=width, encoding="rgb8" if stream == "color" else "16UC1")
        image.step = pixels.strides[0]
        image.data = array.array("B", pixels.tobytes())
        messages[f"{stream}/image_raw"] = image
    for message in messages.values():
        message.header.frame_id = FRAME
    return messages


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
    def files(self) -> int:
        """Open file descriptors."""
        return len(list((self._folder / "fd").iterdir()))

    @property
    def threads(self) -> int:
        return len(list((self._folder / "task").iterdir()))
