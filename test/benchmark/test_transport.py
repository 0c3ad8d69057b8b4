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

"""The benchmark of the transport, on small images: that it counts what it should, not how fast it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the rig needs rclpy: source a ROS 2, or install requirements-ros.txt")

from ros_harness import ENVIRONMENT

from dkn.errors import ConfigError
from dkn_ros.benchmark import rig
from dkn_ros.benchmark import transport as benchmark
from dkn_ros.benchmark.pass_through import PassThrough
from dkn_ros.benchmark.rig import Rig
from dkn_ros.benchmark.transport import OVERLOADS, Case, Overload, Result
from dkn_ros.replay import command

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the rig reads /proc")


def test_pass_through_gives_back_what_comes_in() -> None:
    depth = np.array([[1.5, np.nan], [2.5, 3.5]], np.float32)
    upsample = PassThrough()
    upsample.warm_up(8)
    assert not upsample.model_name  # nothing was loaded
    assert upsample(np.zeros((2, 2, 3), np.uint8), depth) is depth
    larger = upsample(np.zeros((4, 6, 3), np.uint8), depth)
    np.testing.assert_array_equal(larger, np.kron(depth, np.ones((2, 3), np.float32)))


@pytest.mark.parametrize(("transport", "color_format"), [("profile", ""), ("node's own", "jpeg")])
def test_a_run(transport: str, color_format: str) -> None:
    here = {name: value for name, value in ENVIRONMENT.items() if name.startswith("ROS_")}
    with mock.patch.dict(os.environ, here):
        result = benchmark.run(Case(transport, True, 20, seconds=2.0, size=(64, 48), color_format=color_format))
    assert 0 < result.sent <= 61  # the node says what it counted twice a second
    assert 0 < result.delivered <= result.answered + 0.1
    # When the counting begins, one pair may be at work and one waiting.
    assert result.answered <= result.arrived + 2 / result.sent
    assert result.arrived <= 1.1
    assert 0 < result.round_trip["p50"] <= result.round_trip["p99"]
    assert result.published["p50"] > 0
    assert 0 <= result.idle_cpu < result.node_cpu < 16


def test_the_table_and_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    cases: list[Case] = []

    def run(case: Case) -> Result:
        cases.append(case)
        latencies = {"p50": 3.2, "p99": 4.5}
        shares = 0.99, 0.97, 0.95
        return Result(case.transport, case.reliable, case.rate_hz, 1000, *shares, latencies, latencies, 0.3, 0.2, 0.01)

    monkeypatch.setattr(benchmark, "run", run)
    options = ["--rate", "100", "--size", "320x240", "--compressed", "png", "--json", str(tmp_path / "o.json")]
    assert command.main(["--benchmark", *options]) == 0
    transports = ("profile", "node's own", "defaults")
    assert {(case.rate_hz, case.transport, case.reliable) for case in cases} == {
        (rate, transport, reliable) for rate in (30.0, 100.0) for transport in transports for reliable in (True, False)
    }
    assert {case.color_format for case in cases} == {"png"}
    assert {case.size for case in cases} == {(320, 240)}
    out = capsys.readouterr().out
    assert "100 Hz, profile, best effort" in out
    assert out.count("95.0%") == len(cases)
    (first, *_) = json.loads((tmp_path / "o.json").read_text())
    assert (first["delivered"], first["round_trip"]["p99"]) == (0.95, 4.5)


def test_a_size_that_is_none(capsys) -> None:
    with pytest.raises(SystemExit):
        benchmark.main(["--size", "large"])
    assert "640x480" in capsys.readouterr().err


def test_the_start_of_the_node_is_timed(capsys):
    assert benchmark.main(["--start", "--size", "64x48"]) == 0
    seconds = float(capsys.readouterr().out.split(":")[1].split()[0])
    assert 0.5 < seconds < benchmark.time.monotonic()  # Python and PyTorch alone take as long


@pytest.mark.parametrize(("wait", "what"), [(Rig.start, "depth"), (Rig.values, "diagnostics")])
def test_a_node_that_says_nothing_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch, wait: Callable[[Rig], object], what: str
) -> None:
    monkeypatch.setattr(rig, "LIMIT", 0.2)
    silent = ("-c", "import signal; signal.sigwait([signal.SIGINT])")
    with (
        Rig(silent, {}, (64, 48), (8, 6), 10.0, environment=ENVIRONMENT) as silence,
        pytest.raises(ConfigError, match=f"no {what} came from the node"),
    ):
        wait(silence)


def test_behind_a_camera_that_is_too_fast_every_pair_is_counted() -> None:
    here = {name: value for name, value in ENVIRONMENT.items() if name.startswith("ROS_")}
    with mock.patch.dict(os.environ, here):
        result = benchmark.overload((320, 240), rate_hz=500, seconds=2.0)
    assert result.superseded > 0
    assert 0 < result.answered_hz < 500
    assert 0 <= result.uncounted <= 2  # one at work, one in the mailbox
    assert 0 < result.round_trip["p50"] <= result.round_trip["p99"]
    assert result.first_depth > 0


def test_the_table_of_cameras_that_are_too_fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    def overload(size: tuple[int, int], rate_hz: float, seconds: float) -> Overload:
        return Overload(rate_hz, 20.0, 1 - 20 / rate_hz, 1, {"p50": 61.0, "p99": 93.0}, 87.0)

    monkeypatch.setattr(benchmark, "overload", overload)
    out = tmp_path / "new" / "o.json"
    assert command.main(["--benchmark", "--overload", "--json", str(out)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-len(OVERLOADS) :]]
    assert rows[-1] == ["120", "20.0", "83.3%", "1", "50", "61", "93", "87"]
    assert [entry["rate_hz"] for entry in json.loads(out.read_text())] == list(OVERLOADS)
