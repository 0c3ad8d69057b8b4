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

"""A recording of a real depth camera with a better depth map for each frame, e.g. one fused from many frames.

    rgb/           colour, 8 bits (.jpg or .png)
    depth_raw/     what the sensor measured, registered to colour, 16-bit PNG in millimetres, 0 = unknown; as many
                   pixels as colour, or fewer
    depth_gt_tsdf/ the truth, likewise

with the same file names in all three. Frames follow each other in time. The input of the methods is made from the raw
depth, holes and noise included. Where only part of the truth can be relied on,

    mask/          8-bit PNG of the same names: other than 0 where it can
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from dkn.data.pairs import pictures
from dkn.data.sample import InMetres, Sample
from dkn.depth.edges import EDGE_MARGIN, near_edges
from dkn.depth.units import Depth, to_metres
from dkn.errors import DataError, ImageError
from dkn.utils.image_io import COLOR_TYPES, read_color, read_map, read_stored

FOLDERS = ("rgb", "depth_raw", "depth_gt_tsdf")
MASK = "mask"


class Recording(InMetres):
    """The frames of a recording, with a truth that is known only where it can be relied on.

    A pixel's truth counts if the sensor measured something there and no depth edge lies within `edge_margin` pixels
    (rows and columns). An edge is a relative step of more than `EDGE_STEP` between two neighbours, in the truth. With
    masks, a pixel counts inside them alone, and also where nothing was measured: masks are of things that sensors fail
    on. `full_depth` of a sample is the truth (inside its mask) without these conditions.

    Args:
        path: the folder.
        edge_margin: None: pixels on edges and beside them count too.
        keep: hold every frame in memory once it was read (3.3 MB for one of 640×480).

    Raises:
        DataError: folders or frames that are missing or unreadable.
    """

    name = "recording"
    sequential = True

    def __init__(self, path: Path, edge_margin: int | None = EDGE_MARGIN, keep: bool = False):
        self._edge_margin = edge_margin
        self._kept: dict[int, Sample] | None = {} if keep else None
        self._folder = Path(path)
        for name in FOLDERS:
            if not (self._folder / name).is_dir():
                raise DataError(f"{self._folder}: no folder {name}; a recording has {', '.join(FOLDERS)}")
        rgb, raw, truth = (self._folder / name for name in FOLDERS)
        colors = pictures(rgb, COLOR_TYPES)
        self._frames = [
            (colors.get(name, rgb / f"{name}.png"), file, truth / file.name)  # what is missing, reading tells
            for name, file in pictures(raw, [".png"]).items()
        ]
        self.masked = (self._folder / MASK).is_dir()
        if not self._frames:
            raise DataError(f"{raw}: no .png in it")

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        if self._kept is None:
            return self._read(index)
        if index not in self._kept:
            self._kept[index] = self._read(index)
        return self._kept[index]

    def _read(self, index: int) -> Sample:
        color_file, raw_file, truth_file = self._frames[index]
        color = read_color(color_file)
        raw, truth = map(_read_metres, (raw_file, truth_file))
        size = color.shape[:2]
        if size != truth.shape or raw.shape[0] > size[0] or raw.shape[1] > size[1]:
            raise DataError(f"{raw_file}: {raw.shape}, but colour has {size} and the truth {truth.shape}")
        # Edges of all the truth, whatever the mask leaves of it.
        edges = False if self._edge_margin is None else near_edges(truth, margin=self._edge_margin)
        sample = Sample(color, truth, raw_file.stem, raw, truth)
        judged = self._read_mask(raw_file.name, size) if self.masked else sample.seen
        if self.masked:
            truth[~judged] = np.nan
        return replace(sample, depth=np.where(judged & ~edges, truth, np.float32(np.nan)), judged=judged)

    def _read_mask(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        mask = read_stored(self._folder / MASK / name)
        if mask.shape != shape:
            raise DataError(f"{self._folder / MASK / name}: {mask.shape}, but the truth has {shape}")
        return np.asarray(mask > 0)


def _read_metres(file: Path) -> Depth:
    try:
        return to_metres(read_map(file))
    except ImageError as error:
        raise DataError(f"{file}: {error}") from None
