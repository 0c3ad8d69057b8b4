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

"""Colour that stands beside its depth: found, and moved back.

A network that is guided by colour draws depth's edges where colour has them. On a robot colour often has them
elsewhere: its picture was taken some milliseconds before or after depth's while the camera turned, or the registration
of the two is a little off. So it is seen by how many pixels colour has to move for its edges to lie on those of depth,
and it is moved. Depth stays where it was measured.

All of the picture moves alike, by whole pixels: that is what a camera that turns does to it. What a step sideways does,
which is more for what is near, is not undone. A few pixels are left as they are: see `LEAST`.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from dkn.depth import kernels
from dkn.depth.grid import reduce_color
from dkn.depth.kernels import numpy_alignment
from dkn.depth.units import Depth, measured

try:
    from dkn.depth.kernels import numba_alignment as compiled
except ImportError:  # Numba is an extra: without it, slower and the same
    from dkn.depth.kernels import numpy_alignment as compiled  # type: ignore[no-redef]

Displacement = tuple[int, int]
"""(x, y) in pixels of colour."""

STEP = 0.06
"""Share of the nearer depth by which two neighbours differ where there is an edge."""
GAP = 8
"""Pixels of colour across which the neighbours may lie apart: at edges sensors leave holes."""
FEWEST, MOST = 100, 2000
"""Edges of depth that say something, and that are looked at."""
EDGE = 12
"""Levels of 0 to 255 from one pixel to the next that make an edge of colour: stronger ones count no more."""
WIDTH = 640
"""Pixels that colour is reduced to, roughly: what is found is as fine as these."""
RADIUS = 10
"""Of these pixels, how far colour is moved at most, in x and in y."""
GAIN = 0.05
"""By how much a better place has to be better, of at most 1. Kitchens and rooms whose colour is in place come to 0.02,
with colour 4 pixels off to 0.1 to 0.2."""
LEAST = 2.5
"""Pixels below which colour stays: so little is more often a registration a little off than a camera that turns, and
then colour is right; and sensor models are trained for it."""
SKIPPED = 2
"""Frames that are not looked at after one whose colour was in place."""
FAR = 2e-4
"""By how much worse a place is for each square pixel of its distance: of equals the nearest."""


class ColorAlignment:
    """Moves the colour of one frame after the other onto depth.

    Where it is moved to changes only for something clearly better, so that edges do not tremble. While it is in place
    only every third frame is looked at.
    """

    def __init__(self) -> None:
        self.displacement: Displacement = 0, 0
        """Of the last frame."""
        self._skip = 0

    def __call__(
        self, color: NDArray[np.uint8], depth: Depth, limits: tuple[float, float] = (0.0, math.inf)
    ) -> NDArray[np.uint8]:
        """As `align_color`, with the frames before this one in mind; depth outside of `limits`, in metres, is
        unknown."""
        if self._skip:
            self._skip -= 1
            return color
        self.displacement = displacement(color, measured(depth, *limits), self.displacement)
        if self.displacement == (0, 0):
            self._skip = SKIPPED
        return moved(color, self.displacement)


def align_color(color: NDArray[np.uint8], depth: Depth) -> NDArray[np.uint8]:
    """Colour as it would be, did it show what depth shows.

    Args:
        color: (H, W, 3) uint8 RGB.
        depth: (h, w) float32 metres, NaN (or anything not positive) = unknown.

    Returns:
        (H, W, 3) uint8: the array itself if it is in place, or nobody can tell; where nothing moves in from beyond the
        picture, the pixels along its end.
    """
    return moved(color, displacement(color, depth))


def moved(color: NDArray[np.uint8], by: Displacement) -> NDArray[np.uint8]:
    """Colour moved to the right and down; its first or last pixels are repeated."""
    x, y = by
    if x == y == 0:
        return color
    height, width = color.shape[:2]
    kept = color[max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)]
    return np.pad(kept, ((max(y, 0), max(-y, 0)), (max(x, 0), max(-x, 0)), (0, 0)), mode="edge")


def displacement(color: NDArray[np.uint8], depth: Depth, before: Displacement = (0, 0)) -> Displacement:
    """By how much colour has to move to lie on depth; (0, 0) where that is not known for certain.

    Args:
        color, depth: as for `align_color`.
        before: what it was in the frame before, which is kept unless another is clearly better.
    """
    reduction = max(1, round(color.shape[1] / WIDTH))
    small = reduce_color(color, reduction)
    if min(small.shape[:2]) < 4 * RADIUS:
        return 0, 0  # too small to tell, and to be moved
    ratio = max(1.0, small.shape[1] / depth.shape[1], small.shape[0] / depth.shape[0])
    found = _scores(small, depth, ratio)
    if found is None:
        return 0, 0
    least = GAIN / (1 + ratio / 12)  # of coarse depth all places are more alike
    apart = np.arange(-RADIUS, RADIUS + 1)
    found = found - FAR * (apart[:, None] ** 2 + apart**2)
    y, x = (int(i) - RADIUS for i in np.unravel_index(found.argmax(), found.shape))
    held_x, held_y = (min(max(round(n / reduction), -RADIUS), RADIUS) for n in before)
    # Of one place that is there for several reasons the last counts.
    candidates = {(x, y): 0.0, (held_x, held_y): least / 2, (0, 0): least}
    best = max(candidates, key=lambda at: found[at[1] + RADIUS, at[0] + RADIUS] + candidates[at])
    if math.hypot(*best) < max(LEAST, 1 + ratio / 4):
        return 0, 0
    return best[0] * reduction, best[1] * reduction


def compile_search() -> None:
    """Compile what the search runs: a second, or a part of one where Numba kept it."""
    low = np.ones((2, 2), np.float32)
    at = np.concatenate([compiled.edges_in_rows(low, STEP, GAP), compiled.edges_in_columns(low, STEP, GAP)])
    compiled.add_windows(np.zeros((1, 1), np.uint8), at, np.zeros((1, 1), np.int64))


def _scores(color: NDArray[np.uint8], depth: Depth, ratio: float) -> NDArray[np.float64] | None:
    """How well colour's edges lie on those of depth, 0 to 1, if colour is moved by up to `RADIUS` pixels down (rows)
    and to the right (columns); None if depth has too few edges.

    An edge of depth counts where colour has one that runs likewise: between neighbours in a row colour has to change
    along the row, between neighbours in a column along the column.
    """
    size = color.shape[:2]
    mirrored = color.strides[2] < 0  # a view of BGR, which OpenCV takes as it lies in memory
    pixels, code = (color[..., ::-1], cv2.COLOR_BGR2GRAY) if mirrored else (color, cv2.COLOR_RGB2GRAY)
    grey = cv2.GaussianBlur(cv2.cvtColor(np.ascontiguousarray(pixels), code), (0, 0), 1)
    low = np.ascontiguousarray(depth, np.float32)
    gap = int(GAP / ratio)
    across = max(2, round(ratio))  # an edge of depth lies anywhere between the centres of two of its pixels
    serving = numpy_alignment if kernels.awaited else compiled
    edges = [serving.edges_in_rows(low, STEP, gap), serving.edges_in_columns(low, STEP, gap)]
    count = sum(map(len, edges))
    if count < FEWEST:
        return None
    every = -(-count // MOST)
    total, looked_at = np.zeros((2 * RADIUS + 1,) * 2, np.int64), 0
    for axis, found in ((1, edges[0]), (0, edges[1])):
        change = cv2.Sobel(grey, cv2.CV_16S, axis, 1 - axis, ksize=1)
        strength: np.ndarray = cv2.convertScaleAbs(change, alpha=255 / (2 * EDGE))
        strength = cv2.blur(strength, (across, 1) if axis else (1, across))
        strength = cv2.copyMakeBorder(strength, *(RADIUS,) * 4, cv2.BORDER_REPLICATE)
        scale = [full / part for full, part in zip(size, depth.shape, strict=True)]
        places = found[::every] + np.array([0.5, 0] if axis else [0, 0.5])  # from pixels and borders to positions
        at = np.clip((places * scale).astype(np.int64), 0, np.array(size) - 1)
        serving.add_windows(np.asarray(strength, np.uint8), at, total)
        looked_at += len(at)
    mean = total[::-1, ::-1] / (255 * looked_at)  # a window shows what colour would show if moved the other way
    return np.asarray(cv2.GaussianBlur(mean, (0, 0), 0.7))
