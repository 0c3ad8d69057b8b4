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

"""The CUDA engine: on a GPU as it is, elsewhere with torch's convolutions and Triton's interpreter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cuda_tape import Tape, recorded
from engine_cases import CONFIGS, tensors
from torch import Tensor

from dkn import checkpoint
from dkn.depth.resample import resize_bicubic
from dkn.engines import TOLERANCE, Runner, difference_from_numpy, plan
from dkn.engines.reference import ReferenceEngine
from dkn.errors import ConfigError
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import KernelNetwork, build
from dkn.networks.weights import Weights
from dkn.utils.device import CPU, Device, choose_device

pytest.importorskip("triton", reason="Triton is not installed")
from dkn.engines import cuda

DEVICE = choose_device("auto")
MODELS = Path(__file__).resolve().parents[2] / "models"
MILLIMETRE = 1e-4
DKN = NetworkConfig("dkn", n1=16, n2=16)
FDKN = NetworkConfig(n1=16, n2=16)


@pytest.fixture(autouse=True)
def _float32_is_not_tf32():
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def engine_of(network: KernelNetwork, precision: str, **options) -> cuda.CudaEngine:
    return cuda.CudaEngine(Weights.of(network), DEVICE, precision, **options)


def run(network: KernelNetwork, color: Tensor, depth: Tensor, precision: str = "fp32", **options) -> Tensor:
    engine = engine_of(network, precision, **options)
    return engine(color.to(str(DEVICE)), depth.to(str(DEVICE))).cpu()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_equals_the_reference(config, liven):
    network = liven(build(replace(config, n1=16, n2=24)), offsets=2.0)  # products of two: often out of the window
    color, depth = tensors(1, 5, 7, channels=config.depth_channels)
    expected = ReferenceEngine(Weights.of(network), CPU)(color, depth)
    result = run(network, color, depth)
    assert result.shape == expected.shape and result.dtype == torch.float32
    assert (result - expected).abs().max() <= TOLERANCE["fp32"]
    assert (expected - depth[:, :1]).abs().max() > 0.01


@pytest.mark.parametrize(("multiprocessors", "layers"), [(8, 0), (16, 0), (132, 6)])
def test_streams_are_joined_where_one_does_not_fill_the_gpu(multiprocessors, layers, monkeypatch):
    properties = SimpleNamespace(multi_processor_count=multiprocessors)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert cuda.layers_joined(torch.device("cuda:0")) == layers
    assert cuda.layers_joined(torch.device("cpu")) == 6


@pytest.mark.parametrize(
    "options", [{"joined": 0}, {"joined": 4}, {"joined": 3, "grouped": True}, {"grouped": True}], ids=str
)
@pytest.mark.parametrize("config", [FDKN, replace(FDKN, guidance="none")], ids=["both", "depth alone"])
@torch.inference_mode()
def test_streams_run_together_or_apart(config, options, liven):
    network = liven(build(config))
    color, depth = (image.to(str(DEVICE)) for image in tensors(2, 13, 9))
    expected, result = (
        next(cuda.CudaEngine(Weights.of(network), DEVICE, "fp32", **ways)._features(color, depth.permute(0, 2, 3, 1)))[
            1
        ]
        for ways in ({}, options)
    )
    for feature, other in zip(expected, result, strict=True):
        torch.testing.assert_close(other, feature, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"dilated": True}, {"most_pixels": 60}], ids=str)
def test_every_way_through_dkn(options, liven):
    network = liven(build(DKN), offsets=2.0)
    color, depth = tensors(2, 6, 5)
    difference = run(network, color, depth, **options) - run(network, color, depth)
    assert difference.abs().max() <= TOLERANCE["fp32"]


@pytest.mark.parametrize(("dilated", "count"), [(False, 16), (True, 1)])
def test_a_large_image_is_computed_in_bands(dilated, count, liven, monkeypatch):
    bands = []
    monkeypatch.setattr(cuda, "upsample", lambda heads, features, *_, band: bands.append((band, *features[1].shape)))
    run(liven(build(DKN)), *tensors(1, 18, 10), most_pixels=80, dilated=dilated)
    heights, width = ((2, 2, 1), 3) if not dilated else ((8, 8, 2), 10)
    assert bands == [
        (band, count, 16, height, width) for band, height in zip(((0, 8), (8, 16), (16, 18)), heights, strict=True)
    ]


@pytest.mark.parametrize("size", [(1, 1), (3, 6), (4, 4)])
@pytest.mark.parametrize("config", [FDKN, DKN], ids=["fdkn", "dkn"])
def test_any_size(config, size, liven):
    network = liven(build(config))
    color, depth = tensors(1, 20, 20)
    color, depth = color[:, : size[0], : size[1]].contiguous(), depth[..., : size[0], : size[1]].contiguous()
    difference = run(network, color, depth) - ReferenceEngine(Weights.of(network), CPU)(color, depth)
    assert difference.abs().max() <= TOLERANCE["fp32"]


def test_the_same_bytes_on_every_run(liven):
    network = liven(build(FDKN), offsets=3.0)
    color, depth = tensors(1, 9, 14)
    engine = cuda.CudaEngine(Weights.of(network), DEVICE, "fp16")
    first, _, again = (
        engine(c.to(str(DEVICE)), d.to(str(DEVICE))) for c, d in ((color, depth), tensors(1, 5, 5), (color, depth))
    )
    assert torch.equal(first, again)


# --- Half precision -----------------------------------------------------------------------------------------------


def trained(scale: int) -> KernelNetwork:
    return checkpoint.load(MODELS / f"fdkn_x{scale}.safetensors")[0].eval()


def scene(make_scene, scale: int, height: int = 24, width: int = 32) -> tuple[Tensor, Tensor]:
    color, metres = make_scene(height, width)
    truth = torch.from_numpy(metres)[None, None] / 10
    depth = resize_bicubic(resize_bicubic(truth, (height // scale, width // scale)), (height, width))
    return torch.from_numpy(color)[None], depth


@pytest.mark.parametrize("scale", [4, 8])
def test_float16_on_a_scene(scale, make_scene):
    network = trained(scale)
    color, depth = scene(make_scene, scale)
    expected = ReferenceEngine(Weights.of(network), CPU)(color, depth)
    difference = (run(network, color, depth, "fp16") - expected).abs()
    assert 0 < difference.max() <= 3 * MILLIMETRE
    assert difference.mean() <= 0.1 * MILLIMETRE
    assert (expected - depth).abs().max() > 300 * MILLIMETRE


def test_depth_is_not_rounded_to_float16(liven):
    """Behind 7 m, float16 has steps of 5 mm."""
    network = trained(8)
    color, depth = tensors(1, 12, 16)
    depth = 0.7 + 0.02 * depth
    expected = ReferenceEngine(Weights.of(network), CPU)(color, depth)
    whole, rounded = (run(network, color, d, "fp16") - expected for d in (depth, depth.half().float()))
    assert whole.abs().mean() < 0.2 * rounded.abs().mean()


@pytest.mark.parametrize("content", [0.0, 6.5])
def test_extreme_depths_in_float16(content):
    """Nothing overflows at 65 m, the end of what 16 bits of millimetres say."""
    network = trained(8)
    color, depth = tensors(1, 8, 12)
    depth = content * depth
    result = run(network, color, depth, "fp16")
    expected = ReferenceEngine(Weights.of(network), CPU)(color, depth)
    assert (result - expected).abs().max() <= 0.01 * max(content, 1)


def test_the_self_check_accepts_it():
    network = trained(4)
    difference = difference_from_numpy(engine_of(network, "fp16"), Weights.of(network))
    assert 0 < difference <= TOLERANCE["fp16"] / 2  # not on the brink


# --- On the way to a GPU ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [FDKN, DKN], ids=["fdkn", "dkn"])
def test_nothing_asks_for_a_value(config, liven, monkeypatch):
    """Replayed on other images, the recorded operations give what they should: a CUDA graph can hold them."""
    network = liven(build(config))
    captured = {}

    def instead(heads, features, depth, out, *, band):  # Triton's launch leaves no trace in torch
        captured["features"] = features
        return out.copy_(depth)

    monkeypatch.setattr(cuda, "upsample", instead)
    engine, tape = cuda.CudaEngine(Weights.of(network), CPU, "fp16"), Tape()
    (color, depth), (other_color, other_depth) = tensors(1, 9, 14), tensors(1, 9, 14, seed=1)
    with torch.inference_mode():
        color, depth = color.clone(), depth.clone()
    with torch.inference_mode(), recorded(tape):
        engine(color, depth)
    first = captured["features"]
    engine(other_color, other_depth)
    with torch.inference_mode():
        color.copy_(other_color), depth.copy_(other_depth)
    tape.replay()
    for replayed, expected in zip(first, captured["features"], strict=True):
        assert torch.equal(replayed, expected)


def test_kernels_too_large_for_it_leave_it_out():
    with pytest.raises(ConfigError, match="kernel_size=9"):
        engine_of(build(NetworkConfig(kernel_size=9, n1=8, n2=8)), "fp16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("architecture", ["fdkn", "dkn"])
def test_it_is_the_one_that_is_chosen(architecture, liven):
    network = liven(build(NetworkConfig(architecture)), offsets=0.3)
    runner = Runner(Weights.of(network), plan(Device("cuda")))
    assert str(runner.engine) == "cuda (cuda, fp16)"
    assert cuda._fuses(torch.device("cuda", torch.cuda.current_device()), torch.float16)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("architecture", ["fdkn", "dkn"])
def test_a_whole_frame_on_a_gpu(architecture, liven):
    network = liven(build(NetworkConfig(architecture)), offsets=0.3)
    color, depth = tensors(1, 480, 640)
    exact = ReferenceEngine(Weights.of(network), CPU)(color, depth)
    for precision, bound in (("fp32", TOLERANCE["fp32"]), ("fp16", 1e-4)):
        difference = np.abs((run(network, color, depth, precision) - exact).numpy())
        assert difference.mean() <= bound
