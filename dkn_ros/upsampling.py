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

"""The networks of the node: the one in use, and the change to another one that keeps `target_rate`."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np

from dkn import CheckpointError, Upsampler, checkpoint
from dkn.checkpoint import DEFAULT_MODEL, ModelInfo, family, find_model
from dkn.depth import reduce_color
from dkn.depth.alignment import ColorAlignment, Displacement
from dkn.depth.temporal import TemporalFilter
from dkn.engines.folding import flops
from dkn.engines.selection.memory import last_size, recall, remember
from dkn_ros.parameters import Options
from dkn_ros.pipeline.target_rate import Step, TargetRate

STARTUP_SCALE = 8  # model of a family that is loaded before the first frame tells the scale
DECIMATIONS = (1, 2, 3, 4)  # that are tried for a rate
AT_FIRST = 640 * 480  # pixels of colour that a rate is tried with at first, if it may be reduced
LEAST_WIDTH = 320  # pixels that colour keeps, whatever the rate
RECENT = 2.0  # seconds without a frame, after which nothing is said of how long they take
BEHIND = 0.8  # share of the pairs that are answered, below which it is worth a word
FIXED_COST = 1e6  # what a frame costs for each pixel beside the weights, in bytes of weights: measured, roughly

Sizes = tuple[tuple[int, ...], tuple[int, ...]]


def cost_of_dkn(upsampler: Upsampler, scale: float) -> str | None:
    """What a DKN costs, and gains or loses, against the node's default, in a sentence: by its operations, and by the
    errors that its file and the default's were tested with. None for another network, or without the default."""
    loaded = upsampler.load(scale)
    if loaded.info.network.architecture != "dkn":
        return None
    try:
        usual, usual_info = checkpoint.load(find_model(DEFAULT_MODEL, scale))
    except CheckpointError:
        return None
    ratio = flops(loaded.run.network, (640, 480)) / flops(usual, (640, 480))
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


class Upsampling:
    """Colour and depth in, depth out, at the rate that is asked for, as far as models that are there can do that.

    Args:
        options: mode, target_rate, decimation, scale and what an `Upsampler` takes.
        make: an Upsampler of a model's name.
        log: called with a sentence on each change.

    Raises:
        ConfigError, CheckpointError: as `Upsampler`.
    """

    def __init__(self, options: Options, make: Callable[[str, Options], Upsampler], log: Callable[[str], object]):
        self._make, self._log = make, log
        # The executor sets options, the worker begins with new sizes, and a thread brings another step: one at a time.
        self._lock = threading.Lock()
        self._options = options
        self._family: dict[str, int] = {}
        self._change: threading.Thread | None = None
        self._current = self._at_start()
        self._family = self._family or _family(options)  # last: a model that cannot be is told before
        self._alignment = ColorAlignment() if options.align_color else None
        self._temporal = TemporalFilter(options.temporal)
        self.displacement: Displacement = (0, 0)
        """(x, y) pixels of the latest result that colour was moved by to lie on depth."""
        self.color = np.empty((0, 0, 3), np.uint8)
        """(H, W, 3) uint8 RGB of the latest result's size, before it was moved."""
        self._latest = self.upsampler  # what that result came from
        self._sizes: Sizes | None = None
        self._target: TargetRate | None = None
        self._took_s = -math.inf  # when the latest frame was done
        self._kept: set[Step] = set()  # steps whose times are remembered
        self.unusable = ""
        """Which step towards `target_rate` cannot be used, and why; empty if none was found to be so."""
        self._log_cost()

    def _at_start(self) -> tuple[Step, Upsampler]:
        """What kept `target_rate` last time on this computer, if that is known; else the mode's own model."""
        options = self._options
        if options.target_rate and (size := last_size(self._subject())):
            with suppress(Exception):  # whatever it is, the first frame finds it again, and says it
                self._family = _family(options)
                step = self._target_rate(size, recall(self._subject(), size)).step
                upsampler = self._warm(step.model)
                self._log(f"target_rate {options.target_rate:g} Hz: begins with {step}, by what frames took last time")
                return step, upsampler
        return Step(options.mode, options.decimation or 1), self._warm(options.mode)

    def _log_cost(self) -> None:
        if sentence := cost_of_dkn(self.upsampler, self._options.scale or STARTUP_SCALE):
            self._log(sentence)

    def _warm(self, model: str) -> Upsampler:
        upsampler = self._make(model, self._options)
        upsampler.warm_up(self._options.scale or STARTUP_SCALE)
        return upsampler

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
        return self._latest.confidence(result, depth)

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
        return temporal(guide, result, stamp, depth) if temporal.weight else result

    def took(self, seconds: float, color: np.ndarray, depth: np.ndarray) -> None:
        """All that was done for the latest frame took so long: see whether another step is due."""
        target, self._took_s = self._target, time.monotonic()
        if target is None:
            return
        if self.is_busy:
            target.pause()
        elif target.step != self._current[0]:
            self._start(target.step, target, color, depth)  # for these sizes, which came while another change was made
        else:
            step = target.add(seconds, time.monotonic())
            if set(target.times) != self._kept:
                self._kept = set(target.times)
                times = {str(step): 1e3 * seconds for step, seconds in target.times.items()}
                for subject in (self._subject(depth), self._subject()):
                    remember(subject, color.shape[:2], times)
            if step is not None:
                self._start(step, target, color, depth)

    @property
    def is_busy(self) -> bool:
        """Whether something is compiled, timed or made beside the frames, which take longer meanwhile."""
        return self.upsampler.is_measuring or (self._change is not None and self._change.is_alive())

    def _start(self, step: Step, target: TargetRate, color: np.ndarray, depth: np.ndarray) -> None:
        """Go to another step, which `target` asks for, beside the one in use."""
        given = step, target, self._options, color.copy(), depth.copy()
        self._change = threading.Thread(target=self._go_to, args=given, name="model", daemon=True)
        self._change.start()

    def _subject(self, depth: np.ndarray | None = None) -> str:
        """What the times of steps are kept under: for depth of its size, or for what came last."""
        size = "" if depth is None else f", depth {depth.shape[1]}x{depth.shape[0]}"
        return f"frames of {self._options.mode}{size}"

    def apply(self, changed: Options) -> None:
        """Take over options that may change at run time.

        Raises:
            ConfigError, CheckpointError: a mode that cannot be; nothing has changed then.
        """
        before, (step, upsampler) = self._options, self._current
        again = any(getattr(changed, name) != getattr(before, name) for name in ("mode", "target_rate", "decimation"))
        changed_family = _family(changed) if changed.mode != before.mode else self._family
        if again and changed.mode != step.model:
            upsampler = self._make(changed.mode, changed)
        with self._lock:
            self._options, self._family = changed, changed_family
            if again:
                self._current = Step(changed.mode, changed.decimation or 1), upsampler
                self._sizes = self._target = None  # steps are tried anew
            in_use = self.upsampler
            in_use.options = replace(in_use.options, **changed.of_upsampler(live=True))
            if changed.align_color != before.align_color:
                self._alignment = ColorAlignment() if changed.align_color else None
            if changed.temporal != before.temporal:
                self._temporal = TemporalFilter(changed.temporal)
        if changed.mode != before.mode:
            self._log(f"mode is now {changed.mode}")
            self._log_cost()

    def values(self) -> dict[str, object]:
        """For /diagnostics."""
        values: dict[str, object] = {"decimation": self.decimation}
        if self._alignment is not None:
            values["colour moved [px]"] = "{}, {}".format(*self.displacement)
        if self._options.target_rate:
            values["target rate [Hz]"] = self._options.target_rate
        if self._target is not None and self._target.seconds is not None:
            values["upsampling [ms]"] = 1e3 * self._target.seconds
        return values | {f"engine {name} [ms]": ms for name, ms in self.upsampler.engine_times.items()}

    def _begin(self, color: np.ndarray, depth: np.ndarray) -> TargetRate | None:
        """Decides the step for images of these sizes, and goes to the one that kept the rate last time; None if no
        rate is asked for."""
        self.unusable = ""
        if not self._options.target_rate:
            return None
        size = color.shape[0], color.shape[1]
        # Depth of another size changes little.
        target = self._target_rate(size, recall(self._subject(depth), size) or recall(self._subject(), size))
        self._kept = set()  # so that they count as what came last
        model, upsampler = self._current[0].model, self.upsampler
        self._current = Step(model, target.step.decimation), upsampler
        if target.step.model != model and not self.is_busy:  # one change at a time
            self._start(target.step, target, color, depth)
        return target

    def _target_rate(self, size: tuple[int, int], times: Mapping[str, float]) -> TargetRate:
        """With the steps for colour of a size (H, W), of which these milliseconds are known, by the steps' names.

        Where nothing is known, large images are tried reduced: if the rate leaves room for more, that shows, and full
        HD tried at full size takes most memory for what most computers cannot do.
        """
        options, (height, width) = self._options, size
        decimations = (options.decimation,) if options.decimation else DECIMATIONS
        costs = {}
        for decimation in decimations:
            if decimation > 1 and not options.decimation and width < decimation * LEAST_WIDTH:
                continue
            for model, weights in self._family.items():
                costs[Step(model, decimation)] = (weights + FIXED_COST) / decimation**2
        known = {step: times[str(step)] / 1e3 for step in costs if str(step) in times}
        most = max(step.decimation for step in costs)
        first = next(s for s in costs if s.decimation == most or height * width <= AT_FIRST * s.decimation**2)
        return TargetRate(options.target_rate, costs, known, first)

    def _go_to(self, step: Step, target: TargetRate, options: Options, color: np.ndarray, depth: np.ndarray) -> None:
        """On a thread of its own: make what a step needs, warm it up, and put it to use."""
        before, upsampler = self._current
        try:
            if step.model != before.model:
                upsampler = self._make(step.model, options)
            upsampler(reduce_color(color, step.decimation), depth)
        except Exception as error:  # whatever it is, the model in use goes on
            reason = str(error).partition("\n")[0] or type(error).__name__
            with self._lock:
                if target is self._target:
                    self.unusable = f"{step.model} cannot keep target_rate, since it cannot be used: {reason}"
                    target.give_up(step, self._current[0])
            return
        with self._lock:
            if target is not self._target:
                return  # overtaken by a change of mode, rate, decimation or sizes
            upsampler.options = replace(upsampler.options, **self._options.of_upsampler(live=True))
            taken = "" if target.seconds is None else f", which takes {1e3 * target.seconds:.0f} ms a frame"
            self._log(f"target_rate {options.target_rate:g} Hz: {step} takes over from {before}{taken}")
            if target.step != step:
                target.use(step)
            self._current = step, upsampler
