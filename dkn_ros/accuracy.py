"""What the node's answers are worth: their errors beside those of other methods on the very same input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from tqdm import tqdm

from dkn.evaluation import median_error, rmse
from dkn.evaluation.baselines import BASELINES
from dkn.evaluation.error_profile import Bin, ErrorProfile
from dkn.evaluation.flicker import change_over_time
from dkn.upsampler import upsample_bicubic
from dkn_ros.playback import Frame, Playback
from dkn_ros.player import Answers

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
    by_edge_distance: Sequence[Bin]
    by_depth: Sequence[Bin]
    examples: Sequence[Example]
    """The best, the median and the worst frame by the RMSE of the output."""

    @property
    def rmse(self) -> dict[str, float]:
        """Mean of the frames' RMSE; NaN if none was compared."""
        return {name: _mean([frame.rmse[name] for frame in self.frames]) for name in self.methods}


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
    stamps = sorted(answers.stamps)
    chosen = spread(stamps, most)
    sent = sorted(set(answers.sent_stamps))
    following = dict(itertools.pairwise(sent))
    previous: tuple[int, dict[str, np.ndarray]] | None = None
    for frame in tqdm(playback.frames(set(chosen)), "comparing", len(chosen), unit="frame"):
        outputs = _outputs(frame, answers, methods)
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
            if previous and following.get(previous[0]) == frame.stamp and previous[1][name].shape == known.shape:
                flicker[name].append(change_over_time(previous[1][name], errors[name]))
        previous = frame.stamp, errors
    if not frames:
        return None
    return Accuracy(
        methods,
        frames,
        {name: _mean(values) for name, values in medians.items()},
        {name: _mean(values) for name, values in flicker.items()},
        profile.by_edge_distance,
        profile.by_depth,
        _examples(playback, answers, frames, methods),
    )


def _outputs(frame: Frame, answers: Answers, methods: Sequence[str]) -> dict[str, np.ndarray]:
    """What each method makes of the frame's input, (H, W) metres."""
    size = frame.color.shape[0], frame.color.shape[1]
    outputs = {OUTPUT: answers.depth(frame.stamp), BICUBIC: upsample_bicubic(frame.low, size)}
    if JOINT_BILATERAL in methods:
        outputs[JOINT_BILATERAL] = BASELINES[JOINT_BILATERAL](frame.color, frame.low)
    return outputs


def _examples(
    playback: Playback, answers: Answers, frames: Sequence[FrameErrors], methods: Sequence[str]
) -> list[Example]:
    ordered = sorted(frames, key=lambda frame: frame.rmse[OUTPUT])
    titles = {"best": ordered[0], "median": ordered[len(ordered) // 2], "worst": ordered[-1]}
    found = {frame.stamp: frame for frame in playback.frames({frame.stamp for frame in titles.values()})}
    return [
        Example(title, stamp, errors.rmse, frame.color, frame.low, _outputs(frame, answers, methods), frame.truth)
        for title, errors in titles.items()
        for stamp, frame in [(errors.stamp, found[errors.stamp])]
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


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
