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

"""Noise removal: the noise itself, its batches, RMSE by hand, and the commands."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from dkn import checkpoint
from dkn.cli import main
from dkn.data.nyu import NYU
from dkn.data.sample import Sample
from dkn.errors import ConfigError
from dkn.evaluation import baselines
from dkn.experiments import denoising
from dkn.experiments.noise import VARIANCE, add_noise, draw_noisy_batch, recipe, scaled
from dkn.networks.config import NetworkConfig

SMALL = NetworkConfig(residual=False, n1=8, n2=8)


def test_noise_has_the_papers_variance():
    noise = add_noise(np.full((400, 400), 0.5), np.random.default_rng(0)) - 0.5
    assert VARIANCE == 0.005
    assert abs(noise.mean()) < 1e-3 and abs(noise.var() / 0.005 - 1) < 0.02


def test_scaled_by_its_own_span():
    depth = np.array([[1, 3], [np.nan, 5]], np.float32)
    values, span = scaled(depth)
    assert span == 4
    np.testing.assert_array_equal(values, np.array([[0, 0.5], [np.nan, 1]], np.float32))


def test_batches(tiny_nyu):
    config = recipe(SMALL, 1, batch_size=64, crop=24)
    assert (config.scale, config.loss, config.depth_range, config.network.residual) == (1, "l1", 1.0, False)
    train = NYU(tiny_nyu, "train")
    one, same, other = (draw_noisy_batch(train, config, step) for step in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.target, other.target)
    assert one.guidance.shape == (64, 3, 24, 24) and one.depth.shape == one.target.shape == (64, 1, 24, 24)
    assert 0 <= one.target.min() < 0.1 and 0.9 < one.target.max() <= 1
    assert abs((one.depth - one.target).var() / 0.005 - 1) < 0.05
    # Colour and depth are cut from the same place, and flipped alike: this set's boxes have edges in both.
    edges = (one.target.diff(dim=3).abs() > 0.05)[:, 0], (one.guidance.diff(dim=3).abs().amax(1) > 0.12)
    assert (edges[0] & edges[1]).sum() > 0.7 * edges[0].sum() > 0
    with pytest.raises(ConfigError, match="crop=49"):
        draw_noisy_batch(train, recipe(SMALL, 1, crop=49), 0)


class _Flat:
    """One image of 0 and 2 m, half and half."""

    name, unit, unit_scale, border = "flat", "cm", 100.0, 2

    def __len__(self):
        return 1

    def __getitem__(self, index):
        depth = np.zeros((60, 60), np.float32)
        depth[:, 30:] = 2
        return Sample(np.zeros((60, 60, 3), np.uint8), depth, "flat")


def test_rmse_in_both_units():
    found = denoising.evaluate(
        _Flat(), {"off by a tenth": lambda noisy, color: np.float32([[0.1] * 30 + [0.9] * 30] * 60)}, [0]
    )
    assert found[0].rmse_levels == pytest.approx(25.5) and found[0].rmse_cm == pytest.approx(20)
    (noisy,) = denoising.evaluate(_Flat(), {"nothing done": lambda noisy, color: noisy}, [0])
    assert noisy.rmse_levels == pytest.approx(255 * 0.005**0.5, rel=0.05)


def test_guided_filter_beside_an_average():
    """With eps far above any variance of the guidance, it is a mean of means: two box filters."""
    noisy = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    color = np.random.default_rng(1).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    expected = cv2.blur(cv2.blur(noisy, (7, 7)), (7, 7))
    result = baselines.guided_filter(noisy, color, 3, 1e12)
    np.testing.assert_allclose(result[8:-8, 8:-8], expected[8:-8, 8:-8], atol=1e-4)


def test_tuning_finds_the_smallest_error(tiny_nyu, monkeypatch):
    monkeypatch.setattr(denoising, "GRID", {"radius": (1, 2), "eps": (100.0, 1e6)})
    found = denoising.tune(NYU(tiny_nyu, "train"), [0, 5])
    assert len(found) == 4
    assert [e for e, _ in found] == sorted(e for e, _ in found) and found[0][0] < found[-1][0]


def test_commands(tiny_nyu, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("dkn.cli.beyond_depth.denoise.NetworkConfig", lambda architecture, residual: SMALL)
    run = ["denoise", "train", f"--data={tiny_nyu}", f"--out={tmp_path / 'r'}", "--steps=2"]
    assert main([*run, "--batch-size=2", "--crop=16"]) == 0
    network, info = checkpoint.load(tmp_path / "r" / "model.safetensors")
    assert (network.config.residual, info.scale, info.training["steps"]) == (False, 1, 2)
    model, table = tmp_path / "r" / "model.safetensors", tmp_path / "o.json"
    assert main(["denoise", "evaluate", f"--data={tiny_nyu}", f"--model={model}", "--limit=2", f"--json={table}"]) == 0
    facts = json.loads(table.read_text())
    assert [row["method"] for row in facts["results"]] == ["noisy input", "guided filter", str(model)]
    assert facts["results"][0]["rmse_levels"] == pytest.approx(255 * 0.005**0.5, rel=0.05)
    assert facts["quoted_from_the_paper"]["DKN"] == 2.46
    assert "| noisy input |" in capfd.readouterr().out
    assert main(["denoise", "train", f"--data={tiny_nyu}"]) == 2
