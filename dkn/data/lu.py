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

"""The RGB-D pictures of Lu, Ren and Liu, "Depth Enhancement via Low-rank Matrix Completion" (CVPR 2014): 6 pairs of
640×480 from an ASUS Xtion Pro, in low light, their depth completed; grey levels 0 to 255, near = bright.

Reads the published archive Depth_Enh.zip, unpacked (folder 03_RGBD_Dataset: NAME_output_color.png, spelt ouput_color
there, and NAME_output_depth.png), or flat pairs NN_rgb.png and NN_depth8.png.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dkn.data.pairs import Pair, PairFiles, pairs_by_suffix
from dkn.data.sample import InLevels, from_levels
from dkn.errors import DataError
from dkn.utils.image_io import read_levels

SOURCE = "https://web.cecs.pdx.edu/~fliu/project/depth-enhance/"


class Lu(InLevels, PairFiles):
    """All pairs of a folder. For testing: the paper trains on NYU v2 alone.

    Args:
        path: folder in one of the layouts above.

    Raises:
        DataError: missing, incomplete, or laid out differently.
    """

    name = "lu"

    def __init__(self, path: Path):
        pairs = pairs_of_archive(Path(path), "03_RGBD_Dataset", depth="depth8")
        if not pairs:
            raise DataError(
                f"{path}: no pairs; expected 03_RGBD_Dataset of Depth_Enh.zip from {SOURCE}, or NN_rgb.png and "
                "NN_depth8.png"
            )
        super().__init__(pairs)

    def read_depth(self, path: Path) -> np.ndarray:
        return from_levels(read_levels(path))


def pairs_of_archive(path: Path, part: str, depth: str) -> list[Pair]:
    """The completed pairs in a folder of the archive, or flat ones; empty if there are none of either.

    Args:
        path: the folder itself, or one that the archive was unpacked in.
        part: the folder's name.
        depth: suffix of the depth maps of flat pairs, beside rgb.

    Raises:
        DataError: no such folder, or a file without its partner.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder")
    folder = next((f for f in (path / part, path / "Depth_Enh" / part) if f.is_dir()), path)
    return pairs_by_suffix(folder, "out?put_color", "output_depth") or pairs_by_suffix(folder, "rgb", depth)
