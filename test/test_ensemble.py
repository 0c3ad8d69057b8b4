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

"""The mean over mirror images."""

from __future__ import annotations

import json

import numpy as np

from dkn.cli import main
from dkn.ensemble import self_ensemble


def test_each_mirror_image_comes_back_upright():
    """What depends on its input alone, pixel by pixel, gains nothing and loses nothing."""
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    depth = rng.uniform(1, 2, (6, 8)).astype(np.float32)

    def alone(color: np.ndarray, depth: np.ndarray) -> np.ndarray:
        return depth + color[..., 0]

    np.testing.assert_allclose(self_ensemble(alone)(color, depth), alone(color, depth), rtol=1e-6)


def test_what_depends_on_the_side_is_averaged():
    """An error that grows from left to right, and one from top to bottom, become their means."""
    depth = np.full((3, 4), 2, np.float32)

    def slanted(color: np.ndarray, depth: np.ndarray) -> np.ndarray:
        return (depth + np.arange(4) + 10 * np.arange(3)[:, None]).astype(np.float32)

    np.testing.assert_allclose(self_ensemble(slanted)(np.zeros((3, 4, 3), np.uint8), depth), 2 + 1.5 + 10)


def test_unknown_is_what_is_unknown_as_it_stands():
    depth = np.arange(12, dtype=np.float32).reshape(3, 4)

    def blind_on_the_left(color: np.ndarray, depth: np.ndarray) -> np.ndarray:
        result = depth.copy()
        result[:, 0] = np.nan
        return result

    result = self_ensemble(blind_on_the_left)(np.zeros((3, 4, 3), np.uint8), depth)
    assert np.isnan(result[:, 0]).all()
    np.testing.assert_allclose(result[:, 1:], depth[:, 1:])  # its last column from two of the four


def test_the_commands_take_it(tiny_nyu, make_model, tmp_path):
    model, found = make_model(tmp_path / "m.safetensors", 8), tmp_path / "o.json"
    errors = []
    for more in ([], ["--ensemble"]):
        assert main(["evaluate", f"--data={tiny_nyu}", "--limit=1", f"--model={model}", f"--json={found}", *more]) == 0
        errors.append(json.loads(found.read_text())["results"][1]["rmse"])
    assert errors[0] != errors[1]
