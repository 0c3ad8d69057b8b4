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

"""Narrower networks made of wider ones: what nobody reads can go without a trace, and what is read most stays."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dkn.errors import ConfigError
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import FDKN, build
from dkn.networks.narrowing import narrowed

WIDTHS, N1, N2 = (6, 8, 8, 10), 12, 9
WIDE = NetworkConfig(widths=WIDTHS, n1=N1, n2=N2, depth_channels=4, window=31)


def images(height: int = 40, width: int = 52) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, height, width, generator=random), torch.rand(2, 4, height, width, generator=random)


def differ(a: FDKN, b: FDKN) -> float:
    with torch.no_grad():
        pairs = zip(a.kernels(*images()), b.kernels(*images()), strict=True)
        return max(float((one - other).abs().max()) for one, other in pairs)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"guidance": "none", "depth_channels": 1},
        {"guidance": "grey", "weights_from": "rgb", "offsets_from": "depth"},
        {"offsets_from": "none", "kernel_size": 5},
    ],
    ids=str,
)
def test_as_wide_as_it_was_it_is_the_same(liven, changes):
    network = liven(build(dataclasses.replace(WIDE, **changes)))
    guidance, depth = images()
    depth = depth[:, : network.config.depth_channels]
    same = narrowed(network, WIDTHS, N1, N2, guidance, depth)
    assert same is not network and same.config == network.config
    for one, other in zip(same.state_dict().values(), network.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_channels_that_nobody_reads_go_without_a_trace(liven):
    network = liven(build(WIDE))
    keep = [5, 6, 8, 7, 10, 8]
    with torch.no_grad():
        for stream in network.streams().values():
            convs = [conv for conv, _ in stream.layers()]
            for k, count in enumerate(keep):
                unread = torch.randperm(convs[k].out_channels, generator=torch.Generator().manual_seed(k))[count:]
                readers = [convs[k + 1]] if k + 1 < len(convs) else [stream.heads.weights, stream.heads.offsets]
                for reader in readers:
                    reader.weight[:, unread] = 0
    small = narrowed(network, tuple(keep[:4]), *keep[4:], *images())
    assert small.config.channels == tuple(keep)
    assert differ(small, network) < 1e-5


def test_a_channel_that_is_constant_becomes_a_bias(liven):
    """But for the ends of the picture, beyond which convolutions see zeros."""
    network = liven(build(WIDE))
    with torch.no_grad():
        for stream in network.streams().values():
            conv, norm = stream.layers()[1]
            assert norm is None
            conv.weight[3], conv.bias[3] = 0, 0.5
            stream.layers()[2][0].weight[:, 3] *= 0.1  # the one that is read least
    large = images(200, 200)
    small = narrowed(network, (6, 7, 8, 10), N1, N2, *large)
    with torch.no_grad():
        pairs = list(zip(small.kernels(*large), network.kernels(*large), strict=True))
    inside = slice(30, -30)
    assert max(float((a - b)[..., inside, inside].abs().max()) for a, b in pairs) < 0.02
    assert max(float((a - b).abs().max()) for a, b in pairs) > 0  # which of them it was


def test_those_that_are_read_most_stay(liven):
    """Against channels chosen at random: the result is nearer to the network."""
    network = liven(build(WIDE))
    chosen = differ(narrowed(network, WIDTHS, N1, 6, *images()), network)
    others = []
    for seed in range(5):
        shuffled = liven(build(WIDE))
        with torch.no_grad():
            for stream in shuffled.streams().values():
                lost = torch.randperm(N2, generator=torch.Generator().manual_seed(seed))[6:]
                for head in (stream.heads.weights, stream.heads.offsets):
                    head.weight[:, lost] = 0
        others.append(differ(shuffled, network))
    assert chosen < sorted(others)[len(others) // 2]


@pytest.mark.parametrize("wanted", [(WIDTHS, N1, N2 + 1), ((7, 8, 8, 10), N1, N2), ((), 8, 8)])
def test_wider_is_refused(liven, wanted):
    with pytest.raises(ConfigError, match="channels"):
        narrowed(liven(build(WIDE)), *wanted, *images())
