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

"""DKN and FDKN against the paper's tables, and against the same networks written out with plain functional calls."""

from __future__ import annotations

import dataclasses
import json
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dkn.errors import ConfigError
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import DKN, FDKN, KernelNetwork, build
from dkn.ops.sampling import regular_taps

ARCHITECTURES = ("fdkn", "dkn", "cells")

# Table 4: streams that give weights, streams that give offsets, residual; with offsets k stops at 7.
TABLE_4 = [
    ("rgb", "none", False),
    ("depth", "none", False),
    ("both", "none", False),
    ("rgb", "rgb", False),
    ("depth", "depth", False),
    ("both", "both", False),
    ("both", "both", True),
]
TABLE_4_WITH_SIZES = [(*row, k) for row in TABLE_4 for k in ((3, 5, 7) if row[1] != "none" else (3, 5, 7, 15, 19, 25))]

# Supplement Table 2: n1, n2, millions of parameters and megabytes, each for DKN and for FDKN.
SUPPLEMENT_TABLE_2 = [
    (128, 128, (1.1, 0.6), (4.5, 2.8)),
    (256, 128, (1.7, 1.1), (6.7, 4.5)),
    (256, 256, (2.3, 1.7), (9.0, 7.3)),
    (256, 512, (3.5, 2.9), (14.0, 13.0)),
    (256, 1024, (5.8, 5.9), (23.0, 24.2)),
]


def inputs(height: int, width: int, seed: int = 0, batch: int = 1) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    guidance = torch.rand(batch, 3, height, width, generator=random)
    return guidance, torch.rand(batch, 1, height, width, generator=random)


def small(architecture: str, **fields) -> NetworkConfig:
    return NetworkConfig(architecture, n1=12, n2=8, **fields)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# --- Sizes --------------------------------------------------------------------------------------------------------


def test_parameter_counts():
    assert parameters(FDKN(NetworkConfig("fdkn", guidance="grey"))) == 693_856
    assert parameters(FDKN()) == 703_072
    assert parameters(DKN()) == 1_158_070


@pytest.mark.parametrize(("n1", "n2", "millions", "megabytes"), SUPPLEMENT_TABLE_2)
def test_feature_channels_of_supplement_table_2(n1, n2, millions, megabytes):
    counts = [
        parameters(build(NetworkConfig(a, guidance=g, n1=n1, n2=n2))) for a, g in (("dkn", "rgb"), ("fdkn", "grey"))
    ]
    # The file sizes of FDKN agree to the printed digit, with 4 bytes a parameter and 16 guidance channels.
    assert 4e-6 * counts[1] == pytest.approx(megabytes[1], abs=0.06)
    # The rest of the table is coarse: cut off rather than rounded (1.158 → 1.1), and off by up to 0.35 M in
    # the last columns (3.239 → 2.9), where the sizes printed below them say otherwise.
    assert 4e-6 * counts[0] == pytest.approx(megabytes[0], abs=0.75)
    for count, printed in zip(counts, millions, strict=True):
        assert -0.01 < 1e-6 * count - printed < 0.35
    if n1 == n2 == 128 or (n1, n2) == (256, 128):
        assert [int(1e-5 * c) / 10 for c in counts] == list(millions)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("weights", "offsets", "residual", "k"), TABLE_4_WITH_SIZES)
def test_every_entry_of_table_4_runs(architecture, weights, offsets, residual, k, liven):
    config = small(
        architecture,
        kernel_size=k,
        window=max(k, 15),
        residual=residual,
        weights_from=weights,
        offsets_from=offsets,
    )
    network = build(config).eval()
    guidance, depth = inputs(5, 6)
    with torch.no_grad():
        kernel, shift = network.kernels(guidance, depth)
        result = network.average(depth, kernel, shift)
    assert result.shape == depth.shape
    assert result.isfinite().all()
    assert kernel.shape == (1, k * k, 5, 6)
    assert shift is None if offsets == "none" else shift.shape == (1, 2 * k * k, 5, 6)


@pytest.mark.parametrize(("weights", "offsets", "residual"), TABLE_4)
def test_only_the_chosen_streams_have_a_say(weights, offsets, residual, liven):
    network = liven(build(small("fdkn", residual=residual, weights_from=weights, offsets_from=offsets)))
    (color, depth), (other_color, other_depth) = inputs(5, 6), inputs(5, 6, seed=1)
    with torch.no_grad():
        kernels = network.kernels(color, depth)
        after_color, after_depth = network.kernels(other_color, depth), network.kernels(color, other_depth)
    for source, here, there, below in zip((weights, offsets), kernels, after_color, after_depth, strict=True):
        if source != "none":
            assert torch.equal(here, there) == (source == "depth")
            assert torch.equal(here, below) == (source == "rgb")


@pytest.mark.parametrize(
    ("architecture", "size"),
    [("fdkn", size) for size in ((1, 1), (1, 9), (3, 2), (5, 7), (8, 12))] + [("dkn", (1, 1)), ("dkn", (5, 7))],
)
def test_any_size_and_batch(architecture, size, liven):
    network = liven(build(small(architecture)))
    guidance, depth = inputs(*size, batch=2)
    with torch.no_grad():
        both = network(guidance, depth)
        each = [network(guidance[i : i + 1], depth[i : i + 1]) for i in range(2)]
    assert both.shape == depth.shape
    torch.testing.assert_close(both, torch.cat(each), rtol=0, atol=1e-5)


# --- Against the paper, written out -------------------------------------------------------------------------------


def layers(stream: nn.Module) -> tuple[list[nn.Conv2d], list[nn.BatchNorm2d]]:
    """Convolutions and batch norms in the order of the paper's tables; the last convolutions are the heads."""
    modules = list(stream.modules())
    return [m for m in modules if isinstance(m, nn.Conv2d)], [m for m in modules if isinstance(m, nn.BatchNorm2d)]


def norm(x: Tensor, bn: nn.BatchNorm2d) -> Tensor:
    def along(v: Tensor) -> Tensor:
        return v.view(1, -1, 1, 1)

    x = (x - along(bn.running_mean)) / torch.sqrt(along(bn.running_var) + 1e-5)
    return x * along(bn.weight) + along(bn.bias)


def fdkn_heads(stream: nn.Module, image: Tensor) -> list[Tensor]:
    """Supplement Table 1 on the 16 phases of `image`, then back to full size: channel 16 c + 4 y + x is phase (y, x)
    of head channel c."""
    convs, norms = layers(stream)
    x = torch.cat(
        [image[:, c : c + 1, j::4, i::4] for c in range(image.shape[1]) for j, i in product(range(4), repeat=2)], 1
    )
    for n, conv in enumerate(convs[:6]):
        x = F.conv2d(x, conv.weight, conv.bias, padding=1)
        x = F.relu(norm(x, norms[n // 2]) if n in (0, 2, 4) else x)
    heads = []
    for conv in convs[6:]:
        stacked = F.conv2d(x, conv.weight, conv.bias)
        head = image.new_empty(1, stacked.shape[1] // 16, *image.shape[2:])
        for j, i in product(range(4), repeat=2):
            head[:, :, j::4, i::4] = stacked[:, 4 * j + i :: 16]
        heads.append(head)
    return heads


def dkn_heads(stream: nn.Module, image: Tensor, pixels: list[tuple[int, int]]) -> list[Tensor]:
    """Paper Table 1: one 51×51 patch around each pixel gives one kernel; (pixels, channels) for each head."""
    convs, norms = layers(stream)
    padded = F.pad(image, (25,) * 4)
    x = torch.cat([padded[:, :, j : j + 51, i : i + 51] for j, i in pixels])
    sizes = [x.shape[2]]
    for n, (conv, stride) in enumerate(zip(convs[:7], (1, 2, 1, 2, 1, 1, 1), strict=True)):
        x = F.conv2d(x, conv.weight, conv.bias, stride=stride)
        x = F.relu(norm(x, norms[n // 2]) if n in (0, 2, 4) else x)
        sizes.append(x.shape[2])
    assert sizes == [51, 45, 22, 18, 9, 5, 3, 1]  # the column "Output" of Table 1
    return [F.conv2d(x, conv.weight, conv.bias)[:, :, 0, 0] for conv in convs[7:]]


def combine(color: list[Tensor], depth: list[Tensor], residual: bool) -> tuple[Tensor, Tensor]:
    weights = 1 / (1 + torch.exp(-color[0])) / (1 + torch.exp(-depth[0]))
    total = weights.sum(1, keepdim=True)
    weights = weights - total / weights.shape[1] if residual else weights / total
    return weights, color[1] * depth[1]


def average_at(depth: Tensor, weights: np.ndarray, offsets: np.ndarray, y: int, x: int, taps: list, d: int) -> float:
    """Σ K f(s) at one pixel, by eq. (5) over its d×d window."""
    r = d // 2
    window = np.pad(depth[0, 0].double().numpy(), r)[y : y + d, x : x + d]
    t = np.arange(-r, r + 1)
    total = 0.0
    for weight, (tap_x, tap_y), (shift_x, shift_y) in zip(weights, taps, offsets.reshape(-1, 2), strict=True):
        g_x = np.maximum(0, 1 - np.abs(tap_x + shift_x - t))
        g_y = np.maximum(0, 1 - np.abs(tap_y + shift_y - t))
        total += weight * (g_y @ window @ g_x)
    return total


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("guidance", ["rgb", "grey"])
def test_fdkn_is_supplement_table_1(residual, guidance, liven):
    network = liven(FDKN(NetworkConfig("fdkn", residual=residual, guidance=guidance)))
    color, depth = inputs(20, 28)
    luma = (0.299 * color[:, 0] + 0.587 * color[:, 1] + 0.114 * color[:, 2])[:, None]
    with torch.no_grad():
        weights, offsets = combine(
            fdkn_heads(network.guidance_stream, luma if guidance == "grey" else color),
            fdkn_heads(network.depth_stream, depth),
            residual,
        )
        result = network(color, depth)
        ours = network.kernels(color, depth)
    torch.testing.assert_close(ours[0], weights, rtol=0, atol=2e-6)
    torch.testing.assert_close(ours[1], offsets, rtol=1e-4, atol=2e-5)
    assert offsets.abs().max() > 1
    taps = [(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    for y, x in ((0, 0), (19, 27), (4, 0), (9, 13), (10, 14), (3, 22)):
        expected = average_at(depth, weights[0, :, y, x].numpy(), offsets[0, :, y, x].numpy(), y, x, taps, 15)
        expected += depth[0, 0, y, x].item() if residual else 0
        assert result[0, 0, y, x].item() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("residual", [True, False])
def test_dkn_is_table_1_on_a_patch_around_each_pixel(residual, liven):
    network = liven(DKN(NetworkConfig("dkn", residual=residual)))
    color, depth = inputs(34, 37)
    pixels = [(0, 0), (33, 36), (0, 21), (16, 17), (17, 18), (18, 19), (19, 20), (33, 2)]
    with torch.no_grad():
        weights, offsets = combine(
            dkn_heads(network.guidance_stream, color, pixels), dkn_heads(network.depth_stream, depth, pixels), residual
        )
        ours = network.kernels(color, depth)
        result = network(color, depth)
    taps = [(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    for i, (y, x) in enumerate(pixels):
        torch.testing.assert_close(ours[0][0, :, y, x], weights[i], rtol=0, atol=1e-5)
        torch.testing.assert_close(ours[1][0, :, y, x], offsets[i], rtol=1e-4, atol=1e-5)
        expected = average_at(depth, weights[i].numpy(), offsets[i].numpy(), y, x, taps, 15)
        expected += depth[0, 0, y, x].item() if residual else 0
        assert result[0, 0, y, x].item() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("size", [(13, 18), (1, 2)])
def test_one_pass_equals_shift_and_stitch(size, liven):
    """Supplement 1.1: in evaluation mode the dense network gives what 16 passes over shifted inputs give."""
    network = liven(DKN())
    color, depth = inputs(*size)
    with torch.no_grad():
        one, sixteen = network.kernels(color, depth), network.kernels_by_shift_and_stitch(color, depth)
        for a, b in zip(one, sixteen, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
        result = network.average(depth, *sixteen)
        torch.testing.assert_close(network(color, depth), result, rtol=0, atol=1e-5)
    assert one[0].std() > 1e-2
    assert one[1].std() > 0.1


def test_shift_and_stitch_without_offsets_and_without_color(liven):
    network = liven(DKN(small("dkn", guidance="none", weights_from="depth", offsets_from="none")))
    _, depth = inputs(6, 7)
    with torch.no_grad():
        weights, offsets = network.kernels_by_shift_and_stitch(None, depth)
        torch.testing.assert_close(weights, network.kernels(None, depth)[0], rtol=0, atol=1e-5)
    assert offsets is None


def receptive_field(stream: nn.Module, y: int, x: int, size: int) -> tuple[set[int], set[int]]:
    """Rows and columns of the image that kernel (y, x) sees, by gradient."""
    for parameter in stream.parameters():
        parameter.data = torch.full_like(parameter, 0.01)  # positive, so that no ReLU hides a path
    stream = stream.double().eval()
    image = torch.ones(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    stream(image)[0][0, :, y, x].sum().backward()
    rows, columns = image.grad[0, 0].nonzero().unbind(1)
    assert len(rows) == len(set(rows.tolist())) * len(set(columns.tolist()))  # a full rectangle
    return set(rows.tolist()), set(columns.tolist())


@pytest.mark.parametrize(("y", "x"), [(42, 35)])
def test_dkn_sees_50_pixels(y, x):
    rows, columns = receptive_field(DKN(small("dkn")).depth_stream, y, x, 70)
    assert rows == set(range(y - 25, y + 25))
    assert columns == set(range(x - 25, x + 25))


@pytest.mark.parametrize(("y", "x"), [(40, 41), (43, 38)])
def test_fdkn_sees_13_by_13_blocks(y, x):
    rows, columns = receptive_field(FDKN(small("fdkn")).depth_stream, y, x, 84)
    assert rows == set(range(y // 4 * 4 - 24, y // 4 * 4 + 28))
    assert columns == set(range(x // 4 * 4 - 24, x // 4 * 4 + 28))


# --- Properties ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "guidance"),
    [("fdkn", "rgb"), ("fdkn", "grey"), ("fdkn", "none"), ("dkn", "rgb")],  # the last is slow: once is enough
)
@pytest.mark.parametrize(("weights", "offsets", "residual"), TABLE_4)
def test_every_parameter_learns(architecture, guidance, weights, offsets, residual, liven):
    if guidance == "none" and "rgb" in (weights, offsets):
        pytest.skip("there is no colour stream")
    config = small(architecture, guidance=guidance, weights_from=weights, offsets_from=offsets, residual=residual)
    network = liven(build(config))  # evaluation mode: batch statistics would cancel the biases before them
    color, depth = inputs(8, 8)
    (network(color, depth) - inputs(8, 8, seed=1)[1]).abs().sum().backward()
    names = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert names == []
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_mode_learns_too(architecture):
    network = build(small(architecture)).train()
    network(*inputs(16, 16, batch=2)).square().sum().backward()
    heads = [p for name, p in network.named_parameters() if "heads" in name]
    assert all(p.grad.any() for p in heads)


@pytest.mark.parametrize("k", [3, 5])
def test_weights_sum_to_zero_or_one(k, liven):
    for residual, expected in ((True, 0.0), (False, 1.0)):
        network = liven(build(small("fdkn", kernel_size=k, residual=residual)))
        weights, _ = network.kernels(*inputs(10, 11))
        torch.testing.assert_close(weights.sum(1), torch.full((1, 10, 11), expected), rtol=0, atol=1e-5)
        assert weights.std(dim=1).min() > 0
        if not residual:
            assert weights.min() > 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("residual", [True, False])
def test_a_constant_depth_comes_out_unchanged(architecture, residual, liven):
    network = liven(build(small(architecture, residual=residual)), offsets=0.7)
    color, _ = inputs(30, 34)
    depth = torch.full((1, 1, 30, 34), 0.37)
    with torch.no_grad():
        _, offsets = network.kernels(color, depth)
        result = network(color, depth)
    assert 0.02 < offsets.abs().max() < 6  # all taps inside the window of ±7, and in the interior inside the image
    torch.testing.assert_close(result[..., 7:-7, 7:-7], depth[..., 7:-7, 7:-7], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("architecture", "dy", "dx"), [("fdkn", 4, 8), ("dkn", 1, 3)])
def test_translation(architecture, dy, dx, liven):
    """A moved scene gives a moved result, where the border is out of sight: FDKN by whole blocks, DKN by any pixel."""
    network = liven(build(small(architecture)))
    color, depth = inputs(88, 88)
    moved = color[..., dy : dy + 76, dx : dx + 76], depth[..., dy : dy + 76, dx : dx + 76]
    with torch.no_grad():
        here, there = network(color[..., :76, :76], depth[..., :76, :76]), network(*moved)
    edge = 28  # what the layers see; the taps read the depth itself, which reaches further
    a, b = (
        here[..., edge + dy : 76 - edge, edge + dx : 76 - edge],
        there[..., edge : 76 - edge - dy, edge : 76 - edge - dx],
    )
    assert a.numel() > 50
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_fdkn_repeats_the_border_of_a_size_that_4_does_not_divide(liven):
    network = liven(FDKN(small("fdkn")))
    color, depth = inputs(13, 18)
    grown = [F.pad(t, (0, 2, 0, 3), mode="replicate") for t in (color, depth)]
    for ours, theirs in zip(network.kernels(color, depth), network.kernels(*grown), strict=True):
        torch.testing.assert_close(ours, theirs[..., :13, :18], rtol=0, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_models_without_guidance_ignore_it(architecture, liven):
    network = liven(build(small(architecture, guidance="none")))
    color, depth = inputs(12, 12)
    assert torch.equal(network(None, depth), network(color, depth))
    assert not any("guidance" in name for name, _ in network.named_parameters())


def test_a_guided_network_without_guidance_is_an_error():
    with pytest.raises(ConfigError, match="guidance"):
        FDKN()(None, inputs(8, 8)[1])


def test_grey_guidance_sees_luma_alone(liven):
    network = liven(FDKN(small("fdkn", guidance="grey")))
    color, depth = inputs(8, 8)
    luma = 0.299 * color[:, :1] + 0.587 * color[:, 1:2] + 0.114 * color[:, 2:]
    torch.testing.assert_close(network(color, depth), network(luma.expand(-1, 3, -1, -1), depth), rtol=0, atol=1e-6)


def test_regular_grid_without_offsets(liven):
    """Without offsets the result is a k×k filter with a kernel of its own at each pixel."""
    network = liven(FDKN(small("fdkn", offsets_from="none", residual=False, kernel_size=5)))
    color, depth = inputs(12, 16)
    weights, offsets = network.kernels(color, depth)
    assert offsets is None
    neighbours = F.unfold(depth, 5, padding=2).view(1, 25, 12, 16)
    expected = (weights * neighbours).sum(1, keepdim=True)
    torch.testing.assert_close(network(color, depth), expected, rtol=0, atol=1e-6)


def test_kernels_in_bfloat16_give_float32(liven):
    network = liven(FDKN(small("fdkn")))
    color, depth = inputs(16, 16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        weights, offsets = network.kernels(color, depth)
    assert weights.dtype == offsets.dtype == torch.float32
    assert network.average(depth, weights, offsets).dtype == torch.float32
    torch.testing.assert_close(weights, network.kernels(color, depth)[0], rtol=0, atol=0.03)


def test_released_sampling_puts_taps_where_the_checkpoint_expects_them(liven):
    """Along an axis at window position (offset + 7 + {0, 1, 2})·14/15, where 7 is the pixel; taps column by column."""
    config = small("fdkn", released_sampling=True)
    network = liven(FDKN(config), offsets=2.0)
    color, depth = inputs(20, 20)
    with torch.no_grad():
        weights, offsets = network.kernels(color, depth)
        result = network(color, depth)
    taps = [((7 + i) * 14 / 15 - 7, (7 + j) * 14 / 15 - 7) for i in range(3) for j in range(3)]
    for y, x in ((0, 0), (19, 19), (10, 9), (3, 16)):
        shift = offsets[0, :, y, x].numpy() * 14 / 15
        expected = average_at(depth, weights[0, :, y, x].numpy(), shift, y, x, taps, 15)
        assert result[0, 0, y, x].item() == pytest.approx(expected + depth[0, 0, y, x].item(), abs=1e-5)


# --- Configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"architecture": "unet"},
        {"kernel_size": 4},
        {"kernel_size": 0},
        {"kernel_size": -3},
        {"window": 14},
        {"kernel_size": 17},  # does not fit into the window of 15
        {"guidance": "blue"},
        {"weights_from": "none"},
        {"offsets_from": "colour"},
        {"guidance": "none", "weights_from": "rgb"},
        {"guidance": "none", "offsets_from": "rgb"},
        {"n1": 0},
        {"n2": -1},
        {"depth_channels": 3},
    ],
)
def test_contradictory_configurations(fields):
    with pytest.raises(ConfigError, match="|".join(fields)) as error:
        NetworkConfig(**fields)
    assert "\n" not in str(error.value)


def test_build_gives_the_class_of_the_architecture():
    assert type(build(NetworkConfig("dkn"))) is DKN
    assert type(build(NetworkConfig("fdkn"))) is FDKN
    config = small("fdkn", residual=False)
    assert build(config).config == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.n1 = 3


def test_regular_taps():
    assert regular_taps(1).tolist() == [[0, 0]]
    assert regular_taps(3).tolist() == [[x, y] for y in (-1, 0, 1) for x in (-1, 0, 1)]
    assert isinstance(build(small("dkn")), KernelNetwork)


@pytest.mark.parametrize(("architecture", "widths"), [("fdkn", (5, 6, 7, 9)), ("dkn", (5, 6, 7, 9, 10))])
def test_channels_of_every_layer(architecture, widths):
    config = NetworkConfig(architecture, widths=widths, n1=11, n2=12)
    stream = build(config).guidance_stream
    assert [conv.out_channels for conv, _ in stream.layers()] == [*widths, 11, 12]
    assert [norm and norm.num_features for _, norm in stream.layers()][:5:2] == [*widths, 11, 12][:5:2]
    assert NetworkConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize("widths", [(32, 32), (32, 32, 64, 0)])
def test_widths_that_make_no_network(widths):
    with pytest.raises(ConfigError, match="widths="):
        NetworkConfig(widths=widths)
