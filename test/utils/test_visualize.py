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

"""Results as pictures and as JSON."""

from __future__ import annotations

import json
import math

import numpy as np

from dkn.utils.tables import markdown, write_json
from dkn.utils.visualize import colorize, colorize_error, depth_span, figure

NAN = np.nan


def test_depth_in_colour():
    picture = colorize(np.array([[1.0, 2.0, 3.0, NAN, 0.5, 9.0]]), 1, 3)
    assert picture.shape == (1, 6, 3)
    assert picture.dtype == np.uint8
    near, middle, far, unknown, nearer, farther = picture[0].astype(int)
    assert near[0] > near[2]  # warm: more red than blue
    assert far[2] > far[0]  # cool
    assert not np.array_equal(middle, near)
    assert unknown.tolist() == [0, 0, 0]
    assert np.array_equal(nearer, near)
    assert np.array_equal(farther, far)


def test_a_flat_map_has_one_colour():
    picture = colorize(np.full((3, 3), 2.0), 2, 2)
    assert (picture == picture[0, 0]).all()


def test_error_in_colour():
    picture = colorize_error(np.array([[0.0, 0.05, 0.1, 0.5, NAN]]), 0.1)[0].astype(int)
    brightness = picture[:4].sum(axis=1)
    assert brightness[0] < brightness[1] < brightness[2] == brightness[3]
    assert picture[4].tolist() == [64, 64, 64]


def test_one_span_for_several_maps():
    a, b = np.linspace(1, 2, 500), np.linspace(2, 3, 500)
    b[0] = NAN
    low, high = depth_span(a, b)
    assert abs(low - 1.04) < 0.01
    assert abs(high - 2.96) < 0.01
    assert depth_span(np.full((2, 2), NAN)) == (0.0, 1.0)


def test_panels_side_by_side():
    color = np.random.default_rng(0).integers(0, 255, (20, 90, 3)).astype(np.uint8)
    depth = np.array([[1.0, NAN], [3.0, 2.0]])
    picture = figure({"color": color, "input": depth, "output": np.full((20, 90), 2.0)})
    assert picture.dtype == np.uint8
    height, width = picture.shape[:2]
    assert height > 20  # a label above each
    assert width >= 3 * 90
    panels = picture[-20:]
    assert np.array_equal(panels[:, :90], color)
    gap = (width - 3 * 90) // 2
    small = panels[:, 90 + gap : 180 + gap]  # enlarged without smoothing: four blocks, one unknown
    assert (small[:10, :45] == small[0, 0]).all()
    assert (small[:10, 45:] == 0).all()
    assert (small[10:, 45:] == panels[:, 180 + 2 * gap :][0, 0]).all()  # 2 m has one colour in all panels


def test_a_number_that_is_none_becomes_null(tmp_path):
    write_json(tmp_path / "new" / "o.json", {"a": math.nan, "b": [1.5, math.inf], "c": {"d": "text"}})
    assert json.loads((tmp_path / "new" / "o.json").read_text()) == {"a": None, "b": [1.5, None], "c": {"d": "text"}}


def test_markdown_by_hand():
    table = markdown(["a", "b", "c"], [["x", "y", "1.0"], ["x", "", "2.0"]], words=2)
    assert table.splitlines() == ["| a | b | c |", "|---|---|---:|", "| x | y | 1.0 |", "| x |  | 2.0 |"]
