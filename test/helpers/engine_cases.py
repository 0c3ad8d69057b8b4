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

"""Networks and images that every engine has to get right."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dkn.networks.config import NetworkConfig

CONFIGS = {
    "fdkn": NetworkConfig(),
    "fdkn grey": NetworkConfig(guidance="grey"),
    "fdkn depth alone": NetworkConfig(guidance="none"),
    "fdkn, kernels by colour alone": NetworkConfig(weights_from="rgb", offsets_from="rgb"),
    "fdkn, eq. (7)": NetworkConfig(residual=False),
    "fdkn, regular grid": NetworkConfig(offsets_from="none"),
    "fdkn, k = 5, split": NetworkConfig(kernel_size=5, weights_from="rgb", offsets_from="depth"),
    "fdkn, small window": NetworkConfig(window=5, n1=24, n2=40),
    "fdkn, narrow": NetworkConfig(depth_channels=4, window=63, widths=(16, 16, 32, 32), n1=32, n2=32),
    "fdkn, released taps": NetworkConfig(guidance="grey", released_sampling=True),
    "fdkn, told what was measured": NetworkConfig(depth_channels=4),
    "dkn": NetworkConfig("dkn"),
    "dkn, told what was measured": NetworkConfig("dkn", depth_channels=4),
    "dkn, narrow": NetworkConfig("dkn", widths=(8, 8, 16, 16, 24), n1=32, n2=32),
    "dkn grey, eq. (7)": NetworkConfig("dkn", guidance="grey", residual=False),
    "dkn depth alone, k = 1": NetworkConfig("dkn", guidance="none", kernel_size=1, residual=False),
}


def images(*shape: int, seed: int = 0, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """`tensors` as arrays, which engines on a CPU take."""
    color, depth = tensors(*shape, seed=seed, channels=channels)
    return color.numpy(), depth.numpy()


def tensors(batch: int, height: int, width: int, seed: int = 0, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Noise in colour; depth of steps, noise and both ends of the range; noise in its second channel, and
    the last two the same everywhere, as they always are."""
    random = torch.Generator().manual_seed(seed)
    color = torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8, generator=random)
    depth = 0.2 + 0.05 * torch.rand(batch, 1, height, width, generator=random)
    depth[..., width // 2 :] += 0.4
    depth[..., : height // 3, : width // 4] = 0
    depth[..., -2:, -3:] = 1
    further = torch.rand(batch, channels - 1, height, width, generator=random)
    further[:, 1:] = further[:, 1:, :1, :1]
    return color, torch.cat((depth, further), dim=1)
