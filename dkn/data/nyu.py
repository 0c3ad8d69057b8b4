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

"""NYU depth v2, the labelled set (Silberman et al., ECCV 2012): 1449 pairs of 640×480.

Reads `nyu_depth_v2_labeled.mat` as published, or any file in its layout. That is MATLAB v7.3 (HDF5); seen from
Python its axes come reversed:

    images  uint8    (N, 3, 640, 480)  RGB
    depths  float32  (N, 640, 480)     metres, in-painted by NYU

Turned upright and uncompressed once, the pictures lie in a memory-mapped cache beside the file (about 2.15 MB a
pair), so that neither training nor evaluation holds the set in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from dkn.data.cache import Mapped, cache_folder, is_cached, open_cache, write_cache
from dkn.data.sample import InMetres, Sample
from dkn.errors import DataError

SOURCE = "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html"
TRAINING_IMAGES = 1000  # the split of the paper: the first 1000 to train, the rest to test


class NYU(InMetres):
    """One half of the set.

    Args:
        path: the .mat file.
        split: train (the first 1000 pairs), test (the rest) or all.
        cache: folder for the memory-mapped copy; default: beside the file, or in the folder that DKN_DATA_CACHE names.

    Raises:
        DataError: missing, truncated, or laid out differently.
    """

    name = "nyu"

    def __init__(self, path: Path, split: Literal["train", "test", "all"] = "all", cache: Path | None = None):
        path = Path(path)
        self._colors, self._depths = _open_cache(path, cache or cache_folder(path))
        count = len(self._depths)
        ranges = {
            "train": (0, min(TRAINING_IMAGES, count)),
            "test": (TRAINING_IMAGES, count),
            "all": (0, count),
        }
        start, stop = ranges[split]
        if stop <= start:
            raise DataError(f"{path}: {count} pairs, but the {split} split needs more than {start}")
        self._indices = range(start, stop)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        i = self._indices[index]
        return Sample(self._colors[i], self._depths[i], f"nyu_{i:04d}")


def _open_cache(path: Path, cache: Path) -> tuple[Mapped, Mapped]:
    """Colour (N, H, W, 3) uint8 and depth (N, H, W) float32, memory-mapped; made on first use."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; nyu_depth_v2_labeled.mat is at {SOURCE}")
    if not is_cached(cache, since=path.stat().st_mtime):
        _build_cache(path, cache)
    return open_cache(cache)


def _build_cache(path: Path, cache: Path) -> None:
    try:
        with h5py.File(path, "r") as file:
            images, depths = _checked(file, path)
            count, _, width, height = images.shape
            write_cache(cache, _upright(images, depths), (count, height, width), f"caching {path.name}")
    except OSError as error:
        raise DataError(f"{path}: cannot be read as HDF5 ({error}); see {SOURCE}") from None


def _upright(images: h5py.Dataset, depths: h5py.Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    try:
        for image, depth in zip(images, depths, strict=True):
            yield image.transpose(2, 1, 0), np.where(np.isfinite(depth) & (depth > 0), depth, np.nan).T
    except OSError as error:  # while it is written to the cache, whose own errors are others
        raise DataError(f"{images.file.filename}: damaged ({error}); see {SOURCE}") from None


def _checked(file: h5py.File, path: Path) -> tuple[h5py.Dataset, h5py.Dataset]:
    images, depths = file.get("images"), file.get("depths")
    if not isinstance(images, h5py.Dataset) or not isinstance(depths, h5py.Dataset):
        raise DataError(f"{path}: has no 'images' and 'depths'; expected the layout of {SOURCE}")
    expected = (images.shape[0], *images.shape[2:]) if images.ndim == 4 else None
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8 or depths.shape != expected:
        raise DataError(
            f"{path}: images {images.shape} {images.dtype} and depths {depths.shape}; "
            "expected (N, 3, W, H) uint8 and (N, W, H)"
        )
    return images, depths
