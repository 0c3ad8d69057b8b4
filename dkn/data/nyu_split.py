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

"""NYU depth v2 as the arrays that many depth upsampling projects, the paper's among them, hand around: a folder with

    train_images_split.npy  train_depth_split.npy        1000 pairs
    test_images_v2.npy      test_depth.npy               449 pairs, and test_minmax.npy if their depth is scaled

Images are uint8, or float in 0..1 or 0..255, colour last or second; depths float metres, also with an axis of one
channel. Depth that was scaled to 0..1 image by image needs the two numbers of each image to become metres again.
The files are memory-mapped as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from dkn.data.nyu import SOURCE, TRAINING_IMAGES
from dkn.data.sample import InMetres, Sample
from dkn.errors import DataError

LAYOUT = "train_images_split.npy, train_depth_split.npy, test_images_v2.npy, test_depth.npy"


class NYUSplit(InMetres):
    """One half of the set.

    Args:
        path: the folder.
        split: train or test.

    Raises:
        DataError: missing, truncated, or laid out differently.
    """

    name = "nyu"

    def __init__(self, path: Path, split: Literal["train", "test"]):
        path = Path(path)
        self._first = 0 if split == "train" else TRAINING_IMAGES
        images_file, depths_file = (_only_file(path, f"{split}_{part}*.npy") for part in ("images", "depth"))
        images, depths = _open(images_file), _open(depths_file)
        if images.ndim == 4 and images.shape[1] == 3:
            images = images.transpose(0, 2, 3, 1)
        if depths.ndim == 4 and 1 in (depths.shape[1], depths.shape[3]):
            depths = depths.squeeze(1 if depths.shape[1] == 1 else 3)
        fits = depths.ndim == 3 and images.shape == (*depths.shape, 3) and len(depths) > 0
        if not fits or images.dtype.kind not in "uf" or depths.dtype.kind != "f":
            raise DataError(
                f"{path}: {images_file.name} is {images.shape} {images.dtype}, {depths_file.name} {depths.shape} "
                f"{depths.dtype}; expected (N, H, W, 3) and (N, H, W) float metres"
            )
        self._images, self._depths = images, depths
        # A few say for all whether white is 1 or 255, and whether depth is in metres: every room is deeper than 1 m.
        few = range(0, len(depths), max(1, len(depths) // 8))
        self._white = 255.0 if max(np.max(images[i]) for i in few) > 1 else 1.0
        scaled = max(np.nanmax(depths[i]) for i in few) <= 1
        self._spans = _spans(path, split, len(depths)) if scaled else None

    def __len__(self) -> int:
        return len(self._depths)

    def __getitem__(self, index: int) -> Sample:
        image, depth = self._images[index], np.asarray(self._depths[index], np.float32)
        if image.dtype != np.uint8:
            image = np.rint(np.clip(image.astype(np.float32) * (255 / self._white), 0, 255)).astype(np.uint8)
        if self._spans is not None:
            low, high = self._spans[index]
            depth = low + (high - low) * depth
        depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan).astype(np.float32)
        return Sample(image, depth, f"nyu_{self._first + range(len(self))[index]:04d}")


def _only_file(path: Path, pattern: str) -> Path:
    files = sorted(path.glob(pattern))
    if len(files) != 1:
        found = ", ".join(f.name for f in files) or "none"
        raise DataError(
            f"{path}: one file {pattern} is needed, found {found}; expected {LAYOUT}, or the .mat of {SOURCE}"
        )
    return files[0]


def _open(file: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file}: not a whole array file ({error}); the set itself is at {SOURCE}") from None
    return array


def _spans(path: Path, split: str, count: int) -> np.ndarray:
    """Least and largest depth in metres of each image, (N, 2)."""
    file = path / f"{split}_minmax.npy"
    if not file.is_file():
        raise DataError(
            f"{path}: the {split} depth is scaled to 0..1 and {file.name} is missing, so that metres cannot be told; "
            f"use the .mat of {SOURCE}"
        )
    spans = np.asarray(_open(file))
    if spans.shape == (2, count):
        spans = spans.T
    if spans.shape != (count, 2) or spans.dtype.kind != "f" or not np.isfinite(spans).all():
        raise DataError(f"{file}: {spans.shape} {spans.dtype}; expected the least and largest depth of {count} images")
    return np.sort(spans, axis=1)  # some have the largest first
