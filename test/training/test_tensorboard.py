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

"""TensorBoard: what was written, read back by TensorBoard's own reader."""

from __future__ import annotations

import dataclasses
import io
import sys
from functools import partial

import numpy as np
import pytest
from PIL import Image

from dkn.data.nyu import NYU
from dkn.errors import ConfigError
from dkn.experiments.assessment import first_rmse
from dkn.networks.config import NetworkConfig
from dkn.training import TrainConfig, Trainer
from dkn.training.tensorboard import Board

TINY = TrainConfig(NetworkConfig(n1=8, n2=8), 4, steps=4, batch_size=2, crop=16, bf16=False, warmup_steps=0)


def read(folder):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="optional: pip install tensorboard"
    )
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return events


@pytest.mark.parametrize("architecture", ["fdkn", "dkn"])
def test_what_is_written(tiny_nyu, tmp_path, monkeypatch, architecture):
    pytest.importorskip("tensorboard", reason="optional: pip install tensorboard")
    monkeypatch.setattr("dkn.training.tensorboard.CURVES_EVERY", 2)
    monkeypatch.setattr("dkn.training.tensorboard.PICTURES_EVERY", 2)
    monkeypatch.setattr("dkn.experiments.assessment.FIRST", 1)
    network = NetworkConfig(architecture, n1=8, n2=8)
    phases = 1 if architecture == "dkn" else 16
    trainer = Trainer(NYU(tiny_nyu, "train"), dataclasses.replace(TINY, network=network, phases=phases), tmp_path)
    losses = []
    with Board(trainer, partial(first_rmse, test=NYU(tiny_nyu, "test"), config=trainer.config), test_every=2) as board:
        trainer.run(after_step=lambda loss: (losses.append(float(loss)), board.after_step(loss)))
    events = read(tmp_path / "tensorboard")
    assert {"loss, cm", "learning rate"} < set(events.Tags()["scalars"])
    assert [e.step for e in events.Scalars("loss, cm")] == [2, 4]
    assert [e.value for e in events.Scalars("loss, cm")] == pytest.approx([1000 * losses[i] for i in (1, 3)])
    rates = [1e-3 * 0.5 * (1 + np.cos(np.pi * step / 4)) for step in (1, 3)]
    assert [e.value for e in events.Scalars("learning rate")] == pytest.approx(rates, rel=1e-4)
    tests = events.Scalars("test RMSE, cm/4x bicubic")
    assert [e.step for e in tests] == [2, 4]
    assert all(0 < e.value < 300 for e in tests)
    picture = events.Images("colour, input, output, truth")[0]
    size = 16 if phases == 16 else 4
    assert np.asarray(Image.open(io.BytesIO(picture.encoded_image_string))).shape == (2 * size, 4 * size, 3)


def test_not_installed(tiny_nyu, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    trainer = Trainer(NYU(tiny_nyu, "train"), TINY, tmp_path)
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        Board(trainer)
