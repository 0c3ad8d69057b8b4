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

"""`dkn-replay`: play a recording into the real node over DDS, and measure what comes back.

The recording's own depth (or a second topic) is the truth. It is reduced by the scale factor, sent to a node in a
process of its own together with the colour images, and the node's answers are timed and compared with the truth,
beside bicubic interpolation and the joint bilateral filter of the same input.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dkn.depth.degradation import DEGRADATIONS
from dkn.errors import ConfigError
from dkn.utils import tables
from dkn.utils.arguments import check_output
from dkn.utils.machine import libraries, machine
from dkn_ros.arguments import split
from dkn_ros.bags import topic_choice
from dkn_ros.benchmark import transport
from dkn_ros.parameters import Options
from dkn_ros.replay import accuracy, report
from dkn_ros.replay.outcome import Outcome
from dkn_ros.replay.playback import Playback
from dkn_ros.replay.player import play
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
        confidence = accuracy.mean_confidence(playback, answers, compared)
    return Outcome(playback, answers, measured, {**machine(), **libraries()}, confidence)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status, 1 for a run with nothing to show for it, 2 for a mistake of the user's."""
    given, _ = split(sys.argv[1:] if arguments is None else arguments)  # a launch file adds some for ROS
    if "--benchmark" in given:
        return transport.main([argument for argument in given if argument != "--benchmark"])
    return exit_status("dkn-replay", partial(_run, _parser().parse_args(given)))


def _run(options: argparse.Namespace) -> int:
    for path in (options.json, options.report):
        check_output(path)
    if options.compare < 2:
        raise ConfigError("compare must be at least 2")
    choice = topic_choice.choose(options.bag, options.color, options.depth)
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
        options.points,
    )
    outcome = run(playback, options.compare)
    say(outcome.table())
    if options.json:
        tables.write_json(options.json, outcome.to_json())
    if options.report:
        report.write(options.report, outcome)
        say(f"  report: {options.report}")
    if reason := outcome.nothing_to_show:
        say(f"dkn-replay: {reason}", sys.stderr)
        return 1
    return 0


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
    parser.add_argument("--mode", default=Options.mode, help="the node's parameter mode [%(default)s]")
    parser.add_argument("--device", default="auto", help="the node's parameter device")
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="another parameter of the node's"
    )
    parser.add_argument("--json", type=Path, help="write the result here too")
    parser.add_argument("--report", type=Path, help="write a report (one HTML file) here")
    parser.add_argument("--record", type=Path, metavar="BAG", help="write the node's answers into a new bag")
    parser.add_argument("--points", action="store_true", help="listen to the node's points too: what do they cost?")
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
    known = {field.name: field for field in dataclasses.fields(Options)}
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        if name not in known:
            raise ConfigError(f"--param {assignment}: the node's parameters are {', '.join(known)}")
        default: Any = known[name].default
        boolean = isinstance(default, bool) or (known[name].metadata["booleans"] and text.lower() in _BOOLEANS)
        try:
            values[name] = _BOOLEANS[text.lower()] if boolean else type(default)(text)
        except (KeyError, ValueError):
            raise ConfigError(f"--param {assignment}: a {type(default).__name__} is needed") from None
    return values


_BOOLEANS = {"true": True, "false": False}
