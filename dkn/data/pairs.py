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

"""Pairs of pictures in folders: finding them by their names, and reading them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dkn.data.sample import Sample
from dkn.errors import DataError
from dkn.utils.image_io import COLOR_TYPES, DEPTH_TYPES, read_color

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
    return _paired(depth, pictures(color, COLOR_TYPES), pictures(depth, depth_types))


def pictures(folder: Path, types: Sequence[str]) -> dict[str, Path]:
    """The files of a folder by their names without the type, in the order of these; hidden ones are passed over.

    Args:
        types: endings, such as `COLOR_TYPES`; in the files' names they may be upper case.

    Raises:
        DataError: two files of one name.
    """
    return dict(sorted(_unique((file.stem, file) for file in _files(folder, types)).items()))


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
    return [Pair(name, colors[name], depths[name]) for name in in_all(colors, depths)]


def in_all(*named: Mapping[str, Path]) -> list[str]:
    """The names that each of these has, in order."""
    return sorted(set.intersection(*map(set, named)))
