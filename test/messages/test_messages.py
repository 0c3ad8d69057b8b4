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

"""Image messages to arrays and back, against messages built by hand and pictures coded by OpenCV."""

import array
import builtins
import gc
import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from dkn.errors import ImageError
from dkn_ros.messages import (
    DepthImageWriter,
    color_from_compressed,
    color_from_image,
    compressed_depth,
    depth_from_compressed,
    depth_from_image,
    raw,
)

NAN = float("nan")
RNG = np.random.default_rng(7)


def image(encoding: str, width: int, height: int, data: Any, step: int, bigendian: int = 0) -> Any:
    return SimpleNamespace(encoding=encoding, width=width, height=height, data=data, step=step, is_bigendian=bigendian)


def compressed(format: str, data: Any) -> Any:
    return SimpleNamespace(format=format, data=data)


def picture(extension: str, pixels: np.ndarray) -> bytes:
    done, data = cv2.imencode(extension, pixels)
    assert done
    return data.tobytes()


# --------------------------------------------------------------------------------------------- raw colour

# Two pixels, (R, G, B) = (1, 2, 3) and (4, 5, 6), in every order a camera may choose.
TWO_PIXELS = {
    "rgb8": bytes([1, 2, 3, 4, 5, 6]),
    "bgr8": bytes([3, 2, 1, 6, 5, 4]),
    "8UC3": bytes([3, 2, 1, 6, 5, 4]),
    "rgba8": bytes([1, 2, 3, 255, 4, 5, 6, 254]),
    "bgra8": bytes([3, 2, 1, 255, 6, 5, 4, 254]),
    "8UC4": bytes([3, 2, 1, 255, 6, 5, 4, 254]),
}


@pytest.mark.parametrize("encoding", TWO_PIXELS)
@pytest.mark.parametrize("padding", [0, 1, 7])
def test_color_is_a_view_that_honours_step(encoding: str, padding: int) -> None:
    row = TWO_PIXELS[encoding]
    data = array.array("B", (row + b"\xee" * padding) * 3)
    rgb = color_from_image(image(encoding, 2, 3, data, len(row) + padding))
    assert rgb.dtype == np.uint8
    assert rgb.tolist() == [[[1, 2, 3], [4, 5, 6]]] * 3
    assert np.shares_memory(rgb, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_is_broadcast_without_copy(encoding: str) -> None:
    data = array.array("B", [10, 20, 0xEE, 30, 40, 0xEE])
    rgb = color_from_image(image(encoding, 2, 2, data, 3))
    assert rgb.tolist() == [[[10] * 3, [20] * 3], [[30] * 3, [40] * 3]]
    assert np.shares_memory(rgb, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("bigendian", [0, 1])
def test_16_bit_color_keeps_the_high_byte(bigendian: int) -> None:
    order = ">" if bigendian else "<"
    mono = struct.pack(order + "2H", 0x12FE, 0xABCD)
    rgb = color_from_image(image("mono16", 2, 1, mono, 4, bigendian))
    assert rgb.tolist() == [[[0x12] * 3, [0xAB] * 3]]
    colors = struct.pack(order + "3H", 0x0102, 0x0304, 0x0506)
    assert color_from_image(image("rgb16", 1, 1, colors, 6, bigendian)).tolist() == [[[1, 3, 5]]]
    assert color_from_image(image("bgr16", 1, 1, colors, 6, bigendian)).tolist() == [[[5, 3, 1]]]


CONVERTED = {
    "bayer_rggb8": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg8": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
}


@pytest.mark.parametrize("encoding", CONVERTED)
@pytest.mark.parametrize("padding", [0, 5])
def test_bayer_and_yuv(encoding: str, padding: int) -> None:
    rosbags_image = pytest.importorskip("rosbags.image", reason="rosbags-image is not installed")
    channels = 1 if encoding.startswith("bayer") else 2
    raw = RNG.integers(0, 256, (6, 8, channels), np.uint8)
    tight = image(encoding, 8, 6, raw.reshape(-1), 8 * channels)
    padded = np.pad(raw.reshape(6, -1), ((0, 0), (0, padding)), constant_values=0xEE)
    rgb = color_from_image(image(encoding, 8, 6, padded.tobytes(), 8 * channels + padding))
    assert rgb.shape == (6, 8, 3)
    np.testing.assert_array_equal(rgb, rosbags_image.message_to_cvimage(tight, "rgb8"))
    np.testing.assert_array_equal(rgb, cv2.cvtColor(raw, CONVERTED[encoding]))


def test_bayer_colors_are_where_the_name_says() -> None:
    # A red scene through an RGGB filter: only the pixels with even row and column are lit.
    raw = np.zeros((8, 8), np.uint8)
    raw[0::2, 0::2] = 200
    rgb = color_from_image(image("bayer_rggb8", 8, 8, raw.tobytes(), 8))
    assert rgb[2:6, 2:6].reshape(-1, 3).min(axis=0).tolist() == [200, 0, 0]
    assert rgb[2:6, 2:6].reshape(-1, 3).max(axis=0).tolist() == [200, 0, 0]


@pytest.mark.parametrize("order", ["<", ">"])
def test_bayer_of_16_bits(order: str) -> None:
    raw = RNG.integers(0, 256, (4, 4), np.uint8)
    wide = (raw.astype(np.uint16) * 256 + 99).astype(order + "u2").tobytes()
    rgb = color_from_image(image("bayer_grbg16", 4, 4, wide, 8, order == ">"))
    np.testing.assert_array_equal(rgb, cv2.cvtColor(raw, cv2.COLOR_BayerGB2RGB))


@pytest.fixture
def fresh_converter() -> Iterator[None]:
    raw._converter.cache_clear()
    yield
    raw._converter.cache_clear()


@pytest.mark.usefixtures("fresh_converter")
def test_cv_bridge_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    class CvBridge:
        def imgmsg_to_cv2(self, msg: Any, encoding: str) -> np.ndarray:
            assert (msg.encoding, msg.step, encoding) == ("bayer_rggb8", 4, "rgb8")
            return np.full((msg.height, msg.width, 3), 42, np.uint8)

    monkeypatch.setitem(sys.modules, "cv_bridge", SimpleNamespace(CvBridge=CvBridge))
    assert (color_from_image(image("bayer_rggb8", 4, 4, bytes(16), 4)) == 42).all()


@pytest.mark.usefixtures("fresh_converter")
@pytest.mark.parametrize("error", [ImportError, AttributeError, SystemError])
def test_cv_bridge_built_for_another_numpy_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    pytest.importorskip("rosbags.image", reason="rosbags-image is not installed")

    class CvBridge:
        def imgmsg_to_cv2(self, msg: Any, encoding: str) -> np.ndarray:
            raise error("_ARRAY_API not found")

    monkeypatch.setitem(sys.modules, "cv_bridge", SimpleNamespace(CvBridge=CvBridge))
    assert not color_from_image(image("bayer_rggb8", 4, 4, bytes(16), 4)).any()


@pytest.mark.usefixtures("fresh_converter")
def test_no_converter_names_both_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    monkeypatch.setitem(sys.modules, "rosbags.image", None)
    with pytest.raises(ImageError, match=r"cv_bridge or rosbags-image"):
        color_from_image(image("bayer_rggb8", 4, 4, bytes(16), 4))


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("all_rows", [False, True])
def test_two_planes(encoding: str, padding: int, all_rows: bool) -> None:
    """Y, U and V of BT.601 by hand: a red and a blue block of 2x2, and grey."""
    y = np.array([[76, 76, 29, 29, 128, 128]] * 2)
    u, v = (84, 255, 128), (255, 107, 128)
    pairs = zip(u, v, strict=True) if encoding == "nv12" else zip(v, u, strict=True)
    rows = np.vstack([y, np.array(list(pairs)).reshape(1, 6)]).astype(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=170)
    rgb = color_from_image(image(encoding, 6, 3 if all_rows else 2, rows.tobytes(), rows.shape[1]))
    assert rgb.shape == (2, 6, 3)
    # OpenCV takes Y as of 16 to 235: a full-range 128 is a little lighter.
    assert (rgb[:, :2].argmax(-1) == 0).all() and (rgb[:, 2:4].argmax(-1) == 2).all()
    assert np.ptp(rgb[:, 4:], axis=-1).max() <= 1 and abs(int(rgb[0, 4, 0]) - 130) < 3


@pytest.mark.parametrize("change", [{"width": 5}, {"height": 1}, {"data": bytes(17)}, {"step": 5}, {"width": 0}])
def test_planes_that_do_not_fit(change: dict[str, Any]) -> None:
    fields = {"encoding": "nv12", "width": 6, "height": 2, "data": bytes(18), "step": 6} | change
    with pytest.raises(ImageError):
        color_from_image(image(**fields))


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1", "nv24", "", "rgb8\n", "RGB8", "x" * 500])
def test_no_color_encoding(encoding: str) -> None:
    with pytest.raises(ImageError, match="supported: rgb8, ") as caught:
        color_from_image(image(encoding, 1, 1, bytes(4), 4))
    assert "\n" not in str(caught.value) and "x" * 100 not in str(caught.value)


# ---------------------------------------------------------------------------------------------- raw depth


@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
@pytest.mark.parametrize("bigendian", [0, 1])
@pytest.mark.parametrize("padding", [0, 2, 3])
def test_depth_in_millimetres(encoding: str, bigendian: int, padding: int) -> None:
    order = ">" if bigendian else "<"
    rows = [[0, 1, 1234], [65535, 256, 258]]
    data = array.array("B", b"".join(struct.pack(order + "3H", *row) + b"\xee" * padding for row in rows))
    depth = depth_from_image(image(encoding, 3, 2, data, 6 + padding, bigendian))
    assert depth.dtype == np.dtype(order + "u2") and depth.tolist() == rows
    assert np.shares_memory(depth, np.frombuffer(data, np.uint8))
    assert depth.flags.c_contiguous == (padding == 0)


@pytest.mark.parametrize("bigendian", [0, 1])
@pytest.mark.parametrize("padding", [0, 4])
def test_depth_in_metres(bigendian: int, padding: int) -> None:
    order = ">" if bigendian else "<"
    rows = [[0.5, NAN], [1.25, 1e-3]]
    data = b"".join(struct.pack(order + "2f", *row) + bytes(padding) for row in rows)
    depth = depth_from_image(image("32FC1", 2, 2, data, 8 + padding, bigendian))
    assert depth.dtype == np.dtype(order + "f4")
    np.testing.assert_array_equal(depth, np.array(rows, np.float32))
    assert np.shares_memory(depth, np.frombuffer(data, np.uint8))


def test_view_outlives_the_message() -> None:
    msg = image("16UC1", 2, 1, array.array("B", [1, 0, 2, 0]), 4)
    depth = depth_from_image(msg)
    msg.data = array.array("B", [9] * 4)  # the next frame
    del msg
    gc.collect()
    assert depth.tolist() == [[1, 2]]


@pytest.mark.parametrize("encoding", ["rgb8", "mono8", "64FC1", "16SC1", "16UC1 ", ""])
def test_no_depth_encoding(encoding: str) -> None:
    with pytest.raises(ImageError, match="supported: 16UC1, mono16, 32FC1"):
        depth_from_image(image(encoding, 1, 1, bytes(8), 8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0}, "640x0.*must be positive"),
        ({"width": 0}, "0x480.*must be positive"),
        ({"step": 1278}, "step of 1278 bytes is too small: 640 pixels of 16UC1 need 1280"),
        ({"width": 641}, "step of 1280 bytes is too small: 641 pixels of 16UC1 need 1282"),
        ({"height": 481}, "614400 bytes where its header says step 1280 x height 481 = 615680"),
        ({"height": 2**32 - 1, "width": 2**32 - 1, "step": 2**32 - 1}, "too small"),
        ({"data": bytes(614399)}, "614399 bytes where"),
        ({"data": bytes(614401)}, "614401 bytes where"),
        ({"data": b""}, "0 bytes where"),
        ({"data": [0] * 614400}, "a list, is no buffer"),
        ({"data": None}, "a NoneType, is no buffer"),
        ({"data": np.zeros((640, 960), np.uint8)[:, ::2]}, "is no buffer"),
    ],
)
def test_lying_header(change: dict[str, Any], message: str) -> None:
    msg = image("16UC1", 640, 480, bytes(614400), 1280)
    vars(msg).update(change)
    with pytest.raises(ImageError, match=message) as caught:
        depth_from_image(msg)
    assert "\n" not in str(caught.value)


def test_real_messages() -> None:
    sensor_msgs = pytest.importorskip("sensor_msgs.msg", reason="ROS messages are not installed")
    msg = sensor_msgs.Image(height=1, width=2, encoding="bgr8", step=6, data=array.array("B", [3, 2, 1, 6, 5, 4]))
    assert color_from_image(msg).tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert np.shares_memory(color_from_image(msg), np.frombuffer(msg.data, np.uint8))
    msg = sensor_msgs.Image(height=1, width=1, encoding="16UC1", step=2, data=array.array("B", [210, 4]))
    assert depth_from_image(msg).tolist() == [[1234]]
    msg = sensor_msgs.CompressedImage(format="png")
    msg.data = array.array("B", picture(".png", np.array([[[3, 2, 1]]], np.uint8)))
    assert color_from_compressed(msg).tolist() == [[[1, 2, 3]]]


def test_rosbags_messages() -> None:
    typesys = pytest.importorskip("rosbags.typesys", reason="rosbags is not installed")
    types = typesys.get_typestore(typesys.Stores.LATEST).types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](0, 0), "cam")
    data = np.array([210, 4, 0, 0], np.uint8)
    msg = types["sensor_msgs/msg/Image"](header, 1, 2, "16UC1", 0, 4, data)
    assert depth_from_image(msg).tolist() == [[1234, 0]]
    assert np.shares_memory(depth_from_image(msg), data)


# -------------------------------------------------------------------------------------- compressed colour


@pytest.mark.parametrize("format", ["jpeg", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8"])
def test_jpeg(format: str) -> None:
    bgr = np.full((24, 40, 3), (20, 60, 200), np.uint8)
    rgb = color_from_compressed(compressed(format, array.array("B", picture(".jpg", bgr))))
    assert rgb.shape == (24, 40, 3) and rgb.dtype == np.uint8
    assert np.abs(rgb.astype(int) - (200, 60, 20)).max() <= 3


def test_grey_jpeg() -> None:
    data = picture(".jpg", np.full((8, 16), 77, np.uint8))
    rgb = color_from_compressed(compressed("mono8; jpeg compressed ", data))
    assert rgb.shape == (8, 16, 3) and np.abs(rgb.astype(int) - 77).max() <= 1


def test_png() -> None:
    bgr = RNG.integers(0, 256, (5, 7, 3), np.uint8)
    rgb = color_from_compressed(compressed("bgr8; png compressed bgr8", picture(".png", bgr)))
    np.testing.assert_array_equal(rgb, bgr[..., ::-1])
    bgra = np.dstack([bgr, RNG.integers(0, 256, (5, 7), np.uint8)])
    rgb = color_from_compressed(compressed("bgra8; png compressed bgra8", picture(".png", bgra)))
    np.testing.assert_array_equal(rgb, bgr[..., ::-1])


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7)])
def test_png_of_16_bits_becomes_8(shape: tuple[int, ...]) -> None:
    wide = RNG.integers(0, 65536, shape, np.uint16)
    rgb = color_from_compressed(compressed("png", picture(".png", wide)))
    expected = wide[..., ::-1] if wide.ndim == 3 else np.dstack([wide] * 3)
    assert rgb.dtype == np.uint8
    assert np.abs(rgb - expected / 257.0).max() <= 1


def test_exif_orientation_is_ignored() -> None:
    # One Exif entry: tag 0x0112 (orientation), type SHORT, count 1, value 6 (rotate by 90 degrees).
    exif = b"Exif\0\0" + b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    jpeg = picture(".jpg", np.zeros((16, 48, 3), np.uint8))
    rotated = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    turned = cv2.imdecode(np.frombuffer(rotated, np.uint8), cv2.IMREAD_COLOR)
    assert turned is not None and turned.shape == (48, 16, 3)
    assert color_from_compressed(compressed("jpeg", rotated)).shape == (16, 48, 3)


@pytest.mark.parametrize(
    ("format", "data", "message"),
    [
        ("jpeg", b"", "begins nothing.*JPEG or PNG"),
        ("jpeg", b"GIF89a", "begins 47 49 46"),
        ("jpeg", b"\xff\xd8\xff", "no frame header"),
        ("jpeg", b"\xff\xd8\xff\xe0" + bytes(400), "no frame header"),
        ("png", b"\x89PNG\r\n\x1a\n", "IHDR"),
        ("16UC1; png compressed ", picture(".png", np.ones((2, 2), np.uint16)), "is depth"),
        ("32FC1; compressedDepth png", b"", "is depth"),
        ("h264\nx" * 100, b"\0\0\0\1", "not what is read: JPEG or PNG"),
    ],
)
def test_no_color_picture(format: str, data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        color_from_compressed(compressed(format, data))
    assert "\n" not in str(caught.value)


def test_damaged_png() -> None:
    data = picture(".png", RNG.integers(0, 256, (32, 32, 3), np.uint8))
    with pytest.raises(ImageError, match="32x32 is damaged"):
        color_from_compressed(compressed("png", data[:100]))


def test_jpeg_size_is_not_taken_from_another_segment() -> None:
    # Huffman tables (marker C4, among the markers of frame headers) and a comment that looks like a header.
    jpeg = picture(".jpg", np.zeros((16, 24, 3), np.uint8))
    at = jpeg.index(b"\xff\xc4")
    tables = jpeg[at : at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")]
    comment = b"\xff\xc0\x00\x11\x08\xff\xff\xff\xff"
    comment = b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment
    for first in (tables, comment, b"\xff\xff\xff"):
        data = jpeg[:2] + first + jpeg[2:]
        assert color_from_compressed(compressed("jpeg", data)).shape == (16, 24, 3)


def test_error_in_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise cv2.error("OpenCV(4.6.0) loadsave.cpp:74: error:\n> (expected: 'width <= 1 << 20')")

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(ImageError, match=r"2x2 could not be decoded.*loadsave") as caught:
        color_from_compressed(compressed("png", png_of_claimed_size(2, 2)))
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------- compressed depth

HEADER = struct.pack("<iff", 0, 0.0, 0.0)
DEPTH = np.array([[0, 1, 1234], [65535, 256, 4000]], np.uint16)


@pytest.mark.parametrize(
    ("format", "header"),
    [
        ("16UC1; compressedDepth png", HEADER),
        ("16UC1; compressedDepth", HEADER),
        ("16UC1", HEADER),
        ("mono16; compressedDepth png", b"\x01" + bytes(3) + b"\xff" * 8),  # the parameters are not used
        ("16UC1; png compressed ", b""),
        ("mono16; png compressed ", b""),
        ("png", b""),
    ],
)
def test_depth_png(format: str, header: bytes) -> None:
    depth = depth_from_compressed(compressed(format, array.array("B", header + picture(".png", DEPTH))))
    assert depth.dtype == np.uint16 and depth.tolist() == DEPTH.tolist()


@pytest.mark.parametrize("format", ["32FC1; tiff compressed ", "tiff"])
def test_depth_tiff(format: str) -> None:
    """What the compressed transport makes of a 32FC1 topic when its format is tiff; written here by Pillow."""
    metres = np.float32([[0.5, np.nan, 3.25], [65.1, 1e-3, 0.0]])
    np.testing.assert_array_equal(depth_from_compressed(compressed(format, tiff(metres))), metres)
    counts = np.uint16([[1, 500], [65535, 0]])
    np.testing.assert_array_equal(depth_from_compressed(compressed("16UC1; tiff compressed", tiff(counts))), counts)
    grey = np.uint8([[1, 2], [3, 4]])
    with pytest.raises(ImageError, match="16-bit integers or floats"):
        depth_from_compressed(compressed(format, tiff(grey)))
    with pytest.raises(ImageError, match="more than the 5 pixels"):
        depth_from_compressed(compressed(format, tiff(metres)), 5)


def test_damaged_tiff() -> None:
    """Wherever it is cut or changed: its depth, or an error of ours."""
    good = tiff(np.ones((4, 5), np.float32))
    for at in range(4, len(good)):
        for data in (good[:at], good[:at] + bytes([good[at] ^ 255]) + good[at + 1 :]):
            with suppress(ImageError):
                assert depth_from_compressed(compressed("32FC1; tiff compressed", data)).ndim == 2


def tiff(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "TIFF")
    return file.getvalue()


def test_quantized_depth() -> None:
    # A = 100 * 101 and B = 1 - A / 10 are the transport's defaults; A / (x - B) by hand for three x.
    header = struct.pack("<iff", 0, 10100.0, -1009.0)
    coded = np.array([[0, 1, 4041, 65535]], np.uint16)
    metres = depth_from_compressed(compressed("32FC1; compressedDepth png", header + picture(".png", coded)))
    assert metres.dtype == np.float32
    expected = [[NAN, 10.0, 2.0, 10100 / 66544]]
    np.testing.assert_allclose(metres, expected, rtol=1e-6)
    metres = depth_from_compressed(compressed("32FC1; compressedDepth rvl", header + rvl(coded)))
    np.testing.assert_allclose(metres, expected, rtol=1e-6)


@pytest.mark.parametrize("quant", [(0, 0), (-1, 0), (NAN, 0), (1, NAN), (float("inf"), 0), (1, 1), (1, 2)])
def test_impossible_quantization(quant: tuple[float, float]) -> None:
    data = struct.pack("<iff", 0, *quant) + picture(".png", DEPTH)
    with pytest.raises(ImageError, match="quantization"):
        depth_from_compressed(compressed("32FC1; compressedDepth png", data))


def rvl(depth: np.ndarray) -> bytes:
    """RVL written from the paper, one nibble at a time."""
    nibbles: list[int] = []

    def put(value: int) -> None:
        while value > 7:
            nibbles.append(value % 8 + 8)
            value //= 8
        nibbles.append(value)

    pixels = depth.reshape(-1).tolist()
    previous = at = 0
    while at < len(pixels):
        start = at
        while at < len(pixels) and pixels[at] == 0:
            at += 1
        put(at - start)
        start = at
        while at < len(pixels) and pixels[at] != 0:
            at += 1
        put(at - start)
        for value in pixels[start:at]:
            delta = value - previous
            put(2 * delta if delta >= 0 else -2 * delta - 1)
            previous = value
    nibbles += [0] * (-len(nibbles) % 8)
    words = [int("".join(f"{n:x}" for n in nibbles[i : i + 8]), 16) for i in range(0, len(nibbles), 8)]
    return struct.pack(f"<II{len(words)}I", depth.shape[1], depth.shape[0], *words)


def test_rvl_worked_by_hand() -> None:
    # 0 0 5 4 0 0: two zeros, two values, +5 as 10 (nibbles A 1), -1 as 1, two zeros, no values.
    data = HEADER + struct.pack("<II", 3, 2) + bytes([0x00, 0x12, 0xA1, 0x22])
    assert depth_from_compressed(compressed("16UC1; compressedDepth rvl", data)).tolist() == [
        [0, 0, 5],
        [4, 0, 0],
    ]


@pytest.mark.parametrize("holes", [0.0, 0.3, 0.9, 1.0])
def test_rvl(holes: float) -> None:
    depth = RNG.integers(1, 65536, (37, 53), np.uint16)
    depth[:12] = 1000 + np.arange(53)
    depth[RNG.random(depth.shape) < holes] = 0
    decoded = depth_from_compressed(compressed("16UC1; compressedDepth rvl", HEADER + rvl(depth)))
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, depth)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"1234567", "too short"),
        (struct.pack("<II", 4, 0), "4x0 pixels is empty"),
        (struct.pack("<II", 4, 4), "damaged or cut off"),
        (struct.pack("<II", 4, 4) + bytes(4), "damaged or cut off"),  # runs of no length
        (rvl(np.full((4, 4), 900, np.uint16))[:-4], "damaged or cut off"),
        (struct.pack("<II", 4, 4) + b"\xff" * 20, "damaged or cut off"),  # numbers without end
        (struct.pack("<II", 4, 4) + b"\xff" * 8 + bytes(8), "more than 30 bits"),
        (struct.pack("<III", 4, 4, 0x09200000), "damaged or cut off"),  # 17 values in 16 pixels
        (struct.pack("<II", 2**32 - 1, 2**32 - 1), "more than the 16777216 pixels"),
    ],
)
def test_damaged_rvl(body: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        depth_from_compressed(compressed("16UC1; compressedDepth rvl", HEADER + body))


@pytest.mark.parametrize(
    ("format", "data", "message"),
    [
        ("rgb8; png compressed bgr8", picture(".png", DEPTH), "supported: 16UC1, mono16, 32FC1"),
        ("", b"", "supported: 16UC1"),
        ("16UC1; compressedDepth png", b"", "begins nothing"),
        ("16UC1; compressedDepth png", HEADER + rvl(DEPTH), "PNG after compressedDepth's header"),
        ("16UC1; compressedDepth png", HEADER + picture(".png", DEPTH)[:30], "IHDR"),
        ("16UC1; png compressed ", picture(".png", np.ones((2, 2), np.uint8)), "16-bit grey.*8 bits"),
        ("16UC1; png compressed ", picture(".png", np.ones((2, 2, 3), np.uint16)), "16-bit grey.*type 2"),
        ("16UC1; jpeg compressed ", picture(".jpg", np.ones((8, 8), np.uint8)), "16-bit PNG"),
        ("32FC1; png compressed ", picture(".png", DEPTH), "needs compressedDepth's header"),
        ("png", HEADER + picture(".png", DEPTH), "16-bit PNG"),
    ],
)
def test_no_depth_picture(format: str, data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        depth_from_compressed(compressed(format, data))


def png_of_claimed_size(width: int, height: int, bits: int = 16, color_type: int = 0) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def jpeg_of_claimed_size(width: int, height: int, progressive: bool = False) -> bytes:
    jpeg = bytearray(picture(".jpg", np.zeros((8, 8, 3), np.uint8)))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 1] = 0xC2 if progressive else 0xC0
    jpeg[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(jpeg)


@pytest.mark.parametrize("size", [(20000, 20000), (2**31 - 1, 2**31 - 1), (1, 64 * 1024 * 1024 + 1)])
def test_decompression_bombs_are_not_decoded(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("a bomb was decoded"))
    limit = f"{size[0]}x{size[1]} = {size[0] * size[1]} pixels, more than the 16777216"
    bomb = png_of_claimed_size(*size)
    with pytest.raises(ImageError, match=limit):
        color_from_compressed(compressed("png", bomb))
    with pytest.raises(ImageError, match=limit):
        depth_from_compressed(compressed("16UC1; compressedDepth png", HEADER + bomb))
    with pytest.raises(ImageError, match=limit):
        depth_from_compressed(compressed("16UC1; compressedDepth rvl", HEADER + struct.pack("<II", *size)))
    with pytest.raises(ImageError, match="empty"):
        color_from_compressed(compressed("png", png_of_claimed_size(0, 5)))


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_bombs_are_not_decoded(progressive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("a bomb was decoded"))
    with pytest.raises(ImageError, match="60000x50000"):
        color_from_compressed(compressed("jpeg", jpeg_of_claimed_size(60000, 50000, progressive)))
    with pytest.raises(ImageError, match="empty"):
        color_from_compressed(compressed("jpeg", jpeg_of_claimed_size(8, 0)))


@pytest.mark.parametrize("read", [color_from_image, depth_from_image])
def test_raw_images_have_a_bound_too(read: Any) -> None:
    encoding, size = ("rgb8", 3) if read is color_from_image else ("16UC1", 2)
    msg = image(encoding, 12, 10, bytes(10 * 12 * size), 12 * size)
    assert read(msg, max_pixels=120).shape[:2] == (10, 12)
    with pytest.raises(ImageError, match=r"12x10 = 120 pixels, more than the 119 pixels accepted \(max_pixels\)"):
        read(msg, max_pixels=119)


def test_compressed_images_obey_the_bound_that_is_given() -> None:
    with pytest.raises(ImageError, match="more than the 119"):
        color_from_compressed(compressed("png", picture(".png", np.zeros((10, 12, 3), np.uint8))), max_pixels=119)
    with pytest.raises(ImageError, match="more than the 119"):
        depth_from_compressed(compressed("png", picture(".png", np.zeros((10, 12), np.uint16))), max_pixels=119)


def test_a_bomb_takes_no_memory() -> None:
    """Measured in a process of its own: 16-bit grey, 134 MB as pixels, 130 kB as a PNG."""
    code = """
import resource, sys, zlib, struct
from types import SimpleNamespace
import cv2, numpy
from dkn.errors import ImageError
from dkn_ros.messages import depth_from_compressed

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

side = 8192
packer, row = zlib.compressobj(9), bytes(1 + 2 * side)
body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
header = struct.pack(">IIBBBBB", side, side, 16, 0, 0, 0, 0)
png = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    depth_from_compressed(SimpleNamespace(format="16UC1; compressedDepth png", data=bytes(12) + png))
except ImageError as error:
    print(len(png), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    size, grown_kb = (int(word) for word in done.stdout.split()[:2])
    assert size < 200_000
    assert grown_kb < 20_000
    assert "8192x8192" in done.stdout


# -------------------------------------------------------------------------------------------------- fuzz

ENCODINGS = [
    *[
        "rgb8",
        "bgr8",
        "rgba8",
        "bgra8",
        "mono8",
        "mono16",
        "16UC1",
        "32FC1",
        "8UC3",
        "8UC1",
        "rgb16",
        "bgra16",
    ],
    *["bayer_rggb8", "bayer_grbg16", "uyvy", "yuv422", "yuv422_yuy2", "nv12", "64FC1", ""],
]
FORMATS = [
    *[
        "jpeg",
        "png",
        "rgb8; jpeg compressed bgr8",
        "mono8; png compressed ",
        "16UC1; png compressed ",
        "16UC1",
    ],
    *["16UC1; compressedDepth png", "16UC1; compressedDepth rvl", "16UC1; compressedDepth", "mono16"],
    *["32FC1; compressedDepth png", "32FC1; compressedDepth rvl", "32FC1", ";", ""],
]
COLOR = RNG.integers(0, 256, (6, 5, 3), np.uint8)
QUANT = struct.pack("<iff", 0, 10100.0, -1009.0)
PAYLOADS = [
    picture(".jpg", COLOR),
    picture(".png", COLOR),
    *(head + picture(".png", DEPTH) for head in (b"", QUANT)),
    *(QUANT + rvl(depth) for depth in (DEPTH, RNG.integers(0, 9, (6, 9), np.uint16))),
]

uint32 = st.one_of(st.integers(0, 9), st.integers(0, 2**32 - 1), st.sampled_from([2**16, 2**31, 2**32 - 1]))


def read_all(msg: Any, *readers: Any) -> None:
    for reader in readers:
        try:
            result = reader(msg)
        except ImageError as error:
            assert "\n" not in str(error)
        else:
            assert result.ndim in (2, 3)
            result.tobytes()  # every pixel can be read


@settings(max_examples=400, deadline=None)
@given(
    encoding=st.one_of(st.sampled_from(ENCODINGS), st.text(max_size=12)),
    width=uint32,
    height=uint32,
    step=uint32,
    bigendian=st.integers(0, 255),
    data=st.binary(max_size=200),
)
def test_fuzz_image(encoding: str, width: int, height: int, step: int, bigendian: int, data: bytes) -> None:
    read_all(image(encoding, width, height, data, step, bigendian), color_from_image, depth_from_image)


@settings(max_examples=400, deadline=None)
@given(
    encoding=st.sampled_from(ENCODINGS),
    width=st.integers(1, 9),
    height=st.integers(1, 9),
    step=st.integers(1, 80),
    bigendian=st.integers(0, 1),
    change=st.sampled_from([0, 0, 0, -1, 1]),
)
def test_fuzz_nearly_true_image(encoding: str, width: int, height: int, step: int, bigendian: int, change: int) -> None:
    data = array.array("B", bytes(range(256)) * 3)[: max(0, step * height + change)]
    read_all(image(encoding, width, height, data, step, bigendian), color_from_image, depth_from_image)


@settings(max_examples=300, deadline=None)
@given(
    format=st.one_of(st.sampled_from(FORMATS), st.text(max_size=30)),
    start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", HEADER, HEADER + b"\x89PNG\r\n\x1a\n"]),
    data=st.binary(max_size=200),
)
def test_fuzz_compressed(format: str, start: bytes, data: bytes) -> None:
    read_all(compressed(format, start + data), color_from_compressed, depth_from_compressed)


@settings(max_examples=600, deadline=None)
@given(
    format=st.sampled_from(FORMATS),
    payload=st.sampled_from(PAYLOADS),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4),
    cut=st.one_of(st.just(0), st.integers(0, 2000)),
)
def test_fuzz_mutated_picture(format: str, payload: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(payload)
    for at, value in changes:
        data[at % len(data)] = value
    data = data[: len(data) - cut % len(data)]
    read_all(compressed(format, bytes(data)), color_from_compressed, depth_from_compressed)


@settings(max_examples=200, deadline=None)
@given(cols=st.integers(1, 12), rows=st.integers(1, 12), stream=st.binary(max_size=120))
def test_fuzz_rvl(cols: int, rows: int, stream: bytes) -> None:
    data = QUANT + struct.pack("<II", cols, rows) + stream
    for encoding in ("16UC1", "32FC1"):
        read_all(compressed(f"{encoding}; compressedDepth rvl", data), depth_from_compressed)


# ------------------------------------------------------------------------------------------------- writer


@pytest.fixture
def stamp() -> Any:
    pytest.importorskip("sensor_msgs.msg", reason="ROS messages are not installed")
    time = pytest.importorskip("builtin_interfaces.msg", reason="ROS messages are not installed").Time
    return time(sec=12, nanosec=34)


@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_write_millimetres(stamp: Any, encoding: str) -> None:
    metres = [[0.001, 1.2344, 1.2346, 65.535], [NAN, 65.5354, 65.5356, 65.536], [0, 0.0004, 0.0006, 1e30]]
    metres += [[-1.0, float("inf"), -float("inf"), 131.072]]
    msg = DepthImageWriter().write(np.array(metres, np.float32), encoding, "camera", stamp)
    assert (msg.height, msg.width, msg.step) == (4, 4, 8)
    assert (msg.encoding, msg.is_bigendian) == (encoding, 0)
    assert msg.header.frame_id == "camera" and msg.header.stamp == stamp
    assert isinstance(msg.data, array.array) and msg.data.typecode == "B"
    expected = [1, 1234, 1235, 65535, 0, 65535, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert list(struct.unpack("<16H", bytes(msg.data))) == expected


def test_write_every_millimetre(stamp: Any) -> None:
    millimetres = np.arange(65536).reshape(256, 256)
    msg = DepthImageWriter().write((millimetres / 1000).astype(np.float32), "16UC1", "", stamp)
    assert struct.unpack("<65536H", bytes(msg.data)) == tuple(range(65536))


def test_write_metres(stamp: Any) -> None:
    metres = np.array([[0.5, NAN, 70.0]], np.float32)
    msg = DepthImageWriter().write(metres, "32FC1", "camera", stamp)
    assert (msg.height, msg.width, msg.step, msg.is_bigendian) == (1, 3, 12, 0)
    np.testing.assert_array_equal(struct.unpack("<3f", bytes(msg.data)), metres[0])


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_buffer_is_used_again(stamp: Any, encoding: str) -> None:
    writer = DepthImageWriter()
    first = writer.write(np.ones((3, 4), np.float32), encoding, "a", stamp)
    address = first.data.buffer_info()
    later = type(stamp)(sec=99)
    second = writer.write(np.full((3, 4), 2, np.float32), encoding, "b", later)
    assert second is first and second.data.buffer_info() == address
    assert second.header.frame_id == "b" and second.header.stamp == later
    assert float(depth_from_image(second)[2, 3]) == (2.0 if encoding == "32FC1" else 2000)


def test_size_and_encoding_change(stamp: Any) -> None:
    writer = DepthImageWriter()
    first = writer.write(np.ones((3, 4), np.float32), "16UC1", "", stamp)
    wider = writer.write(np.full((3, 5), 2, np.float32), "16UC1", "", stamp)
    assert (wider.width, wider.step, len(wider.data)) == (5, 10, 30)
    metres = writer.write(np.full((3, 5), 3, np.float32), "32FC1", "", stamp)
    assert (metres.encoding, metres.step, len(metres.data)) == ("32FC1", 20, 60)
    assert depth_from_image(first).tolist() == [[1000] * 4] * 3
    assert depth_from_image(wider).tolist() == [[2000] * 5] * 3
    assert depth_from_image(metres).tolist() == [[3.0] * 5] * 3


def test_only_arrays_are_assigned_to_data(stamp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assigned = []

    class Image:
        header = SimpleNamespace()

        def __setattr__(self, name: str, value: Any) -> None:
            assigned.append(type(value)) if name == "data" else None
            # Some distributions keep the array, others copy it.
            object.__setattr__(self, name, array.array("B", value) if name == "data" else value)

    monkeypatch.setattr("sensor_msgs.msg.Image", Image)
    writer = DepthImageWriter()
    for depth in (1.0, 2.0):
        msg = writer.write(np.full((1, 1), depth, np.float32), "16UC1", "", stamp)
        assert bytes(msg.data) == struct.pack("<H", round(depth * 1000))
    assert assigned == [array.array]


@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_compressed_depth_in_millimetres_is_exact(encoding: str) -> None:
    codes = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    metres = np.where(codes == 0, np.nan, codes / 1000).astype(np.float32)
    form, data = compressed_depth(metres, encoding)
    assert form == f"{encoding}; compressedDepth png"
    # As the transport's own decoder reads it: 12 bytes that do not matter, then a PNG.
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(data, np.uint8)[12:], cv2.IMREAD_UNCHANGED), codes)


def test_compressed_depth_in_metres_is_as_exact_as_its_codes() -> None:
    metres = np.geomspace(0.16, 65, 5000, dtype=np.float32).reshape(50, 100)
    form, data = compressed_depth(metres, "32FC1")
    assert form == "32FC1; compressedDepth png"
    _, a, b = struct.unpack("<iff", data[:12])
    codes = cv2.imdecode(np.frombuffer(data, np.uint8)[12:], cv2.IMREAD_UNCHANGED).astype(np.float64)
    read = a / (codes - b)  # the formula of the transport
    assert (np.abs(read - metres) <= 0.51 * metres.astype(np.float64) ** 2 / a * 1.1 + 1e-4).all()


def test_compressed_depth_without_a_code_is_invalid() -> None:
    metres = np.array([[np.nan, 0.0, -1.0, np.inf, 0.1, 70.0, 2.0]], np.float32)
    for encoding in ("16UC1", "32FC1"):
        form, data = compressed_depth(metres, encoding)
        back = depth_from_compressed(compressed(form, data.tobytes()))
        valid = back > 0 if encoding == "16UC1" else np.isfinite(back)
        near = encoding == "16UC1"  # 0.1 m has a number in millimetres only
        assert valid.tolist() == [[False, False, False, False, near, False, True]]
    with pytest.raises(ImageError, match="rgb8"):
        compressed_depth(metres, "rgb8")


def test_input_is_left_alone_and_may_be_a_view(stamp: Any) -> None:
    metres = np.array([[1.0, NAN, 2.0, -5.0]] * 2)[:, ::2]  # float64, not contiguous
    before = metres.copy()
    msg = DepthImageWriter().write(metres, "16UC1", "", stamp)
    assert depth_from_image(msg).tolist() == [[1000, 2000]] * 2
    np.testing.assert_array_equal(metres, before)


@pytest.mark.parametrize(
    ("depth", "encoding"),
    [
        (np.ones((2, 2), np.float32), "rgb8"),
        (np.ones((2, 2), np.float32), ""),
        (np.ones((2, 2), np.uint16), "16UC1"),
        (np.ones((2, 2, 1), np.float32), "16UC1"),
        (np.ones((0, 2), np.float32), "16UC1"),
    ],
)
def test_what_cannot_be_written(depth: np.ndarray, encoding: str) -> None:
    with pytest.raises(ImageError):
        DepthImageWriter().write(depth, encoding, "", None)


def test_readers_need_no_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def no_ros(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] in ("rclpy", "sensor_msgs"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_ros)
    assert depth_from_image(image("16UC1", 1, 1, b"\x01\x00", 2)).tolist() == [[1]]
