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

"""Several processes that train one network, on several GPUs or machines, through Lightning Fabric under torchrun.

Each has the whole network and its share of every batch. After the backward pass gradients and batch-norm statistics are
averaged, so that all stay equal; the network itself is not wrapped, and a single process needs none of this.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

from dkn.errors import ConfigError
from dkn.utils.tensors import torch_device

T = TypeVar("T")


class Processes:
    """One process alone; and what several have in common with it."""

    rank, count = 0, 1

    def __init__(self, device: torch.device):
        self.device = device

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and says how it goes."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace these by their means over all processes."""

    def mean(self, number: float) -> float:
        """The mean over all processes."""
        return number

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process; it is called nowhere else."""
        return make()

    def first_alone(self) -> AbstractContextManager[None]:
        """A block that the first process of each machine finishes before the others enter it."""
        return nullcontext()


class _Several(Processes):
    def __init__(self, fabric: Any):
        super().__init__(fabric.device)
        self._fabric = fabric
        self.rank, self.count = fabric.global_rank, fabric.world_size

    def average(self, tensors: Sequence[Tensor]) -> None:
        together = torch.cat([tensor.reshape(-1) for tensor in tensors])
        means = self._fabric.all_reduce(together, reduce_op="mean").split([tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def mean(self, number: float) -> float:
        return float(self._fabric.all_reduce(torch.tensor(number, device=self.device), reduce_op="mean"))

    def from_first(self, make: Callable[[], T]) -> T:
        return self._fabric.broadcast(make() if self.first else None)

    def first_alone(self) -> AbstractContextManager[None]:
        return self._fabric.rank_zero_first(local=True)


def join(device: str = "auto") -> Processes:
    """The processes that torchrun started together with this one, on `device` each (cuda: one GPU each); if it started
    none, this one alone.

    Raises:
        ConfigError: no such device, or several processes without Lightning Fabric.
    """
    chosen, count = torch_device(device), int(os.environ.get("WORLD_SIZE", 1))
    if count == 1 or "LOCAL_RANK" not in os.environ:
        return Processes(chosen)
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise ConfigError("several processes need lightning-fabric: pip install lightning-fabric") from None
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    fabric = Fabric(accelerator=chosen.type, strategy="ddp", devices=here, num_nodes=count // here)
    fabric.launch()
    return _Several(fabric)
