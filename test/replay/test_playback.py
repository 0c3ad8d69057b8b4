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

"""What is played and what it is judged by, on a bag of tiny frames written by rosbags."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dkn.errors import ConfigError, DataError
from dkn_ros import bags
from dkn_ros.bags import BagWriter
from dkn_ros.replay.playback import PAUSE_NS, Playback

SECOND = 1_000_000_000
COLOR, DEPTH, TRUTH = "/c", "/d", "/t"


def color(value: int, size: tuple[int, int] = (4, 8)) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def depth(value: float, size: tuple[int, int] = (4, 8)) -> np.ndarray:
    return np.full(size, value, np.float32)


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Frames at 10, 11, 12 and 13 s. Depth is written before its colour, whose stamp is 5 ms later; the truth's is that
    of depth, but of the third frame, 3 ms later."""
    with BagWriter(tmp_path / "bag") as writer:
        for k in range(4):
            stamp = (10 + k) * SECOND
            ramp = depth(1 + k) + np.arange(8, dtype=np.float32) / 8
            writer.write_depth(DEPTH, ramp, stamp, encoding="32FC1")
            writer.write_depth(TRUTH, depth(1.5 + k), stamp + 3_000_000 * (k == 2))
            writer.write_color(COLOR, color(10 * k), stamp + 5_000_000)
    return tmp_path / "bag"


def playback(bag: Path, **changed: Any) -> Playback:
    return Playback(bag, COLOR, DEPTH, **{"scale": 2, **changed})


def test_frames_are_those_that_belong_together(bag: Path) -> None:
    found = list(playback(bag, truth=TRUTH, degradation="nearest").frames({k * SECOND for k in (10, 11, 12, 13)}))
    assert [frame.stamp for frame in found] == [k * SECOND for k in (10, 11, 12, 13)]
    # Not the latest colour before it, which is the previous frame's.
    assert [int(frame.color[0, 0, 0]) for frame in found] == [0, 10, 20, 30]
    np.testing.assert_allclose([frame.truth[0, 0] for frame in found], [1.5, 2.5, 3.5, 4.5])
    # Of blocks of 2 pixels the second is the centre's.
    np.testing.assert_allclose(found[0].low, [[1 + (2 * i + 1) / 8 for i in range(4)]] * 2)


def test_the_first_pair_is_what_the_node_is_given_first(bag: Path) -> None:
    first, reduced = playback(bag, degradation="nearest").first_pair()
    (frame,) = playback(bag, degradation="nearest").frames({10 * SECOND})
    np.testing.assert_array_equal(first, frame.color)
    np.testing.assert_array_equal(reduced, frame.low)


def test_without_another_truth_it_is_the_depth_before_it_was_reduced(bag: Path) -> None:
    (frame,) = playback(bag, degradation="area").frames({11 * SECOND})
    np.testing.assert_allclose(frame.low, [[2 + (2 * i + 0.5) / 8 for i in range(4)]] * 2)
    np.testing.assert_allclose(frame.truth[0], 2 + np.arange(8) / 8)


def test_counts_are_in_the_unit_that_the_node_is_given(tmp_path: Path) -> None:
    """A camera that counts tenths of a millimetre."""
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_depth(DEPTH, depth(20.0), SECOND)
        writer.write_color(COLOR, color(0), SECOND)
    p = playback(tmp_path / "bag", parameters={"depth_unit": 1e-4})
    (frame,) = p.frames({SECOND})
    np.testing.assert_allclose([frame.truth.max(), frame.low.max()], 2.0, rtol=1e-6)


def test_chance_is_the_same_for_the_node_and_for_the_judge(bag: Path) -> None:
    p = playback(bag, degradation="noise")
    (message, other) = [m for _, _, m in bags.read(bag, [DEPTH])][:2]
    np.testing.assert_array_equal(p.reduced(message), p.reduced(message))
    assert not np.array_equal(p.reduced(message) - 1, p.reduced(other) - 2)


def test_a_part(bag: Path) -> None:
    # The bag begins at 10 s: its seconds 1 to 3.
    p = playback(bag, start_s=1.0, stop_s=3.0)
    assert [time for _, time, _ in p.messages([DEPTH])] == [11 * SECOND, 12 * SECOND]
    assert [frame.stamp for frame in p.frames({k * SECOND for k in range(20)})] == [11 * SECOND, 12 * SECOND]
    assert p.count([DEPTH]) is None
    assert playback(bag).count([DEPTH, COLOR]) == 8


def test_passes_follow_each_other(bag: Path) -> None:
    times = [time for _, time, _ in playback(bag, loops=3, stop_s=2.0).messages([DEPTH])]
    step = SECOND + PAUSE_NS
    assert times == [10 * SECOND + k * step + j * SECOND for k in range(3) for j in range(2)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0.0},
        {"rate": math.nan},
        {"loops": 0},
        {"scale": 0},
        {"start_s": -1.0},
        {"start_s": 2.0, "stop_s": 2.0},
        {"record": Path("/")},
    ],
)
def test_numbers_that_make_no_sense(bag: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        playback(bag, **wrong)


def test_a_bag_is_never_recorded_over(bag: Path) -> None:
    with pytest.raises(ConfigError, match="exists already"):
        playback(bag, record=bag)


def test_infinite_speed_is_the_nodes_own(bag: Path) -> None:
    assert not playback(bag, rate=math.inf).paced and playback(bag, rate=3).paced


def test_what_cannot_be_played_is_told_before(bag: Path, tmp_path: Path) -> None:
    playback(bag, truth=TRUTH).check()
    with pytest.raises(DataError, match=r"no message on /c and /d between 30 s"):
        playback(bag, start_s=30.0).check()
    with pytest.raises(DataError, match="/none"):
        playback(bag, truth="/none").check()
    with BagWriter(tmp_path / "small") as writer:
        writer.write_color(COLOR, color(1), SECOND)
        writer.write_depth(DEPTH, depth(1, (2, 4)), SECOND)
    with pytest.raises(DataError, match=r"/d is 4x2, but colour is 8x4.*--truth"):
        playback(tmp_path / "small").check()
    # As it is, it can be played, and has nothing to be compared with.
    small = playback(tmp_path / "small", scale=1)
    small.check()
    assert not small.has_truth and playback(bag, scale=1, truth=TRUTH).has_truth


def test_a_frame_that_lies_is_passed_over(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        for k in (1, 2):
            writer.write_color(COLOR, color(k), k * SECOND)
            writer.write_depth(DEPTH, depth(k), k * SECOND)
    liar = next(tmp_path.glob("bag/*.db3"))
    raw = liar.read_bytes()
    first = raw.find(b"16UC1")
    liar.write_bytes(raw[:first] + b"32FC1" + raw[first + 5 :])  # half as much data as that needs
    found = list(playback(tmp_path / "bag").frames({SECOND, 2 * SECOND}))
    assert len(found) == 1


def test_stamps_that_the_driver_does_not_fill(tmp_path: Path) -> None:
    with bags.BagWriter(tmp_path / "bag") as writer:
        for _ in range(2):
            writer.write_color("/c", np.zeros((8, 8, 3), np.uint8), 0)
            writer.write_depth("/d", np.ones((8, 8), np.float32), 0)
    with pytest.raises(DataError, match=r"/c of bag .* its driver does not fill header\.stamp"):
        Playback(tmp_path / "bag", "/c", "/d", scale=2).check()
