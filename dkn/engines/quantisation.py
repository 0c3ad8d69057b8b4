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

import cv2
import numpy as np

from dkn.engines import numpy_network
from dkn.engines.folding import Convolution, FoldedStream
from dkn.networks.config import NetworkConfig

FIRST_LAYER = {"fdkn": 2, "dkn": 3}
"""Of depth's stream, counted from 0. Those before it do a twenty-fifth of the work, and see detail that 256 levels
would lose. Colour consists of bytes from the first."""

PATCH, PATCHES = 64, 16


def quantise(streams: list[FoldedStream], config: NetworkConfig) -> list[FoldedStream]:
    """Mark the convolutions to be done in eight bits, by the range of their input."""
    ranges = find_ranges(streams, config)
    # The average takes all factors of its kernels in one form. Eq. (7) divides by the sum of the weights, and of small
    # ones bytes keep no digits.
    outputs = config.residual and all(of_stream.inputs[-1] > 0 for of_stream in ranges.values())
    first = {"depth": FIRST_LAYER[config.architecture]}
    return [_quantise_stream(stream, ranges[stream.image], first.get(stream.image, 0), outputs) for stream in streams]


class Ranges(NamedTuple):
    """What was found in one stream."""

    inputs: list[float]
    """The largest input of each convolution of the features, then of the heads. They are outputs of a ReLU (the first
    apart), so that a range begins at 0."""
    offsets: float
    """Of offsets, on either side of 0: what loses least in bytes. A few are far larger than all others."""


def find_ranges(streams: list[FoldedStream], config: NetworkConfig) -> dict[str, Ranges]:
    """Of each stream, by its image."""
    color, depth = _patches()
    depths = [depth]
    if config.depth_channels > 1:
        least, most = np.zeros_like(depth), np.ones_like(depth)
        # All of it measured; at the ends of scale and of mixed pixels.
        depths = [np.concatenate((depth, most, *ends), axis=1) for ends in product((least, most), repeat=2)]
    images = {"rgb": [color], "grey": [color.mean(1, keepdims=True)], "depth": depths}
    found = {}
    for stream in streams:
        cells = [numpy_network.to_cells(image, config.phases) for image in images[stream.image]]
        inputs, offsets = zip(*(_ranges(stream, image) for image in cells), strict=True)
        found[stream.image] = Ranges(list(map(max, zip(*inputs, strict=True))), max(offsets))
    return found


def _ranges(stream: FoldedStream, cells: np.ndarray) -> Ranges:
    inputs = list(numpy_network.inputs(stream, cells, strided=True))  # every sixteenth pixel of a DKN is enough
    offsets = 1.0 if stream.offsets is None else best_range(numpy_network.convolve(inputs[-1], stream.offsets))
    return Ranges([float(seen.max()) for seen in inputs], offsets)


def best_range(values: np.ndarray) -> float:
    """The range on either side of 0, in bytes of which `values` have the least mean error, to a fifth or so."""
    largest = float(np.abs(values).max())
    if largest == 0:
        return 1.0

    def error(upper: float) -> float:
        rounded = np.rint(values * np.float32(127 / upper)).clip(-127, 127) * np.float32(upper / 127)
        return float(np.abs(rounded - values).mean())

    return min((largest * 0.8**i for i in range(24)), key=error)


def _patches() -> tuple[np.ndarray, np.ndarray]:
    """Colour in 0..1 and depth in units of its range, (N, channels, H, W) float32: blocks with sharp edges, half of
    them with noise on top; depth smooth between random heights, as interpolation leaves it, from near to the end of
    the range."""
    random = np.random.default_rng(0)
    color = random.random((PATCHES, 3, 8, 8), np.float32).repeat(8, axis=2).repeat(8, axis=3)
    color[::2] += np.float32(0.15) * random.standard_normal(color[::2].shape, np.float32)
    heights = random.random((PATCHES, 8, 8), np.float32) * np.linspace(0.1, 1, PATCHES, dtype=np.float32)[:, None, None]
    depth = np.stack([cv2.resize(height, (PATCH, PATCH), interpolation=cv2.INTER_CUBIC) for height in heights])
    return color.clip(0, 1), depth[:, None].clip(0, 1)


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
