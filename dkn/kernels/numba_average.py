"""From kernels as a network's heads lay them out to depth, on the CPU: eq. (3) or (7) in one pass, by Numba.

Pixel shuffle is an index here and moves nothing. The work on one pixel of the features is split into short loops that
write one array each: a compiler turns those into vector instructions, and only the reading of taps remains scalar.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dkn.kernels.rows import FAST, in_rows, with_border

ONE, ZERO = np.float32(1), np.float32(0)
TINY = np.finfo(np.float32).tiny


def average_kernels(
    depth: np.ndarray,
    weights: np.ndarray,
    offsets: np.ndarray,
    taps: np.ndarray,
    window: int,
    phases: int,
    *,
    residual: bool,
) -> np.ndarray:
    """The network's output from the outputs of `dkn.engines.onnx_graph.kernels_graph`.

    Args:
        depth: (H, W) float32.
        weights: (⌈H/p⌉, ⌈W/p⌉, k²·p²) float32, products of sigmoids.
        offsets: (⌈H/p⌉, ⌈W/p⌉, 2·k²·p²) float32 pixels, those along x first.
        taps: (k², 2) float32 pixels, x and y.
        window: d; taps reach no further than a d×d window.
        phases: p, 4 for FDKN and 1 for DKN.
        residual: eq. (3), else eq. (7).

    Returns:
        (H, W) float32.
    """
    output = np.empty_like(depth)
    padded, pad = with_border(depth, window, phases)
    in_rows(_average, len(weights), padded, pad, weights, offsets, taps, window // 2, phases, residual, output)
    return output


@njit(nogil=True, fastmath=FAST, cache=True)
def _average(  # type: ignore[no-untyped-def]
    first, last, image, pad, weights, offsets, taps, radius, phases, residual, output
):
    height, width = output.shape
    count, area = len(taps), phases * phases
    n = count * area  # of taps of one pixel of the features: tap after tap, in each its phases
    stride = np.int32(image.shape[1])
    flat = image.ravel()
    # A position outside lands just outside the window, where all its weights are zero. So does NaN.
    lowest, highest = np.float32(-radius - 2), np.float32(radius + 1)

    phase_at = np.empty(area, np.int32)
    for phase in range(area):
        phase_at[phase] = phase // phases * stride + phase % phases
    tap_x, tap_y, tap_at = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.int32)
    for t in range(count):
        for phase in range(area):
            i = t * area + phase
            tap_x[i], tap_y[i], tap_at[i] = taps[t, 0], taps[t, 1], phase_at[phase]

    x, y = np.empty(n, np.float32), np.empty(n, np.float32)
    left, right, upper, lower = (
        np.empty(n, np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.float32),
    )
    at = np.empty(n, np.int32)
    total = np.empty(area, np.float32)
    for row in range(first, last):
        for column in range(weights.shape[1]):
            start = np.int32((phases * row + pad) * stride + phases * column + pad)
            kernel, shift = weights[row, column], offsets[row, column]
            for i in range(n):
                x[i] = min(highest, max(lowest, shift[i] + tap_x[i]))
            for i in range(n):
                y[i] = min(highest, max(lowest, shift[n + i] + tap_y[i]))
            for i in range(n):
                at[i] = tap_at[i] + np.int32(np.floor(y[i])) * stride + np.int32(np.floor(x[i]))
            for i in range(n):
                left[i] = _first(x[i], radius)
            for i in range(n):
                right[i] = _second(x[i], radius)
            for i in range(n):
                upper[i] = _first(y[i], radius)
            for i in range(n):
                lower[i] = _second(y[i], radius)
            total[:] = ZERO
            for t in range(count):
                for phase in range(area):
                    total[phase] += kernel[t * area + phase]

            for phase in range(area):
                pixel_y, pixel_x = phases * row + phase // phases, phases * column + phase % phases
                if pixel_y >= height or pixel_x >= width:
                    continue
                mean = total[phase] / np.float32(count) if residual else ZERO
                average = ZERO
                for t in range(count):
                    i = t * area + phase
                    corner = start + at[i]
                    above = left[i] * flat[corner] + right[i] * flat[corner + 1]
                    below = left[i] * flat[corner + stride] + right[i] * flat[corner + stride + 1]
                    average += (kernel[i] - mean) * (upper[i] * above + lower[i] * below)
                if residual:
                    output[pixel_y, pixel_x] = flat[start + phase_at[phase]] + average
                else:
                    output[pixel_y, pixel_x] = average / max(total[phase], TINY)


@njit(inline="always", fastmath=FAST)
def _first(position, radius):  # type: ignore[no-untyped-def]
    """g(s, t) of eq. (6) for the neighbour below `position`, zero outside the window."""
    floor = np.floor(position)
    return ONE - (position - floor) if abs(floor) <= radius else ZERO


@njit(inline="always", fastmath=FAST)
def _second(position, radius):  # type: ignore[no-untyped-def]
    """The same for the neighbour above it."""
    floor = np.floor(position)
    return position - floor if abs(floor + ONE) <= radius else ZERO
