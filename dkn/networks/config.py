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

"""What a network is: its architecture, its options, and the layers that follow from them. Without PyTorch, so that a
network can be run where it is not installed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np

from dkn.errors import ConfigError
from dkn.ops.taps import regular_taps

LUMA = 0.299, 0.587, 0.114  # of R, G and B, ITU-R BT.601
PAPER_WIDTHS = {"fdkn": (32, 32, 64, 64), "dkn": (32, 32, 64, 64, 128), "cells": (128,)}
"""Channels of the feature layers before the last two (paper Table 1, supplement Table 1; cells: DKN's last)."""
STRIDE = 4  # of all networks: two DownConv layers (DKN), resampling by 4 (FDKN)


class Layer(NamedTuple):
    """A convolution of a stream's features; a ReLU follows."""

    kernel: int
    stride: int
    norm: bool
    """Whether batch normalisation comes before the ReLU."""


LAYERS = {
    "fdkn": (Layer(3, 1, True), Layer(3, 1, False)) * 3,
    "dkn": (
        Layer(7, 1, True),
        Layer(2, 2, False),
        Layer(5, 1, True),
        Layer(2, 2, False),
        Layer(5, 1, True),
        Layer(3, 1, False),
        Layer(3, 1, False),
    ),
}
"""Of each architecture (supplement Table 1, paper Table 1). Cells have DKN's, or the last of them."""
IMAGE_PADDING = {"fdkn": (0, 0), "dkn": (25, 24)}
"""Zeros before and after what the first convolution sees, along rows and columns. DKN's others see no padding: the
image alone has it, by the receptive field of 50."""


def feature_padding(architecture: str, layer: Layer) -> int:
    """Zeros on each side of what a convolution sees: FDKN's keep the size."""
    return layer.kernel // 2 if architecture == "fdkn" else 0


def cell_of(layers: Sequence[Layer]) -> int:
    """Pixels of the image, along each axis, that the first of these layers sees side by side as channels, so that the
    last gives every `STRIDE`th."""
    return STRIDE // math.prod(layer.stride for layer in layers)


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is. Every row and column of the paper's Table 4 and supplement Table 2 is one of these.

    Raises:
        ConfigError: fields that contradict each other.
    """

    architecture: Literal["fdkn", "dkn", "cells"] = "fdkn"
    """cells: there to be trained only, what a DKN can begin with, see `dkn.networks.warm_start`."""
    kernel_size: int = 3
    """k: the weighted average runs over k² taps."""
    window: int = 15
    """d: taps reach no further than a d×d window around the pixel."""
    residual: bool = True
    """True: eq. (3), weights minus their mean. False: eq. (7), weights divided by their sum."""
    guidance: Literal["rgb", "grey", "none"] = "rgb"
    """none: a single stream that sees depth alone (the models marked † in Table 2)."""
    depth_channels: Literal[1, 4] = 1
    """1: the depth. 4: also how much of each pixel was measured, how far apart, and whether as points or averages: see
    `dkn.depth.network_input.input_channels`."""
    weights_from: Literal["both", "rgb", "depth"] = "both"
    """Streams that give kernel weights; both = every stream there is."""
    offsets_from: Literal["both", "rgb", "depth", "none"] = "both"
    """Streams that give offsets; none = a regular k×k grid."""
    n1: int = 128
    n2: int = 128
    """Channels of the last two feature layers (supplement Table 2)."""
    widths: tuple[int, ...] = ()
    """Channels of the feature layers before these; empty: those of the paper (`PAPER_WIDTHS`). Cells: of one layer, or
    of all five that a DKN has."""
    released_sampling: bool = False
    """The tap positions that the authors' released checkpoints were trained with (see `taps`)."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            allowed, value = get_args(hint), getattr(self, name)
            if get_origin(hint) is Literal and value not in allowed:
                raise ConfigError(f"{name}={value!r}: choose one of {', '.join(map(str, allowed))}")
        paper = tuple(self.widths) == PAPER_WIDTHS[self.architecture]
        object.__setattr__(self, "widths", () if paper else tuple(self.widths))  # JSON knows no tuples
        for value in (self.kernel_size, self.window, self.n1, self.n2, *self.widths):
            if type(value) is not int:
                raise ConfigError(f"{value!r}: kernel_size, window, n1, n2 and widths are whole numbers")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size={self.kernel_size}: an odd, positive number is needed")
        if self.window % 2 == 0 or self.window < self.kernel_size:
            raise ConfigError(
                f"window={self.window}: an odd number, at least kernel_size={self.kernel_size}, is needed"
            )
        if self.guidance == "none" and "rgb" in (self.weights_from, self.offsets_from):
            raise ConfigError("guidance='none' leaves no colour stream for weights_from or offsets_from = 'rgb'")
        if min(self.channels) < 1:
            raise ConfigError(f"widths={self.widths}, n1={self.n1}, n2={self.n2}: channel counts are positive")
        counts = [len(PAPER_WIDTHS[self.architecture])]
        if self.architecture == "cells":
            counts.append(len(PAPER_WIDTHS["dkn"]))
        if self.widths and len(self.widths) not in counts:
            count = " or ".join(map(str, counts))
            raise ConfigError(f"widths={self.widths}: {self.architecture} has {count} layers before the last two")

    @property
    def phases(self) -> int:
        """Output pixels, along each axis, that one pixel of the features stands for."""
        return 1 if self.architecture == "dkn" else STRIDE

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Of the features of each stream."""
        return LAYERS["fdkn"] if self.architecture == "fdkn" else LAYERS["dkn"][-len(self.channels) :]

    @property
    def cell(self) -> int:
        """`cell_of` its layers: 4 for FDKN, 1 for DKN."""
        return cell_of(self.layers)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels that each feature layer gives."""
        return (*(self.widths or PAPER_WIDTHS[self.architecture]), self.n1, self.n2)

    @property
    def guidance_channels(self) -> int:
        return {"rgb": 3, "grey": 1, "none": 0}[self.guidance]

    def gives(self, stream: str, source: str) -> bool:
        """Whether `stream` (rgb or depth) takes part in what comes from `source` (a field ending in _from)."""
        exists = stream == "depth" or self.guidance != "none"
        return exists and source in ("both", stream)

    def taps(self) -> np.ndarray:
        """(k², 2) float32 positions q in pixels relative to the pixel, as (x, y), row by row."""
        taps = regular_taps(self.kernel_size)
        if self.released_sampling:
            # The released networks put tap (i, j) at window position (offset + 7 + (i, j))·14/15, x from i: about
            # half a pixel up and left of the centre, and column by column.
            middle = self.window // 2
            released = (taps[:, ::-1] + self.kernel_size // 2 + middle) * self.offset_unit - middle
            return np.ascontiguousarray(released, np.float32)
        return taps

    @property
    def offset_unit(self) -> float:
        """Pixels that an offset of 1 stands for."""
        return (self.window - 1) / self.window if self.released_sampling else 1.0
