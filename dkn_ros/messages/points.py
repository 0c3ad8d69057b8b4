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

"""Points to sensor_msgs/PointCloud2, laid out as depth_image_proc's: x, y, z and rgb, 32 bytes a point."""

from __future__ import annotations

import array
from typing import Any

import numpy as np

from dkn.geometry import POINT_FLOATS

POINT_STEP = 4 * POINT_FLOATS
_OFFSETS = {"x": 0, "y": 4, "z": 8, "rgb": 16}


class PointCloudWriter:
    """Writes clouds into one message that is used again as long as their shape stays.

    So publish a message, or copy it, before the next call. Not for several threads at once.
    """

    def __init__(self) -> None:
        self._msg: Any = None
        self._points = np.empty((0, 0, POINT_FLOATS), np.float32)

    def buffer(self, height: int, width: int) -> np.ndarray:
        """(height, width, 8) float32 of the message itself, zeros or what was written before: an organised cloud."""
        if self._msg is None or self._points.shape[:2] != (height, width):
            self._allocate(height, width)
        return self._points

    def write(self, points: np.ndarray, frame_id: str, stamp: Any) -> Any:
        """The message of these points.

        Args:
            points: (h, w, 8) float32, without a copy if it is the buffer; or (N, 8), a cloud that is not organised
                and has no NaN.
            frame_id, stamp: of the header.
        """
        organised = points.ndim == 3
        height, width = points.shape[:2] if organised else (1, len(points))
        if (own := self.buffer(height, width)) is not points:
            own[...] = points.reshape(own.shape)
        self._msg.is_dense = not organised
        self._msg.header.frame_id, self._msg.header.stamp = frame_id, stamp
        return self._msg

    def _allocate(self, height: int, width: int) -> None:
        from sensor_msgs.msg import PointCloud2, PointField  # here, so that reading needs no ROS installation

        msg = PointCloud2(height=height, width=width, is_bigendian=False, point_step=POINT_STEP)
        msg.fields = [
            PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1)
            for name, offset in _OFFSETS.items()
        ]
        msg.row_step = width * POINT_STEP
        # As for images: only an array.array is assigned without a look at every byte, and the view is of what was kept.
        msg.data = array.array("B", bytes(height * msg.row_step))
        self._points = np.frombuffer(msg.data, np.float32).reshape(height, width, POINT_FLOATS)
        self._msg = msg
