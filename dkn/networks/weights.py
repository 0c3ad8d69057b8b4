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

"""What a network has learnt, as plain arrays by name: all that a model file holds, and what engines are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dkn.errors import ConfigError
from dkn.networks.config import Layer, NetworkConfig

if TYPE_CHECKING:
    from dkn.networks.dkn import KernelNetwork

NORM_PARTS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
STREAMS = {"rgb": "guidance_stream", "depth": "depth_stream"}


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of one network.

    Raises:
        ValueError: arrays of another network; says what is wrong with the first of them.
    """

    config: NetworkConfig
    arrays: Mapping[str, np.ndarray]
    """By their names in PyTorch."""

    def __post_init__(self) -> None:
        expected = shapes(self.config)
        if missing := expected.keys() - self.arrays.keys():
            raise ValueError(f"{min(missing)} is missing")
        if unknown := self.arrays.keys() - expected.keys():
            raise ValueError(f"there is no {min(unknown)}")
        for name, shape in expected.items():
            if (found := self.arrays[name]).shape != shape or found.dtype.kind not in "fiu":
                raise ValueError(f"{name} is {found.dtype} {found.shape}, not {shape}")

    @classmethod
    def of(cls, network: KernelNetwork) -> Weights:
        """Those of a network as they are now; not a copy where it lies on the CPU."""
        state = network.state_dict()
        return cls(network.config, {name: tensor.detach().cpu().numpy() for name, tensor in state.items()})

    def network(self) -> KernelNetwork:
        """A network of PyTorch with these weights, in evaluation mode.

        Raises:
            ConfigError: PyTorch is missing.
        """
        try:
            import torch
        except ImportError as error:
            raise ConfigError(f"this needs PyTorch, which cannot be imported ({error}): pip install torch") from None

        from dkn.networks.dkn import build

        network = build(self.config)
        network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in self.arrays.items()})
        return network.eval()


class NamedLayer(NamedTuple):
    """A convolution of a stream's features, and where its arrays are."""

    layer: Layer
    ends: tuple[int, int]
    """Channels in and out."""
    conv: str
    """What the names of its arrays begin with."""
    norm: str
    """The same of its batch normalisation; empty without one."""


class NamedStream(NamedTuple):
    """One stream, and where its arrays are."""

    layers: list[NamedLayer]
    weights: tuple[str, int] | None
    """Of the head of kernel weights: what the names of its arrays begin with, and how many channels it gives."""
    offsets: tuple[str, int] | None
    """Of the head of offsets."""


def named_streams(config: NetworkConfig) -> dict[str, NamedStream]:
    """The streams there are, by the image that each sees: rgb or grey, then depth."""
    found, area = {}, config.phases**2
    for source, channels in (("rgb", config.guidance_channels), ("depth", config.depth_channels)):
        gives = [config.gives(source, of) for of in (config.weights_from, config.offsets_from)]
        if any(gives):
            name = STREAMS[source]
            layers = list(_layers(name, config, channels * config.cell**2))
            heads = (
                (f"{name}.heads.{kind}", count * config.kernel_size**2 * area) if given else None
                for kind, count, given in zip(("weights", "offsets"), (1, 2), gives, strict=True)
            )
            found[config.guidance if source == "rgb" else source] = NamedStream(layers, *heads)
    return found


def _layers(stream: str, config: NetworkConfig, channels: int) -> Iterator[NamedLayer]:
    place = 0  # in FDKN's Sequential of convolution, batch normalisation where there is one, ReLU, and so on
    for i, (layer, ends) in enumerate(zip(config.layers, pairwise((channels, *config.channels)), strict=True)):
        if config.architecture == "fdkn":
            conv, norm = f"{stream}.features.{place}", f"{stream}.features.{place + 1}"
            place += 3 if layer.norm else 2
        else:
            conv, norm = f"{stream}.convs.{i}", f"{stream}.norms.{i}"
        yield NamedLayer(layer, ends, conv, norm if layer.norm else "")


def shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """What arrays there are, and their shapes."""
    found: dict[str, tuple[int, ...]] = {}
    for stream in named_streams(config).values():
        for layer, (before, after), conv, norm in stream.layers:
            found |= {f"{conv}.weight": (after, before, layer.kernel, layer.kernel), f"{conv}.bias": (after,)}
            if norm:
                found |= {f"{norm}.{part}": (() if part == NORM_PARTS[-1] else (after,)) for part in NORM_PARTS}
        for head in (stream.weights, stream.offsets):
            if head is not None:
                name, count = head
                found |= {f"{name}.weight": (count, config.n2, 1, 1), f"{name}.bias": (count,)}
    return found
