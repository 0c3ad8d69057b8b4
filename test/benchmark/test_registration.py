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

from __future__ import annotations

import numpy as np
import pytest

from dkn.benchmark import registration
from dkn.benchmark.registration import CameraPair, compare
from dkn.data.rendered.raycast import trace, trace_any
from dkn.data.rendered.room import Scene
from dkn.errors import ConfigError
from dkn.geometry import CameraModel

SMALL = CameraPair(
    CameraModel(80, 66, 57.0, 57.0, 40.0, 32.0, "plumb_bob", (0.09, -0.27, 0.0, 0.0, 0.09)),
    CameraModel(160, 90, 88.0, 88.0, 79.5, 44.5),
    0.06,
)


def test_rays_in_any_order_meet_what_rays_in_rows_meet() -> None:
    scene = Scene(0)
    pose = scene.camera_pose(0.3)
    x, y = np.linspace(-0.5, 0.5, 40), np.linspace(-0.4, 0.4, 30)
    expected = trace(scene.solids, pose, x, y).t
    assert np.allclose(trace_any(scene.solids, pose, *np.meshgrid(x, y)), expected)


def nearest(color: np.ndarray, depth: np.ndarray) -> np.ndarray:
    return registration._enlarged(depth, color.shape[:2])


def test_registration_comes_between_what_is_usual_and_what_is_exact() -> None:
    scores = compare(SMALL, nearest, rooms=1)
    usual, ours, exact = (scores[name] for name in ("full resolution, then filled", "ours", "exact"))
    assert exact.rmse < ours.rmse < usual.rmse
    assert ours.known > 0.94 and exact.known == 1
    assert ours.wrong < 0.005 and ours.hidden_wrong < 0.01
    assert scores["ours; network"] == ours, "the network here is nearest neighbour"


def test_a_wrong_transform_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = compare(SMALL, nearest, rooms=1)["ours"]

    class Registration(registration.Registration):
        def __init__(self, depth: CameraModel, color: CameraModel, matrix: np.ndarray):
            super().__init__(depth, color, np.eye(4))

    monkeypatch.setattr(registration, "Registration", Registration)
    wrong = compare(SMALL, nearest, rooms=1)["ours"]
    assert wrong.wrong > 10 * right.wrong and wrong.hidden_wrong > 0.01 and wrong.rmse > 1.3 * right.rmse


@pytest.mark.parametrize("rooms", [0, -1])
def test_no_rooms(rooms: int) -> None:
    with pytest.raises(ConfigError, match="rooms"):
        compare(SMALL, nearest, rooms)
