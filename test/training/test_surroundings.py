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

"""Crops of DKN at one phase of 16, and of networks on cells: the very pixels that the network gives of the whole
picture, in the middle and where it ends."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dkn.data.sample import Sample
from dkn.depth.resample import to_grid
from dkn.errors import ConfigError
from dkn.networks.config import PAPER_WIDTHS, NetworkConfig
from dkn.networks.dkn import build
from dkn.training import TrainConfig, Trainer, draw_batch, surroundings


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
CELLS = NetworkConfig("cells", n1=8, n2=8)


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
            output = surroundings.average(
                network, batch.depth, *surroundings.kernels(network, batch.guidance, batch.depth)
            )
            pixels = ((10 * batch.target - 1) * 1000).round().long()
            torch.testing.assert_close(output.flatten(), whole[pixels.flatten()], rtol=0, atol=5e-5)
            seen |= {(int(p[0, 0, 0] // 56), int(p[0, 0, 0] % 56)) for p in pixels}
    assert len({(y % 4, x % 4) for y, x in seen}) > 8  # phases
    assert min(y for y, _ in seen) < 4
    assert max(y for y, _ in seen) >= 32


@pytest.mark.parametrize("changes", [{}, {"widths": PAPER_WIDTHS["dkn"]}, {"window": 63, "depth_channels": 4}], ids=str)
def test_cells_as_in_the_whole_picture(make_scene, liven, changes):
    """Crops begin anywhere; the network of the whole picture, moved so that cells begin where the crop's do, says what
    they should give. At its ends, and at what is made one, up to three pixels are cut off."""
    network = liven(build(dataclasses.replace(CELLS, **changes)), offsets=6.0)
    color, _ = make_scene(48, 56)
    config = TrainConfig(network.config, 4, steps=1, batch_size=6, crop=16, aligned=False)
    exact = (1 + np.arange(48 * 56, dtype=np.float32) / 1000).reshape(48, 56)
    plain = TrainConfig(dataclasses.replace(network.config, architecture="fdkn", widths=()), 4, steps=1, crop=0)
    whole = draw_batch(One(color, exact), dataclasses.replace(plain, batch_size=1, flips=False), 0)
    seen, cut, made = set(), set(), set()
    with torch.no_grad():
        for step in range(12):
            batch = draw_batch(One(color, exact), config, step)
            assert batch.target.shape == (6, 1, 16, 16)
            kernels = surroundings.kernels(network, batch.guidance, batch.depth)
            outputs = surroundings.average(network, batch.depth, *kernels)
            crops = zip(outputs[:, 0], batch.target[:, 0], batch.known[:, 0], batch.depth[:, 0], strict=True)
            for output, target, known, shown in crops:
                # Where the crop lies, how it is mirrored, and between which rows and columns there is anything to see.
                rows, columns = torch.nonzero(known, as_tuple=True)
                place = ((10 * target[known] - 1) * 1000).round().long()
                y, x = place // 56, place % 56
                axes = [a for a, of in ((0, y[-1] < y[0]), (1, x[-1] < x[0])) if of]
                corner, inside = [], []
                for axis, (picture, crop, length) in enumerate(((y, rows, 48), (x, columns, 56))):
                    there = (shown > 0).any(dim=1 - axis).flip([0] if axis in axes else [])
                    crop = 15 - crop if axis in axes else crop
                    corner.append(int(picture.min() - crop.min()))
                    seen_of = torch.nonzero(there).flatten() - surroundings.margin(network.config.window) + corner[-1]
                    first, last = int(seen_of.min()), int(seen_of.max()) + 1
                    cut |= {(axis, "first", first - corner[-1])} if first >= corner[-1] else set()
                    cut |= {(axis, "last", corner[-1] + 16 - last)} if last <= corner[-1] + 16 else set()
                    made.add(first > corner[-1] > 0 or last < corner[-1] + 16 < length)
                    start = first if first >= corner[-1] else 0
                    stop = last if last <= corner[-1] + 16 else length
                    inside.append(slice(start, stop))
                # Zeros before the picture, so that a cell begins at the crop's corner.
                above, before = ((part.start - begin) % 4 for part, begin in zip(inside, corner, strict=True))
                images = (F.pad(image[..., inside[0], inside[1]], (before, 0, above, 0)) for image in whole[:2])
                flips = [axis + 2 for axis in axes]
                of_whole = network(*(_to_cells(image).flip(flips) for image in images)).flip(flips)[0, 0]
                expected = of_whole[y - inside[0].start + above, x - inside[1].start + before]
                torch.testing.assert_close(output[known], expected, rtol=0, atol=5e-5)
                seen.add((corner[0] % 4, corner[1] % 4))
    assert len(seen) > 8
    assert {count for _, _, count in cut} == {0, 1, 2, 3}
    assert len({(axis, side) for axis, side, _ in cut}) == 4
    assert made == {False, True}


def _to_cells(image: torch.Tensor) -> torch.Tensor:
    """With zeros at the bottom and the right up to whole cells."""
    return F.pad(image, (0, -image.shape[3] % 4, 0, -image.shape[2] % 4))


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
        outputs = surroundings.average(
            network, batch.depth, *surroundings.kernels(network, batch.guidance, batch.depth)
        )
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
