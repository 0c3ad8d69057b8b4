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

"""Whether the node keeps a camera's rate: that what is counted is right, on small images, not how fast it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest import mock

import pytest

pytest.importorskip("rclpy", reason="the rig needs rclpy: source a ROS 2, or install requirements-ros.txt")

from ros_harness import ENVIRONMENT

from dkn_ros.benchmark import rates, transport
from dkn_ros.benchmark.rates import CAMERAS, Camera, Kept
from dkn_ros.replay import command

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the rig reads /proc")


def test_a_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "CALM", 1.0)
    monkeypatch.setattr(rates, "SETTLING", 5.0)
    here = {name: value for name, value in ENVIRONMENT.items() if name.startswith("ROS_")}
    camera = Camera("small", (128, 96), (32, 24), {"decimation": 2})
    with mock.patch.dict(os.environ, here):
        kept = transport._alone(rates.measure, camera, 2.0, "torch")
    assert kept.camera == camera
    assert (kept.model, kept.decimation) == ("fdkn_sensor", 2)
    assert kept.engine.startswith("torch (cpu")
    assert 0 < kept.answered_hz <= 1.2 * rates.RATE
    assert 0 <= kept.superseded <= 1
    # What was superseded has no answer, and what was not has one.
    assert kept.answered_hz == pytest.approx((1 - kept.superseded) * rates.RATE, rel=0.3)
    assert 0 < kept.p50 <= kept.p99
    assert 0 < kept.cores < os.cpu_count() + 0.5
    assert 100 < kept.peak_mb < 4000


def test_the_table_and_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    def measure(camera: Camera, seconds: float, engine: str) -> Kept:
        assert engine == "onnx"
        return Kept(camera, "fdkn_sensor_tiny", "openvino (cpu, int8)", 3, 25.04, 0.125, 61.2, 93.4, 1.5, 612.0)

    monkeypatch.setattr(rates, "measure", measure)
    monkeypatch.setattr(transport, "_alone", lambda function, *arguments: function(*arguments))
    assert command.main(["--benchmark", "--rates", "--engine", "onnx", "--json", str(tmp_path / "o.json")]) == 0
    rows = capsys.readouterr().out.splitlines()[-len(CAMERAS) :]
    assert [row[:24].strip() for row in rows] == [camera.name for camera in CAMERAS]
    wanted = ["-", "-", "30.0", "30.0", "15.0"]
    figures = ["25.0", "12.5%", "61", "93", "1.50", "612"]
    assert [row[26:].split()[:7] for row in rows] == [[rate, *figures] for rate in wanted]
    assert all(row.endswith("fdkn_sensor_tiny, openvino (cpu, int8), decimation 3") for row in rows)
    entries = json.loads((tmp_path / "o.json").read_text())
    assert [entry["answered_hz"] for entry in entries] == [25.04] * len(CAMERAS)
    assert entries[-1]["camera"]["color"] == [1920, 1080]
