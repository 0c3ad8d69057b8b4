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

"""The baselines: what every one of them must do, and the choice of their parameters."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dkn.errors import ConfigError
from dkn.evaluation import bicubic, rmse
from dkn.evaluation.baselines import BASELINES, Baseline


@pytest.fixture(params=BASELINES)
def baseline(request) -> Baseline:
    return BASELINES[request.param]


def two_planes(height: int = 64, width: int = 96, left: float = 1.0, right: float = 3.0):
    """Depth and colour with one edge in common, 4 pixels off the grid of 8."""
    depth = np.full((height, width), left, np.float32)
    depth[:, 52:] = right
    color = np.full((height, width, 3), (200, 60, 40), np.uint8)
    color[:, 52:] = (30, 80, 220)
    return color, depth


@pytest.mark.parametrize("scale", [4, 8, 16])
def test_flat_depth_stays(baseline, scale, make_scene):
    color, _ = make_scene(64, 96)
    result = baseline(color, np.full((64 // scale, 96 // scale), 2.5, np.float32))
    assert result.shape == (64, 96)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, 2.5, rtol=1e-4)


def test_the_unit_of_depth_does_not_matter(baseline, make_scene):
    color, depth = make_scene(48, 64)
    low = depth[4::8, 4::8]
    np.testing.assert_allclose(baseline(color, 25.5 * low), 25.5 * baseline(color, low), rtol=2e-3)


def test_holes_are_filled(baseline, make_scene):
    color, depth = make_scene(48, 64)
    low = depth[4::8, 4::8].copy()
    low[2:4, 3:5] = np.nan
    assert np.isfinite(baseline(color, low)).all()


@pytest.mark.parametrize("name", ["joint bilateral", "fast bilateral solver", "fast global smoother"])
def test_a_colour_edge_sharpens_depth(name):
    color, depth = two_planes()
    low = cv2.resize(depth, (12, 8), interpolation=cv2.INTER_AREA)
    # With little trust in slopes: real pictures made the search choose more for the solver.
    parameters = {**BASELINES[name].parameters[8], "edge": 0.02}
    assert rmse(BASELINES[name].run(color, low, parameters), depth) < 0.75 * rmse(bicubic(color, low), depth)


def test_parameters_of_the_nearest_scale():
    seen = []

    def note(guide, depth, edges, parameters):
        seen.append(parameters["scale"])
        return depth

    method = Baseline(note, {s: {"scale": s} for s in (4, 8, 16)})
    for small in (96 // 2, 96 // 4, 96 // 6, 96 // 12, 96 // 16, 96 // 32):
        method(np.zeros((96, 96, 3), np.uint8), np.ones((small, small), np.float32))
    assert seen == [4, 4, 8, 16, 16, 16]


def test_edge_strength_is_the_relative_change_over_a_low_resolution_pixel():
    seen = {}

    def note(guide, depth, edges, parameters):
        seen["edges"], seen["depth"] = edges, depth
        return depth

    slope = np.tile(np.linspace(2, 4, 16, dtype=np.float32), (12, 1))  # one step of 2/15 m per low-resolution pixel
    Baseline(note, {4: {}})(np.zeros((48, 64, 3), np.uint8), slope)
    inner = slice(12, -12), slice(12, -12)
    np.testing.assert_allclose(seen["edges"][inner], (2 / 15) / seen["depth"][inner], rtol=0.01)


def test_without_contrib_modules(monkeypatch):
    monkeypatch.delattr(cv2, "ximgproc")
    with pytest.raises(ConfigError, match="contrib"):
        BASELINES["guided filter"](np.zeros((16, 16, 3), np.uint8), np.ones((4, 4), np.float32))
