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

"""What is wrong and lasts: on /diagnostics for as long as it does, in the log when it begins and when it ends."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

from dkn_ros.pipeline.diagnostics import OK, WARN

THROTTLE = 5.0  # seconds between two log lines on the same condition
_NUMBERS = re.compile(r"\d+")


@dataclass
class _Condition:
    level: int
    sentence: str
    since_s: float
    noted_s: float
    after_s: float
    hold_s: float
    logged: tuple[int, str] | None = None  # level and sentence

    def counts(self, now_s: float) -> bool:
        return now_s - self.since_s >= self.after_s


class Lasting:
    """The conditions that hold now. All calls are short and thread-safe; times are `time.monotonic` seconds.

    A condition is logged when it begins, anew when its level rises or its words change (its numbers may change), and
    once more when it ends; never twice within `THROTTLE`. A sentence names the cause, then after a colon the remedy;
    the line on its end leaves out the remedy, and names the condition as the log did, whatever it has become since.

    Args:
        log: called with a level (OK for the end of a condition) and a line.
    """

    def __init__(self, log: Callable[[int, str], None]) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._conditions: dict[str, _Condition] = {}
        self._logged_s: dict[str, float] = {}

    def note(
        self,
        key: str,
        sentence: str | None,
        now_s: float,
        *,
        level: int = WARN,
        after_s: float = 0.0,
        hold_s: float = 0.0,
    ) -> None:
        """Say whether a condition holds.

        Args:
            key: which one.
            sentence: what is wrong; None: nothing.
            after_s: it counts once it has lasted so long.
            hold_s: for events: it lasts so long after the last note, without being noted again. 0: until noted as over.
        """
        with self._lock:
            if sentence is None:
                self._end(key)
                return
            condition = self._conditions.get(key)
            if condition is None:
                condition = _Condition(level, sentence, now_s, now_s, after_s, hold_s)
                self._conditions[key] = condition
            condition.level, condition.sentence = level, sentence
            condition.noted_s, condition.after_s, condition.hold_s = now_s, after_s, hold_s
            if condition.counts(now_s):
                self._begin(key, condition, now_s)

    def grade(self, key: str, level: int, now_s: float) -> None:
        """Give a condition, if it holds, another level."""
        with self._lock:
            if (condition := self._conditions.get(key)) is not None:
                condition.level = level
                if condition.counts(now_s):
                    self._begin(key, condition, now_s)

    def problems(self, now_s: float) -> list[tuple[int, str]]:
        """(level, sentence) of each condition that holds, the oldest first."""
        with self._lock:
            for key, condition in list(self._conditions.items()):
                if condition.hold_s and now_s - condition.noted_s > condition.hold_s:
                    self._end(key)
            return [(c.level, c.sentence) for c in self._conditions.values() if c.counts(now_s)]

    def forget(self, kept: str) -> None:
        """Nothing holds any more but the condition `kept`, and nothing is to be said about it."""
        with self._lock:
            self._conditions = {key: condition for key, condition in self._conditions.items() if key == kept}

    def _begin(self, key: str, condition: _Condition, now_s: float) -> None:
        known = (
            condition.logged is not None
            and condition.logged[0] >= condition.level
            and _NUMBERS.sub("", condition.logged[1]) == _NUMBERS.sub("", condition.sentence)
        )
        if not known and now_s - self._logged_s.get(key, -THROTTLE) >= THROTTLE:
            condition.logged, self._logged_s[key] = (condition.level, condition.sentence), now_s
            self._log(condition.level, condition.sentence)

    def _end(self, key: str) -> None:
        condition = self._conditions.pop(key, None)
        if condition is not None and condition.logged is not None:
            self._log(OK, f"no longer: {condition.logged[1].partition(': ')[0]}")
