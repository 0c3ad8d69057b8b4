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

"""A step as a CUDA graph: that a step never asks the device for a value, and that a graph sees each new batch."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dkn.data.nyu import NYU
from dkn.networks.config import NetworkConfig
from dkn.ops import average, sampling
from dkn.training import Batch, TrainConfig, Trainer, captured
from dkn.training.captured import WARM_UP, CapturedStep

FDKN = TrainConfig(NetworkConfig(n1=8, n2=8), 4, steps=9, batch_size=2, crop=16, warmup_steps=2)
ASKS = {"aten::_local_scalar_dense", "aten::item", "aten::nonzero", "aten::is_nonzero", "aten::masked_select"}


class Asked(TorchDispatchMode):
    """Notes the operations that a GPU would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if (name := func.name().partition(".")[0]) in ASKS:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def test_what_asks_is_noted():
    with Asked() as asked:
        float(torch.ones(3).sum())
        torch.ones(3).nonzero()
    assert len(asked.names) == 2


@pytest.mark.parametrize("architecture", ["fdkn", "dkn"])
def test_a_step_asks_for_no_value(architecture, tiny_nyu, tmp_path, monkeypatch):
    monkeypatch.setattr("dkn.networks.dkn.weighted_average", sampling.weighted_average)  # Numba's is hidden from torch
    network = dataclasses.replace(FDKN.network, architecture=architecture)
    config = dataclasses.replace(FDKN, network=network, phases=1 if architecture == "dkn" else 16)
    trainer = Trainer(NYU(tiny_nyu, "train"), config, tmp_path, device="cpu")
    trainer.train_step()  # the optimiser's state is made
    batch = trainer.batch(1)
    with Asked() as asked:
        trainer._learn(batch)
    assert asked.names == []
    assert average.weighted_average is not sampling.weighted_average


class Recording:
    """A graph that, replayed, does again what was recorded."""

    def __init__(self) -> None:
        self.replay = lambda: None


def test_a_graph_sees_each_new_batch(monkeypatch):
    """With graphs and streams that only stand in for those of CUDA."""
    seen: list[float] = []
    recording = False

    def learn(batch: Batch) -> torch.Tensor:
        if not recording:
            seen.append(float(batch.depth.sum()))
        return batch.depth.sum()

    @contextlib.contextmanager
    def graph(made, **options):
        nonlocal recording
        recording = True
        yield
        recording = False
        made.replay = lambda: step._loss.copy_(learn(step._batch))

    class Stream:
        def wait_stream(self, other) -> None: ...

    monkeypatch.setattr(captured.torch.cuda, "Stream", Stream)
    monkeypatch.setattr(captured.torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(captured.torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(captured.torch.cuda, "CUDAGraph", Recording)
    monkeypatch.setattr(captured.torch.cuda, "graph", graph)
    step = CapturedStep(learn)
    losses = [step(Batch(*(torch.full((1, 1, 2, 2), float(i)) for _ in range(4)))) for i in range(WARM_UP + 4)]
    assert seen == [4.0 * i for i in range(WARM_UP + 4)]
    assert [float(loss) for loss in losses] == seen  # each its own


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("architecture", ["fdkn", "dkn"])
def test_on_a_gpu_a_graph_learns_as_single_steps_do(architecture, tiny_nyu, tmp_path):
    network = NetworkConfig(architecture, n1=16, n2=16)  # type: ignore[arg-type]
    config = dataclasses.replace(FDKN, network=network, crop=32, phases=1 if architecture == "dkn" else 16)
    losses = []
    trainers = [Trainer(NYU(tiny_nyu, "train"), config, tmp_path / name, device="cuda") for name in ("graph", "single")]
    trainers[1]._take_step = trainers[1]._learn
    for trainer in trainers:
        losses.append([float(trainer.train_step()) for _ in range(8)])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    for one, other in zip(*(t.ema.state_dict().values() for t in trainers), strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=2e-3)
