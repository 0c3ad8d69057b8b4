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

"""From counters, stamps and values to what is wrong."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the messages of ROS 2")

from dkn_ros.pipeline.diagnostics import Snapshot
from dkn_ros.pipeline.progress import Counts, Progress
from dkn_ros.pipeline.symptoms import (
    displacement_problem,
    loss_problem,
    pairing_problem,
    range_problem,
    transport_loss,
)

MS = 1_000_000
TENTHS = range(0, 3000 * MS, 100 * MS)


@pytest.mark.parametrize("apart_ms", [21, 30, 49, -30])
def test_stamps_too_far_apart(apart_ms):
    text = pairing_problem(TENTHS, [stamp + apart_ms * MS for stamp in TENTHS], 0, 20 * MS)
    assert text.startswith(f"stamps differ by {abs(apart_ms)} ms, slop is 20 ms: set slop")


def test_the_slower_stream_decides():
    """Depth at 1 Hz, each with a colour of the 10 Hz at its stamp: nothing is missing."""
    assert pairing_problem(TENTHS, TENTHS[::10], 3, 20 * MS) is None
    assert pairing_problem(TENTHS, [], 0, 20 * MS) is None
    assert "3 ms" in pairing_problem(TENTHS, [stamp + 3 * MS for stamp in TENTHS[::10]], 0, 2 * MS)


def test_some_pairs_are_not_enough():
    """Clocks that drift: one in ten comes near enough."""
    depth = [stamp + (i % 10) * 4 * MS for i, stamp in enumerate(TENTHS)]
    assert "3 pairs of 30 colour and 30 depth" in pairing_problem(TENTHS, depth, 3, 2 * MS)
    assert pairing_problem(TENTHS, depth, 16, 20 * MS) is None


def test_another_clock():
    text = pairing_problem(TENTHS, [stamp + 1_600_000_000_000 * MS for stamp in TENTHS], 0, 20 * MS)
    assert text.startswith("colour and depth are stamped by different clocks, 1.6e+09 s apart: ")


def test_loss_is_counted_by_stamps():
    assert transport_loss(TENTHS, TENTHS) is None
    assert transport_loss([stamp for stamp in TENTHS for _ in range(3)], TENTHS) is None
    assert transport_loss(TENTHS, TENTHS[::3]) == pytest.approx(2 / 3)
    assert transport_loss(TENTHS, TENTHS[2:]) is None  # two may be on their way
    assert transport_loss([stamp + MS for stamp in TENTHS], TENTHS[::3]) is None  # not sent together


@pytest.mark.parametrize(
    ("metres", "encoding", "words"),
    [
        ([1.0, 2.0, np.nan], "32FC1", None),
        ([np.nan, np.nan], "32FC1", None),
        ([1500.0, np.nan], "32FC1", "no depth between min_depth and max_depth (median 1500): are these millimetres?"),
        ([0.05, 0.06], "32FC1", "set min_depth and max_depth, now 0.1 and 10 m"),
        ([15.0, 16.0], "16UC1", "set depth_unit, or set min_depth and max_depth"),
        ([1.0] + [1500.0] * 199, "32FC1", "only 0.5 % of the depth lies between min_depth and max_depth (median 1500)"),
    ],
)
def test_depth_out_of_range(metres, encoding, words):
    text = range_problem(np.float32([metres]), encoding, 0.1, 10.0)
    assert text is None if words is None else words in text


def test_colour_that_was_moved():
    assert displacement_problem(0, 0) is None
    assert str(displacement_problem(-3, 4)).startswith("colour stands 5 pixels beside depth, and is moved onto it: ")


# ------------------------------------------------------------------------------------------------- progress


def counts(second: float, received: int = 0, matched: int = 0, published: int = 0, **dropped: dict[str, int]) -> Counts:
    """The counters at a second; `dropped` by stream, and "pairs" for those of the node."""
    health = Snapshot(second, published, Counter(dropped.pop("pairs", {})), {}, {})
    drops = {stream: Counter(dropped.get(stream, {})) for stream in ("color", "depth")}
    return Counts(health, {"color": received, "depth": received}, matched, drops)


def found(*moments: Counts, apart_ns: int = 0) -> dict[str, Any]:
    progress = Progress()
    for moment in moments:
        progress.add(moment)
    stamps = {"color": TENTHS, "depth": [stamp + apart_ns for stamp in TENTHS]}
    problems = progress.problems({"color": "/c", "depth": "/d"}, stamps, 20 * MS)
    return {problem.key: problem.sentence for problem in problems if problem.sentence}


def test_all_is_well():
    assert found(counts(0), counts(3, 30, 30, 30)) == {}


def test_too_little_came_to_judge():
    assert found(counts(0), counts(3, 2)) == {}
    assert found(counts(0), counts(1, 30)) == {}


def test_nothing_pairs():
    assert "stamps differ by 30 ms" in found(counts(0), counts(3, 30), apart_ns=30 * MS)["pairing"]


def test_nothing_pairs_and_it_is_not_for_the_stamps():
    text = found(counts(0), counts(3, 30, color={"stale": 30}))["pairing"]
    assert text == "colour and depth come, and no pair is found among them (30 color stale)"
    # Where messages are refused, that is what is wrong, and is said elsewhere.
    assert found(counts(0), counts(3, 30, pairs={"bad_color": 30})) == {}


def test_stamps_that_repeat():
    text = found(counts(0), counts(3, 30, 1, 1, depth={"duplicate": 29}))
    assert text == {"depth stamps": "stamps on /d repeat: does its driver fill header.stamp?"}


def test_a_network_that_takes_its_time():
    text = found(counts(0), counts(3, 30, 30, 0, pairs={"superseded": 28}))
    assert text == {"busy": "one frame has kept the network busy for 3 s: choose a smaller model"}


def test_stamps_that_go_back():
    text = found(counts(0), counts(3, 38, 7, 7, depth={"late": 31}))
    assert text == {"depth stamps": "most images on /d are stamped before earlier ones: does its clock go back?"}


def test_of_a_stream_that_has_ended_nothing_is_said_here():
    """Colour alone for four seconds, then depth alone, a minute later by its stamps: they did not meet."""

    def both(second: float, color: int, depth: int) -> Counts:
        return dataclasses.replace(counts(second), received={"color": color, "depth": depth})

    moments = [both(k, 10 * min(k, 4), 10 * max(k - 4, 0)) for k in range(9)]
    assert found(*moments, apart_ns=60_000 * MS) == {}
    assert "different clocks" in found(both(0, 0, 0), both(3, 30, 30), apart_ns=60_000 * MS)["pairing"]


def test_where_depth_was_lost():
    some, none = np.full((4, 4), 2, np.float32), np.full((4, 4), np.nan, np.float32)
    counts = np.full((4, 4), 2000, np.uint16)
    assert loss_problem("/d", counts, None, some, 0.9) is None
    assert loss_problem("/d", 0 * counts, None, none, 0.9) == "no pixel on /d has a depth"
    assert loss_problem("/d", none, none, none, 0.9) == "no pixel on /d has a depth"
    assert "after registration" in loss_problem("/d", counts, none, none, 0.9)
    assert "min_confidence, 0.9" in loss_problem("/d", counts, some, none, 0.9)
    assert "max_depth" in loss_problem("/d", some, None, none, 0.0)


def test_rates():
    progress = Progress()
    progress.add(counts(10, 100, 90, 50))
    assert progress.rates_hz is None
    progress.add(counts(14, 220, 210, 122))
    assert progress.rates_hz == (30, 18)


def test_only_the_last_seconds_count():
    """After an hour of pairs, none comes any more."""
    hour = [counts(second, 10 * second, 10 * second, 10 * second) for second in range(3600)]
    after = [counts(3600 + second, 36000 + 10 * second, 35990, 35990) for second in range(4)]
    assert "no pair is found" in found(*hour, *after)["pairing"]
