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

"""Steps on machines that are simulated: each step takes its time, times the load."""

from __future__ import annotations

import itertools

import pytest

from dkn_ros.pipeline.target_rate import CALM_S, ENOUGH, SETTLING, Step, TargetRate

FULL, SMALL, TINY, HALF = Step("a", 1), Step("a_small", 1), Step("a_tiny", 1), Step("a", 2)
COSTS = {FULL: 8.0, SMALL: 3.0, TINY: 2.0, HALF: 1.9}


class Machine:
    """Feeds a TargetRate with the times of frames at `rate_hz`, and does what it asks for at once."""

    def __init__(self, rate_hz: float, seconds: dict[Step, float], costs: dict[Step, float] = COSTS):
        self.target = TargetRate(rate_hz, costs)
        self.rate_hz, self.seconds = rate_hz, seconds
        self.now_s = 0.0
        self.changes: list[tuple[float, Step]] = []

    def run(self, seconds: float, load: float = 1.0) -> Step:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            took = load * self.seconds[self.target.step]
            self.now_s += max(took, 1 / self.rate_hz)
            step = self.target.add(took, self.now_s)
            if step is not None:
                assert step != self.target.step
                self.target.use(step)
                self.changes.append((self.now_s, step))
        return self.target.step


def times(full: float, small: float, tiny: float, half: float) -> dict[Step, float]:
    return {FULL: full, SMALL: small, TINY: tiny, HALF: half}


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (times(0.020, 0.010, 0.008, 0.007), FULL),
        (times(0.040, 0.020, 0.015, 0.012), SMALL),
        (times(0.090, 0.050, 0.028, 0.025), TINY),
        (times(0.200, 0.090, 0.060, 0.029), HALF),
        (times(0.400, 0.300, 0.250, 0.200), HALF),
    ],
)
def test_the_best_that_keeps_the_rate(machine, expected):
    simulated = Machine(30, machine)
    assert simulated.run(20) == expected
    assert simulated.target.kept is (machine[expected] < 1 / 30)
    count = len(simulated.changes)
    simulated.run(60)
    assert len(simulated.changes) == count  # and that was that


def test_what_is_hopeless_is_left_soon():
    simulated = Machine(30, times(0.5, 0.02, 0.01, 0.01))
    simulated.run(30)
    assert simulated.changes[0][0] < 0.5 * ENOUGH  # before a whole window has passed


def test_what_is_far_too_slow_is_left_at_once():
    simulated = Machine(30, times(0.5, 0.02, 0.01, 0.01))
    simulated.run(1.7)
    assert [step for _, step in simulated.changes] == [SMALL]  # of which nothing is known yet


def test_frames_of_what_is_still_cold_change_nothing():
    target = TargetRate(30, COSTS)
    cold = [1.0, 0.8, 0.02, 0.02, 0.02]
    assert [target.add(seconds, k / 30) for k, seconds in enumerate(cold + 3 * ENOUGH * [0.02])] == [None] * (
        len(cold) + 3 * ENOUGH
    )


def test_one_slow_frame_changes_nothing():
    simulated = Machine(30, times(0.02, 0.01, 0.01, 0.01))
    for _ in range(10):
        simulated.run(1)
        simulated.run(0.1, load=5)
    assert not simulated.changes


def test_load_that_stays_and_goes():
    simulated = Machine(30, times(0.025, 0.012, 0.01, 0.01))
    assert simulated.run(10) == FULL
    assert simulated.run(10, load=2) == SMALL
    under_load = simulated.run(30, load=2)
    assert under_load == SMALL and len(simulated.changes) == 1
    eased_s = simulated.now_s
    assert simulated.run(60) == FULL
    assert simulated.changes[1][0] - eased_s >= CALM_S
    assert len(simulated.changes) == 2


def test_going_up_in_vain_becomes_rare():
    """A machine on which small looks as if full were possible, and is not."""
    simulated = Machine(30, times(0.034, 0.005, 0.004, 0.004), {FULL: 3.0, SMALL: 2.9, TINY: 2.0, HALF: 1.9})
    simulated.target.use(SMALL)
    simulated.run(600)
    ups = [at_s for at_s, step in simulated.changes if step == FULL]
    assert 1 <= len(ups) <= 8
    waits = [later - earlier for earlier, later in itertools.pairwise(ups)]
    assert all(later >= 1.5 * earlier for earlier, later in itertools.pairwise(waits))


def test_frames_right_after_a_change_do_not_count():
    target = TargetRate(30, COSTS)
    for i in range(SETTLING):
        assert target.add(0.09, float(i)) is None
    assert target.seconds is None and target.kept
    for i in range(ENOUGH):
        assert target.add(0.01, float(i)) is None
    assert target.seconds == 0.01 and target.kept


def test_the_time_of_one_step_is_not_told_of_another():
    _, fast, *_ = COSTS
    target = TargetRate(30, COSTS)
    for i in range(SETTLING + ENOUGH):
        target.add(0.07, float(i))
    assert target.seconds == 0.07 and not target.kept
    target.use(fast)
    assert target.seconds is None and target.kept


def test_a_pause_forgets_what_was_measured():
    target = TargetRate(30, COSTS)
    for i in range(100):
        target.pause()
        assert target.add(0.09, float(i)) is None


@pytest.mark.parametrize(
    ("known", "first"),
    [({}, FULL), ({FULL: 0.02}, FULL), ({FULL: 0.2}, SMALL), ({FULL: 0.2, SMALL: 0.05, TINY: 0.02}, TINY)],
)
def test_it_begins_with_what_kept_the_rate_before(known, first):
    target = TargetRate(30, COSTS, known)
    assert target.step == first and target.times == known


@pytest.mark.parametrize(
    ("known", "first"),
    [
        ({SMALL: 0.02}, SMALL),  # full would take 0.053 of 0.031 s
        ({HALF: 0.005}, FULL),
        ({HALF: 0.02}, TINY),
        ({FULL: 1.0}, HALF),  # nothing will do
        ({FULL: 0.2, TINY: 0.06}, SMALL),  # TINY was too slow, HALF would be; SMALL was not tried, and costs are rough
    ],
)
def test_what_is_not_known_follows_roughly_from_what_is(known, first):
    assert TargetRate(30, COSTS, known).step == first


def test_where_nothing_is_known_it_begins_as_it_is_told():
    assert TargetRate(30, COSTS, {}, HALF).step == HALF
    assert TargetRate(30, COSTS, {FULL: 0.02}, HALF).step == FULL


def test_nothing_that_is_known_keeps_the_rate():
    assert TargetRate(30, COSTS, dict.fromkeys(COSTS, 1.0)).step == HALF


def test_what_was_known_under_load_is_no_obstacle():
    """Full took too long when it was measured, with small, on a machine that was busy."""
    simulated = Machine(30, times(0.02, 0.01, 0.008, 0.008))
    simulated.target = TargetRate(30, COSTS, {FULL: 0.06, SMALL: 0.03})
    assert simulated.target.step == SMALL
    assert simulated.run(CALM_S + 5) == FULL
