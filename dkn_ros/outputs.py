"""What the node publishes beside its diagnostics, and whether anybody listens.

`image_rect` and `camera_info` lie side by side. The image goes out as compressedDepth as well, under the name that
image_transport gives it, when somebody listens to that: encoding takes longer than all the rest that is done to a
frame outside the network, so it has a thread and a mailbox of its own, and the newest frame wins there too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from dkn_ros import images
from dkn_ros.calibration import scaled_camera_info
from dkn_ros.worker import Worker

try:
    from rclpy.event_handler import PublisherEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, UnsupportedEventTypeError

# Humble has no event that tells of listeners.
_HAS_MATCHED = "matched" in inspect.signature(PublisherEventCallbacks.__init__).parameters


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
        on_listeners: called on the executor when a listener comes or goes, if `tells`.
        on_error: called, on a thread, with what kept a frame from being compressed.
    """

    def __init__(
        self, node: Node, base: str, on_listeners: Callable[[], None], on_error: Callable[[BaseException], None]
    ):
        self.tells = _HAS_MATCHED
        """Whether `on_listeners` is ever called; if not, look at `heard` every now and then."""
        self.superseded = 0
        """Frames that were not compressed, because a newer one came before their turn."""
        self._on_listeners = on_listeners
        self._writer = images.DepthImageWriter()
        self._image = self._publisher(node, Image, f"{base}/image_rect")
        self._info = self._publisher(node, CameraInfo, f"{base}/camera_info")
        self._compressed = self._publisher(node, CompressedImage, f"{self._image.topic_name}/compressedDepth")
        self._compressor: Worker[Depth] = Worker(self._compress, on_error, "compressing")

    @property
    def topic(self) -> str:
        """Of the depth image."""
        return str(self._image.topic_name)

    @property
    def heard(self) -> bool:
        """Whether anybody listens to any of the topics."""
        return any(p.get_subscription_count() > 0 for p in (self._image, self._info, self._compressed))

    def publish(self, depth: Depth, color_info: Any) -> None:
        """Send a frame to whoever listens. Not for several threads at once.

        Args:
            color_info: sensor_msgs/CameraInfo of the colour camera, or None where none came.
        """
        self._image.publish(self._writer.write(depth.metres, depth.encoding, depth.frame_id, depth.stamp))
        if color_info is not None:
            height, width = depth.metres.shape
            self._info.publish(scaled_camera_info(color_info, width, height, depth.frame_id, depth.stamp))
        if self._compressed.get_subscription_count() and self._compressor.mailbox.put(depth) is not None:
            self.superseded += 1

    def close(self) -> None:
        """End the thread. Call before the node is destroyed."""
        self._compressor.close()

    def _publisher(self, node: Node, kind: type, topic: str) -> Any:
        qos = QoSProfile(depth=2)
        if self.tells:
            events = PublisherEventCallbacks(matched=lambda _: self._on_listeners())
            try:
                return node.create_publisher(kind, topic, qos, event_callbacks=events)
            except UnsupportedEventTypeError:  # not every middleware has it
                self.tells = False
        return node.create_publisher(kind, topic, qos)

    def _compress(self, depth: Depth) -> None:
        message = CompressedImage()
        message.header.frame_id, message.header.stamp = depth.frame_id, depth.stamp
        message.format, message.data = images.compressed_depth(depth.metres, depth.encoding)
        self._compressed.publish(message)
