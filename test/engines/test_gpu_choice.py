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

"""Which engines a GPU is offered, and what happens when it is lost. No GPU is needed: it is claimed."""

from __future__ import annotations

import importlib.util
from functools import partial
from importlib import metadata

import numpy as np
import pytest
import torch

import dkn.upsampler
from dkn.engines import Choice, Engine, plan, runner
from dkn.errors import ConfigError
from dkn.upsampler import Upsampler
from dkn.utils.device import CPU, Device, choose_device

GPU = Device("cuda", 0)


@pytest.fixture
def gpu(monkeypatch):
    """Claims Triton of a version and a GPU of a compute capability."""

    def claim(triton: str, capability: tuple[int, int] = (9, 0)) -> None:
        find, version = importlib.util.find_spec, metadata.version
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "triton" or find(name))
        monkeypatch.setattr(metadata, "version", lambda name: triton if name == "triton" else version(name))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)

    return claim


@pytest.mark.parametrize(("version", "fit"), [("3.0.0", False), ("3.1.0", False), ("3.2.0", True), ("3.10.1", True)])
def test_a_triton_that_ends_the_process_is_not_tried(gpu, version, fit):
    gpu(version)
    assert ("cuda" in [choice.name for choice in plan(GPU)]) == fit
    if not fit:
        with pytest.raises(ConfigError, match=r"pip install 'triton>=3\.2'"):
            plan(GPU, "cuda")


def test_without_tensor_cores_tritons_kernels_come_last(gpu):
    gpu("3.3.0", (7, 5))
    on_gpu = [choice.name for choice in plan(GPU) if choice.device == GPU]
    assert on_gpu == ["torch", "cuda"]
    gpu("3.3.0", (8, 7))
    assert plan(GPU)[0].name == "cuda"


def test_a_device_is_named_with_its_index(monkeypatch):
    """What "cuda" means depends on the thread."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert choose_device("cuda") == choose_device("auto") == choose_device("cuda:1") == Device("cuda", 1)
    assert choose_device("cuda:0") == Device("cuda", 0)
    with pytest.raises(ConfigError, match="2 CUDA"):
        choose_device("cuda:2")


class OnCpu(Engine):
    name = "stand-in"

    def __call__(self, color, depth):
        return depth[:, :1]


class OnLostGpu(OnCpu):
    def __init__(self, network, device, precision):
        super().__init__(network, GPU, precision)


@pytest.fixture
def upsampler(make_model, tmp_path, monkeypatch) -> Upsampler:
    """With an engine on a GPU to begin with, and one on the CPU to go on with."""
    made = {"cuda": OnLostGpu, "cpu": OnCpu}
    monkeypatch.setattr(Choice, "make", lambda choice, net: made[choice.device.type](net, choice.device, "fp32"))
    monkeypatch.setattr(runner, "difference_from_numpy", lambda engine, network: 0.0)
    found = Upsampler(make_model(tmp_path / "m.safetensors"), device="cpu")
    found._plan, found._candidates = [Choice("torch", GPU, "fp32"), Choice("torch", CPU, "fp32")], []
    return found


@pytest.mark.parametrize("first", ["upload", "call"])
def test_a_lost_gpu_ends_on_the_cpu(upsampler, monkeypatch, first):
    """Whichever call to it fails first."""
    attempts = []

    def run_on(device: Device, upsample: partial, color: np.ndarray, depth: np.ndarray) -> np.ndarray:
        attempts.append(str(device))
        if device == CPU:
            return run_here(device, upsample, color, depth)
        if first == "call":
            upsample.keywords["run"](color[None], depth[None, None])
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    run_here = dkn.upsampler._run_on
    monkeypatch.setattr(dkn.upsampler, "_run_on", run_on)
    for _ in range(2):
        result = upsampler(np.zeros((16, 16, 3), np.uint8), np.full((2, 2), 2, np.float32))
        np.testing.assert_allclose(result, 2, atol=1e-5)
    assert attempts == ["cuda:0", "cpu", "cpu"]  # the arrays came from the host again, and the GPU is left alone
    assert "failed, going on with stand-in (cpu, fp32)" in upsampler.engine_failure
