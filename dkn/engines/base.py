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
from contextlib import AbstractContextManager
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from dkn.networks import KernelNetwork
from dkn.utils.memory import give_back

log = logging.getLogger("dkn")

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""Of the convolutions, best first. Depth, coordinates and sums are always float32."""


class Engine(ABC):
    """Runs one network, eq. (3) or (7), in evaluation mode.

    Args:
        network: stays as it is.
        device: of the tensors that come and go.
        precision: of the convolutions, one of those that `dkn.engines.registry.ENGINES` has for it.
    """

    name: ClassVar[str]
    capturable: ClassVar[bool] = False
    """Whether a CUDA graph can hold a call: nothing in it waits for the GPU or depends on what an image shows."""

    def __init__(self, network: KernelNetwork, device: torch.device, precision: str):
        self.config, self.device, self.precision = network.config, device, precision

    @abstractmethod
    def __call__(self, color: Tensor, depth: Tensor) -> Tensor:
        """The network's output.

        Args:
            color: (N, H, W, 3) uint8 RGB.
            depth: (N, C, H, W) float32, C = `depth_channels` of the network's config. The first is depth, upsampled to
                that size, in units of the model's depth range.

        Returns:
            (N, 1, H, W) float32. The same bytes for the same input.
        """

    def __str__(self) -> str:
        return f"{self.name} ({self.device.type}, {self.precision})"


def without_tf32(benchmark: bool = False) -> AbstractContextManager[None]:
    """Where float32 has to be float32 on CUDA too: cuDNN would cut its inputs to 10 bits.

    Args:
        benchmark: let cuDNN time its algorithms on each new shape; of use where the same shapes come again and again.
    """
    return torch.backends.cudnn.flags(enabled=True, benchmark=benchmark, allow_tf32=False)


T = TypeVar("T")


class BySize(Generic[T]):
    """What an engine builds once for a size of image and keeps for a few of them."""

    KEPT = 4

    def __init__(self, engine: Engine, make: Callable[[tuple[int, ...]], T]):
        self._engine, self._make = engine, make
        self._made: dict[tuple[int, ...], T] = {}

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
