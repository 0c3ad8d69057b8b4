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

"""MPI Sintel (Butler, Wulff, Stanley and Black, ECCV 2012): 1064 frames of 1024×436 of an animated film, final pass.

Reads the published folders, MPI-Sintel-complete.zip and MPI-Sintel-depth-training, unpacked into one:

    training/final/SCENE/frame_NNNN.png
    training/depth/SCENE/frame_NNNN.dpt

Depth reaches thousands of metres behind rooms of a few. The paper reports errors on it "scaled to the range [0, 255]"
and does not say how, nor which 864 of the 1064 frames it took: here every frame's depth, from its least to its largest,
becomes 0 to 255, and all frames count. Its figures are therefore near to ours, not equal in kind.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dkn.data.pairs import Pair, PairFiles, pairs_by_folder
from dkn.data.sample import InLevels, from_levels
from dkn.errors import DataError

SOURCE = "http://sintel.is.tue.mpg.de/"
TAG = 202021.25  # the first number of every file; another one means another byte order, or another format


class Sintel(InLevels, PairFiles):
    """All frames of the training half, whose depth is public. For testing: the paper trains on NYU v2 alone.

    Args:
        path: the folder that holds `training`, or that one.

    Raises:
        DataError: missing, incomplete, or laid out differently.
    """

    name = "sintel"

    def __init__(self, path: Path):
        path = Path(path)
        root = path / "training" if (path / "training").is_dir() else path
        final, depth = root / "final", root / "depth"
        if not final.is_dir() or not depth.is_dir():
            raise DataError(
                f"{path}: no training/final and training/depth; expected MPI-Sintel-complete.zip and "
                f"MPI-Sintel-depth-training from {SOURCE}, unpacked into one folder"
            )
        pairs: list[Pair] = []
        for scene in sorted({f.name for part in (final, depth) for f in part.iterdir() if f.is_dir()}):
            for part in (final, depth):
                if not (part / scene).is_dir():
                    raise DataError(f"{part / scene}: no such folder; the archives of {SOURCE} are not complete here")
            found = pairs_by_folder(final / scene, depth / scene, (".dpt",))
            pairs += [Pair(f"{scene}_{pair.name}", pair.color, pair.depth) for pair in found]
        if not pairs:
            raise DataError(f"{root}: no final/SCENE/frame_NNNN.png with depth/SCENE/frame_NNNN.dpt; see {SOURCE}")
        super().__init__(pairs)

    def read_depth(self, path: Path) -> np.ndarray:
        depth = read_dpt(path).astype(np.float64)
        depth[~np.isfinite(depth) | (depth <= 0)] = np.nan
        if np.isnan(depth).all():
            raise DataError(f"{path}: no pixel has a depth")
        low, high = np.nanmin(depth), np.nanmax(depth)
        return from_levels(255 * (depth - low) / max(high - low, 1e-6))


def read_dpt(path: Path) -> np.ndarray:
    """A depth map of MPI Sintel: (H, W) float32 metres.

    The file is little-endian: a float32 tag (`TAG`), width and height as int32, then the rows as float32.

    Raises:
        DataError: missing, truncated, or another format.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); see {SOURCE}") from None
    if len(data) < 12 or np.frombuffer(data, "<f4", 1)[0] != np.float32(TAG):
        raise DataError(f"{path}: does not begin with {TAG}; expected a .dpt file of {SOURCE}")
    width, height = (int(n) for n in np.frombuffer(data, "<i4", 2, offset=4))
    if width < 1 or height < 1 or len(data) != 12 + 4 * width * height:
        raise DataError(
            f"{path}: {len(data)} bytes for {width}x{height} pixels; expected {12 + 4 * width * height}, as of {SOURCE}"
        )
    return np.frombuffer(data, "<f4", offset=12).reshape(height, width).astype(np.float32)
