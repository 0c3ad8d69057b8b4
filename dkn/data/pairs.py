"""Pairs of pictures in folders: finding them by their names, and reading them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from dkn.data.sample import Sample
from dkn.errors import DataError

COLOR_TYPES = (".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".bmp", ".tif", ".tiff")
DEPTH_TYPES = (".png", ".pgm", ".tif", ".tiff", ".npy")
COLOR_FOLDERS = ("color", "colour", "rgb", "image", "images")


class Pair(NamedTuple):
    """A colour image and its depth map, not yet read."""

    name: str
    color: Path
    depth: Path


class PairFiles(ABC):
    """A data set whose samples are pairs of files, read when asked for.

    Raises:
        DataError: (from indexing) a file that cannot be read, or two of different sizes.
    """

    def __init__(self, pairs: Sequence[Pair]):
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self._pairs[index]
        color, depth = read_color(pair.color), self.read_depth(pair.depth)
        if color.shape[:2] != depth.shape:
            sizes = [f"{shape[1]}x{shape[0]}" for shape in (color.shape, depth.shape)]
            raise DataError(f"{pair.depth}: is {sizes[1]}, but its colour image {pair.color.name} is {sizes[0]}")
        return Sample(color, depth, pair.name)

    @abstractmethod
    def read_depth(self, path: Path) -> np.ndarray:
        """(H, W) float32 as `Sample.depth`."""


def pairs_by_suffix(folder: Path, color: str, depth: str) -> list[Pair]:
    """Pairs of files in one folder, <name>_<color>.<type> and <name>_<depth>.<type>, in the order of their names.

    Args:
        color, depth: regular expressions for what follows the name and one of `_ . -`.

    Raises:
        DataError: a file without its partner, or two that claim to be the same.
    """
    sides = []
    for suffix, types in ((color, COLOR_TYPES), (depth, DEPTH_TYPES)):
        pattern = re.compile(rf"(.+?)[._-](?:{suffix})", re.IGNORECASE)
        matches = ((pattern.fullmatch(file.stem), file) for file in _files(folder, types))
        sides.append(_unique((match[1], file) for match, file in matches if match))
    return _paired(folder, *sides)


def color_and_depth_folders(path: Path) -> tuple[Path | None, list[Path]]:
    """The sub-folder of colour, if there is one, and all those whose names begin with depth, in order."""
    folders = {folder.name.lower(): folder for folder in sorted(path.iterdir()) if folder.is_dir()}
    color = next((folders[name] for name in COLOR_FOLDERS if name in folders), None)
    return color, [folder for name, folder in folders.items() if name.startswith("depth")]


def pairs_by_folder(color: Path, depth: Path, depth_types: Sequence[str] = DEPTH_TYPES) -> list[Pair]:
    """Pairs of files with the same name (their types aside) in two folders, in the order of their names.

    Raises:
        DataError: a file without its partner, or two that claim to be the same.
    """
    colors, depths = (
        _unique((f.stem, f) for f in _files(folder, types))
        for folder, types in ((color, COLOR_TYPES), (depth, depth_types))
    )
    return _paired(depth, colors, depths)


def read_color(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB.

    Raises:
        DataError: missing or not an image.
    """
    return _read_image(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)[..., ::-1]


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


def _read_image(path: Path, flags: int) -> np.ndarray:
    image = cv2.imread(str(path), flags) if path.is_file() else None
    if image is None:
        raise DataError(f"{path}: " + ("not a readable image" if path.is_file() else "no such file"))
    return image


def _files(folder: Path, types: Sequence[str]) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in types and not f.name.startswith("."))


def _unique(named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for name, file in named:
        if name in files:
            raise DataError(f"{file}: {files[name].name} stands for the same picture; keep one of them")
        files[name] = file
    return files


def _paired(folder: Path, colors: Mapping[str, Path], depths: Mapping[str, Path]) -> list[Pair]:
    lonely = [(colors[n], "depth") for n in colors.keys() - depths.keys()]
    lonely += [(depths[n], "colour") for n in depths.keys() - colors.keys()]
    if lonely and colors and depths:
        file, missing = min(lonely)
        raise DataError(f"{folder}: {len(lonely)} pictures without a partner; {file.name} has no {missing}")
    return [Pair(name, colors[name], depths[name]) for name in sorted(colors.keys() & depths.keys())]
