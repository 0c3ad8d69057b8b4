"""Chooses the baselines' parameters by a grid search on training images (`python -m dkn.evaluation.tuning --data F`).

What came out is written into `baselines.py` by hand and recorded in `docs/evaluation.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dkn.data.nyu import NYU
from dkn.data.sample import Dataset
from dkn.degradation import degrade
from dkn.evaluation import bicubic, rmse
from dkn.evaluation.baselines import BASELINES, Parameters

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

_LENGTHS = ("radius", "sigma_space")


def candidates(name: str, scale: int) -> list[Parameters]:
    """Every combination of a method's grid, lengths in pixels of the high resolution."""
    grid = GRIDS[name]
    values = [[scale * v if key in _LENGTHS else v for v in grid[key]] for key in grid]
    return [dict(zip(grid, combination, strict=True)) for combination in product(*values)]


def search(dataset: Dataset, name: str, scale: int, images: Sequence[int]) -> list[tuple[float, Parameters]]:
    """(mean RMSE in the set's unit, parameters) of every candidate on bicubic input, best first."""
    options = candidates(name, scale)
    errors = np.zeros((len(images), len(options)))
    for row, index in enumerate(tqdm(images, desc=f"{name} {scale}x", unit="image")):
        sample = dataset[index]
        low = degrade(sample.depth, scale, "bicubic", np.random.default_rng(0))
        for column, parameters in enumerate(options):
            result = BASELINES[name].run(sample.color, low, parameters)
            errors[row, column] = dataset.unit_scale * rmse(result, sample.depth, dataset.border)
    means = errors.mean(axis=0)
    return [(float(means[i]), options[i]) for i in np.argsort(means, kind="stable")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the best and the second best of each method and scale as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="nyu_depth_v2_labeled.mat; its training images serve")
    parser.add_argument("--images", type=int, default=6, help="how many of them, evenly spread")
    parser.add_argument("--scale", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--method", nargs="+", choices=GRIDS, default=list(GRIDS))
    options = parser.parse_args(arguments)
    dataset = NYU(options.data, "train")
    images = [round(i) for i in np.linspace(0, len(dataset) - 1, min(options.images, len(dataset)))]
    print("| scale | method | best parameters | RMSE, cm | second best | bicubic |\n|---|---|---|---|---|---|")
    for scale in options.scale:
        start = _bicubic_rmse(dataset, scale, images)
        for name in options.method:
            (best, parameters), (second, _) = search(dataset, name, scale, images)[:2]
            text = ", ".join(f"{key} {value:g}" for key, value in parameters.items())
            print(f"| {scale}x | {name} | {text} | {best:.3f} | {second:.3f} | {start:.3f} |", flush=True)


def _bicubic_rmse(dataset: Dataset, scale: int, images: Sequence[int]) -> float:
    errors = []
    for index in images:
        sample = dataset[index]
        low = degrade(sample.depth, scale, "bicubic", np.random.default_rng(0))
        errors.append(dataset.unit_scale * rmse(bicubic(sample.color, low), sample.depth, dataset.border))
    return float(np.mean(errors))


if __name__ == "__main__":
    main()
