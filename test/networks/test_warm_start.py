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

"""Networks made of one on cells give what this gives, at every pixel, also where a picture ends."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dkn.engines.folding import fold
from dkn.errors import ConfigError
from dkn.networks.config import PAPER_WIDTHS, NetworkConfig
from dkn.networks.dkn import CellNetwork, build
from dkn.networks.warm_start import CARRYING, to_dkn, with_all_layers
from dkn.networks.weights import Weights

CELLS = NetworkConfig("cells", n1=12, n2=8)
ALL_LAYERS = dataclasses.replace(CELLS, widths=PAPER_WIDTHS["dkn"])


def images(height: int, width: int, channels: int = 1) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, height, width, generator=random), torch.rand(2, channels, height, width, generator=random)


def at_16_positions(network: CellNetwork, guidance: Tensor, depth: Tensor) -> list[Tensor]:
    """Kernels where each pixel is the third of the third row of its cell: 16 runs, with zeros around the picture."""
    height, width = depth.shape[2:]
    whole: list[Tensor] = []
    for y in range(4):
        for x in range(4):
            left, above = (2 - x) % 4, (2 - y) % 4
            around = left, -(left + width) % 4, above, -(above + height) % 4
            found = [k for k in network.kernels(F.pad(guidance, around), F.pad(depth, around)) if k is not None]
            whole = whole or [torch.full((*k.shape[:2], height, width), torch.nan) for k in found]
            for all_of_them, some in zip(whole, found, strict=True):
                inside = some[:, :, above : above + height, left : left + width]
                all_of_them[:, :, y::4, x::4] = inside[:, :, y::4, x::4]
    return whole


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"depth_channels": 4, "window": 63},
        {"guidance": "none", "kernel_size": 5, "residual": False},
        {"guidance": "grey", "weights_from": "rgb", "offsets_from": "none"},
        {"widths": (20,)},
        {"widths": PAPER_WIDTHS["dkn"]},
        {"widths": (5, 6, 7, 8, 9), "depth_channels": 4, "guidance": "grey"},
    ],
    ids=str,
)
def test_the_kernels_of_every_pixel(changes, liven):
    cells = liven(build(dataclasses.replace(CELLS, **changes)), offsets=2.0)
    widths = (6, 20, 22, 70, 20) if changes.get("widths") == (20,) else ()
    dkn = to_dkn(cells, widths)
    expected = dataclasses.replace(cells.config, architecture="dkn", widths=widths or changes.get("widths", ()))
    assert dkn.config == expected
    guidance, depth = images(21, 26, cells.config.depth_channels)
    with torch.no_grad():
        expected = at_16_positions(cells, guidance, depth)
        found = [k for k in dkn.kernels(guidance, depth) if k is not None]
    for one, other in zip(expected, found, strict=True):
        assert one.std() > 1e-3
        torch.testing.assert_close(other, one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(24, 32), (21, 26), (3, 5)], ids=str)
def test_first_layers_that_pass_the_pixels_on(size, liven):
    """With them, a network on cells gives what it gave without, in all pixels; they are the same every time."""
    cells = liven(build(dataclasses.replace(CELLS, depth_channels=4)), offsets=2.0)
    whole, again = with_all_layers(cells), with_all_layers(cells)
    assert whole.config == dataclasses.replace(ALL_LAYERS, depth_channels=4)
    with torch.no_grad():
        expected, found = cells.kernels(*images(*size, 4)), whole.kernels(*images(*size, 4))
    for one, other in zip(expected, found, strict=True):
        assert one is not None
        torch.testing.assert_close(other, one, rtol=0, atol=1e-5)
    for one, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_what_is_free_to_learn(liven):
    """Channels that carry no pixel are random, and take part as soon as the fifth convolution lets them."""
    cells = with_all_layers(liven(build(CELLS)))
    for stream, carried in ((cells.guidance_stream, (3, 12, 12, 48)), (cells.depth_stream, (1, 4, 4, 16))):
        layers = stream.layers()
        for (conv, _), count in zip(layers, carried, strict=False):
            assert (conv.weight[count:].flatten(1).std(1) > 0).all()
        fifth = layers[CARRYING][0].weight
        assert (fifth[:, carried[-1] :] == 0).all()
    guidance, depth = images(8, 8)
    weights, _ = cells.kernels(guidance, depth)
    weights.square().mean().backward()
    assert (fifth.grad[:, carried[-1] :] != 0).any()


def test_layers_that_are_too_narrow(liven):
    cells = liven(build(CELLS))
    for widths in ((2, 32, 32, 64, 128), (32, 32, 11, 64, 128), (32, 32, 64, 47, 128), (32, 32, 64, 64, 127)):
        for make in (to_dkn, with_all_layers):
            with pytest.raises(ConfigError, match="widths"):
                make(cells, widths)
    with pytest.raises(ConfigError, match="widths"):
        to_dkn(build(ALL_LAYERS), (32, 32, 64, 65, 128))


@pytest.mark.parametrize("config", [CELLS, ALL_LAYERS], ids=["last layers", "all layers"])
def test_engines_refuse_it_in_words(config):
    with pytest.raises(ConfigError, match="makes a DKN"):
        fold(Weights.of(build(config)))
