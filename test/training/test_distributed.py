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

"""Two processes that train together: what they arrive at, against the same steps taken by hand."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from train_process import CONFIG

from dkn import checkpoint
from dkn.data.nyu import NYU
from dkn.errors import ConfigError
from dkn.networks.dkn import build
from dkn.training import draw_batch
from dkn.training.distributed import join

ROOT = Path(__file__).resolve().parents[2]


def test_one_process_needs_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    alone = join("cpu")
    assert (alone.rank, alone.count, alone.first) == (0, 1, True)
    tensor = torch.ones(3)
    alone.average([tensor])
    assert torch.equal(tensor, torch.ones(3))
    assert alone.mean(2.5) == alone.from_first(lambda: 2.5) == 2.5


def test_several_say_what_they_need(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ConfigError, match="pip install lightning-fabric"):
        join("cpu")


def by_hand(data: Path) -> tuple[dict[str, torch.Tensor], list[float]]:
    """The same training without processes: each half of a batch with a network of its own, then the mean of both."""
    from dkn.training.muon import Muon

    dataset = NYU(data, "train")
    torch.manual_seed(CONFIG.seed)
    network = build(CONFIG.network).to(memory_format=torch.channels_last).train()
    optimiser = Muon(network.parameters(), lr=0)
    losses = []
    for step in range(CONFIG.steps):
        whole = draw_batch(dataset, CONFIG, step)
        halves = [copy.deepcopy(network) for _ in range(2)]
        total = 0.0
        for rank, half in enumerate(halves):
            guidance, depth, target, known = (part[rank::2] for part in whole)
            error = half(guidance.contiguous(memory_format=torch.channels_last), depth) - target
            assert known.all()
            loss = (error.square().mean((1, 2, 3)) + 1e-8).sqrt().mean()
            loss.backward()
            total += loss.item() / 2
        losses.append(total)
        for name, parameter in network.named_parameters():
            parameter.grad = sum(half.get_parameter(name).grad for half in halves) / 2
        for name, buffer in network.named_buffers():
            values = [half.get_buffer(name) for half in halves]
            buffer.copy_(sum(values) / 2 if buffer.is_floating_point() else values[0])
        cosine = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / CONFIG.steps)).item())
        optimiser.param_groups[0]["lr"] = CONFIG.learning_rate * min(1, (step + 1) / 2) * cosine
        optimiser.step()
    return network.state_dict(), losses


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package")
def test_two_processes(tiny_nyu, tmp_path):
    pytest.importorskip("lightning_fabric", reason="optional: pip install lightning-fabric")
    NYU(tiny_nyu, "train")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [ROOT / "test" / "helpers" / "train_process.py", tiny_nyu, tmp_path]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    for part in ("network", "ema"):
        assert all(torch.equal(value, second[part][name]) for name, value in first[part].items())
    assert first["losses"] == second["losses"]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    expected, losses = by_hand(tiny_nyu)
    torch.set_num_threads(threads)
    assert first["losses"] == pytest.approx(losses, rel=1e-5)
    # Batch norm takes the bias of the convolution before it away again: its gradient is rounding alone, and Adam makes
    # steps of that as of any other, each of a learning rate at the most.
    moot = {f"{stream}_stream.features.{i}.bias" for stream in ("guidance", "depth") for i in (0, 5, 10)}
    assert moot < first["network"].keys()
    for name, value in first["network"].items():
        atol = CONFIG.learning_rate * CONFIG.steps if name in moot else 2e-6
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=atol, msg=name)

    # The command: one of them writes, and evaluates.
    assert [(tmp_path / f"status{rank}").read_text() for rank in (0, 1)] == ["0", "0"]
    _, info = checkpoint.load(tmp_path / "command" / "model.safetensors")
    assert info.training["steps"] == 2
    assert result.stdout.count("RMSE") == 1
    assert "batch_size=3 cannot be shared by 2 processes" in result.stderr
