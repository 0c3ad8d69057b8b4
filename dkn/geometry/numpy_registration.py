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

"""`dkn.geometry.registration` in NumPy: the reference of the compiled one, and what runs where Numba is missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def register(
    depth: NDArray[np.float32],
    rays: list[np.ndarray],
    lens: tuple[np.ndarray, np.float32],
    numbers: np.ndarray,
    size: tuple[int, int],
    surface: float,
) -> NDArray[np.float32]:
    """Lift, move, project, and close what lies between neighbours.

    Args:
        depth: (h, w) float32 metres, anything not positive where invalid.
        rays: three (h, w) float32, the components of each pixel's ray in the colour camera's frame.
        lens: k(r²) of `dkn.geometry.camera_model` at equal steps of r², then NaN; and the last step's r². Of one step:
            no distortion.
        numbers: translation (3), fx, fy, cx, cy of the result, p1, p2, s1, s2, s3, s4.
        size: (H, W) of the result.
        surface: the share by which inverse depths of one surface may differ.

    Returns:
        (H, W) float32 metres, NaN where unknown.
    """
    height, width = size
    tx, ty, tz, fx, fy, cx, cy, p1, p2, s1, s2, s3, s4 = numbers
    radial, max_r2 = lens
    ray_x, ray_y, ray_z = rays
    with np.errstate(all="ignore"):
        inverse = 1 / (depth * ray_z + tz)
        x, y = (depth * ray_x + tx) * inverse, (depth * ray_y + ty) * inverse
        if len(radial) > 2:
            r2 = x * x + y * y
            k = np.interp(r2, np.linspace(0, max_r2, len(radial) - 1), radial[:-1], right=np.nan).astype(np.float32)
            x, y = (
                x * k + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + r2 * (s1 + s2 * r2),
                y * k + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + r2 * (s3 + s4 * r2),
            )
        u, v = fx * x + cx, fy * y + cy
        inverse[~((depth > 0) & (inverse > 0))] = np.nan
        seen = (u >= -0.5) & (u < width - 0.5) & (v >= -0.5) & (v < height - 0.5) & np.isfinite(inverse)
        inverse = _at_centres(u, v, inverse, surface)
    source = np.flatnonzero(seen)[::-1]
    # The nearest last, so that it stays; of several that are equally near, the first.
    source = source[np.argsort(inverse.ravel()[source], kind="stable")]
    cell = np.floor(v.ravel()[source] + 0.5).astype(int) * width + np.floor(u.ravel()[source] + 0.5).astype(int)
    owner, best = np.full(height * width, -1), np.zeros(height * width, np.float32)
    owner[cell], best[cell] = source, inverse.ravel()[source]
    return _closed(owner.reshape(size), best.reshape(size), depth.shape[1], surface)


def _at_centres(u: np.ndarray, v: np.ndarray, inverse: np.ndarray, surface: float) -> np.ndarray:
    """Inverse depth at the centre of the pixel that each point falls into, on the plane through the point and two of
    its neighbours: inverse depth is linear in the picture of a plane. Of the neighbours in each direction that one
    counts which differs less."""
    padded = [np.pad(each, 1, constant_values=np.nan) for each in (u, v, inverse)]
    differences = []
    for rows, columns in ((0, 1), (1, 0)):
        back = [_shifted(each, 0, 0) - _shifted(each, -rows, -columns) for each in padded]
        ahead = [_shifted(each, rows, columns) - _shifted(each, 0, 0) for each in padded]
        backwards = (np.abs(back[2]) <= np.abs(ahead[2])) | np.isnan(ahead[2])
        du, dv, dw = (np.where(backwards, one, other) for one, other in zip(back, ahead, strict=True))
        flat = np.abs(dw) <= surface * inverse
        differences += [np.where(flat, du, columns), np.where(flat, dv, rows), np.where(flat, dw, 0)]
    du, dv, dw, eu, ev, ew = differences
    determinant = du * ev - dv * eu
    step = (dw * ev - ew * dv) * (np.floor(u + 0.5) - u) + (ew * du - dw * eu) * (np.floor(v + 0.5) - v)
    step = np.where(np.abs(determinant) > 0.1, step / determinant, 0)
    return np.asarray(inverse + np.clip(step, -surface * inverse, surface * inverse), np.float32)


def _closed(owner: np.ndarray, best: np.ndarray, columns: int, surface: float) -> NDArray[np.float32]:
    """Depth from inverse depth, with what shows through a surface replaced."""
    total, count = np.zeros_like(best), np.zeros_like(best)
    inner = slice(1, -1), slice(1, -1)
    for m, n in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one, other = _shifted(best, -m, -n), _shifted(best, m, n)
        low, high = np.minimum(one, other), np.maximum(one, other)
        apart = np.abs(_shifted(owner, -m, -n) - _shifted(owner, m, n))
        touch = (apart == 1) | (np.abs(apart - columns) <= 1)
        close = touch & (low * (1 - surface) > best[inner]) & (low >= (1 - surface) * high)
        total[inner] += np.where(close, low + high, 0)
        count[inner] += np.where(close, 2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 0, count / total, np.where(best > 0, 1 / best, np.nan)).astype(np.float32)


def _shifted(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The image less a border of one pixel, each pixel as the one so many rows and columns further."""
    height, width = image.shape
    return image[1 + rows : height - 1 + rows, 1 + columns : width - 1 + columns]
