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

"""A warm start for DKN: its last three convolutions and heads, learned on cells of 4×4 pixels.

`CellNetwork` sees an image as cells of 4×4 pixels and gives kernels for the 16 pixels of each, where a DKN gives those
of one for about as many products. `to_dkn` makes a DKN that gives at every pixel what the cell network gives where this
pixel is the one at row 2 and column 2 of its cell. (Of the 50×50 pixels that DKN sees, its pixel lies there in the
middle one of 9×9 cells.) The DKN's first four convolutions pass the pixels on as cells: they are not negative, so that
ReLU lets them through. The other channels of these layers are random, and the fifth convolution takes nothing of them:
they are free to learn.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import torch
from torch import Tensor, nn

from dkn.errors import ConfigError
from dkn.networks.config import STRIDE
from dkn.networks.dkn import DKN, CellNetwork, DKNStream, Stream

PIXEL = 2 * STRIDE + 2  # of the 16 of a cell, row by row: the one that becomes DKN's
CARRYING = 4  # convolutions of a DKN that pass the pixels on
HALF = 2  # stride of two of them


@torch.no_grad()
def to_dkn(cells: CellNetwork, widths: tuple[int, ...] = ()) -> DKN:
    """The DKN that gives what `cells` gives, in evaluation mode; in training mode too as long as the batch norm of its
    first four layers is kept in evaluation mode.

    Args:
        cells: trained at every position of the low-resolution grid relative to its cells (`TrainConfig.aligned`).
        widths: of the DKN's feature layers before the last two; empty: those of the paper.

    Raises:
        ConfigError: layers too narrow for the pixels of a cell, or a fifth of another width than the cell network's
            first.
    """
    target = DKN(dataclasses.replace(cells.config, architecture="dkn", widths=widths)).eval()
    if target.config.channels[CARRYING] != cells.config.channels[0]:
        raise ConfigError(
            f"widths={target.config.channels[:-2]}: the last has to be the cell network's {cells.config.channels[0]}"
        )
    sources = cells.streams()
    for image, stream in target.streams().items():
        _carry(cast(DKNStream, stream), stream.layers()[0][0].in_channels)
        _take(stream, sources[image])
    return target


def _carry(stream: DKNStream, channels: int) -> None:
    """Let the first layers pass on the pixels of a cell, in the order of `pixel_unshuffle`."""
    layers = stream.layers()[:CARRYING]
    counts = [channels, channels * HALF**2, channels * HALF**2, channels * STRIDE**2]
    for (conv, norm), count in zip(layers, counts, strict=True):
        if count > conv.out_channels:
            raise ConfigError(f"widths: {conv.out_channels} channels cannot pass on {count}")
        conv.weight[:count] = 0
        _bias(conv)[:count] = 0
        if norm is not None:
            assert norm.running_mean is not None and norm.running_var is not None
            norm.weight[:count], norm.bias[:count] = 1, 0
            norm.running_mean[:count], norm.running_var[:count] = 0, 1 - norm.eps
    first, down, middle, again = (conv.weight for conv, _ in layers)
    for channel in range(channels):
        first[channel, channel, 3, 3] = 1
        for y in range(HALF):
            for x in range(HALF):
                half = channel * HALF**2 + y * HALF + x
                down[half, channel, y, x] = 1
                middle[half, half, 2, 2] = 1
                for below in range(HALF):
                    for right in range(HALF):
                        row, column = HALF * below + y, HALF * right + x
                        again[channel * STRIDE**2 + row * STRIDE + column, half, below, right] = 1


def _take(stream: Stream, cells: Stream) -> None:
    """The layers after these, and one of 16 heads."""
    ours, theirs = stream.layers()[CARRYING:], cells.layers()
    for (conv, norm), (source, statistics) in zip(ours, theirs, strict=True):
        conv.weight.zero_()
        conv.weight[:, : source.in_channels] = source.weight
        _bias(conv).copy_(_bias(source))
        if norm is not None and statistics is not None:
            norm.load_state_dict(statistics.state_dict())
    for head, all_16 in ((stream.heads.weights, cells.heads.weights), (stream.heads.offsets, cells.heads.offsets)):
        if head is not None and all_16 is not None:
            head.weight.copy_(all_16.weight[PIXEL :: STRIDE**2])
            _bias(head).copy_(_bias(all_16)[PIXEL :: STRIDE**2])


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
