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

"""A whole frame as CUDA takes it, where there is no GPU: how many launches it has, and what comes out."""

from __future__ import annotations

from pathlib import Path

import launches
import numpy as np
import pytest
import torch
from cuda_tape import recorded
from launches import as_on_a_gpu, of_a_frame, on_arrays

from dkn import upsampler
from dkn.checkpoint import ModelInfo, load, save
from dkn.depth.stages.base import Stages
from dkn.depth.stages.pytorch import PYTORCH
from dkn.geometry import CameraModel, Registration
from dkn.networks.config import NetworkConfig
from dkn.upsampler import Upsampler

fused = pytest.importorskip("dkn.depth.stages.fused", reason="Triton is not installed")
from dkn.geometry import triton_registration  # noqa: E402  # only where Triton is

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="here the GPU does it")

MODELS = Path(__file__).resolve().parents[2] / "models"
FUSED = Stages(fused.validity, fused.prepare, fused.local_range, fused.finish, PYTORCH.known)
SIZE = 480, 640
MOST = 40
"""Launches of a frame from uploaded colour and depth to the result, whatever model and ratio, at 640×480."""


@pytest.mark.parametrize("fill_holes", ["none", "all"])
@pytest.mark.parametrize("ratio", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("model", ["fdkn_x8", "fdkn_sensor", "dkn_x8", "dkn_sensor"])
def test_launches(model, ratio, fill_holes):
    small = SIZE[0] // ratio, SIZE[1] // ratio
    found = of_a_frame(MODELS / f"{model}.safetensors", small, SIZE, FUSED, fill_holes=fill_holes)
    print(f"{model}, {ratio}x, fill_holes {fill_holes}: {sum(found.values())} launches, {dict(found)}")
    assert sum(found.values()) <= MOST
    fill = found["triton _down"] + found["triton _down_and_up"] + found["triton _up"]
    assert fill == fused.launches(*small)
    # What the network is told and what is known take PyTorch one operator, `valid.any()`, where holes are filled.
    convolutions = 14 if model.startswith("dkn") else 6
    assert found["cudnn"] == convolutions
    of_pytorch = sum(count for name, count in found.items() if name.startswith("aten")) - (fill_holes == "all")
    assert of_pytorch <= 6  # the engine's, which writes images into the first layers' inputs


@pytest.mark.parametrize("size", [(480, 640), (477, 637)])
def test_launches_where_a_frame_has_a_range_of_its_own(size, tmp_path):
    """The authors' checkpoints; and a size that the phases do not divide."""
    network, info = load(MODELS / "fdkn_x8.safetensors")
    save(tmp_path / "released.safetensors", network, ModelInfo(info.network, 8, None))
    found = of_a_frame(tmp_path / "released.safetensors", (60, 80), size, FUSED)
    print(f"{size[1]}x{size[0]}: {sum(found.values())} launches, {dict(found)}")
    assert sum(found.values()) <= MOST


def test_launches_on_a_small_gpu(monkeypatch):
    """Where the two streams run one after the other."""
    monkeypatch.setattr("dkn.engines.cuda.layers_joined", lambda device: 0)
    launches._engine.cache_clear()
    found = of_a_frame(MODELS / "fdkn_sensor.safetensors", SIZE, SIZE, FUSED)
    launches._engine.cache_clear()
    assert found["cudnn"] == 12 and sum(found.values()) <= MOST


def test_launches_of_registration(monkeypatch):
    """Beside those of the frame; and nothing waits for a value."""
    camera = CameraModel(64, 48, 50.0, 50.0, 32.0, 24.0)
    known = Registration(camera, camera, np.eye(4))._on_cpu.keywords
    register, depth = triton_registration.Register(**known, device="cpu"), torch.ones(48, 64)
    found = launches.Launches()

    def launch(kernel, *arguments, grid, warmup, **options):
        found.found[f"triton {kernel.fn.__name__}"] += 1

    monkeypatch.setattr(type(triton_registration._read), "run", launch)
    with torch.inference_mode(), recorded(found):
        register.on_device(depth)
    assert found.found == {"aten::zeros": 1, "triton _project": 1, "triton _read": 1}


def test_what_pytorch_would_launch():
    """The count is one that can tell: PyTorch's stages are beyond the limit."""
    found = of_a_frame(MODELS / "fdkn_x8.safetensors", (60, 80), SIZE, PYTORCH, fill_holes="all")
    assert 100 < sum(found.values()) < 200


@pytest.mark.parametrize(
    ("config", "depth_range", "size", "fill_holes"),
    [
        (NetworkConfig(depth_channels=4, window=63, n1=8, n2=8), 10.0, (24, 32), "none"),
        (NetworkConfig(n1=8, n2=8), 10.0, (12, 16), "all"),
        (NetworkConfig(n1=8, n2=8), None, (17, 22), "none"),
        (NetworkConfig("dkn", n1=8, n2=8), 10.0, (6, 8), "none"),
    ],
)
def test_the_same_frame_by_either(config, depth_range, size, fill_holes, tmp_path, make_model, monkeypatch):
    path = make_model(tmp_path / "m.safetensors", config=config)
    network, _ = load(path)
    save(path, network, ModelInfo(config, 8, depth_range))
    as_on_a_gpu(monkeypatch)
    for name, value in (("network_input.PARTS", 4), ("network_input.BLOCK", 1024), ("result.BLOCK", 1024)):
        monkeypatch.setattr(f"dkn.depth.stages.fused.{name}", value)  # fewer programs: the interpreter runs one by one
    rng = np.random.default_rng(0)
    for share in (0.2, 1.0):  # the second frame has no depth at all
        color, depth = rng.integers(0, 256, (*size, 3)).astype(np.uint8), rng.uniform(0.5, 8, (6, 8)).astype(np.float32)
        depth[rng.random(depth.shape) < share] = np.nan
        results = []
        for stages in (PYTORCH, FUSED):
            monkeypatch.setattr(upsampler, "stages", lambda device, stages=stages: on_arrays(stages))
            one = Upsampler(path, device="cpu", engine="reference", fill_holes=fill_holes, max_depth=7.5)
            results.append(one(color, depth))
        expected, found = results
        assert np.mean(np.isnan(found) != np.isnan(expected)) < 1e-2
        assert np.isfinite(expected).any() == (share < 1)
        known = np.isfinite(found) & np.isfinite(expected)
        np.testing.assert_allclose(found[known], expected[known], rtol=0, atol=1e-4)
