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

"""What every engine is: a way to run one network."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from dkn.networks.weights import Weights
from dkn.utils.device import CPU, Device
from dkn.utils.memory import give_back

log = logging.getLogger("dkn")

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""Of the convolutions, best first. Depth, coordinates and sums are always float32."""


Array = Any
"""On a CPU an array of NumPy, on CUDA a tensor of PyTorch, which is not needed otherwise."""


Upload = Callable[[], Array]
"""Waits for an array to arrive where an engine computes (where work waits, not the host) and gives it."""


def placed(array: np.ndarray, device: Device) -> Array:
    """An array as engines on this device take it."""
    if device == CPU:
        return array
    import torch

    return torch.from_numpy(array).to(str(device))


def on_host(result: Array) -> np.ndarray:
    """What an engine gave, as an array."""
    return result if isinstance(result, np.ndarray) else np.asarray(result.cpu().numpy())


class Engine(ABC):
    """Runs one network, eq. (3) or (7), in evaluation mode.

    Args:
        weights: of the network.
        device: where the arrays lie that come and go.
        precision: of the convolutions, one of those that `dkn.engines.registry.ENGINES` has for it.
    """

    name: ClassVar[str]
    capturable: ClassVar[bool] = False
    """Whether a CUDA graph can hold a call: nothing in it waits for the GPU or depends on what an image shows."""

    def __init__(self, weights: Weights, device: Device, precision: str):
        self.config, self.device, self.precision = weights.config, device, precision

    @abstractmethod
    def __call__(self, color: Array, depth: Array) -> Array:
        """The network's output.

        Args:
            color: (N, H, W, 3) uint8 RGB.
            depth: (N, C, H, W) float32, C = `depth_channels` of the network's config. The first is depth, upsampled to
                that size, in units of the model's depth range.

        Returns:
            (N, 1, H, W) float32. The same bytes for the same input.
        """

    def forget_sizes(self) -> None:  # noqa: B027 (most have nothing to let go of)
        """Let go of what was built for images of single sizes; it is built again when they come."""

    def __str__(self) -> str:
        return f"{self.name} ({self.device.type}, {self.precision})"


T = TypeVar("T")


class BySize(Generic[T]):
    """What an engine builds once for a size of image and keeps for a few of them."""

    KEPT = 4

    def __init__(self, engine: Engine, make: Callable[[tuple[int, ...]], T]):
        self._engine, self._make = engine, make
        self._made: dict[tuple[int, ...], T] = {}

    def clear(self) -> None:
        self._made.clear()

    def __getitem__(self, shape: tuple[int, ...]) -> T:
        if shape not in self._made:
            if len(self._made) == self.KEPT:
                del self._made[next(iter(self._made))]
            batch, height, width = shape
            if self._made:  # not at the first, which is no change
                log.info("%s: built anew for %dx%d, %d at once", self._engine, width, height, batch)
            self._made[shape] = self._make(shape)
            give_back()
        return self._made[shape]
