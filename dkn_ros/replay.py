"""`dkn-replay`: play a recording into the real node over DDS, and measure what comes back.

The recording's own depth (or a second topic) is the truth. It is reduced by the scale factor, sent to a node in a
process of its own together with the colour images, and the node's answers are timed and compared with the truth,
beside bicubic interpolation of the same input.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dkn import report
from dkn.degradation import DEGRADATIONS
from dkn.errors import DataError, DknError
from dkn.evaluation import rmse
from dkn.upsampler import upsample_bicubic
from dkn_ros import bags
from dkn_ros.diagnostics import percentiles
from dkn_ros.images import stamp_ns
from dkn_ros.player import Answers, Playback, color_of, depth_of, play


@dataclass(frozen=True)
class Example:
    """One frame of the replay, for a picture: arrays as `dkn` has them, depths in metres."""

    color: np.ndarray
    low: np.ndarray
    bicubic: np.ndarray
    output: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What a replay gave; RMSE over the pixels that truth, output and bicubic all know, mean of the frames, in cm."""

    pairs_in: int
    pairs_out: int
    dropped: dict[str, int]
    rate_hz: float
    latency_ms: dict[str, float]
    rmse_cm: float
    rmse_cm_bicubic: float
    resets: int
    example: Example | None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "example"}

    def table(self) -> str:
        dropped = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items()) or "none"
        latency = ", ".join(f"{name} {value:.0f}" for name, value in self.latency_ms.items()) or "none"
        gain = 100 * (1 - self.rmse_cm / self.rmse_cm_bicubic) if self.rmse_cm_bicubic > 0 else float("nan")
        verdict = "better" if gain > 0 else "worse"
        rows = {
            "pairs sent": f"{self.pairs_in}",
            "pairs upsampled": f"{self.pairs_out}",
            "dropped": dropped,
            "rate": f"{self.rate_hz:.1f} Hz",
            "latency [ms]": latency,
            "RMSE, output": f"{self.rmse_cm:.2f} cm  ({abs(gain):.0f} % {verdict} than bicubic)",
            "RMSE, bicubic": f"{self.rmse_cm_bicubic:.2f} cm",
            "resets": f"{self.resets}",
        }
        return "\n".join(f"  {name:<16} {value}" for name, value in rows.items())


def run(playback: Playback) -> Outcome:
    """Play a recording into a node of its own process, and compare the answers with the truth.

    Raises:
        DataError: a recording that is missing, damaged, or lacks a topic.
        ConfigError: a node that does not start with these parameters.
    """
    with tempfile.TemporaryDirectory() as folder:
        answers = play(playback, Path(folder))
        ours, theirs, example = _errors(playback, answers)
    answered = len(answers.arrivals_s)
    span = answers.arrivals_s[-1] - answers.arrivals_s[0] if answered > 1 else 0.0
    return Outcome(
        pairs_in=answers.pairs_in,
        pairs_out=answered,
        dropped=_dropped(answers),
        rate_hz=round((answered - 1) / span, 2) if span else 0.0,
        latency_ms={name: round(value, 2) for name, value in percentiles(answers.latency_ms).items()},
        rmse_cm=_mean_cm(ours),
        rmse_cm_bicubic=_mean_cm(theirs),
        resets=sum(_counters(answers, "resets ").values()),
        example=example,
    )


def _dropped(answers: Answers) -> dict[str, int]:
    """What the node counted as dropped, and pairs that nobody counted: lost on the way."""
    counts = _counters(answers, "dropped ")
    of_pairs = sum(count for reason, count in counts.items() if reason in ("superseded", "failed"))
    if (lost := answers.pairs_in - len(answers.arrivals_s) - of_pairs) > 0:
        counts["not delivered"] = lost
    return counts


def _counters(answers: Answers, prefix: str) -> dict[str, int]:
    """The node's counters above zero whose names begin so, by the rest of the name."""
    found = {key.removeprefix(prefix): int(v) for key, v in answers.health.items() if key.startswith(prefix)}
    return {name: count for name, count in found.items() if count}


def _errors(playback: Playback, answers: Answers) -> tuple[list[float], list[float], Example | None]:
    """RMSE in metres of each answer and of bicubic interpolation of its input, and the answer in the middle."""
    ours: list[float] = []
    theirs: list[float] = []
    example = None
    wanted = sorted(answers.stamps)[len(answers.stamps) // 2] if answers.stamps else None
    for stamp, color, depth, true_depth in _triples(playback, answers.stamps):
        low, truth, output = playback.reduced(depth), depth_of(true_depth), answers.depth(stamp)
        bicubic = upsample_bicubic(low, (output.shape[0], output.shape[1]))
        if truth.shape != output.shape:
            raise DataError(
                f"the truth on {playback.truth or playback.depth} is {truth.shape[1]}x{truth.shape[0]}, "
                f"the output {output.shape[1]}x{output.shape[0]}: depth and colour must have one size"
            )
        known = np.isfinite(output) & np.isfinite(bicubic) & np.isfinite(truth)
        if known.any():
            masked = np.where(known, truth, np.nan)
            ours.append(rmse(output, masked))
            theirs.append(rmse(bicubic, masked))
        if stamp == wanted:
            example = Example(color_of(color), low, bicubic, output, truth)
    return ours, theirs, example


def _triples(playback: Playback, stamps: set[int]) -> Iterator[tuple[int, Any, Any, Any]]:
    """(stamp, colour, depth, truth) messages of the recording for these depth stamps; colour is the latest before."""
    truth = playback.truth or playback.depth
    latest: dict[str, Any] = {}
    missing = set(stamps)
    for topic, _, message in bags.read(playback.bag, list({playback.color, playback.depth, truth})):
        latest[topic] = message
        stamp = stamp_ns(message)
        complete = len(latest) == len({playback.color, playback.depth, truth})
        if stamp in missing and complete and stamp_ns(latest[playback.depth]) == stamp_ns(latest[truth]) == stamp:
            missing.remove(stamp)
            yield stamp, latest[playback.color], latest[playback.depth], latest[truth]


def _mean_cm(errors: list[float]) -> float:
    return round(100 * float(np.mean(errors)), 4) if errors else float("nan")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status, 2 for a mistake of the user's."""
    parser = argparse.ArgumentParser(prog="dkn-replay", description=__doc__.splitlines()[0])
    parser.add_argument("bag", type=Path, help="folder of a ROS 2 bag (sqlite3 or mcap)")
    parser.add_argument("--color", required=True, help="topic of the colour images")
    parser.add_argument("--depth", required=True, help="topic of the depth images, registered to colour")
    parser.add_argument("--truth", help="topic of the true depth; default: --depth before it is reduced")
    parser.add_argument("--scale", type=int, default=8, help="reduce depth by this factor before it is sent")
    parser.add_argument("--degradation", choices=DEGRADATIONS, default="bicubic", help="how it is reduced")
    parser.add_argument("--rate", type=float, default=1.0, help="speed, 1 = as recorded")
    parser.add_argument("--loop", type=int, nargs="?", const=2, default=1, help="play so many times")
    parser.add_argument("--mode", default="fdkn", help="the node's parameter mode")
    parser.add_argument("--device", default="auto", help="the node's parameter device")
    parser.add_argument("--json", type=Path, help="write the result here too")
    options = parser.parse_args(arguments)
    try:
        playback = Playback(
            options.bag,
            options.color,
            options.depth,
            options.truth,
            options.scale,
            options.degradation,
            options.rate,
            options.loop,
            {"mode": options.mode, "device": options.device},
        )
        outcome = run(playback)
    except DknError as error:
        print(f"dkn-replay: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(outcome.table())
    if options.json:
        report.write_json(options.json, outcome.to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
