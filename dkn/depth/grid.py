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

"""Two pixel grids of the same view: which pixels of one lie under, around, or make up a pixel of the other."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray


def pixels_under(size: int, other: int) -> NDArray[np.int64]:
    """The pixel of an axis of `other` pixels that the centre of each of `size` pixels lies in: (size,), as PyTorch's
    "nearest-exact" has it, in whole numbers."""
    return (2 * np.arange(size) + 1) * other // (2 * size)


def from_middle(size: int, other: int) -> NDArray[np.float32]:
    """How far the centre of each of `size` pixels lies from the middle of the pixel under it, in pixels of that:
    (size,), -0.5 to 0.5."""
    place = ((2 * np.arange(size) + 1) * other).astype(np.float32) / np.float32(2 * size)
    return place - np.float32(0.5) - pixels_under(size, other).astype(np.float32)


def reduce_color(color: np.ndarray, decimation: int) -> np.ndarray:
    """(H, W, 3) uint8 → (⌊H/n⌋, ⌊W/n⌋, 3) for n = `decimation`: the mean over the area of each pixel."""
    if decimation == 1:
        return color
    height, width = (max(1, n // decimation) for n in color.shape[:2])
    mirrored = color.strides[2] < 0  # a view of BGR: OpenCV takes it faster as it lies in memory
    pixels = np.ascontiguousarray(color[..., ::-1] if mirrored else color)
    reduced = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return reduced[..., ::-1] if mirrored else reduced


def radii(small: tuple[int, int], size: tuple[int, int], reach: int) -> tuple[int, int]:
    """How many rows and columns of the input (h, w) around a pixel have an influence on a result of (H, W): two for the
    bicubic kernel, and those that the taps, `reach` pixels of the result, come to."""
    rows, columns = (2 + math.ceil(reach * n / big) for n, big in zip(small, size, strict=True))
    return rows, columns


@lru_cache(8)
def cubic_taps(size: int, other: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Along an axis that goes from `size` to `other` pixels, for each of these: the pixels that it is made of, (other,
    n), and their weights; of Keys' cubic with a = -1/2, which is 4 pixels wide, more where the axis shrinks."""
    wider = max(size / other, 1)
    centre = (np.arange(other) + 0.5) * size / other
    first = np.floor(centre - 2 * wider + 0.5).astype(np.int64)
    pixels = first[:, None] + np.arange(math.ceil(4 * wider) + 1)
    x = np.abs(pixels + 0.5 - centre[:, None]) / wider
    weights = np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((2.5 - 0.5 * x) * x - 4) * x + 2, 0))
    weights *= (pixels >= 0) & (pixels < size)
    weights /= weights.sum(axis=1, keepdims=True)
    return pixels.clip(0, size - 1), weights.astype(np.float32)
