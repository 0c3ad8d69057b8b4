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
    if info.width and info.height and (info.width, info.height) != (width, height):
        # Pixel centres lie at integers, so that a point at u comes to (u + 1/2)·s − 1/2.
        sx, sy = width / info.width, height / info.height
        result.k = _scaled(info.k, 3, sx, sy)
        result.p = _scaled(info.p, 4, sx, sy)
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


def _scaled(matrix: Any, columns: int, sx: float, sy: float) -> list[float]:
    """The first two rows of K (3×3) or P (3×4), row-major, brought to another image size."""
    m = [float(value) for value in matrix]
    for row, s in ((0, sx), (1, sy)):
        at = row * columns
        m[at : at + columns] = [s * value for value in m[at : at + columns]]
        if m[at + row]:  # an uncalibrated camera stays all zero
            m[at + 2] += 0.5 * s - 0.5
    return m


def _relative_intrinsics(info: Any) -> list[float] | None:
    """fx, fy, cx, cy in units of the image's width and height; None if uncalibrated."""
    if not (info.width and info.height and info.k[0] and info.k[4]):
        return None
    values = info.k[0] / info.width, info.k[4] / info.height, info.k[2] / info.width, info.k[5] / info.height
    return [round(float(value), 3) for value in values]
