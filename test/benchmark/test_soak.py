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

"""The verdict of a soak, on made-up runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dkn_ros.benchmark.soak import Moment, judge


def run(**changes: Any) -> list[Moment]:
    """Two hundred samples of half an hour: 5 of 30 pairs a second, 500 MiB after 3 minutes, 20 files and 30 threads."""
    samples = []
    for i in range(200):
        t = 9.0 * (i + 1)
        values = {
            "sent": int(30 * t),
            "published": int(5 * t),
            "memory": 400 + 100 * min(1.0, t / 180),
            "files": 20,
            "threads": 30,
            "cpu_s": t,
            "idle_s": 0.5 * t,
        }
        values |= {name: change(t, values[name]) for name, change in changes.items()}
        samples.append(Moment(time_s=t, **values))
    return samples


def failed(samples: list[Moment]) -> list[str]:
    return [check.what for check in judge(samples) if not check.good]


def test_a_steady_run_is_good() -> None:
    assert failed(run()) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"memory": lambda t, mb: mb + 0.01 * t}, "memory"),  # 18 MiB in half an hour
        ({"files": lambda t, n: n + int(t / 600)}, "file descriptors"),
        ({"threads": lambda t, n: n + (t > 1700)}, None),  # a moment is no growth
        ({"threads": lambda t, n: n + (t > 900)}, "threads"),
        ({"published": lambda t, n: min(n, 5000)}, "pairs answered"),
        ({"published": lambda t, n: 0}, "pairs answered"),
    ],
)
def test_what_grows_or_slows_down_is_found(changes: dict[str, Any], what: str | None) -> None:
    assert failed(run(**changes)) == ([what] if what else [])


def test_a_machine_that_stood_still_is_not_the_nodes_fault() -> None:
    def still(per_second: int) -> Callable[[float, int], int]:
        return lambda t, count: count - per_second * int(min(max(t - 900, 0), 600))

    assert failed(run(sent=still(30), published=still(5))) == []


def late(per_second: float) -> Callable[[float, float], float]:
    """What stops after 900 s, but for so much."""
    return lambda t, value: value if t <= 900 else value * 900 / t + per_second * (t - 900)


def test_a_machine_that_others_keep_busy_is_not_the_nodes_fault() -> None:
    starved = {"published": lambda t, n: int(late(1)(t, n)), "cpu_s": late(0.2), "idle_s": late(0)}
    assert failed(run(**starved)) == []
    assert failed(run(**starved | {"idle_s": late(0.5)})) == ["pairs answered"]
    assert failed(run(**starved | {"cpu_s": late(0.4)})) == ["pairs answered"]


def test_a_run_too_short_to_tell_is_not_good() -> None:
    assert failed(run()[:5]) == ["length"]
