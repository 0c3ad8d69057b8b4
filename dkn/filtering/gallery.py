"""`dkn gallery`: the uses of section 4.1 on pictures rendered by code, before and after, with errors in grey levels.

Flash/no-flash and RGB/NIR restoration, and removal of texture by four passes, all by one model that learnt on noisy
depth. The truth is known here, so that a number stands beside each picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dkn.evaluation import rmse
from dkn.filtering.denoising import guided_filter
from dkn.filtering.filter import TASKS, Filter
from dkn.filtering.scenes import flash_pair, infrared, render
from dkn.report import beside, labelled, write_image

GUIDED_FILTER = {"radius": 3, "eps": 255**2 * 1e-3}
"""Of the restorations; for texture the guidance has the texture too, and a larger eps takes it off."""
TEXTURE_FILTER = {"radius": 4, "eps": 255**2 * 1e-2}
SIZE = (192, 256)


class Example(NamedTuple):
    """One use: float32 in 0..1, guidance (H, W) or (H, W, 3), the others (H, W, 3)."""

    name: str
    task: str
    guidance: np.ndarray
    target: np.ndarray
    truth: np.ndarray


def examples(seed: int = 4) -> list[Example]:
    """Rendered pictures for each use."""
    flash, dim, noisy_dim = flash_pair(np.random.default_rng(seed), SIZE)
    nir, color, noisy_color = infrared(np.random.default_rng(seed + 1), SIZE)
    scene = render(np.random.default_rng(seed + 2), SIZE, shapes=6)
    textured, plain = (picture.astype(np.float32) / 255 for picture in (scene.color, scene.plain))
    return [
        Example("flash / no flash", "denoise", flash, noisy_dim, dim),
        Example("infrared / colour", "denoise", nir, noisy_color, color),
        Example("texture", "texture", textured, textured, plain),
    ]


def results(example: Example, model: str | Path, device: str = "auto") -> dict[str, np.ndarray]:
    """Guided filter and model, by name: (H, W, 3) float32."""
    task = TASKS[example.task]
    network = Filter(model, iterations=task.iterations, device=device)
    ours = network(example.target, example.guidance if task.guided else None)
    parameters = GUIDED_FILTER if task.guided else TEXTURE_FILTER
    return {"guided filter": _guided(example, task.iterations, task.guided, parameters), "ours": ours}


def rmse_levels(picture: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square error of pictures in 0..1 in grey levels, without the border that the window reaches over."""
    return 255 * rmse(picture, truth, border=8)


def _guided(example: Example, iterations: int, guided: bool, parameters: dict[str, float]) -> np.ndarray:
    picture = example.target
    for _ in range(iterations):
        guide = _bytes(example.guidance if guided else picture)
        channels = [guided_filter(np.ascontiguousarray(picture[..., i]), guide, **parameters) for i in range(3)]
        picture = np.stack(channels, axis=-1)
    return picture


def _bytes(picture: np.ndarray) -> np.ndarray:
    """0..1 → (H, W, 3) uint8."""
    three = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    return np.rint(three.clip(0, 1) * 255).astype(np.uint8)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default=TASKS["denoise"].model, help="model file or short name")
    parser.add_argument("--out", type=Path, required=True, help="picture (.png): a row for each use")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--device", default="auto")


def run(options: argparse.Namespace) -> None:
    """Draw the picture, and print the errors."""
    rows, lines = [], ["| RMSE, grey levels | before | guided filter | ours |", "|---|---:|---:|---:|"]
    for example in examples(options.seed):
        found = results(example, options.model, options.device)
        pictures = {"before": example.target, **found}
        errors = {name: f"{rmse_levels(picture, example.truth):.1f}" for name, picture in pictures.items()}
        guided = TASKS[example.task].guided
        panels = {"guidance": example.guidance} if guided else {}
        panels |= {f"{name} {errors[name]}": picture for name, picture in pictures.items()}
        panels["truth"] = example.truth
        if not guided:
            panels["what was removed"] = 0.5 + found["ours"] - example.target
        rows.append(beside([labelled(name, _bytes(panel)) for name, panel in panels.items()]))
        lines.append(f"| {example.name} | {' | '.join(errors.values())} |")
    write_image(options.out, np.concatenate(rows))
    print("\n".join(lines))
