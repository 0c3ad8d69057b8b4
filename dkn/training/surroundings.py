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

"""Crops with what a network sees around them, so that their pixels come out exactly as in the whole picture: DKN at one
of its 16 phases, and networks on cells.

DKN's strides leave every fourth pixel along each axis; the other 15 phases would take a pass each, or one dense pass
that costs ten times as much (paper, supplement 1.1). A step of training needs no image, only pixels to learn from: so
each crop is judged at one phase, drawn at random, for a tenth of the work. The surroundings are no price: these
networks would have zeros there, and take more than half of a crop's pixels for those at a picture's end.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dkn.networks.config import IMAGE_PADDING, STRIDE
from dkn.networks.dkn import CellNetwork, StridedNetwork

SEEN = max(IMAGE_PADDING["dkn"])  # by a pixel of a DKN, to each side of it; by cells less


def margin(window: int) -> int:
    """Pixels around a crop that its own pixels can see, or reach with their taps."""
    return max(SEEN, window // 2 + 1)


def pick(
    guidance: Tensor, depth: Tensor, target: Tensor, known: Tensor, margin: int, y: int, x: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The phase (y, x) of a crop.

    Args:
        guidance, depth: (C, H + 2 margin, W + 2 margin).
        target, known: (1, H, W).
        y, x: 0 to 3.

    Returns:
        Guidance and depth without what no pixel of this phase needs, (C, 4h - 3 + 2 margin, 4w - 3 + 2 margin), and
        every fourth pixel of the others, (1, h, w), where h = H // 4 and w = W // 4.
    """
    h, w = (n // STRIDE for n in target.shape[1:])
    rows, columns = (slice(first, first + STRIDE * (n - 1) + 1 + 2 * margin) for first, n in ((y, h), (x, w)))
    seen = [image[:, rows, columns] for image in (guidance, depth)]
    judged = [part[:, y::STRIDE, x::STRIDE][:, :h, :w] for part in (target, known)]
    return seen[0], seen[1], judged[0], judged[1]


def kernels(network: StridedNetwork, guidance: Tensor, depth: Tensor) -> tuple[Tensor, Tensor | None]:
    """Kernel weights (N, k², h, w) and offsets (N, 2k², h, w): a DKN's of one phase's pixels, of images that `pick`
    gave; a cell network's of all, of images with `margin` around."""
    m = margin(network.config.window)
    before, behind = network.padding
    rows, columns = (slice(m - before, n - (m - behind)) for n in depth.shape[2:])
    return network.unpadded_kernels(guidance[:, :, rows, columns], depth[:, :, rows, columns])


def average(network: StridedNetwork, depth: Tensor, weights: Tensor, offsets: Tensor | None) -> Tensor:
    """What `KernelNetwork.average` gives, at the pixels that `kernels` are of: (N, 1, h, w).

    Args:
        depth: (N, C, H, W) as `kernels` had it.
        weights, offsets: as `kernels` gave them.
    """
    if isinstance(network, CellNetwork):
        return _average_of_all(network, depth, weights, offsets)
    config, depth = network.config, depth[:, :1]
    m, radius = margin(config.window), config.window // 2
    n, taps, h, w = weights.shape
    # (N, k², 2, h, w): where each tap lies, relative to its pixel, as (x, y).
    moved = 0 if offsets is None else offsets.float().view(n, taps, 2, h, w) * config.offset_unit
    place = (network.taps[None, :, :, None, None] + moved).expand(n, taps, 2, h, w)
    # Outside the window counts as zero (`dkn.ops.sampling`): what a tap between the window's last pixel and the next
    # would have of the last is its value there, less by the share of the next.
    share_x, share_y = (radius + 1 - place.abs()).clamp(0, 1).unbind(2)
    weights = weights * share_x * share_y
    place = place.clamp(-radius, radius)
    own = [m + STRIDE * torch.arange(count, device=depth.device) for count in (h, w)]
    size = depth.shape[2:]
    x = (place[:, :, 0] + own[1]) * (2 / (size[1] - 1)) - 1
    y = (place[:, :, 1] + own[0][:, None]) * (2 / (size[0] - 1)) - 1
    grid = torch.stack((x, y), dim=-1).flatten(1, 2)  # (N, k²·h, w, 2)
    found = F.grid_sample(depth, grid, align_corners=True).view(n, taps, h, w)
    total = (weights * found).sum(1, keepdim=True)
    return depth[:, :, m : size[0] - m : STRIDE, m : size[1] - m : STRIDE] + total if config.residual else total


def _average_of_all(network: CellNetwork, depth: Tensor, weights: Tensor, offsets: Tensor | None) -> Tensor:
    """The same where every pixel has a kernel: those of the surroundings, as far as taps reach, are zero."""
    reach = network.config.window // 2 + 1
    ahead = margin(network.config.window) - reach
    rows, columns = (slice(ahead, n - ahead) for n in depth.shape[2:])
    weights = F.pad(weights, [reach] * 4)
    offsets = None if offsets is None else F.pad(offsets, [reach] * 4)
    return network.average(depth[:, :, rows, columns], weights, offsets)[:, :, reach:-reach, reach:-reach]
