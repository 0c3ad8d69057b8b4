"""`dkn gallery`: the uses of section 4.1 on pictures rendered by code, before and after, with errors in grey levels.

Flash/no-flash and RGB/NIR restoration, and removal of texture by four passes, all by one model that learnt on noisy
depth. The truth is known here, so that a number stands beside each picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dkn.errors import ConfigError
from dkn.evaluation import rmse
from dkn.filtering.denoising import guided_filter
from dkn.filtering.filter import TASKS, Filter
from dkn.filtering.scenes import flash_pair, infrared, render
from dkn.report import beside, labelled, markdown, write_image

GUIDED_FILTER = {"radius": 3, "eps": 255**2 * 3e-4}
"""Of the restorations: best of radius 2 to 12 and eps 255² · (3e-5 … 3e-3) in the mean over both kinds, on six scenes
of other seeds than those evaluated."""
TEXTURE_FILTER = {"radius": 2, "eps": 255**2 * 3e-3}
"""Best of radius 2 to 8 and eps 255² · (1e-3 … 1e-1) on the same seeds."""
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
    parser.add_argument("--scenes", type=int, default=6, help="so many of each kind; the first is drawn")
    parser.add_argument("--seed", type=int, default=4, help="of the first scenes; the others' follow it")
    parser.add_argument("--device", default="auto")


def run(options: argparse.Namespace) -> None:
    """Draw the picture, and print the errors.

    Raises:
        ConfigError: no scenes.
    """
    if options.scenes < 1:
        raise ConfigError(f"scenes={options.scenes}: at least one is needed")
    errors: dict[str, list[list[float]]] = {}
    rows = []
    for seed in range(options.seed, options.seed + options.scenes):
        for example in examples(seed):
            found = {"before": example.target} | results(example, options.model, options.device)
            errors.setdefault(example.name, []).append([rmse_levels(p, example.truth) for p in found.values()])
            if seed == options.seed:
                rows.append(_row(example, found, errors[example.name][0]))
    write_image(options.out, np.concatenate(rows))
    print(table(errors))


def table(errors: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Markdown: means over the scenes of each use."""
    count = len(next(iter(errors.values())))
    means = {name: [f"{mean:.1f}" for mean in np.mean(found, axis=0)] for name, found in errors.items()}
    heads = [f"RMSE, grey levels, {count} scenes each", "before", "guided filter", "ours"]
    return markdown(heads, [[name, *cells] for name, cells in means.items()])


def _row(example: Example, found: Mapping[str, np.ndarray], errors: Sequence[float]) -> np.ndarray:
    """The pictures of one use beside each other: (H, W, 3) uint8."""
    guided = TASKS[example.task].guided
    panels = {"guidance": example.guidance} if guided else {}
    for (name, picture), error in zip(found.items(), errors, strict=True):
        panels[f"{name} {error:.1f}"] = picture
    panels["truth"] = example.truth
    if not guided:
        panels["what was removed"] = 0.5 + found["ours"] - example.target
    return beside([labelled(name, _bytes(panel)) for name, panel in panels.items()])
