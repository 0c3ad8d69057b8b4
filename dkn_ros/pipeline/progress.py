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

"""Whether what comes in is paired, and what is paired goes out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dkn_ros.pipeline.diagnostics import Snapshot
from dkn_ros.pipeline.symptoms import pairing_problem

QUIET = 2.0
"""Seconds without a message, or without a pair, that are worth a warning."""
_FEW = 3  # messages of each stream that should give a pair
_KEPT = 600  # moments looked back at most, should one stream be slow or away


@dataclass(frozen=True)
class Counts:
    """The counters at one moment: of messages received by stream, pairs matched, and what pairing dropped and why."""

    health: Snapshot
    received: Mapping[str, int]
    matched: int
    dropped: Mapping[str, Counter[str]]

    def is_enough_before(self, later: Counts) -> bool:
        """Whether enough has come since to judge what became of it."""
        few = any(later.received[stream] - count < _FEW for stream, count in self.received.items())
        return later.health.time_s - self.health.time_s > QUIET and not few


class Problem(NamedTuple):
    """What may be wrong, for `Lasting.note`: under which key, what, and after how many seconds it counts."""

    key: str
    sentence: str | None
    after_s: float = 0.0


class Progress:
    """Compares the counters with those of a while ago."""

    def __init__(self) -> None:
        self._counts: deque[Counts] = deque(maxlen=_KEPT)

    def clear(self) -> None:
        """Begin anew, after a pause."""
        self._counts.clear()

    def add(self, counts: Counts) -> None:
        """The counters now."""
        self._counts.append(counts)
        while len(self._counts) > 1 and self._counts[1].is_enough_before(counts):
            self._counts.popleft()

    @property
    def since_s(self) -> float:
        """The moment that the counters are compared with (`time.monotonic`)."""
        return self._counts[0].health.time_s

    @property
    def rates_hz(self) -> tuple[float, float] | None:
        """Pairs a second that were found, and that were answered; None while too little came."""
        before, now = self._counts[0], self._counts[-1]
        if not before.is_enough_before(now):
            return None
        seconds = now.health.time_s - before.health.time_s
        matched, published = now.matched - before.matched, now.health.published - before.health.published
        return matched / seconds, published / seconds

    def problems(
        self, topics: Mapping[str, str], stamps_ns: Mapping[str, Sequence[int]], slop_ns: int
    ) -> list[Problem]:
        """What is wrong by the counters, or is not; empty while too little came.

        Args:
            topics: of the streams "color" and "depth".
            stamps_ns: what came on each since `since_s`.
            slop_ns: largest difference of the stamps in a pair.
        """
        before, now = self._counts[0], self._counts[-1]
        if not before.is_enough_before(now):
            return []
        matched = now.matched - before.matched
        dropped = {stream: reasons - before.dropped[stream] for stream, reasons in now.dropped.items()}
        came = {stream: count - before.received[stream] for stream, count in now.received.items()}
        lost = now.health.dropped - before.health.dropped
        faulty = sum(
            count for why, count in lost.items() if why not in ("superseded", "idle")
        )  # that is said elsewhere
        stamps = {stream: self._stamp_problem(topics[stream], dropped[stream], count) for stream, count in came.items()}
        pairing = busy = None
        # Where a stream has ended, or its stamps are at fault, that is what is wrong, and is said as such.
        sound = not any(stamps.values()) and self._all_come
        if sound:
            pairing = pairing_problem(stamps_ns["color"], stamps_ns["depth"], matched, slop_ns)
        if sound and not (matched or pairing or faulty):
            reasons = [f"{count} {stream} {why}" for stream in dropped for why, count in dropped[stream].items()]
            pairing = f"colour and depth come, and no pair is found among them ({', '.join(reasons) or 'all wait'})"
        if matched and not faulty and now.health.published == before.health.published:
            seconds = now.health.time_s - before.health.time_s
            busy = f"one frame has kept the network busy for {seconds:.0f} s: choose a smaller model"
        return [
            *(Problem(f"{stream} stamps", sentence) for stream, sentence in stamps.items()),
            # Where some pair, that may be for a change that has just been made.
            Problem("pairing", pairing, after_s=QUIET if matched else 0.0),
            Problem("busy", busy),
        ]

    @property
    def _all_come(self) -> bool:
        """Whether something came on each stream lately."""
        now = self._counts[-1]
        earlier = (counts for counts in reversed(self._counts) if now.health.time_s - counts.health.time_s >= QUIET)
        lately = next(earlier, self._counts[0])
        return all(count > lately.received[stream] for stream, count in now.received.items())

    @staticmethod
    def _stamp_problem(topic: str, dropped: Counter[str], came: int) -> str | None:
        """What is wrong with most stamps of one stream."""
        if 2 * dropped["duplicate"] > came:
            return f"stamps on {topic} repeat: does its driver fill header.stamp?"
        if 2 * dropped["late"] > came:
            return f"most images on {topic} are stamped before earlier ones: does its clock go back?"
        return None
