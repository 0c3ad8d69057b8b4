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

"""Pairs of one size as two memory-mapped files, so that a set is never held in memory: color.npy, (N, H, W, 3) uint8
RGB, and depth.npy, (N, H, W) float32 with NaN where unknown."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from dkn.errors import DataError

FILES = ("color.npy", "depth.npy")


def is_cached(folder: Path, since: float = 0.0) -> bool:
    """Whether a complete cache is there, written at the time `since` or later."""
    files = [folder / name for name in FILES]
    return all(file.is_file() and file.stat().st_mtime >= since for file in files)


class Mapped:
    """An array in a .npy file, memory-mapped. Sent to another process, it is mapped there, not copied."""

    def __init__(self, file: Path):
        self._file = file
        self._array: np.ndarray = np.load(file, mmap_mode="r")

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.asarray(self._array[index])

    def __reduce__(self) -> tuple[type[Mapped], tuple[Path]]:
        return Mapped, (self._file,)


def open_cache(folder: Path) -> tuple[Mapped, Mapped]:
    """Colours and depths, memory-mapped."""
    colors, depths = (Mapped(folder / name) for name in FILES)
    return colors, depths


def write_cache(
    folder: Path, pairs: Iterable[tuple[np.ndarray, np.ndarray]], shape: tuple[int, int, int], task: str
) -> None:
    """Write pairs of (H, W, 3) uint8 and (H, W) float, with a progress bar.

    Args:
        folder: made if need be.
        pairs: as many as `shape` says.
        shape: (N, H, W).
        task: what the progress bar says.

    Raises:
        DataError: it cannot be written: a full disk, a folder that is not ours.
    """
    # Written under another name first: a run that is cut off leaves no cache that looks complete. And not through a
    # memory map, where a full disk is a signal that ends the process (SIGBUS) in place of an error.
    partial = [(folder / name).with_suffix(".partial") for name in FILES]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial[0].open("wb") as colors, partial[1].open("wb") as depths:
            _begin(colors, np.uint8, (*shape, 3))
            _begin(depths, np.float32, shape)
            for color, depth in tqdm(pairs, total=shape[0], desc=task, unit="pair"):
                colors.write(np.ascontiguousarray(color, np.uint8).data)
                depths.write(np.ascontiguousarray(depth, np.float32).data)
        for temporary, name in zip(partial, FILES, strict=True):
            temporary.replace(folder / name)
    except BaseException as error:
        for temporary in partial:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        megabytes = math.prod(shape) * 7 / 1e6
        raise DataError(
            f"{folder}: the cache of {megabytes:.0f} MB cannot be written ({error.strerror or error}); "
            "the environment variable DKN_DATA_CACHE names another folder"
        ) from None


def cache_folder(beside: Path) -> Path:
    """Where the cache of a file or folder lies: beside it, or in the folder that DKN_DATA_CACHE names, where others of
    the same name may have theirs."""
    name, chosen = beside.name, os.environ.get("DKN_DATA_CACHE")
    if not chosen:
        return beside.with_name(f"{name}.cache")
    place = hashlib.sha256(os.fsencode(beside.resolve())).hexdigest()[:8]
    return Path(chosen) / f"{name}-{place}.cache"


def _begin(file: BinaryIO, kind: type, shape: tuple[int, ...]) -> None:
    """The head of a .npy file, after which its elements follow."""
    head = {"descr": np.lib.format.dtype_to_descr(np.dtype(kind)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, head)
