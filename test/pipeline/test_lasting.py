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

"""Conditions that last: what is said of them, how often, and when it ends."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs the messages of ROS 2")

from dkn_ros.pipeline.diagnostics import ERROR, OK, WARN
from dkn_ros.pipeline.lasting import THROTTLE, Lasting


class Log(list[tuple[int, str]]):
    def __call__(self, level: int, line: str) -> None:
        self.append((level, line))


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def lasting(log) -> Lasting:
    return Lasting(log)


def test_a_condition_is_logged_when_it_begins_and_when_it_ends(lasting, log):
    for second in range(10):
        lasting.note("loss", f"{second} % are lost: get a cable", second)
        assert lasting.problems(second) == [(WARN, f"{second} % are lost: get a cable")]
    lasting.note("loss", None, 10)
    lasting.note("loss", None, 11)
    assert lasting.problems(11) == []
    assert log == [(WARN, "0 % are lost: get a cable"), (OK, "no longer: 0 % are lost")]


def test_a_condition_counts_once_it_has_lasted(lasting, log):
    lasting.note("dark", "no depth", 0, after_s=2)
    assert lasting.problems(1) == [] and log == []
    lasting.note("dark", None, 1)
    assert log == []
    for second in (2, 3, 4):
        lasting.note("dark", "no depth", second, after_s=2)
    assert lasting.problems(4) == [(WARN, "no depth")]
    assert log == [(WARN, "no depth")]


def test_an_event_lasts_a_while(lasting, log):
    lasting.note("bad", "bad message", 0, hold_s=5)
    lasting.note("bad", "bad message", 4, hold_s=5)
    assert lasting.problems(9) == [(WARN, "bad message")]
    assert lasting.problems(9.1) == []
    assert log == [(WARN, "bad message"), (OK, "no longer: bad message")]


def test_other_words_and_a_higher_level_are_logged_but_not_all_the_time(lasting, log):
    for second in range(100):
        lasting.note("bad", f"bad message of type {'abc'[second % 3]}", second)
    assert len(log) <= 100 / THROTTLE + 1
    log.clear()
    lasting.grade("bad", ERROR, 200)
    lasting.grade("bad", ERROR, 300)
    lasting.grade("bad", WARN, 400)
    lasting.grade("good", ERROR, 400)
    assert log == [(ERROR, "bad message of type a")]


def test_what_comes_and_goes_is_not_logged_each_time(lasting, log):
    for tenth in range(100):
        lasting.note("flaps", "it flaps" if tenth % 2 else None, tenth / 10)
    assert [line for _, line in log].count("it flaps") == 10 / THROTTLE
    assert [line for _, line in log].count("no longer: it flaps") == 10 / THROTTLE


def test_after_a_pause_nothing_is_said(lasting, log):
    lasting.note("loss", "lost", 0)
    lasting.note("mode", "no such", 0)
    lasting.forget(kept="mode")
    lasting.note("loss", None, 1)
    assert lasting.problems(1) == [(WARN, "no such")]
    lasting.note("mode", None, 1)
    assert log == [(WARN, "lost"), (WARN, "no such"), (OK, "no longer: no such")]
