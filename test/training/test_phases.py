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

"""DKN at one phase of 16: the very pixels that the dense network gives, in the middle and where a picture ends."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from dkn.data.sample import Sample
from dkn.depth.resample import to_grid
from dkn.errors import ConfigError
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import build
from dkn.training import TrainConfig, Trainer, draw_batch, phases


class One:
    """A set of one picture."""

    name, unit, unit_scale, border = "one", "cm", 100.0, 6

    def __init__(self, color: np.ndarray, depth: np.ndarray) -> None:
        self.sample = Sample(color, depth, "one")

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return self.sample


DKN = NetworkConfig("dkn", n1=8, n2=8)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"window": 5, "guidance": "none"},
        {"window": 63, "kernel_size": 5, "residual": False},
        {"offsets_from": "none"},
    ],
)
def test_the_dense_networks_pixels(make_scene, liven, changes):
    """Crops at every border and in the middle; the whole picture in one pass says what they should give."""
    network = liven(build(dataclasses.replace(DKN, **changes)), offsets=6.0)
    color, _ = make_scene(48, 56)
    config = TrainConfig(network.config, 4, steps=1, batch_size=4, crop=16, phases=1, flips=False)
    # Each pixel's depth in the target says which pixel it is.
    exact = (1 + np.arange(48 * 56, dtype=np.float32) / 1000).reshape(48, 56)
    low = torch.from_numpy(exact).view(1, 1, 48, 56)
    low = torch.nn.functional.interpolate(low, size=(12, 14), mode="bicubic", antialias=True)
    up = to_grid(low, low > 0, (48, 56))[0] / 10
    guidance = torch.from_numpy(color).permute(2, 0, 1)[None].float() / 255
    seen = set()
    with torch.no_grad():
        whole = network(guidance, up)[0, 0].flatten()
        for step in range(12):
            batch = draw_batch(One(color, exact), config, step)
            assert batch.target.shape == (4, 1, 4, 4)
            output = phases.average(network, batch.depth, *phases.kernels(network, batch.guidance, batch.depth))
            pixels = ((10 * batch.target - 1) * 1000).round().long()
            torch.testing.assert_close(output.flatten(), whole[pixels.flatten()], rtol=0, atol=5e-5)
            seen |= {(int(p[0, 0, 0] // 56), int(p[0, 0, 0] % 56)) for p in pixels}
    assert len({(y % 4, x % 4) for y, x in seen}) > 8  # phases
    assert min(y for y, _ in seen) < 4
    assert max(y for y, _ in seen) >= 32


def test_flips_keep_the_pixels_together(make_scene, liven):
    """A picture and its surroundings are mirrored as one: the dense network gives the same of the mirrored picture."""
    network = liven(build(DKN))
    color, _ = make_scene(40, 40)
    exact = (1 + np.arange(1600, dtype=np.float32) / 1000).reshape(40, 40)
    config = TrainConfig(DKN, 4, steps=1, batch_size=6, crop=0, phases=1)
    plain = dataclasses.replace(config, phases=16, flips=False, batch_size=1)
    whole = draw_batch(One(color, exact), plain, 0)
    batch = draw_batch(One(color, exact), config, 0)
    pixels = ((10 * batch.target[:, 0] - 1) * 1000).round().long()
    flips = [[axis for axis in (0, 1) if first[0, 0] > first[(1 - axis, axis)]] for first in pixels]
    assert len({tuple(f) for f in flips}) > 1
    with torch.no_grad():
        outputs = phases.average(network, batch.depth, *phases.kernels(network, batch.guidance, batch.depth))
        for axes, places, output in zip(flips, pixels, outputs, strict=True):
            guidance, depth = (image.flip([axis + 2 for axis in axes]) for image in (whole.guidance, whole.depth))
            dense = network(guidance, depth)[0, 0].flip(axes)
            torch.testing.assert_close(output[0], dense.flatten()[places], rtol=0, atol=5e-5)


def test_training_uses_it(make_scene, tmp_path):
    color, depth = make_scene(48, 64)
    config = TrainConfig(DKN, 8, steps=25, batch_size=1, crop=32, phases=1, warmup_steps=2, learning_rate=3e-3)
    trainer = Trainer(One(color, depth), config, tmp_path)
    losses = [trainer.train_step() for _ in range(25)]
    assert np.mean(losses[-6:]) < 0.95 * np.mean(losses[:3])


def test_whole_pictures(make_scene, tmp_path):
    config = TrainConfig(DKN, 4, steps=1, batch_size=1, crop=0, phases=1)
    batch = draw_batch(One(*make_scene(50, 61)), config, 0)
    assert batch.target.shape == (1, 1, 12, 15)


def test_fdkn_has_no_phases():
    with pytest.raises(ConfigError, match="phases"):
        TrainConfig(NetworkConfig("fdkn"), 4, steps=1, phases=1)
