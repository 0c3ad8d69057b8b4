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

"""Model files: what is written comes back; the authors' files are read; everything else is one clear line."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import stat
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from dkn import checkpoint
from dkn.checkpoint import ModelInfo
from dkn.errors import CheckpointError
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import build

STREAMS = {"ImageKernel": 3, "DepthKernel": 1}


def refused(path: Path, *words: str) -> None:
    """Loading gives our error: one line that names the file."""
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message


# --- Our files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(n1=8, n2=8),
        NetworkConfig("dkn", kernel_size=5, window=11, residual=False, guidance="grey", n1=16, n2=8),
        NetworkConfig(guidance="none", weights_from="depth", offsets_from="none", n1=8, n2=8),
    ],
)
@pytest.mark.parametrize("depth_range", [10.0, None])
def test_round_trip(tmp_path, liven, config, depth_range):
    network = liven(build(config))
    info = ModelInfo(config, 4, depth_range, {"data": "nyu", "steps": 12, "test_rmse_cm": 2.5, "ü": ["x", None]})
    checkpoint.save(tmp_path / "new" / "folder" / "m.safetensors", network, info)
    loaded, its_info = checkpoint.load(tmp_path / "new" / "folder" / "m.safetensors")
    assert its_info == info
    assert loaded.config == config
    assert not loaded.training
    theirs = network.state_dict()
    assert loaded.state_dict().keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in loaded.state_dict().items())


def test_a_file_says_what_it_is_without_this_project(tmp_path, make_model):
    path = make_model(tmp_path / "m.safetensors", scale=4)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["scale"]) == 4
    assert json.loads(metadata["depth_range"]) == 10
    assert json.loads(metadata["network"])["architecture"] == "fdkn"


def test_saving_a_channels_last_network(tmp_path):
    config = NetworkConfig(n1=8, n2=8)
    network = build(config).to(memory_format=torch.channels_last)
    checkpoint.save(tmp_path / "m.safetensors", network, ModelInfo(config, 8, 10.0))
    loaded, _ = checkpoint.load(tmp_path / "m.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), network.parameters(), strict=True))


def test_missing_files(tmp_path):
    refused(tmp_path / "none.safetensors", "no such")
    refused(tmp_path / "none.pth", "no such")
    refused(tmp_path, "no such")


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.5, 0.999])
def test_truncated_files(tmp_path, make_model, share):
    path = make_model(tmp_path / "m.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refused(path)


def test_files_with_other_contents(tmp_path, make_model):
    good = make_model(tmp_path / "good.safetensors").read_bytes()
    for name, data in {"text": b"hello", "zeros": bytes(5000), "garbage": np.random.default_rng(0).bytes(5000)}.items():
        for suffix in (".safetensors", ".pth", ".pt", ""):
            path = tmp_path / (name + suffix)
            path.write_bytes(data)
            refused(path)
    (tmp_path / "renamed.pth").write_bytes(good)
    refused(tmp_path / "renamed.pth")


def test_safetensors_of_other_projects(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    refused(path, "not a model of this project")
    save_file({"a": torch.zeros(3)}, path, {"format": "pt"})
    refused(path, "not a model of this project")


def rewrite(path: Path, metadata: dict[str, str] | None = None, drop: str = "", add: str = "") -> Path:
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if name != drop}  # noqa: SIM118 (no iterator)
        new = {**file.metadata(), **(metadata or {})}
    if add:
        tensors[add] = torch.zeros(2)
    save_file(tensors, path, {name: value for name, value in new.items() if value})
    return path


@pytest.mark.parametrize(
    "metadata",
    [
        {"network": ""},  # left out
        {"network": "{"},
        {"network": "3"},
        {"network": '{"architecture": "unet"}'},
        {"network": '{"layers": 3}'},
        {"network": '{"kernel_size": "3"}'},
        {"scale": ""},
        {"scale": "x"},
        {"depth_range": ""},
        {"depth_range": "NaN"},
        {"depth_range": "Infinity"},
        {"scale": "1.5"},
        {"training": "[1]"},
    ],
)
def test_unreadable_metadata(tmp_path, make_model, metadata):
    refused(rewrite(make_model(tmp_path / "m.safetensors"), metadata), "metadata")


def test_weights_of_another_network(tmp_path, make_model):
    path = make_model(tmp_path / "m.safetensors")
    wider = json.dumps({"architecture": "fdkn", "n1": 9, "n2": 8})
    refused(rewrite(path, {"network": wider}), "do not fit")
    refused(rewrite(make_model(path), drop="depth_stream.heads.weights.bias"), "do not fit")
    refused(rewrite(make_model(path), add="depth_stream.extra"), "do not fit")
    refused(rewrite(make_model(path), {"network": '{"n1": 8.5, "n2": 8}'}), "whole numbers")
    refused(rewrite(make_model(path), {"network": '{"n1": 8.0, "n2": 8}'}), "whole numbers")


def test_weights_that_are_not_finite(tmp_path, make_model):
    path = make_model(tmp_path / "m.safetensors")
    before = path.read_bytes()
    network, info = checkpoint.load(path)
    with torch.no_grad():
        network.depth_stream.heads.weights.bias[0] = torch.nan
    with pytest.raises(CheckpointError, match=r"m\.safetensors: not written.* not finite"):
        checkpoint.save(path, network, info)
    assert path.read_bytes() == before
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file(network.state_dict(), path, metadata)  # as another program might
    refused(path, "not finite")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_in_other_numbers(tmp_path, make_model, dtype):
    path = make_model(tmp_path / "m.safetensors")
    network, info = checkpoint.load(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file(network.to(dtype).state_dict(), path, metadata)
    loaded, its_info = checkpoint.load(path)
    assert its_info == info
    for name, tensor in loaded.state_dict().items():
        torch.testing.assert_close(tensor, network.float().state_dict()[name])


def test_numbers_that_cannot_be(tmp_path, make_model):
    path = make_model(tmp_path / "m.safetensors")
    network, _ = checkpoint.load(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    state = network.state_dict()
    variance = next(name for name in state if name.endswith("running_var"))
    for value, words in ((-1.0, "negative"), (torch.nan, "not finite")):
        save_file(state | {variance: torch.full_like(state[variance], value)}, path, metadata)
        refused(path, words, variance)
    large = {name: tensor.double() for name, tensor in state.items()}
    save_file(large | {variance: torch.full_like(large[variance], 1e300)}, path, metadata)
    refused(path, "not finite")
    save_file({name: tensor.to(torch.float8_e4m3fn) for name, tensor in state.items()}, path, metadata)
    with contextlib.suppress(CheckpointError):  # or it is read, where NumPy knows them
        checkpoint.load(path)


# --- The authors' files -------------------------------------------------------------------------------------------


def released(architecture: str, k: int = 3, channels: dict[str, int] | None = None) -> OrderedDict[str, torch.Tensor]:
    """A state dict with the names and shapes of the authors' checkpoints, and random weights."""
    random = torch.Generator().manual_seed(0)
    phases = 16 if architecture == "fdkn" else 1
    widths, kernels, normed = {
        "fdkn": ((32, 32, 64, 64, 128, 128), (3,) * 6, (1, 3, 5)),
        "dkn": ((32, 32, 64, 64, 128, 128, 128), (7, 2, 5, 2, 5, 3, 3), (1, 3, 5)),
    }[architecture]
    state: OrderedDict[str, torch.Tensor] = OrderedDict()

    def conv(name: str, after: int, before: int, size: int) -> None:
        state[f"{name}.weight"] = 0.1 * torch.randn(after, before, size, size, generator=random)
        state[f"{name}.bias"] = 0.1 * torch.randn(after, generator=random)

    for stream, image in (channels or STREAMS).items():
        before = image * phases
        for i, (after, size) in enumerate(zip(widths, kernels, strict=True), start=1):
            conv(f"{stream}.conv{i}", after, before, size)
            if i in normed:
                for leaf in ("weight", "bias", "running_mean", "running_var"):
                    state[f"{stream}.conv{i}_bn.{leaf}"] = 0.5 + torch.rand(after, generator=random)
                state[f"{stream}.conv{i}_bn.num_batches_tracked"] = torch.tensor(7)
            before = after
        conv(f"{stream}.conv_weight", k * k * phases, before, 1)
        conv(f"{stream}.conv_offset", 2 * k * k * phases, before, 1)
    return state


@pytest.mark.parametrize("architecture", ["fdkn", "dkn"])
@pytest.mark.parametrize(
    ("channels", "guidance"),
    [
        (STREAMS, "rgb"),
        ({"ImageKernel": 1, "DepthKernel": 1}, "grey"),
        ({"DepthKernel": 1}, "none"),
    ],
)
def test_released_checkpoints_by_their_names(tmp_path, architecture, channels, guidance):
    state = released(architecture, channels=channels)
    torch.save(state, tmp_path / f"{architecture.upper()}_16x.pth")
    network, info = checkpoint.load(tmp_path / f"{architecture.upper()}_16x.pth")
    assert info.scale == 16
    assert info.depth_range is None
    assert info.network == NetworkConfig(architecture, guidance=guidance, released_sampling=True)
    # Every weight has arrived, in the order of the layers.
    convs = [m for m in network.depth_stream.modules() if isinstance(m, torch.nn.Conv2d)]
    names = [f"conv{i}" for i in range(1, len(convs) - 1)] + ["conv_weight", "conv_offset"]
    for name, conv in zip(names, convs, strict=True):
        assert torch.equal(conv.weight, state[f"DepthKernel.{name}.weight"])
        assert torch.equal(conv.bias, state[f"DepthKernel.{name}.bias"])
    norms = [m for m in network.depth_stream.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for i, bn in zip((1, 3, 5), norms, strict=True):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            assert torch.equal(getattr(bn, leaf), state[f"DepthKernel.conv{i}_bn.{leaf}"])
    with torch.no_grad():
        assert network(torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 8)).isfinite().all()


def test_released_checkpoint_of_other_kernel_size(tmp_path):
    torch.save(released("fdkn", k=5), tmp_path / "net.pth")
    _, info = checkpoint.load(tmp_path / "net.pth")
    assert info.network.kernel_size == 5


def test_incomplete_released_checkpoints(tmp_path):
    path = tmp_path / "FDKN_8x.pth"
    for name in ("DepthKernel.conv6.weight", "DepthKernel.conv_weight.weight", "ImageKernel.conv2.bias"):
        state = released("fdkn")
        del state[name]
        torch.save(state, path)
        refused(path)
    for extra in ("DepthKernel.conv9.weight", "Other.conv1.weight", "weight"):
        torch.save({**released("fdkn"), extra: torch.zeros(1)}, path)
        refused(path)
    for other in ({}, [1, 2], torch.zeros(3), {"state_dict": {}}):
        torch.save(other, path)
        refused(path)
    torch.save(released("fdkn"), path)
    path.write_bytes(path.read_bytes()[:-2000])
    refused(path)


@pytest.mark.parametrize("value", [1, None, "text", torch.tensor(1.0), torch.zeros(0), torch.zeros(3), torch.zeros(9)])
@pytest.mark.parametrize(
    "name", ["DepthKernel.conv6.weight", "DepthKernel.conv_weight.weight", "ImageKernel.conv1.weight"]
)
def test_released_checkpoints_with_something_else_inside(tmp_path, name, value):
    torch.save({**released("fdkn"), name: value}, tmp_path / "FDKN_8x.pth")
    refused(tmp_path / "FDKN_8x.pth")


def test_released_checkpoints_in_other_numbers(tmp_path):
    path, plain = tmp_path / "FDKN_8x.pth", released("fdkn")
    torch.save(
        {name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in plain.items()}, path
    )
    half, _ = checkpoint.read(path)
    torch.save({name: torch.nn.Parameter(t) if t.is_floating_point() else t for name, t in plain.items()}, path)
    whole, _ = checkpoint.read(path)
    assert all(np.allclose(half.arrays[name], array, rtol=0.01) for name, array in whole.arrays.items())
    torch.save({**plain, "DepthKernel.conv1.weight": plain["DepthKernel.conv1.weight"].to_sparse()}, path)
    refused(path)


def test_released_checkpoints_of_other_names(tmp_path):
    torch.save({**released("fdkn"), 3: torch.zeros(1)}, tmp_path / "FDKN_8x.pth")
    refused(tmp_path / "FDKN_8x.pth", "3")
    torch.save(released("fdkn"), tmp_path / "FDKN_0x.pth")
    refused(tmp_path / "FDKN_0x.pth", "scale=0")


class Bomb:
    """Runs code when a careless reader unpickles it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
@pytest.mark.parametrize("form", ["torch", "legacy", "pickle"])
def test_code_in_a_pickle_never_runs(tmp_path, suffix, form):
    path, crater = tmp_path / f"FDKN_8x{suffix}", tmp_path / "crater"
    bomb = {**released("fdkn"), "DepthKernel.conv1.bias": Bomb(crater)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(Bomb(crater)))
    else:
        torch.save(bomb, path, _use_new_zipfile_serialization=form == "torch")
    refused(path)
    assert not crater.exists()
    with path.open("rb") as file:  # it is live: the reader that is not careful sets it off
        pickle.load(file) if form == "pickle" else torch.load(path, weights_only=False)
    assert crater.exists()


def test_the_authors_network_gives_their_own_result(official):
    network, info = checkpoint.load(official / "FDKN_8x.pth")
    assert info.network.guidance == "grey"
    assert info.scale == 8

    def read(name: str) -> np.ndarray:
        return np.asarray(Image.open(official / name), np.float32)

    color = torch.from_numpy(read("0_rgb.png") / 255).permute(2, 0, 1)[None]
    low = torch.from_numpy(read("0_lr.png") / 255)[None, None]
    with torch.no_grad():
        result = np.rint(255 * network(color, low)[0, 0].numpy()).clip(0, 255)
    expected = read("result.png")
    assert np.abs(result - expected).max() <= 1
    # The input is much further away than one grey level: the network did it.
    assert np.abs(read("0_lr.png") - expected).max() > 20


def test_the_file_can_be_read_by_whom_the_umask_lets(tmp_path, make_model):
    before = os.umask(0o027)
    try:
        path = make_model(tmp_path / "m.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_nothing_stays_of_a_file_that_was_interrupted(tmp_path):
    with pytest.raises(KeyboardInterrupt), checkpoint.writing(tmp_path / "m.safetensors") as partial:
        partial.write_bytes(b"half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_full_disk_keeps_what_was_there(tmp_path, make_model):
    """No file may grow beyond 10 kB, which the system reports as it does a full disk."""
    path = make_model(tmp_path / "m.safetensors")
    whole = path.read_bytes()
    code = """
import resource, signal, sys
from pathlib import Path
from dkn import checkpoint
from dkn.errors import CheckpointError
network, info = checkpoint.load(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    checkpoint.save(Path(sys.argv[1]), network, info)
except CheckpointError as error:
    print("CheckpointError", error)
try:
    import torch
    with checkpoint.writing(Path(sys.argv[2])) as partial:
        torch.save(network.state_dict(), partial)
except CheckpointError as error:
    print("CheckpointError", error)
"""
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "state.pt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all(line.startswith("CheckpointError") for line in lines), done
    assert path.read_bytes() == whole and [f.name for f in tmp_path.iterdir()] == ["m.safetensors"]
