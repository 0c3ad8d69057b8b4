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

"""Rendered rooms (`dkn.data.rendered`) as a data set: exact depth, no file to fetch, no terms.

Each room is seen from eight places. The pictures are rendered on first use (about 0.4 s each) and kept in a
memory-mapped cache of 2.15 MB a pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from dkn.data.cache import is_cached, open_cache, write_cache
from dkn.data.rendered.room import KINECT_SIZE, render_sequence
from dkn.data.sample import InMetres, Sample
from dkn.errors import DataError

IMAGES = {"train": 1000, "test": 104}
FIRST_SEED = {"train": 10_000, "test": 20_000}  # no room is in both halves, nor in the demo
VIEWS = 8
RATE_HZ = 0.4  # of the camera's sway: views far enough apart to differ


class Rooms(InMetres):
    """One half of the set.

    Args:
        path: folder of the cache; made if need be.
        split: train or test.

    Raises:
        DataError: `path` cannot be written, or holds a cache that is damaged.
    """

    name = "synthetic"

    def __init__(self, path: Path, split: Literal["train", "test"]):
        folder = Path(path) / split
        self._split, width, height = split, *KINECT_SIZE
        try:
            if not is_cached(folder):
                write_cache(folder, _render(split), (IMAGES[split], height, width), f"rendering rooms to {split}")
            self._colors, self._depths = open_cache(folder)
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: the rendered rooms cannot be kept here ({error}); choose another") from None

    def __len__(self) -> int:
        return len(self._depths)

    def __getitem__(self, index: int) -> Sample:
        i = range(len(self))[index]
        return Sample(self._colors[i], self._depths[i], f"room_{self._split}_{i:04d}")


def _render(split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, IMAGES[split], VIEWS):
        views = min(VIEWS, IMAGES[split] - start)
        for frame in render_sequence(views, KINECT_SIZE, RATE_HZ, FIRST_SEED[split] + start // VIEWS):
            yield frame.color, frame.depth
