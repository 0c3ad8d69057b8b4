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

"""The deformable weighted average of the paper (eq. 3 to 7), as readable, differentiable PyTorch.

This is the formulation that every faster one has to equal. It walks over the k² taps and reads the four
neighbours of each (eq. 5) straight from the image: no d×d window is ever unfolded.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dkn.ops import taps


def regular_taps(kernel_size: int) -> Tensor:
    """`dkn.ops.taps.regular_taps` as a tensor."""
    return torch.from_numpy(taps.regular_taps(kernel_size))


def weighted_average(image: Tensor, weights: Tensor, offsets: Tensor, taps: Tensor, window: int) -> Tensor:
    """Σ_q K_q · f(q + Δq) at every pixel: eq. (7), and the sum in eq. (3).

    f is read by bilinear interpolation (eq. 5 and 6) inside a window of d×d pixels around each pixel. Whatever lies
    outside that window, or outside the image, counts as zero.

    Args:
        image: (N, C, H, W), the map f; all C channels share weights and offsets.
        weights: (N, k², H, W), the kernel K.
        offsets: (N, 2k², H, W), Δq in pixels, as pairs (x, y) in the order of `taps`.
        taps: (k², 2), the regular positions q in pixels as (x, y), relative to the pixel.
        window: d, odd.

    Returns:
        (N, C, H, W) in the dtype of `image`. Coordinates and sums are float32 at least, whatever comes in.
    """
    batch, channels, height, width = image.shape
    dtype = torch.promote_types(image.dtype, torch.float32)
    radius = window // 2
    pad = radius + 1  # then even a corner of a tap just outside the window is a legal address
    stride = width + 2 * pad
    flat = F.pad(image.to(dtype), (pad,) * 4).flatten(2)
    rows = torch.arange(pad, pad + height, device=image.device)
    columns = torch.arange(pad, pad + width, device=image.device)
    centre = rows[:, None] * stride + columns

    # Unbound at once: the gradient of each slice on its own would be as large as all of them together.
    kernel, shifts = weights.unbind(1), offsets.unbind(1)
    total = torch.zeros_like(image, dtype=dtype)
    for t, (tap_x, tap_y) in enumerate(taps.tolist()):
        x0, left, right = _bilinear_weights(shifts[2 * t].to(dtype) + tap_x, radius)
        y0, upper, lower = _bilinear_weights(shifts[2 * t + 1].to(dtype) + tap_y, radius)
        corner = (centre + y0 * stride + x0).flatten(1)

        def read(shift: int, corner: Tensor = corner) -> Tensor:
            index = (corner + shift)[:, None].expand(-1, channels, -1)
            return flat.gather(2, index).view(batch, channels, height, width)

        value = upper * (left * read(0) + right * read(1))
        value = value + lower * (left * read(stride) + right * read(stride + 1))
        total = total + kernel[t][:, None] * value
    return total.to(image.dtype)


def _bilinear_weights(position: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lower integer neighbour of `position` (N, H, W) as an index, and g(s, t) of it and of the next, each
    (N, 1, H, W) and zero where that neighbour lies outside [-radius, radius] (eq. 6 over a bounded window)."""
    floor = position.detach().floor()
    fraction = position - floor
    first = (1 - fraction) * (floor.abs() <= radius)
    second = fraction * ((floor + 1).abs() <= radius)
    # Clamped as integers: a wild offset (even NaN) then reads a legal address, with weight zero or NaN.
    index = floor.long().clamp(-radius - 1, radius)
    return index, first[:, None], second[:, None]
