"""Pictures of any number of channels, in files and beside each other."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dkn.data.pairs import read_stored
from dkn.errors import DataError
from dkn.report import write_image

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
