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

"""Problems for samplers, and what eq. (4) to (6) give for them, pixel by pixel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def problem(
    k: int = 3, size: tuple[int, int] = (7, 9), channels: int = 1, batch: int = 2, reach: float = 3.0, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Random image, weights and offsets in float64; offsets have a deviation of `reach` pixels."""
    random = torch.Generator().manual_seed(seed)
    shape = {"generator": random, "dtype": torch.float64}
    image = torch.randn(batch, channels, *size, **shape) + 3
    weights = torch.randn(batch, k * k, *size, **shape)
    return image, weights, torch.randn(batch, 2 * k * k, *size, **shape) * reach


def positions(k: int) -> list[tuple[int, int]]:
    """The regular grid q as (x, y), row by row."""
    return [(x, y) for y in range(-(k // 2), k // 2 + 1) for x in range(-(k // 2), k // 2 + 1)]


def by_definition(image: Tensor, weights: Tensor, offsets: Tensor, taps: list, window: int) -> np.ndarray:
    """Σ_q K Σ_t G(s, t) f_t with t over every pixel of the d×d window, f being zero outside the image."""
    f, kernel, shift = image.numpy(), weights.numpy(), offsets.numpy()
    r = window // 2
    padded = np.pad(f, ((0, 0), (0, 0), (r, r), (r, r)))
    t = np.arange(-r, r + 1)
    result = np.zeros_like(f)
    for n, y, x in np.ndindex(f.shape[0], *f.shape[2:]):
        patch = padded[n, :, y : y + window, x : x + window]
        for i, (tap_x, tap_y) in enumerate(taps):
            g_x = np.maximum(0, 1 - np.abs(tap_x + shift[n, 2 * i, y, x] - t))
            g_y = np.maximum(0, 1 - np.abs(tap_y + shift[n, 2 * i + 1, y, x] - t))
            result[n, :, y, x] += kernel[n, i, y, x] * np.einsum("y,cyx,x->c", g_y, patch, g_x)
    return result
