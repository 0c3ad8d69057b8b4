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

"""The output `points`: a coloured cloud for whoever listens, made on a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dkn.depth.alignment import Displacement, moved
from dkn.errors import ConfigError
from dkn.geometry import PointCloud
from dkn_ros.messages.camera_info import camera_model
from dkn_ros.messages.points import PointCloudWriter
from dkn_ros.pipeline.worker import Worker

_WEIGHT = 0.1  # of the latest cloud in the mean of what they cost


@dataclass(frozen=True)
class Colored:
    """A frame on its way to points.

    Attributes:
        metres: (H, W) float32, NaN where unknown.
        color: (H, W, 3) uint8 RGB.
        displacement: (x, y) pixels that colour has to move by to lie on it (`dkn.depth.alignment`).
        info: sensor_msgs/CameraInfo of both, or None where none came.
        rectified: the images are rectified.
        decimation, voxel_size: of `dkn.geometry.PointCloud`.
        frame_id, stamp: of the header.
    """

    metres: np.ndarray
    color: np.ndarray
    displacement: Displacement
    info: Any
    rectified: bool
    decimation: int
    voxel_size: float
    frame_id: str
    stamp: Any


class PointCloudOutput:
    """Makes points and publishes them; the newest frame wins.

    Args:
        publisher: of sensor_msgs/PointCloud2.
        on_error: called, on a thread, with what went wrong with a frame.
    """

    def __init__(self, publisher: Any, on_error: Callable[[BaseException], None]):
        self.superseded = 0
        """Frames of which no points were made, because a newer one came before their turn."""
        self.cost_ms = 0.0
        """What a cloud takes to make and to publish, a mean of the last ones."""
        self.problem = ""
        """Why there are no points of the latest frame."""
        self._publisher = publisher
        self._writer = PointCloudWriter()
        self._cloud: PointCloud | None = None
        self._worker: Worker[Colored] = Worker(self._publish, on_error, "points")

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._publisher.get_subscription_count())

    def put(self, frame: Colored) -> None:
        """Leave a frame, if anybody listens."""
        if self.heard and self._worker.mailbox.put(frame) is not None:
            self.superseded += 1

    def close(self) -> None:
        """End the thread. Call before the node is destroyed."""
        self._worker.close()

    def _publish(self, frame: Colored) -> None:
        try:
            cloud = self._cloud = self._cloud_for(frame)
        except ConfigError as error:
            self.problem = f"no points: {error}"
            return
        self.problem = ""
        start = time.perf_counter()
        # With voxels the organised cloud is a step on the way, and the message has another shape.
        buffer = None if frame.voxel_size else self._writer.buffer(*cloud.shape)
        points = cloud(frame.metres, moved(frame.color, frame.displacement), buffer)
        self._publisher.publish(self._writer.write(points, frame.frame_id, frame.stamp))
        cost_ms = 1e3 * (time.perf_counter() - start)
        self.cost_ms = cost_ms if not self.cost_ms else self.cost_ms + _WEIGHT * (cost_ms - self.cost_ms)

    def _cloud_for(self, frame: Colored) -> PointCloud:
        """The one at hand as long as the calibration and the options stay."""
        if frame.info is None:
            raise ConfigError("nothing received on the colour camera's camera_info")
        height, width = frame.metres.shape
        camera = camera_model(frame.info, width, height, frame.rectified)
        before = self._cloud
        if before and (before.camera, before.decimation, before.voxel_size) == (
            camera,
            frame.decimation,
            frame.voxel_size,
        ):
            return before
        return PointCloud(camera, frame.decimation, frame.voxel_size)
