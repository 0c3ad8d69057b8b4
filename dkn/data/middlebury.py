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

"""The Middlebury stereo sets of 2001 to 2006 (Scharstein, Szeliski, Pal, Hirschmüller): colour and disparity.

Three layouts are read:

- the published scene folders, anywhere below the path: one pair a scene, its left reference view;

      2005, 2006   view1.png and disp1.png            level = disparity in pixels of the full size (any size)
      2003         im2.png and disp2.png              level = 4 × disparity of the quarter size (2 ×, 1 × half, full)
      2001         im2.ppm and disp2.pgm              level = 8 × disparity (Tsukuba: 16 ×, its files named otherwise)

  Level 0 means unknown there and becomes NaN: neither the low-resolution depth nor an error counts it;
- the archive of Lu et al. (see lu.py), folder 01_Middlebury_Dataset: the 30 pairs of the paper. Their disparity has
  been completed, so that 0 is a level like any other;
- the same as NN_Name_rgb.png and NN_Name_disp8.png.

The levels stay as they are stored, near = bright, as in the paper.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dkn.data.lu import pairs_of_archive
from dkn.data.pairs import Pair, PairFiles
from dkn.data.sample import InLevels, from_levels
from dkn.errors import DataError
from dkn.utils.image_io import COLOR_TYPES, DEPTH_TYPES, read_levels

SOURCE = "https://vision.middlebury.edu/stereo/data/"
SCENES = {  # disparity → its colour image
    "disp1": "view1",
    "disp2": "im2",
    "disp0": "im0",  # the scene "map" of 2001
    "truedisp.row3.col3": "scene1.row3.col3",  # Tsukuba
}


class Middlebury(InLevels, PairFiles):
    """All pairs below a folder. For testing: the paper trains on NYU v2 alone.

    Args:
        path: folder in one of the layouts above.

    Raises:
        DataError: missing, incomplete, or laid out differently.
    """

    name = "middlebury"

    def __init__(self, path: Path):
        path = Path(path)
        completed = pairs_of_archive(path, "01_Middlebury_Dataset", depth="disp8")
        self._zero_is_known = bool(completed)
        pairs = completed or _scenes(path)
        if not pairs:
            raise DataError(
                f"{path}: no pairs; expected scene folders with view1.png and disp1.png (2005, 2006) or im2 and disp2 "
                f"(2001, 2003) from {SOURCE}, or NN_Name_rgb.png and NN_Name_disp8.png"
            )
        super().__init__(pairs)

    def read_depth(self, path: Path) -> np.ndarray:
        levels = read_levels(path)
        known = (levels > 0) | self._zero_is_known
        return from_levels(np.where(known, levels, np.nan))


def _scenes(path: Path) -> list[Pair]:
    """One pair of each folder that holds a disparity map."""
    files = sorted(f for f in path.rglob("*disp*") if f.stem in SCENES and f.suffix.lower() in DEPTH_TYPES)
    pairs: dict[Path, Pair] = {}
    for file in files:
        colors = (file.with_name(SCENES[file.stem] + kind) for kind in COLOR_TYPES)
        color = next((c for c in colors if c.is_file()), None)
        if color is not None:
            pairs[file.parent] = Pair(file.parent.name, color, file)
    for file in files:
        if file.parent not in pairs:
            raise DataError(f"{file}: no {SCENES[file.stem]} beside it; expected a scene's folder as on {SOURCE}")
    return list(pairs.values())
