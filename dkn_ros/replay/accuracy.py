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

"""What the node's answers are worth: their errors beside those of other methods on the very same input."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from tqdm import tqdm

from dkn.depth.confidence import confidence
from dkn.depth.degradation import degrade
from dkn.depth.grid import reduce_color
from dkn.depth.resample import upsample_bicubic
from dkn.evaluation import median_error, rmse
from dkn.evaluation.baselines import BASELINES
from dkn.evaluation.error_profile import Bin, ErrorProfile
from dkn.evaluation.flicker import change_over_time
from dkn.evaluation.metrics import flying_share
from dkn.evaluation.recorded import mean_of_known
from dkn_ros.replay.playback import Playback, RecordedFrame
from dkn_ros.replay.player import Answers

OUTPUT, BICUBIC, JOINT_BILATERAL = "output", "bicubic", "joint bilateral"
COMPARED = 200  # frames that are compared at most, unless told otherwise: a second for each


@dataclass(frozen=True)
class FrameErrors:
    """RMSE in metres of each method in one frame, over the pixels that truth and all methods know."""

    stamp: int
    rmse: Mapping[str, float]


@dataclass(frozen=True)
class Example:
    """One frame of the replay, for a picture: arrays as `dkn` has them, depths in metres."""

    title: str
    stamp: int
    rmse: Mapping[str, float]
    color: np.ndarray
    low: np.ndarray
    outputs: Mapping[str, np.ndarray]
    truth: np.ndarray

    @property
    def output(self) -> np.ndarray:
        return self.outputs[OUTPUT]

    @property
    def bicubic(self) -> np.ndarray:
        return self.outputs[BICUBIC]


@dataclass(frozen=True)
class Accuracy:
    """Errors of each method over the compared frames. Lengths are metres; means are over frames."""

    methods: Sequence[str]
    frames: Sequence[FrameErrors]
    median: Mapping[str, float]
    """Mean of the frames' median absolute errors."""
    flicker: Mapping[str, float]
    """`dkn.evaluation.flicker.change_over_time` from frame to frame; NaN if no two successive ones were answered."""
    flying: Mapping[str, float]
    """Mean of the frames' shares of flying pixels (`dkn.evaluation.metrics.flying_share`)."""
    by_edge_distance: Sequence[Bin]
    by_depth: Sequence[Bin]
    examples: Sequence[Example]
    """The best, the median and the worst frame by the RMSE of the output."""

    @property
    def rmse(self) -> dict[str, float]:
        """Mean of the frames' RMSE; NaN if none was compared."""
        return {name: mean_of_known([frame.rmse[name] for frame in self.frames]) for name in self.methods}


@dataclass(frozen=True)
class Column:
    """A figure of each method, as the terminal, the JSON and the report show it."""

    title: str
    key: str
    """In the JSON, beside the methods' names."""
    of: Callable[[Accuracy], Mapping[str, float]]
    """By method: metres, or shares."""
    unit: str = "cm"
    """A hundredth of what `of` gives."""

    def values(self, accuracy: Accuracy) -> dict[str, float]:
        """By method, in its unit."""
        return {name: 100 * value for name, value in self.of(accuracy).items()}

    @property
    def heading(self) -> str:
        return f"{self.title}, {self.unit}"


COLUMNS = (
    Column("RMSE", "mean_rmse_cm", lambda accuracy: accuracy.rmse),
    Column("median", "median_cm", lambda accuracy: accuracy.median),
    Column("flicker", "flicker_cm", lambda accuracy: accuracy.flicker),
    Column("flying", "flying_percent", lambda accuracy: accuracy.flying, "%"),
)


def measure(playback: Playback, answers: Answers, most: int = COMPARED) -> Accuracy | None:
    """Compare at most so many answers with the truth; None if there is no truth, or no answer that it has a pixel for.

    Raises:
        DataError: a damaged recording.
    """
    if not playback.has_truth:
        return None
    methods = [OUTPUT, BICUBIC, *([JOINT_BILATERAL] if _has_joint_bilateral() else [])]
    profile = ErrorProfile(methods)
    frames: list[FrameErrors] = []
    medians: dict[str, list[float]] = {name: [] for name in methods}
    flicker: dict[str, list[float]] = {name: [] for name in methods}
    flying: dict[str, list[float]] = {name: [] for name in methods}
    stamps = sorted(answers.stamps)
    chosen = spread(stamps, most)
    sent = sorted(set(answers.sent_stamps))
    following = dict(itertools.pairwise(sent))
    previous: tuple[int, dict[str, np.ndarray]] | None = None
    for frame in tqdm(playback.frames(set(chosen)), "comparing", len(chosen), unit="frame"):
        frame, outputs = _outputs(frame, answers, methods)
        if outputs[OUTPUT].shape != frame.truth.shape or outputs[BICUBIC].shape != frame.truth.shape:
            continue  # a camera that changed its size, in the moment when it did
        known = np.isfinite(frame.truth) & np.logical_and.reduce([np.isfinite(o) for o in outputs.values()])
        if not known.any():
            continue
        masked = np.where(known, frame.truth, np.nan)
        frames.append(FrameErrors(frame.stamp, {name: rmse(o, masked) for name, o in outputs.items()}))
        profile.add(frame.truth, known, outputs)
        errors = {name: output - masked for name, output in outputs.items()}
        for name in methods:
            medians[name].append(median_error(outputs[name], masked))
            flying[name].append(flying_share(outputs[name], frame.truth))
            if previous and following.get(previous[0]) == frame.stamp and previous[1][name].shape == known.shape:
                flicker[name].append(change_over_time(previous[1][name], errors[name]))
        previous = frame.stamp, errors
    if not frames:
        return None
    return Accuracy(
        methods,
        frames,
        {name: mean_of_known(values) for name, values in medians.items()},
        {name: mean_of_known(values) for name, values in flicker.items()},
        {name: mean_of_known(values) for name, values in flying.items()},
        profile.by_edge_distance,
        profile.by_depth,
        _examples(playback, answers, frames, methods),
    )


def mean_confidence(playback: Playback, answers: Answers, most: int = COMPARED) -> float | None:
    """Mean confidence (`dkn.depth.confidence`) of the depths of at most so many answers, each frame alike; None if
    there is no depth. It needs no truth, and is computed here: the node is not asked for it.

    Raises:
        DataError: a damaged recording.
    """
    means = []
    for frame in playback.frames(set(spread(sorted(answers.stamps), most))):
        depth = answers.depth(frame.stamp)
        known = np.isfinite(depth)
        if known.any():
            means.append(float(confidence(depth, frame.low)[known].mean()))
    return mean_of_known(means) if means else None


def _as_answered(frame: RecordedFrame, answer: np.ndarray) -> RecordedFrame:
    """With colour and truth as `decimation` makes them, where the node reduced colour: the truth by points of it, since
    a mean over an edge is the depth of nothing."""
    decimation = frame.color.shape[1] // answer.shape[1]
    if decimation <= 1 or frame.truth.shape != frame.color.shape[:2]:
        return frame
    color = reduce_color(frame.color, decimation)
    truth = degrade(frame.truth, decimation, "nearest", np.random.default_rng(0))
    return frame._replace(color=color, truth=truth)


def _outputs(
    frame: RecordedFrame, answers: Answers, methods: Sequence[str]
) -> tuple[RecordedFrame, dict[str, np.ndarray]]:
    """The frame as it was answered, and what each method makes of its input, (H, W) metres."""
    answer = answers.depth(frame.stamp)
    frame = _as_answered(frame, answer)
    size = frame.color.shape[0], frame.color.shape[1]
    outputs = {OUTPUT: answer, BICUBIC: upsample_bicubic(frame.low, size)}
    if JOINT_BILATERAL in methods:
        outputs[JOINT_BILATERAL] = BASELINES[JOINT_BILATERAL](frame.color, frame.low)
    return frame, outputs


def _examples(
    playback: Playback, answers: Answers, frames: Sequence[FrameErrors], methods: Sequence[str]
) -> list[Example]:
    ordered = sorted(frames, key=lambda frame: frame.rmse[OUTPUT])
    titles = {"best": ordered[0], "median": ordered[len(ordered) // 2], "worst": ordered[-1]}
    chosen = playback.frames({frame.stamp for frame in titles.values()})
    found = {frame.stamp: _outputs(frame, answers, methods) for frame in chosen}
    return [
        Example(title, frame.stamp, errors.rmse, frame.color, frame.low, outputs, frame.truth)
        for title, errors in titles.items()
        for frame, outputs in [found[errors.stamp]]
    ]


def spread(stamps: Sequence[int], most: int) -> list[int]:
    """At most so many of them, evenly spread in twos of neighbours, between which flicker can be measured."""
    if len(stamps) <= most:
        return list(stamps)
    starts = np.linspace(0, len(stamps) - 2, most // 2).round().astype(int)
    return [stamps[i] for i in sorted({*starts, *(starts + 1)})]


def _has_joint_bilateral() -> bool:
    """Whether OpenCV has its contrib modules."""
    return hasattr(cv2, "ximgproc")
