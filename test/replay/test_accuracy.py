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

"""Errors of answers that were made by hand, without a node."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from dkn.depth.confidence import confidence
from dkn_ros.bags import BagWriter
from dkn_ros.replay.accuracy import BICUBIC, JOINT_BILATERAL, OUTPUT, mean_confidence, measure, spread
from dkn_ros.replay.playback import Playback
from dkn_ros.replay.player import Answer, Answers

SIZE = (16, 24)
STEP = 100_000_000
OFFSETS = (0.02, 0.05, 0.01, 0.04, 0.03)  # metres that the answers are off, by frame


def truth() -> np.ndarray:
    depth = np.full(SIZE, 2.0, np.float32)
    depth[0, 0] = np.nan
    return depth


@pytest.fixture
def playback(tmp_path: Path) -> Playback:
    with BagWriter(tmp_path / "bag") as writer:
        for k in range(len(OFFSETS)):
            writer.write_color("/c", np.full((*SIZE, 3), 100, np.uint8), (k + 1) * STEP)
            writer.write_depth("/d", truth(), (k + 1) * STEP)
    return Playback(tmp_path / "bag", "/c", "/d", scale=4)


def answered(folder: Path, *frames: int) -> Answers:
    answers = Answers(folder, sent_stamps=[(k + 1) * STEP for k in range(len(OFFSETS))])
    for k in frames:
        stamp = (k + 1) * STEP
        output = truth() + np.float32(OFFSETS[k])
        output[1, 1] = np.nan  # what the output does not know counts for nobody
        np.save(folder / f"{stamp}.npy", output)
        answers.answers.append(Answer(stamp, float(k), 1.0))
    return answers


def test_constant_errors_come_out_as_they_went_in(playback: Playback, tmp_path: Path) -> None:
    found = measure(playback, answered(tmp_path, *range(5)))
    assert found is not None and list(found.methods) == [OUTPUT, BICUBIC, JOINT_BILATERAL]
    assert [frame.rmse[OUTPUT] for frame in found.frames] == pytest.approx(OFFSETS, abs=1e-5)
    assert found.rmse[OUTPUT] == pytest.approx(0.03, abs=1e-5)
    assert found.median[OUTPUT] == pytest.approx(0.03, abs=1e-5)
    # A flat wall is no difficulty for the others.
    assert found.rmse[BICUBIC] == pytest.approx(0, abs=1e-5) == found.rmse[JOINT_BILATERAL]
    # 1.4826 · |change| / √2, changes of 3, 4, 3 and 1 cm.
    assert found.flicker[OUTPUT] == pytest.approx(1.4826 * 0.0275 / math.sqrt(2), abs=1e-5)
    assert [(b.low, b.share) for b in found.by_depth] == [(2, 1)]
    assert [(b.low, b.share) for b in found.by_edge_distance] == [(32, 1)]


def test_the_best_the_median_and_the_worst_frame(playback: Playback, tmp_path: Path) -> None:
    found = measure(playback, answered(tmp_path, *range(5)))
    assert found is not None
    assert {e.title: e.stamp // STEP - 1 for e in found.examples} == {"best": 2, "median": 4, "worst": 1}
    worst = found.examples[-1]
    assert worst.low.shape == (4, 6) and worst.color.shape == (*SIZE, 3)
    assert np.nanmax(worst.output - worst.truth) == pytest.approx(0.05, abs=1e-5)


def test_flicker_is_of_successive_frames_only(playback: Playback, tmp_path: Path) -> None:
    found = measure(playback, answered(tmp_path, 0, 2, 4))
    assert found is not None and math.isnan(found.flicker[OUTPUT])
    found = measure(playback, answered(tmp_path, 0, 2, 3))
    assert found is not None
    assert found.flicker[OUTPUT] == pytest.approx(1.4826 * 0.03 / math.sqrt(2), abs=1e-5)


def test_flying_pixels_are_shares_of_what_a_method_knows(playback: Playback, tmp_path: Path) -> None:
    answers = answered(tmp_path, 0, 1)
    for stamp, count in ((STEP, 3), (2 * STEP, 5)):
        output = answers.depth(stamp)
        output[4, :count], output[8] = 3, np.nan  # a metre behind the wall
        np.save(tmp_path / f"{stamp}.npy", output)
    found = measure(playback, answers)
    known = SIZE[0] * SIZE[1] - 2 - SIZE[1]
    assert found is not None and found.flying[OUTPUT] == pytest.approx(4 / known)
    assert found.flying[BICUBIC] == 0


def test_confidence_needs_no_truth(playback: Playback, tmp_path: Path) -> None:
    as_it_is, answers = Playback(playback.bag, "/c", "/d", scale=1), answered(tmp_path, 0, 3)
    outputs = [answers.depth((k + 1) * STEP) for k in (0, 3)]
    expected = [confidence(output, truth())[np.isfinite(output)].mean() for output in outputs]
    assert mean_confidence(as_it_is, answers) == pytest.approx(np.mean(expected))
    assert mean_confidence(as_it_is, answered(tmp_path)) is None


def test_no_answer_or_no_truth(playback: Playback, tmp_path: Path) -> None:
    assert measure(playback, answered(tmp_path)) is None
    as_it_is = Playback(playback.bag, "/c", "/d", scale=1)
    assert measure(as_it_is, answered(tmp_path, 0)) is None


def test_an_answer_of_another_size_is_left_out(playback: Playback, tmp_path: Path) -> None:
    answers = answered(tmp_path, 0, 1)
    np.save(tmp_path / f"{STEP}.npy", np.ones((3, 3), np.float32))
    found = measure(playback, answers)
    assert found is not None and [frame.stamp for frame in found.frames] == [2 * STEP]


def test_an_answer_of_colour_reduced_is_compared_with_the_truth_reduced(playback: Playback, tmp_path: Path) -> None:
    answers = answered(tmp_path, 0, 1)
    for k in (0, 1):
        np.save(tmp_path / f"{(k + 1) * STEP}.npy", truth()[1::2, 1::2] + np.float32(OFFSETS[k]))
    found = measure(playback, answers)
    assert found is not None and found.rmse[OUTPUT] == pytest.approx((OFFSETS[0] + OFFSETS[1]) / 2, abs=1e-5)
    half = SIZE[0] // 2, SIZE[1] // 2
    for example in found.examples:
        assert example.truth.shape == example.output.shape == example.bicubic.shape == example.color.shape[:2] == half


def test_frames_of_a_long_recording_are_spread_in_twos() -> None:
    assert spread(range(5), 5) == list(range(5))
    assert spread(range(100), 6) == [0, 1, 49, 50, 98, 99]
    assert len(spread(range(1000), 200)) == 200


def test_without_contrib_modules_two_methods_are_left(playback: Playback, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delattr("cv2.ximgproc")
    found = measure(playback, answered(tmp_path, 0))
    assert found is not None and list(found.methods) == [OUTPUT, BICUBIC]
