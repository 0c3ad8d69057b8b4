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

"""Errors by distance to depth edges and by depth, against sums done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dkn.evaluation.error_profile import ErrorProfile, edge_distance


def test_distance_to_an_edge() -> None:
    depth = np.full((3, 8), 2.0, np.float32)
    depth[:, 3:] = 1.0  # the step is between columns 2 and 3; both have the distance 0
    assert edge_distance(depth).tolist() == [[2, 1, 0, 0, 1, 2, 3, 4]] * 3
    assert np.isinf(edge_distance(np.full((2, 2), 3.0, np.float32))).all()


def test_distance_is_euclidean() -> None:
    depth = np.full((9, 9), 2.0, np.float32)
    depth[4, 4] = 1.0  # an edge are this pixel and its four neighbours
    assert edge_distance(depth)[0, 0] == pytest.approx(5.0)  # to (4, 3) or (3, 4): 3² + 4²
    assert edge_distance(depth)[4, 8] == 3


def test_sums_over_two_frames_by_hand() -> None:
    truth = np.array([[2.0, 2.0, 2.0, 1.0, 1.0, 1.0]])  # distances 2 1 0 0 1 2
    output = truth + np.array([[0.2, 0.1, 0.3, 0.5, 0.1, 9.0]])
    known = np.array([[True, True, True, True, True, False]])
    profile = ErrorProfile(["ours", "exact"])
    profile.add(truth, known, {"ours": output, "exact": truth})
    flat = np.full((1, 3), 5.0)  # no edge, 4 to 6 metres
    profile.add(flat, np.ones((1, 3), bool), {"ours": flat - 0.4, "exact": flat})

    found = {(b.low, b.high): (b.share, b.rmse["ours"]) for b in profile.by_edge_distance}
    assert found == {
        (0, 1): (pytest.approx(2 / 8), pytest.approx(math.sqrt((0.3**2 + 0.5**2) / 2))),
        (1, 2): (pytest.approx(2 / 8), pytest.approx(0.1)),
        (2, 4): (pytest.approx(1 / 8), pytest.approx(0.2)),
        (32, math.inf): (pytest.approx(3 / 8), pytest.approx(0.4)),
    }
    found = {(b.low, b.high): (b.share, b.rmse["ours"]) for b in profile.by_depth}
    assert found == {
        (1, 1.5): (pytest.approx(2 / 8), pytest.approx(math.sqrt((0.5**2 + 0.1**2) / 2))),
        (2, 3): (pytest.approx(3 / 8), pytest.approx(math.sqrt((0.2**2 + 0.1**2 + 0.3**2) / 3))),
        (4, 6): (pytest.approx(3 / 8), pytest.approx(0.4)),
    }
    assert {b.rmse["exact"] for b in profile.by_depth} == {0.0}
    assert [b.label for b in profile.by_edge_distance] == ["0–1", "1–2", "2–4", "32 +"]


def test_nothing_added_has_no_bins() -> None:
    assert ErrorProfile(["ours"]).by_depth == []
