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

"""A warm start for DKN: a network that gives kernels for the 16 pixels of a cell of 4×4, where a DKN gives those of one
for about as many products, and so learns from 16 times as many pixels.

It is trained in two rounds. In the first it is DKN's last three convolutions alone: it sees an image as cells, their
pixels side by side as channels. `with_all_layers` puts the first four before them. They pass the pixels on as cells:
these are not negative, so that ReLU lets them through. The other channels of these layers are random, and the fifth
convolution takes nothing of them: they are free to learn in the second round. After either, `to_dkn` makes a DKN that
gives at every pixel what the network gives where this pixel is the one at row 2 and column 2 of its cell. (Of the 50×50
pixels that DKN sees, its pixel lies there in the middle one of 9×9 cells.)
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from dkn.errors import ConfigError
from dkn.networks.config import PAPER_WIDTHS, STRIDE
from dkn.networks.dkn import DKN, CellNetwork, Stream

PIXEL = 2 * STRIDE + 2  # of the 16 of a cell, row by row: the one that becomes DKN's
CARRYING = 4  # convolutions of a DKN that pass the pixels on
HALF = 2  # stride of two of them


@torch.no_grad()
def with_all_layers(cells: CellNetwork, widths: tuple[int, ...] = ()) -> CellNetwork:
    """The network with DKN's first four layers too that gives what `cells`, without them, gives, in evaluation mode; in
    training mode too as long as the batch norm of these layers is kept in evaluation mode. What is random in it is the
    same every time.

    Args:
        widths: of its layers before the last two; empty: those of the paper, then that of `cells`.

    Raises:
        ConfigError: layers too narrow for the pixels of a cell, or a fifth of another width than that of `cells`.
    """
    widths = widths or (*PAPER_WIDTHS["dkn"][:CARRYING], cells.config.channels[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        target = CellNetwork(dataclasses.replace(cells.config, widths=widths)).eval()
    if target.config.channels[CARRYING] != cells.config.channels[0]:
        raise ConfigError(
            f"widths={target.config.channels[:-2]}: the last has to be the cell network's {cells.config.channels[0]}"
        )
    sources = cells.streams()
    for image, stream in target.streams().items():
        _carry(stream, stream.layers()[0][0].in_channels)
        _take(stream, sources[image])
    return target


@torch.no_grad()
def to_dkn(cells: CellNetwork, widths: tuple[int, ...] = ()) -> DKN:
    """The DKN that gives what `cells` gives for one pixel of a cell, as `with_all_layers` has it.

    Args:
        cells: trained at every position of the low-resolution grid relative to its cells (`TrainConfig.aligned`).
        widths: of the DKN's feature layers before the last two; empty: those of `cells` with all layers.

    Raises:
        ConfigError: as `with_all_layers`, or other widths than those of all layers of `cells`.
    """
    if cells.config.cell > 1:
        cells = with_all_layers(cells, widths)
    widths = widths or cells.config.widths
    target = DKN(dataclasses.replace(cells.config, architecture="dkn", widths=widths)).eval()
    if target.config.channels != cells.config.channels:
        raise ConfigError(f"widths={target.config.channels[:-2]}: those of the cell network are {cells.config.widths}")
    found = cells.state_dict().items()
    target.load_state_dict({name: w[PIXEL :: STRIDE**2] if ".heads." in name else w for name, w in found})
    return target


def _carry(stream: Stream, channels: int) -> None:
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
    """The layers after these, and the heads."""
    ours, theirs = stream.layers()[CARRYING:], cells.layers()
    for (conv, norm), (source, statistics) in zip(ours, theirs, strict=True):
        conv.weight.zero_()
        conv.weight[:, : source.in_channels] = source.weight
        _bias(conv).copy_(_bias(source))
        if norm is not None and statistics is not None:
            norm.load_state_dict(statistics.state_dict())
    stream.heads.load_state_dict(cells.heads.state_dict())


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
