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

"""sensor_msgs/CameraInfo as the library's camera model."""

from __future__ import annotations

import re
from typing import Any

from dkn.errors import ConfigError
from dkn.geometry import CameraModel
from dkn_ros.messages.limits import short


def camera_model(info: Any, width: int, height: int, rectified: bool = False) -> CameraModel:
    """The camera of an image of this size.

    Args:
        info: sensor_msgs/CameraInfo: its K and D; binning and region of interest are allowed for.
        width, height: of the image in pixels.
        rectified: the image has been rectified: P holds, and there is no distortion.

    Raises:
        ConfigError: a camera that is not calibrated, or whose distortion is of an unknown kind.
    """
    frame = short(info.header.frame_id)
    matrix, columns = (info.p, 4) if rectified else (info.k, 3)
    fx, cx, fy, cy = (float(matrix[i]) for i in (0, 2, columns + 1, columns + 2))
    if not (fx > 0 and fy > 0 and info.width and info.height):
        raise ConfigError(f"the camera_info of {frame} holds no calibration: calibrate the camera (camera_calibration)")
    coefficients = () if rectified else tuple(map(float, info.d))
    # Before ROS 2 Foxy there was one model, and some drivers name none where there is no distortion.
    model = info.distortion_model or "plumb_bob"
    if not any(coefficients) and model != "equidistant":
        model, coefficients = "plumb_bob", ()
    try:
        camera = CameraModel(info.width, info.height, fx, fy, cx, cy, model, coefficients)
    except ConfigError as error:
        raise ConfigError(f"the camera_info of {frame} cannot be used: {error}") from None
    roi = info.roi
    if roi.width and roi.height:
        camera = camera.cropped(roi.x_offset, roi.y_offset, roi.width, roi.height)
    return camera.resized(width, height)


def is_rectified(topic: str) -> bool:
    """Whether an image topic, without a transport's suffix, is rectified by its name (image_proc: image_rect…)."""
    return bool(re.search(r"(^|_)rect(ified)?(_|$)", topic.rpartition("/")[2]))
