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

"""How good a segmentation is: mean IoU, and boundary IoU."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

REACH = 2  # pixels from a border that boundary IoU looks at


def mean_iou(found: Iterable[np.ndarray], truth: Iterable[np.ndarray], classes: int, reach: int = 0) -> float:
    """Mean over classes of intersection over union, each counted over all images; 0 to 1.

    Args:
        found, truth: (H, W) labels, image by image.
        reach: 0 for the usual measure; else only pixels of a class at most so far inside its border count (boundary
            IoU: Cheng et al., CVPR 2021), the image's edge being a border too.
    """
    both, either = np.zeros(classes), np.zeros(classes)
    for one, other in zip(found, truth, strict=True):
        for label in range(classes):
            a, b = (_rim(map_ == label, reach) for map_ in (one, other))
            both[label] += np.count_nonzero(a & b)
            either[label] += np.count_nonzero(a | b)
    seen = either > 0
    return float(np.mean(both[seen] / either[seen]))


def _rim(mask: np.ndarray, reach: int) -> np.ndarray:
    """The pixels of a mask that are at most `reach` rows, columns or diagonal steps inside its border."""
    if reach == 0:
        return mask
    padded = np.pad(mask.astype(np.uint8), 1)
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=reach)[1:-1, 1:-1]
    return np.asarray(mask & (inner == 0))
