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

"""Engines timed on the images that come, beside the one that serves; the fastest takes over.

Flags of a processor do not tell which runtime is faster in which precision. So once some frames of a size have come,
every engine that agrees with the reference has a few of them, in turns with the serving one, on a thread of its own.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from dkn.engines.base import PRECISIONS, Engine, log
from dkn.engines.registry import Choice
from dkn.engines.selection.memory import Times, recall, recall_others, remember
from dkn.errors import DknError
from dkn.networks.config import NetworkConfig
from dkn.networks.weights import Weights
from dkn.utils.memory import give_back

FRAMES = 10  # of one size that have to come first: for a few it is not worth it
RUNS = 3  # timed ones of each engine, after one that is not
BUDGET = 1.0  # seconds of the engines' time in all, what is compiled not counted
PIXELS = 640 * 480  # of an image; the middle of a larger one is timed
HOPELESS = 1.3  # times as slow as the best at the first run: no second one
OUTDONE = 1.5  # times as slow as the best: what should be no faster is not even made, which takes seconds and memory
STALE = 1.5  # times as fast as remembered: what slowed it then may have slowed the others otherwise
TIE = 1.05  # times as slow as the fastest: the more precise one is taken

Make = Callable[[Choice], Engine]


def subject(config: NetworkConfig, choices: Sequence[Choice]) -> str:
    """What is remembered of a network holds where the same engines are to be had: of others, nobody knows."""
    return f"{config}, by {', '.join(sorted(map(str, choices)))}"


def fastest(times: Times) -> str:
    """Name of the engine to take: the fastest, or one that is as good as that and more precise."""
    least = min(times.values())
    tied = [name for name, ms in times.items() if ms <= TIE * least]
    return min(tied, key=lambda name: (_precision(name), times[name]))


def in_words(times: Times) -> str:
    """The fastest first."""
    return ", ".join(f"{name} {ms:.1f} ms" for name, ms in sorted(times.items(), key=lambda item: item[1]))


def _precision(name: str) -> int:
    return next((i for i, precision in enumerate(PRECISIONS) if f" {precision})" in name), len(PRECISIONS))


def _of(engines: Sequence[Choice | Engine], times: Times) -> Times:
    """The times of these; a file may name others, that there are not."""
    names = set(map(str, engines))
    return {name: ms for name, ms in times.items() if name in names}


class Autotuner:
    """Finds the fastest engine for each size that comes.

    Args:
        weights: of the network that they run.
        choices: which there are, those of the runtime that is usually fastest first (`candidates`).
        make: makes one and sees whether it is right; raises whatever it likes.
        use: called with the winner, on a thread of its own, if that is not the engine that serves.
    """

    def __init__(self, weights: Weights, choices: Sequence[Choice], make: Make, use: Callable[[Engine], None]):
        self.subject = subject(weights.config, choices)
        """What times are remembered under."""
        self.times: Times = _of(choices, recall(self.subject))
        """What was measured for the size that came last, or remembered."""
        self.out: set[str] = set()
        """Names of engines that failed in mid-run, or cannot be made: they are not timed, and do not take over."""
        self.turn = threading.Lock()
        """Held by whoever runs an engine, so that none is timed while another one runs."""
        self._choices, self._make, self._use = choices, make, use
        self._size: tuple[int, int] | None = None
        self._frames = 0
        self._timed: tuple[int, int] | None = None
        """The size that engines were, or are, timed for last."""
        self._thread: threading.Thread | None = None

    def frame(self, serving: Engine, color: np.ndarray, depth: np.ndarray) -> None:
        """Note that `serving` has run these images (`Engine.__call__`); begins timing if it is time."""
        size = color.shape[1], color.shape[2]
        if size != self._size:
            self._size, self._frames = size, 0
        self._frames += 1
        due = self._frames >= FRAMES and size != self._timed and len(self._choices) > 1
        if due and not self.under_way:  # no frame waits for the times of another size
            self._timed = size
            images = _middle(color, depth)
            # Waited for when Python ends, because a runtime in the middle of its work then aborts the process.
            self._thread = threading.Thread(target=self._hold, args=(serving, size, *images), name="engines")
            self._thread.start()

    @property
    def under_way(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Until no timing is under way."""
        if self._thread is not None:
            self._thread.join()

    def _hold(self, serving: Engine, size: tuple[int, int], color: np.ndarray, depth: np.ndarray) -> None:
        try:
            times = _of([serving, *self._choices], recall(self.subject, size))
            times = {name: ms for name, ms in times.items() if name not in self.out}
            best: Engine | None = serving
            if not times or self._outdated(times, serving, color, depth):
                times, best = self._measure(serving, color, depth)
                remember(self.subject, size, times)
            winner = fastest(times)
            if str(serving) != winner:
                choice = next(choice for choice in self._choices if str(choice) == winner)
                engine = best if best is not None and str(best) == winner else self._make(choice)
                engine(color, depth)  # compiled before it serves, and warm
                self._use(engine)
            self.times = times
            log.info("engines at %dx%d: %s", size[1], size[0], in_words(times))
        except Exception as error:  # the serving engine goes on
            if threading.main_thread().is_alive():  # else nobody is left to want to know
                reason = str(error).partition("\n")[0] or type(error).__name__
                log.warning("engines could not be compared: %s", reason)

    def _outdated(self, times: Times, serving: Engine, color: np.ndarray, depth: np.ndarray) -> bool:
        """Whether these were measured while the machine was far slower than now. Slower now is no reason: what runs
        beside today would be in today's times."""
        if (remembered := times.get(str(serving))) is None:
            return False
        return STALE * min(self._time(serving, color, depth) for _ in range(RUNS)) < remembered

    def _measure(self, serving: Engine, color: np.ndarray, depth: np.ndarray) -> tuple[Times, Engine]:
        """The least milliseconds of each, and the best engine but for `serving`."""
        times: Times = {str(serving): self._time(serving, color, depth)}
        best, spent, elsewhere = serving, 0.0, self._slow_elsewhere()
        skipped: set[str] = set()
        # The least precise first: a runtime is no faster with more digits.
        for choice in sorted(self._choices, key=lambda choice: -PRECISIONS.index(choice.precision)):
            if str(choice) in times or str(choice) in self.out or spent > BUDGET:
                continue
            limit = OUTDONE * min(times.values())
            if str(choice) in elsewhere or self._outdone(choice, limit, times, elsewhere, skipped):
                skipped.add(str(choice))
                continue
            if not threading.main_thread().is_alive():
                raise DknError("Python ends")
            engine, took = self._compare(choice, serving, times, color, depth)
            spent += took
            if engine is not None and fastest(times) == str(engine):
                best = engine
            del engine  # before the next is made
            give_back()
        return times, best

    def _compare(
        self, choice: Choice, serving: Engine, times: Times, color: np.ndarray, depth: np.ndarray
    ) -> tuple[Engine | None, float]:
        """The engine of a choice, None if it cannot be used, and seconds that it and the serving one ran; notes `times`
        of both."""
        spent = 0.0
        try:
            engine = self._make(choice)
            self._time(engine, color, depth)
            for _ in range(RUNS):
                # Both in turns: whatever else runs here then slows both.
                for one in (engine, serving):
                    ms = self._time(one, color, depth)
                    times[str(one)] = min(ms, times.get(str(one), ms))
                    spent += ms / 1e3
                if times[str(engine)] > HOPELESS * min(times.values()):
                    break
        except Exception as error:  # of whatever runtime it is
            log.info("engine %s is out: %s", choice, str(error).partition("\n")[0] or type(error).__name__)
            times.pop(str(choice), None)
            return None, spent
        return engine, spent

    def _slow_elsewhere(self) -> set[str]:
        """Names of engines that were far slower than the best of these whenever something else was measured here."""
        least: Times = {}
        known = {str(choice) for choice in self._choices}
        for others in recall_others(self.subject):
            times = {name: ms for name, ms in others.items() if name in known}
            for name, ms in times.items():
                ratio = ms / min(times.values())
                least[name] = min(ratio, least.get(name, ratio))
        return {name for name, ratio in least.items() if ratio > OUTDONE}

    def _outdone(self, choice: Choice, limit: float, times: Times, elsewhere: set[str], skipped: set[str]) -> bool:
        """Whether the same runtime with fewer digits was far slower than the best, or was not even tried; or with as
        many digits all that are usually faster, those of them that were measured, here or for other networks."""
        same = [str(other) for other in self._choices if other.name == choice.name]
        before = [str(o) for o in self._choices[: self._choices.index(choice)] if o.precision == choice.precision]
        faster = [math.inf if name in elsewhere else times.get(name) for name in before if name not in same]
        known = [ms for ms in faster if ms is not None]
        return any(name in skipped or times.get(name, 0.0) > limit for name in same) or min(known, default=0.0) > limit

    def _time(self, engine: Engine, color: np.ndarray, depth: np.ndarray) -> float:
        with self.turn:
            started = time.perf_counter()
            engine(color, depth)
            return 1e3 * (time.perf_counter() - started)


def _middle(color: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A copy of the images, or of their middle, as long as they are wide in proportion."""
    height, width = color.shape[1:3]
    share = min(1.0, (PIXELS / (height * width)) ** 0.5)
    rows, columns = round(share * height), round(share * width)
    top, left = (height - rows) // 2, (width - columns) // 2
    return (
        color[:, top : top + rows, left : left + columns].copy(),
        depth[..., top : top + rows, left : left + columns].copy(),
    )
