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

"""Depth to messages: raw, into one that is used again, and compressed."""

from __future__ import annotations

import array
import struct
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dkn.depth.units import to_counts
from dkn.errors import ImageError
from dkn_ros.messages.limits import short
from dkn_ros.messages.raw import DEPTH_ENCODINGS, DepthArray

_QUANT_A = 100.0 * 101.0  # 32FC1 as image_transport's compressedDepth does it: 1 m / code at 100 m
_QUANT_FAR = 65.535  # metres whose code is 1; the nearest that has one, 65535, is at 0.154 m
_PNG_LEVEL = 1  # higher ones take several times as long for a few per cent


def compressed_depth(depth_m: npt.NDArray[np.floating[Any]], encoding: str) -> tuple[str, array.array[int]]:
    """Depth as the compressedDepth transport sends it: a header of 12 bytes, then a PNG.

    Args:
        depth_m: (H, W) metres, NaN where invalid.
        encoding: 16UC1 or mono16, exact to the millimetre; or 32FC1, quantized as inverse depth, exact to
            depth² / 20 km.

    Returns:
        format and data of a sensor_msgs/CompressedImage. What has no code (32FC1: less than 0.154 m) is invalid.

    Raises:
        ImageError: an encoding not named above.
    """
    if encoding not in DEPTH_ENCODINGS:
        raise ImageError(f"depth cannot be compressed as {short(encoding)}; supported: {', '.join(DEPTH_ENCODINGS)}")
    a = b = 0.0
    if encoding == "32FC1":
        a, b = _QUANT_A, 1.0 - _QUANT_A / _QUANT_FAR
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            codes = np.rint(np.float32(a) / depth_m + np.float32(b))
        pixels = np.where((codes >= 1) & (codes <= 65535), codes, 0).astype(np.uint16)  # False for NaN
    else:
        pixels = to_counts(depth_m)
    _, png = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    return f"{encoding}; compressedDepth png", array.array("B", struct.pack("<iff", 0, a, b) + png.tobytes())


class DepthImageWriter:
    """Writes depth into one sensor_msgs/Image that is used again for every frame.

    The message returned is the same object each time as long as size and encoding stay, so publish it, or
    copy it, before the next call. One writer serves one publisher; it is not for several threads at once.
    """

    def __init__(self) -> None:
        self._layout: tuple[tuple[int, ...], str] | None = None
        self._msg: Any = None
        self._pixels: DepthArray = np.empty((0, 0), np.float32)
        self._millimetres = np.empty((0, 0), np.float32)
        self._integers = np.empty((0, 0), np.int32)

    def write(self, depth_m: npt.NDArray[np.floating[Any]], encoding: str, frame_id: str, stamp: Any) -> Any:
        """Fill the message with a depth image and return it.

        Args:
            depth_m: (H, W) metres, NaN where invalid.
            encoding: 16UC1 or mono16 for millimetres rounded to the nearest, with 0 (invalid) for whatever is
                not within 1 to 65535 mm; or 32FC1 for metres as they are.
            frame_id: of the header.
            stamp: of the header, a builtin_interfaces/Time.

        Returns:
            A sensor_msgs/Image, little-endian, without row padding.

        Raises:
            ImageError: an encoding not named above, or an array that is not (H, W) floats.
        """
        if encoding not in DEPTH_ENCODINGS:
            supported = ", ".join(DEPTH_ENCODINGS)
            raise ImageError(f"depth cannot be written as {short(encoding)}; supported: {supported}")
        if depth_m.ndim != 2 or depth_m.size == 0 or depth_m.dtype.kind != "f":
            raise ImageError(f"depth to write must be (H, W) floats, and is {depth_m.dtype} {depth_m.shape}")
        if self._layout != (depth_m.shape, encoding):
            self._allocate(depth_m.shape, encoding)
        if encoding == "32FC1":
            np.copyto(self._pixels, depth_m, casting="same_kind")
        else:
            self._write_millimetres(depth_m)
        self._msg.header.frame_id = frame_id
        self._msg.header.stamp = stamp
        return self._msg

    def _write_millimetres(self, depth_m: npt.NDArray[np.floating[Any]]) -> None:
        scaled = self._millimetres
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply(depth_m, np.float32(1000.0), out=scaled, casting="same_kind")
            np.fmax(scaled, np.float32(0.0), out=scaled)  # fmax takes the number where the other is NaN
            np.fmin(scaled, np.float32(65536.0), out=scaled)
            np.rint(scaled, out=scaled)
            # All that is too far is now 65536, whose low 16 bits are 0, invalid. The two steps matter: to
            # convert a float that does not fit in 16 bits is undefined, an integer is cut.
            np.copyto(self._integers, scaled, casting="unsafe")
            np.copyto(self._pixels, self._integers, casting="unsafe")

    def _allocate(self, shape: tuple[int, ...], encoding: str) -> None:
        from sensor_msgs.msg import Image  # here, so that reading needs no ROS installation

        dtype = np.dtype("<" + DEPTH_ENCODINGS[encoding])
        height, width = shape
        msg = Image()
        msg.height, msg.width, msg.encoding = height, width, encoding
        msg.is_bigendian, msg.step = 0, width * dtype.itemsize
        # Only an array.array is assigned to `data`: all else is checked byte by byte, which takes 40 ms
        # and more. The setter may keep the array or copy it, so the view is taken of what it kept.
        msg.data = array.array("B", bytes(height * width * dtype.itemsize))
        self._pixels = np.frombuffer(msg.data, dtype).reshape(shape)
        self._millimetres = np.empty(shape, np.float32)
        self._integers = np.empty(shape, np.int32)
        self._msg, self._layout = msg, (shape, encoding)
