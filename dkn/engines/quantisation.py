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

"""Eight bits for the wide convolutions: their weights by channel, their inputs by a range found on made-up images.

What the heads give is in eight bits too: it is by far the most that a frame writes, and two cores that write four
times as much wait for the memory that they share.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dkn.engines.folding import Convolution, FoldedStream
from dkn.networks import DKNStream, KernelNetwork, Stream

FIRST_LAYER = {"fdkn": 2, "dkn": 3}
"""Of depth's stream, counted from 0. Those before it do a twenty-fifth of the work, and see detail that 256 levels
would lose. Colour consists of bytes from the first."""

PATCH, PATCHES = 64, 16


def quantise(streams: list[FoldedStream], network: KernelNetwork) -> list[FoldedStream]:
    """Mark the convolutions to be done in eight bits, by the range of their input."""
    ranges = find_ranges(network)
    # The average takes all factors of its kernels in one form. Eq. (7) divides by the sum of the weights, and of small
    # ones bytes keep no digits.
    outputs = network.config.residual and all(of_stream.inputs[-1] > 0 for of_stream in ranges.values())
    first = {"depth": FIRST_LAYER[network.config.architecture]}
    return [_quantise_stream(stream, ranges[stream.image], first.get(stream.image, 0), outputs) for stream in streams]


class Ranges(NamedTuple):
    """What was found in one stream."""

    inputs: list[float]
    """The largest input of each convolution of the features, then of the heads. They are outputs of a ReLU (the first
    apart), so that a range begins at 0."""
    offsets: float
    """Of offsets, on either side of 0: what loses least in bytes. A few are far larger than all others."""


@torch.inference_mode()
def find_ranges(network: KernelNetwork) -> dict[str, Ranges]:
    """Of each stream, by its image."""
    color, depth = _patches()
    depths = [depth]
    if network.config.depth_channels > 1:
        least, most = torch.zeros_like(depth), torch.ones_like(depth)
        # All of it measured; at the ends of scale and of mixed pixels.
        depths = [torch.cat((depth, most, *ends), dim=1) for ends in product((least, most), repeat=2)]
    images = {"rgb": [color], "grey": [color.mean(1, keepdim=True)], "depth": depths}
    found = {}
    for name, stream in network.streams().items():
        inputs, offsets = zip(*(_ranges(stream, image) for image in images[name]), strict=True)
        found[name] = Ranges(list(map(max, zip(*inputs, strict=True))), max(offsets))
    return found


def _ranges(stream: Stream, image: Tensor) -> Ranges:
    found: list[float] = []
    offsets: list[Tensor] = []
    convolutions = [conv for conv, _ in stream.layers()]
    head = stream.heads.weights if stream.heads.weights is not None else stream.heads.offsets
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: found.append(float(inputs[0].max())))
        for module in (*convolutions, head)
        if isinstance(module, nn.Conv2d)
    ]
    if stream.heads.offsets is not None:
        hook = stream.heads.offsets.register_forward_hook(lambda *of: offsets.append(of[-1]))
        hooks.append(hook)
    try:
        if isinstance(stream, DKNStream):
            stream.strided(image, 0, 0)  # every sixteenth pixel is enough
        else:
            stream(image)
    finally:
        for hook in hooks:
            hook.remove()
    return Ranges(found, max(map(best_range, offsets), default=1.0))


def best_range(values: Tensor) -> float:
    """The range on either side of 0, in bytes of which `values` have the least mean error, to a fifth or so."""
    largest = float(values.abs().max())
    if largest == 0:
        return 1.0

    def error(upper: float) -> float:
        rounded = (values * (127 / upper)).round().clamp(-127, 127) * (upper / 127)
        return float((rounded - values).abs().mean())

    return min((largest * 0.8**i for i in range(24)), key=error)


def _patches() -> tuple[Tensor, Tensor]:
    """Colour in 0..1 and depth in units of its range: blocks with sharp edges, half of them with noise on top; depth
    smooth between random heights, as interpolation leaves it, from near to the end of the range."""
    random = torch.Generator().manual_seed(0)
    color = torch.rand(PATCHES, 3, 8, 8, generator=random).repeat_interleave(8, 2).repeat_interleave(8, 3)
    color[::2] += 0.15 * torch.randn(color[::2].shape, generator=random)
    heights = torch.rand(PATCHES, 1, 8, 8, generator=random) * torch.linspace(0.1, 1, PATCHES).view(-1, 1, 1, 1)
    depth = nn.functional.interpolate(heights, size=(PATCH, PATCH), mode="bicubic", antialias=True)
    return color.clamp(0, 1), depth.clamp(0, 1)


def _quantise_stream(stream: FoldedStream, ranges: Ranges, first: int, outputs: bool) -> FoldedStream:
    def mark(convolution: Convolution, index: int) -> Convolution:
        # A range of nothing (a dead layer) has no step size.
        upper = ranges.inputs[index]
        return replace(convolution, input_range=upper) if index >= first and upper > 0 else convolution

    features = tuple(mark(convolution, i) for i, convolution in enumerate(stream.features))
    heads = (stream.weights, 1.0), (stream.offsets, ranges.offsets)
    weights, offsets = (
        None if head is None else replace(mark(head, len(features)), output_range=upper if outputs else None)
        for head, upper in heads
    )
    return replace(stream, features=features, weights=weights, offsets=offsets)
