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

"""Pictures and maps in files: reading and writing, in one place."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dkn.errors import DataError

COLOR_TYPES = (".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".bmp", ".tif", ".tiff")
DEPTH_TYPES = (".png", ".pgm", ".pfm", ".tif", ".tiff", ".npy")


def read_color(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB. EXIF's orientation is ignored, as depth has none. Of 16 bits a channel, as many as the
    brightest pixel needs are taken for the camera's: cameras of 10 or 12 bits store them in 16.

    Raises:
        DataError: missing or not an image.
    """
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    image = _read_image(path, flags)[..., ::-1]
    if image.dtype == np.uint16:
        bits = max(8, int(image.max()).bit_length())
        return (image >> (bits - 8)).astype(np.uint8)
    if image.dtype != np.uint8:
        raise DataError(f"{path}: {image.dtype}; colour is 8 or 16 bits a channel")
    return image


def read_map(path: Path) -> np.ndarray:
    """A map of one number a pixel as it is stored: (H, W) of any type, from an image file or .npy.

    Raises:
        DataError: missing, damaged, or of another shape.
    """
    values = read_stored(path)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "uif":
        raise DataError(f"{path}: {values.shape} {values.dtype}; expected one number a pixel, (H, W)")
    return values


def read_stored(path: Path) -> np.ndarray:
    """An array as it is stored in an image file (colours in OpenCV's order) or .npy.

    Raises:
        DataError: missing or damaged.
    """
    if path.suffix.lower() == ".pfm":
        return _read_pfm(path)
    if path.suffix.lower() != ".npy":
        return _read_image(path, cv2.IMREAD_UNCHANGED)
    try:
        return np.asarray(np.load(path))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a readable array ({error})") from None


def read_levels(path: Path) -> np.ndarray:
    """(H, W) uint8: grey levels 0 to 255.

    Raises:
        DataError: missing, damaged, or of another type.
    """
    levels = read_map(path)
    if levels.dtype != np.uint8:
        raise DataError(f"{path}: {levels.dtype}; expected an image of 8 bits a pixel")
    return levels


def _read_pfm(path: Path) -> np.ndarray:
    """(H, W) float32 of a portable float map: three lines (Pf, width and height, a factor whose sign is the order of
    bytes), then rows from the bottom up. The factor's size says what light a value of 1 stands for, and changes
    no value, though OpenCV multiplies by it."""
    try:
        kind, size, factor, data = path.read_bytes().split(b"\n", 3)
        width, height = (int(number) for number in size.split())
        values = np.frombuffer(data, "<f4" if float(factor) < 0 else ">f4", width * height)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: " + ("not a readable PFM" if path.is_file() else "no such file") + f" ({error})"
        ) from None
    if kind.strip() != b"Pf" or min(width, height) < 1:
        raise DataError(f"{path}: not a PFM of one number a pixel (Pf)")
    return values.reshape(height, width)[::-1].astype(np.float32)


def _read_image(path: Path, flags: int) -> np.ndarray:
    image = cv2.imread(str(path), flags) if path.is_file() else None
    if image is None:
        raise DataError(f"{path}: " + ("not a readable image" if path.is_file() else "no such file"))
    return image


def write_image(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB or (H, W) uint8 or uint16 as PNG, making the folder.

    Raises:
        DataError: another kind of file, or one that cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() != ".png":
        raise DataError(f"{path}: pictures are written as .png")
    if not cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image):
        raise DataError(f"{path}: cannot be written")


_ORDERS = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}  # and back again


def read_picture(path: Path) -> np.ndarray:
    """(H, W) or (H, W, C) as it is stored, colours as RGB or RGBA: an image file, or .npy of any number of channels.

    Raises:
        DataError: missing, damaged, or of another shape.
    """
    picture = read_stored(path)
    if picture.ndim == 3 and path.suffix.lower() != ".npy":
        picture = cv2.cvtColor(picture, _ORDERS[picture.shape[2]])
    if picture.ndim not in (2, 3):
        raise DataError(f"{path}: {picture.shape}; expected (H, W) or (H, W, C)")
    return picture


def check_writable(path: Path, picture: np.ndarray) -> None:
    """Say at once, not after minutes of work, that `picture` has no place in a file of this kind.

    Raises:
        DataError: neither .npy nor .png, or a .png of floats or of a number of channels it cannot hold.
    """
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    png = path.suffix.lower() == ".png" and picture.dtype.kind == "u" and channels in (1, 3, 4)
    if not png and path.suffix.lower() != ".npy":
        raise DataError(
            f"{path}: {channels} channels of {picture.dtype} go into .npy; into .png only 1, 3 or 4 of 8 or 16 bits"
        )


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write what `read_picture` reads, making the folder; .npy or .png (`check_writable`)."""
    check_writable(path, picture)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".npy":
        np.save(path, picture)
    elif picture.ndim == 3 and picture.shape[2] == 4:
        if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA)):
            raise DataError(f"{path}: cannot be written")
    else:
        write_image(path, picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture)
