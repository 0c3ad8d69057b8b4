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

"""Messages that lie, from a seed: most are nearly true, some are true, none has to make sense."""

from __future__ import annotations

import array
import struct
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

ENCODINGS = [
    "rgb8",
    "bgr8",
    "rgba8",
    "mono8",
    "mono16",
    "16UC1",
    "32FC1",
    "bayer_rggb8",
    "yuv422",
    "64FC1",
    "",
    "ü" * 99,
]
NUMBERS = [0, 1, 2, 3, 7, 47, 48, 49, 64, 65, 255, 4096, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1]
PIXEL_BYTES = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "mono16": 2, "16UC1": 2, "32FC1": 4, "yuv422": 2, "64FC1": 8}
FRAMES = ["camera_color_optical_frame", "other", "", "x" * 2000, "\u202e\n\x1b[31m"]
FORMATS = [
    "rgb8; jpeg compressed bgr8",
    "png",
    *(f"{e}; compressedDepth {c}" for e in ("16UC1", "32FC1") for c in ("png", "rvl")),
    "",
]


class Fuzzer:
    """A source of messages; the same seed gives the same ones."""

    def __init__(self, seed: int):
        self._random = np.random.default_rng(seed)
        self._stamp_ns = 10**18

    def image(self, good: list[str]) -> Any:
        """A sensor_msgs/Image; one in two is true, most of these 20×30 in the first of the encodings `good`."""
        lies = 0 if self._chance(0.5) else int(self._random.integers(1, 4))
        encoding = good[0] if self._chance(0.95) else self._pick(good)
        height, width = (20, 30) if self._chance(0.95) else (int(n) for n in self._random.integers(1, 40, 2))
        step = width * PIXEL_BYTES.get(encoding, 1) + int(self._random.integers(0, 4))
        message = Image(height=height, width=width, encoding=encoding, step=step)
        message.is_bigendian = int(self._random.integers(0, 2))
        message.data = self._bytes(step * height)
        for _ in range(lies):
            field = self._pick(["height", "width", "step", "data", "encoding", "is_bigendian"])
            if field == "data":
                message.data = self._bytes(max(0, step * height + int(self._random.integers(-9, 9))))
            elif field == "encoding":
                message.encoding = self._pick(ENCODINGS)
            elif field == "is_bigendian":
                message.is_bigendian = int(self._random.integers(0, 256))
            else:
                setattr(message, field, self._pick(NUMBERS))
        return self._headed(message)

    def compressed(self) -> Any:
        """A sensor_msgs/CompressedImage: a picture of some size with some of its bytes changed, or cut off."""
        size = tuple(int(n) for n in self._random.integers(1, 40, 2))
        kind = self._pick([".jpg", ".png", "depth", "rvl", "none"])
        if kind == "depth":
            quant = struct.pack("<iff", 0, *self._random.choice([0.0, 1.0, -1.0, 1e30, np.nan, np.inf, 10100.0], 2))
            data = quant + cv2.imencode(".png", self._random.integers(0, 65536, size).astype(np.uint16))[1].tobytes()
        elif kind == "rvl":
            data = bytes(12) + struct.pack("<II", *(self._pick(NUMBERS) for _ in "wh")) + self._bytes(60).tobytes()
        elif kind == "none":
            data = self._bytes(int(self._random.integers(0, 100))).tobytes()
        else:
            data = cv2.imencode(kind, self._random.integers(0, 256, (*size, 3)).astype(np.uint8))[1].tobytes()
        spoilt = bytearray(data)
        for at in self._random.integers(0, len(data), self._random.integers(0, 6)) if data else []:
            spoilt[at] = self._random.integers(0, 256)
        cut = int(self._random.integers(0, len(data) + 1)) if self._chance(0.3) else len(data)
        message = CompressedImage(format=self._pick(FORMATS))
        message.data = array.array("B", bytes(spoilt[:cut]))
        return self._headed(message)

    def camera_info(self) -> Any:
        """A sensor_msgs/CameraInfo of any numbers."""
        numbers = [0.0, 1.0, -1.0, 50.0, 1e308, -1e308, np.nan, np.inf]
        message = CameraInfo(width=self._pick(NUMBERS), height=self._pick(NUMBERS))
        message.k = self._random.choice(numbers, 9)
        message.p = self._random.choice(numbers, 12)
        message.d = self._random.choice(numbers, self._random.integers(0, 20)).tolist()
        message.binning_x = self._pick(NUMBERS)
        message.roi.width, message.roi.height = self._pick(NUMBERS), self._pick(NUMBERS)
        message.roi.x_offset = self._pick(NUMBERS)
        return self._headed(message)

    def _headed(self, message: Any) -> Any:
        """Stamps go on by some milliseconds as a rule; now and then they repeat, jump or make no sense."""
        self._stamp_ns += int(self._random.integers(0, 30)) * 1_000_000
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(self._stamp_ns, 10**9)
        if self._chance(0.02):
            message.header.stamp.sec = self._pick([-(2**31), -1, 0, 1, 2**31 - 1])
            message.header.stamp.nanosec = self._pick([0, 10**9 - 1, 10**9, 2**32 - 1])
        message.header.frame_id = FRAMES[0] if self._chance(0.98) else self._pick(FRAMES)
        return message

    def _bytes(self, count: int) -> array.array:
        return array.array("B", self._random.bytes(count))

    def _pick(self, choices: list[Any]) -> Any:
        return choices[int(self._random.integers(len(choices)))]

    def _chance(self, probability: float) -> bool:
        return bool(self._random.random() < probability)
