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

"""sensor_msgs/Image to numpy arrays, without a copy wherever the encoding allows it.

The description of a raw image must fit its data exactly: len(data) == step * height, the rule cv_bridge
applies as well. Rows may be padded (step larger than the pixels need), the last row then too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from dkn.errors import ImageError
from dkn_ros.messages.limits import MAX_PIXELS, check_size, short

UInt8Array = npt.NDArray[np.uint8]
DepthArray = npt.NDArray[np.uint16] | npt.NDArray[np.float32]

DEPTH_ENCODINGS = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}

# encoding -> (channels, bytes per sample, which channels are R, G and B). The unnamed OpenCV types are taken
# in OpenCV's own order, B first: they come from cv2 images published without naming an encoding.
_RGB, _BGR = slice(0, 3), slice(2, None, -1)
_COLOR_LAYOUTS = {
    "rgb8": (3, 1, _RGB),
    "bgr8": (3, 1, _BGR),
    "8UC3": (3, 1, _BGR),
    "rgba8": (4, 1, _RGB),
    "bgra8": (4, 1, _BGR),
    "8UC4": (4, 1, _BGR),
    "rgb16": (3, 2, _RGB),
    "bgr16": (3, 2, _BGR),
    "rgba16": (4, 2, _RGB),
    "bgra16": (4, 2, _BGR),
    "mono8": (1, 1, _RGB),
    "8UC1": (1, 1, _RGB),
    "mono16": (1, 2, _RGB),
}

# Encodings that need arithmetic -> (channels, bytes per sample, the 8-bit name every converter knows).
_CONVERTED_LAYOUTS = {
    "uyvy": (2, 1, "yuv422"),
    "yuv422": (2, 1, "yuv422"),
    "yuyv": (2, 1, "yuv422_yuy2"),
    "yuv422_yuy2": (2, 1, "yuv422_yuy2"),
} | {
    f"bayer_{pattern}{8 * size}": (1, size, f"bayer_{pattern}8")
    for pattern in ("rggb", "bggr", "gbrg", "grbg")
    for size in (1, 2)
}

# One plane of Y, then one of half the rows, with U and V in turn: encoding -> OpenCV's name of the conversion.
_PLANAR = {"nv12": "COLOR_YUV2RGB_NV12", "nv21": "COLOR_YUV2RGB_NV21"}


def stamp_ns(msg: Any) -> int:
    """The stamp of any message with a header, in nanoseconds."""
    stamp = msg.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def color_from_image(msg: Any, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """The colours of a sensor_msgs/Image as (H, W, 3) uint8 RGB.

    A view of `msg.data` for the rgb, bgr, rgba, bgra and mono encodings, of 8 bits or the high byte of 16
    (with negative strides for bgr, read-only for mono); 8UC1, 8UC3 and 8UC4 are taken as mono8, bgr8 and
    bgra8. Bayer and YUV 4:2:2 are converted by cv_bridge, or by rosbags-image where cv_bridge does not work; nv12
    and nv21 (YUV 4:2:0) by OpenCV.

    Raises:
        ImageError: an encoding that is not a colour, a header that does not match the data, or more than `max_pixels`.
    """
    if msg.encoding in _COLOR_LAYOUTS:
        channels, size, order = _COLOR_LAYOUTS[msg.encoding]
        pixels = _high_bytes(msg, channels, size, max_pixels)
        if channels == 1:
            return np.broadcast_to(pixels, (*pixels.shape[:2], 3))
        return pixels[..., order]
    if msg.encoding in _CONVERTED_LAYOUTS:
        channels, size, name = _CONVERTED_LAYOUTS[msg.encoding]
        return _convert(_high_bytes(msg, channels, size, max_pixels), name)
    if msg.encoding in _PLANAR:
        return _from_planes(msg, max_pixels)
    supported = ", ".join([*_COLOR_LAYOUTS, *_CONVERTED_LAYOUTS, *_PLANAR])
    raise ImageError(f"encoding {short(msg.encoding)} is no supported colour encoding; supported: {supported}")


def depth_from_image(msg: Any, max_pixels: int = MAX_PIXELS) -> DepthArray:
    """The depth of a sensor_msgs/Image as an (H, W) view of `msg.data`, in the message's byte order.

    uint16 millimetres (0 invalid) for 16UC1 and mono16, float32 metres (NaN invalid) for 32FC1.

    Raises:
        ImageError: another encoding, a header that does not match the data, or more than `max_pixels`.
    """
    if msg.encoding not in DEPTH_ENCODINGS:
        supported = ", ".join(DEPTH_ENCODINGS)
        raise ImageError(f"encoding {short(msg.encoding)} is no supported depth encoding; supported: {supported}")
    order = ">" if msg.is_bigendian else "<"
    return _view(msg, np.dtype(order + DEPTH_ENCODINGS[msg.encoding]), 1, max_pixels)[..., 0]


def _view(msg: Any, dtype: np.dtype[Any], channels: int, max_pixels: int) -> npt.NDArray[Any]:
    """(H, W, channels) view of a message's data, once its header is known to be true."""
    height, width, step, data = int(msg.height), int(msg.width), int(msg.step), bytes_of(msg)
    pixel = dtype.itemsize * channels
    if height <= 0 or width <= 0:
        raise ImageError(f"an image of {width}x{height} pixels is empty: width and height must be positive")
    if step < width * pixel:
        needed = f"{width} pixels of {msg.encoding} need {width * pixel}"
        raise ImageError(f"the row step of {step} bytes is too small: {needed}")
    if data.size != step * height:
        expected = f"step {step} x height {height} = {step * height}"
        raise ImageError(f"the image data has {data.size} bytes where its header says {expected}")
    check_size(width, height, "raw", max_pixels)
    # Strides rather than reshape: the step need not be a multiple of the sample's size.
    return np.ndarray((height, width, channels), dtype, data, strides=(step, pixel, dtype.itemsize))


def _high_bytes(msg: Any, channels: int, size: int, max_pixels: int) -> UInt8Array:
    """(H, W, channels) uint8 view: the samples of 1 byte, or the high byte of samples of 2."""
    samples = _view(msg, np.dtype(np.uint8), channels * size, max_pixels)
    return samples if size == 1 else samples[..., (0 if msg.is_bigendian else 1) :: 2]


def _from_planes(msg: Any, max_pixels: int) -> UInt8Array:
    """(H, W, 3) RGB of an nv12 or nv21 image.

    Its height is the picture's, as libcamera's node has it, or counts the rows of both planes, as an OpenCV image that
    holds them does; the size of the data tells which.
    """
    import cv2

    height, width, step, size = int(msg.height), int(msg.width), int(msg.step), bytes_of(msg).size
    rows = height if size == step * height and height % 3 == 0 else height * 3 // 2
    if width <= 0 or rows <= 0 or width % 2 or rows % 3:
        raise ImageError(f"an {msg.encoding} image has an even width and height, not {width}x{height}")
    planes = SimpleNamespace(height=rows, width=width, encoding=msg.encoding, step=step, data=msg.data)
    pixels = _view(planes, np.dtype(np.uint8), 1, max_pixels)[..., 0]
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), getattr(cv2, _PLANAR[msg.encoding])), np.uint8)


def bytes_of(msg: Any) -> UInt8Array:
    """A message's data as a flat view of bytes."""
    try:
        return np.frombuffer(msg.data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise ImageError(f"the image data, a {type(msg.data).__name__}, is no buffer of bytes: {error}") from None


def _convert(pixels: UInt8Array, encoding: str) -> UInt8Array:
    """(H, W, 3) RGB of 8-bit Bayer (H, W, 1) or YUV 4:2:2 (H, W, 2) by whichever package is installed."""
    height, width, channels = pixels.shape
    tight = np.ascontiguousarray(pixels).reshape(-1)  # the converters do not all honour the step
    image = SimpleNamespace(
        height=height, width=width, encoding=encoding, is_bigendian=0, step=width * channels, data=tight
    )
    convert = _converter()
    if convert is None:
        raise ImageError(
            f"encoding '{encoding}' needs cv_bridge or rosbags-image, and neither works here:"
            " install ros-<distro>-cv-bridge (built for your NumPy) or `pip install rosbags-image`"
        )
    try:
        rgb = np.asarray(convert(image, "rgb8"))
    except Exception as error:  # each package raises its own types, and OpenCV's
        text = short(str(error).strip())
        raise ImageError(f"a {width}x{height} image could not be converted from '{encoding}': {text}") from error
    if rgb.shape != (height, width, 3) or rgb.dtype != np.uint8:
        raise ImageError(f"converting '{encoding}' gave {rgb.dtype} {rgb.shape}, not uint8 ({height}, {width}, 3)")
    return rgb


@cache
def _converter() -> Callable[[Any, str], Any] | None:
    """`convert(message, encoding)` of the first package that passes a trial, or None."""

    def cv_bridge() -> Callable[[Any, str], Any]:
        from cv_bridge import CvBridge

        convert: Callable[[Any, str], Any] = CvBridge().imgmsg_to_cv2
        return convert

    def rosbags_image() -> Callable[[Any, str], Any]:
        from rosbags.image import message_to_cvimage

        convert: Callable[[Any, str], Any] = message_to_cvimage
        return convert

    trial = SimpleNamespace(
        height=4, width=4, encoding="bayer_rggb8", is_bigendian=0, step=4, data=np.zeros(16, np.uint8)
    )
    for load in (cv_bridge, rosbags_image):
        # cv_bridge loads its binary part at the first conversion, and one built for NumPy 1 fails under
        # NumPy 2 with more than ImportError: only a conversion shows that it works.
        try:
            convert = load()
            convert(trial, "rgb8")
        except Exception:
            continue
        return convert
    return None
