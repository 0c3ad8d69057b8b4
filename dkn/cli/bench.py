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
from itertools import groupby
from pathlib import Path

from dkn.benchmark.engines import Point, benchmark, profile, sweep
from dkn.benchmark.pareto import draw as draw_pareto
from dkn.benchmark.pareto import pareto
from dkn.benchmark.registration import PAIRS, compare, milliseconds
from dkn.benchmark.registration import table as table_of_pair
from dkn.benchmark.training import training_ratio
from dkn.checkpoint import DEFAULT_MODEL
from dkn.data.registry import DATASETS, open_dataset
from dkn.data.sample import Dataset
from dkn.engines import ENGINES, PRECISIONS
from dkn.errors import ConfigError
from dkn.upsampler import Upsampler
from dkn.utils.arguments import check_output, size
from dkn.utils.tables import write_json
from dkn.utils.visualize import headless_pyplot, save_figure

FIGURES = (".png", ".pdf", ".svg")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="fdkn", help="model file, short name or family; fdkn and dkn always exist")
    parser.add_argument("--size", type=size, metavar="WxH", help="of the colour image [640x480]")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="may be repeated; default: all there are")
    parser.add_argument("--precision", choices=["auto", *PRECISIONS], help="[auto]")
    parser.add_argument("--runs", type=int, default=10, help="that count, of each engine")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory")
    parser.add_argument("--sweep", action="store_true", help="time over size, for k = 3, 5, 7; --figure draws it")
    parser.add_argument("--profile", action="store_true", help="what the time of a frame is spent on")
    parser.add_argument("--training", action="store_true", help="one training step against its usual form")
    parser.add_argument(
        "--all",
        action="store_true",
        help="every engine in every precision; the fastest is remembered for what runs here",
    )
    parser.add_argument(
        "--pareto", action="store_true", help="error against time of a model, its smaller ones and filters, on --data"
    )
    parser.add_argument(
        "--registration",
        action="store_true",
        help="depth registered to colour, on rendered rooms; its time and that of points",
    )
    parser.add_argument("--rooms", type=int, default=2, help="of --registration; 0: time alone [%(default)s]")
    parser.add_argument("--data", action="append", metavar="[NAME=]PATH", help="of --pareto; may be repeated [nyu]")
    parser.add_argument("--limit", type=int, default=40, help="images of each, for --pareto [%(default)s]")
    parser.add_argument("--figure", type=Path, help="picture (.png) of --sweep or --pareto")
    parser.add_argument("--json", type=Path, help="write the result here too")


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    _check(options)
    image_size = options.size or (640, 480)
    if options.training:
        step = training_ratio(options.device, options.runs)
        print(f"training step, 8 crops of 128x128, {step.device}, medians of {step.runs} interleaved runs")
        print(f"  dkn train {step.median_ms:.0f} ms, plain formulation {step.plain_ms:.0f} ms: {step.ratio:.2f} times")
        found = asdict(step)
    elif options.profile:
        steps = profile(options.model, image_size, options.device, options.runs)
        for engine, times in steps.items():
            print(engine + ": " + ", ".join(f"{step} {ms:.1f} ms" for step, ms in times.items()))
        found = {"profile": steps}
    elif options.registration:
        found = _registration(DEFAULT_MODEL if options.model == "fdkn" else options.model, options)
    elif options.pareto:
        if not options.data:
            raise ConfigError("--pareto judges on data: --data nyu_depth_v2_labeled.mat")
        model = DEFAULT_MODEL if options.model == "fdkn" else options.model
        errors = pareto(list(map(_open, options.data)), model, options.device, options.limit, options.runs)
        print(errors.table())
        if options.figure:
            draw_pareto(errors, options.figure)
        found = asdict(errors)
    elif options.sweep:
        points = sweep(options.device, runs=options.runs)
        print("network  k  size           ms    GFLOP")
        for p in points:
            print(f"{p.architecture:7} {p.kernel_size:2}  {p.size:10}{p.median_ms:8.1f} {p.gflop:8.1f}")
        if options.figure:
            draw(points, options.figure)
        found = {"points": [asdict(point) for point in points]}
    else:
        result = benchmark(
            options.model,
            image_size,
            options.device,
            engines=options.engine,
            precision=options.precision or "auto",
            runs=options.runs,
            memory=not options.no_memory,
            every_precision=options.all,
        )
        print(result.table())
        found = result.to_json()
    if options.json:
        write_json(options.json, found)


def _check(options: argparse.Namespace) -> None:
    """Refuse at once what would fail after all that is measured, or be passed over.

    Raises:
        ConfigError: numbers out of their range, options that do not go together, files that cannot be written.
    """
    if options.figure and not (options.sweep or options.pareto):
        raise ConfigError("--figure draws what --sweep or --pareto measures")
    asked = [name for name in ("training", "profile", "registration", "pareto", "sweep") if getattr(options, name)]
    if len(asked) > 1:
        raise ConfigError(f"--{' and --'.join(asked)}: one at a time")
    if asked == ["pareto"]:
        for name in ("size", "engine", "precision"):
            if getattr(options, name):
                raise ConfigError(f"--{name} is not for --pareto: images have the size of --data, engines are chosen")
    for name in ("runs", "limit"):
        if getattr(options, name) < 1:
            raise ConfigError(f"{name}={getattr(options, name)}: at least one is needed")
    if options.rooms < 0:
        raise ConfigError(f"rooms={options.rooms}: 0 or more are needed")
    if options.figure:
        headless_pyplot()  # or say that matplotlib is missing
    check_output(options.figure, FIGURES)
    check_output(options.json)


def _open(text: str) -> Dataset:
    name, equals, path = text.partition("=")
    if not equals or name not in DATASETS:
        name, path = "nyu", text
    return open_dataset(name, Path(path), "test")


def _registration(model: str, options: argparse.Namespace) -> dict[str, object]:
    scores = {}
    if options.rooms:
        upsampler = Upsampler(model, device=options.device)
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
