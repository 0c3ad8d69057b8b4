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

"""`dkn bench`: engines against the reference, time over size, a training step against its usual form, registration."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from dkn.benchmark.engines import Point, benchmark, profile, sweep
from dkn.benchmark.pareto import draw as draw_pareto
from dkn.benchmark.pareto import pareto
from dkn.benchmark.registration import PAIRS, compare, milliseconds
from dkn.benchmark.registration import table as table_of_pair
from dkn.benchmark.training import training_ratio
from dkn.checkpoint import DEFAULT_MODEL
from dkn.cli.options import given
from dkn.data.registry import named, open_dataset
from dkn.data.sample import Dataset
from dkn.engines import ENGINES, PRECISIONS
from dkn.errors import ConfigError
from dkn.upsampler import Upsampler
from dkn.utils.arguments import at_least_one, check_output, size
from dkn.utils.tables import write_json
from dkn.utils.visualize import headless_pyplot, save_figure

FIGURES = (".png", ".pdf", ".svg")
SIZE = (640, 480)  # width, height of the colour image
RUNS = 10
ROOMS = 2
LIMIT = 40

MODES: dict[str, dict[str, Any]] = {
    "engines": {
        "model": "fdkn",
        "size": SIZE,
        "engine": None,
        "precision": "auto",
        "runs": RUNS,
        "no_memory": False,
        "all": False,
    },
    "training": {"runs": RUNS},
    "profile": {"model": "fdkn", "size": SIZE, "runs": RUNS},
    "registration": {"model": DEFAULT_MODEL, "rooms": ROOMS},
    "pareto": {"model": DEFAULT_MODEL, "data": (), "limit": LIMIT, "runs": RUNS, "figure": None},
    "sweep": {"runs": RUNS, "figure": None},
}
"""What can be measured, engines unless another is asked for, and the options that each takes beside --device and
--json, with their defaults."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--json", type=Path, help="write the result here too")
    parser.add_argument("--sweep", action="store_true", help="time over size, for k = 3, 5, 7; --figure draws it")
    parser.add_argument("--profile", action="store_true", help="what the time of a frame is spent on")
    parser.add_argument("--training", action="store_true", help="one training step against its usual form")
    parser.add_argument(
        "--pareto", action="store_true", help="error against time of a model, its smaller ones and filters, on --data"
    )
    parser.add_argument(
        "--registration",
        action="store_true",
        help="depth registered to colour, on rendered rooms; its time and that of points",
    )
    add = partial(parser.add_argument, default=argparse.SUPPRESS)  # so that it can be told which were given
    add("--model", help=f"model file, short name or family; fdkn, dkn always exist [fdkn; of errors: {DEFAULT_MODEL}]")
    add("--size", type=size, metavar="WIDTHxHEIGHT", help="of the colour image [{}x{}]".format(*SIZE))
    add("--engine", action="append", choices=ENGINES, help="may be repeated; default: all there are")
    add("--precision", choices=["auto", *PRECISIONS], help="[auto]")
    add("--runs", type=int, help=f"that count, of each engine [{RUNS}]")
    add("--no-memory", action="store_true", help="do not measure memory")
    add(
        "--all",
        action="store_true",
        help="every engine in every precision; the fastest is remembered for what runs here",
    )
    add("--rooms", type=int, help=f"of --registration; 0: time alone [{ROOMS}]")
    add("--data", action="append", metavar="[NAME=]PATH", help="of --pareto; may be repeated [nyu]")
    add("--limit", type=int, help=f"images of each, for --pareto [{LIMIT}]")
    add("--figure", type=Path, help="picture (.png) of --sweep or --pareto")


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    mode = _mode(options)
    options = argparse.Namespace(**(MODES[mode] | vars(options)))
    _check(options)
    measure = {
        "engines": _engines,
        "training": _training,
        "profile": _profile,
        "registration": _registration,
        "pareto": _pareto,
        "sweep": _sweep,
    }
    found = measure[mode](options)
    if options.json:
        write_json(options.json, found)


def _mode(options: argparse.Namespace) -> str:
    """Which of `MODES` is asked for.

    Raises:
        ConfigError: several, or with options that belong to others.
    """
    asked = [name for name in MODES if getattr(options, name, False)]
    if len(asked) > 1:
        raise ConfigError(f"--{' and --'.join(asked)}: one at a time")
    mode = asked[0] if asked else "engines"
    called = {name: "the comparison of engines" if name == "engines" else f"--{name}" for name in MODES}
    for name in given(options, sorted({name for takes in MODES.values() for name in takes} - MODES[mode].keys())):
        owners = " or ".join(called[other] for other, takes in MODES.items() if name in takes)
        raise ConfigError(f"--{name.replace('_', '-')} is for {owners}, not for {called[mode]}")
    return mode


def _check(options: argparse.Namespace) -> None:
    """Refuse at once what would fail after all that is measured.

    Raises:
        ConfigError: numbers out of their range, no data, files that cannot be written.
    """
    at_least_one(**given(options, ("runs", "limit")))
    if "rooms" in options and options.rooms < 0:
        raise ConfigError(f"rooms={options.rooms}: 0 or more are needed")
    if "data" in options and not options.data:
        raise ConfigError("--pareto judges on data: --data nyu_depth_v2_labeled.mat")
    if "figure" in options and options.figure:
        headless_pyplot()  # or say that matplotlib is missing
        check_output(options.figure, FIGURES)
    check_output(options.json)


def _engines(options: argparse.Namespace) -> dict[str, Any]:
    result = benchmark(
        options.model,
        options.size,
        options.device,
        engines=options.engine,
        precision=options.precision,
        runs=options.runs,
        memory=not options.no_memory,
        every_precision=options.all,
    )
    print(result.table())
    return result.to_json()


def _training(options: argparse.Namespace) -> dict[str, Any]:
    step = training_ratio(options.device, options.runs)
    print(f"training step, 8 crops of 128x128, {step.device}, medians of {step.runs} interleaved runs")
    print(f"  dkn train {step.median_ms:.0f} ms, plain formulation {step.plain_ms:.0f} ms: {step.ratio:.2f} times")
    return asdict(step)


def _profile(options: argparse.Namespace) -> dict[str, Any]:
    steps = profile(options.model, options.size, options.device, options.runs)
    for engine, times in steps.items():
        print(engine + ": " + ", ".join(f"{step} {ms:.1f} ms" for step, ms in times.items()))
    return {"profile": steps}


def _pareto(options: argparse.Namespace) -> dict[str, Any]:
    errors = pareto(list(map(_open, options.data)), options.model, options.device, options.limit, options.runs)
    print(errors.table())
    if options.figure:
        draw_pareto(errors, options.figure)
    return asdict(errors)


def _sweep(options: argparse.Namespace) -> dict[str, Any]:
    points = sweep(options.device, runs=options.runs)
    print("network  k  size           ms    GFLOP")
    for p in points:
        print(f"{p.architecture:7} {p.kernel_size:2}  {p.size:10}{p.median_ms:8.1f} {p.gflop:8.1f}")
    if options.figure:
        draw(points, options.figure)
    return {"points": [asdict(point) for point in points]}


def _open(text: str) -> Dataset:
    return open_dataset(*named(text, "nyu"), "test")


def _registration(options: argparse.Namespace) -> dict[str, Any]:
    scores = {}
    if options.rooms:
        upsampler = Upsampler(options.model, device=options.device)
        scores = {name: compare(pair, upsampler, options.rooms) for name, pair in PAIRS.items()}
    for name, found in scores.items():
        print(f"{name}, {options.rooms} rooms\n\n{table_of_pair(found)}\n")
    costs = {name: milliseconds(pair) for name, pair in PAIRS.items()}
    for name, (registration_ms, points_ms) in costs.items():
        depth, color = PAIRS[name].depth, PAIRS[name].color
        print(
            f"{name}: registration of {depth.width}x{depth.height} {registration_ms:.1f} ms, "
            f"points of {color.width}x{color.height} {points_ms:.1f} ms"
        )
    by_pair = {name: {method: asdict(score) for method, score in found.items()} for name, found in scores.items()}
    return {"rooms": options.rooms, "scores": by_pair, "milliseconds": costs}


def draw(points: list[Point], path: Path) -> None:
    """Time over the number of pixels, beside lines that are proportional to FLOP from the second size on.

    Raises:
        ConfigError: matplotlib is missing.
    """
    pyplot = headless_pyplot()
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for (architecture, k), group in groupby(points, key=lambda p: (p.architecture, p.kernel_size)):
        some = list(group)
        pixels = [_pixels(p) / 1e6 for p in some]
        (line,) = axes.plot(pixels, [p.median_ms for p in some], "o-", label=f"{architecture.upper()}, k = {k}")
        base = some[min(1, len(some) - 1)]
        proportional = [base.median_ms * p.gflop / base.gflop for p in some]
        axes.plot(pixels, proportional, ":", color=line.get_color(), linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="megapixels", ylabel="ms", title="Dotted: as FLOP grow")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def _pixels(point: Point) -> int:
    width, height = size(point.size)
    return width * height
