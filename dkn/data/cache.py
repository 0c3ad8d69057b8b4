"""Pairs of one size as two memory-mapped files, so that a set is never held in memory: color.npy, (N, H, W, 3) uint8
RGB, and depth.npy, (N, H, W) float32 with NaN where unknown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

FILES = ("color.npy", "depth.npy")


def is_cached(folder: Path, since: float = 0.0) -> bool:
    """Whether a complete cache is there, written at the time `since` or later."""
    files = [folder / name for name in FILES]
    return all(file.is_file() and file.stat().st_mtime >= since for file in files)


def open_cache(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Colours and depths, memory-mapped."""
    colors, depths = (np.load(folder / name, mmap_mode="r") for name in FILES)
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
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Written under another name first: a run that is cut off leaves no cache that looks complete.
    partial = [(folder / name).with_suffix(".partial") for name in FILES]
    colors = np.lib.format.open_memmap(partial[0], "w+", np.uint8, (*shape, 3))
    depths = np.lib.format.open_memmap(partial[1], "w+", np.float32, shape)
    for i, (color, depth) in enumerate(tqdm(pairs, total=shape[0], desc=task, unit="pair")):
        colors[i], depths[i] = color, depth
    colors.flush()
    depths.flush()
    for temporary, name in zip(partial, FILES, strict=True):
        temporary.replace(folder / name)
