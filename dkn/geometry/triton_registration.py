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

"""`dkn.geometry.registration` for GPUs: each pixel of the depth image, then each of the result, in one launch."""

# What Triton compiles has no Python types.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 256  # pixels of one program
LAST = 0x7FFFFFFF
"""The largest index that a pixel may have. An owner is kept as what is left to it, so that of several that are equally
near the first wins, as in the others."""


class Register:
    """`dkn.geometry.numpy_registration.register` with all but depth, which is the same in each frame, on a GPU.

    Args:
        rays, lens, numbers, size, surface: as there.
        device: of CUDA.
    """

    def __init__(
        self,
        rays: list[np.ndarray],
        lens: tuple[np.ndarray, np.float32],
        numbers: np.ndarray,
        size: tuple[int, int],
        surface: float,
        device: str | torch.device,
    ):
        self._rays = torch.from_numpy(np.stack(rays)).to(device)
        self._radial, self._max_r2 = torch.from_numpy(lens[0]).to(device), float(lens[1])
        self._numbers, self._size, self._surface = [float(number) for number in numbers], size, float(surface)

    def __call__(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """(h, w) float32 metres → (H, W), both on the host, where the node needs what was measured."""
        measured = torch.from_numpy(depth).to(self._rays.device)
        return np.asarray(self.on_device(measured).cpu().numpy())

    def on_device(self, depth: Tensor) -> Tensor:
        """The same on the device, in three launches; nothing waits."""
        height, width = self._size
        nearest = torch.zeros(self._size, dtype=torch.int64, device=depth.device)
        result = torch.empty(self._size, device=depth.device)
        steps = len(self._radial) - 2
        with torch.cuda.device_of(depth):
            _project[(triton.cdiv(depth.numel(), BLOCK),)](
                nearest,
                depth,
                self._rays,
                self._radial,
                *depth.shape,
                height,
                width,
                self._surface,
                self._max_r2,
                float(steps),
                *self._numbers,
                DISTORTED=steps > 0,
                LAST=LAST,
                BLOCK=BLOCK,
                num_warps=4,
            )
            _read[(triton.cdiv(height * width, BLOCK),)](
                result, nearest, depth.shape[1], height, width, self._surface, LAST=LAST, BLOCK=BLOCK, num_warps=4
            )
        return result


@triton.jit
def _projected(
    depth, rays, radial, pixel, mask, count, max_r2, steps, tx, ty, tz, fx, fy, cx, cy, p1, p2, s1, s2, s3, s4,
    DISTORTED: tl.constexpr,
):  # fmt: skip
    """Where pixels lie in the result, and their inverse depth there; NaN where there is none."""
    z = tl.load(depth + pixel, mask=mask, other=0.0)
    one = 1 / (z * tl.load(rays + 2 * count + pixel, mask=mask, other=1.0) + tz)
    inverse = tl.where((z > 0) & (one > 0), one, float("nan"))
    x = (z * tl.load(rays + pixel, mask=mask, other=0.0) + tx) * inverse
    y = (z * tl.load(rays + count + pixel, mask=mask, other=0.0) + ty) * inverse
    if DISTORTED:
        r2 = x * x + y * y
        place = tl.where(r2 <= max_r2, r2 * (steps / max_r2), steps)  # NaN too
        i = place.to(tl.int32)
        k = tl.load(radial + i)
        k += (place - i.to(tl.float32)) * (tl.load(radial + i + 1) - k)
        a, b = x, y
        x = a * k + 2 * p1 * a * b + p2 * (r2 + 2 * a * a) + r2 * (s1 + s2 * r2)
        y = b * k + p1 * (r2 + 2 * b * b) + 2 * p2 * a * b + r2 * (s3 + s4 * r2)
    return fx * x + cx, fy * y + cy, inverse


@triton.jit
def _flatter(a, b, c, a_back, b_back, c_back, a_ahead, b_ahead, c_ahead, most):
    """What changes from one pixel to the next towards that neighbour whose inverse depth differs less; and whether it
    is of one surface with this pixel."""
    back, ahead = c - c_back, c_ahead - c
    backwards = (tl.abs(back) <= tl.abs(ahead)) | (ahead != ahead)
    difference = tl.where(backwards, back, ahead)
    along_u = tl.where(backwards, a - a_back, a_ahead - a)
    along_v = tl.where(backwards, b - b_back, b_ahead - b)
    return along_u, along_v, difference, tl.abs(difference) <= most


@triton.jit(do_not_specialize=["rows", "columns", "height", "width"])
def _project(
    nearest, depth, rays, radial, rows, columns, height, width, surface, max_r2, steps,
    tx, ty, tz, fx, fy, cx, cy, p1, p2, s1, s2, s3, s4,
    DISTORTED: tl.constexpr, LAST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Into each pixel of the result that some fall into: the inverse depth of the nearest, and which one it is."""
    count = rows * columns
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = pixel < count
    row, column = pixel // columns, pixel % columns
    a, b, c = _projected(
        depth, rays, radial, pixel, mask, count, max_r2, steps,
        tx, ty, tz, fx, fy, cx, cy, p1, p2, s1, s2, s3, s4, DISTORTED,
    )  # fmt: skip
    seen = (a >= -0.5) & (a < width - 0.5) & (b >= -0.5) & (b < height - 0.5) & (c > 0)
    in_column = tl.where(seen, a + 0.5, 0.0).to(tl.int32)
    in_row = tl.where(seen, b + 0.5, 0.0).to(tl.int32)

    # Inverse depth at the middle of that pixel, on the plane through the point and two of its neighbours.
    most = surface * c
    a_back, b_back, c_back = _projected(
        depth, rays, radial, pixel - 1, mask & (column > 0), count, max_r2, steps,
        tx, ty, tz, fx, fy, cx, cy, p1, p2, s1, s2, s3, s4, DISTORTED,
    )  # fmt: skip
    a_ahead, b_ahead, c_ahead = _projected(
        depth, rays, radial, pixel + 1, mask & (column < columns - 1), count, max_r2, steps,
        tx, ty, tz, fx, fy, cx, cy, p1, p2, s1, s2, s3, s4, DISTORTED,
    )  # fmt: skip
    du, dv, dw, flat = _flatter(a, b, c, a_back, b_back, c_back, a_ahead, b_ahead, c_ahead, most)
    du, dv, dw = tl.where(flat, du, 1.0), tl.where(flat, dv, 0.0), tl.where(flat, dw, 0.0)
    a_back, b_back, c_back = _projected(
        depth, rays, radial, pixel - columns, mask & (row > 0), count, max_r2, steps,
        tx, ty, tz, fx, fy, cx, cy, p1, p2, s1, s2, s3, s4, DISTORTED,
    )  # fmt: skip
    a_ahead, b_ahead, c_ahead = _projected(
        depth, rays, radial, pixel + columns, mask & (row < rows - 1), count, max_r2, steps,
        tx, ty, tz, fx, fy, cx, cy, p1, p2, s1, s2, s3, s4, DISTORTED,
    )  # fmt: skip
    eu, ev, ew, flat = _flatter(a, b, c, a_back, b_back, c_back, a_ahead, b_ahead, c_ahead, most)
    eu, ev, ew = tl.where(flat, eu, 0.0), tl.where(flat, ev, 1.0), tl.where(flat, ew, 0.0)
    determinant = du * ev - dv * eu
    by_u, by_v = dw * ev - ew * dv, ew * du - dw * eu
    step = by_u * (in_column.to(tl.float32) - a) + by_v * (in_row.to(tl.float32) - b)
    step = tl.where(tl.abs(determinant) > 0.1, step / determinant, 0.0)
    inverse = c + tl.where(step > most, most, tl.where(step < -most, -most, step))

    # Bits of positive numbers are in the order of the numbers.
    bits = inverse.to(tl.int32, bitcast=True).to(tl.int64) << 32
    tl.atomic_max(nearest + in_row * width + in_column, bits | (LAST - pixel).to(tl.int64), mask=mask & seen)


@triton.jit
def _closed(nearest, at, step, inner, inverse, columns, surface, LAST: tl.constexpr):
    """Sum of inverse depths of two pixels on either side, and how many those are: 2 if they are neighbours of one
    surface, and nearer than what lies between them, else 0."""
    one = tl.load(nearest + at - step, mask=inner, other=0)
    other = tl.load(nearest + at + step, mask=inner, other=0)
    a = (one >> 32).to(tl.int32).to(tl.float32, bitcast=True)
    b = (other >> 32).to(tl.int32).to(tl.float32, bitcast=True)
    low, high = tl.minimum(a, b), tl.maximum(a, b)
    apart = tl.abs((one & LAST) - (other & LAST))
    touch = (apart == 1) | ((apart >= columns - 1) & (apart <= columns + 1))
    closes = inner & touch & (low * (1 - surface) > inverse) & (low >= (1 - surface) * high)
    return tl.where(closes, a + b, 0.0), tl.where(closes, 2.0, 0.0)


@triton.jit(do_not_specialize=["columns", "height", "width"])
def _read(result, nearest, columns, height, width, surface, LAST: tl.constexpr, BLOCK: tl.constexpr):
    """Depth of inverse depth, with what shows through a surface replaced. `columns`: of the depth image."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < height * width
    x, y = at % width, at // width
    inner = mask & (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    inverse = (tl.load(nearest + at, mask=mask, other=0) >> 32).to(tl.int32).to(tl.float32, bitcast=True)
    total, count = _closed(nearest, at, 1, inner, inverse, columns, surface, LAST)
    more, closes = _closed(nearest, at, width, inner, inverse, columns, surface, LAST)
    total, count = total + more, count + closes
    more, closes = _closed(nearest, at, width + 1, inner, inverse, columns, surface, LAST)
    total, count = total + more, count + closes
    more, closes = _closed(nearest, at, width - 1, inner, inverse, columns, surface, LAST)
    total, count = total + more, count + closes
    depth = tl.where(inverse > 0, 1 / inverse, float("nan"))
    tl.store(result + at, tl.where(count > 0, count / total, depth), mask=mask)
