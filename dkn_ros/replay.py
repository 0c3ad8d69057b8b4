"""`dkn-replay`: play a recording into the real node over DDS, and measure what comes back.

The recording's own depth (or a second topic) is the truth. It is reduced by the scale factor, sent to a node in a
process of its own together with the colour images, and the node's answers are timed and compared with the truth,
beside bicubic interpolation and the joint bilateral filter of the same input.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dkn import report
from dkn.degradation import DEGRADATIONS
from dkn.errors import ConfigError
from dkn.machine import libraries, machine
from dkn_ros import accuracy, benchmark, replay_report, topics
from dkn_ros.outcome import Outcome
from dkn_ros.parameters import Parameters
from dkn_ros.playback import Playback
from dkn_ros.player import play
from dkn_ros.terminal import exit_status, say


def run(playback: Playback, compared: int = accuracy.COMPARED) -> Outcome:
    """Play a recording into a node of its own process, and compare so many answers at most with the truth.

    Raises:
        DataError: a recording that is missing, damaged, or lacks a topic.
        ConfigError: a node that does not start with these parameters.
    """
    with tempfile.TemporaryDirectory() as folder:
        answers = play(playback, Path(folder))
        measured = accuracy.measure(playback, answers, compared)
    return Outcome(playback, answers, measured, {**machine(), **libraries()})


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status, 2 for a mistake of the user's."""
    given = _without_ros_arguments(sys.argv[1:] if arguments is None else arguments)
    if "--benchmark" in given:
        return benchmark.main([argument for argument in given if argument != "--benchmark"])
    return exit_status("dkn-replay", partial(_run, _parser().parse_args(given)))


def _run(options: argparse.Namespace) -> None:
    for path in filter(None, (options.json, options.report)):
        _check_writable(path)
    if options.compare < 2:
        raise ConfigError("compare must be at least 2")
    choice = topics.choose(options.bag, options.color, options.depth)
    for note in choice.notes:
        say(f"dkn-replay: chosen: {note}", sys.stderr)
    playback = Playback(
        options.bag,
        choice.color,
        choice.depth,
        options.truth,
        options.scale,
        options.degradation,
        options.rate,
        options.loop,
        options.start,
        options.stop,
        {"mode": options.mode, "device": options.device, **_parameters(options.param)},
        options.record,
    )
    outcome = run(playback, options.compare)
    say(outcome.table())
    if options.json:
        report.write_json(options.json, outcome.to_json())
    if options.report:
        replay_report.write(options.report, outcome)
        say(f"  report: {options.report}")


def _without_ros_arguments(arguments: Sequence[str]) -> list[str]:
    """Less what a launch file adds: --ros-args up to -- or the end. (rclpy's function also takes away whatever has a :=
    in it, and a path may.)"""
    kept = list(arguments)
    while "--ros-args" in kept:
        begin = kept.index("--ros-args")
        end = kept.index("--", begin) if "--" in kept[begin:] else len(kept)
        del kept[begin : end + 1]
    return kept


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dkn-replay", description=__doc__.splitlines()[0])
    parser.add_argument("bag", type=Path, help="folder of a ROS 2 bag (sqlite3 or mcap)")
    parser.add_argument("--color", help="topic of the colour images; found by its type if there is one choice")
    parser.add_argument("--depth", help="topic of the depth images, registered to colour; likewise")
    parser.add_argument("--truth", help="topic of the true depth; default: --depth before it is reduced")
    parser.add_argument("--scale", type=int, default=8, help="reduce depth by this factor before it is sent")
    parser.add_argument("--degradation", choices=DEGRADATIONS, default="bicubic", help="how it is reduced")
    parser.add_argument(
        "--rate", type=_rate, default=1.0, help="speed, 1 = as recorded; max = each pair after the answer to the last"
    )
    parser.add_argument("--loop", type=int, nargs="?", const=2, default=1, metavar="N", help="play N times (2)")
    parser.add_argument("--from", type=float, default=0.0, dest="start", metavar="S", help="begin at this second")
    parser.add_argument("--to", type=float, default=math.inf, dest="stop", metavar="S", help="end at this second")
    parser.add_argument("--compare", type=int, default=accuracy.COMPARED, metavar="N", help="judge N frames at most")
    parser.add_argument("--mode", default=Parameters.mode, help="the node's parameter mode [%(default)s]")
    parser.add_argument("--device", default="auto", help="the node's parameter device")
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="another parameter of the node's"
    )
    parser.add_argument("--json", type=Path, help="write the result here too")
    parser.add_argument("--report", type=Path, help="write a report (one HTML file) here")
    parser.add_argument("--record", type=Path, metavar="BAG", help="write the node's answers into a new bag")
    parser.add_argument(
        "--benchmark",
        action="store_true",
        help="play no bag, but measure transport and node without a network; --benchmark --help lists its options",
    )
    return parser


def _rate(text: str) -> float:
    return math.inf if text == "max" else float(text)


def _parameters(assignments: Sequence[str]) -> dict[str, Any]:
    """Values of the types that the node's parameters have.

    Raises:
        ConfigError: an unknown name, or a value of another type.
    """
    values: dict[str, Any] = {}
    known: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Parameters)}
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        if name not in known:
            raise ConfigError(f"--param {assignment}: the node's parameters are {', '.join(known)}")
        default = known[name]
        try:
            values[name] = _BOOLEANS[text.lower()] if isinstance(default, bool) else type(default)(text)
        except (KeyError, ValueError):
            raise ConfigError(f"--param {assignment}: a {type(default).__name__} is needed") from None
    return values


_BOOLEANS = {"true": True, "false": False}


def _check_writable(path: Path) -> None:
    """Whether a result can be written is told before the recording is played."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"cannot write {path}: it is a folder, or not ours to write")


if __name__ == "__main__":
    sys.exit(main())
