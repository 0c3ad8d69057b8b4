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

"""sensor_msgs/CompressedImage to numpy arrays: JPEG, PNG, TIFF, and the compressedDepth transport."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dkn.errors import ImageError
from dkn_ros.messages.limits import MAX_PIXELS, check_size, short
from dkn_ros.messages.raw import DEPTH_ENCODINGS, DepthArray, UInt8Array, bytes_of
from dkn_ros.messages.rvl import decode_rvl

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_TIFF_SIGNATURES = {b"II*\x00": "<", b"MM\x00*": ">"}  # and the byte order
_TIFF_TYPES = {3: "H", 4: "I"}  # SHORT and LONG


def color_from_compressed(msg: Any, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """The colours of a sensor_msgs/CompressedImage, JPEG or PNG, as (H, W, 3) uint8 RGB.

    The data itself tells the codec. 16-bit pictures keep their high byte, alpha is dropped, and Exif
    orientation is ignored: the picture must stay as the camera's calibration knows it.

    Raises:
        ImageError: neither JPEG nor PNG, a depth format, damaged, or more than `max_pixels`.
    """
    encoding = msg.format.partition(";")[0].strip()
    if encoding in ("16UC1", "32FC1"):
        raise ImageError(f"format {short(msg.format)} is depth, and a colour image is expected here")
    data = bytes_of(msg)
    if _starts_with(data, _JPEG_SIGNATURE):
        width, height = _jpeg_size(data.tobytes(), max_pixels)
    elif _starts_with(data, _PNG_SIGNATURE):
        width, height = _png_header(data, max_pixels)[:2]
    else:
        raise _not_a_picture(msg, data, "JPEG or PNG")
    bgr = _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, width, height)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def depth_from_compressed(msg: Any, max_pixels: int = MAX_PIXELS) -> DepthArray:
    """The depth of a sensor_msgs/CompressedImage as (H, W), uint16 millimetres or float32 metres.

    Reads the compressedDepth transport (a header of 12 bytes, then PNG or RVL) for 16UC1, mono16 (uint16,
    0 invalid) and 32FC1 (float32, NaN invalid), and what the compressed transport makes of them: a plain 16-bit PNG,
    or a TIFF of 16-bit integers or of floats.

    Raises:
        ImageError: another format or codec, damaged, or more than `max_pixels`.
    """
    encoding, _, codec = (part.strip() for part in msg.format.partition(";"))
    plain = encoding.lower() in ("png", "tiff")
    if encoding not in DEPTH_ENCODINGS and not plain:
        supported = ", ".join(DEPTH_ENCODINGS)
        raise ImageError(f"format {short(msg.format)} is no supported depth format; supported: {supported}")
    data = bytes_of(msg)
    if _starts_with(data, _PNG_SIGNATURE):
        if encoding == "32FC1":
            raise ImageError("a 32FC1 depth image needs compressedDepth's header before the PNG, and has none")
        return _decode_depth_png(data, max_pixels)
    if data[:4].tobytes() in _TIFF_SIGNATURES:
        return _decode_depth_tiff(data, max_pixels)
    if plain or data.size <= 12 or (codec and not codec.startswith("compressedDepth")):
        raise _not_a_picture(msg, data, "16-bit PNG, TIFF, or compressedDepth of PNG or RVL")

    # The header's first field, an enum, is the same for every image.
    _, quant_a, quant_b = struct.unpack("<iff", data[:12].tobytes())
    body = data[12:]
    if codec.split()[1:] == ["rvl"]:
        coded = decode_rvl(body, max_pixels)
    elif _starts_with(body, _PNG_SIGNATURE):
        coded = _decode_depth_png(body, max_pixels)
    else:
        raise _not_a_picture(msg, body, "PNG after compressedDepth's header")
    return _dequantize(coded, quant_a, quant_b) if encoding == "32FC1" else coded


def _dequantize(coded: npt.NDArray[np.uint16], a: float, b: float) -> npt.NDArray[np.float32]:
    """Metres a / (coded - b) of compressedDepth's quantized inverse depth; 0 is NaN."""
    # The encoder's b is 1 - a / depth_max; with these bounds no denominator can be zero or negative.
    if not (np.isfinite(a) and np.isfinite(b) and a > 0 and b < 1):
        raise ImageError(f"compressedDepth's quantization A={a:g}, B={b:g} is none: A > 0 and B < 1 are expected")
    metres = coded.astype(np.float32)
    metres -= np.float32(b)
    with np.errstate(over="ignore"):
        np.divide(np.float32(a), metres, out=metres)
    metres[coded == 0] = np.nan
    return metres


def _decode_depth_png(data: UInt8Array, max_pixels: int) -> npt.NDArray[np.uint16]:
    width, height, bits, color_type = _png_header(data, max_pixels)
    if bits != 16 or color_type != 0:
        raise ImageError(f"a depth PNG is 16-bit grey, and this one has {bits} bits, colour type {color_type}")
    return np.asarray(_decode(data, cv2.IMREAD_UNCHANGED, width, height), np.uint16)


def _decode_depth_tiff(data: UInt8Array, max_pixels: int) -> DepthArray:
    width, height = _tiff_size(data.tobytes(), max_pixels)
    picture = _decode(data, cv2.IMREAD_UNCHANGED, width, height)
    if picture.ndim != 2 or picture.dtype not in (np.uint16, np.float32):
        raise ImageError(f"a depth TIFF is grey, of 16-bit integers or floats, and this one is {picture.dtype}")
    return picture


def _tiff_size(data: bytes, max_pixels: int) -> tuple[int, int]:
    """(width, height) of a TIFF, from its first directory (IFD)."""
    order, found = _TIFF_SIGNATURES[data[:4]], {}
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", data, entry)
            # TileWidth, TileLength: a way to ask for more memory than the image's
            if tag in found or tag in (322, 323):
                raise ImageError(f"a TIFF of {len(data)} bytes has tiles, or two sizes: not what a depth image has")
            if tag in (256, 257) and kind in _TIFF_TYPES:  # ImageWidth, ImageLength
                (found[tag],) = struct.unpack_from(f"{order}{_TIFF_TYPES[kind]}", data, entry + 8)
    except struct.error:
        raise ImageError(f"a TIFF of {len(data)} bytes is cut off in its directory") from None
    if len(found) != 2:
        raise ImageError(f"a TIFF of {len(data)} bytes does not say its size")
    check_size(found[256], found[257], "TIFF", max_pixels)
    return found[256], found[257]


def _decode(data: UInt8Array, flags: int, width: int, height: int) -> npt.NDArray[Any]:
    """Decode a picture whose header says width x height, a size already found acceptable."""
    try:
        picture = cv2.imdecode(data, flags)
    except cv2.error as error:
        text = short(str(error).strip())
        raise ImageError(f"a compressed picture of {width}x{height} could not be decoded: {text}") from error
    if picture is None:
        raise ImageError(f"a compressed picture of {width}x{height} is damaged and could not be decoded")
    if picture.shape[:2] != (height, width):
        found = f"{picture.shape[1]}x{picture.shape[0]}"
        raise ImageError(f"a compressed picture decoded to {found} where its header says {width}x{height}")
    return picture


def _png_header(data: UInt8Array, max_pixels: int) -> tuple[int, int, int, int]:
    """(width, height, bits per sample, colour type) of a PNG, from its IHDR chunk."""
    if data.size < 33 or data[12:16].tobytes() != b"IHDR":
        raise ImageError(f"a PNG of {data.size} bytes does not begin with its header (IHDR)")
    width, height, bits, color_type = struct.unpack(">IIBB", data[16:26].tobytes())
    check_size(width, height, "PNG", max_pixels)
    return width, height, bits, color_type


def _jpeg_size(data: bytes, max_pixels: int) -> tuple[int, int]:
    """(width, height) of a JPEG, from its frame header (SOF), reached as libjpeg reaches it."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0:
        marker = data[at + 1] if at + 1 < len(data) else 0
        if marker == 0xFF:  # fill
            at += 1
        elif marker <= 0x01 or 0xD0 <= marker <= 0xD7:  # no segment follows
            at += 2
        elif marker in (0xD8, 0xD9, 0xDA) or at + 9 > len(data):  # the image proper, or its end
            break
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            check_size(width, height, "JPEG", max_pixels)
            return width, height
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    raise ImageError(f"a JPEG of {len(data)} bytes has no frame header (SOF) that gives its size")


def _starts_with(data: UInt8Array, signature: bytes) -> bool:
    return data[: len(signature)].tobytes() == signature


def _not_a_picture(msg: Any, data: UInt8Array, expected: str) -> ImageError:
    start = data[:8].tobytes().hex(" ") or "nothing"
    return ImageError(f"format {short(msg.format)} with data that begins {start} is not what is read: {expected}")
