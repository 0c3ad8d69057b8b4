"""How fast and how true each engine is, measured against the reference in the same run.

Engines take turns, and medians are compared: on a machine that does other things too, ratios hold where absolute times
do not. Memory is measured in a process of its own for each engine.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dkn import checkpoint
from dkn.data.sample import Sample
from dkn.data.synthetic import Scene
from dkn.degradation import degrade
from dkn.depth import prepare
from dkn.device import choose_device
from dkn.engines import ENGINES, Choice, plan
from dkn.engines.folding import Convolution, fold
from dkn.engines.reference import ReferenceEngine, average_by_unfolding
from dkn.errors import CheckpointError, ConfigError
from dkn.machine import processor
from dkn.models import find_model
from dkn.networks import KernelNetwork, NetworkConfig, build
from dkn.training import TrainConfig, Trainer
from dkn.upsampler import Upsampler

DEPTH_RANGE = 10.0  # metres
SCALE = 8
WARM_UP = 1
Key = TypeVar("Key")
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
class TrainingBenchmark:
    """One step of training on 8 crops of 128×128."""

    device: str
    runs: int
    median_ms: float
    plain_ms: float
    ratio: float


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
) -> Benchmark:
    """Run every engine that is there, the reference among them.

    Args:
        model: as for `Upsampler`; where fdkn or dkn has no model yet, the network with random weights.
        size: width and height of the colour image.
        engines: names; None: all.
        precision: auto, or one that every engine named has.
        memory: measure it too, which starts a process for each engine.

    Raises:
        ConfigError: an engine or precision that is not to be had here, or fewer runs than one.
        CheckpointError: no such model.
    """
    if runs < 1:
        raise ConfigError(f"runs={runs}: at least one is needed")
    target = choose_device(device)
    network, name, path = open_network(model)
    color, low = make_scene(size)
    choices = _choices(target, engines, precision)
    images = _normalised(network, color, low, target)
    turns: dict[str, Callable[[], object]] = {}
    outputs: dict[str, Tensor] = {}
    for choice in choices:
        engine = choice.make(network)
        outputs[choice.name] = engine(*images).float().cpu()
        turns[choice.name] = partial(engine, *images)
    fastest = next((choice for choice in choices if choice.name != "reference"), None)
    if path is not None and fastest is not None:
        upsampler = Upsampler(path, device=device, engine=fastest.name, precision=fastest.precision)
        turns["whole"] = partial(upsampler, color, low)
    times = interleave(turns, runs, f"{name} {size[0]}x{size[1]}", target)
    results = []
    for choice in choices:
        error = DEPTH_RANGE * (outputs[choice.name] - outputs["reference"]).abs()
        results.append(
            Result(
                choice.name,
                choice.precision,
                1e3 * times[choice.name],
                _peak_mb(model, size, choice) if memory else None,
                float(error.max()),
                float(error.mean()),
                times["reference"] / times[choice.name],
            )
        )
    whole = times["whole"] / times[fastest.name] if fastest is not None and "whole" in times else None
    return Benchmark(describe(target), name, f"{size[0]}x{size[1]}", runs, results, whole)


def profile(
    model: str, size: tuple[int, int] = (640, 480), device: str = "auto", runs: int = 10
) -> dict[str, dict[str, float]]:
    """What the time of a frame is spent on: milliseconds by step, for the reference and for the fastest engine.

    Raises:
        ConfigError: fewer runs than one.
        CheckpointError: no such model.
    """
    if runs < 1:
        raise ConfigError(f"runs={runs}: at least one is needed")
    target = choose_device(device)
    network, name, _ = open_network(model)
    images = _normalised(network, *make_scene(size), target)
    _, depth = images
    best, yardstick = plan(target)[0], plan(target, "reference")[0]
    engines = {str(choice): choice.make(network) for choice in (yardstick, best)}
    turns: dict[tuple[str, str], Callable[[], object]] = {}
    for title, engine in engines.items():
        turns[title, "whole"] = partial(engine, *images)
        parts: Any = engine  # whose methods below are not every engine's
        if isinstance(engine, ReferenceEngine):
            with torch.inference_mode():
                kernels = parts.kernels(*images)
            turns[title, "convolutions"] = torch.inference_mode()(partial(parts.kernels, *images))
            turns[title, "average"] = torch.inference_mode()(partial(parts.average, depth, *kernels))
        elif hasattr(engine, "images"):  # of a GraphEngine, whose packages need not be there
            given = parts.images(*images)
            of_graph = {key: np.array(value) for key, value in parts.kernels(given).items()}
            turns[title, "input"] = partial(parts.images, *images)
            turns[title, "convolutions"] = partial(parts.kernels, given)
            turns[title, "average"] = partial(parts.average, depth, of_graph)
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
    if runs < 1:
        raise ConfigError(f"runs={runs}: at least one is needed")
    target = choose_device(device)
    choice = plan(target)[0]
    points = []
    for architecture, k in product(architectures, kernel_sizes):
        torch.manual_seed(0)
        network = build(NetworkConfig(architecture=architecture, kernel_size=k)).eval()  # type: ignore[arg-type]
        engine = choice.make(network)
        for size in sizes:
            images = _normalised(network, *make_scene(size), target)
            title = f"{architecture} k={k} {size[0]}x{size[1]}"
            seconds = interleave({"": partial(engine, *images)}, runs, title, target)
            points.append(Point(architecture, k, f"{size[0]}x{size[1]}", 1e3 * seconds[""], flops(network, size) / 1e9))
    return points


def training_ratio(device: str = "auto", runs: int = 5) -> TrainingBenchmark:
    """One training step as `dkn train` does it, and as it is usually written, taking turns.

    Usually written: the window unfolded, sampled by torch, float32 throughout.
    """
    target = choose_device(device)
    trainers = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, changes in (("dkn train", {}), ("plain", {"bf16": False, "optimiser": "adam"})):
            config = TrainConfig(NetworkConfig(), SCALE, steps=10 * (runs + WARM_UP), **changes)  # type: ignore[arg-type]
            trainers[name] = Trainer(_Room(), config, Path(folder) / name.replace(" ", "-"), device=device)
        plain = trainers["plain"].network
        plain.average = partial(_average_by_unfolding, plain)  # type: ignore[method-assign]
        turns = {name: trainer.train_step for name, trainer in trainers.items()}
        seconds = interleave(turns, runs, "training step", target)
    ours, usual = 1e3 * seconds["dkn train"], 1e3 * seconds["plain"]
    return TrainingBenchmark(describe(target), runs, ours, usual, usual / ours)


def interleave(
    turns: Mapping[Key, Callable[[], object]], runs: int, title: str, device: torch.device
) -> dict[Key, float]:
    """Median seconds of each function, all of them taking turns."""
    times: dict[Key, list[float]] = {name: [] for name in turns}
    for run in tqdm(range(WARM_UP + runs), desc=title, unit="round", leave=False):
        for name, turn in turns.items():
            # The second frame of a turn counts, as in a stream of frames: the first finds the caches, and the cores,
            # as the engine before it left them.
            turn()
            started = time.perf_counter()
            turn()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if run >= WARM_UP:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def open_network(model: str) -> tuple[KernelNetwork, str, Path | None]:
    """A network, what to call it, and its file; random weights where an architecture has no model yet.

    Raises:
        CheckpointError: no such model.
    """
    try:
        path = find_model(model, SCALE)
    except CheckpointError:
        if model not in ("fdkn", "dkn"):
            raise
        torch.manual_seed(0)
        return build(NetworkConfig(architecture=model)).eval(), f"{model} (random weights)", None  # type: ignore[arg-type]
    return checkpoint.load(path)[0], path.stem, path


class _Room:
    """The rendered room as a data set of one picture."""

    name, unit, unit_scale, border = "room", "cm", 100.0, 0

    def __init__(self) -> None:
        self._sample = Sample(*_render((640, 480)), "room")

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return self._sample


def _average_by_unfolding(network: KernelNetwork, depth: Tensor, weights: Tensor, offsets: Tensor | None) -> Tensor:
    assert offsets is not None
    return depth + average_by_unfolding(depth, weights, offsets, network.taps, network.config.window)


@cache
def make_scene(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Colour and low-resolution depth of a room that the project renders itself; size is (width, height)."""
    color, depth = _render(size)
    whole = depth[: size[1] // SCALE * SCALE, : size[0] // SCALE * SCALE]
    return color, degrade(whole, SCALE, "bicubic", np.random.default_rng(0))


def _render(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    scene = _furnished()
    return scene.render(scene.camera_pose(0.0), size)


@cache
def _furnished() -> Scene:
    return Scene()


def flops(network: KernelNetwork, size: tuple[int, int]) -> float:
    """Floating point operations of the convolutions for one image of (width, height)."""
    pixels = size[0] * size[1] / network.config.phases**2

    def of(convolution: Convolution | None) -> float:
        return 0.0 if convolution is None else 2.0 * convolution.weight.size * pixels

    return sum(of(c) for s in fold(network) for c in (*s.features, s.weights, s.offsets))


def describe(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {torch.get_num_threads()} threads"


def _choices(device: torch.device, engines: list[str] | None, precision: str) -> list[Choice]:
    """In the order of `ENGINES`, the reference last."""
    if engines is None:
        choices = [choice for choice in plan(device, precision=precision) if choice.device == device]
    else:
        choices = [plan(device, name, precision)[0] for name in engines if name != "reference"]
    order = list(ENGINES)
    return sorted([*choices, *plan(device, "reference")], key=lambda choice: order.index(choice.name))


def _normalised(network: KernelNetwork, color: np.ndarray, low: np.ndarray, device: torch.device) -> list[Tensor]:
    """What an engine takes: colour and depth."""
    depth = torch.from_numpy(low)[None, None]
    size = color.shape[0], color.shape[1]
    shown = prepare(depth, depth.isfinite(), size, DEPTH_RANGE, network.config.depth_channels).shown
    return [torch.from_numpy(color)[None].to(device), shown.to(device)]


def _peak_mb(model: str, size: tuple[int, int], choice: Choice) -> float:
    """Of a fresh process: what ran here before must not count."""
    job = {"model": model, "size": size, "device": str(choice.device), "engine": choice.name}
    job["precision"] = choice.precision
    command = [sys.executable, "-m", "dkn.benchmark", json.dumps(job)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def _upsample_once(model: str, size: tuple[int, int], device: str, engine: str, precision: str) -> float:
    """Three frames as `dkn upsample` would do one; the peak of memory in MB."""
    rng = np.random.default_rng(0)  # noise: a renderer would count too
    color = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
    low = 2 + rng.random((size[1] // SCALE, size[0] // SCALE), np.float32)
    network, _, path = open_network(model)
    if path is None:  # an Upsampler takes files
        target = torch.device(device)
        run = plan(target, engine, precision)[0].make(network)
        once: Callable[[], object] = partial(run, *_normalised(network, color, low, target))
    else:
        once = partial(Upsampler(path, device=device, engine=engine, precision=precision), color, low)
    for _ in range(3):
        once()
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    # getrusage would count what the parent held when it forked.
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    print(_upsample_once(**job | {"size": tuple(job["size"])}))
