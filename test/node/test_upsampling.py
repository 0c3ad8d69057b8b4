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

"""The change of models that keeps a rate, with networks that take their time."""

from __future__ import annotations

import dataclasses
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
from dkn import CheckpointError, Upsampler, checkpoint
from dkn.checkpoint import ModelInfo
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import build
from dkn_ros.parameters import Options
from dkn_ros.pipeline import target_rate
from dkn_ros.pipeline.target_rate import ENOUGH, SETTLING
from dkn_ros.upsampling import STARTUP_SCALE, Upsampling

SECONDS = {"a": 0.03, "a_small": 0.012, "a_tiny": 0.001, "b": 0.001}
COLOR, DEPTH = np.zeros((480, 640, 3), np.uint8), np.ones((6, 8), np.float32)


class Sleeper(Upsampler):
    """Gives nothing but its size, and says how long that took: what a clock says depends on what else runs here."""

    def __init__(self, name: str, options: Options):
        if name not in SECONDS:
            raise CheckpointError(f"no model {name!r}")
        super().__init__(name, device="cpu")
        self.name, self.max_depth = name, options.max_depth

    def __call__(self, color: np.ndarray, depth: np.ndarray) -> np.ndarray:
        self.seconds = SECONDS[self.name] * color.shape[0] * color.shape[1] / COLOR[..., 0].size
        time.sleep(self.seconds)
        return np.ones(color.shape[:2], np.float32)


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch) -> Iterator[Path]:
    monkeypatch.setenv("DKN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DKN_MODELS", str(tmp_path))
    for name, n in (("a", 32), ("a_small", 16), ("a_tiny", 8), ("b", 8)):
        config = NetworkConfig(widths=(4, 4, 4, 4), n1=n, n2=n)
        checkpoint.save(tmp_path / f"{name}.safetensors", build(config), ModelInfo(config, None, 10.0))
    made, initialise = [], Upsampling.__init__
    monkeypatch.setattr(Upsampling, "__init__", lambda new, *given: made.append(new) or initialise(new, *given))
    yield tmp_path
    for upsampling in made:
        upsampling.close()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def settle(upsampling: Upsampling) -> None:
    """Wait until nothing is made any more."""
    wait_until(lambda: upsampling._asked is None)


def run_one(upsampling: Upsampling) -> str:
    """One frame; the model that it came from."""
    upsampling(COLOR, DEPTH, 0.0)
    name = upsampling._latest.name
    upsampling.took(0.01, COLOR, DEPTH)
    return name


def apply(upsampling: Upsampling, options: Options) -> None:
    """Set options, and wait until they are in force."""
    upsampling.apply(options)
    settle(upsampling)


def run(upsampling: Upsampling, frames: int = 6 * (SETTLING + ENOUGH)) -> tuple[str, int]:
    """Some frames; the model and the decimation in use then."""
    for _ in range(frames):
        result = upsampling(COLOR, DEPTH, 0.0)
        upsampling.took(upsampling.upsampler.seconds, COLOR, DEPTH)
        settle(upsampling)
    assert result.shape == tuple(n // upsampling.decimation for n in COLOR.shape[:2])
    return upsampling.upsampler.name, upsampling.decimation


def make(**options) -> tuple[Upsampling, list[str]]:
    lines: list[str] = []
    return Upsampling(Options(mode="a", **options), Sleeper, lines.append), lines


def test_what_a_size_needs_is_made_before_frames_come(monkeypatch):
    scales = []
    monkeypatch.setattr(Sleeper, "warm_up", lambda _, scale: scales.append(scale))
    make()
    make(scale=4)
    assert scales == [STARTUP_SCALE, 4]


def test_the_average_over_time_is_of_what_comes_out(monkeypatch):
    depths = iter([1.0, 1.001, 1.001, 1.001])
    monkeypatch.setattr(Sleeper, "__call__", lambda *_: np.full(COLOR.shape[:2], next(depths), np.float32))
    upsampling, _ = make(temporal=0.5)
    assert upsampling(COLOR, DEPTH, 5.0)[0, 0] == 1
    assert 1 < upsampling(COLOR, DEPTH, 5.03)[0, 0] < np.float32(1.001)
    upsampling.apply(Options(mode="a", temporal=0.9))  # another weight begins anew
    assert upsampling(COLOR, DEPTH, 5.06)[0, 0] == np.float32(1.001)
    apply(upsampling, Options(mode="a"))
    assert upsampling(COLOR, DEPTH, 5.09)[0, 0] == np.float32(1.001)


def test_what_is_asked_of_a_result_is_asked_of_what_it_came_from(monkeypatch):
    """Though the mode was set between the two."""
    monkeypatch.setattr(Sleeper, "confidence", lambda upsampler, *_: upsampler.name)
    upsampling, _ = make()
    upsampling(COLOR, DEPTH, 0.0)
    apply(upsampling, Options(mode="b"))
    assert upsampling.confidence(COLOR[..., 0], DEPTH) == "a"
    upsampling(COLOR, DEPTH, 0.1)
    assert upsampling.confidence(COLOR[..., 0], DEPTH) == "b"


def test_colour_is_moved_onto_depth(monkeypatch):
    """A box, and colour that shows it 6 pixels to the right and 4 higher up."""
    depth = np.full((120, 160), 3, np.float32)
    depth[30:90, 40:100] = 1.5
    colors = {}
    for name, (x, y) in {"right": (0, 0), "beside": (6, -4)}.items():
        colors[name] = np.full((120, 160, 3), 200, np.uint8)
        colors[name][30 + y : 90 + y, 40 + x : 100 + x] = 50
    seen = []
    monkeypatch.setattr(Sleeper, "__call__", lambda _, color, depth: seen.append(color) or np.ones(color.shape[:2]))
    upsampling, _ = make()
    upsampling(colors["beside"], depth, 0.0)
    assert upsampling.values()["colour moved [px]"] == "-6, 4"
    apply(upsampling, Options(mode="a", align_color=False))
    upsampling(colors["beside"], depth, 0.1)
    assert "colour moved [px]" not in upsampling.values()
    apply(upsampling, Options(mode="a", align_color=True))
    upsampling(colors["right"], depth, 0.2)
    assert upsampling.values()["colour moved [px]"] == "0, 0"
    for color, name in zip(seen, ("right", "beside", "right"), strict=True):
        np.testing.assert_array_equal(color, colors[name])


def test_depth_out_of_range_does_not_move_colour(monkeypatch):
    """Stripes beyond max_depth, 7 pixels beside those of colour; a box that colour has in its place."""
    depth, color = np.full((480, 640), 3, np.float32), np.full((480, 640, 3), 200, np.uint8)
    depth[:, 300:], color[:, 300:] = 1.5, 50
    for x in range(40, 280, 20):
        depth[:, x] = 8
        color[:, x + 7 : x + 9] = 0
    monkeypatch.setattr(Sleeper, "__call__", lambda _, color, depth: np.ones(color.shape[:2], np.float32))
    for max_depth, expected in ((4.0, (0, 0)), (65.0, (-7, 0))):
        upsampling, _ = make(max_depth=max_depth)
        upsampling(color, depth, 0.0)
        assert upsampling.displacement == expected


def test_the_average_over_time_knows_what_was_measured(monkeypatch):
    """An output that jumps is averaged over a measurement that does not, and not over one that does."""
    depths = iter([1.0, 2.0, 1.0])
    monkeypatch.setattr(Sleeper, "__call__", lambda *_: np.full(COLOR.shape[:2], next(depths), np.float32))
    upsampling, _ = make(temporal=0.5)
    assert upsampling(COLOR, DEPTH, 5.0)[0, 0] == 1
    assert upsampling(COLOR, DEPTH, 5.03)[0, 0] == 1.5
    assert upsampling(COLOR, 2 * DEPTH, 5.06)[0, 0] == 1


def test_without_a_rate_the_mode_is_used():
    upsampling, lines = make(decimation=2)
    assert run(upsampling) == ("a", 2)
    assert not lines and upsampling.problem is None


def test_sizes_that_alternate_make_one_model_at_a_time(monkeypatch):
    """Two cameras on one topic, of which each has kept the rate by another model: the frames of one wait for no model,
    and no models pile up."""
    small = COLOR[::4, ::4]
    upsampling, _ = make(target_rate=50.0)
    assert run(upsampling) == ("a_small", 1)
    for _ in range(2 * (SETTLING + ENOUGH)):
        upsampling(small, DEPTH, 0.0)
        upsampling.took(upsampling.upsampler.seconds, small, DEPTH)
        settle(upsampling)
    making, at_once = [], []

    def slowly(name: str, options: Options) -> Upsampler:
        making.append(name)
        at_once.append(len(making))
        time.sleep(0.05)
        making.remove(name)
        return Sleeper(name, options)

    monkeypatch.setattr(upsampling, "_make", slowly)
    apply(upsampling, dataclasses.replace(upsampling._options, target_rate=49.0))
    for k in range(40):
        color = (COLOR, small)[k % 2]
        upsampling(color, DEPTH, 0.0)
        upsampling.took(upsampling.upsampler.seconds, color, DEPTH)
    settle(upsampling)
    assert set(at_once) == {1}
    assert run(upsampling) == ("a_small", 1)


def test_a_model_that_is_loaded_does_not_need_its_file(models):
    upsampling, _ = make(target_rate=50.0)
    assert run(upsampling) == ("a_small", 1)
    for file in models.glob("a*.safetensors"):
        file.unlink()
    result = upsampling(COLOR[:-8], DEPTH, 0.0)
    assert result.shape == COLOR[:-8].shape[:2]
    assert upsampling.behind(30, 18) is None


def test_a_rate_is_not_kept_only_while_frames_come(monkeypatch):
    upsampling, _ = make(target_rate=1000.0)
    run(upsampling)
    assert "is not kept" in upsampling.problem
    monkeypatch.setattr("dkn_ros.upsampling.RECENT", 0.0)
    assert upsampling.problem is None


def test_behind_a_camera_that_is_faster(models):
    upsampling, _ = make(decimation=2)
    assert upsampling.behind(30, 29) is None
    assert upsampling.behind(0, 0) is None
    assert upsampling.behind(30, 0) is None  # that is another fault, and said elsewhere
    expected = "a, decimation 2 answers 18 of 30 pairs a second, always the newest: target_rate: 30 takes a model"
    assert upsampling.behind(29.97, 18.1).startswith(expected)
    apply(upsampling, Options(mode="a", target_rate=30))
    assert upsampling.behind(30, 18) is None
    (models / "a_small.safetensors").unlink(), (models / "a_tiny.safetensors").unlink()
    assert make()[0].behind(30, 18).endswith(": a smaller model keeps up")


def test_the_largest_that_keeps_the_rate_is_used():
    upsampling, lines = make(target_rate=50.0)
    assert run(upsampling) == ("a_small", 1)
    assert len(lines) == 1 and "target_rate 50 Hz: a_small takes over from a, which takes 3" in lines[0]
    assert upsampling.problem is None
    assert upsampling.values()["target rate [Hz]"] == 50
    apply(upsampling, dataclasses.replace(upsampling._options, target_rate=0.0, max_depth=7.0))
    assert run(upsampling, 1) == ("a", 1) and upsampling.upsampler.max_depth == 7


def test_what_was_remembered_and_cannot_be_used_any_more(monkeypatch):
    upsampling, _ = make(target_rate=50.0)
    assert run(upsampling) == ("a_small", 1)
    monkeypatch.delitem(SECONDS, "a_small")
    again, _ = make(target_rate=50.0)
    assert run(again, 1) == ("a", 1) and again.unusable
    assert run(again) == ("a_tiny", 1) and again.problem is None


def test_it_begins_with_what_kept_the_rate_last_time():
    """Whatever size depth has; where colour has another, it is tried anew."""
    upsampling, _ = make(target_rate=50.0)
    assert upsampling.upsampler.name == "a"
    assert run(upsampling) == ("a_small", 1)
    again, lines = make(target_rate=50.0)
    assert again.upsampler.name == "a_small" and "begins with a_small" in lines[0]
    again(COLOR, DEPTH[:-1], 0.0)
    again.took(0.012, COLOR, DEPTH[:-1])
    assert again._asked is None and again.upsampler.name == "a_small"
    again(COLOR[:-8], DEPTH, 0.0)
    again.took(0.012, COLOR[:-8], DEPTH)
    settle(again)
    assert again.upsampler.name == "a"
    assert make()[0].upsampler.name == "a"  # no rate is asked for


def test_where_there_is_one_size_only(models):
    (models / "a_small.safetensors").unlink(), (models / "a_tiny.safetensors").unlink()
    upsampling, lines = make(target_rate=50.0)
    assert run(upsampling, SETTLING + ENOUGH + 2) == ("a", 1)
    assert not lines and "target_rate 50 Hz is not kept: a takes 3" in upsampling.problem


def test_decimation_comes_after_the_smaller_models(monkeypatch):
    monkeypatch.setitem(SECONDS, "a_tiny", 0.028)
    monkeypatch.setitem(SECONDS, "a_small", 0.029)
    upsampling, _ = make(target_rate=100.0, decimation=0)
    assert run(upsampling) == ("a", 2)


@pytest.mark.parametrize(("seconds", "then"), [(0.03, 3), (0.0001, 1)])
def test_a_large_image_is_tried_reduced_at_first(monkeypatch, seconds, then):
    """At full size it would take most memory, to no purpose where that is too slow; where it is not, it comes to it."""
    monkeypatch.setattr(target_rate, "CALM_S", 0.0)
    color, sizes = np.zeros((1080, 1920, 3), np.uint8), []
    monkeypatch.setitem(SECONDS, "a", seconds)
    monkeypatch.setattr(
        Sleeper, "__call__", lambda of, color, _: sizes.append(color.shape[:2]) or np.ones(sizes[-1], np.float32)
    )
    upsampling, _ = make(target_rate=15.0, decimation=0)
    for _ in range(4 * (SETTLING + ENOUGH)):
        upsampling(color, DEPTH, 0.0)
        upsampling.took(seconds * 9 / upsampling.decimation**2, color, DEPTH)
        settle(upsampling)
    assert sizes[0] == (360, 640)
    assert upsampling.decimation == then and ((1080, 1920) in sizes) == (then == 1)


def test_another_mode_and_one_that_cannot_be():
    upsampling, lines = make()
    with pytest.raises(CheckpointError):
        upsampling.apply(Options(mode="c"))
    assert run(upsampling, 1) == ("a", 1)
    apply(upsampling, Options(mode="b", decimation=4))
    assert run(upsampling, 1) == ("b", 4)
    assert lines == ["mode is now b"]


def test_a_mode_that_is_set_while_a_frame_of_a_new_size_begins(monkeypatch):
    """It is set on another thread, and counts as soon as the frame has begun."""
    upsampling, _ = make(target_rate=50.0)
    setting = threading.Thread(target=upsampling.apply, args=(Options(mode="b"),))

    def recall(*_: object) -> dict[str, float]:
        if setting.ident is None:
            setting.start()
            setting.join(0.2)
        return {}

    monkeypatch.setattr("dkn_ros.upsampling.recall", recall)
    upsampling(COLOR, DEPTH, 0.0)
    setting.join()
    assert run(upsampling, 1) == ("b", 1)
    assert "target rate [Hz]" not in upsampling.values()


def test_a_step_that_a_change_of_mode_overtakes_is_dropped(monkeypatch):
    upsampling, lines = make(target_rate=50.0)
    call, reached, go_on = Sleeper.__call__, threading.Event(), threading.Event()

    def wait(of: Sleeper, *images: np.ndarray) -> np.ndarray:
        if of.name == "a_small":
            reached.set()
            assert go_on.wait(10)
        return call(of, *images)

    monkeypatch.setattr(Sleeper, "__call__", wait)
    while not reached.is_set():
        upsampling(COLOR, DEPTH, 0.0)
        upsampling.took(upsampling.upsampler.seconds, COLOR, DEPTH)
    upsampling.apply(Options(mode="b"))
    go_on.set()
    settle(upsampling)
    assert upsampling.upsampler.name == "b"
    assert lines == ["mode is now b"]


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize("error", [CheckpointError("damaged"), MemoryError()])
def test_a_model_that_cannot_be_used_is_passed_over(monkeypatch, remembered, error):
    """Tried once with frames, and said once; those below it are tried."""
    if remembered:
        assert run(make(target_rate=50.0)[0]) == ("a_small", 1)
    tried, lines = [], []

    def refuse(name: str, options: Options) -> Upsampler:
        if name == "a_small":
            tried.append(name)
            raise error
        return Sleeper(name, options)

    upsampling = Upsampling(Options(mode="a", target_rate=50.0), refuse, lines.append)
    assert run(upsampling) == ("a_tiny", 1)
    assert len(tried) == 1 + remembered  # at the start too
    reason = str(error) or "MemoryError"
    assert upsampling.unusable == f"a_small cannot keep target_rate, since it cannot be used: {reason}"
    assert len(lines) == 1 and "a_tiny takes over from a" in lines[0]
    apply(upsampling, dataclasses.replace(upsampling._options, target_rate=20.0))
    assert run(upsampling) == ("a", 1) and not upsampling.unusable


class Gate:
    """Stands before what makes the models of an `Upsampling`, one at a time, until it is opened."""

    def __init__(self, upsampling: Upsampling, monkeypatch: pytest.MonkeyPatch):
        self._make, self._lock, self._open = upsampling._make, threading.Lock(), threading.Event()
        self.begun, self.made, self.alive = threading.Event(), [], weakref.WeakSet()
        monkeypatch.setattr(upsampling, "_make", self)

    def open(self) -> None:
        self._open.set()

    def __call__(self, name: str, options: Options) -> Upsampler:
        assert self._lock.acquire(blocking=False), "two are made at once"
        try:
            self.begun.set()
            assert self._open.wait(30)
            self.made.append(name)
            upsampler = self._make(name, options)
            self.alive.add(upsampler)
            return upsampler
        finally:
            self._lock.release()


def test_an_option_that_changes_while_a_model_is_made(monkeypatch):
    """The model is used all the same, with the option as it is by then."""
    assert run(make(target_rate=50.0)[0]) == ("a_small", 1)
    upsampling, lines = make()
    gate = Gate(upsampling, monkeypatch)
    upsampling.apply(Options(mode="a", target_rate=51.0))
    assert gate.begun.wait(30)
    upsampling.apply(Options(mode="a", target_rate=51.0, max_depth=7.0))
    gate.open()
    settle(upsampling)
    assert gate.made == ["a_small"]  # at once what kept the rate
    assert upsampling.upsampler.name == "a_small" and upsampling.upsampler.max_depth == 7
    assert lines == ["target_rate 51 Hz: begins with a_small"]


def test_of_two_modes_the_last_wins_and_of_the_others_nothing_stays(monkeypatch):
    upsampling, lines = make()
    first = weakref.ref(upsampling.upsampler)
    gate = Gate(upsampling, monkeypatch)
    for mode in ("b", "a_small", "a_tiny", "a_small", "b", "a_tiny"):
        upsampling.apply(Options(mode=mode))
        assert gate.begun.wait(30)
        assert upsampling.is_busy
        assert run_one(upsampling) == "a"  # which goes on meanwhile
        assert upsampling.values()["mode"] == "a" and upsampling.values()["mode asked for"] == mode
    gate.open()
    settle(upsampling)
    assert gate.made == ["b", "a_tiny"]
    assert upsampling.mode == upsampling.upsampler.name == "a_tiny"
    assert "mode asked for" not in upsampling.values()
    assert lines == ["mode is now a_tiny"]

    def gone() -> bool:
        gc.collect()
        return set(gate.alive) == {upsampling.upsampler} and first() is None

    wait_until(gone)


def test_back_to_the_mode_in_force_while_another_is_made(monkeypatch):
    upsampling, lines = make()
    in_force = upsampling.upsampler
    gate = Gate(upsampling, monkeypatch)
    upsampling.apply(Options(mode="b"))
    assert gate.begun.wait(30)
    upsampling.apply(Options(mode="a", decimation=2))
    assert run_one(upsampling) == "a" and upsampling.decimation == 2  # at once
    gate.open()
    settle(upsampling)
    assert gate.made == ["b"] and upsampling.upsampler is in_force and upsampling.decimation == 2
    assert not lines and not upsampling.failure


def test_a_mode_that_cannot_be_made_leaves_the_one_in_force(monkeypatch):
    """And is tried anew when it is set once more. What else is set counts meanwhile."""
    upsampling, lines = make()
    errors = [RuntimeError("no memory is left\nand more"), SystemExit("a library that ends the program"), None]

    def refuse(name: str, options: Options) -> Upsampler:
        if (error := errors[0]) is not None:
            raise error
        return Sleeper(name, options)

    monkeypatch.setattr(upsampling, "_make", refuse)
    apply(upsampling, Options(mode="b"))
    assert upsampling.failure == "mode b cannot be used, a goes on: no memory is left"
    assert upsampling.values()["mode"] == "a" and upsampling.values()["mode asked for"] == "b"
    del errors[0]
    apply(upsampling, Options(mode="b", max_depth=7.0))  # which makes nothing
    assert "no memory" in upsampling.failure and upsampling.upsampler.max_depth == 7
    upsampling.apply(Options(mode="b", max_depth=7.0), retry=True)
    wait_until(lambda: "ends the program" in upsampling.failure)
    assert run_one(upsampling) == "a"
    del errors[0]
    upsampling.apply(Options(mode="b", max_depth=7.0), retry=True)
    settle(upsampling)
    assert not upsampling.failure and run_one(upsampling) == "b" and upsampling.upsampler.max_depth == 7
    assert lines == ["mode is now b"]
    upsampling.apply(Options(mode="b", max_depth=7.0), retry=True)
    assert upsampling._asked is None  # it is in force


def test_a_rate_is_kept_by_the_family_in_force_while_another_cannot_be_made(monkeypatch):
    upsampling, _ = make(target_rate=50.0)

    def refuse(name: str, options: Options) -> Upsampler:
        if name == "b":
            raise MemoryError
        return Sleeper(name, options)

    monkeypatch.setattr(upsampling, "_make", refuse)
    apply(upsampling, Options(mode="b", target_rate=50.0))
    assert upsampling.failure == "mode b cannot be used, a goes on: MemoryError"
    assert run(upsampling) == ("a_small", 1)
    apply(upsampling, Options(mode="a", target_rate=50.0))
    assert not upsampling.failure and run(upsampling, 1) == ("a_small", 1)


def test_closed_while_a_model_is_made(monkeypatch):
    """It is not waited for, and does not take over when it comes."""
    upsampling, lines = make()
    gate = Gate(upsampling, monkeypatch)
    upsampling.apply(Options(mode="b"))
    assert gate.begun.wait(30)
    before = time.monotonic()
    upsampling.close()
    assert time.monotonic() - before < 2
    gate.open()
    wait_until(lambda: not upsampling._maker._thread.is_alive())
    assert gate.made == ["b"] and upsampling.upsampler.name == "a" and not lines


def test_what_kept_the_rate_is_remembered():
    upsampling, _ = make(target_rate=50.0)
    assert run(upsampling) == ("a_small", 1)
    again, lines = make(target_rate=50.0)
    assert run(again, 2) == ("a_small", 1)
    assert lines == ["target_rate 50 Hz: begins with a_small"]
    other, _ = make(target_rate=10.0)
    assert run(other, 2) == ("a", 1)


def test_a_dkn_says_what_it_costs(tmp_path, make_model, monkeypatch):
    monkeypatch.setenv("DKN_MODELS", str(tmp_path))
    for name, architecture, rmse in (("dkn_x8", "dkn", 2.4), ("fdkn_sensor", "fdkn", {"8x bicubic": 3.0})):
        config = NetworkConfig(architecture, n1=8, n2=8)
        network = build(config)
        info = ModelInfo(config, 8 if architecture == "dkn" else None, 10.0, {"test_rmse_cm": rmse})
        checkpoint.save(tmp_path / f"{name}.safetensors", network, info)
    lines: list[str] = []
    upsampling = Upsampling(Options(mode="dkn"), lambda name, _: Upsampler(name, device="cpu"), lines.append)
    (found,) = lines
    assert "20 % smaller (2.40 cm, 3.00 cm" in found
    ratio = int(found.split(" takes ")[1].split()[0])
    assert 10 < ratio < 60  # 16 passes in place of one, of more layers
    apply(upsampling, Options(mode="fdkn_sensor"))
    assert lines[1:] == ["mode is now fdkn_sensor"]
    (tmp_path / "fdkn_sensor.safetensors").unlink()
    apply(upsampling, Options(mode="dkn"))
    assert lines[2:] == ["mode is now dkn"]  # there is nothing to compare it with
