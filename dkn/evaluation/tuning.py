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

"""Chooses the baselines' parameters by a grid search on training images (`python -m dkn.evaluation.tuning --data F`),
and on a recording for what a real sensor measures (`--data recording=F`).

What came out is written into `baselines.py` by hand and recorded in `docs/evaluation.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dkn.data.nyu import NYU
from dkn.data.recording import Recording
from dkn.data.sample import Dataset
from dkn.depth.degradation import degrade
from dkn.evaluation.baselines import BASELINES, Parameters
from dkn.evaluation.metrics import rmse
from dkn.evaluation.protocol import bicubic
from dkn.utils.arguments import at_least_one, spread

GRIDS: Mapping[str, Mapping[str, Sequence[float]]] = {
    "guided filter": {"radius": (0.125, 0.25, 0.5, 1), "eps": (0.65, 6.5, 65, 650)},
    "joint bilateral": {
        "sigma_color": (24, 48, 96),
        "radius": (0.5, 1),
        "sigma_space": (0.125, 0.25, 0.5),
        "edge": (0.01, 0.02, 0.05),
    },
    "fast bilateral solver": {
        "sigma_space": (0.5, 1),
        "sigma_color": (8, 16, 32),
        "lambda": (0.02, 0.1, 0.5),
        "edge": (0.05, 0.1, 0.2),
    },
    "fast global smoother": {
        "lambda": (0.3, 1, 3),
        "sigma_color": (32, 64, 128),
        "edge": (0.005, 0.01, 0.02, 0.05),
    },
}
"""Candidates by method. Those of lengths (radius, sigma_space) count in low-resolution pixels."""

RECORDING_GRIDS: Mapping[str, Mapping[str, Sequence[float]]] = {
    "guided filter": {"radius": (1, 2, 4, 8, 16), "eps": (0.65, 6.5, 65, 650, 6500)},
    "joint bilateral": {"sigma_color": (12, 24, 48, 96), "radius": (2, 4, 8, 16), "edge": (0.02, 0.1)},
    "fast global smoother": {
        "lambda": (0.3, 1, 3, 10, 30),
        "sigma_color": (8, 16, 32, 64),
        "edge": (0.01, 0.02, 0.05, 0.2),
    },
}
"""The same for recordings, lengths in pixels of the high resolution: noise is as wide whatever the scale. The joint
bilateral filter's sigma_space is half its radius."""

_LENGTHS = ("radius", "sigma_space")


def candidates(name: str, scale: int, recorded: bool = False) -> list[Parameters]:
    """Every combination of a method's grid, lengths in pixels of the high resolution.

    Args:
        recorded: for recordings; of their lengths those that span a quarter of a low-resolution pixel or more.
    """
    grid = (RECORDING_GRIDS if recorded else GRIDS)[name]
    values = [[scale * v if key in _LENGTHS and not recorded else v for v in grid[key]] for key in grid]
    found = [dict(zip(grid, combination, strict=True)) for combination in product(*values)]
    if recorded:
        found = [p for p in found if 4 * p.get("radius", scale) >= scale]
    if recorded and name == "joint bilateral":
        found = [p | {"sigma_space": p["radius"] / 2} for p in found]
    return list(found)


def search(dataset: Dataset, name: str, scale: int, images: Sequence[int]) -> list[tuple[float, Parameters]]:
    """(mean RMSE in the set's unit, parameters) of every candidate, best first: on bicubic input, or on points and
    averages of what a sensor measured."""
    recorded = dataset.name == "recording"
    options = candidates(name, scale, recorded)
    errors = np.zeros((len(images), len(options)))
    for row, index in enumerate(tqdm(images, desc=f"{name} {scale}x", unit="image")):
        for color, low, truth in _inputs(dataset, scale, index):
            for column, parameters in enumerate(options):
                result = BASELINES[name].run(color, low, parameters)
                errors[row, column] += dataset.unit_scale * rmse(result, truth, dataset.border)
    means = errors.mean(axis=0) / len(_kinds(dataset, scale))
    return [(float(means[i]), options[i]) for i in np.argsort(means, kind="stable")]


def _kinds(dataset: Dataset, scale: int) -> Sequence[str]:
    if dataset.name != "recording":
        return ("bicubic",)
    return ("nearest", "area") if scale > 1 else ("nearest",)  # where nothing is made smaller they are the same


def _inputs(dataset: Dataset, scale: int, index: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(colour, low-resolution depth, truth) of an image for each kind of input."""
    sample = dataset[index].cropped(scale)
    for kind in _kinds(dataset, scale):
        yield sample.color, degrade(sample.source, scale, kind, np.random.default_rng(0), sample.color), sample.depth


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the best and the second best of each method and scale as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", required=True, help="nyu_depth_v2_labeled.mat; its training images serve. Or recording=FOLDER"
    )
    parser.add_argument("--images", type=int, default=6, help="how many of them, evenly spread")
    parser.add_argument("--scale", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--method", nargs="+", choices=GRIDS, help="default: all")
    options = parser.parse_args(arguments)
    at_least_one(images=options.images)
    name, equals, path = options.data.partition("=")
    recorded = bool(equals) and name == "recording"
    dataset: Dataset = Recording(Path(path)) if recorded else NYU(Path(options.data), "train")
    images = spread(len(dataset), options.images)
    print("| scale | method | best parameters | RMSE, cm | second best | bicubic |\n|---|---|---|---|---|---|")
    for scale in options.scale:
        start = _bicubic_rmse(dataset, scale, images)
        for method in options.method or (RECORDING_GRIDS if recorded else GRIDS):
            (best, parameters), (second, _) = search(dataset, method, scale, images)[:2]
            text = ", ".join(f"{key} {value:g}" for key, value in parameters.items())
            print(f"| {scale}x | {method} | {text} | {best:.3f} | {second:.3f} | {start:.3f} |", flush=True)


def _bicubic_rmse(dataset: Dataset, scale: int, images: Sequence[int]) -> float:
    errors = [
        dataset.unit_scale * rmse(bicubic(color, low), truth, dataset.border)
        for index in images
        for color, low, truth in _inputs(dataset, scale, index)
    ]
    return float(np.mean(errors))


if __name__ == "__main__":
    main()
