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

"""A recursive average over time that holds only where nothing moves.

Each depth is averaged with the mean of those before it, as far as both colour and depth say that the pixel still shows
the same surface: neither may differ from the past by more than the sensors' noise. Of depth, what was measured there or
what was made of it: at edges a network turns little noise into much. Where something moves, the new
depth is taken as it is, and everywhere while the camera moves: a wall without texture, whose colour does not change
then, would be averaged with its neighbours. The camera moves if most of what has texture does (`apparent_motion`), so
that somebody who walks through the picture ends the average where he is, and nowhere else. What is unknown stays
unknown: the past fills nothing.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from dkn.depth.grid import pixels_under
from dkn.depth.units import Depth
from dkn.errors import ConfigError, ImageError

try:
    from dkn.depth.kernels import numba_temporal as kernels
except ImportError:  # Numba is an extra: without it, slower and the same
    from dkn.depth.kernels import numpy_temporal as kernels  # type: ignore[no-redef]

NOISE = (0.002, 0.0028)
"""Deviation of a depth: metres, and metres at 1 m, there growing with z² (Kinect v1, Xtion)."""
GATE = 3.0
"""Deviations by which a depth may differ from the mean of those before it. Its weight falls to zero there."""
COLOR_GATE = 24
"""Levels of 0 to 255 by which no channel of a pixel's colour may have changed since the last frame."""
AT_REST, MOVING = 0.05, 0.08
"""Pixels from one frame to the next, of the typical textured pixel: up to the first a camera stands still, and the past
has all its weight; from the second on it moves, and the past has none. Noise and what moves before a camera at rest
make 0 to 0.05; a camera in a hand 0.1 (at 160×120) to 2 (at 640×480)."""
TEXTURE = 8
"""Levels from one pixel to the next from which on a pixel has texture."""
LEAST_TEXTURE = 0.002
"""Share of the pixels that have texture below which there is nothing to see motion by: the camera counts as at rest."""
EVERY = 4
"""Of rows and columns, so many-th pixels are looked at."""
LONGEST_GAP = 0.5
"""Seconds between two frames after which the average begins anew."""


class TemporalFilter:
    """Averages each pixel over time while it shows the same surface.

    Args:
        weight: of the past, 0 to below 1: 0 leaves depth as it is, 0.8 averages about (1 + 0.8) / (1 - 0.8) = 9 frames.

    Raises:
        ConfigError: a weight outside 0 to below 1.
    """

    def __init__(self, weight: float):
        if not 0 <= weight < 1:
            raise ConfigError(f"temporal={weight}: a weight from 0 to below 1 is needed")
        self.weight = weight
        self.reset()

    def reset(self) -> None:
        """Begin anew with the next frame."""
        self._mean: Depth | None = None
        self._measured: Depth | None = None  # the mean of it
        self._color: np.ndarray | None = None
        self._stamp = -math.inf
        self._rest = 1.0  # how far the camera is at rest, 0 to 1

    def __call__(self, color: np.ndarray, depth: Depth, stamp: float, measured: Depth | None = None) -> Depth:
        """The average, up to this frame.

        Begins anew when the size changes, time goes back, or `LONGEST_GAP` has passed.

        Args:
            color: (H, W, 3) uint8 RGB.
            depth: (H, W) float32 metres, NaN = unknown. Left as it is.
            stamp: seconds.
            measured: (h, w) float32 metres, NaN = unknown: what depth was upsampled from. Where that is as it was,
                depth is averaged even if it differs.

        Returns:
            (H, W) float32 metres, NaN where this frame's depth is unknown.

        Raises:
            ImageError: images of different sizes.
        """
        if color.shape != (*depth.shape, 3):
            raise ImageError(f"colour is {color.shape} and depth {depth.shape}: one size is needed")
        mean, before = self._mean, self._color
        now = np.array(color, order="C")  # a copy: the arrays of the frame belong to whoever gave them
        weight = 0.0
        if mean is None or before is None or mean.shape != depth.shape:
            self._rest = 1.0
        elif 0 <= stamp - self._stamp <= LONGEST_GAP:
            motion = apparent_motion(now, before)
            if motion is not None:  # the same picture again, as some cameras send it, says nothing
                self._rest = min(max((MOVING - motion) / (MOVING - AT_REST), 0.0), 1.0)
            weight = self.weight * self._rest
        least, growing = (np.float32(GATE * part) for part in NOISE)
        agrees = self._measure(measured, np.float32(weight), least, growing)
        if mean is None or before is None or weight == 0:
            result = depth.copy()
        else:
            result = np.empty_like(depth)
            still = np.asarray(cv2.inRange(cv2.absdiff(now, before), (0, 0, 0), (COLOR_GATE,) * 3), np.uint8)
            agrees *= _still_around(still, agrees.shape)
            rows, columns = map(pixels_under, depth.shape, agrees.shape)
            kernels.average(depth, mean, still, agrees, rows, columns, np.float32(weight), least, growing, result)
        self._mean, self._color, self._stamp = result.copy(), now, stamp
        return result

    def _measure(
        self, measured: Depth | None, weight: np.float32, least: np.float32, growing: np.float32
    ) -> NDArray[np.float32]:
        """How far what was measured agrees with its own average, (h, w) from 0 to 1; that goes on with it."""
        before = self._measured
        if measured is None:
            self._measured = None
            return np.zeros((1, 1), np.float32)
        now = np.array(measured, np.float32, order="C")
        if before is None or before.shape != now.shape or weight == 0:
            self._measured = now
            return np.zeros(now.shape, np.float32)
        return np.asarray(kernels.agreement(now, before, weight, least, growing))


def _still_around(still: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(h, w) bool: whether colour is as it was in all of an input pixel and those around it. Between its samples depth
    may change unseen."""
    whole = cv2.resize(still, size[::-1], interpolation=cv2.INTER_AREA) == 255
    return cv2.erode(whole.view(np.uint8), np.ones((3, 3), np.uint8)).view(bool)


def apparent_motion(color: np.ndarray, before: np.ndarray) -> float | None:
    """How far the typical textured pixel has moved along its gradient (normal flow), by the change of its brightness
    beyond that of pixels without texture, which is noise.

    Args:
        color, before: (H, W, 3) uint8, of this frame and the last.

    Returns:
        Pixels; None if both are the same picture. 0 if too little of it has texture.
    """
    now, then = (image[..., 1] for image in (color, before))  # green stands for brightness
    if min(now.shape) < 3:
        return 0.0
    rows, columns = (slice(1, n - 1, EVERY) for n in now.shape)
    left, right, above, below = (
        now[y, x].astype(np.int16)
        for y, x in (
            (rows, _moved(columns, -1)),
            (rows, _moved(columns, 1)),
            (_moved(rows, -1), columns),
            (_moved(rows, 1), columns),
        )
    )
    change = np.abs(now[rows, columns].astype(np.int16) - then[rows, columns])
    if not change.any():
        return None
    twice = np.maximum(np.abs(right - left), np.abs(below - above))
    textured = twice >= 2 * TEXTURE
    if np.mean(textured) < LEAST_TEXTURE:
        return 0.0
    plain = change[~textured]
    noise = np.median(plain) if plain.size else 0.0
    return float(np.median(np.maximum(change[textured] - noise, 0) / (0.5 * twice[textured])))


def _moved(pixels: slice, by: int) -> slice:
    return slice(pixels.start + by, pixels.stop + by, pixels.step)
