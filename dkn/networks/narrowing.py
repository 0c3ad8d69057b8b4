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

"""A narrower FDKN to begin with, made of a wider one that is trained: channel pruning.

In each feature layer the channels stay that the next layer takes most from: those with the largest mean square of
their activation on some images times the sum of squares of the weights that read it (Li et al., "Pruning filters for
efficient ConvNets", 2017, goes by weights alone). What others gave in the mean becomes a bias. What they gave besides
is lost, and training has to bring back what it can.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from dkn.errors import ConfigError
from dkn.networks.dkn import FDKN, Stream


@torch.no_grad()
def narrowed(network: FDKN, widths: tuple[int, ...], n1: int, n2: int, guidance: Tensor | None, depth: Tensor) -> FDKN:
    """The network with so many channels in its feature layers, in evaluation mode.

    Args:
        network: in evaluation mode.
        widths, n1, n2: of the result, as `NetworkConfig`.
        guidance, depth: (N, 3, H, W) and (N, C, H, W), as the network sees them: what activations are taken from.

    Raises:
        ConfigError: more channels than there are.
    """
    config = dataclasses.replace(network.config, widths=widths, n1=n1, n2=n2)
    if any(wanted > there for wanted, there in zip(config.channels, network.config.channels, strict=True)):
        raise ConfigError(f"channels {config.channels} of a network that has {network.config.channels}")
    result = FDKN(config).eval()
    inputs: dict[nn.Module, Tensor] = {}

    def remember(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        inputs[module] = given[0].clone()  # ReLU works in place

    reading = [m for stream in network.streams().values() for m in stream.modules() if isinstance(m, nn.Conv2d)]
    hooks = [module.register_forward_pre_hook(remember) for module in reading]
    try:
        network.raw_kernels(guidance, depth)
    finally:
        for hook in hooks:
            hook.remove()
    sources = network.streams()
    for image, stream in result.streams().items():
        _take(stream, sources[image], inputs)
    return result


def _take(stream: Stream, source: Stream, inputs: dict[nn.Module, Tensor]) -> None:
    """Fill a stream with what it keeps of a wider one."""
    heads = [head for head in (source.heads.weights, source.heads.offsets) if head is not None]
    theirs, ours = source.layers(), stream.layers()
    readers = [[conv] for conv, _ in theirs[1:]] + [heads]
    kept = [torch.arange(theirs[0][0].in_channels)]
    for (conv, _), reading in zip(ours, readers, strict=True):
        power = inputs[reading[0]].square().mean((0, 2, 3))
        weight = torch.stack([reader.weight.square().sum((0, 2, 3)) for reader in reading]).sum(0)
        kept.append((power * weight).topk(conv.out_channels).indices.sort().values)
    for k, ((conv, norm), (wide, statistics)) in enumerate(zip(ours, theirs, strict=True)):
        _copy(conv, wide, kept[k], kept[k + 1], inputs)
        if norm is not None and statistics is not None:
            state = statistics.state_dict()  # a number for each channel, and how many batches there were
            norm.load_state_dict({name: value[kept[k + 1]] if value.ndim else value for name, value in state.items()})
    for head, wide_head in ((stream.heads.weights, source.heads.weights), (stream.heads.offsets, source.heads.offsets)):
        if head is not None and wide_head is not None:
            _copy(head, wide_head, kept[-1], torch.arange(wide_head.out_channels), inputs)


def _copy(conv: nn.Conv2d, wide: nn.Conv2d, into: Tensor, out: Tensor, inputs: dict[nn.Module, Tensor]) -> None:
    """Rows `out` of a convolution, of its inputs `into`; the mean of the other inputs becomes a bias."""
    assert conv.bias is not None and wide.bias is not None
    conv.weight.copy_(wide.weight[out][:, into])
    lost = torch.ones(wide.in_channels, dtype=torch.bool)
    lost[into] = False
    mean = inputs[wide].mean((0, 2, 3))
    conv.bias.copy_((wide.bias + wide.weight.sum((2, 3))[:, lost] @ mean[lost])[out])
