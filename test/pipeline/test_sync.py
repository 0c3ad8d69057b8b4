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

"""Pairing by time stamps: worked examples for each rule, then properties against an offline oracle."""

from __future__ import annotations

import weakref
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dkn.errors import ConfigError
from dkn_ros.pipeline.sync import Pair, PairSynchronizer

MS = 1_000_000
FRAME = 33 * MS
FAR_FUTURE = 10**18
NEVER = 10**15  # a wait that no test reaches

Event = tuple[int, str, int]  # arrival, stream, stamp


def stamps(pairs: list[Pair]) -> list[tuple[int, int]]:
    return [(pair.color_stamp_ns, pair.depth_stamp_ns) for pair in pairs]


class Player:
    """Feeds a synchroniser as a node would, with a timer at its deadline; messages are (stream, serial)."""

    def __init__(self, sync: PairSynchronizer) -> None:
        self.sync = sync
        self.pairs: list[Pair] = []
        self.release_ns: list[int] = []
        self.arrival_ns: dict[tuple[str, int], int] = {}

    def add(self, arrival_ns: int, stream: str, stamp_ns: int) -> list[Pair]:
        self.wait_until(arrival_ns)
        message = (stream, len(self.arrival_ns))
        self.arrival_ns[message] = arrival_ns
        add = self.sync.add_color if stream == "color" else self.sync.add_depth
        return self._keep(add(stamp_ns, message, arrival_ns), arrival_ns)

    def wait_until(self, now_ns: float) -> None:
        while (deadline := self.sync.deadline_ns()) is not None and deadline <= now_ns:
            self._keep(self.sync.poll(deadline), deadline)
            after = self.sync.deadline_ns()
            assert after is None or after > deadline, "a poll at the deadline must end that wait"

    def play(self, events: list[Event]) -> list[tuple[int, int]]:
        for event in events:
            self.add(*event)
        self.wait_until(float("inf"))
        return stamps(self.pairs)

    def _keep(self, pairs: list[Pair], now_ns: int) -> list[Pair]:
        self.pairs += pairs
        self.release_ns += [now_ns] * len(pairs)
        return pairs


def queued(sync: PairSynchronizer) -> dict[str, int]:
    statistics = sync.statistics
    return {
        name: statistics.received[name] - statistics.matched - sum(dropped.values())
        for name, dropped in statistics.dropped.items()
    }


def play(events: list[Event], slop_ns: int, **limits: int) -> list[tuple[int, int]]:
    return Player(PairSynchronizer(slop_ns, **limits)).play(events)


def match_offline(colors: list[int], depths: list[int], slop_ns: int) -> list[tuple[int, int]]:
    """The nearest of all pairs, then the same on either side of it: all stamps are known beforehand."""
    candidates = [(abs(d - c), d, c) for c in colors for d in depths if abs(d - c) <= slop_ns]
    if not candidates:
        return []
    _, d, c = min(candidates)
    before = match_offline([x for x in colors if x < c], [x for x in depths if x < d], slop_ns)
    after = match_offline([x for x in colors if x > c], [x for x in depths if x > d], slop_ns)
    return [*before, (c, d), *after]


# Worked examples.


def test_equal_stamps_pair_at_once_at_slop_zero() -> None:
    sync = PairSynchronizer(0)
    assert sync.add_color(7, "c", 100) == []
    assert sync.add_depth(7, "d", 100) == [Pair("c", "d", 7, 7)]
    assert sync.deadline_ns() is None
    assert sync.statistics.matched == 1


def test_slop_zero_refuses_one_nanosecond() -> None:
    sync = PairSynchronizer(0)
    sync.add_color(7, "c", 0)
    sync.add_depth(8, "d", 0)
    assert sync.deadline_ns() is None
    assert sync.poll(NEVER) == []
    assert sync.statistics.dropped["color"] == {"no_partner": 1}


@pytest.mark.parametrize(("difference", "count"), [(-6, 0), (-5, 1), (5, 1), (6, 0)])
def test_slop_is_inclusive_on_both_sides(difference: int, count: int) -> None:
    pairs = play([(0, "color", 100), (0, "depth", 100 + difference)], slop_ns=5)
    assert pairs == [(100, 100 + difference)] * count


def test_pair_says_depth_minus_color() -> None:
    assert Pair("c", "d", 10, 7).difference_ns == -3


def test_pair_waits_exactly_max_wait_from_its_second_message() -> None:
    sync = PairSynchronizer(10, max_wait_ns=20)
    sync.add_color(0, "c", 1000)
    assert sync.deadline_ns() is None
    assert sync.add_depth(5, "d", 1010) == []
    assert sync.deadline_ns() == 1030
    assert sync.poll(1029) == []
    assert stamps(sync.poll(1030)) == [(0, 5)]
    assert sync.deadline_ns() is None


def test_no_wait_gives_the_pair_at_once() -> None:
    sync = PairSynchronizer(10, max_wait_ns=0)
    sync.add_color(0, "c", 0)
    assert stamps(sync.add_depth(5, "d", 0)) == [(0, 5)]


def test_an_arrival_ends_a_wait_that_is_over() -> None:
    sync = PairSynchronizer(10, max_wait_ns=20)
    sync.add_color(0, "c", 0)
    sync.add_depth(5, "d", 0)
    assert stamps(sync.add_depth(6, "d", 20)) == [(0, 5)]


@pytest.mark.parametrize(("one", "two"), [("color", "depth"), ("depth", "color")])
def test_pair_is_released_as_soon_as_nothing_nearer_can_come(one: str, two: str) -> None:
    for following, expected in (
        (14, [[10, 14]]),
        (15, [[5, 10]]),
    ):  # 15 is a tie: nearer than 5 would be 6 to 14
        player = Player(PairSynchronizer(5, max_wait_ns=NEVER))
        player.add(0, one, 5)
        assert player.add(0, two, 10) == []  # one 6 to 14 may come
        player.add(0, two, 25)
        player.add(0, one, following)
        player.add(0, one, 30)
        assert [sorted(pair) for pair in stamps(player.pairs)][:1] == expected
    player = Player(PairSynchronizer(5, max_wait_ns=NEVER))
    player.add(0, one, 5)
    player.add(0, two, 10)
    assert [sorted(pair) for pair in stamps(player.add(0, one, 15))] == [[5, 10]]


@pytest.mark.parametrize(("one", "two"), [("color", "depth"), ("depth", "color")])
def test_a_partner_that_is_nearer_but_taken_does_not_prolong_the_wait(one: str, two: str) -> None:
    player = Player(PairSynchronizer(3, max_wait_ns=NEVER))
    for stream, stamp in ((two, 3), (one, 0), (two, 4)):
        assert player.add(0, stream, stamp) == []
    # The 5 is nearer to 3 than 0 is, but it has the 4, or another 5 if that comes.
    assert [sorted(pair) for pair in stamps(player.add(0, one, 5))] == [[0, 3]]


def test_nearer_partner_that_comes_later_wins() -> None:
    sync = PairSynchronizer(10, max_wait_ns=20)
    sync.add_color(0, "c0", 0)
    sync.add_depth(9, "d", 0)
    assert stamps(sync.add_color(9, "c9", 15)) == [(9, 9)]
    assert sync.statistics.dropped["color"] == {"no_partner": 1}


def test_nearness_decides_for_both_sides_and_not_arrival_order() -> None:
    # Depth 30 is nearest to colour 33, although 33 itself has depth 34: depth 30 falls back on colour 12.
    events = [("color", 12), ("depth", 30), ("color", 33), ("depth", 34)]
    expected = [(12, 30), (33, 34)]
    assert play([(0, *event) for event in events], 20, max_wait_ns=50) == expected
    assert play([(0, *event) for event in reversed(events)], 20, max_wait_ns=50) == expected


@pytest.mark.parametrize(("one", "two"), [("color", "depth"), ("depth", "color")])
def test_of_two_equally_near_partners_the_older_is_taken(one: str, two: str) -> None:
    for order in ([90, 110], [110, 90]):
        player = Player(PairSynchronizer(10))
        player.play([(0, one, order[0]), (0, one, order[1]), (0, two, 100)])
        assert [sorted(pair) for pair in stamps(player.pairs)] == [[90, 100]]


def test_a_waiting_older_pair_comes_out_before_an_exact_newer_one() -> None:
    sync = PairSynchronizer(30, max_wait_ns=NEVER)
    sync.add_color(-20, "c", 0)
    sync.add_depth(0, "d", 0)
    assert sync.add_color(5, "c", 0) == []
    assert stamps(sync.add_depth(5, "d", 0)) == [(-20, 0), (5, 5)]


def test_output_never_goes_back_in_time() -> None:
    # Depth 20 and colour 0 are within the slop, but a pair of them would cross (11, 10).
    events = [(0, "color", 0), (0, "depth", 10), (0, "depth", 20), (0, "color", 11)]
    assert play(events, slop_ns=30) == [(11, 10)]


def test_a_message_older_than_the_last_pair_is_late() -> None:
    player = Player(PairSynchronizer(0))
    assert player.play([(0, s, t) for t in (33, 20) for s in ("color", "depth")]) == [(33, 33)]
    assert player.sync.statistics.dropped == {"color": {"late": 1}, "depth": {"late": 1}}
    assert player.sync.statistics.late == 2


def test_repeated_stamps_are_duplicates() -> None:
    sync = PairSynchronizer(0)
    sync.add_color(5, "first", 0)
    sync.add_color(7, "c", 0)
    sync.add_color(5, "second", 0)  # while the first is queued
    assert sync.add_depth(5, "d", 0)[0].color == "first"
    sync.add_color(5, "third", 0)  # after the first was matched
    sync.add_depth(5, "d again", 0)
    assert sync.statistics.dropped == {"color": {"duplicate": 2}, "depth": {"duplicate": 1}}


def test_an_unmatched_message_goes_as_soon_as_no_partner_can_come() -> None:
    sync = PairSynchronizer(5)
    sync.add_depth(0, "d", 0)
    sync.add_color(-9, "c", 0)
    sync.add_color(-6, "c", 0)
    assert queued(sync) == {"color": 0, "depth": 1}  # depth has passed both colours by more than the slop
    assert sync.statistics.dropped["color"] == {"no_partner": 2}
    sync.add_color(6, "c", 0)
    assert queued(sync) == {"color": 1, "depth": 0}
    assert sync.statistics.dropped["depth"] == {"no_partner": 1}


def test_a_message_is_kept_while_a_partner_can_still_come() -> None:
    sync = PairSynchronizer(6, max_wait_ns=0)
    sync.add_depth(0, "d0", 0)
    sync.add_depth(6, "d6", 0)
    sync.add_color(1, "c1", 0)
    sync.add_color(4, "c4", 0)
    assert queued(sync)["depth"] == 0  # (1, 0) and (4, 6)
    sync.add_depth(20, "d20", 0)
    sync.add_color(13, "c13", 0)
    assert queued(sync)["depth"] == 1
    assert stamps(sync.add_color(14, "c14", 0)) == [(14, 20)]


def test_reordered_message_pairs_while_its_partner_waits() -> None:
    events = [(0, "color", 33), (0, "color", 0), (0, "depth", 0), (0, "depth", 33)]
    assert play(events, slop_ns=0) == [(0, 0), (33, 33)]


def test_equal_stamps_pair_at_once_after_a_reordering_too() -> None:
    sync = PairSynchronizer(5, max_wait_ns=NEVER)
    sync.add_color(33, "c33", 0)
    sync.add_color(20, "c20", 0)
    assert stamps(sync.add_depth(33, "d33", 0)) == [(33, 33)]


def test_a_full_queue_drops_its_oldest() -> None:
    sync = PairSynchronizer(0, queue_size=3)
    for stamp in (10, 40, 20, 30, 50):
        sync.add_depth(stamp, stamp, 0)
    assert queued(sync)["depth"] == 3
    assert sync.statistics.dropped["depth"] == {"queue_full": 2}
    got = [pair.depth for stamp in (10, 20, 30, 40, 50) for pair in sync.add_color(stamp, "c", 0)]
    assert got == [30, 40, 50]


def test_a_full_queue_gives_out_its_oldest_pair_rather_than_losing_it() -> None:
    for one, two in (("color", "depth"), ("depth", "color")):
        player = Player(PairSynchronizer(10, queue_size=1, max_wait_ns=NEVER))
        player.add(0, one, 0)
        assert player.add(0, two, 5) == []
        assert [sorted(p) for p in stamps(player.add(0, two, 8))] == [[0, 5]]


def test_queue_size_can_shrink() -> None:
    sync = PairSynchronizer(0, queue_size=10)
    for stamp in range(8):
        sync.add_depth(stamp, "d", 0)
    sync.queue_size = 2
    sync.poll(0)
    assert queued(sync)["depth"] == 2


def test_slop_can_change_while_messages_wait() -> None:
    sync = PairSynchronizer(0, max_wait_ns=20)
    sync.add_depth(5, "d", 0)
    sync.add_color(3, "c", 0)  # dropped: depth is past it
    sync.slop_ns = 10
    assert sync.deadline_ns() is None
    sync.add_color(4, "c", 0)
    assert sync.deadline_ns() == 20
    sync.slop_ns = 0
    assert sync.deadline_ns() is None
    assert sync.poll(20) == []


@pytest.mark.parametrize("name", ["slop_ns", "queue_size", "max_wait_ns", "jump_ns"])
@pytest.mark.parametrize("value", [-1, 0.5, "3", True, None])
def test_limits_are_checked(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        PairSynchronizer(**{"slop_ns": 1, name: value})
    sync = PairSynchronizer(1)
    before = getattr(sync, name)
    with pytest.raises(ConfigError, match=name):
        setattr(sync, name, value)
    assert getattr(sync, name) == before


def test_smallest_limits() -> None:
    PairSynchronizer(0, queue_size=1, max_wait_ns=0, jump_ns=0)
    with pytest.raises(ConfigError, match="queue_size must be an integer of at least 1, got 0"):
        PairSynchronizer(0, queue_size=0)


def test_difference_statistics() -> None:
    sync = PairSynchronizer(10, max_wait_ns=0)
    assert sync.statistics.mean_difference_ns == 0.0
    for color, depth in ((100, 100), (200, 195), (300, 301)):
        sync.add_color(color, "c", 0)
        sync.add_depth(depth, "d", 0)
    statistics = sync.statistics
    assert statistics.matched == 3
    assert (statistics.last_difference_ns, statistics.max_difference_ns) == (1, 5)
    assert statistics.mean_difference_ns == 2.0


def test_public_reset_forgets_everything_but_the_counters() -> None:
    sync = PairSynchronizer(0)
    for stamp in (100, 200):
        sync.add_color(stamp, "c", 0)
    sync.add_depth(100, "d", 0)
    sync.reset("size")
    assert sync.statistics.resets == {"size": 1}
    assert sync.statistics.dropped["color"] == {"reset": 1}
    assert sync.statistics.matched == 1
    sync.add_color(100, "c", 0)  # neither duplicate nor late
    assert stamps(sync.add_depth(100, "d", 0)) == [(100, 100)]
    assert sync.statistics.resets == {"size": 1}


def test_public_reset_accepts_a_stream_that_was_stale() -> None:
    sync = PairSynchronizer(0)
    for stamp in (9000 * MS, 0):
        sync.add_depth(9000 * MS, "d", 0)
        sync.add_color(stamp, "c", 0)
    sync.reset("size")
    sync.add_depth(9000 * MS, "d", 0)
    assert queued(sync)["depth"] == 1


def test_a_stamp_far_enough_back_is_a_jump_and_a_nearer_one_is_not() -> None:
    sync = PairSynchronizer(0, jump_ns=50)
    sync.add_color(100, "c", 0)
    sync.add_color(50, "c", 0)
    assert sync.statistics.resets == {}
    sync.add_color(49, "c", 0)
    assert sync.statistics.resets == {"clock_jump": 1}
    assert sync.statistics.dropped["color"] == {"reset": 2}
    assert queued(sync)["color"] == 1


def test_old_pass_can_neither_pair_with_nor_displace_the_new_one() -> None:
    player = Player(PairSynchronizer(10 * MS))
    second = 1000 * MS
    events = [(0, "color", second), (0, "depth", second)]
    events += [(0, "color", 0), (0, "color", FRAME)]  # colour starts over
    events += [(0, "depth", second + k * FRAME) for k in range(1, 4)]  # the last pass's tail
    events += [(0, "depth", 0), (0, "depth", FRAME)]
    assert player.play(events) == [(second, second), (0, 0), (FRAME, FRAME)]
    assert player.sync.statistics.resets == {"clock_jump": 1}
    assert player.sync.statistics.dropped == {"color": {}, "depth": {"stale": 3}}


@pytest.mark.parametrize("liar", ["color", "depth", "both"])
def test_one_far_future_stamp_does_no_lasting_harm(liar: str) -> None:
    player = Player(PairSynchronizer(10 * MS))
    events = []
    for k in range(60):
        for stream in ("color", "depth"):
            lies = k == 30 and liar in (stream, "both")
            events.append((k * FRAME, stream, FAR_FUTURE if lies else k * FRAME))
    pairs = player.play(events)
    true_pairs = [pair for pair in pairs if pair[0] < FAR_FUTURE]
    assert true_pairs == [(k * FRAME, k * FRAME) for k in range(60) if k != 30]
    if liar == "both":
        assert player.sync.statistics.resets == {"clock_jump": 1}
    else:
        assert player.sync.statistics.resets == {}
        assert player.sync.statistics.dropped[liar] == {"future": 1}


@pytest.mark.parametrize("alone", ["color", "depth"])
def test_a_pause_is_no_future(alone: str) -> None:
    """The first message after it waits for its partner, or for the next of its stream, and is not lost."""
    player = Player(PairSynchronizer(10 * MS))
    later = 3000 * MS
    events = [(0, s, 0) for s in ("color", "depth")] + [(1, alone, later), (2, alone, later + FRAME)]
    other = "depth" if alone == "color" else "color"
    assert player.play([*events, (3, other, later), (3, other, later + FRAME)])[1:] == [
        (later, later),
        (later + FRAME, later + FRAME),
    ]
    assert player.sync.statistics.dropped == {"color": {}, "depth": {}}


def test_a_first_stamp_in_the_far_future_does_no_lasting_harm() -> None:
    events = [(0, "depth", FAR_FUTURE)]
    events += [(k * FRAME, s, k * FRAME) for k in range(5) for s in ("color", "depth")]
    assert play(events, slop_ns=0)[-4:] == [(k * FRAME, k * FRAME) for k in range(1, 5)]


@pytest.mark.parametrize(("one", "two"), [("color", "depth"), ("depth", "color")])
def test_a_stamp_too_far_ahead_by_less_than_a_jump_costs_two_pairs_at_most(one: str, two: str) -> None:
    events = []
    for k in range(60):
        ahead = 300 * MS + 7 if k == 30 else 0
        events += [(k * FRAME, one, k * FRAME), (k * FRAME, two, k * FRAME + 1 + ahead)]
    assert len(play(events, slop_ns=10 * MS)) >= 58


def test_one_zero_stamp_does_no_lasting_harm() -> None:
    for stream in ("color", "depth"):
        player = Player(PairSynchronizer(0))
        start = 10**18
        events = [(k, s, start + k * FRAME) for k in range(10) for s in ("color", "depth")]
        events.insert(10, (5, stream, 0))
        assert len(player.play(events)) >= 9
        assert player.sync.statistics.resets == {"clock_jump": 1}


def test_a_stream_whose_clock_was_set_back_alone_pairs_again_once_it_has_caught_up() -> None:
    start = 3000 * MS
    events = [(0, "color", start), (0, "depth", start), (1, "color", 0)]
    events += [(k, "depth", start + k * FRAME) for k in range(1, 10)]
    again = start + 10 * FRAME
    events += [(20, "color", again), (20, "depth", again)]
    assert play(events, slop_ns=0) == [(start, start), (again, again)]


def test_a_gap_in_both_streams_needs_no_reset() -> None:
    player = Player(PairSynchronizer(0))
    later = 100_000 * MS
    assert player.play([(0, s, t) for t in (0, later) for s in ("color", "depth")]) == [
        (0, 0),
        (later, later),
    ]
    assert player.sync.statistics.resets == {}


def test_streams_that_never_fill_the_stamp_give_one_pair_and_duplicates() -> None:
    player = Player(PairSynchronizer(10 * MS))
    assert player.play([(k, s, 0) for k in range(20) for s in ("color", "depth")]) == [(0, 0)]
    assert player.sync.statistics.dropped == {"color": {"duplicate": 19}, "depth": {"duplicate": 19}}


def test_one_stream_that_never_fills_the_stamp_only_yields_no_pairs() -> None:
    player = Player(PairSynchronizer(10 * MS, queue_size=4))
    events = [(k, s, t) for k in range(20) for s, t in (("color", 0), ("depth", 10**18 + k * FRAME))]
    assert player.play(events) == []
    assert player.sync.statistics.dropped["color"] == {"no_partner": 1, "duplicate": 19}
    assert queued(player.sync) == {"color": 0, "depth": 4}


# Properties. In-order stamps a few units apart make ties, exact hits and chains of competing pairs frequent.

increasing = st.lists(st.integers(1, 9), max_size=14).map(
    lambda steps: [sum(steps[: k + 1]) for k in range(len(steps))]
)


@st.composite
def merged(draw: st.DrawFn) -> tuple[list[int], list[int], list[Event]]:
    """Two streams, each in order, and any interleaving of their arrivals."""
    colors, depths = draw(increasing), draw(increasing)
    names = draw(st.permutations(["color"] * len(colors) + ["depth"] * len(depths)))
    following = {"color": iter(colors), "depth": iter(depths)}
    return colors, depths, [(k, name, next(following[name])) for k, name in enumerate(names)]


@settings(max_examples=400, deadline=None)
@given(merged(), st.integers(0, 12))
def test_any_arrival_order_gives_the_offline_matching(streams: tuple, slop: int) -> None:
    colors, depths, events = streams
    expected = match_offline(colors, depths, slop)
    assert play(events, slop, queue_size=100, max_wait_ns=NEVER) == expected


@settings(max_examples=200, deadline=None)
@given(merged(), st.integers(0, 12), st.integers(0, 6), st.data())
def test_stamps_in_the_future_cost_nothing_but_themselves(
    streams: tuple, slop: int, max_wait: int, data: st.DataObject
) -> None:
    events = streams[2]
    lies = sorted(data.draw(st.sets(st.integers(1, len(events) - 1), max_size=4)) if len(events) > 1 else [])
    told, liars = list(events), set()
    for n, k in enumerate(lies):
        earlier = [i for i in range(k) if events[i][1] == events[k][1]]
        if not earlier or earlier[-1] not in liars:  # two in a row would be a pause
            liars.add(k)
            told[k] = (*events[k][:2], FAR_FUTURE + n * 10**12)
    true = [event for k, event in enumerate(events) if k not in liars]
    limits = {"queue_size": 100, "max_wait_ns": max_wait}
    assert play(told, slop, **limits) == play(true, slop, **limits)


@settings(max_examples=200, deadline=None)
@given(st.lists(merged(), min_size=1, max_size=4), st.integers(0, 12))
def test_nothing_waits_once_both_streams_have_passed(bursts: list, slop: int) -> None:
    player = Player(PairSynchronizer(slop, queue_size=100, max_wait_ns=NEVER))
    start = 0
    expected = []
    for colors, depths, events in bursts:
        for _, stream, stamp in events:
            player.add(0, stream, start + stamp)
        expected += [(start + c, start + d) for c, d in match_offline(colors, depths, slop)]
        start = max([start, *(start + s for s in colors + depths)]) + slop
        # Two marks, further than the slop from each other and from the burst but for its last stamp + slop.
        player.add(0, "color", start + 2 * slop + 1)
        player.add(0, "depth", start + 4 * slop + 2)
        assert stamps(player.pairs) == expected
        start += 6 * slop + 3
    assert sum(queued(player.sync).values()) <= 1  # the last mark


@settings(max_examples=300, deadline=None)
@given(merged(), st.integers(0, 12), st.integers(0, 6), st.integers(1, 4))
def test_a_quiet_time_of_max_wait_leaves_no_pair_waiting(
    streams: tuple, slop: int, max_wait: int, queue_size: int
) -> None:
    _, _, events = streams
    player = Player(PairSynchronizer(slop, queue_size, max_wait))
    for event in events:
        player.add(*event)
        assert max(queued(player.sync).values()) <= queue_size
    player.sync.poll(len(events) + max_wait)
    assert player.sync.deadline_ns() is None
    assert player.sync.poll(NEVER) == []


class Message:
    """Something that can be weakly referenced."""


stamp_noise = st.one_of(st.integers(-40, 40), st.integers(-3000, 3000), st.sampled_from([0, FAR_FUTURE, -FAR_FUTURE]))
actions = st.one_of(
    st.tuples(st.sampled_from(["color", "depth"]), stamp_noise),
    st.tuples(st.sampled_from(["color", "depth"]), st.integers(-40, 40)),
    st.tuples(st.sampled_from(["poll", "reset", "slop", "queue"]), st.integers(1, 30)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(actions, max_size=60), st.integers(0, 30), st.integers(1, 6), st.integers(0, 40))
def test_invariants_under_arbitrary_input(todo: list, slop: int, queue_size: int, max_wait: int) -> None:
    sync: PairSynchronizer = PairSynchronizer(slop, queue_size, max_wait, jump_ns=200)
    alive: weakref.WeakSet = weakref.WeakSet()
    used: set[tuple[str, int]] = set()
    last = None
    resets = received = 0
    for now, (action, value) in enumerate(todo):
        base = now * 10
        now *= 7
        if action == "reset":
            sync.reset("test")
            pairs = []
        elif action == "slop":
            sync.slop_ns = value
            pairs = sync.poll(now)
        elif action == "queue":
            sync.queue_size = value
            pairs = sync.poll(now)
        elif action == "poll":
            pairs = sync.poll(now)
        else:
            message = Message()
            message.key = (action, now)
            alive.add(message)
            received += 1
            pairs = (sync.add_color if action == "color" else sync.add_depth)(base + value, message, now)
            del message
        if sum(sync.statistics.resets.values()) > resets:
            resets, last = sum(sync.statistics.resets.values()), None
        for pair in pairs:
            assert abs(pair.difference_ns) <= sync.slop_ns
            assert (pair.color.key[0], pair.depth.key[0]) == ("color", "depth")
            assert pair.color.key not in used
            assert pair.depth.key not in used
            used |= {pair.color.key, pair.depth.key}
            if last:
                assert pair.color_stamp_ns > last.color_stamp_ns
                assert pair.depth_stamp_ns > last.depth_stamp_ns
            last = Pair(None, None, pair.color_stamp_ns, pair.depth_stamp_ns)
        pair = None
        pairs = []
        waiting = queued(sync)
        assert all(0 <= count <= sync.queue_size + 1 for count in waiting.values())  # one may be held back
        assert len(alive) == sum(waiting.values())  # nothing else is held, nothing is lost
        deadline = sync.deadline_ns()
        assert deadline is None or deadline > now or action == "slop"
    assert sum(sync.statistics.received.values()) == received
    assert 2 * sync.statistics.matched == len(used)
    sync.reset("end")
    assert len(alive) == 0
    assert sum(queued(sync).values()) == 0


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 10 * MS), st.integers(4, 6))
def test_reordering_and_duplicates_in_the_stream_that_is_ahead_lose_nothing(
    data: st.DataObject, offset: int, lag: int
) -> None:
    count = 30
    order = []
    for start in range(0, count, 3):
        order += data.draw(st.permutations(range(start, start + 3)))
    repeat = data.draw(st.sets(st.integers(0, count - 1)))
    events = []
    for position, k in enumerate(order):
        events += [(position * FRAME, "depth", k * FRAME + offset)] * (2 if k in repeat else 1)
    events += [((k + lag) * FRAME - 1, "color", k * FRAME) for k in range(count)]
    player = Player(PairSynchronizer(12 * MS))
    assert player.play(sorted(events)) == [(k * FRAME, k * FRAME + offset) for k in range(count)]
    assert player.sync.statistics.dropped["depth"] == Counter(duplicate=len(repeat))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([-3 * MS, 3 * MS]), st.integers(0, 30 * MS))
def test_jittered_streams_pair_at_their_offset_and_wait_no_longer_than_allowed(
    seed: int, offset: int, delay: int
) -> None:
    # The shutter jitters for both cameras together, 3 ms apart; a slop of a whole period invites wrong pairs.
    events = []
    random = Random(seed)
    for k in range(300):
        stamp = FAR_FUTURE + k * FRAME + random.randint(-4 * MS, 4 * MS)
        events += [(stamp, "color", stamp), (stamp + offset + delay, "depth", stamp + offset)]
    player = Player(PairSynchronizer(40 * MS))
    player.play(sorted(events))
    assert [pair.difference_ns for pair in player.pairs] == [offset] * 300
    assert player.sync.statistics.mean_difference_ns == player.sync.statistics.max_difference_ns == 3 * MS
    for pair, release in zip(player.pairs, player.release_ns, strict=True):
        possible = max(player.arrival_ns[pair.color], player.arrival_ns[pair.depth])
        assert 0 <= release - possible <= player.sync.max_wait_ns


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(-9 * MS, 9 * MS), st.integers(-3, 3), st.integers(36, 50))
def test_every_pass_of_a_looped_bag_gives_the_same_pairs(seed: int, offset: int, lag: int, count: int) -> None:
    passes = 5
    random = Random(seed)
    recording = {}
    for name, shift in (("color", 0), ("depth", offset)):
        kept = sorted(random.sample(range(count), count - random.randint(0, 4)))
        recording[name] = [k * FRAME + shift + random.randint(-2 * MS, 2 * MS) for k in kept]
    length = count * FRAME
    events = []
    for n in range(passes):
        for name, delay in (("color", 0), ("depth", lag * FRAME)):
            events += [(n * length + stamp + delay, name, stamp) for stamp in recording[name]]
    player = Player(PairSynchronizer(15 * MS, max_wait_ns=NEVER))
    player.play(sorted(events))

    by_pass: list[list[tuple[int, int]]] = [[]]
    for pair in player.pairs:
        if by_pass[-1] and pair.depth_stamp_ns < by_pass[-1][-1][1]:
            by_pass.append([])
        by_pass[-1].append((pair.color_stamp_ns, pair.depth_stamp_ns))
    whole = match_offline(recording["color"], recording["depth"], 15 * MS)
    assert by_pass[-1] == whole
    assert by_pass[:-1] == [by_pass[0]] * (passes - 1)
    assert by_pass[0] == whole[: len(by_pass[0])]
    cut_off = min(recording[name][-1] for name in recording) - (abs(lag) + 3) * FRAME
    assert all(depth > cut_off for _, depth in whole[len(by_pass[0]) :])
    assert player.sync.statistics.resets == {"clock_jump": passes - 1}
