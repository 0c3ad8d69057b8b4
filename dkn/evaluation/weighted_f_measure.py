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

"""The weighted F-measure of foreground maps (Margolin, Zelnik-Manor, Tal: How to evaluate foreground maps? CVPR 2014).

The error of a pixel is not counted alone. Inside the foreground, errors beside each other hide each other (the
detection is then only less confident): the matrix A spreads them with a Gaussian of deviation 5, and the smaller of
the spread and the plain error counts. Outside, an error near the foreground counts less than one far away: B.
"""

from __future__ import annotations

import cv2
import numpy as np

from dkn.errors import ImageError

WINDOW, DEVIATION = 7, 5.0  # of the Gaussian in A
HALF_AT = 5.0  # pixels from the foreground at which half of the increase from 1 to 2 is reached


def weighted_f_measure(foreground: np.ndarray, truth: np.ndarray, beta_squared: float = 1.0) -> float:
    """F = (1 + β²) · precision · recall / (β² · precision + recall), both weighted.

    Args:
        foreground: (H, W) float, 0 to 1.
        truth: (H, W) bool.

    Returns:
        0 to 1; NaN if the truth has no foreground.

    Raises:
        ImageError: arrays that do not fit.
    """
    if foreground.shape != truth.shape or foreground.ndim != 2 or truth.dtype != bool:
        raise ImageError(
            f"maps are {foreground.shape} and {truth.shape} {truth.dtype}; expected (H, W) and (H, W) bool"
        )
    if not truth.any():
        return float("nan")
    weighted = _weighted_error(np.abs(truth - foreground.astype(np.float64)), truth)
    true_positive = float((1 - weighted[truth]).sum())
    recall = true_positive / int(truth.sum())
    precision = true_positive / (true_positive + float(weighted[~truth].sum()) + 1e-12)
    return (1 + beta_squared) * recall * precision / (beta_squared * precision + recall + 1e-12)


def _weighted_error(error: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """E^w = min(E, E·A) · B, (H, W)."""
    background = (~truth).astype(np.uint8)
    distance = cv2.distanceTransform(background, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # A looks across the border of the foreground at what the nearest foreground pixel has, not at the background.
    # (Labels come with a 5×5 mask only, whose distances are not exact, but in the right order within A's 3 pixels.)
    _, nearest = cv2.distanceTransformWithLabels(
        background, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    by_label = np.zeros(int(nearest.max()) + 1)
    by_label[nearest[truth]] = error[truth]
    inside = by_label[nearest]
    spread = cv2.GaussianBlur(inside, (WINDOW, WINDOW), DEVIATION, borderType=cv2.BORDER_CONSTANT)
    dependent = np.where(truth & (spread < error), spread, error)
    importance = np.where(truth, 1, 2 - np.exp(np.log(0.5) / HALF_AT * distance.astype(np.float64)))
    return np.asarray(dependent * importance)
