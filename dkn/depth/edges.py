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

"""Where a depth map has edges."""

from __future__ import annotations

import cv2
import numpy as np

EDGE_STEP = 0.05  # relative step in depth between neighbours that makes an edge
EDGE_MARGIN = 3  # pixels around an edge that are not judged: the truth lies 1 to 3 pixels off there


def near_edges(depth: np.ndarray, step: float = EDGE_STEP, margin: int = EDGE_MARGIN) -> np.ndarray:
    """(H, W) bool: within `margin` rows and columns of two neighbours whose depths differ by more than the share `step`
    of the nearer one's. Unknown depth makes no edge."""
    edges = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        first, second = (np.moveaxis(depth, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        jump = np.abs(first - second) > step * np.fmin(first, second)  # False where one is NaN
        pair = np.moveaxis(edges, axis, 0)
        pair[:-1] |= jump
        pair[1:] |= jump
    around = np.ones((2 * margin + 1,) * 2, np.uint8)
    return np.asarray(cv2.dilate(edges.astype(np.uint8), around) > 0)
