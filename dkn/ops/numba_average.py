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

"""From kernels as a network's heads lay them out to depth, on the CPU: eq. (3) or (7) in one pass, by Numba.

Pixel shuffle is an index here and moves nothing. The work on one pixel of the features is split into short loops that
write one array each: a compiler turns those into vector instructions, and only the reading of taps remains scalar. It
does so for sums over taps if it knows how many there are, so that each number of them has a kernel of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from dkn.ops.compilation import compiled
from dkn.ops.rows import FAST, border, in_rows

ONE, ZERO = np.float32(1), np.float32(0)
TINY = np.finfo(np.float32).tiny
ZERO_LEVEL = 128
"""The level of 0 in offsets that are bytes."""


def average_kernels(
    depth: np.ndarray,
    weights: Sequence[np.ndarray],
    offsets: Sequence[np.ndarray],
    taps: np.ndarray,
    window: int,
    phases: int,
    *,
    residual: bool,
    offset_unit: float = 1.0,
) -> np.ndarray:
    """The network's output from what its heads give.

    Args:
        depth: (H, W) float32.
        weights, offsets: as `Average.band` takes them, for all rows.
        taps, window, phases, residual, offset_unit: as for `Average`.

    Returns:
        (H, W) float32.
    """
    average = Average(depth, taps, window, phases, residual=residual, offset_unit=offset_unit)

    def some(first: int, last: int) -> None:
        average.band(first, [w[first:last] for w in weights], [o[first:last] for o in offsets])

    in_rows(some, len(weights[0]))
    return average.output


class Average:
    """Eq. (3) or (7) over one depth map, some rows at a time, on whatever thread.

    Args:
        depth: (H, W) float32.
        taps: (k², 2) float32 pixels, x and y.
        window: d; taps reach no further than a d×d window.
        phases: p, 4 for FDKN and 1 for DKN.
        residual: eq. (3), else eq. (7).
        offset_unit: pixels that an offset of 1 stands for, or one level of offsets in bytes.
    """

    def __init__(
        self, depth: np.ndarray, taps: np.ndarray, window: int, phases: int, *, residual: bool, offset_unit: float = 1.0
    ):
        self.output = np.empty_like(depth)
        """(H, W) float32: the bands that are done."""
        self._pairs, self._pad = _pairs(depth, window, phases)
        self._taps, self._radius, self._phases = taps, window // 2, phases
        self._unit = np.float32(offset_unit)
        self._kernel = _kernel(len(taps), phases, residual)

    def band(self, first: int, weights: Sequence[np.ndarray], offsets: Sequence[np.ndarray]) -> None:
        """Do the rows of the features from `first` on.

        Args:
            weights: one or two factors, each (rows, ⌈W/p⌉, k²·p²): what the streams' sigmoids give; float32, or uint8
                in steps of 1/255.
            offsets: up to two factors, each (rows, ⌈W/p⌉, 2·k²·p²) of the same type, those along x first, 0 as
                `ZERO_LEVEL` where they are bytes; none: a regular grid.
        """
        rows, columns, n = weights[0].shape
        kind = weights[0].dtype
        one, zero = (255, ZERO_LEVEL) if kind == np.uint8 else (1, 0)
        # Steps of 0 read the same numbers at each pixel: what a factor that there is not would have been.
        kernels = [(factor, 1) for factor in weights] + [(np.full((1, 1, n), one, kind), 0)]
        shifts = [(factor, 1) for factor in offsets] + [(np.full((1, 1, 2 * n), zero + 1, kind), 0)]
        if not offsets:
            shifts.insert(0, (np.full((1, 1, 2 * n), zero, kind), 0))
        top = self._phases * first
        self._kernel(
            rows, columns, self._pairs[top:], self._pad, *kernels[0], *kernels[1], *shifts[0], *shifts[1],
            np.float32(1 / one**2), np.float32(zero), self._unit,
            self._taps, self._radius, self.output[top : top + self._phases * rows],
        )  # fmt: skip


def _pairs(depth: np.ndarray, window: int, phases: int) -> tuple[np.ndarray, int]:
    """Each pixel and its right neighbour as one complex number, so that one reading gives both; with a border of zeros
    (`border`), and its width."""
    before, below, right = border(depth.shape, window, phases)
    height, width = depth.shape
    pairs = np.zeros((before + height + below, before + width + right), np.complex64)
    pairs.real[before : before + height, before : before + width] = depth
    pairs.imag[before : before + height, before - 1 : before - 1 + width] = depth
    return pairs, before


@cache
def _kernel(count: int, phases: int, residual: bool) -> Callable[..., None]:
    """The loops over pixels for k² = `count` taps."""
    area = phases * phases
    n = count * area  # of taps of one pixel of the features: tap after tap, in each its phases
    both = 2 * n  # along x, then along y
    share = np.float32(1 / count)

    @compiled(nogil=True, fastmath=FAST)
    def average(  # type: ignore[no-untyped-def]  # Numba infers them
        rows, columns, pairs, pad, weights, step, weights_2, step_2, offsets, stride_1, offsets_2, stride_2,
        weight_unit, zero, unit,
        taps, radius, output,
    ):  # fmt: skip
        height, width = output.shape
        row_length = np.int32(pairs.shape[1])
        below, length = np.uint32(row_length), np.float32(row_length)
        flat = pairs.ravel()
        # A position outside lands just outside the window, where taps read zero. So does NaN.
        lowest, highest = np.float32(-radius - 2), np.float32(radius + 1)
        inner = np.float32(radius)

        phase_at = np.empty(area, np.int32)
        for phase in range(area):
            phase_at[phase] = phase // phases * row_length + phase % phases
        tap, tap_at = np.empty(both, np.float32), np.empty(n, np.int32)
        for t in range(count):
            for phase in range(area):
                i = t * area + phase
                tap[i], tap[n + i], tap_at[i] = taps[t, 0], taps[t, 1], phase_at[phase]

        position = np.empty(both, np.float32)
        at = np.empty(n, np.uint32)  # unsigned: Numba need not look for negative ones
        upper, lower = np.empty(n, np.complex64), np.empty(n, np.complex64)
        result = np.empty(area, np.float32)
        for row in range(rows):
            for column in range(columns):
                start = np.int32((phases * row + pad) * row_length + phases * column + pad)
                one, other = weights[step * row, step * column], weights_2[step_2 * row, step_2 * column]
                shift = offsets[stride_1 * row, stride_1 * column]
                shift_2 = offsets_2[stride_2 * row, stride_2 * column]
                for i in range(both):
                    offset = unit * (np.float32(shift[i]) - zero) * (np.float32(shift_2[i]) - zero)
                    position[i] = min(highest, max(lowest, offset + tap[i]))
                beyond = np.int32(0)
                for i in range(both):
                    beyond += np.int32(abs(position[i]) >= inner)
                for i in range(n):
                    # Exact: whole numbers far below 2²⁴.
                    moved = np.floor(position[n + i]) * length + np.floor(position[i])
                    at[i] = np.uint32(start + tap_at[i] + np.int32(moved))
                for i in range(n):
                    upper[i], lower[i] = flat[at[i]], flat[at[i] + below]
                if beyond:
                    for i in range(n):
                        x, y = np.floor(position[i]), np.floor(position[n + i])
                        left, right = abs(x) <= radius, abs(x + ONE) <= radius
                        if abs(y) > radius:
                            upper[i] = 0
                        if abs(y + ONE) > radius:
                            lower[i] = 0
                        upper[i] = complex(upper[i].real * left, upper[i].imag * right)
                        lower[i] = complex(lower[i].real * left, lower[i].imag * right)

                for phase in range(area):
                    total, values, products = ZERO, ZERO, ZERO
                    for t in range(count):
                        i = t * area + phase
                        x = position[i] - np.floor(position[i])  # and y: g(s, t) of eq. (6)
                        y = position[n + i] - np.floor(position[n + i])
                        above = upper[i].real + x * (upper[i].imag - upper[i].real)
                        beneath = lower[i].real + x * (lower[i].imag - lower[i].real)
                        value = above + y * (beneath - above)
                        weight = np.float32(one[i]) * np.float32(other[i])
                        total += weight
                        values += value
                        products += weight * value
                    if residual:  # weights less their mean
                        result[phase] = weight_unit * (products - total * values * share)
                    else:
                        result[phase] = products / max(total, TINY)
                if residual:
                    for phase in range(area):
                        result[phase] += flat[start + phase_at[phase]].real
                # Ends, not conditions in the loop; nor divisions, which would take a third of all the time.
                top, first = phases * row, phases * column
                for dy in range(min(phases, height - top)):
                    for dx in range(min(phases, width - first)):
                        output[top + dy, first + dx] = result[dy * phases + dx]

    return average
