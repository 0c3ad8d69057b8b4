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

"""How fast and how true each engine is, measured against the reference in the same run.

Engines take turns, and medians are compared: on a machine that does other things too, ratios hold where absolute times
do not. Memory is measured in a process of its own for each engine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dkn import checkpoint
from dkn.benchmark.scene import SCALE, make_scene
from dkn.benchmark.timing import describe, interleave
from dkn.checkpoint import find_model
from dkn.depth.network_input import prepare
from dkn.engines import ENGINES, Choice, candidates, plan
from dkn.engines.base import Array, on_host, placed
from dkn.engines.folding import flops
from dkn.engines.reference import ReferenceEngine
from dkn.engines.selection.autotuning import fastest as fastest_of
from dkn.engines.selection.autotuning import subject
from dkn.engines.selection.memory import recall, remember
from dkn.errors import CheckpointError
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import build
from dkn.networks.weights import Weights
from dkn.upsampler import Upsampler
from dkn.utils.arguments import at_least_one
from dkn.utils.device import Device, choose_device

DEPTH_RANGE = 10.0  # metres
SIZES = ((320, 240), (640, 480), (960, 540), (1280, 720), (1920, 1080))


@dataclass(frozen=True)
class Result:
    """What one engine gave."""

    engine: str
    precision: str
    median_ms: float
    peak_mb: float | None
    """Largest memory of a process that upsamples with this engine (CUDA: of the device); None: not measured."""
    max_abs_error_m: float
    mean_abs_error_m: float
    """Difference from the reference over a room of up to 10 m."""
    ratio: float
    """Median time of the reference over this engine's."""


@dataclass(frozen=True)
class Point:
    """Time at one size of image and of kernel."""

    architecture: str
    kernel_size: int
    size: str
    median_ms: float
    gflop: float


@dataclass(frozen=True)
class Benchmark:
    """The engines at one size of image."""

    device: str
    model: str
    size: str
    runs: int
    results: list[Result]
    upsampler_ratio: float | None
    """Whole `Upsampler`, arrays in and out, over its engine alone; None: random weights, no model file."""
    chosen: str
    """The engine that `Upsampler` takes here, unless told otherwise."""
    measured: bool
    """Whether it does because all were measured at this size; else it is what should be fastest."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        lines = [f"{self.model}, {self.size}, {self.device}, medians of {self.runs} interleaved runs"]
        lines.append(f"  {'engine':18}{'ms':>9}{'ratio':>8}{'peak MB':>9}   difference mm, max / mean")
        for r in self.results:
            peak = "" if r.peak_mb is None else f"{r.peak_mb:.0f}"
            name = f"{r.engine} {r.precision}"
            difference = f"{1e3 * r.max_abs_error_m:.3f} / {1e3 * r.mean_abs_error_m:.4f}"
            lines.append(f"  {name:18}{r.median_ms:9.1f}{r.ratio:8.2f}{peak:>9}   {difference}")
        if self.upsampler_ratio is not None:
            lines.append(f"  whole Upsampler over the engine alone: {self.upsampler_ratio:.2f}")
        because = "measured here" if self.measured else "not measured yet at this size: --all does"
        lines.append(f"  chosen: {self.chosen}, {because}")
        return "\n".join(lines)


def benchmark(
    model: str,
    size: tuple[int, int] = (640, 480),
    device: str = "auto",
    *,
    engines: list[str] | None = None,
    precision: str = "auto",
    runs: int = 10,
    memory: bool = True,
    every_precision: bool = False,
) -> Benchmark:
    """Run every engine that is there, the reference among them.

    Args:
        model: as for `Upsampler`; where fdkn or dkn has no model yet, the network with random weights.
        size: width and height of the colour image.
        engines: names; None: all.
        precision: auto, or one that every engine named has.
        memory: measure it too, which starts a process for each engine.
        every_precision: of each engine all that are worth it here; what comes out is remembered for `Upsampler`.

    Raises:
        ConfigError: an engine or precision that is not to be had here, or fewer runs than one.
        CheckpointError: no such model.
    """
    at_least_one(runs=runs)
    target = choose_device(device)
    weights, name, path = open_model(model)
    color, low = make_scene(size)
    choices = _choices(target, engines, precision, every_precision)
    images = normalised(weights.config, color, low, target)
    turns: dict[str, Callable[[], object]] = {}
    outputs: dict[str, np.ndarray] = {}
    for choice in choices:
        engine = choice.make(weights)
        outputs[str(choice)] = on_host(engine(*images))
        turns[str(choice)] = partial(engine, *images)
    fastest = next((choice for choice in choices if choice.name != "reference"), None)
    if path is not None and fastest is not None:
        upsampler = Upsampler(path, device=device, engine=fastest.name, precision=fastest.precision)
        turns["whole"] = partial(upsampler, color, low)
    times = interleave(turns, runs, f"{name} {size[0]}x{size[1]}", target)
    reference = str(choices[-1])
    compared = subject(weights.config, choices[:-1] if every_precision else candidates(target))
    if every_precision:
        measured = {str(choice): 1e3 * times[str(choice)] for choice in choices[:-1]}
        remember(compared, (size[1], size[0]), measured)
    results = []
    for choice in choices:
        error = DEPTH_RANGE * np.abs(outputs[str(choice)] - outputs[reference])
        results.append(
            Result(
                choice.name,
                choice.precision,
                1e3 * times[str(choice)],
                _peak_mb(model, size, choice) if memory else None,
                float(error.max()),
                float(error.mean()),
                times[reference] / times[str(choice)],
            )
        )
    whole = times["whole"] / times[str(fastest)] if fastest is not None and "whole" in times else None
    remembered = recall(compared, (size[1], size[0]))
    chosen = fastest_of(remembered) if remembered else str(plan(target)[0])
    return Benchmark(describe(target), name, f"{size[0]}x{size[1]}", runs, results, whole, chosen, bool(remembered))


def profile(
    model: str, size: tuple[int, int] = (640, 480), device: str = "auto", runs: int = 10
) -> dict[str, dict[str, float]]:
    """What the time of a frame is spent on: milliseconds by step, for the reference and for the fastest engine.

    Raises:
        ConfigError: fewer runs than one.
        CheckpointError: no such model.
    """
    at_least_one(runs=runs)
    target = choose_device(device)
    weights, name, _ = open_model(model)
    images = normalised(weights.config, *make_scene(size), target)
    _, depth = images
    best, reference = plan(target)[0], plan(target, "reference")[0]
    engines = {str(choice): choice.make(weights) for choice in (reference, best)}
    turns: dict[tuple[str, str], Callable[[], object]] = {}
    for title, engine in engines.items():
        turns[title, "whole"] = partial(engine, *images)
        parts: Any = engine  # whose methods below are not every engine's
        if isinstance(engine, ReferenceEngine):
            tensors = [torch.as_tensor(image) for image in images]
            with torch.inference_mode():
                kernels = parts.kernels(*tensors)
            turns[title, "convolutions"] = torch.inference_mode()(partial(parts.kernels, *tensors))
            turns[title, "average"] = torch.inference_mode()(partial(parts.average, tensors[1], *kernels))
        elif hasattr(engine, "images"):  # of a GraphEngine, whose packages need not be there
            given = parts.images(*images)
            features = {key: np.array(value) for key, value in parts.features(given).items()}
            turns[title, "input"] = partial(parts.images, *images)
            turns[title, "convolutions"] = partial(parts.features, given)
            turns[title, "heads and average"] = partial(parts.average, depth, features)
    times = interleave(turns, runs, f"{name} {size[0]}x{size[1]}", target)
    found: dict[str, dict[str, float]] = {title: {} for title in engines}
    for (title, step), seconds in times.items():
        found[title][step] = 1e3 * seconds
    return found


def sweep(
    device: str = "auto",
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    kernel_sizes: Sequence[int] = (3, 5, 7),
    architectures: Sequence[str] = ("fdkn", "dkn"),
    runs: int = 3,
) -> list[Point]:
    """How time grows with size and kernel, on the fastest engine; random weights, which cost what others do.

    Raises:
        ConfigError: fewer runs than one.
    """
    at_least_one(runs=runs)
    target = choose_device(device)
    choice = plan(target)[0]
    points = []
    for architecture, k in product(architectures, kernel_sizes):
        weights = random_weights(architecture, k)
        engine = choice.make(weights)
        for size in sizes:
            images = normalised(weights.config, *make_scene(size), target)
            title = f"{architecture} k={k} {size[0]}x{size[1]}"
            seconds = interleave({"": partial(engine, *images)}, runs, title, target)
            points.append(Point(architecture, k, f"{size[0]}x{size[1]}", 1e3 * seconds[""], flops(weights, size) / 1e9))
    return points


def open_model(model: str) -> tuple[Weights, str, Path | None]:
    """Weights, what to call them, and its file; random weights where an architecture has no model yet.

    Raises:
        CheckpointError: no such model.
    """
    try:
        path = find_model(model, SCALE)
    except CheckpointError:
        if model not in ("fdkn", "dkn"):
            raise
        return random_weights(model), f"{model} (random weights)", None
    return checkpoint.read(path)[0], path.stem, path


def random_weights(architecture: str, kernel_size: int = 3) -> Weights:
    """Of a network that has learnt nothing, the same every time."""
    torch.manual_seed(0)
    # NetworkConfig itself refuses what is no architecture.
    return Weights.of(build(NetworkConfig(architecture=architecture, kernel_size=kernel_size)))  # type: ignore[arg-type]


def _choices(device: Device, engines: list[str] | None, precision: str, every_precision: bool) -> list[Choice]:
    """In the order of `ENGINES`, the reference last."""
    if every_precision and (timed := candidates(device, precision=precision)):
        choices = [choice for choice in timed if engines is None or choice.name in engines]
    elif engines is None:
        choices = [choice for choice in plan(device, precision=precision) if choice.device == device]
    else:
        choices = [plan(device, name, precision)[0] for name in engines if name != "reference"]
    order = list(ENGINES)
    return sorted([*choices, *plan(device, "reference")], key=lambda choice: order.index(choice.name))


def normalised(config: NetworkConfig, color: np.ndarray, low: np.ndarray, device: Device) -> list[Array]:
    """What an engine takes: colour and depth."""
    depth = torch.from_numpy(low)[None, None]
    size = color.shape[0], color.shape[1]
    shown = prepare(depth, depth.isfinite(), size, DEPTH_RANGE, config.depth_channels).shown
    return [placed(image, device) for image in (color[None], shown.numpy())]


def _peak_mb(model: str, size: tuple[int, int], choice: Choice) -> float:
    """Of a fresh process: what ran here before must not count."""
    job = {"model": model, "size": size, "device": str(choice.device), "engine": choice.name}
    job["precision"] = choice.precision
    command = [sys.executable, "-m", "dkn.benchmark.peak_memory", json.dumps(job)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)
