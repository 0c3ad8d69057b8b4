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

"""Which holes of a depth map are small enough, and plain enough, to be filled with confidence."""

from __future__ import annotations

import cv2
import numpy as np

from dkn.depth.units import Depth, Mask

FILLS = ("none", "small", "all")
"""What may be filled: nothing; holes as `small_holes` finds them; everything."""
WIDTH = 16.0
"""Pixels of the result across which a small hole reaches at most, unless told otherwise."""
STEP = 0.05
"""Relative difference of the depths around a hole up to which they are of one surface."""


def small_holes(depth: Depth, width: float) -> Mask:
    """The unknown pixels of holes that are narrow and lie inside one surface.

    A hole is what hangs together of unknown pixels, corners included. Its width is that of the largest square inside
    it, so that a crack may be long. It lies inside one surface if all depths that touch it agree within `STEP`, and it
    does not touch the border of the image. A shadow beside a near thing has two surfaces around it, and stays.

    Args:
        depth: (h, w) float32 metres, NaN (or anything not positive) = unknown.
        width: pixels, the widest hole.

    Returns:
        (h, w) bool.
    """
    known = np.isfinite(depth) & (depth > 0)
    unknown = (~known).astype(np.uint8)
    count, found = cv2.connectedComponents(unknown, connectivity=8)
    labels = np.asarray(found, np.intp)
    if count == 1 or not known.any():
        return np.zeros(depth.shape, bool)
    small = np.ones(count, bool)
    small[0] = False  # label 0 is what is known
    small[np.unique(np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1])))] = False
    too_wide = np.ones((int(min(width, max(depth.shape))) + 1,) * 2, np.uint8)  # a square that fits into no small hole
    small[labels[cv2.erode(unknown, too_wide) > 0]] = False
    nearest, farthest = (np.full(count, value, np.float32) for value in (np.inf, -np.inf))
    touched = cv2.dilate(small[labels].astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    rows, columns = np.nonzero(known & touched)
    values, padded = np.asarray(depth[rows, columns], np.float32), np.pad(labels, 1)
    for y in range(3):
        for x in range(3):
            beside = padded[rows + y, columns + x]
            np.minimum.at(nearest, beside, values)
            np.maximum.at(farthest, beside, values)
    small &= farthest <= np.float32(1 + STEP) * nearest
    return np.asarray(small[labels])
