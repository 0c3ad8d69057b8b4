"""`dkn bench`: engines against the reference, time over size, and a training step against its usual form."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from dkn.arguments import size
from dkn.benchmark import Point, benchmark, profile, sweep, training_ratio
from dkn.engines import ENGINES, PRECISIONS
from dkn.errors import ConfigError
from dkn.report import write_json


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="fdkn", help="model file, short name or family; fdkn and dkn always exist")
    parser.add_argument("--size", type=size, default=(640, 480), metavar="WxH", help="of the colour image")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="may be repeated; default: all there are")
    parser.add_argument("--precision", default="auto", choices=["auto", *PRECISIONS])
    parser.add_argument("--runs", type=int, default=10, help="that count, of each engine")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory")
    parser.add_argument("--sweep", action="store_true", help="time over size, for k = 3, 5, 7; --figure draws it")
    parser.add_argument("--profile", action="store_true", help="what the time of a frame is spent on")
    parser.add_argument("--training", action="store_true", help="one training step against its usual form")
    parser.add_argument("--figure", type=Path, help="picture (.png) of --sweep")
    parser.add_argument("--json", type=Path, help="write the result here too")


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    if options.figure and not options.sweep:
        raise ConfigError("--figure draws what --sweep measures")
    if options.training:
        step = training_ratio(options.device, options.runs)
        print(f"training step, 8 crops of 128x128, {step.device}, medians of {step.runs} interleaved runs")
        print(f"  dkn train {step.median_ms:.0f} ms, plain formulation {step.plain_ms:.0f} ms: {step.ratio:.2f} times")
        found = asdict(step)
    elif options.profile:
        steps = profile(options.model, options.size, options.device, options.runs)
        for engine, times in steps.items():
            print(engine + ": " + ", ".join(f"{step} {ms:.1f} ms" for step, ms in times.items()))
        found = {"profile": steps}
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
            options.size,
            options.device,
            engines=options.engine,
            precision=options.precision,
            runs=options.runs,
            memory=not options.no_memory,
        )
        print(result.table())
        found = result.to_json()
    if options.json:
        write_json(options.json, found)


def draw(points: list[Point], path: Path) -> None:
    """Time over the number of pixels, beside lines that are proportional to FLOP from the second size on.

    Raises:
        ConfigError: matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError:
        raise ConfigError("--figure needs matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

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
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)


def _pixels(point: Point) -> int:
    width, height = size(point.size)
    return width * height
