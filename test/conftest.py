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

"""What several test files need: networks worth testing, made-up scenes and data sets, and where sample files lie."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from dkn import checkpoint
from dkn.checkpoint import ModelInfo
from dkn.engines.selection import autotuning
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import KernelNetwork, build

# Without a GPU, Triton's kernels run in its interpreter. Triton reads this when it is imported, whoever imports it.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# No test writes into the user's home.
CACHE = tempfile.TemporaryDirectory(prefix="dkn-test-cache-", ignore_cleanup_errors=True)
os.environ["DKN_CACHE"] = CACHE.name

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    """Networks begin at random: the same in every run, alone or among other tests."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_autotuning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine that a test begins with serves to its end, and to that of the next."""
    monkeypatch.setattr(autotuning, "FRAMES", sys.maxsize)


@pytest.fixture(scope="session")
def official() -> Path:
    """The authors' released checkpoint and their sample pictures."""
    folder = DATA / "official"
    if not (folder / "FDKN_8x.pth").is_file():
        pytest.skip("the authors' checkpoint and sample pictures are not here")
    return folder


@pytest.fixture(scope="session")
def nyu_pairs() -> Path:
    """Real pictures of NYU v2 with depth in 8 bits, as <number>_rgb.jpg and <number>_depth_q8.png."""
    folder = DATA / "nyu8" / "test"
    if not folder.is_dir():
        pytest.skip("the NYU v2 sample pairs are not here")
    return folder


def _liven(network: KernelNetwork, seed: int = 0, offsets: float = 1.2) -> KernelNetwork:
    """Random batch-norm statistics, and heads large enough that weights differ and offsets span pixels: those of each
    stream get the deviation `offsets`.

    A fresh network has statistics of 0 and 1 and nearly constant kernels: it would pass with these parts left out.
    """
    random = torch.Generator().manual_seed(seed)

    def uniform(like: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return torch.rand(like.shape, generator=random).to(like) * (high - low) + low

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.data = uniform(module.running_mean, -0.2, 0.2)
            module.running_var.data = uniform(module.running_var, 0.05, 0.3)
            module.weight.data = uniform(module.weight, 0.5, 1.5)
            module.bias.data = uniform(module.bias, -0.3, 0.6)
    network.eval()
    channels = network.config.guidance_channels, network.config.depth_channels
    for stream, depth in zip((network.guidance_stream, network.depth_stream), channels, strict=True):
        if stream is None:
            continue
        heads = stream(torch.rand(1, depth, 16, 16, generator=random))
        for head, output, deviation in zip(
            (stream.heads.weights, stream.heads.offsets), heads, (1.0, offsets), strict=True
        ):
            if head is not None:
                head.weight.data *= deviation / output.std()
                head.bias.data = uniform(head.bias, -0.3, 0.3) * deviation
    return network


@pytest.fixture(scope="session")
def liven() -> Callable[..., KernelNetwork]:
    return _liven


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Path]:
    """Writes a model file of a random network."""

    def make(path: Path, scale: int = 8, config: NetworkConfig | None = None, wild: float = 1.0, seed: int = 0) -> Path:
        config = config or NetworkConfig(n1=8, n2=8)
        torch.manual_seed(seed)
        network = _liven(build(config), seed)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter *= wild
        checkpoint.save(path, network, ModelInfo(config, scale, 10.0, {"steps": seed}))
        return path

    return make


@pytest.fixture(scope="session")
def make_bicubic_model() -> Callable[[Path, int], Path]:
    """Writes a model file whose kernel weights are all equal: without their mean, it adds nothing to its input."""

    def make(path: Path, scale: int) -> Path:
        config = NetworkConfig(n1=8, n2=8)
        network = build(config)
        for stream in (network.guidance_stream, network.depth_stream):
            nn.init.zeros_(stream.heads.weights.weight)
            nn.init.zeros_(stream.heads.weights.bias)
        checkpoint.save(path, network, ModelInfo(config, scale, 10.0))
        return path

    return make


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """(H, W, 3) uint8 colour and (H, W) float32 metres: a slanted wall and boxes before it, each with its colour."""

    def make(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width]
        depth = 3 + rng.uniform(-1, 1) * x / width + rng.uniform(-1, 1) * y / height
        color = np.full((height, width, 3), rng.integers(40, 200, 3), float)
        for _ in range(4):
            top, left = rng.integers(height), rng.integers(width)
            box = slice(top, top + height // 3 + 1), slice(left, left + width // 3 + 1)
            depth[box] = rng.uniform(1, 2.5)
            color[box] = rng.integers(0, 255, 3)
        color += rng.normal(0, 4, color.shape)
        return color.clip(0, 255).astype(np.uint8), depth.astype(np.float32)

    return make


@pytest.fixture(scope="session")
def write_nyu() -> Callable[..., Path]:
    """Writes upright pairs into a file in the layout of nyu_depth_v2_labeled.mat (MATLAB's axes come reversed)."""

    def write(path: Path, colors: np.ndarray, depths: np.ndarray) -> Path:
        with h5py.File(path, "w") as file:
            file["images"] = colors.transpose(0, 3, 2, 1)
            file["depths"] = depths.transpose(0, 2, 1)
        return path

    return write


@pytest.fixture(scope="session")
def tiny_nyu(tmp_path_factory, make_scene, write_nyu) -> Path:
    """A data set of 1003 pairs of 48×64, so that its test split has three."""
    few = [make_scene(48, 64, seed) for seed in range(17)]
    colors = np.stack([few[i % 17][0] for i in range(1003)])
    depths = np.stack([few[i % 17][1] for i in range(1003)])
    return write_nyu(tmp_path_factory.mktemp("nyu") / "tiny.mat", colors, depths)
