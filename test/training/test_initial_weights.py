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

"""Training that begins with the weights of another model: wider, told less, on cells, or without colour."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from training_cases import SMALL, TINY

from dkn import checkpoint
from dkn.checkpoint import ModelInfo
from dkn.errors import CheckpointError, ConfigError
from dkn.networks.config import PAPER_WIDTHS, NetworkConfig
from dkn.networks.dkn import build
from dkn.networks.narrowing import narrowed
from dkn.training import Trainer
from dkn.training.trainer import CELLS as CELLS_FILE
from dkn.training.trainer import MODEL

CELLS = NetworkConfig("cells", n1=8, n2=8)
ALL_LAYERS = dataclasses.replace(CELLS, widths=PAPER_WIDTHS["dkn"])
WHOLE_DKN = dataclasses.replace(CELLS, architecture="dkn")


def test_begin_with_the_weights_of_a_model(dataset, tmp_path, make_model):
    init = make_model(tmp_path / "m.safetensors", config=SMALL)
    trainer = Trainer(dataset, TINY, tmp_path / "run", init=init)
    theirs = checkpoint.load(init)[0].state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in trainer.network.state_dict().items())
    other = make_model(tmp_path / "other.safetensors", config=NetworkConfig(kernel_size=5, n1=8, n2=8))
    with pytest.raises(ConfigError, match="another network"):
        Trainer(dataset, TINY, tmp_path / "run2", init=other)


def test_it_begins_with_a_wider_network(dataset, tmp_path):
    """What it begins with is that network, narrowed on its own first batch; a network that is narrower is refused."""
    wide = dataclasses.replace(SMALL, n1=SMALL.n1 + 4, n2=SMALL.n2 + 8)
    Trainer(dataset, dataclasses.replace(TINY, network=wide), tmp_path / "wide").save()
    init = tmp_path / "wide" / "model.safetensors"
    trainer = Trainer(dataset, TINY, tmp_path / "small", init=init)
    batch = trainer.batch(0)
    network = checkpoint.load(init)[0].eval()
    expected = narrowed(network, (), SMALL.n1, SMALL.n2, batch.guidance, batch.depth)
    assert all(map(torch.equal, trainer.network.state_dict().values(), expected.state_dict().values()))
    trainer.save()
    begun_from = checkpoint.load(tmp_path / "small" / "model.safetensors")[1].training["begun_from"]
    assert begun_from == "nyu, 4x, 0 steps of a wider network"
    told = build(dataclasses.replace(wide, depth_channels=4))
    checkpoint.save(tmp_path / "told.safetensors", told, ModelInfo(told.config, 4, 10.0))
    with pytest.raises(ConfigError, match="another network than"):  # which no crop here could be shown to
        Trainer(dataset, TINY, tmp_path / "told", init=tmp_path / "told.safetensors")
    wider = dataclasses.replace(TINY, network=dataclasses.replace(wide, n1=wide.n1 + 1))
    with pytest.raises(ConfigError, match="channels"):
        Trainer(dataset, wider, tmp_path / "wider", init=init)


@pytest.mark.parametrize("architecture", ["fdkn", "dkn"])
def test_begin_with_a_network_that_was_told_less(dataset, tmp_path, make_model, architecture):
    """What is told beside depth has no weight at first, and a wider window lets taps go where they were cut off."""
    plain = NetworkConfig(architecture, n1=8, n2=8)
    init = make_model(tmp_path / "m.safetensors", config=plain)
    told = dataclasses.replace(plain, depth_channels=4, window=63)
    trainer = Trainer(dataset, dataclasses.replace(TINY, network=told), tmp_path / "run", init=init)
    source = checkpoint.load(init)[0]
    depth, guidance = torch.rand(1, 4, 16, 20), torch.rand(1, 3, 16, 20)
    with torch.no_grad():
        before = source.kernels(guidance, depth[:, :1])
        after = trainer.network.eval().kernels(guidance, depth)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    # Not the other way round, and nothing else may differ.
    trainer.save()
    with pytest.raises(ConfigError, match="another network"):
        Trainer(
            dataset, dataclasses.replace(TINY, network=plain), tmp_path / "r", init=trainer.out / "model.safetensors"
        )
    deeper = dataclasses.replace(told, kernel_size=5)
    with pytest.raises(ConfigError, match="another network"):
        Trainer(dataset, dataclasses.replace(TINY, network=deeper), tmp_path / "r", init=init)


@pytest.mark.parametrize(
    ("source", "target"),
    [(CELLS, WHOLE_DKN), (CELLS, ALL_LAYERS), (ALL_LAYERS, WHOLE_DKN)],
    ids=["last layers, DKN", "last layers, all", "all layers, DKN"],
)
def test_begin_with_a_network_on_cells(dataset, tmp_path, make_model, source, target):
    """It goes on from what the cell network had reached, also if it is told more; its first norms stay."""
    init = make_model(tmp_path / "m.safetensors", config=source)
    network = dataclasses.replace(target, depth_channels=4)
    phases = 1 if target == WHOLE_DKN else 16
    config = dataclasses.replace(TINY, network=network, phases=phases, freeze_first_norms=True, learning_rate=1e-3)
    trainer = Trainer(dataset, config, tmp_path / "run", init=init)
    depth, guidance = torch.rand(1, 4, 16, 20), torch.rand(1, 3, 16, 20)
    with torch.no_grad():
        before = checkpoint.load(init, to_train=True)[0].kernels(guidance, depth[:, :1])
        after = trainer.ema.kernels(guidance, depth)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a[..., 2::4, 2::4], b[..., 2::4, 2::4], rtol=1e-5, atol=1e-5)

    def statistics() -> list[dict[str, torch.Tensor]]:
        layers = [layer for stream in trainer.network.streams().values() for layer in stream.layers()]
        return [dict(copy.deepcopy(norm).named_buffers()) for _, norm in layers if norm is not None]

    then = statistics()
    for _ in range(2):
        trainer.train_step()
    for i, (old, new) in enumerate(zip(then, statistics(), strict=True)):
        fifth = i % 3 == 2
        assert torch.equal(old["running_mean"], new["running_mean"]) != fifth
    trainer.save()
    kind = "of a network on cells" if target == WHOLE_DKN else "of its last layers"
    assert checkpoint.load(tmp_path / "run" / "model.safetensors")[1].training["begun_from"].endswith(kind)
    with pytest.raises(ConfigError, match="another network"):
        Trainer(dataset, TINY, tmp_path / "fdkn", init=init)


@pytest.mark.parametrize("network", [CELLS, ALL_LAYERS], ids=["last layers", "all layers"])
def test_what_a_network_on_cells_leaves(dataset, tmp_path, network):
    """A DKN to be used, the same at every save, and the network itself, which nobody takes for one."""
    trainer = Trainer(dataset, dataclasses.replace(TINY, network=network), tmp_path)
    trainer.train_step()
    trainer.save()
    (model, info), (cells, same) = checkpoint.load(tmp_path / MODEL), checkpoint.load(tmp_path / CELLS_FILE, True)
    assert (info.network, same.network) == (dataclasses.replace(network, architecture="dkn", widths=()), network)
    assert info.training == same.training
    depth, guidance = torch.rand(1, 1, 16, 20), torch.rand(1, 3, 16, 20)
    with torch.no_grad():
        for a, b in zip(model.kernels(guidance, depth), cells.kernels(guidance, depth), strict=True):
            torch.testing.assert_close(a[..., 2::4, 2::4], b[..., 2::4, 2::4], rtol=1e-5, atol=1e-5)
    trainer.save()
    again = checkpoint.load(tmp_path / MODEL)[0].state_dict().values()
    assert all(map(torch.equal, model.state_dict().values(), again))
    with pytest.raises(CheckpointError, match="on cells"):
        checkpoint.read(tmp_path / CELLS_FILE)


def test_begin_without_the_colour_or_the_residual_connection_of_a_model(dataset, tmp_path, make_model):
    init = make_model(tmp_path / "m.safetensors", config=SMALL)
    theirs = checkpoint.load(init)[0].state_dict()
    for i, change in enumerate(({"guidance": "none"}, {"residual": False})):
        network = dataclasses.replace(SMALL, **change)
        trainer = Trainer(dataset, dataclasses.replace(TINY, network=network), tmp_path / f"run{i}", init=init)
        ours = trainer.network.state_dict()
        assert any(name.startswith("guidance") for name in ours) == (network.guidance != "none")
        offsets = {name for name in ours if "heads.offsets" in name and network.guidance == "none"}
        assert all(torch.equal(ours[name], theirs[name]) for name in ours.keys() - offsets)
        assert all((ours[name] == 0).all() for name in offsets)
    blind = make_model(tmp_path / "blind.safetensors", config=dataclasses.replace(SMALL, guidance="none"))
    with pytest.raises(ConfigError, match="another network"):  # colour cannot be made up
        Trainer(dataset, TINY, tmp_path / "run", init=blind)
