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

"""Any pairs of colour and depth in a folder of the user's.

They are found by their names, either in sub-folders (color, rgb or images; depth, or another that begins so):

    color/0001.jpg   depth/0001.png

or side by side (also with . or - for _, colour or rgb for color, disp or disparity for depth, and more after depth):

    0001_color.png   0001_depth.png

Depth is an image of 16 or 8 bits, a float TIFF, or a float .npy. Not positive and not finite means unknown.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dkn.data.depth_file import read_depth
from dkn.data.pairs import Pair, PairFiles, color_and_depth_folders, pairs_by_folder, pairs_by_suffix
from dkn.data.sample import InMetres
from dkn.errors import ConfigError, DataError

LAYOUT = "color/NAME.png with depth/NAME.png, or NAME_color.png with NAME_depth.png"


class Folder(InMetres, PairFiles):
    """All pairs of a folder.

    Args:
        path: the folder.
        unit: metres a count; by default 0.001 for 16 bits (millimetres, as ROS and most recorders write them) and
            1 for floats (metres). Eight bits have no usual unit.
        depth_folder: name of the sub-folder with the depth, where several begin with "depth".

    Raises:
        ConfigError: a unit that is not positive; (from indexing) 8-bit depth and no unit.
        DataError: missing, incomplete, laid out differently; (from indexing) a file that cannot be read.
    """

    name = "folder"

    def __init__(self, path: Path, unit: float | None = None, depth_folder: str | None = None):
        if unit is not None and not unit > 0:
            raise ConfigError(f"unit={unit}: metres a count, a positive number, is needed")
        self._unit = unit
        pairs = _find(Path(path), depth_folder)
        if not pairs:
            raise DataError(f"{path}: no pairs; expected {LAYOUT}")
        super().__init__(pairs)

    def read_depth(self, path: Path) -> np.ndarray:
        return read_depth(path, self._unit)


def _find(path: Path, depth_folder: str | None) -> list[Pair]:
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; expected {LAYOUT}")
    color, depths = color_and_depth_folders(path)
    if depth_folder is not None:
        if not (path / depth_folder).is_dir():
            raise DataError(f"{path / depth_folder}: no such folder")
        depths = [path / depth_folder]
    if color is None or not depths:
        return pairs_by_suffix(path, "rgb|colou?r", r"(?:depth|disp|disparity)\w*")
    if len(depths) > 1:
        raise DataError(f"{path}: several folders of depth, {', '.join(d.name for d in depths)}; say which")
    return pairs_by_folder(color, depths[0])
