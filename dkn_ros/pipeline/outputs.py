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

"""What the node publishes beside its diagnostics, and whether anybody listens.

`image_rect` and `camera_info` lie side by side. The image goes out as compressedDepth as well, under the name that
image_transport gives it, when somebody listens to that: encoding takes longer than all the rest that is done to a
frame outside the network, so it has a thread and a mailbox of its own, and the newest frame wins there too. So have the
points (`point_cloud.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from dkn.errors import ConfigError
from dkn_ros import messages
from dkn_ros.messages.calibration import scaled_camera_info
from dkn_ros.pipeline.point_cloud import Colored, PointCloudOutput
from dkn_ros.pipeline.topics import camera_info_topic
from dkn_ros.pipeline.worker import Worker

try:
    from rclpy.event_handler import PublisherEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, UnsupportedEventTypeError

# Humble has no event for listeners.
_HAS_MATCHED = "matched" in inspect.signature(PublisherEventCallbacks.__init__).parameters


_OVERRIDES = QoSOverridingOptions(
    [QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY]
)


def create_publisher(node: Node, kind: type, topic: str, depth: int, **options: Any) -> Any:
    """A publisher whose QoS users may choose, by the parameters qos_overrides.<topic>.publisher.<policy>.

    Raises:
        ConfigError: what they chose makes no sense.
    """
    qos = QoSProfile(depth=depth)
    try:
        return node.create_publisher(kind, topic, qos, qos_overriding_options=_OVERRIDES, **options)
    except UnsupportedEventTypeError:
        raise
    except (RuntimeError, AssertionError, ParameterException) as error:  # rclpy's, for a word or type it does not know
        raise ConfigError(f"qos_overrides of {topic}: {' '.join(str(error).split())}") from None


@dataclass(frozen=True)
class Depth:
    """A frame on its way out: (H, W) float32 metres with NaN, and what its header will say."""

    metres: np.ndarray
    encoding: str
    frame_id: str
    stamp: Any


class Outputs:
    """The topics of the result, relative to `base`.

    Args:
        node: where the publishers live.
        base: namespace of the topics, relative names welcome.
        on_listeners: called on the executor when a listener comes or goes, if `reports_listeners`.
        on_error: called, on a thread, with what kept a frame from being compressed or made into points.
        points: offer `points` too, beside `base`.
    """

    def __init__(
        self,
        node: Node,
        base: str,
        on_listeners: Callable[[], None],
        on_error: Callable[[BaseException], None],
        points: bool = True,
    ):
        self.reports_listeners = _HAS_MATCHED
        """Whether `on_listeners` is ever called; if not, look at `heard` every now and then."""
        self.superseded = 0
        """Frames that were not compressed, because a newer one came before their turn."""
        self._on_listeners = on_listeners
        self._writer = messages.DepthImageWriter()
        self._image = self._publisher(node, Image, f"{base}/image_rect")
        info_topic = camera_info_topic(node, f"{base}/camera_info", self._image.topic_name)
        self._info = self._publisher(node, CameraInfo, info_topic)
        self._compressed = self._publisher(node, CompressedImage, f"{self._image.topic_name}/compressedDepth")
        self._confidence = self._publisher(node, Image, f"{base}/confidence")
        self._confidence_writer = messages.DepthImageWriter()
        points_publisher = self._publisher(node, PointCloud2, "points") if points else None
        # Threads last: nothing that can fail comes after them.
        self._compressor: Worker[Depth] = Worker(self._compress, on_error, "compressing")
        self.points = PointCloudOutput(points_publisher, on_error) if points else None

    @property
    def topic(self) -> str:
        """Of the depth image."""
        return str(self._image.topic_name)

    @property
    def heard(self) -> bool:
        """Whether anybody listens to any of the topics."""
        publishers = self._image, self._info, self._compressed, self._confidence
        return any(p.get_subscription_count() > 0 for p in publishers) or bool(self.points and self.points.heard)

    @property
    def wants_confidence(self) -> bool:
        """Whether anybody listens to confidence."""
        return bool(self._confidence.get_subscription_count() > 0)

    def publish(
        self,
        depth: Depth,
        color_info: Any,
        colored: Colored | None = None,
        confidence: np.ndarray | None = None,
    ) -> None:
        """Send a frame to whoever listens. Not for several threads at once.

        Args:
            color_info: sensor_msgs/CameraInfo of the colour camera, or None where none came.
            colored: the same frame for `points`.
            confidence: (H, W) float32, 0 to 1, of the same frame.
        """
        self._image.publish(self._writer.write(depth.metres, depth.encoding, depth.frame_id, depth.stamp))
        if color_info is not None:
            height, width = depth.metres.shape
            self._info.publish(scaled_camera_info(color_info, width, height, depth.frame_id, depth.stamp))
        if self._compressed.get_subscription_count() and self._compressor.mailbox.put(depth) is not None:
            self.superseded += 1
        if confidence is not None:
            self._confidence.publish(self._confidence_writer.write(confidence, "32FC1", depth.frame_id, depth.stamp))
        if self.points and colored is not None:
            self.points.put(colored)

    def close(self) -> None:
        """End the threads. Call before the node is destroyed."""
        self._compressor.close()
        if self.points:
            self.points.close()

    def _publisher(self, node: Node, kind: type, topic: str) -> Any:
        if self.reports_listeners:
            events = PublisherEventCallbacks(matched=lambda _: self._on_listeners())
            try:
                return create_publisher(node, kind, topic, 2, event_callbacks=events)
            except UnsupportedEventTypeError:  # not every middleware has it
                self.reports_listeners = False
        return create_publisher(node, kind, topic, 2)

    def _compress(self, depth: Depth) -> None:
        message = CompressedImage()
        message.header.frame_id, message.header.stamp = depth.frame_id, depth.stamp
        message.format, message.data = messages.compressed_depth(depth.metres, depth.encoding)
        self._compressed.publish(message)
