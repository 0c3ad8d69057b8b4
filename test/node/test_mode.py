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

"""Another mode while the node runs: its network is made beside the frames, and the executor never stands still."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the node needs rclpy: source a ROS 2, or install requirements-ros.txt")

from ros_harness import METRES, RGB, Bench, image, pixels, running

from dkn import Upsampler

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the harness reads /proc")

ERROR = b"\x02"

# The node; a model MODEL is made once there is no file MODEL.wait any more, and fails with what MODEL.fail holds.
PROGRAM = """
import os, time
from pathlib import Path
from dkn_ros.__main__ import run

def make_node():
    from dkn_ros.node import UpsampleNode

    class SlowNode(UpsampleNode):
        def _make_upsampler(self, model, p):
            file = Path(os.environ["GATES"]) / model
            file.with_suffix(".begun").touch()
            while file.with_suffix(".wait").exists():
                time.sleep(0.01)
            if file.with_suffix(".fail").exists():
                raise RuntimeError(file.with_suffix(".fail").read_text())
            return super()._make_upsampler(model, p)

    return SlowNode()

run(make_node)
"""


class Gates:
    """What the node may make."""

    def __init__(self, folder: Path):
        self.folder = folder

    def close(self, model: str) -> None:
        (self.folder / f"{model}.wait").touch()
        (self.folder / f"{model}.begun").unlink(missing_ok=True)

    def open(self, model: str) -> None:
        (self.folder / f"{model}.wait").unlink(missing_ok=True)

    def fail(self, model: str, reason: str) -> None:
        (self.folder / f"{model}.fail").write_text(reason)

    def mend(self, model: str) -> None:
        (self.folder / f"{model}.fail").unlink()

    def begun(self, model: str) -> bool:
        return (self.folder / f"{model}.begun").exists()


@pytest.fixture(scope="module")
def models(tmp_path_factory, make_model, make_bicubic_model) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_bicubic_model(folder / "plain_x4.safetensors", 4)
    for seed, name in enumerate(("fdkn_x4", "other_x4")):
        make_model(folder / f"{name}.safetensors", 4, seed=seed)
    (folder / "damaged_x4.safetensors").write_bytes((folder / "fdkn_x4.safetensors").read_bytes()[:-100])
    return folder


@pytest.fixture
def gates(tmp_path) -> Gates:
    return Gates(tmp_path)


@pytest.fixture
def bench(tmp_path, models, gates) -> Iterator[Bench]:
    options = {"mode": "plain_x4", "engine": "torch", "environment": {"GATES": str(gates.folder)}}
    with running(tmp_path, models, program=("-c", PROGRAM), **options) as bench:
        yield bench


def exchange(bench: Bench) -> np.ndarray:
    return pixels(bench.exchange(image(RGB, "rgb8"), image(METRES, "32FC1")))


def wait_for_mode(bench: Bench, mode: str) -> Any:
    def in_force(status: Any) -> bool:
        values = {pair.key: pair.value for pair in status.values}
        return values["mode"] == mode and "mode asked for" not in values

    return bench.status(in_force, f"mode {mode}")


def begin(bench: Bench, gates: Gates, mode: str) -> None:
    """Set a mode whose network is not made before its gate is opened."""
    gates.close(mode)
    assert bench.set_parameter("mode", mode) == ""
    bench.until(lambda: gates.begun(mode), f"the making of {mode}")


def test_the_node_goes_on_while_a_network_is_made(bench, gates, models):
    """Frames, diagnostics, parameters and services are served; each would be in vain if the executor stood still."""
    before = exchange(bench)
    counted = bench.counters()
    begin(bench, gates, "fdkn_x4")
    for _ in range(3):
        np.testing.assert_array_equal(exchange(bench), before)
        values = bench.counters()
        assert (values["mode"], values["model"], values["mode asked for"]) == ("plain_x4", "plain_x4", "fdkn_x4")
        assert bench.set_parameter("slop", 0.03) == ""
    assert "no model 'nonsense'" in bench.set_parameter("mode", "nonsense")
    assert "damaged" in bench.set_parameter("mode", "damaged_x4")
    assert bench.enable(False).message == "disabled"
    gates.open("fdkn_x4")
    status = wait_for_mode(bench, "fdkn_x4")  # though it is disabled
    assert status.message == "disabled by ~/enable"
    assert bench.enable(True).message == "enabled"
    bench.warm_up(image(RGB, "rgb8"), image(METRES, "32FC1"))
    after = Upsampler(models / "fdkn_x4.safetensors", device="cpu", precision="fp32")(RGB, METRES)
    np.testing.assert_allclose(exchange(bench), after, rtol=0, atol=1e-5)
    news = bench.counters()
    assert "dropped failed" not in news and news.get("dropped superseded") == counted.get("dropped superseded")


def test_the_last_of_several_modes_wins(bench, gates):
    begin(bench, gates, "fdkn_x4")
    gates.close("other_x4")
    for mode in ("other_x4", "plain_x4", "other_x4"):
        assert bench.set_parameter("mode", mode) == ""
    gates.open("other_x4")
    assert not gates.begun("other_x4")  # one is made at a time
    assert bench.counters()["model"] == "plain_x4"
    gates.open("fdkn_x4")
    wait_for_mode(bench, "other_x4")
    exchange(bench)
    assert bench.counters()["model"] == "other_x4"
    assert "mode is now other_x4" in bench.node.output and "mode is now fdkn_x4" not in bench.node.output


def test_back_to_the_mode_in_force(bench, gates):
    begin(bench, gates, "fdkn_x4")
    assert bench.set_parameter("mode", "plain_x4") == ""
    assert "mode asked for" not in bench.counters()
    gates.open("fdkn_x4")
    exchange(bench)
    assert bench.counters()["model"] == "plain_x4"
    assert "mode is now" not in bench.node.output


def test_a_network_that_cannot_be_made(bench, gates):
    """The one in force goes on, log and diagnostics say why, and setting the mode once more tries it anew."""
    before = exchange(bench)
    gates.fail("fdkn_x4", "the device has no memory left")
    assert bench.set_parameter("mode", "fdkn_x4") == ""
    sentence = "mode fdkn_x4 cannot be used, plain_x4 goes on: the device has no memory left"
    status = bench.status(lambda status: sentence in status.message, "a word on the mode")
    assert status.level == ERROR
    np.testing.assert_array_equal(exchange(bench), before)
    values = bench.counters()
    assert (values["mode"], values["model"], values["mode asked for"]) == ("plain_x4", "plain_x4", "fdkn_x4")
    bench.stop_listening()
    bench.status(lambda s: s.level == ERROR and s.message == f"{sentence}; idle: nobody listens", "both")
    bench.listen()
    bench.warm_up(image(RGB, "rgb8"), image(METRES, "32FC1"))
    assert "[ERROR]" in next(line for line in bench.node.output.splitlines() if sentence in line)
    gates.mend("fdkn_x4")
    assert bench.set_parameter("mode", "fdkn_x4") == ""
    status = wait_for_mode(bench, "fdkn_x4")
    assert "cannot be used" not in status.message
    bench.node.wait_for("no longer: mode fdkn_x4 cannot be used")


def test_it_ends_though_a_network_is_being_made(bench, gates):
    begin(bench, gates, "fdkn_x4")
    before = time.monotonic()
    assert bench.node.end() == 0, bench.node.output
    assert time.monotonic() - before < 10  # mostly of a machine that is busy
    assert "Traceback" not in bench.node.output
