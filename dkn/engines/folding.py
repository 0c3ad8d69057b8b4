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

"""A network as it is computed: convolutions with batch normalisation folded in, which fast engines start from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dkn.errors import ConfigError
from dkn.networks.config import IMAGE_PADDING, LUMA, feature_padding
from dkn.networks.weights import NamedLayer, NamedStream, Weights, named_streams

EPSILON = np.float32(1e-5)
"""Of batch normalisation, as PyTorch has it unless told otherwise."""


@dataclass(frozen=True)
class Convolution:
    """y = weight ∗ x + bias, of stride 1."""

    weight: np.ndarray
    """(channels out, channels in, k, k) float32."""
    bias: np.ndarray
    """(channels out,) float32."""
    dilation: int = 1
    padding: tuple[int, int] = (0, 0)
    """Zeros before and after, the same for rows and columns."""
    input_range: float | None = None
    """To be done in eight bits, for inputs from 0 to this (`dkn.engines.quantisation`); None: in floating point."""
    output_range: float | None = None
    """Of a head: what it gives, weights after their sigmoid, is wanted in eight bits too, up to this on either side of
    0; None: in floating point."""


@dataclass(frozen=True)
class FoldedStream:
    """One stream of a network, for all pixels in one pass: features, then heads that are 1×1 convolutions."""

    image: str
    """What it looks at: rgb, grey or depth; in FDKN its 4×4 phases as channels, in the order of `pixel_unshuffle`."""
    features: tuple[Convolution, ...]
    """Each followed by a ReLU."""
    weights: Convolution | None
    """Head of k² kernel weights (in FDKN of 16 phases each) before the sigmoid."""
    offsets: Convolution | None
    """Head of 2k² offsets (in FDKN of 16 phases each)."""


def fold(weights: Weights) -> list[FoldedStream]:
    """The streams of a network as they are in evaluation mode, in the order of `named_streams`.

    Raises:
        ConfigError: a network that is there to be trained only.
    """
    if weights.config.architecture == "cells":
        raise ConfigError("engines run FDKN and DKN; of a network on cells dkn.networks.warm_start makes a DKN")
    return [_fold_stream(weights, image, stream) for image, stream in named_streams(weights.config).items()]


def of_rgb(stream: FoldedStream, white: float) -> FoldedStream:
    """The stream with its first convolution made for RGB in 0..`white`: luma and scaling then cost nothing, and bytes
    are exact even in bfloat16."""
    first, *others = stream.features
    weight = first.weight / np.float32(white)
    if stream.image == "grey":
        by_phase = weight.reshape(len(weight), 1, -1, *weight.shape[2:])  # channels · phases, as pixel_unshuffle has it
        mixed = by_phase * np.array(LUMA, np.float32)[:, None, None, None]
        weight = mixed.reshape(len(weight), -1, *weight.shape[2:])
    upper = None if first.input_range is None else white
    return replace(stream, image="rgb", features=(replace(first, weight=weight, input_range=upper), *others))


def _fold_stream(weights: Weights, image: str, stream: NamedStream) -> FoldedStream:
    architecture = weights.config.architecture
    features: list[Convolution] = []
    dilation = 1
    for named in stream.layers:
        before, after = (0, 0) if features else IMAGE_PADDING[architecture]
        own = feature_padding(architecture, named.layer)
        features.append(Convolution(*_without_norm(weights, named), dilation, (before + own, after + own)))
        dilation *= named.layer.stride  # run densely, a stride is a dilation of all that follows
    heads = (
        None if head is None else Convolution(_array(weights, head[0], "weight"), _array(weights, head[0], "bias"))
        for head in (stream.weights, stream.offsets)
    )
    return FoldedStream(image, tuple(features), *heads)


def _without_norm(weights: Weights, named: NamedLayer) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a convolution that has taken over its batch normalisation."""
    weight, bias = (_array(weights, named.conv, part) for part in ("weight", "bias"))
    if not named.norm:
        return weight, bias
    gain, shift, mean, variance = (
        _array(weights, named.norm, part) for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = gain / np.sqrt(variance + EPSILON)
    return weight * gain[:, None, None, None], (bias - mean) * gain + shift


def _array(weights: Weights, name: str, part: str) -> np.ndarray:
    return np.asarray(weights.arrays[f"{name}.{part}"], np.float32)


def flops(weights: Weights, size: tuple[int, int]) -> float:
    """Floating point operations of the convolutions for one image of (width, height)."""
    pixels = size[0] * size[1] / weights.config.phases**2

    def of(convolution: Convolution | None) -> float:
        return 0.0 if convolution is None else 2.0 * convolution.weight.size * pixels

    return sum(of(c) for s in fold(weights) for c in (*s.features, s.weights, s.offsets))
