"""`dkn denoise`: train a network on noisy depth, and its RMSE beside the guided filter's (supplement 4.1.1).

Each test image is scaled to 0..1 by its own span, gets noise of variance 0.005 (the same for every method), and is
cleaned under the guidance of its colour image. The supplement names no unit for its RMSE; both likely ones are given:
grey levels (0..1 = 0..255) and cm.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
from tqdm import tqdm

from dkn.data.registry import HALVED, open_dataset
from dkn.data.sample import Dataset, Sample
from dkn.errors import ConfigError
from dkn.evaluation import paper, rmse
from dkn.filtering.filter import Filter
from dkn.filtering.noise import STEPS, add_noise, draw_noisy_batch, recipe, scaled
from dkn.networks import NetworkConfig
from dkn.report import markdown, write_json
from dkn.training import LOSSES, Trainer

Cleaner = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Noisy (H, W) float32 around 0..1 and its guidance (H, W, 3) uint8 RGB → (H, W) float32."""

GUIDED_FILTER: dict[str, Any] = {"radius": 3, "eps": 195.075}
"""Best of radius 2, 3, 4 on six test images of NYU v2, in its favour; `dkn denoise tune` looks at training images."""
GRID: dict[str, Sequence[Any]] = {"radius": (2, 3, 4, 6, 8), "eps": tuple(255**2 * e for e in (1e-3, 3e-3, 1e-2, 3e-2))}


@dataclass(frozen=True)
class Cleaned:
    """One method's row: means over the images."""

    method: str
    rmse_levels: float
    """Grey levels: 1/255 of each image's span."""
    rmse_cm: float


def guided_filter(noisy: np.ndarray, color: np.ndarray, radius: float, eps: float) -> np.ndarray:
    """He et al.'s, from opencv-contrib; `eps` for a guidance of 0..255.

    Raises:
        ConfigError: an OpenCV without its contrib modules.
    """
    if not hasattr(cv2, "ximgproc"):
        raise ConfigError(
            "the guided filter needs OpenCV's contrib modules: pip install opencv-contrib-python-headless"
        )
    return np.asarray(cv2.ximgproc.guidedFilter(np.ascontiguousarray(color), noisy, int(radius), eps))


def methods(models: Sequence[str], device: str = "auto") -> dict[str, Cleaner]:
    """What to compare: nothing done, the guided filter, and models."""
    found: dict[str, Cleaner] = {
        "noisy input": lambda noisy, color: noisy,
        "guided filter": partial(guided_filter, **GUIDED_FILTER),
    }
    return found | {str(model): Filter(model, device=device) for model in models}


def evaluate(dataset: Dataset, cleaners: Mapping[str, Cleaner], images: Sequence[int], seed: int = 0) -> list[Cleaned]:
    """RMSE of each method over these images, without the set's border."""
    errors: dict[str, list[tuple[float, float]]] = {name: [] for name in cleaners}
    for i in tqdm(images, desc=f"{dataset.name} noise", unit="image", delay=1):
        sample = dataset[i]
        truth, span = scaled(sample.depth)
        noisy = noisy_of(sample, np.random.default_rng((seed, i)))
        for name, clean in cleaners.items():
            error = rmse(clean(noisy, sample.color), truth, dataset.border)
            errors[name].append((255 * error, dataset.unit_scale * span * error))
    return [Cleaned(name, *(float(m) for m in np.mean(found, axis=0))) for name, found in errors.items()]


def noisy_of(sample: Sample, rng: np.random.Generator) -> np.ndarray:
    """The depth of a sample in 0..1 with noise; an unknown pixel holds the mean of the known ones, and noise."""
    truth = scaled(sample.depth)[0]
    known = np.isfinite(truth)
    return add_noise(np.where(known, truth, truth[known].mean() if known.any() else 0), rng)


def tune(dataset: Dataset, images: Sequence[int]) -> list[tuple[float, dict[str, float]]]:
    """RMSE in levels of the guided filter for each point of `GRID`, the best first."""
    grid = [dict(zip(GRID, values, strict=True)) for values in product(*GRID.values())]
    cleaners = {str(i): partial(guided_filter, **point) for i, point in enumerate(grid)}
    found = evaluate(dataset, cleaners, images)
    return sorted(((row.rmse_levels, p) for row, p in zip(found, grid, strict=True)), key=lambda pair: pair[0])


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", choices=["train", "evaluate", "tune"], help="tune: the guided filter, on train images"
    )
    parser.add_argument("--dataset", choices=HALVED, default="nyu")
    parser.add_argument("--data", type=Path, required=True, help="its file or folder (docs/data.md)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="train: folder of the run; the same command resumes it")
    parser.add_argument("--architecture", choices=["fdkn", "dkn"], default="fdkn", help="train")
    parser.add_argument("--steps", type=int, default=STEPS, help="train: length of the schedule")
    parser.add_argument("--batch-size", type=int, default=4, help="train")
    parser.add_argument("--crop", type=int, default=96, help="train")
    parser.add_argument("--loss", choices=get_args(LOSSES), default="l1", help="train; l1: the paper's")
    parser.add_argument("--seed", type=int, default=0, help="train")
    parser.add_argument("--init", type=Path, help="train: model file whose weights to begin with")
    parser.add_argument("--model", action="append", default=[], help="evaluate: model file or short name; repeatable")
    parser.add_argument("--limit", type=int, help="evaluate, tune: so many images, evenly spread")
    parser.add_argument("--json", type=Path, help="evaluate: write the table here too")


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    dataset = open_dataset(options.dataset, options.data, "test" if options.action == "evaluate" else "train")
    count = min(options.limit or len(dataset), len(dataset))
    images = [int(i) for i in np.linspace(0, len(dataset) - 1, count).round()]
    if options.action == "train":
        if options.out is None:
            raise ConfigError("dkn denoise train needs an --out")
        network = NetworkConfig(options.architecture, residual=False)
        changes = {name: getattr(options, name) for name in ("batch_size", "crop", "loss", "seed")}
        config = recipe(network, options.steps, **changes)
        how: dict[str, Any] = {"device": options.device, "resume": True, "init": options.init}
        print(Trainer(dataset, config, options.out, draw=draw_noisy_batch, **how).run())
    elif options.action == "tune":
        for error, parameters in tune(dataset, images):
            print(f"{error:7.3f}  " + ", ".join(f"{name} {value:g}" for name, value in parameters.items()))
    else:
        rows = evaluate(dataset, methods(options.model, options.device), images)
        print(table(rows, dataset.name, count))
        if options.json:
            facts = {"dataset": dataset.name, "count": count, "results": [vars(row) for row in rows]}
            write_json(options.json, facts | {"quoted_from_the_paper": paper.NOISE})


def table(rows: Sequence[Cleaned], dataset: str, count: int) -> str:
    """Markdown, with the supplement's own figures."""
    heads = [f"noise removal, {dataset}, {count} images", "RMSE, levels", "RMSE, cm"]
    found = markdown(heads, [[row.method, f"{row.rmse_levels:.2f}", f"{row.rmse_cm:.2f}"] for row in rows])
    quoted = ", ".join(f"{name} {value:.2f}" for name, value in paper.NOISE.items())
    return f"{found}\n\n*The supplement's own, unit not named, 449 images: {quoted}.*"
