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

"""Where the unknown ends at high resolution: along the edges of colour, not along the blocks of the input.

A joint bilateral vote (Kopf et al., Joint Bilateral Upsampling, 2007) of nine input pixels, the one that a pixel lies
in and those around it: each says whether it was measured, with a weight for its distance and for the difference of
colours. The middle of each input pixel keeps what was measured there, so that no hole vanishes, and none but the
pixels beside a border between known and unknown are touched. What a hole gives up to its surroundings has to lie on a
surface that was measured there: without that, a fifth of it would lie in mid-air, in the shadow of a near thing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dkn.depth.resample import is_readable, resize_mask
from dkn.depth.stages.base import AGREES, COLOR, KEPT, REACH, follows_color


def upsample_validity(valid: Tensor, color: Tensor, low: Tensor, result: Tensor) -> Tensor:
    """Which pixels of the colour image have a depth, if these pixels of the input have one. On a GPU nothing waits.

    Args:
        valid: (1, 1, h, w) bool.
        color: (H, W, 3) uint8 RGB.
        low: (1, 1, h, w) float32 metres, what was measured; anything where not valid, NaN where valid and filled.
        result: (1, 1, H, W) float32 metres, what was made of it, without holes.

    Returns:
        (1, 1, H, W) bool. Below a scale of `LEAST_SCALE` exactly `resize_mask`.
    """
    size = (color.shape[0], color.shape[1])
    if not follows_color((valid.shape[2], valid.shape[3]), size):
        return resize_mask(valid, size)
    if is_readable(valid) and (bool(valid.all()) or not bool(valid.any())):
        return valid[:, :, :1, :1].expand(1, 1, *size)
    return vote(valid, color, low, result)


def vote(valid: Tensor, color: Tensor, low: Tensor, result: Tensor) -> Tensor:
    """`upsample_validity` at any scale, in PyTorch."""
    size, small = color.shape[:2], valid.shape[2:]
    guide = color.permute(2, 0, 1)[None].float()
    # Of each input pixel the middle third, where it was measured if it is a point, and near enough if it is a mean.
    colors = F.adaptive_avg_pool2d(guide, (3 * small[0], 3 * small[1]))[:, :, 1::3, 1::3]
    (row, down), (column, across) = (_places(n, m, color.device) for n, m in zip(size, small, strict=True))
    total, agrees = torch.zeros_like(result), torch.zeros_like(result, dtype=torch.bool)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            y, x = row + i, column + j
            inside = ((y >= 0) & (y < small[0]))[:, None] & ((x >= 0) & (x < small[1]))
            y, x = y.clamp(0, small[0] - 1)[:, None], x.clamp(0, small[1] - 1)
            near = (1 - (down - i).abs() / REACH)[:, None] * (1 - (across - j).abs() / REACH)
            apart = (guide - colors[:, :, y, x]).square().sum(1, keepdim=True) / COLOR**2
            weight = torch.where(inside, near, 0) / (1 + apart)
            total = total + torch.where(valid[:, :, y, x], weight, -weight)
            agrees = agrees | (valid[:, :, y, x] & ((low[:, :, y, x] - result).abs() <= AGREES * result))
    own = valid[:, :, row[:, None], column]
    kept = (down.abs() < KEPT)[:, None] & (across.abs() < KEPT)
    return torch.where(kept, own, (total > 0) & (own | agrees))


def _places(size: int, small: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each pixel along an axis: the input pixel that its centre lies in, and how far from the middle of that, in
    input pixels."""
    twice = 2 * torch.arange(size, device=device) + 1
    index = torch.div(twice * small, 2 * size, rounding_mode="floor")
    return index, (twice * small).float() / (2 * size) - 0.5 - index
