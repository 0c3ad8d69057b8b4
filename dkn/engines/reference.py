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

"""The reference of all other engines: the network as the paper's supplement describes it, in float32. Never optimised.

DKN runs in 16 shifted passes (supplement 1.1). The average unfolds a d×d window for every pixel, samples it
bilinearly with torch's own sampler, and takes a dot product with the kernel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dkn.engines.pytorch import TensorEngine, without_tf32
from dkn.networks.dkn import DKN
from dkn.networks.weights import Weights
from dkn.utils.device import Device

MOST_UNFOLDED = 640 * 480 * 15**2
"""Numbers that are unfolded at once: as many as the paper's window has over a VGA frame."""


class ReferenceEngine(TensorEngine):
    """Plain PyTorch."""

    name = "reference"

    def __init__(
        self,
        weights: Weights,
        device: Device,
        precision: str = "fp32",
        most_unfolded: int = MOST_UNFOLDED,
    ):
        super().__init__(weights, device, precision)
        self._most_unfolded = most_unfolded
        self._network = weights.network().to(self.torch_device)

    def run(self, color: Tensor, depth: Tensor) -> Tensor:
        with without_tf32():
            return self.average(depth, *self.kernels(color, depth))

    def kernels(self, color: Tensor, depth: Tensor) -> tuple[Tensor, Tensor | None]:
        """Normalised kernel weights, and offsets."""
        guidance = color.permute(0, 3, 1, 2).float() / 255
        if isinstance(self._network, DKN):
            return self._network.kernels_by_shift_and_stitch(guidance, depth)
        return self._network.kernels(guidance, depth)

    def average(self, depth: Tensor, weights: Tensor, offsets: Tensor | None) -> Tensor:
        """Eq. (3) or (7)."""
        network, depth = self._network, depth[:, :1]
        if offsets is None:
            offsets = torch.zeros_like(weights).repeat(1, 2, 1, 1)
        offsets = offsets * self.config.offset_unit
        average = average_by_unfolding(depth, weights, offsets, network.taps, self.config.window, self._most_unfolded)
        return depth + average if self.config.residual else average


def average_by_unfolding(
    image: Tensor, weights: Tensor, offsets: Tensor, taps: Tensor, window: int, most_unfolded: int = MOST_UNFOLDED
) -> Tensor:
    """`dkn.ops.sampling.weighted_average` as it is usually written; arguments, result and meaning are the same."""
    height, width = image.shape[2:]
    padded = F.pad(image, [window // 2] * 4)
    rows = max(1, most_unfolded // (image.shape[0] * image.shape[1] * width * window**2))
    bands = []
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        around = padded[:, :, top : bottom + 2 * (window // 2)]
        bands.append(_average_band(around, weights[:, :, top:bottom], offsets[:, :, top:bottom], taps, window))
    return torch.cat(bands, dim=2)


def _average_band(padded: Tensor, weights: Tensor, offsets: Tensor, taps: Tensor, window: int) -> Tensor:
    n, count, h, w = weights.shape
    c = padded.shape[1]
    windows = F.unfold(padded, window).view(n, c, window, window, h * w)
    windows = windows.permute(0, 4, 1, 2, 3).reshape(n * h * w, c, window, window)
    where = offsets.view(n, count, 2, h * w).permute(0, 3, 1, 2) + taps
    grid = (where / (window // 2)).reshape(n * h * w, 1, count, 2)
    sampled = F.grid_sample(windows, grid, padding_mode="zeros", align_corners=True)[:, :, 0]
    kernel = weights.view(n, count, h * w).permute(0, 2, 1).reshape(n * h * w, count, 1)
    return torch.bmm(sampled, kernel).view(n, h, w, c).permute(0, 3, 1, 2)
