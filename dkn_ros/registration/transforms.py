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

"""Where cameras stand to each other: from /tf and /tf_static, or as a parameter says.

tf2 is C++ with Python on top (tf2_ros), and belongs to ROS 2; PyPI has neither it nor tf2_msgs, the type of /tf. With
wheels alone the parameter `depth_to_color` is the only source. Where ROS 2 has tf2_msgs alone, `TransformBuffer` takes
tf2_ros's place: the latest transform of each frame, without a history.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from dkn.errors import ConfigError

_DEPTH = 100  # of both topics, as tf2_ros has it


def parse_transform(text: str) -> np.ndarray:
    """(4, 4) of "x y z qx qy qz qw", metres and a quaternion, as static_transform_publisher takes them.

    Raises:
        ConfigError: anything else.
    """
    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) != 7 or not np.all(np.isfinite(numbers)) or abs(np.linalg.norm(numbers[3:]) - 1) > 0.01:
        raise ConfigError(
            f"depth_to_color={text!r}: seven numbers are needed, x y z in metres and a unit quaternion qx qy qz qw, "
            "where the depth camera is in the colour camera's frame: '0.052 0 0 0 0 0 1'"
        )
    return _matrix(numbers[:3], numbers[3:])


def _matrix(translation: list[float], quaternion: list[float]) -> np.ndarray:
    x, y, z, w = np.array(quaternion) / np.linalg.norm(quaternion)
    result = np.eye(4)
    result[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    result[:3, 3] = translation
    return result


def matrix_of(transform: Any) -> np.ndarray:
    """(4, 4) of a geometry_msgs/Transform: a point in the child's frame to the parent's."""
    t, q = transform.translation, transform.rotation
    return _matrix([t.x, t.y, t.z], [q.x, q.y, q.z, q.w])


class TransformBuffer:
    """The latest transform of each frame to its parent. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parents: dict[str, tuple[str, np.ndarray]] = {}

    def add(self, message: Any) -> None:
        """Take in a tf2_msgs/TFMessage. What is no transform (a quaternion of zeros, NaN) is passed over."""
        for each in message.transforms:
            rotation = each.transform.rotation
            if not abs(np.linalg.norm([rotation.x, rotation.y, rotation.z, rotation.w]) - 1) < 0.1:
                continue
            matrix = matrix_of(each.transform)
            if not np.isfinite(matrix).all():
                continue
            with self._lock:
                self._parents[_plain(each.child_frame_id)] = _plain(each.header.frame_id), matrix

    def lookup(self, target: str, source: str) -> np.ndarray | None:
        """(4, 4), a point of the frame `source` to `target`; None where no chain of transforms joins them."""
        with self._lock:
            to_root = {frame: self._chain(_plain(frame)) for frame in (target, source)}
        target_chain, source_chain = to_root[target], to_root[source]
        for frame, matrix in source_chain.items():
            if frame in target_chain:
                return np.linalg.inv(target_chain[frame]) @ matrix
        return None

    def _chain(self, frame: str) -> dict[str, np.ndarray]:
        """The frame and all above it, each with the matrix of a point of the frame to it."""
        chain = {frame: np.eye(4)}
        while frame in self._parents:
            parent, matrix = self._parents[frame]
            if parent in chain:  # a circle
                break
            chain[parent] = matrix @ chain[frame]
            frame = parent
        return chain


def _plain(frame: str) -> str:
    return frame.lstrip("/")


class TransformListener:
    """Transforms as others publish them, listened to only while they are needed.

    Attributes:
        problem: why nothing can be heard; empty if nothing speaks against it.
    """

    def __init__(self, node: Node):
        self._node = node
        self._buffer: Any = None
        self._end: Any = None
        self.problem = ""

    def update(self, wanted: bool) -> None:
        """Begin or end listening. On the executor."""
        if wanted and self._buffer is None and not self.problem:
            self._begin()
        elif not wanted and self._buffer is not None:
            self._end()
            self._buffer = self._end = None

    def lookup(self, target: str, source: str) -> np.ndarray | None:
        """(4, 4), a point of the frame `source` to `target`, as of now; None where it is not known (yet)."""
        buffer = self._buffer  # may be taken away meanwhile
        return None if buffer is None else buffer.lookup(target, source)

    def _begin(self) -> None:
        try:
            import tf2_ros
        except ImportError:
            self._begin_without_tf2()
            return
        buffer = tf2_ros.Buffer()
        listener = tf2_ros.TransformListener(buffer, self._node)
        self._buffer, self._end = _Tf2(buffer), listener.unregister

    def _begin_without_tf2(self) -> None:
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            self.problem = "tf2_msgs is not installed, so that /tf cannot be read: set depth_to_color"
            return
        buffer = TransformBuffer()
        static = QoSProfile(depth=_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        subscriptions = [
            self._node.create_subscription(TFMessage, topic, buffer.add, qos)
            for topic, qos in (("/tf", QoSProfile(depth=_DEPTH)), ("/tf_static", static))
        ]

        def end() -> None:
            for subscription in subscriptions:
                self._node.destroy_subscription(subscription)

        self._buffer, self._end = buffer, end


class _Tf2:
    """tf2_ros's buffer behind the interface of ours."""

    def __init__(self, buffer: Any):
        self._buffer = buffer

    def lookup(self, target: str, source: str) -> np.ndarray | None:
        from rclpy.time import Time

        target, source = _plain(target), _plain(source)
        if not self._buffer.can_transform(target, source, Time()):
            return None
        return matrix_of(self._buffer.lookup_transform(target, source, Time()).transform)
