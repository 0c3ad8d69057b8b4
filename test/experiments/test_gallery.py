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

"""The rendered uses: what is true about them, and that the model that comes along does what the docs say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dkn.cli import main
from dkn.experiments import gallery
from dkn.experiments.gallery import examples, results, rmse_levels


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(gallery, "SIZE", (96, 128))


def test_rmse_by_hand():
    """Half of the inner pixels off by a tenth; what lies in the border does not count."""
    truth = np.zeros((36, 36, 3), np.float32)
    picture = truth.copy()
    picture[:, :18] = 0.1
    picture[:8] = picture[-8:] = 0.7
    assert rmse_levels(picture, truth) == pytest.approx(25.5 / np.sqrt(2), rel=1e-5)


def test_examples():
    flash, infrared, texture = examples()
    for example in (flash, infrared, texture):
        assert example.target.shape == example.truth.shape == (96, 128, 3)
        assert example.target.dtype == np.float32 and 0 <= example.truth.min() < example.truth.max() <= 1
    assert infrared.guidance.shape == (96, 128)
    for noisy in (flash, infrared):
        assert (noisy.target - noisy.truth).std() == pytest.approx(0.07, rel=0.03)
    assert texture.guidance is texture.target


def test_the_model_cleans_and_flattens():
    for example in examples()[1:]:
        before = rmse_levels(example.target, example.truth)
        assert rmse_levels(results(example, "fdkn_noise")["ours"], example.truth) < 0.6 * before


def test_command(tmp_path, make_model, capfd, monkeypatch):
    seen = []
    model = make_model(tmp_path / "m.safetensors", 1)
    monkeypatch.setattr("dkn.cli.beyond_depth.gallery.examples", lambda seed: seen.append(seed) or examples(seed))
    assert main(["gallery", f"--model={model}", f"--out={tmp_path / 'g.png'}", "--scenes=2", "--seed=5"]) == 0
    assert seen == [5, 6]
    lines = capfd.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| flash / no flash", "| infrared / colour", "| texture"]
    assert cv2.imread(str(tmp_path / "g.png")).shape == (3 * (96 + 26), 5 * 128 + 4 * 6, 3)
    noise = np.mean([[rmse_levels(e.target, e.truth)] for seed in (5, 6) for e in examples(seed)[:1]])
    assert lines[2].split(" | ")[1] == f"{noise:.1f}"
    assert main(["gallery", f"--out={tmp_path / 'g.png'}", "--scenes=0"]) == 2
