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

"""PyTorch and nothing else, on the CPU and on CUDA; and what all engines that use it share."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dkn.engines.base import Array, Engine
from dkn.networks.dkn import KernelNetwork
from dkn.networks.weights import Weights
from dkn.utils.device import Device
from dkn.utils.tensors import DTYPES, channels_last


class TensorEngine(Engine):
    """An engine that computes with tensors; on a CPU it takes and gives arrays all the same."""

    def __init__(self, weights: Weights, device: Device, precision: str):
        super().__init__(weights, device, precision)
        self.torch_device = torch.device(str(device))

    @torch.inference_mode()
    def __call__(self, color: Array, depth: Array) -> Array:
        if isinstance(depth, Tensor):
            return self.run(color, depth)
        return self.run(torch.from_numpy(color), torch.from_numpy(depth)).numpy()

    @abstractmethod
    def run(self, color: Tensor, depth: Tensor) -> Tensor:
        """`Engine.__call__` of tensors on its device."""


class TorchEngine(TensorEngine):
    """The dense network with batch normalisation folded in; sampling by `dkn.ops`."""

    name = "torch"

    def __init__(self, weights: Weights, device: Device, precision: str):
        super().__init__(weights, device, precision)
        self._network = channels_last(_folded(weights.network()), self.torch_device)

    def run(self, color: Tensor, depth: Tensor) -> Tensor:
        guidance = color.permute(0, 3, 1, 2).float() / 255
        half = self.precision != "fp32"
        with without_tf32(), torch.autocast(self.device.type, DTYPES[self.precision], enabled=half):
            kernels = self._network.kernels(guidance, depth)
        return self._network.average(depth, *kernels)


def without_tf32(benchmark: bool = False) -> AbstractContextManager[None]:
    """Where float32 has to be float32 on CUDA too: cuDNN would cut its inputs to 10 bits.

    Args:
        benchmark: let cuDNN time its algorithms on each new shape; of use where the same shapes come again and again.
    """
    return torch.backends.cudnn.flags(enabled=True, benchmark=benchmark, allow_tf32=False)


def _folded(network: KernelNetwork) -> KernelNetwork:
    """Each convolution takes over the batch normalisation that followed it. Changes `network`, and gives it back."""
    network.requires_grad_(False)
    for stream in network.streams().values():
        for conv, norm in stream.layers():
            if norm is not None:
                fused = fuse_conv_bn_eval(conv, norm)
                conv.weight, conv.bias = fused.weight, fused.bias
        for owner in list(stream.modules()):
            for name, child in owner.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(owner, name, nn.Identity())
    return network
