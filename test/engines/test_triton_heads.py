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

"""The fused heads: on a GPU as they are, elsewhere through Triton's interpreter. Depth is in ranges of 10 m."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dkn import checkpoint
from dkn.depth.resample import resize_bicubic
from dkn.errors import ConfigError
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import KernelNetwork, build

triton_heads = pytest.importorskip("dkn.engines.triton_heads", reason="Triton is not installed")

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
MODELS = Path(__file__).resolve().parents[2] / "models"
MILLIMETRE = 1e-4

CONFIGS = [
    {},
    {"residual": False},
    {"kernel_size": 1, "window": 5, "residual": False},
    {"kernel_size": 5},
    {"kernel_size": 5, "residual": False, "offsets_from": "none"},
    {"kernel_size": 7, "n2": 8},
    {"guidance": "none"},
    {"guidance": "grey", "released_sampling": True},
    {"weights_from": "rgb", "offsets_from": "depth"},
    {"weights_from": "depth", "offsets_from": "rgb", "residual": False},
    {"weights_from": "rgb", "offsets_from": "rgb"},
    {"weights_from": "depth", "offsets_from": "both"},
    {"weights_from": "both", "offsets_from": "none"},
    {"weights_from": "depth", "offsets_from": "none"},
    {"n2": 128},
    {"architecture": "dkn"},
    {"architecture": "dkn", "kernel_size": 5, "residual": False},
]


def network_of(liven, fields: dict) -> KernelNetwork:
    """A network with large offsets: the product of two streams reaches beyond the window."""
    return liven(build(NetworkConfig(**{"n1": 8, "n2": 20, **fields})), offsets=2.5)


def inputs(height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    guidance = torch.rand(batch, 3, height, width, generator=random)
    return guidance, torch.rand(batch, 1, height, width, generator=random)


def features_of(network: KernelNetwork, guidance: Tensor, depth: Tensor) -> list[Tensor]:
    """What goes into the heads of each stream."""
    features = []
    for stream in (network.guidance_stream, network.depth_stream):
        if stream is not None:
            hook = stream.heads.register_forward_pre_hook(lambda _, arguments: features.append(arguments[0]))
            network(guidance, depth)
            hook.remove()
    return features


def fused(network: KernelNetwork, features: list[Tensor], depth: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    heads = triton_heads.pack(copy.deepcopy(network).to(DEVICE), dtype)
    return triton_heads.upsample(heads, [f.to(DEVICE, dtype) for f in features], depth.to(DEVICE)).cpu()


def rounded(network: KernelNetwork, dtype: torch.dtype) -> KernelNetwork:
    """The network as `dtype` holds it: the heads' matrices, and what comes into them."""
    network = copy.deepcopy(network)
    for stream in (network.guidance_stream, network.depth_stream):
        if stream is not None:
            for head in stream.heads.children():
                head.weight.data = head.weight.data.to(dtype).float()
            stream.heads.register_forward_pre_hook(lambda _, arguments: (arguments[0].to(dtype).float(),))
    return network


@pytest.mark.parametrize("fields", CONFIGS, ids=str)
@torch.no_grad()
def test_equals_the_network(fields, liven):
    network = network_of(liven, fields)
    guidance, depth = inputs(5, 6)
    expected = network(guidance, depth)
    result = fused(network, features_of(network, guidance, depth), depth)
    assert result.shape == depth.shape and result.dtype == torch.float32
    assert (result - expected).abs().max() < 0.1 * MILLIMETRE
    assert (expected - depth).abs().max() > 1000 * MILLIMETRE


@pytest.mark.parametrize("fields", [{}, {"kernel_size": 5}, {"architecture": "dkn", "residual": False}], ids=str)
@torch.no_grad()
def test_float16_loses_what_rounding_the_features_and_matrices_does(fields, liven):
    network = network_of(liven, fields)
    guidance, depth = inputs(6, 7)
    result = fused(network, features_of(network, guidance, depth), depth, torch.float16)
    expected = rounded(network, torch.float16)(guidance, depth)
    assert (result - expected).abs().max() < 0.1 * MILLIMETRE
    assert not torch.equal(expected, network(guidance, depth))


@pytest.mark.parametrize("scale", [4, 8])
@torch.no_grad()
def test_float16_on_a_trained_network(scale, make_scene):
    network, _ = checkpoint.load(MODELS / f"fdkn_x{scale}.safetensors")
    network.eval()
    color, metres = make_scene(32, 40)
    guidance = torch.from_numpy(color).permute(2, 0, 1)[None] / 255
    truth = torch.from_numpy(metres)[None, None] / 10
    depth = resize_bicubic(resize_bicubic(truth, (32 // scale, 40 // scale)), (32, 40))
    result = fused(network, features_of(network, guidance, depth), depth, torch.float16)
    expected = network(guidance, depth)
    assert (result - expected).abs().max() < 3 * MILLIMETRE
    assert (expected - depth).abs().max() > 500 * MILLIMETRE


@pytest.mark.parametrize("size", [(1, 1), (4, 7), (33, 33)])  # the last takes several programs a phase
@torch.no_grad()
def test_any_size(size, liven):
    network = network_of(liven, {"n2": 8})
    guidance, depth = inputs(*size, batch=2)
    result = fused(network, features_of(network, guidance, depth), depth)
    assert (result - network(guidance, depth)).abs().max() < 0.1 * MILLIMETRE


@torch.no_grad()
def test_polyphase_features(liven):
    network = network_of(liven, {"architecture": "dkn", "n2": 8})
    guidance, depth = inputs(6, 7, batch=2)
    dense = features_of(network, guidance, depth)
    phases = [F.pixel_unshuffle(F.pad(f, (0, 1, 0, 2)), 4) for f in dense]  # channel c, phase p at 16 c + p
    polyphase = [p.view(2, 8, 16, 2, 2).transpose(1, 2).flatten(0, 1) for p in phases]
    result = fused(network, polyphase, depth)
    assert (result - network(guidance, depth)).abs().max() < 0.1 * MILLIMETRE


@torch.no_grad()
def test_extreme_depths(liven):
    network = network_of(liven, {"n2": 8})
    guidance, depth = inputs(4, 5)
    for extreme in (torch.zeros_like(depth), torch.ones_like(depth), (depth > 0.5).float(), depth * 1e-6):
        features = features_of(network, guidance, extreme)
        assert (fused(network, features, extreme) - network(guidance, extreme)).abs().max() < 0.1 * MILLIMETRE


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # of the interpreter's NumPy
@torch.no_grad()
def test_weights_that_vanish_are_no_divisor(liven):
    network = network_of(liven, {"n2": 8, "residual": False})
    guidance, depth = inputs(5, 6)
    for stream in (network.guidance_stream, network.depth_stream):
        stream.heads.weights.bias.data -= 200
    features = features_of(network, guidance, depth)
    assert not fused(network, features, depth).any()
    assert not network(guidance, depth).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@torch.no_grad()
def test_the_same_bytes_every_time_and_in_any_layout(dtype, liven):
    network = network_of(liven, {"n2": 8})
    guidance, depth = inputs(4, 6)
    features = features_of(network, guidance, depth)
    expected = fused(network, features, depth, dtype)
    last = [f.to(memory_format=torch.channels_last) for f in features]
    strided = torch.cat((depth, depth), dim=3)[..., :6]
    assert torch.equal(fused(network, last, strided, dtype), expected)


@torch.no_grad()
def test_the_result_can_be_written_into_a_given_tensor(liven):
    network = network_of(liven, {"n2": 8})
    guidance, depth = inputs(5, 6)
    features = [f.to(DEVICE) for f in features_of(network, guidance, depth)]
    heads, out = triton_heads.pack(network.to(DEVICE), torch.float32), torch.full_like(depth, -1).to(DEVICE)
    expected = triton_heads.upsample(heads, features, depth.to(DEVICE))
    assert triton_heads.upsample(heads, features, depth.to(DEVICE), out) is out
    assert torch.equal(out, expected)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="kernel_size=9"):
        triton_heads.pack(build(NetworkConfig(kernel_size=9, n1=8, n2=8)))
    with pytest.raises(ConfigError, match="bfloat16"):
        triton_heads.pack(build(NetworkConfig(n1=8, n2=8)), torch.bfloat16)
    heads = triton_heads.pack(build(NetworkConfig(n1=8, n2=8)))
    depth, feature = torch.zeros(1, 1, 5, 6), torch.zeros(1, 8, 2, 2, dtype=torch.float16)
    for features, image, out in (
        ([feature], depth, None),
        ([feature, feature.float()], depth, None),
        ([feature, feature[:, :7]], depth, None),
        ([feature[:, :, :1]] * 2, depth, None),
        ([feature] * 2, depth.double(), None),
        ([feature] * 2, depth[:, :, 0], None),
        ([feature] * 2, depth, depth[..., :3]),
    ):
        with pytest.raises(ValueError):
            triton_heads.upsample(heads, features, image, out)
