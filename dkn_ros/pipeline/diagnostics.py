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

"""What the node knows of itself: counters and latencies, and their message on /diagnostics."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

OK, WARN, ERROR = 0, 1, 2
"""Levels of a DiagnosticStatus."""

_LATENCIES = 1000  # newest latencies that the percentiles are of


class Health:
    """Counters that the executor and the worker thread both write. All calls are short and thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._published = 0
        self.published_s = -math.inf
        """When the last frame went out (`time.monotonic`)."""
        self._dropped: Counter[str] = Counter()
        self._from_stamp: deque[float] = deque(maxlen=_LATENCIES)
        self._from_arrival: deque[float] = deque(maxlen=_LATENCIES)

    def publish(self, from_stamp_ms: float | None, from_arrival_ms: float) -> None:
        """One frame went out, so long after its stamp (None: unknown) and after the arrival of its later message."""
        with self._lock:
            self._published += 1
            self.published_s = time.monotonic()
            if from_stamp_ms is not None:
                self._from_stamp.append(from_stamp_ms)
            self._from_arrival.append(from_arrival_ms)

    def drop(self, reason: str) -> None:
        """One message or pair was not used."""
        with self._lock:
            self._dropped[reason] += 1

    def snapshot(self) -> Snapshot:
        with self._lock:
            return Snapshot(
                time.monotonic(),
                self._published,
                Counter(self._dropped),
                percentiles(self._from_stamp),
                percentiles(self._from_arrival),
            )


@dataclass(frozen=True)
class Snapshot:
    """The counters at one moment (`time.monotonic`, seconds); latencies in milliseconds."""

    time_s: float
    published: int
    dropped: Counter[str]
    from_stamp_ms: dict[str, float]
    from_arrival_ms: dict[str, float]


def percentiles(values: Any) -> dict[str, float]:
    """p50, p95, p99 and max of some numbers (nearest rank); empty if there are none."""
    ordered = sorted(values)
    if not ordered:
        return {}
    ranks = {name: ordered[-(-percent * len(ordered) // 100) - 1] for name, percent in _PERCENTILES.items()}
    return {**ranks, "max": ordered[-1]}


_PERCENTILES = {"p50": 50, "p95": 95, "p99": 99}


def status(name: str, hardware: str, problems: list[tuple[int, str]], values: dict[str, object]) -> DiagnosticStatus:
    """One DiagnosticStatus: the worst of `problems` (level, sentence) gives level and message."""
    level, message = max(problems, key=lambda problem: problem[0], default=(OK, "ok"))
    if len(problems) > 1:
        message = "; ".join(text for _, text in sorted(problems, key=lambda problem: -problem[0]))
    return DiagnosticStatus(
        level=bytes([level]),
        name=name,
        hardware_id=hardware,
        message=message,
        values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
    )


def array(stamp: Any, *statuses: DiagnosticStatus) -> DiagnosticArray:
    message = DiagnosticArray(status=list(statuses))
    message.header.stamp = stamp
    return message


def _text(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
