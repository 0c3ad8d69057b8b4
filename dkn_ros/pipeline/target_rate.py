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

"""Which model, on how many pixels, keeps a rate: decided by the time that frames take, changed seldom.

Steps are tried from the best one down, by what they take here and now. Up again goes it only after some calm, and the
calm has to be longer each time that going up was a mistake: the output does not change back and forth.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

SETTLING = 5  # frames after a change that do not count: what is new is not warm yet
FEW, ENOUGH = 5, 15  # frames that decide: where it is hopeless, and else
HOPELESS = 1.5  # times as long as there is time
FAR, AT_ONCE = 3.0, 3  # times as long, in each of the first so many frames: not even what is cold explains that
SHARE = 0.92  # of the period that a frame may take; the rest is for what goes on beside it
MARGIN = 0.85  # of that, for a better step to be tried
CALM_S = 10.0  # seconds that a better step has to look possible before it is tried
LONGEST_CALM_S = 600.0


@dataclass(frozen=True)
class Step:
    """How the time of a frame may be spent."""

    model: str
    decimation: int
    """Of colour, along each axis."""

    def __str__(self) -> str:
        return self.model + (f", decimation {self.decimation}" if self.decimation > 1 else "")


class TargetRate:
    """Decides between steps. Knows no clock and no model: feed it times.

    Args:
        rate_hz: to be kept.
        costs: of each step, the best first; only their ratios count, and only for steps that never ran.
        known: seconds of some steps, when they ran at another time.
        first: where to begin if none is known; by default with the best.
    """

    def __init__(
        self,
        rate_hz: float,
        costs: Mapping[Step, float],
        known: Mapping[Step, float] | None = None,
        first: Step | None = None,
    ):
        self._budget_s = SHARE / rate_hz
        self._costs, self._steps = dict(costs), list(costs)
        self._known = {step: seconds for step, seconds in (known or {}).items() if step in costs}  # when it ran last
        self.step = self._promising() if self._known else first or self._steps[0]
        """In use."""
        self._calm_s = CALM_S
        self._went_up = False
        self._begin(self._known.get(self.step))

    @property
    def times(self) -> dict[Step, float]:
        """Seconds of the steps that ran, when they did so last."""
        return dict(self._known)

    @property
    def kept(self) -> bool:
        """Whether the rate is kept, as far as is known."""
        return self.seconds is None or self.seconds <= self._budget_s

    def use(self, step: Step) -> None:
        """From now on, times are those of `step`."""
        self._went_up = self._steps.index(step) < self._steps.index(self.step)
        self.step = step
        self._begin()

    def give_up(self, step: Step, using: Step) -> None:
        """`step` cannot be used, nor others with its model, unless `using`, which goes on, has that one."""
        gone = {s for s in self._steps if s == step or s.model == step.model != using.model}
        self._steps = [s for s in self._steps if s not in gone]
        self._known = {s: seconds for s, seconds in self._known.items() if s not in gone}
        if self.step != using:
            self.step, self._went_up = using, False
            self._begin(self._known.get(using))

    def pause(self) -> None:
        """Times are of no use at the moment: something else runs here for a while."""
        self._recent.clear()
        self._cold.clear()

    def add(self, seconds: float, now_s: float) -> Step | None:
        """One frame took so long.

        Returns:
            The step to change to, or None to stay. It is asked for until it is in `use`, or given up.
        """
        if self._settling:
            self._settling -= 1
            self._cold.append(seconds)
            least = min(self._cold)
            if len(self._cold) < AT_ONCE or least <= FAR * self._budget_s:
                return None
            self._note(least)
            return self._lower(least)
        self._recent.append(seconds)
        if len(self._recent) < FEW:
            return None
        median = statistics.median(self._recent)
        full = len(self._recent) == ENOUGH
        if median > (self._budget_s if full else HOPELESS * self._budget_s):
            self._note(median)
            return self._lower(median)
        if not full:
            return None
        self._note(median)
        return self._higher(median, now_s)

    def _promising(self) -> Step:
        """The best that should keep the rate, by what is known and, roughly, for the others follows from it."""

        def seconds(step: Step) -> float:
            nearest = min(self._known, key=lambda other: abs(math.log(self._costs[other] / self._costs[step])))
            return self._known.get(step, self._known[nearest] * self._costs[step] / self._costs[nearest])

        by_limit = (
            step
            for limit in (1, FAR)
            for step in self._steps
            if seconds(step) <= limit * self._budget_s and (limit == 1 or step not in self._known)
        )
        return next(by_limit, self._steps[-1])

    def _begin(self, at_first: float | None = None) -> None:
        self.seconds: float | None = None
        """What a frame takes; None before that is known."""
        self._recent: deque[float] = deque(maxlen=ENOUGH)
        self._settling = SETTLING
        self._cold: list[float] = []
        self._at_first = at_first  # its median when the other steps were known as they are
        self._calm_since_s: float | None = None

    def _note(self, median: float) -> None:
        self.seconds = self._known[self.step] = median
        self._at_first = self._at_first or median

    def _lower(self, median: float) -> Step | None:
        lower = self._steps[self._steps.index(self.step) + 1 :]
        if not lower:
            return None
        if self._went_up:  # it was a mistake
            self._calm_s = min(2 * self._calm_s, LONGEST_CALM_S)
        return next((step for step in lower if self._estimate(step, median) <= self._budget_s), lower[0])

    def _higher(self, median: float, now_s: float) -> Step | None:
        higher = self._steps[: self._steps.index(self.step)]
        step = next((s for s in higher if self._estimate(s, median) <= MARGIN * self._budget_s), None)
        if step is None:
            self._calm_since_s = None
        elif self._calm_since_s is None:
            self._calm_since_s = now_s
        elif now_s - self._calm_since_s >= self._calm_s:
            return step
        return None

    def _estimate(self, step: Step, median: float) -> float:
        """Seconds that `step` would take now."""
        if step in self._known and self._at_first:
            return self._known[step] * median / self._at_first  # as much more or less as the one in use
        return median * self._costs[step] / self._costs[self.step]
