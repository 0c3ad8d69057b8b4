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

"""What camera_info tells: the calibration of the output, and whether depth is registered to colour."""

from __future__ import annotations

import copy
import math
from typing import Any

from dkn_ros.messages.limits import short

# Intrinsics relative to the image size that differ by more than this belong to two different cameras.
TOLERANCE = 0.03

_FOCAL = 0.1, 20.0  # focal lengths in units of the image's width: views of 157 and of 3 degrees

ADVICE = (
    "start the driver's registration (openni2_camera: depth_registration:=true; realsense2_camera: "
    "align_depth.enable:=true; azure_kinect_ros_driver: its depth_to_rgb topic; orbbec_camera: "
    "depth_registration:=true) or depth_image_proc's register node"
)


def scaled_camera_info(info: Any, width: int, height: int, frame_id: str, stamp: Any) -> Any:
    """A copy of a CameraInfo for an image of another size of the same view, without binning and region of interest.

    Args:
        info: sensor_msgs/CameraInfo of the colour camera.
        width, height: pixels of the image it is to describe.
        frame_id, stamp: of its header.
    """
    result = copy.deepcopy(info)
    result.header.frame_id, result.header.stamp = frame_id, stamp
    x, y, view_width, view_height = _view(info)
    if view_width and view_height and (x, y, view_width, view_height) != (0, 0, width, height):
        sx, sy = width / view_width, height / view_height
        result.k = _brought(info.k, 3, x, y, sx, sy)
        result.p = _brought(info.p, 4, x, y, sx, sy)
    result.width, result.height = width, height
    result.binning_x = result.binning_y = 0
    result.roi = type(info.roi)()
    return result


def registration_problem(
    color_frame: str,
    depth_frame: str,
    color_info: Any,
    depth_info: Any,
    color_size: tuple[int, int] | None = None,
    depth_size: tuple[int, int] | None = None,
) -> str | None:
    """Why depth cannot be registered to the colour camera, in one line; None if nothing speaks against it.

    Args:
        color_frame, depth_frame: frame_ids of the images.
        color_info, depth_info: their sensor_msgs/CameraInfo, or None where none came.
        color_size, depth_size: their width and height in pixels, or None.
    """
    if color_frame and depth_frame and color_frame != depth_frame:
        return f"depth is in frame {short(depth_frame)}, colour in {short(color_frame)}: not registered; {ADVICE}"
    ours, theirs = _relative_intrinsics(color_info), _relative_intrinsics(depth_info)
    same = None
    if ours and theirs:
        same = all(abs(a - b) <= TOLERANCE for a, b in zip(ours, theirs, strict=True))
    if same is False:
        return f"depth has other intrinsics than colour (relative {theirs} against {ours}): not registered; {ADVICE}"
    # Pixels of another shape are allowed where camera_info says that the view is the same.
    described = same and _describes(color_info, color_size) and _describes(depth_info, depth_size)
    if color_size and depth_size and not described and not _same_aspect(color_size, depth_size):
        (width, height), (w, h) = color_size, depth_size
        turned = _same_aspect((height, width), (w, h))
        cause = "one of them is turned by 90 degrees" if turned else "they do not show the same view"
        return f"colour is {width}x{height} and depth {w}x{h}: {cause}, so that depth is not registered; {ADVICE}"
    return None


def info_problem(info: Any, size: tuple[int, int]) -> str | None:
    """Why a colour camera's CameraInfo is of no use, in a few words; None if nothing speaks against it.

    Args:
        info: sensor_msgs/CameraInfo.
        size: width and height of the image it comes with.
    """
    _, _, width, height = _view(info)
    for name in ("k", "p", "d", "r"):
        if not all(math.isfinite(value) for value in getattr(info, name)):
            return f"{name.upper()} has values that are no numbers"
    if not (width and height):
        return f"it is for an image of {width}x{height} pixels"
    if not _describes(info, size):
        return f"it is for {width}x{height} pixels, and the image has {size[0]}x{size[1]}, of another shape"
    if not any(info.k):
        return "K is zero (an uncalibrated camera)"
    for name, fx, fy in (("K", info.k[0], info.k[4]), ("P", info.p[0], info.p[5])):
        if not (_FOCAL[0] < fx / width < _FOCAL[1] and _FOCAL[0] < fy / height < _FOCAL[1]):
            return f"the focal lengths in {name}, {fx:.4g} and {fy:.4g} pixels, are none for {width}x{height} pixels"
    return None


def _describes(info: Any, size: tuple[int, int] | None) -> bool:
    """Whether a CameraInfo can be that of an image of this size."""
    *_, width, height = _view(info)
    return size is None or bool(width and height and _same_aspect((width, height), size))


def _same_aspect(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two images have the same shape, but for what rounding to whole pixels does to the smaller."""
    (width, height), (w, h) = sorted((one, other), reverse=True)
    scale = math.sqrt(width * height / (w * h))
    allowed_w, allowed_h = (max(1.0, TOLERANCE * side) for side in (w, h))
    return abs(width / scale - w) <= allowed_w and abs(height / scale - h) <= allowed_h


def _view(info: Any) -> tuple[int, int, int, int]:
    """x, y, width, height of what the image shows, in pixels of the full image, which is what K and P are for."""
    roi = info.roi
    return (
        (roi.x_offset, roi.y_offset, roi.width, roi.height)
        if roi.width and roi.height
        else (0, 0, info.width, info.height)
    )


def _brought(matrix: Any, columns: int, x: int, y: int, sx: float, sy: float) -> list[float]:
    """K (3×3) or P (3×4), row-major, brought to a part of the image that begins at x, y and is then scaled."""
    m = [float(value) for value in matrix]
    for row, origin, s in ((0, x, sx), (1, y, sy)):
        at = row * columns
        m[at : at + columns] = [s * value for value in m[at : at + columns]]
        if m[at + row]:  # an uncalibrated camera stays all zero
            # Pixel centres lie at integers, so that a point at u comes to (u − origin + 1/2)·s − 1/2.
            m[at + 2] += s * (0.5 - origin) - 0.5
    return m


def _relative_intrinsics(info: Any) -> list[float] | None:
    """fx, fy, cx, cy in units of the view's width and height, from its edges; None without a camera_info that is
    calibrated."""
    if info is None:
        return None
    x, y, width, height = _view(info)
    if not (width and height and info.k[0] and info.k[4]) or not all(math.isfinite(value) for value in info.k):
        return None
    # Pixel centres lie at integers: the left edge of the view is at x - 1/2.
    cx, cy = info.k[2] + 0.5 - x, info.k[5] + 0.5 - y
    return [round(float(value), 3) for value in (info.k[0] / width, info.k[4] / height, cx / width, cy / height)]
