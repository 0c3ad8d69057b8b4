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

"""Pairing of the colour and depth messages of an RGB-D camera by their time stamps.

Pure Python: it knows no ROS, and messages are opaque to it. All times are integer nanoseconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from dkn.errors import ConfigError

C = TypeVar("C")
D = TypeVar("D")
M = TypeVar("M")
_Match: TypeAlias = tuple[int, int]  # indices into the depth and the colour queue

SLOP = 0.02
"""Seconds between the stamps of a pair at most, unless told otherwise."""
MAX_WAIT = 0.01
"""Seconds that a pair of unequal stamps waits for a nearer partner, unless told otherwise."""

MILLISECOND = 1_000_000
JUMP_NS = 500 * MILLISECOND  # a stamp further than this behind its stream's newest is a backward clock jump


@dataclass(frozen=True)
class Pair(Generic[C, D]):
    """A colour and a depth message that belong together; the depth stamp is the pair's."""

    color: C
    depth: D
    color_stamp_ns: int
    depth_stamp_ns: int

    @property
    def difference_ns(self) -> int:
        """Depth stamp minus colour stamp, in nanoseconds."""
        return self.depth_stamp_ns - self.color_stamp_ns


@dataclass
class Statistics:
    """Counters over the life of a synchroniser; a reset does not clear them.

    For each stream ("color", "depth"), `received` = `matched` + all of `dropped` + what is still queued.
    The reasons in `dropped`:

    - duplicate: its stamp was there already.
    - late: it arrived after a pair with the same or a newer stamp had been given out.
    - no_partner: no message within the slop came, or a nearer one took the partner.
    - queue_full: `queue_size` newer messages waited.
    - future: its stamp lay further than a jump ahead of both streams, and the next of its stream did not.
    - stale: it carries a stamp from before a backward clock jump that the other stream has already made.
    - reset: it was queued when a reset came.

    `resets` counts by reason: "clock_jump", or what the caller of `reset` gave. Differences are the matched
    pairs' |depth - colour| in nanoseconds, 0 before the first pair.
    """

    received: Counter[str] = field(default_factory=Counter)
    matched: int = 0
    dropped: dict[str, Counter[str]] = field(default_factory=lambda: {"color": Counter(), "depth": Counter()})
    resets: Counter[str] = field(default_factory=Counter)
    last_difference_ns: int = 0
    max_difference_ns: int = 0
    total_difference_ns: int = 0

    @property
    def mean_difference_ns(self) -> float:
        """Mean |depth - colour| of all matched pairs in nanoseconds."""
        return self.total_difference_ns / self.matched if self.matched else 0.0

    @property
    def late(self) -> int:
        """Messages of both streams that were dropped as late."""
        return sum(reasons["late"] for reasons in self.dropped.values())

    def count_match(self, difference_ns: int) -> None:
        """One more pair, its stamps so far apart."""
        self.matched += 1
        self.last_difference_ns = difference_ns
        self.max_difference_ns = max(self.max_difference_ns, difference_ns)
        self.total_difference_ns += difference_ns


class _Limit:
    """An integer option that may be set at any time, and is checked each time it is."""

    def __init__(self, minimum: int) -> None:
        self._minimum = minimum

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> int:
        if instance is None:  # looked up on the class, as help() does
            return self._minimum
        return instance.__dict__[self._name]

    def __set__(self, instance: Any, value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < self._minimum:
            raise ConfigError(f"{self._name} must be an integer of at least {self._minimum}, got {value!r}")
        instance.__dict__[self._name] = value


@dataclass(frozen=True)
class _Queued(Generic[M]):
    stamp_ns: int
    arrival_ns: int
    message: M


def _stamp(queued: _Queued[Any]) -> int:
    return queued.stamp_ns


@dataclass
class _Stream(Generic[M]):
    name: str
    queue: list[_Queued[M]] = field(default_factory=list)  # by stamp
    newest_ns: int | None = None
    latest_ns: int | None = None  # of the last arrival; older than the newest where messages are reordered
    output_ns: int | None = None  # of the last pair
    suspect: _Queued[M] | None = None  # far ahead of all others, and held back until another bears it out
    stale: bool = False  # the other stream made a backward jump that this one has yet to make

    @property
    def earliest_ns(self) -> float:
        """The oldest stamp that may still come, if the stream is monotonic.

        The latest and not the newest stamp counts, so that one stamp too far ahead does no lasting harm.
        """
        return float("-inf") if self.latest_ns is None or self.stale else self.latest_ns + 1

    def within(self, stamp_ns: int, slop_ns: int) -> range:
        """The queued messages (indices) at most `slop_ns` from a stamp."""
        return range(
            bisect_left(self.queue, stamp_ns - slop_ns, key=_stamp),
            bisect_right(self.queue, stamp_ns + slop_ns, key=_stamp),
        )

    def is_duplicate(self, stamp_ns: int) -> bool:
        return stamp_ns in (self.newest_ns, self.output_ns) or bool(self.within(stamp_ns, 0))


class PairSynchronizer(Generic[C, D]):
    """Pairs each depth message with the nearest colour message, at most `slop_ns` (inclusive) apart.

    A pair is mutually nearest: neither message has a strictly nearer partner, queued or still to come; of two
    equally near ones the older is taken. Equal stamps pair at once. Any other pair waits until the stamps of
    both streams prove that nothing nearer can come, but no longer than `max_wait_ns` from when both messages
    are there, or until a queue is full. The stamps of successive pairs strictly increase, colour and depth
    alike, except across a reset.

    A message may arrive somewhat out of order: it pairs if its partner still waits, and may be too late.
    A stamp more than `jump_ns` older than its stream's newest is a backward clock jump (a bag that starts
    over, a restarted driver, a single stamp of zero) and resets the synchroniser.
    Where both streams jump, one after the other, the first one resets; what the other still sends by the old
    clock is dropped as stale, so that it can neither pair with nor displace messages of the new clock.

    A stamp more than `jump_ns` (and `slop_ns`) ahead of both streams is held back until either goes on from there,
    as after a pause. So a single one that lies in the future costs no other message its partner.

    The caller drives time: `now_ns` is any monotonic clock. Call `poll` when `deadline_ns()` has come.
    Single-threaded by contract: all calls come from one executor thread. Nothing blocks, nothing calls back.

    Args:
        slop_ns: largest difference of the stamps in a pair, 0 or more nanoseconds.
        queue_size: how many messages of each stream may wait, 1 or more, beside one that is held back.
        max_wait_ns: longest wait of a pair for a nearer partner, 0 or more nanoseconds of the caller's clock.
            It should exceed the difference of the two streams' transport delays.
        jump_ns: how far a stamp may lie behind its stream's newest without a reset, 0 or more nanoseconds.
            More than any reordering; less than half the length of a recording that is to be looped.

    `slop_ns`, `queue_size`, `max_wait_ns` and `jump_ns` may be set at any time and act from the next call on.
    `statistics` are the counters, kept up to date.

    Raises:
        ConfigError: a limit, at construction or when set, is no integer or too small.
    """

    slop_ns = _Limit(0)
    queue_size = _Limit(1)
    max_wait_ns = _Limit(0)
    jump_ns = _Limit(0)

    def __init__(
        self,
        slop_ns: int,
        queue_size: int = 10,
        max_wait_ns: int = 20 * MILLISECOND,
        jump_ns: int = JUMP_NS,
    ) -> None:
        self.slop_ns = slop_ns
        self.queue_size = queue_size
        self.max_wait_ns = max_wait_ns
        self.jump_ns = jump_ns
        self.statistics = Statistics()
        self._color: _Stream[C] = _Stream("color")
        self._depth: _Stream[D] = _Stream("depth")

    def add_color(self, stamp_ns: int, message: C, now_ns: int) -> list[Pair[C, D]]:
        """Takes a colour message and returns the pairs that are ready now, oldest first."""
        self._add(self._color, self._depth, _Queued(stamp_ns, now_ns, message))
        return self.poll(now_ns)

    def add_depth(self, stamp_ns: int, message: D, now_ns: int) -> list[Pair[C, D]]:
        """Takes a depth message and returns the pairs that are ready now, oldest first."""
        self._add(self._depth, self._color, _Queued(stamp_ns, now_ns, message))
        return self.poll(now_ns)

    def poll(self, now_ns: int) -> list[Pair[C, D]]:
        """Returns the pairs that are ready now, oldest first."""
        pairs = self._take(self._ready(now_ns))
        self._drop_hopeless()
        for stream in (self._color, self._depth):
            self._keep(stream, stream.queue[max(0, self._overflow(stream)) :], "queue_full")
        return pairs

    def deadline_ns(self) -> int | None:
        """When the next wait ends, on the caller's clock in nanoseconds; None while no pair waits."""
        return min((self._wait_end_ns(i, j) for i, j in self._match()[1]), default=None)

    def reset(self, reason: str) -> None:
        """Empties the queues and forgets every stamp seen: for when a stream changes. Counted by `reason`."""
        self._empty(reason)
        for stream in (self._color, self._depth):
            stream.newest_ns = stream.latest_ns = None
            stream.stale = False
            self._drop_suspect(stream, reason="reset")

    def _empty(self, reason: str) -> None:
        self.statistics.resets[reason] += 1
        for stream in (self._color, self._depth):
            self._keep(stream, [], "reset")
            stream.output_ns = None

    def _keep(self, stream: _Stream[Any], kept: list[_Queued[Any]], reason: str) -> None:
        if dropped := len(stream.queue) - len(kept):
            self.statistics.dropped[stream.name][reason] += dropped
        stream.queue = kept

    def _drop_hopeless(self) -> None:
        """Drops what no queued message can pair with, nor any that is still to come."""
        slop_ns = self.slop_ns
        for stream, other in ((self._color, self._depth), (self._depth, self._color)):
            kept = [
                queued
                for queued in stream.queue
                if other.earliest_ns <= queued.stamp_ns + slop_ns or other.within(queued.stamp_ns, slop_ns)
            ]
            self._keep(stream, kept, "no_partner")

    def _add(self, stream: _Stream[M], other: _Stream[Any], queued: _Queued[M]) -> None:
        self.statistics.received[stream.name] += 1
        if stream.suspect is not None and queued.stamp_ns < stream.suspect.stamp_ns - self.jump_ns:
            self._drop_suspect(stream, "future")
        self._release_suspect(stream, other)
        if self._is_suspect(stream, other, queued.stamp_ns):
            stream.suspect = queued
            return
        if other.suspect is not None and self._is_near(other.suspect.stamp_ns, queued.stamp_ns):
            self._release_suspect(other, stream)
        self._enter(stream, other, queued)

    def _is_suspect(self, stream: _Stream[Any], other: _Stream[Any], stamp_ns: int) -> bool:
        """Whether a stamp lies far ahead of all that both streams have shown."""
        known = [ns for ns in (stream.newest_ns, other.newest_ns) if ns is not None]
        if other.suspect is not None and self._is_near(other.suspect.stamp_ns, stamp_ns):
            return False
        return bool(known) and stamp_ns > max(known) and not self._is_near(max(known), stamp_ns)

    def _is_near(self, one_ns: int, other_ns: int) -> bool:
        return abs(one_ns - other_ns) <= max(self.jump_ns, self.slop_ns)

    def _release_suspect(self, stream: _Stream[Any], other: _Stream[Any]) -> None:
        if stream.suspect is not None:
            queued, stream.suspect = stream.suspect, None
            self._enter(stream, other, queued)

    def _drop_suspect(self, stream: _Stream[Any], reason: str) -> None:
        if stream.suspect is not None:
            self.statistics.dropped[stream.name][reason] += 1
            stream.suspect = None

    def _enter(self, stream: _Stream[M], other: _Stream[Any], queued: _Queued[M]) -> None:
        stamp_ns = queued.stamp_ns
        self._follow_clock(stream, other, stamp_ns)
        reason = None
        if stream.stale:
            reason = "stale"
        elif stream.is_duplicate(stamp_ns):
            reason = "duplicate"
        elif stream.output_ns is not None and stamp_ns < stream.output_ns:
            reason = "late"
        stream.latest_ns = stamp_ns
        stream.newest_ns = stamp_ns if stream.newest_ns is None else max(stamp_ns, stream.newest_ns)
        if reason is None:
            insort(stream.queue, queued, key=_stamp)
        else:
            self.statistics.dropped[stream.name][reason] += 1

    def _follow_clock(self, stream: _Stream[M], other: _Stream[Any], stamp_ns: int) -> None:
        """Finds backward jumps, and which clock, old or new, the other stream is on."""
        if stream.newest_ns is not None and stamp_ns < stream.newest_ns - self.jump_ns:
            other_is_old = other.newest_ns is not None and (
                abs(other.newest_ns - stream.newest_ns) <= abs(other.newest_ns - stamp_ns)
            )
            if other_is_old or not stream.stale:
                self._empty("clock_jump")
                other.stale = other_is_old
            stream.newest_ns, stream.stale = None, False
        elif stream.stale and stamp_ns < other.earliest_ns + self.jump_ns:
            stream.stale = False  # it never jumped: the other has caught up

    def _ready(self, now_ns: int) -> list[_Match]:
        """The matches up to the last one that need not wait.

        Once that one is given out, an older message can pair with none that comes after it, for output would
        go back in time. So the older matches are final as well.
        """
        candidates, matches = self._match()
        loose = self._loose(candidates, matches)
        final = [
            (i, j)
            for i, j in matches
            if not any(loose[i, j]) or now_ns >= self._wait_end_ns(i, j) or self._is_crowded(i, j)
        ]
        return sorted(match for match in matches if final and match <= max(final))

    def _is_crowded(self, i: int, j: int) -> bool:
        return i < self._overflow(self._depth) or j < self._overflow(self._color)

    def _loose(self, candidates: list[_Match], matches: list[_Match]) -> dict[_Match, tuple[bool, bool]]:
        """For each match, whether its depth and whether its colour may yet lose the other to something nearer.

        That may be a message still to come, or a queued pair that is nearer, but lost one of its own messages
        to a match that may itself come loose.
        """
        loose: dict[_Match, tuple[bool, bool]] = {}
        rank = {candidate: k for k, candidate in enumerate(candidates)}
        for i, j in matches:  # nearest first: what can undo a match stands before it
            nearer = candidates[: rank[i, j]]
            returning = [c for c in nearer if not _compatible(c, (i, j)) and _may_return(c, rank, loose)]
            depth_may_come, color_may_come = self._nearer_may_come(i, j)
            loose[i, j] = (
                depth_may_come or any(c[0] != i for c in returning),
                color_may_come or any(c[1] != j for c in returning),
            )
        return loose

    def _match(self) -> tuple[list[_Match], list[_Match]]:
        """All possible pairs of queued messages, and those of them that match; both nearest first."""
        differences = sorted(
            (abs(depth.stamp_ns - self._color.queue[j].stamp_ns), i, j)
            for i, depth in enumerate(self._depth.queue)
            for j in self._color.within(depth.stamp_ns, self.slop_ns)
        )
        candidates = [(i, j) for _, i, j in differences]
        matches: list[_Match] = []
        for candidate in candidates:
            if all(_compatible(candidate, match) for match in matches):
                matches.append(candidate)
        return candidates, matches

    def _nearer_may_come(self, i: int, j: int) -> tuple[bool, bool]:
        """Whether a depth nearer to this colour, and whether a colour nearer to this depth, may still arrive."""
        depth_ns, color_ns = self._depth.queue[i].stamp_ns, self._color.queue[j].stamp_ns
        difference_ns = abs(depth_ns - color_ns)
        return (
            difference_ns > 0 and self._depth.earliest_ns < color_ns + difference_ns,
            difference_ns > 0 and self._color.earliest_ns < depth_ns + difference_ns,
        )

    def _wait_end_ns(self, i: int, j: int) -> int:
        return max(self._depth.queue[i].arrival_ns, self._color.queue[j].arrival_ns) + self.max_wait_ns

    def _overflow(self, stream: _Stream[Any]) -> int:
        return len(stream.queue) - self.queue_size

    def _take(self, matches: list[_Match]) -> list[Pair[C, D]]:
        """Makes pairs of the matches and drops what they passed over."""
        depths = [self._depth.queue[i] for i, _ in matches]
        colors = [self._color.queue[j] for _, j in matches]
        self._consume(self._depth, depths)
        self._consume(self._color, colors)
        pairs = [
            Pair(color.message, depth.message, color.stamp_ns, depth.stamp_ns)
            for color, depth in zip(colors, depths, strict=True)
        ]
        for pair in pairs:
            self.statistics.count_match(abs(pair.difference_ns))
        return pairs

    def _consume(self, stream: _Stream[M], taken: list[_Queued[M]]) -> None:
        if not taken:
            return
        stream.output_ns = taken[-1].stamp_ns
        start = bisect_right(stream.queue, stream.output_ns, key=_stamp)
        if passed_over := start - len(taken):
            self.statistics.dropped[stream.name]["no_partner"] += passed_over
        stream.queue = stream.queue[start:]


def _compatible(one: _Match, other: _Match) -> bool:
    """Whether two matches share no message and do not cross in time."""
    return (one[0] - other[0]) * (one[1] - other[1]) > 0


def _may_return(candidate: _Match, rank: dict[_Match, int], loose: dict[_Match, tuple[bool, bool]]) -> bool:
    """Whether each match that this pair lost to (a nearer one, in conflict with it) may come loose from it."""
    for match, (depth_loose, color_loose) in loose.items():
        if rank[match] < rank[candidate] and not _compatible(match, candidate):
            shared = match[0] == candidate[0], match[1] == candidate[1]
            if not (depth_loose if shared[0] else color_loose if shared[1] else depth_loose or color_loose):
                return False
    return True
