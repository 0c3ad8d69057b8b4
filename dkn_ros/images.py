"""ROS image messages to and from numpy arrays.

Every reader takes a message by its attributes alone, so that the messages of rclpy and of rosbags both
work, and returns a view of the message's data wherever the encoding allows one: no pixel is copied. A view
keeps the data alive and stays valid after the message is gone. Whatever cannot be read raises `ImageError`.

What common cameras publish:

====================================  ==========================================  ======================
camera (driver)                       depth                                       colour
====================================  ==========================================  ======================
Xtion, Kinect v1 (openni2_camera)     16UC1; 32FC1 from depth_image_proc, and     rgb8
                                      under depth_registered when rectified
RealSense (realsense2_camera)         16UC1, also as aligned_depth_to_color       rgb8
Azure Kinect                          16UC1 or 32FC1 (an option of the driver)    bgra8
Orbbec                                16UC1                                       rgb8, also rgba8, bgra8
some other drivers                    mono16, used as if it were 16UC1            mono8, yuv422, Bayer
====================================  ==========================================  ======================

Units follow REP 118: 16-bit depth is in millimetres with 0 for no measurement, 32FC1 is in metres with NaN.

The description of a raw image must fit its data exactly: len(data) == step * height, the rule cv_bridge
applies as well. Rows may be padded (step larger than the pixels need), the last row then too.
"""

from __future__ import annotations

import array
import struct
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dkn.depth import to_millimetres
from dkn.errors import ImageError

UInt8Array = npt.NDArray[np.uint8]
DepthArray = npt.NDArray[np.uint16] | npt.NDArray[np.float32]

MAX_PIXELS = 4096 * 4096
"""The largest image that is read, unless the caller says otherwise. A few hundred bytes of a compressed picture can
claim, and fill, any memory; and the network needs some kilobytes for each pixel of colour."""

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

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"


# ---------------------------------------------------------------------------------------------- raw images


def stamp_ns(msg: Any) -> int:
    """The stamp of any message with a header, in nanoseconds."""
    stamp = msg.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def color_from_image(msg: Any, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """The colours of a sensor_msgs/Image as (H, W, 3) uint8 RGB.

    A view of `msg.data` for the rgb, bgr, rgba, bgra and mono encodings, of 8 bits or the high byte of 16
    (with negative strides for bgr, read-only for mono); 8UC1, 8UC3 and 8UC4 are taken as mono8, bgr8 and
    bgra8. Bayer and YUV 4:2:2 are converted by cv_bridge, or by rosbags-image where cv_bridge does not work.

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
    supported = ", ".join([*_COLOR_LAYOUTS, *_CONVERTED_LAYOUTS])
    raise ImageError(f"encoding {_short(msg.encoding)} is no supported colour encoding; supported: {supported}")


def depth_from_image(msg: Any, max_pixels: int = MAX_PIXELS) -> DepthArray:
    """The depth of a sensor_msgs/Image as an (H, W) view of `msg.data`, in the message's byte order.

    uint16 millimetres (0 invalid) for 16UC1 and mono16, float32 metres (NaN invalid) for 32FC1.

    Raises:
        ImageError: another encoding, a header that does not match the data, or more than `max_pixels`.
    """
    if msg.encoding not in DEPTH_ENCODINGS:
        supported = ", ".join(DEPTH_ENCODINGS)
        raise ImageError(f"encoding {_short(msg.encoding)} is no supported depth encoding; supported: {supported}")
    order = ">" if msg.is_bigendian else "<"
    return _view(msg, np.dtype(order + DEPTH_ENCODINGS[msg.encoding]), 1, max_pixels)[..., 0]


def _view(msg: Any, dtype: np.dtype[Any], channels: int, max_pixels: int) -> npt.NDArray[Any]:
    """(H, W, channels) view of a message's data, once its header is known to be true."""
    height, width, step, data = int(msg.height), int(msg.width), int(msg.step), _bytes(msg)
    pixel = dtype.itemsize * channels
    if height <= 0 or width <= 0:
        raise ImageError(f"an image of {width}x{height} pixels is empty: width and height must be positive")
    if step < width * pixel:
        needed = f"{width} pixels of {msg.encoding} need {width * pixel}"
        raise ImageError(f"the row step of {step} bytes is too small: {needed}")
    if data.size != step * height:
        expected = f"step {step} x height {height} = {step * height}"
        raise ImageError(f"the image data has {data.size} bytes where its header says {expected}")
    _check_size(width, height, "raw", max_pixels)
    # Strides rather than reshape: the step need not be a multiple of the sample's size.
    return np.ndarray((height, width, channels), dtype, data, strides=(step, pixel, dtype.itemsize))


def _high_bytes(msg: Any, channels: int, size: int, max_pixels: int) -> UInt8Array:
    """(H, W, channels) uint8 view: the samples of 1 byte, or the high byte of samples of 2."""
    samples = _view(msg, np.dtype(np.uint8), channels * size, max_pixels)
    return samples if size == 1 else samples[..., (0 if msg.is_bigendian else 1) :: 2]


def _bytes(msg: Any) -> UInt8Array:
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
        text = _short(str(error).strip())
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


# --------------------------------------------------------------------------------------- compressed images


def color_from_compressed(msg: Any, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """The colours of a sensor_msgs/CompressedImage, JPEG or PNG, as (H, W, 3) uint8 RGB.

    The data itself tells the codec. 16-bit pictures keep their high byte, alpha is dropped, and Exif
    orientation is ignored: the picture must stay as the camera's calibration knows it.

    Raises:
        ImageError: neither JPEG nor PNG, a depth format, damaged, or more than `max_pixels`.
    """
    encoding = msg.format.partition(";")[0].strip()
    if encoding in ("16UC1", "32FC1"):
        raise ImageError(f"format {_short(msg.format)} is depth, and a colour image is expected here")
    data = _bytes(msg)
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
    0 invalid) and 32FC1 (float32, NaN invalid), and a plain 16-bit PNG, which is what the compressed
    transport makes of a 16UC1 topic.

    Raises:
        ImageError: another format or codec, damaged, or more than `max_pixels`.
    """
    encoding, _, codec = (part.strip() for part in msg.format.partition(";"))
    plain_png = encoding.lower() == "png"
    if encoding not in DEPTH_ENCODINGS and not plain_png:
        supported = ", ".join(DEPTH_ENCODINGS)
        raise ImageError(f"format {_short(msg.format)} is no supported depth format; supported: {supported}")
    data = _bytes(msg)
    if _starts_with(data, _PNG_SIGNATURE):
        if encoding == "32FC1":
            raise ImageError("a 32FC1 depth image needs compressedDepth's header before the PNG, and has none")
        return _decode_depth_png(data, max_pixels)
    if plain_png or data.size <= 12 or (codec and not codec.startswith("compressedDepth")):
        raise _not_a_picture(msg, data, "16-bit PNG, or compressedDepth of PNG or RVL")

    # The header's first field, an enum, is the same for every image.
    _, quant_a, quant_b = struct.unpack("<iff", data[:12].tobytes())
    body = data[12:]
    if codec.split()[1:] == ["rvl"]:
        coded = _decode_rvl(body, max_pixels)
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


def _decode(data: UInt8Array, flags: int, width: int, height: int) -> npt.NDArray[Any]:
    """Decode a picture whose header says width x height, a size already found acceptable."""
    try:
        picture = cv2.imdecode(data, flags)
    except cv2.error as error:
        text = _short(str(error).strip())
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
    _check_size(width, height, "PNG", max_pixels)
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
            _check_size(width, height, "JPEG", max_pixels)
            return width, height
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    raise ImageError(f"a JPEG of {len(data)} bytes has no frame header (SOF) that gives its size")


def _check_size(width: int, height: int, kind: str, max_pixels: int) -> None:
    if width == 0 or height == 0:
        raise ImageError(f"a {kind} picture of {width}x{height} pixels is empty")
    if width * height > max_pixels:
        limit = f"more than the {max_pixels} pixels accepted (max_pixels)"
        raise ImageError(f"a {kind} picture claims {width}x{height} = {width * height} pixels, {limit}")


def _decode_rvl(data: UInt8Array, max_pixels: int) -> npt.NDArray[np.uint16]:
    """(rows, cols) of compressedDepth's RVL: uint32 cols, uint32 rows, then the stream.

    RVL (Wilson, "Fast Lossless Depth Image Compression", 2017) is a row of numbers: how many zeros, how many
    non-zeros, then each non-zero as its zigzag-coded difference from the one before, and so on. A number is
    written as nibbles of three bits, low bits first, with the top bit where more follow, and the nibbles fill
    32-bit words from the top. All numbers are decoded at once; only the walk from run to run is a loop.
    """
    if data.size < 8:
        raise ImageError(f"an RVL image of {data.size} bytes is too short for its size, 8 bytes")
    cols, rows = struct.unpack("<II", data[:8].tobytes())
    _check_size(cols, rows, "RVL", max_pixels)
    pixels = rows * cols
    # Three bytes for each pixel are the most that RVL needs; beyond, the time spent here would have no bound.
    stream = data[8:][: 4 * pixels + 8]
    words = stream[: stream.size // 4 * 4].reshape(-1, 4)[:, ::-1].reshape(-1)
    nibbles = np.empty(2 * words.size, np.uint8)
    np.right_shift(words, 4, out=nibbles[0::2])
    np.bitwise_and(words, 15, out=nibbles[1::2])

    last = np.flatnonzero(nibbles < 8)
    first = np.zeros_like(last)
    first[1:] = last[:-1] + 1
    nibbles &= 7
    numbers = nibbles[first].astype(np.int32)
    longer, shift = np.flatnonzero(last > first), 0
    while longer.size:
        shift += 1
        if shift > 9:
            raise ImageError("an RVL image is damaged: it has a number of more than 30 bits")
        at = first[longer] + shift
        numbers[longer] |= nibbles[at].astype(np.int32) << 3 * shift
        longer = longer[at < last[longer]]

    runs: list[int] = []  # zeros, non-zeros, zeros, non-zeros, ...
    index = pixel = 0
    while pixel < pixels:
        zeros, count = (numbers.item(index), numbers.item(index + 1)) if index + 2 <= numbers.size else (0, 0)
        index += 2 + count
        pixel += zeros + count
        if pixel > pixels or index > numbers.size:
            raise ImageError(f"an RVL image of {cols}x{rows} is damaged or cut off near pixel {pixel}")
        runs += (zeros, count)

    counts = np.array(runs).reshape(-1, 2)
    nonzero = np.repeat(np.tile([False, True], len(counts)), counts.reshape(-1))
    counts[:, 0] = 2  # in the stream, two numbers come before each run of differences
    coded = numbers[:index][np.repeat(np.tile([False, True], len(counts)), counts.reshape(-1))]
    differences = (coded >> 1) ^ -(coded & 1)
    depth = np.zeros(pixels, np.uint16)
    depth[nonzero] = np.cumsum(differences.astype(np.uint16), dtype=np.uint16)  # modulo 2**16, as in C
    return depth.reshape(rows, cols)


def _starts_with(data: UInt8Array, signature: bytes) -> bool:
    return data[: len(signature)].tobytes() == signature


def _not_a_picture(msg: Any, data: UInt8Array, expected: str) -> ImageError:
    start = data[:8].tobytes().hex(" ") or "nothing"
    return ImageError(f"format {_short(msg.format)} with data that begins {start} is not what is read: {expected}")


def _short(text: object) -> str:
    """A text from outside, quoted on one line and cut to a readable length."""
    text = str(text)
    return repr(text if len(text) <= 80 else text[:77] + "...")


# ------------------------------------------------------------------------------------------------- writing

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
        raise ImageError(f"depth cannot be compressed as {_short(encoding)}; supported: {', '.join(DEPTH_ENCODINGS)}")
    a = b = 0.0
    if encoding == "32FC1":
        a, b = _QUANT_A, 1.0 - _QUANT_A / _QUANT_FAR
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            codes = np.rint(np.float32(a) / depth_m + np.float32(b))
        pixels = np.where((codes >= 1) & (codes <= 65535), codes, 0).astype(np.uint16)  # False for NaN
    else:
        pixels = to_millimetres(depth_m)
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
            raise ImageError(f"depth cannot be written as {_short(encoding)}; supported: {supported}")
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
