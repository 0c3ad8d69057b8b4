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

"""Error against time: models of several sizes, beside bicubic interpolation and classical filters, on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from dkn.benchmark.scene import SCALE
from dkn.benchmark.timing import describe, interleave
from dkn.checkpoint import DEFAULT_MODEL, family, find_model
from dkn.data.sample import Dataset
from dkn.depth.degradation import degrade
from dkn.errors import ConfigError
from dkn.evaluation.baselines import BASELINES
from dkn.evaluation.protocol import Method, bicubic, evaluate
from dkn.upsampler import Upsampler
from dkn.utils.arguments import at_least_one
from dkn.utils.device import choose_device
from dkn.utils.visualize import headless_pyplot, save_figure

FILTERS = ("guided filter", "joint bilateral", "fast global smoother")
DEGRADATION = "nearest"  # point samples, as a sensor of few pixels gives them


@dataclass(frozen=True)
class Entry:
    """One method on one data set."""

    dataset: str
    unit: str
    method: str
    rmse: float
    median_ms: float
    """A whole frame, arrays in and out."""


@dataclass(frozen=True)
class Pareto:
    """What `pareto` found."""

    device: str
    entries: list[Entry]

    def table(self) -> str:
        lines = [f"{SCALE}x, {DEGRADATION}, {self.device}"]
        for e in self.entries:
            lines.append(f"  {e.dataset:12}{e.method:24}{e.rmse:8.3f} {e.unit}{e.median_ms:9.1f} ms")
        return "\n".join(lines)


def pareto(
    datasets: Sequence[Dataset],
    model: str = DEFAULT_MODEL,
    device: str = "auto",
    limit: int | None = 40,
    runs: int = 10,
) -> Pareto:
    """Judge `model`, its smaller ones, bicubic interpolation and `FILTERS`, and time them in turns on the first image.

    Raises:
        ConfigError: fewer runs than one, or no data set.
        CheckpointError: no such model.
    """
    at_least_one(runs=runs, datasets=len(datasets))
    target = choose_device(device)
    entries = []
    for dataset in datasets:
        methods = _methods(model, device)
        results = evaluate(dataset, methods, SCALE, DEGRADATION, limit)
        sample = dataset[0].cropped(SCALE)
        low = degrade(sample.source, SCALE, DEGRADATION, np.random.default_rng((0, 0)), sample.color)
        turns = {name: partial(method, sample.color, low) for name, method in methods.items()}
        times = interleave(turns, runs, dataset.name, target)
        entries += [Entry(dataset.name, dataset.unit, r.method, r.rmse, 1e3 * times[r.method]) for r in results.results]
    return Pareto(describe(target), entries)


def _methods(model: str, device: str) -> Mapping[str, Method]:
    """By name: the filters that this OpenCV has, then the models."""
    filters = {name: BASELINES[name] for name in FILTERS if _works(BASELINES[name])}
    models = {name: Upsampler(find_model(name, SCALE), device=device, fill_holes=True) for name in family(model)}
    return {"bicubic": bicubic, **filters, **models}


def _works(method: Method) -> bool:
    try:
        method(np.zeros((16, 16, 3), np.uint8), np.ones((2, 2), np.float32))
    except ConfigError:  # an OpenCV without contrib
        return False
    return True


def draw(found: Pareto, path: Path) -> None:
    """One panel a data set; the line joins the models.

    Raises:
        ConfigError: matplotlib is missing.
    """
    pyplot = headless_pyplot()
    names = list(dict.fromkeys(e.dataset for e in found.entries))
    figure, panels = pyplot.subplots(1, len(names), figsize=(6 * len(names), 4.5), squeeze=False)
    for axes, name in zip(panels[0], names, strict=True):
        entries = [e for e in found.entries if e.dataset == name]
        classical = ("bicubic", *FILTERS)
        models = [e for e in entries if e.method not in classical]
        axes.plot([e.median_ms for e in models], [e.rmse for e in models], "o-")
        others = [e for e in entries if e.method in classical]
        axes.plot([e.median_ms for e in others], [e.rmse for e in others], "s", color="grey")
        for i, e in enumerate(sorted(entries, key=lambda entry: entry.rmse)):
            below = i % 2 == 0  # neighbours get their names on different sides
            place = {"xytext": (4, -4 if below else 4), "va": "top" if below else "bottom"}
            axes.annotate(e.method, (e.median_ms, e.rmse), textcoords="offset points", fontsize=8, **place)
        axes.set(xscale="log", xlabel="ms a frame", ylabel=f"RMSE, {entries[0].unit}", title=f"{name}, {SCALE}×")
        axes.margins(x=0.25, y=0.15)
        axes.grid(which="both", alpha=0.3)
    figure.suptitle(found.device, fontsize=9)
    save_figure(figure, path)
