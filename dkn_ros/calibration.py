"""What camera_info tells: the calibration of the output, and whether depth is registered to colour."""

from __future__ import annotations

import copy
from typing import Any

# Intrinsics relative to the image size that differ by more than this belong to two different cameras.
TOLERANCE = 0.03

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


def registration_problem(color_frame: str, depth_frame: str, color_info: Any, depth_info: Any) -> str | None:
    """Why depth cannot be registered to the colour camera, in one line; None if nothing speaks against it.

    Args:
        color_frame, depth_frame: frame_ids of the images.
        color_info, depth_info: their sensor_msgs/CameraInfo, or None where none came.
    """
    if color_frame and depth_frame and color_frame != depth_frame:
        return f"depth is in frame '{depth_frame}', colour in '{color_frame}': not registered; {ADVICE}"
    if color_info is None or depth_info is None:
        return None
    ours, theirs = _relative_intrinsics(color_info), _relative_intrinsics(depth_info)
    if ours and theirs and any(abs(a - b) > TOLERANCE for a, b in zip(ours, theirs, strict=True)):
        return f"depth has other intrinsics than colour (relative {theirs} against {ours}): not registered; {ADVICE}"
    return None


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
    """fx, fy, cx, cy in units of the view's width and height; None if uncalibrated."""
    x, y, width, height = _view(info)
    if not (width and height and info.k[0] and info.k[4]):
        return None
    values = info.k[0] / width, info.k[4] / height, (info.k[2] - x) / width, (info.k[5] - y) / height
    return [round(float(value), 3) for value in values]
