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

"""Joint filtering of any picture: tiles, channels, types, iterations."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

import dkn
from dkn import checkpoint
from dkn.errors import CheckpointError, ConfigError, ImageError
from dkn.filter import TASKS, Filter, context, tiles
from dkn.networks.config import NetworkConfig


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).random((69, 91, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model(make_model, tmp_path_factory):
    return make_model(
        tmp_path_factory.mktemp("filter") / "noise.safetensors", 1, NetworkConfig(residual=False, n1=8, n2=8)
    )


def test_tiles_cover_every_pixel_once_and_begin_at_phases():
    covered = np.zeros((50, 37), int)
    for tile in tiles((50, 37), 16, 8):
        covered[tile.place] += 1
        seen = np.arange(50)[tile.seen[0]], np.arange(37)[tile.seen[1]]
        for axis, along in enumerate(seen):
            assert along[0] % 4 == 0
            place, inner = tile.place[axis], tile.inner[axis]
            assert np.array_equal(along[inner], np.arange(place.start, place.stop))
            length = covered.shape[axis]
            assert along[0] == max(place.start - 8, 0) and along[-1] + 1 == min(place.stop + 8, length)
    assert (covered == 1).all()


@pytest.mark.parametrize("architecture", ["fdkn", "dkn"])
@pytest.mark.parametrize("fields", [{"residual": False}, {"residual": True, "window": 63}, {"depth_channels": 4}])
def test_tiles_give_what_the_whole_gives(architecture, fields, make_model, tmp_path, picture):
    """Everywhere, the border of the image included; sizes that no 4 divides."""
    config = NetworkConfig(architecture, n1=8, n2=8, **fields)
    model = make_model(tmp_path / "m.safetensors", 1, config)
    guide, target = picture, picture[..., 1]
    whole = Filter(model)(target, guide)
    tiled = Filter(model, tile=32)(target, guide)
    assert np.abs(whole - target).max() > 0.05  # it does something
    assert np.abs(tiled - whole).max() < 1e-5


def test_the_context_is_needed(model, picture, monkeypatch):
    """A tile that sees four pixels less differs: the context is not larger than it has to be."""
    whole = Filter(model)(picture[..., 0], picture)
    monkeypatch.setattr("dkn.filter.context", lambda config: context(config) - 4)
    assert np.abs(Filter(model, tile=32)(picture[..., 0], picture) - whole).max() > 1e-5


def test_progress_counts_tiles(model, picture, monkeypatch):
    bars = []

    class Bar:
        def __init__(self, total, disable, **options):
            self.total, self.disable, self.done = total, disable, 0
            bars.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *problem):
            pass

        def update(self):
            self.done += 1

    monkeypatch.setattr("dkn.filter.tqdm", Bar)
    Filter(model, tile=32, iterations=2, progress=True)(picture[..., :2], picture)
    # 69×91 pixels in 3×3 tiles, of two channels, twice.
    assert (bars[0].done, bars[0].total, bars[0].disable) == (36, 36, False)
    Filter(model)(picture)
    assert bars[1].disable


TWELVE_MEGAPIXELS = """
import resource, sys
import numpy as np
from dkn.filter import Filter

picture = np.random.default_rng(0).integers(0, 255, (3000, 4000), np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = Filter(sys.argv[1], device="cpu")(picture, picture)
assert result.shape == picture.shape and (result != picture).any()
part = Filter(sys.argv[1], tile=1024, device="cpu")(picture[:720, :960], picture[:720, :960])
assert np.abs(result[:640, :880].astype(int) - part[:640, :880]).max() <= 1  # rounding
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_twelve_megapixels_fit_in_memory(make_model, tmp_path):
    """Of one channel, by a network of full width: its features of the whole picture alone would be 3 GB (two layers
    of 128 channels on 1000×750 phases, of two streams, in float32; the 27 · 16 maps of the heads 2.6 GB)."""
    model = make_model(tmp_path / "m.safetensors", 1, NetworkConfig(residual=False))
    command = [sys.executable, "-c", TWELVE_MEGAPIXELS, str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 800  # MB


def test_it_is_the_network_channel_by_channel(model, picture):
    network, _ = checkpoint.load(model)
    guide, target = picture, picture[..., ::-1]
    result = Filter(model)(target, guide)
    assert result.shape == target.shape and result.dtype == np.float32
    for i in range(3):
        with torch.inference_mode():
            expected = network(
                torch.from_numpy(guide.transpose(2, 0, 1).copy())[None],
                torch.from_numpy(target[..., i].copy())[None, None],
            )
        np.testing.assert_allclose(result[..., i], expected[0, 0], atol=2e-6)
    assert np.array_equal(result[..., :2], Filter(model)(target[..., :2], guide))


def test_no_residual_keeps_a_constant(model, picture):
    """Weights that sum to one (eq. 7): away from the image border, where taps outside count as zero."""
    result = Filter(model)(np.full((60, 60), 0.4, np.float32), picture[:60, :60])
    np.testing.assert_allclose(result[8:-8, 8:-8], 0.4, atol=1e-6)


def test_guidance_of_other_channel_counts(model, picture):
    grey = picture[..., 0]
    three = Filter(model)(grey, np.stack([picture[..., 1]] * 3, axis=-1))
    assert np.array_equal(Filter(model)(grey, picture[..., 1]), three)
    assert np.array_equal(Filter(model)(grey, picture[..., 1:2]), three)
    pair = np.stack([2 * picture[..., 1], np.zeros_like(grey)], axis=-1)
    assert np.array_equal(Filter(model)(grey, pair), three)
    assert Filter(model)(picture[..., :2], grey).shape == (69, 91, 2)


def test_iterations_roll(model, picture):
    """Without guidance the result guides the next pass; with one, it stays."""
    once = Filter(model)
    rolled = once(once(picture))
    assert np.array_equal(Filter(model, iterations=2)(picture), rolled)
    assert np.array_equal(once(picture), once(picture, picture))
    guide = picture[::-1]
    assert np.array_equal(Filter(model, iterations=2)(picture, guide), once(once(picture, guide), guide))


def test_integers_come_back_as_integers(model, picture):
    for kind, white in ((np.uint8, 255), (np.uint16, 65535)):
        target = np.rint(picture * white).astype(kind)
        result = Filter(model)(target, picture)
        assert result.dtype == kind
        exact = Filter(model)(target.astype(np.float32) / np.float32(white), picture) * white
        assert np.abs(result - exact.clip(0, white)).max() <= 0.51
    overshoot = Filter(model)(np.full((40, 40), 255, np.uint8), picture[:40, :40])
    assert overshoot[20, 20] == 255


def test_a_smaller_target_is_interpolated_first(make_bicubic_model, tmp_path, picture):
    """With a network that adds nothing, the bicubic interpolation is left, as PIL computes it."""
    image = pytest.importorskip("PIL.Image")
    low = picture[:8, :11, 0]
    result = Filter(make_bicubic_model(tmp_path / "b.safetensors", 8))(low, picture[:64, :88])
    expected = image.fromarray(low).resize((88, 64), image.Resampling.BICUBIC)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_mistakes(model, picture):
    assert dkn.Filter is Filter
    for options in ({"iterations": 0}, {"tile": 2}):
        with pytest.raises(ConfigError):
            Filter(model, **options)
    with pytest.raises(CheckpointError, match="nothing_x8"):
        Filter("nothing_x8.safetensors")(picture)
    for bad in (picture[0, 0], picture[None], picture[:0], picture.astype(np.int32), picture > 0.5):
        with pytest.raises(ImageError):
            Filter(model)(bad)
    holes = picture.copy()
    holes[3, 3] = np.nan
    with pytest.raises(ImageError, match="finite"):
        Filter(model)(holes, picture)
    assert all(task.iterations >= 1 and task.about for task in TASKS.values())
