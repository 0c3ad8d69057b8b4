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

"""Engines timed beside the one that serves: the fastest takes over, and is remembered."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_cases import images

from dkn.engines import Choice, Engine, Runner, candidates, registry
from dkn.engines.selection import autotuning, memory
from dkn.engines.selection.autotuning import FRAMES, OUTDONE, PIXELS, TIE, _middle, fastest, subject
from dkn.engines.selection.memory import last_size, recall, remember
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import build
from dkn.networks.weights import Weights
from dkn.utils.device import CPU, Device

SIZE = 8, 12  # H, W
CONFIG = NetworkConfig()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("DKN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(autotuning, "FRAMES", FRAMES)
    return tmp_path / "cache" / "engines.json"


class Sleeper(Engine):
    """Takes as long as its name says, and does what a network whose weights are all zero does: nothing."""

    def __init__(self, choice: Choice):
        super().__init__(idle_network(), CPU, choice.precision)
        self.choice, self.calls = choice, 0

    def __call__(self, color: np.ndarray, depth: np.ndarray) -> np.ndarray:
        self.calls += 1
        if self.choice.name == "broken" and color.shape[1:3] == SIZE:
            raise RuntimeError("not at this size")
        if self.choice.name == "wrong":
            return depth + 1
        time.sleep({"slow": 0.05, "quick": 0.01}.get(self.choice.name, 0.0))
        return depth.copy()

    def __str__(self) -> str:
        return str(self.choice)


def idle_network() -> Weights:
    network = build(CONFIG).eval()
    for parameter in network.parameters():
        parameter.data.zero_()
    return Weights.of(network)


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """Names of the engines that were made."""
    names: list[str] = []

    def make(choice: Choice, network) -> Engine:
        names.append(choice.name)
        return Sleeper(choice)

    monkeypatch.setattr(Choice, "make", make)
    return names


def choices(*names: str) -> list[Choice]:
    return [Choice(name, CPU, "fp32") for name in names]


def run(runner: Runner, frames: int, size: tuple[int, int] = SIZE) -> None:
    color, depth = images(1, *size)
    for _ in range(frames):
        torch.testing.assert_close(runner(color, depth), depth)
    runner.autotuner.wait()


def test_the_fastest_takes_over_and_is_remembered(made, cache):
    candidates = choices("slow", "wrong", "broken", "quick")
    runner = Runner(idle_network(), candidates, candidates)
    assert runner.engine.choice.name == "slow"
    run(runner, FRAMES - 1)
    assert runner.engine.choice.name == "slow" and made == ["slow"]  # too few to be worth it
    run(runner, 1)
    assert runner.engine.choice.name == "quick"
    assert set(runner.autotuner.times) == {"slow (cpu, fp32)", "quick (cpu, fp32)"}
    assert runner.autotuner.times["slow (cpu, fp32)"] >= 50
    compared = subject(CONFIG, candidates)
    assert recall(compared, SIZE) == recall(compared) == runner.autotuner.times
    made.clear()
    again = Runner(idle_network(), candidates, candidates)
    assert again.engine.choice.name == "quick" and made == ["quick"]
    run(again, FRAMES)
    assert again.engine.choice.name == "quick" and made == ["quick"]  # nothing was measured


def test_what_was_far_slower_for_another_network_is_not_made(made):
    """For one that was as good there, and for one that was never there, it is."""
    other = {"slow (cpu, fp32)": 1.0, "quick (cpu, bf16)": OUTDONE + 0.1, "fine (cpu, fp32)": OUTDONE - 0.1}
    remember(NetworkConfig(n1=16), SIZE, other)
    candidates = [Choice("quick", CPU, "bf16"), *choices("slow", "fine", "new")]
    runner = Runner(idle_network(), choices("slow"), candidates)
    run(runner, FRAMES)
    assert set(made) == {"slow", "fine", "new"} == {name.split()[0] for name in runner.autotuner.times}
    made.clear()
    remember(NetworkConfig(n1=16), (99, 99), {"slow (cpu, fp32)": 1.0, "quick (cpu, bf16)": 1.0})
    run(runner, FRAMES, (16, 24))
    assert "quick" in made  # it was not slow everywhere


def test_more_digits_are_not_tried_of_a_runtime_that_is_slow_with_few(made):
    """Unless it is not much slower."""
    few = [Choice(*of) for of in (("slow", CPU, "fp32"), ("slow", CPU, "int8"), ("quick", CPU, "fp32"))]
    few.append(Choice("quick", CPU, "bf16"))
    runner = Runner(idle_network(), choices("instant"), [*choices("instant"), *few])
    run(runner, FRAMES)
    assert made == ["instant", "slow", "quick"]
    near = [Choice("quick", CPU, precision) for precision in ("fp32", "int8")]
    runner = Runner(idle_network(), near[1:], near)
    run(runner, FRAMES, (16, 24))
    assert set(runner.autotuner.times) == {"quick (cpu, int8)", "quick (cpu, fp32)"}


def test_a_runtime_is_not_tried_where_usually_faster_ones_are_slow(made):
    """Of as many digits: PyTorch would take most memory of all, to no purpose. With more digits neither."""
    later = [Choice("quick", CPU, precision) for precision in ("fp32", "int8")]
    runner = Runner(idle_network(), choices("instant"), [*choices("instant"), Choice("slow", CPU, "int8"), *later])
    run(runner, FRAMES)
    assert made == ["instant", "slow"]
    made.clear()
    runner = Runner(idle_network(), [Choice("slow", CPU, "int8")], [Choice("slow", CPU, "int8"), *later])
    run(runner, FRAMES, (16, 24))
    assert runner.engine.choice.name == "quick"  # where the other is only the slower of the two


def test_each_size_has_its_own(made):
    candidates = choices("slow", "quick")
    compared = subject(CONFIG, candidates)
    remember(compared, (16, 16), {"slow (cpu, fp32)": 1.0, "quick (cpu, fp32)": 2.0})
    runner = Runner(idle_network(), candidates, candidates)
    run(runner, FRAMES)
    assert runner.engine.choice.name == "quick"
    run(runner, FRAMES, (16, 16))
    assert runner.engine.choice.name == "slow"
    assert runner.autotuner.times == recall(compared, (16, 16)) != recall(compared, SIZE)


def test_what_was_remembered_from_a_slow_hour_is_measured_again(made):
    """What serves is far faster now; where it is slower, more runs beside it today."""
    candidates = choices("slow", "quick")
    compared = subject(CONFIG, candidates)
    for slow, quick in ((60.0, 61.0), (1.0, 2.0)):  # 50 ms are not far from 60
        remember(compared, SIZE, {"slow (cpu, fp32)": slow, "quick (cpu, fp32)": quick})
        runner = Runner(idle_network(), candidates, candidates)
        run(runner, FRAMES)
        assert runner.engine.choice.name == "slow" and "quick" not in made
    remember(compared, SIZE, {"slow (cpu, fp32)": 500.0, "quick (cpu, fp32)": 501.0})
    runner = Runner(idle_network(), candidates, candidates)
    run(runner, FRAMES)
    assert runner.engine.choice.name == "quick"
    assert recall(compared, SIZE) == runner.autotuner.times
    assert runner.autotuner.times["slow (cpu, fp32)"] < 100


def test_what_failed_in_mid_run_does_not_take_over_again(made):
    """It did whenever the size changed, until no engine was left and every frame was lost."""
    all_of_them = choices("broken", "slow", "quick")
    runner = Runner(idle_network(), all_of_them, all_of_them)
    run(runner, FRAMES, (16, 24))
    assert runner.engine.choice.name == "broken"
    for _ in range(3):
        run(runner, FRAMES)
        run(runner, FRAMES, (16, 24))
        assert runner.engine.choice.name == "quick"
    assert made.count("broken") == 1
    assert runner.failure == "engine broken (cpu, fp32) failed, going on with slow (cpu, fp32): not at this size"


def test_where_the_fastest_fails_the_one_before_it_goes_on(made):
    runner = Runner(idle_network(), choices("slow"), choices("slow", "broken"))
    run(runner, FRAMES, (16, 24))
    assert runner.engine.choice.name == "broken"
    run(runner, 1)
    assert runner.engine.choice.name == "slow"


def test_no_frame_waits_for_the_times_of_another_size(made, monkeypatch):
    candidates, done = choices("slow", "quick"), threading.Event()
    runner = Runner(idle_network(), candidates, candidates)
    make = runner.autotuner._make
    monkeypatch.setattr(runner.autotuner, "_make", lambda choice: done.wait(60) and make(choice))
    color, depth = images(1, *SIZE)
    for _ in range(FRAMES):
        runner(color, depth)
    color, depth = images(1, 16, 24)
    for _ in range(2 * FRAMES):
        runner(color, depth)  # while the other engine is being made
    assert runner.autotuner.under_way and not runner.autotuner.times
    done.set()
    runner.autotuner.wait()
    run(runner, 1, (16, 24))
    assert all(recall(runner.autotuner.subject, size) for size in (SIZE, (16, 24)))


def test_without_candidates_nothing_is_measured(made, cache):
    runner = Runner(idle_network(), choices("slow"))
    runner.warm_up()
    run(runner, FRAMES + 1)
    assert made == ["slow"] and not cache.exists()


def test_what_is_remembered_of_other_engines_does_not_count(made):
    """A run that was told to take one precision has not seen the others."""
    few, candidates = choices("slow", "wrong"), choices("slow", "wrong", "quick")
    run(Runner(idle_network(), few, few), FRAMES)
    assert recall(subject(CONFIG, few), SIZE)
    runner = Runner(idle_network(), candidates, candidates)
    assert runner.engine.choice.name == "slow"
    run(runner, FRAMES)
    assert runner.engine.choice.name == "quick"


def test_what_an_engine_builds_for_a_size_is_there_before_the_first_frame(made):
    candidates = choices("slow", "quick")
    fresh = Runner(idle_network(), candidates, candidates)
    fresh.warm_up()
    assert fresh.engine.calls == 1  # its check; nothing is known of sizes
    for size in ((16, 24), SIZE):
        run(fresh, FRAMES, size)
    runner, sizes = Runner(idle_network(), candidates, candidates), []
    assert last_size(runner.autotuner.subject) == SIZE
    call = runner.engine.__class__.__call__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sleeper, "__call__", lambda engine, *of: sizes.append(of[0].shape[1:3]) or call(engine, *of))
        runner.warm_up()
    assert sizes == [SIZE]


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"a": 3}', '{"a": {"8x8": {"x": "y"}}}', "\x00"])
def test_a_damaged_file_is_no_error(cache, content):
    cache.parent.mkdir()
    cache.write_text(content)
    assert recall(CONFIG) == {}
    remember(CONFIG, SIZE, {"a": 1.0})
    assert recall(CONFIG, SIZE) == {"a": 1.0}


@pytest.mark.parametrize("ms", ["NaN", "-1", "0", "Infinity", "1" + 400 * "0"])
def test_times_that_are_none_are_no_error(made, cache, ms):
    """A network could not be loaded, and the node not start, until somebody removed the file."""
    compared = subject(CONFIG, choices("slow", "quick"))
    remember(compared, SIZE, {"quick (cpu, fp32)": 1.25, "slow (cpu, fp32)": 2.0})
    cache.write_text(cache.read_text().replace("1.25", ms))
    runner = Runner(idle_network(), choices("slow"), choices("slow", "quick"))
    run(runner, FRAMES)
    assert runner.engine.choice.name == "quick"
    assert recall(compared, SIZE) == runner.autotuner.times


@pytest.mark.parametrize("size", ["0x0", "-3x4", "99999999x99999999", "640", "640x480x3", "axb", ""])
def test_one_damaged_entry_costs_no_other(cache, size):
    remember("one", (480, 640), {"a": 1.0})
    remember("two", (480, 640), {"b": 2.0})
    found = json.loads(cache.read_text())
    found[next(key for key in found if key.endswith("one"))][size] = {"a": 3.0}
    cache.write_text(json.dumps(found))
    assert last_size("one") == (480, 640) and recall("one") == {"a": 1.0}
    remember("three", (480, 640), {"c": 3.0})
    assert recall("two") == {"b": 2.0}


def test_an_engine_that_there_is_not_is_not_waited_for(made, cache):
    candidates = choices("slow", "quick")
    remember(subject(CONFIG, candidates), SIZE, {"warp (cpu, int1)": 0.001})
    runner = Runner(idle_network(), candidates, candidates)
    assert not runner.autotuner.times
    run(runner, FRAMES)
    assert runner.engine.choice.name == "quick"
    assert set(runner.autotuner.times) == {"slow (cpu, fp32)", "quick (cpu, fp32)"}


def test_what_cannot_be_written_leaves_nothing_behind(cache):
    cache.mkdir(parents=True)  # where a file should be
    remember(CONFIG, SIZE, {"a": 1.0})
    assert list(cache.parent.iterdir()) == [cache]


def test_a_home_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DKN_CACHE", str(tmp_path / "file" / "cache"))  # no folder, for root neither
    remember(CONFIG, SIZE, {"a": 1.0})
    assert recall(CONFIG, SIZE) == {}


def test_another_network_or_number_of_threads_is_another_entry(cache):
    remember(CONFIG, SIZE, {"a": 1.0})
    assert recall(NetworkConfig(n1=64), SIZE) == {}
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        assert recall(CONFIG, SIZE) == {}
    finally:
        torch.set_num_threads(before)
    assert recall(CONFIG, (9, 12)) == {}
    remember(CONFIG, (9, 12), {"b": 1.0})
    assert list(recall(CONFIG)) == ["b"] and recall(CONFIG, SIZE) == {"a": 1.0}
    assert all("threads" in key for key in json.loads(cache.read_text()))


def test_the_file_stays_small(cache, monkeypatch):
    monkeypatch.setattr(memory, "KEPT", 3)
    for n in range(8, 13):
        remember(NetworkConfig(n1=n), SIZE, {"a": 1.0})
    assert len(json.loads(cache.read_text())) == 3
    assert recall(NetworkConfig(n1=12), SIZE) and not recall(NetworkConfig(n1=8), SIZE)
    assert [path.name for path in cache.parent.iterdir()] == ["engines.json"]


def test_as_fast_and_more_precise_is_better():
    assert fastest({"a (cpu, int8)": 10.0, "b (cpu, fp32)": 10.0 * TIE, "c (cpu, bf16)": 10.1}) == "b (cpu, fp32)"
    assert fastest({"a (cpu, int8)": 10.0, "b (cpu, fp32)": 10.1 * TIE}) == "a (cpu, int8)"


def test_the_middle_of_a_large_image():
    color, depth = images(1, 1080, 1920)
    some_color, some_depth = _middle(color, depth)
    assert some_color.shape[1:3] == some_depth.shape[2:]
    assert abs(some_depth.size / PIXELS - 1) < 0.01
    top, left = (1080 - some_color.shape[1]) // 2, (1920 - some_color.shape[2]) // 2
    assert np.array_equal(some_color[0, 0, 0], color[0, top, left])
    assert np.array_equal(_middle(*images(1, 8, 9))[1], images(1, 8, 9)[1])


def test_candidates(monkeypatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: object())
    for bf16 in (True, False):
        monkeypatch.setattr(registry, "has_native_bf16", lambda bf16=bf16: bf16)
        found = {(c.name, c.precision) for c in candidates(CPU)}
        assert {("openvino", "int8"), ("openvino", "fp32"), ("onnx", "fp32"), ("onnx", "int8")} <= found
        assert (("openvino", "bf16") in found) is bf16
        assert {name for name, _ in found} == {"openvino", "onnx"}
    assert {c.precision for c in candidates(CPU, precision="int8")} == {"int8"}
    assert {c.name for c in candidates(CPU, "onnx")} == {"onnx"}
    assert candidates(CPU, "onnx", "fp32") == candidates(Device("cuda")) == []
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: object() if name == "torch" else None)
    assert {(c.name, c.precision) for c in candidates(CPU)} == {("torch", "fp32")}


PROGRAM = """
import numpy as np
from dkn import Upsampler

upsampler = Upsampler("fdkn_sensor_tiny", device="cpu")
for _ in range({frames}):
    upsampler(np.zeros((64, 96, 3), np.uint8), np.ones((8, 12), np.float32))
"""


def test_a_program_may_end_while_engines_are_timed():
    """It died of SIGABRT, in a runtime that was in the middle of its work."""
    program = [sys.executable, "-c", PROGRAM.format(frames=autotuning.FRAMES)]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stderr) == (0, "")
