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

"""The message_filters package behind our synchroniser's interface: a stand-in, and the real one where ROS 2 has it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import fake_message_filters
import pytest

from dkn.errors import ConfigError
from dkn_ros.pipeline.sync import PairSynchronizer
from dkn_ros.pipeline.sync_message_filters import MessageFiltersSynchronizer

MILLISECOND = 1_000_000
START = 1_700_000_000 * 1_000_000_000


@pytest.fixture(params=["stand-in", "real"], autouse=True)
def package(request, monkeypatch) -> None:
    if request.param == "real":
        pytest.importorskip("message_filters", reason="message_filters comes with ROS 2 alone, not from PyPI")
    else:
        monkeypatch.setitem(sys.modules, "message_filters", fake_message_filters)


class _Frame(SimpleNamespace):
    """What the node hands over: a header, and things that are none of the package's business."""


def frame(stamp_ns: int, content: str = "") -> Any:
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    try:
        from builtin_interfaces.msg import Time
    except ImportError:
        Time = SimpleNamespace
    return _Frame(header=SimpleNamespace(stamp=Time(sec=seconds, nanosec=nanoseconds)), content=content)


def feed(synchronizer: MessageFiltersSynchronizer, *, colors: list[int], depths: list[int]) -> list[tuple[int, int]]:
    """Messages in the order of their stamps; the stamps of the pairs that come out, milliseconds after START."""
    events = sorted([(at, "color") for at in colors] + [(at, "depth") for at in depths])
    pairs = []
    for at, stream in events:
        stamp = START + at * MILLISECOND
        add = synchronizer.add_color if stream == "color" else synchronizer.add_depth
        pairs += add(stamp, frame(stamp, f"{stream} {at}"), now_ns=0)
    for pair in pairs:
        assert pair.color.content.startswith("color")
        assert pair.depth.content.startswith("depth")
    return [((p.color_stamp_ns - START) // MILLISECOND, (p.depth_stamp_ns - START) // MILLISECOND) for p in pairs]


def test_it_pairs_within_the_slop():
    synchronizer = MessageFiltersSynchronizer(10 * MILLISECOND, 5)
    assert feed(synchronizer, colors=[0, 33, 66], depths=[3, 52, 66]) == [(0, 3), (66, 66)]
    statistics = synchronizer.statistics
    assert statistics.received == {"color": 3, "depth": 3}
    assert statistics.matched == 2
    assert statistics.max_difference_ns == 3 * MILLISECOND
    assert statistics.mean_difference_ns == 1.5 * MILLISECOND
    assert statistics.last_difference_ns == 0


def test_messages_come_through_as_they_are():
    synchronizer = MessageFiltersSynchronizer(10 * MILLISECOND, 5)
    color, depth = frame(START), frame(START + 1)
    assert synchronizer.add_color(START, color, 0) == []
    (pair,) = synchronizer.add_depth(START + 1, depth, 0)
    assert pair.color is color
    assert pair.depth is depth
    assert (pair.color_stamp_ns, pair.depth_stamp_ns) == (START, START + 1)
    assert synchronizer.poll(0) == []
    assert synchronizer.deadline_ns() is None


def test_slop_is_live():
    synchronizer = MessageFiltersSynchronizer(10 * MILLISECOND, 5)
    assert feed(synchronizer, colors=[0], depths=[7]) == [(0, 7)]
    synchronizer.slop_ns = 5 * MILLISECOND
    assert synchronizer.slop_ns == 5 * MILLISECOND
    assert feed(synchronizer, colors=[100], depths=[107]) == []
    synchronizer.slop_ns = 10 * MILLISECOND
    assert feed(synchronizer, colors=[200], depths=[207]) == [(200, 207)]
    assert synchronizer.statistics.matched == 2


def test_slop_that_is_set_to_what_it_is_drops_nothing():
    synchronizer = MessageFiltersSynchronizer(10 * MILLISECOND, 5)
    assert feed(synchronizer, colors=[0], depths=[]) == []
    synchronizer.slop_ns = 10 * MILLISECOND  # as the node does with every parameter
    assert feed(synchronizer, colors=[], depths=[7]) == [(0, 7)]


def test_each_pair_comes_out_once_after_resets():
    """What was connected before a reset must not hear what comes after it."""
    synchronizer = MessageFiltersSynchronizer(10 * MILLISECOND, 5)
    for _ in range(3):
        synchronizer.reset("idle")
    synchronizer.reset("color_changed")
    assert feed(synchronizer, colors=[0, 33], depths=[0, 33]) == [(0, 0), (33, 33)]
    assert synchronizer.statistics.resets == {"idle": 3, "color_changed": 1}
    assert synchronizer.statistics.matched == 2


def test_a_reset_empties_the_queues():
    synchronizer = MessageFiltersSynchronizer(10 * MILLISECOND, 5)
    assert feed(synchronizer, colors=[0], depths=[]) == []
    synchronizer.reset("idle")
    assert feed(synchronizer, colors=[], depths=[1]) == []


def test_a_recording_that_starts_over():
    """Left over from the first pass: more messages without a partner than fit into the queue."""
    synchronizer = MessageFiltersSynchronizer(10 * MILLISECOND, 5)
    times = list(range(0, 3000, 33))
    lonely = list(range(3000, 3400, 33))
    for _ in range(3):
        pairs = feed(synchronizer, colors=times + lonely, depths=[at + 3 for at in times])
        assert pairs == [(at, at + 3) for at in times]
    assert synchronizer.statistics.resets == {"clock_jump": 2}


def test_queue_size_is_passed_on():
    synchronizer = MessageFiltersSynchronizer(10 * MILLISECOND, 2)
    assert feed(synchronizer, colors=[0, 1000, 2000], depths=[]) == []
    stamp = START
    assert synchronizer.add_depth(stamp, frame(stamp, "depth"), 0) == []  # its partner had to leave
    stamp += 1000 * MILLISECOND
    assert len(synchronizer.add_depth(stamp, frame(stamp, "depth"), 0)) == 1


def test_it_has_what_the_node_uses_of_ours():
    ours, theirs = PairSynchronizer(0), MessageFiltersSynchronizer(0, 1)
    for name in ("add_color", "add_depth", "poll", "deadline_ns", "reset", "slop_ns", "statistics"):
        assert hasattr(ours, name)
        assert hasattr(theirs, name)


def test_without_the_package_it_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "message_filters", None)
    with pytest.raises(ConfigError, match=r"apt install .*message-filters.*'nearest'"):
        MessageFiltersSynchronizer(0, 1)
