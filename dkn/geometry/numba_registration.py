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

"""`dkn.geometry.registration` in machine code. `numpy_registration` is the same, readable."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dkn.ops.compilation import compiled
from dkn.ops.rows import FAST, in_rows

ZERO, TENTH, HALF, ONE, TWO = (np.float32(number) for number in (0, 0.1, 0.5, 1, 2))


def register(
    depth: NDArray[np.float32],
    rays: list[np.ndarray],
    lens: tuple[np.ndarray, np.float32],
    numbers: np.ndarray,
    size: tuple[int, int],
    surface: float,
) -> NDArray[np.float32]:
    """Arguments and result as of `numpy_registration.register`."""
    height, width = size
    u, v, w = np.empty((3, len(depth) + 2, depth.shape[1] + 2), np.float32)
    w[0] = w[-1] = w[:, 0] = w[:, -1] = np.nan  # a border of unknown depth
    in_rows(_project, len(depth), depth, *rays, *lens, numbers, u, v, w)
    cell, inverse = np.empty(depth.shape, np.int32), np.empty(depth.shape, np.float32)
    in_rows(_place, len(depth), u, v, w, height, width, np.float32(surface), cell, inverse)
    owner, best = np.empty(size, np.int32), np.zeros(size, np.float32)  # nobody owns where it is zero
    _nearest(cell.ravel(), inverse.ravel(), owner.ravel(), best.ravel())
    result = np.empty(size, np.float32)
    in_rows(_read, height, owner, best, depth.shape[1], np.float32(surface), result)
    return result


@compiled(nogil=True, fastmath=FAST, error_model="numpy")
def _project(first, last, depth, ray_x, ray_y, ray_z, radial, max_r2, numbers, u, v, w):  # type: ignore[no-untyped-def]
    tx, ty, tz, fx, fy, cx, cy, p1, p2, s1, s2, s3, s4 = numbers
    beyond = np.float32(len(radial) - 2)
    steps = beyond / max_r2
    columns = depth.shape[1]
    x, y, k = np.empty(columns, np.float32), np.empty(columns, np.float32), np.empty(columns, np.float32)
    distorted = len(radial) > 2
    for row in range(first, last):
        z, rx, ry, rz, inverse = depth[row], ray_x[row], ray_y[row], ray_z[row], w[row + 1, 1:-1]
        for j in range(columns):
            one = ONE / (z[j] * rz[j] + tz)
            # What is not positive has no depth; what is negative now lies behind the colour camera.
            inverse[j] = one if (z[j] > ZERO) & (one > ZERO) else np.float32(np.nan)
        for j in range(columns):
            x[j] = (z[j] * rx[j] + tx) * inverse[j]
            y[j] = (z[j] * ry[j] + ty) * inverse[j]
        if distorted:
            for j in range(columns):
                r2 = x[j] * x[j] + y[j] * y[j]
                k[j] = r2 * steps if r2 <= max_r2 else beyond  # NaN too
            for j in range(columns):
                i = np.int32(k[j])
                k[j] = radial[i] + (k[j] - np.float32(i)) * (radial[i + 1] - radial[i])
            for j in range(columns):
                a, b = x[j], y[j]
                r2 = a * a + b * b
                x[j] = a * k[j] + TWO * p1 * a * b + p2 * (r2 + TWO * a * a) + r2 * (s1 + s2 * r2)
                y[j] = b * k[j] + p1 * (r2 + TWO * b * b) + TWO * p2 * a * b + r2 * (s3 + s4 * r2)
        for j in range(columns):
            u[row + 1, j + 1] = fx * x[j] + cx
            v[row + 1, j + 1] = fy * y[j] + cy


@compiled(nogil=True, fastmath=FAST, error_model="numpy")
def _place(first, last, u, v, w, height, width, surface, cell, inverse):  # type: ignore[no-untyped-def]
    right, bottom = np.float32(width) - HALF, np.float32(height) - HALF
    for row in range(first, last):
        i = row + 1
        for column in range(cell.shape[1]):
            j = column + 1
            a, b, c = u[i, j], v[i, j], w[i, j]
            # False for NaN.
            seen = (a >= -HALF) & (a < right) & (b >= -HALF) & (b < bottom) & (c > ZERO)
            in_column = np.int32(a + HALF if seen else ZERO)
            in_row = np.int32(b + HALF if seen else ZERO)
            cell[row, column] = in_row * np.int32(width) + in_column if seen else np.int32(-1)

            most = surface * c
            back, ahead = c - w[i, j - 1], w[i, j + 1] - c
            backwards = (abs(back) <= abs(ahead)) | (ahead != ahead)
            dw = back if backwards else ahead
            du = a - u[i, j - 1] if backwards else u[i, j + 1] - a
            dv = b - v[i, j - 1] if backwards else v[i, j + 1] - b
            flat = abs(dw) <= most
            dw, du, dv = dw if flat else ZERO, du if flat else ONE, dv if flat else ZERO
            back, ahead = c - w[i - 1, j], w[i + 1, j] - c
            backwards = (abs(back) <= abs(ahead)) | (ahead != ahead)
            ew = back if backwards else ahead
            eu = a - u[i - 1, j] if backwards else u[i + 1, j] - a
            ev = b - v[i - 1, j] if backwards else v[i + 1, j] - b
            flat = abs(ew) <= most
            ew, eu, ev = ew if flat else ZERO, eu if flat else ZERO, ev if flat else ONE
            determinant = du * ev - dv * eu
            by_u, by_v = dw * ev - ew * dv, ew * du - dw * eu
            step = (by_u * (np.float32(in_column) - a) + by_v * (np.float32(in_row) - b)) / determinant
            step = step if abs(determinant) > TENTH else ZERO
            inverse[row, column] = c + min(most, max(-most, step))


@compiled(nogil=True)
def _nearest(cell, w, owner, best):  # type: ignore[no-untyped-def]
    for i in range(len(cell)):
        place = cell[i]
        if place >= 0 and w[i] > best[place]:
            owner[place], best[place] = i, w[i]


@compiled(nogil=True, fastmath=FAST, error_model="numpy")
def _read(first, last, owner, best, columns, surface, result):  # type: ignore[no-untyped-def]
    height, width = result.shape
    flat, owners = best.ravel(), owner.ravel()
    behind = np.zeros(width, np.bool_)
    for row in range(first, last):
        for column in range(width):
            inverse = best[row, column]
            result[row, column] = ONE / inverse if inverse > ZERO else np.float32(np.nan)
        if row == 0 or row == height - 1:
            continue
        # Few pixels lie behind a pair of neighbours: all are looked at at once, and the few then one by one.
        above, middle, below = best[row - 1], best[row], best[row + 1]
        for column in range(1, width - 1):
            upright = max(min(middle[column - 1], middle[column + 1]), min(above[column], below[column]))
            diagonal = max(min(above[column - 1], below[column + 1]), min(above[column + 1], below[column - 1]))
            behind[column] = max(upright, diagonal) * (ONE - surface) > middle[column]
        for column in range(1, width - 1):
            if not behind[column]:
                continue
            at, total, count = row * width + column, ZERO, ZERO
            for step in (1, width, width + 1, width - 1):
                a, b = flat[at - step], flat[at + step]
                if _closes(a, b, middle[column], surface) and _adjacent(owners[at - step], owners[at + step], columns):
                    total, count = total + a + b, count + TWO
            if count > ZERO:
                result[row, column] = count / total


@njit(inline="always")
def _closes(a, b, inverse, surface):  # type: ignore[no-untyped-def]
    """Whether two pixels are of one surface, and nearer than what lies between them."""
    low, high = min(a, b), max(a, b)
    return low * (ONE - surface) > inverse and low >= (ONE - surface) * high


@njit(inline="always")
def _adjacent(one, other, columns):  # type: ignore[no-untyped-def]
    """Whether two pixels of the depth image touch each other."""
    apart = abs(one - other)
    return apart == 1 or columns - 1 <= apart <= columns + 1
