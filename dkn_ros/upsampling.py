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

"""The networks of the node: the one in use, and the change to another one, which is made beside it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from dkn import CheckpointError, Upsampler, checkpoint
from dkn.checkpoint import DEFAULT_MODEL, ModelInfo, family, find_model
from dkn.depth.alignment import ColorAlignment, Displacement
from dkn.depth.grid import reduce_color
from dkn.depth.temporal import TemporalFilter
from dkn.engines.folding import flops
from dkn.engines.selection.memory import last_size, recall, remember
from dkn_ros.parameters import Options
from dkn_ros.pipeline.target_rate import Step, TargetRate
from dkn_ros.pipeline.worker import Worker

STARTUP_SCALE = 8  # model of a family that is loaded before the first frame tells the scale
DECIMATIONS = (1, 2, 3, 4)  # that are tried for a rate
AT_FIRST = 640 * 480  # pixels of colour that a rate is tried with at first, if it may be reduced
LEAST_WIDTH = 320  # pixels that colour keeps, whatever the rate
RECENT = 2.0  # seconds without a frame, after which nothing is said of how long they take
BEHIND = 0.8  # share of the pairs that are answered, below which it is worth a word
IDLE_END = 0.5  # seconds in which a thread ends that has nothing to do
FIXED_COST = 1e6  # what a frame costs for each pixel beside the weights, in bytes of weights: measured, roughly

Sizes = tuple[tuple[int, ...], tuple[int, ...]]


def cost_of_dkn(upsampler: Upsampler, scale: float) -> str | None:
    """What a DKN costs, and gains or loses, against the node's default, in a sentence: by its operations, and by the
    errors that its file and the default's were tested with. None for another network, or without the default."""
    loaded = upsampler.load(scale)
    if loaded.info.network.architecture != "dkn":
        return None
    try:
        usual, usual_info = checkpoint.read(find_model(DEFAULT_MODEL, scale))
    except CheckpointError:
        return None
    ratio = flops(loaded.run.weights, (640, 480)) / flops(usual, (640, 480))
    words = [f"{loaded.path.stem} takes {ratio:.0f} times the operations of {DEFAULT_MODEL}"]
    ours, theirs = (_tested(model) for model in (loaded.info, usual_info))
    if ours and theirs:
        difference = ours / theirs - 1
        share = f"{100 * abs(difference):.0f} % {'larger' if difference > 0 else 'smaller'}"
        figures = f"{ours:.2f} cm, {theirs:.2f} cm, NYU v2, 8x"
        words.append(f"its RMSE on depth that was averaged down is {share} ({figures})")
    return "; ".join(words)


def _tested(info: ModelInfo) -> float | None:
    """RMSE in cm at 8×, bicubic input, as the trainer noted it in a model's file."""
    found = info.training.get("test_rmse_cm")
    found = found.get("8x bicubic") if isinstance(found, dict) else found if info.scale == STARTUP_SCALE else None
    return float(found) if found else None


def _family(options: Options) -> dict[str, int]:
    """Bytes of the models of `mode`'s family by name, the largest first. Looked at once: what happens to the files
    later harms no model that is loaded.

    Raises:
        CheckpointError: there is no such model.
    """
    scale = options.scale or STARTUP_SCALE
    return {name: find_model(name, scale).stat().st_size for name in family(options.mode)}


def _check(options: Options) -> None:
    """Read the model's file, which takes some 20 ms; to make an engine of it takes seconds.

    Raises:
        CheckpointError: there is no such model, or it is damaged.
    """
    checkpoint.read(find_model(options.mode, options.scale or STARTUP_SCALE))


def _subject(mode: str, depth: np.ndarray | None = None) -> str:
    """What the times of steps are kept under: for depth of its size, or for what came last."""
    size = "" if depth is None else f", depth {depth.shape[1]}x{depth.shape[0]}"
    return f"frames of {mode}{size}"


def _target_rate(
    options: Options, models: Mapping[str, int], size: tuple[int, int], depth: np.ndarray | None
) -> TargetRate:
    """With the steps of a family (bytes by model) for colour of a size (H, W), and what is known of their times with
    such depth or, since its size changes little, with what came last.

    Where nothing is known, large images are tried reduced: if the rate leaves room for more, that shows, and full
    HD tried at full size takes most memory for what most computers cannot do.
    """
    height, width = size
    times = recall(_subject(options.mode, depth), size) or recall(_subject(options.mode), size)
    decimations = (options.decimation,) if options.decimation else DECIMATIONS
    costs = {}
    for decimation in decimations:
        if decimation > 1 and not options.decimation and width < decimation * LEAST_WIDTH:
            continue
        for model, weights in models.items():
            costs[Step(model, decimation)] = (weights + FIXED_COST) / decimation**2
    known = {step: times[str(step)] / 1e3 for step in costs if str(step) in times}
    most = max(step.decimation for step in costs)
    first = next(s for s in costs if s.decimation == most or height * width <= AT_FIRST * s.decimation**2)
    return TargetRate(options.target_rate, costs, known, first)


def _own(options: Options) -> Step:
    """The mode's own model."""
    return Step(options.mode, options.decimation or 1)


@dataclass(frozen=True)
class _Change:
    """What is to be made beside the frames: what `options` ask for or, with a `target`, the `step` that it asks for."""

    options: Options
    step: Step | None = None
    target: TargetRate | None = None


class Upsampling:
    """Colour and depth in, depth out, at the rate that is asked for, as far as models that are there can do that.

    Networks are made on a thread of their own, one at a time, and the newest change wins; the one in use goes on
    meanwhile, and where the other cannot be made.

    Args:
        options: mode, target_rate, decimation, scale and what an `Upsampler` takes.
        make: an Upsampler of a model's name.
        log: called with a sentence on each change.

    Raises:
        ConfigError, CheckpointError: as `Upsampler`.
    """

    def __init__(self, options: Options, make: Callable[[str, Options], Upsampler], log: Callable[[str], object]):
        self._make, self._log = make, log
        # The executor sets options, the worker begins with new sizes, a thread brings another network: one at a time.
        self._lock = threading.RLock()
        self._options = options
        self._frame: tuple[np.ndarray, np.ndarray] | None = None  # colour and depth of the latest
        self._family, step, upsampler = self._first(options)
        self._current = step, upsampler
        self.mode = options.mode
        """In force: behind that of the options while another is made, and where that cannot be."""
        self.failure = ""
        """Why the mode that is asked for cannot be used; empty if it is in force, or still being made."""
        self._alignment = ColorAlignment() if options.align_color else None
        self._temporal = TemporalFilter(options.temporal)
        self.displacement: Displacement = (0, 0)
        """(x, y) pixels of the latest result that colour was moved by to lie on depth."""
        self.color = np.empty((0, 0, 3), np.uint8)
        """(H, W, 3) uint8 RGB of the latest result's size, before it was moved."""
        self._latest: Upsampler | None = None  # what that result came from, while its frame is at work
        self._sizes: Sizes | None = None
        self._target: TargetRate | None = None
        self._took_s = -math.inf  # when the latest frame was done
        self._kept: set[Step] = set()  # steps whose times are remembered
        self.unusable = ""
        """Which step towards `target_rate` cannot be used, and why; empty if none was found to be so."""
        self._asked: _Change | None = None  # the newest, until it is in force or has failed
        self._at_work: _Change | None = None  # the one that the thread began last
        self._log_first(options, self._current[0])
        self._log_cost()
        self._maker = Worker(self._carry_out, self._on_error, "model")

    def close(self) -> None:
        """End the thread, without waiting for what is being made."""
        with self._lock:
            self._asked = None  # nothing takes over any more
        self._maker.close(timeout_s=IDLE_END)

    def _first(
        self, options: Options, current: tuple[Step, Upsampler] | None = None
    ) -> tuple[dict[str, int], Step, Upsampler]:
        """The mode's family, and of it what `target_rate` is tried with at first: what kept it last time on this
        computer, if that is known; without a rate, or before the first size is known, the mode's own model.

        Args:
            current: in use, if something is.
        """
        own, size = _own(options), self._frame[0].shape[:2] if self._frame else last_size(_subject(options.mode))
        if options.target_rate and size:
            with suppress(Exception):  # whatever it is, the first frame finds it again, and says it
                models = _family(options)
                step = _target_rate(options, models, size, self._frame and self._frame[1]).step
                if step != own:
                    return models, step, self._ready(step, options, current)
        upsampler = self._ready(own, options, current)
        return _family(options), own, upsampler  # the family last: a model that cannot be is told before

    def _ready(self, step: Step, options: Options, current: tuple[Step, Upsampler] | None) -> Upsampler:
        """What a step needs, warmed up: by the latest frame, if there was one."""
        before, upsampler = current or (None, None)
        if upsampler is None or before is None or before.model != step.model:
            upsampler = self._make(step.model, options)
        elif before == step:
            return upsampler
        if self._frame is None:
            upsampler.warm_up(options.scale or STARTUP_SCALE)
        else:
            color, depth = self._frame
            upsampler(reduce_color(color, step.decimation), depth)
        return upsampler

    def _log_first(self, options: Options, step: Step) -> None:
        if step != _own(options):
            self._log(f"target_rate {options.target_rate:g} Hz: begins with {step}")

    def _log_cost(self) -> None:
        if sentence := cost_of_dkn(self.upsampler, self._options.scale or STARTUP_SCALE):
            self._log(sentence)

    @property
    def upsampler(self) -> Upsampler:
        """In use."""
        return self._current[1]

    @property
    def decimation(self) -> int:
        """In use."""
        return self._current[0].decimation

    def confidence(self, result: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Of the latest result (`Upsampler.confidence`)."""
        return (self._latest or self.upsampler).confidence(result, depth)

    @property
    def problem(self) -> str | None:
        """That the rate is not kept, if so, by the latest frames; None where the latest is long ago."""
        target = self._target
        if target is None or target.kept or target.seconds is None or time.monotonic() - self._took_s > RECENT:
            return None
        return (
            f"target_rate {self._options.target_rate:g} Hz is not kept: "
            f"{target.step} takes {1e3 * target.seconds:.0f} ms a frame"
        )

    def behind(self, matched_hz: float, published_hz: float) -> str | None:
        """That no rate is asked for and the camera is faster than the model, if so: that is how it should be where the
        best depth counts, but may not be known.

        Args:
            matched_hz, published_hz: pairs a second that were found, and that were answered.
        """
        if self._options.target_rate or not 0 < published_hz < BEHIND * matched_hz:
            return None
        faster = len(self._family) > 1
        remedy = f"target_rate: {matched_hz:.0f} takes a model that keeps up" if faster else "a smaller model keeps up"
        step, _ = self._current
        return f"{step} answers {published_hz:.0f} of {matched_hz:.0f} pairs a second, always the newest: {remedy}"

    def __call__(self, color: np.ndarray, depth: np.ndarray, stamp: float) -> np.ndarray:
        """As `Upsampler`, with colour that `align_color` lets move onto depth, then averaged over time if `temporal`
        asks for it; the result has the size of the colour image over the decimation.

        Args:
            stamp: of depth, in seconds.
        """
        with self._lock:
            if (sizes := (color.shape, depth.shape)) != self._sizes:
                self._sizes, self._target = sizes, self._begin(color, depth)
            (step, upsampler), temporal, alignment = self._current, self._temporal, self._alignment
            limits = self._options.min_depth, self._options.max_depth
        reduced = reduce_color(color, step.decimation)
        guide = alignment(reduced, depth, limits) if alignment else reduced
        result = upsampler(guide, depth)
        self._latest, self.color = upsampler, reduced
        self.displacement = alignment.displacement if alignment else (0, 0)
        self._frame = color, depth
        return temporal(guide, result, stamp, depth) if temporal.weight else result

    def took(self, seconds: float, color: np.ndarray, depth: np.ndarray) -> None:
        """All that was done for the latest frame took so long: see whether another step is due."""
        target, self._took_s = self._target, time.monotonic()
        self._latest = None  # or two that are not in use would stay while a third is made
        if target is None:
            return
        if self.is_busy:
            target.pause()
        elif target.step != self._current[0]:
            self._ask(_Change(self._options, target.step, target))  # for these sizes, which are new
        else:
            step = target.add(seconds, time.monotonic())
            if set(target.times) != self._kept:
                self._kept = set(target.times)
                times = {str(step): 1e3 * seconds for step, seconds in target.times.items()}
                for subject in (_subject(self.mode, depth), _subject(self.mode)):
                    remember(subject, color.shape[:2], times)
            if step is not None:
                self._ask(_Change(self._options, step, target))

    @property
    def is_busy(self) -> bool:
        """Whether something is compiled, timed or made beside the frames, which take longer meanwhile."""
        return self.upsampler.is_measuring or self._asked is not None

    def apply(self, changed: Options, retry: bool = False) -> None:
        """Take over options that may change at run time. Another mode counts once its network has been made.

        Args:
            retry: a mode that could not be used is tried anew though it is the same.

        Raises:
            CheckpointError: a mode that cannot be; nothing has changed then.
        """
        before = self._options
        other_mode = changed.mode != before.mode or (retry and bool(self.failure))
        other_rate = any(getattr(changed, name) != getattr(before, name) for name in ("target_rate", "decimation"))
        if other_mode:
            _check(changed)
        with self._lock:
            self._options = changed
            step, in_use = self._current
            if other_rate:  # at once, as far as that needs no other network
                self._current = Step(step.model, changed.decimation or 1), in_use
                self._sizes = self._target = None  # steps are tried anew
            in_use.options = replace(in_use.options, **changed.of_upsampler(live=True))
            if changed.align_color != before.align_color:
                self._alignment = ColorAlignment() if changed.align_color else None
            if changed.temporal != before.temporal:
                self._temporal = TemporalFilter(changed.temporal)
            if other_mode or other_rate:
                self.failure = ""
                self._ask(_Change(changed))

    def _ask(self, change: _Change) -> None:
        """Have a change made. What was set goes before what a target asks for."""
        with self._lock:
            if change.target is None or (self._asked is None and change.target is self._target):
                self._asked = change
                self._maker.mailbox.put(change)

    def _answer(self, change: _Change) -> bool:
        """Under the lock: a change has been made, or cannot be. Returns whether it still counts: none was asked for
        later, and no other sizes came."""
        if change is not self._asked:
            return False
        self._asked = None
        return change.target is None or change.target is self._target

    def _carry_out(self, change: _Change) -> None:
        """On the thread: make what a change needs, and put it to use."""
        self._at_work = change
        models = self._family
        if change.step is None:
            models, step, upsampler = self._first(change.options, self._current)
        else:
            step, upsampler = change.step, self._ready(change.step, change.options, self._current)
        with self._lock:
            if not self._answer(change):
                return
            before = self._current[0]
            upsampler.options = replace(upsampler.options, **self._options.of_upsampler(live=True))
            self._current, self._family = (step, upsampler), models
            if target := change.target:
                taken = "" if target.seconds is None else f", which takes {1e3 * target.seconds:.0f} ms a frame"
                rate = f"target_rate {change.options.target_rate:g} Hz"
                self._log(f"{rate}: {step} takes over from {before}{taken}")
                if target.step != step:
                    target.use(step)
                return
            is_other_mode = change.options.mode != self.mode
            self.mode = change.options.mode
            self._sizes = self._target = None  # steps are tried anew
        if is_other_mode:
            self._log(f"mode is now {self.mode}")
            self._log_cost()
        self._log_first(change.options, step)

    def _on_error(self, error: BaseException) -> None:
        """The change at work cannot be made: whatever it is, the network in use goes on."""
        reason = str(error).partition("\n")[0] or type(error).__name__
        with self._lock:
            change = self._at_work
            if change is None or not self._answer(change):
                return
            if change.step is None or change.target is None:
                self.failure = f"mode {change.options.mode} cannot be used, {self._current[0]} goes on: {reason}"
            else:
                self.unusable = f"{change.step.model} cannot keep target_rate, since it cannot be used: {reason}"
                change.target.give_up(change.step, self._current[0])

    def values(self) -> dict[str, object]:
        """For /diagnostics."""
        upsampler = self.upsampler
        values: dict[str, object] = {"mode": self.mode}
        if self._options.mode != self.mode:
            values["mode asked for"] = self._options.mode
        values |= {
            "model": upsampler.model_name,
            "device": str(upsampler.device),
            "engine": upsampler.engine_name,
            "decimation": self.decimation,
        }
        if self._alignment is not None:
            values["colour moved [px]"] = "{}, {}".format(*self.displacement)
        if self._options.target_rate:
            values["target rate [Hz]"] = self._options.target_rate
        if self._target is not None and self._target.seconds is not None:
            values["upsampling [ms]"] = 1e3 * self._target.seconds
        return values | {f"engine {name} [ms]": ms for name, ms in upsampler.engine_times.items()}

    def _begin(self, color: np.ndarray, depth: np.ndarray) -> TargetRate | None:
        """Decides the step for images of these sizes; None if no rate is asked for."""
        self.unusable = ""
        if not self._options.target_rate:
            return None
        size = color.shape[0], color.shape[1]
        target = _target_rate(replace(self._options, mode=self.mode), self._family, size, depth)
        self._kept = set()  # so that they count as what came last
        model, upsampler = self._current[0].model, self.upsampler
        self._current = Step(model, target.step.decimation), upsampler
        return target
