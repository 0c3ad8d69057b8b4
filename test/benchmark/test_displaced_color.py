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

"""The benchmark of colour that is moved on purpose, on rendered rooms with exact depth."""

from __future__ import annotations

import numpy as np

from dkn.benchmark import displaced_color
from dkn.data.rendered.room import Scene


def test_moved_colour_is_found_and_what_it_cost_comes_back(tmp_path, write_nyu, capsys):
    views = []
    for seed in range(2):
        scene = Scene(seed)
        pose = scene.camera_pose(2.0 * seed)
        views.append((scene.render(pose, (320, 240))[0], scene.depth(pose, (320, 240))))
    colors, depths = (np.stack([view[k] for view in views]) for k in (0, 1))
    order = np.arange(1002) % 2  # the test half begins at 1000
    path = write_nyu(tmp_path / "rooms.mat", colors[order], depths[order])
    data = ["--data", f"nyu={path}", "--model", "fdkn_sensor_tiny"]
    displaced_color.main([*data, "--scale", "1", "--pixels", "0", "6", "--limit", "2"])
    in_place, beside = capsys.readouterr().out.splitlines()[2:]
    assert in_place.startswith("| 1×, 0 | 0% |  | ")
    assert beside.startswith("| 1×, 6 | 100% | ")
    before, after = (float(part) for part in beside.split(" | ")[4].split(" → "))
    right = float(in_place.split(" | ")[4].split(" → ")[0])
    assert right <= after < before


def test_errors_by_hand():
    truth = np.full((40, 40), 2, np.float32)
    truth[:, 20:] = 4
    result = truth.copy()
    result[:, 19] = 3  # a metre, in one of 40 columns and one of ten near the edge
    truth[0], result[1] = np.nan, np.nan
    rmse, near = displaced_color.errors(result, truth)
    assert np.isclose(rmse, 100 * np.sqrt(1 / 40)) and np.isclose(near, 100 / 10)
