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

"""PyTorch and nothing else: runs wherever the library does, on the CPU and on CUDA."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dkn.engines.base import Engine, without_tf32
from dkn.networks import KernelNetwork
from dkn.utils.device import DTYPES, channels_last


class TorchEngine(Engine):
    """The dense network with batch normalisation folded in; sampling by `dkn.ops`."""

    name = "torch"

    def __init__(self, network: KernelNetwork, device: torch.device, precision: str):
        super().__init__(network, device, precision)
        self._network = channels_last(_folded(network), device)

    @torch.inference_mode()
    def __call__(self, color: Tensor, depth: Tensor) -> Tensor:
        guidance = color.permute(0, 3, 1, 2).float() / 255
        half = self.precision != "fp32"
        with without_tf32(), torch.autocast(self.device.type, DTYPES[self.precision], enabled=half):
            kernels = self._network.kernels(guidance, depth)
        return self._network.average(depth, *kernels)


def _folded(network: KernelNetwork) -> KernelNetwork:
    """A copy in which each convolution has taken over the batch normalisation that followed it."""
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    for stream in folded.streams().values():
        for conv, norm in stream.layers():
            if norm is not None:
                fused = fuse_conv_bn_eval(conv, norm)
                conv.weight, conv.bias = fused.weight, fused.bias
        for owner in list(stream.modules()):
            for name, child in owner.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(owner, name, nn.Identity())
    return folded
