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

"""Writes the node's answers into a bag."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

from rclpy.serialization import serialize_message

from dkn_ros import bags
from dkn_ros.bags import BagWriter
from dkn_ros.messages import stamp_ns

DEPTH_TOPIC = "/depth_upsampled/image_rect"
INFO_TOPIC = "/depth_upsampled/camera_info"


class Recorder:
    """A new bag with the upsampled depth and its camera_info, each stamp once; the time in the bag is the stamp.

    So its messages lie beside those of the recording they were made from, however fast or often that was played.
    Messages may come from any thread; they are written by `flush`, on the thread that entered the context.

    Raises:
        DataError: a bag that cannot be written, on entering, on flushing, or on leaving.
    """

    def __init__(self, path: Path):
        self._bag = BagWriter(path)
        self._waiting: deque[tuple[str, str, Any]] = deque()
        self._written: set[tuple[str, int]] = set()

    def __enter__(self) -> Recorder:
        self._bag.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
        self._bag.__exit__(kind, error, trace)

    def depth(self, message: Any) -> None:
        """Take an Image of rclpy."""
        self._waiting.append((DEPTH_TOPIC, bags.IMAGE, message))

    def info(self, message: Any) -> None:
        """Take a CameraInfo of rclpy."""
        self._waiting.append((INFO_TOPIC, bags.CAMERA_INFO, message))

    def flush(self) -> None:
        """Write what has come."""
        while self._waiting:
            topic, kind, message = self._waiting.popleft()
            stamp = stamp_ns(message)
            if (topic, stamp) not in self._written:
                self._written.add((topic, stamp))
                self._bag.write_serialized(topic, kind, serialize_message(message), max(stamp, 0))
