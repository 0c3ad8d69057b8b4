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

"""Self-ensemble: the mean of what a network gives for a picture and its mirror images, for four times the work.

The networks of the paper are not symmetric; how they err differs from one mirror image to the next, and the mean of
all four errs less (Timofte, Rothe and Van Gool, Seven Ways to Improve Example-Based Single Image Super Resolution, CVPR
2016, section 3.6, there with rotations too).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

Upsample = Callable[[np.ndarray, np.ndarray], np.ndarray]


def self_ensemble(upsample: Upsample) -> Upsample:
    """A function of colour and depth made better by its own mirror images.

    Args:
        upsample: (H, W, 3) uint8 RGB and (h, w) float32 metres, NaN = unknown → (H, W) float32 metres, NaN = unknown.

    Returns:
        A function of the same kind. A pixel is unknown where it is in the picture as it is; the mean is over the mirror
        images in which it is known.
    """

    def mean(color: np.ndarray, depth: np.ndarray) -> np.ndarray:
        results = []
        for down, right in product((1, -1), repeat=2):  # the picture as it is comes first
            flipped = (np.ascontiguousarray(image[::down, ::right]) for image in (color, depth))
            results.append(upsample(*flipped)[::down, ::right])
        known = np.isfinite(results)
        total = np.where(known, results, 0).sum(0, dtype=np.float64) / np.maximum(known.sum(0), 1)
        return np.where(known[0], total, np.nan).astype(np.float32)

    return mean
