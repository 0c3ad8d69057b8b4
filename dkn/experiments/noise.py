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

"""Joint noise removal (supplement 4.1): networks that learn to clean noisy depth, guided by colour.

Each depth map is scaled to 0..1 by its own smallest and largest depth, and gets Gaussian noise of variance 0.005: 18 of
255 grey levels. The networks have no residual connection (eq. 7), as the supplement found best, and give what the
tasks of `dkn.filter` are run with: restoration across modalities, and removal of texture.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dkn.data.sample import Dataset, Sample
from dkn.depth.resample import fill_holes
from dkn.errors import ConfigError
from dkn.networks.config import NetworkConfig
from dkn.training import Batch, TrainConfig

VARIANCE = 0.005
STEPS = 4000  # of the paper, one whole image each


def recipe(network: NetworkConfig | None = None, steps: int = STEPS, **changes: Any) -> TrainConfig:
    """How a network is trained on noise: the paper's L1 loss, values in 0..1, the size of the picture as it is.

    Args:
        network: default: FDKN without the residual connection.
        changes: other fields of `TrainConfig`.
    """
    network = network or NetworkConfig("fdkn", residual=False)
    fields: dict[str, Any] = {"loss": "l1", "optimiser": "adam", "batch_size": 4, "crop": 96} | changes
    return TrainConfig(network, scale=1, steps=steps, depth_range=1.0, **fields)


def scaled(depth: np.ndarray) -> tuple[np.ndarray, float]:
    """A depth map in 0..1 by its own span, (H, W) float32 with NaN where unknown; and the span in metres."""
    known = depth[np.isfinite(depth)]
    if not known.size:
        return depth, 0.0
    span = float(known.max() - known.min())
    return ((depth - known.min()) / max(span, 1e-6)).astype(np.float32), span


def add_noise(values: np.ndarray, rng: np.random.Generator, variance: float = VARIANCE) -> np.ndarray:
    """`values` with zero-mean Gaussian noise, in the same unit; float32, not clipped."""
    return (values + rng.normal(0, math.sqrt(variance), values.shape)).astype(np.float32)


def draw_noisy_batch(
    dataset: Dataset, config: TrainConfig, step: int, rooms: Dataset | None = None, share: slice = slice(None)
) -> Batch:
    """The batch of one step, as `dkn.training.draw_batch`, for `Trainer(…, draw=draw_noisy_batch)`: noisy crops of
    random depth maps, flipped at random."""
    crops = []
    for place in range(config.batch_size)[share]:
        rng = np.random.default_rng((config.seed, step, place))
        crops.append(_draw_crop(dataset[int(rng.integers(len(dataset)))], config.crop, rng))
    return Batch(*(torch.stack(parts) for parts in zip(*crops, strict=True)))


def _draw_crop(sample: Sample, crop: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
    height, width = sample.depth.shape
    if crop > min(height, width):
        raise ConfigError(f"crop={crop} does not fit into {sample.name} of {width}x{height}")
    y, x = (int(rng.integers(n - crop + 1)) for n in (height, width))
    inside = slice(y, y + crop), slice(x, x + crop)
    target = torch.from_numpy(scaled(sample.depth)[0][inside].copy())[None]
    known = target.isfinite()
    target = torch.where(known, target, 0)
    filled = fill_holes(target[None], known[None])[0]
    noisy = torch.from_numpy(add_noise(filled.numpy(), rng))
    color = torch.from_numpy(np.array(sample.color[inside])).permute(2, 0, 1).float() / 255
    flips = [axis for axis in (1, 2) if rng.random() < 0.5]
    return tuple(part.flip(flips) for part in (color, noisy, target, known))
