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

"""`dkn gallery`: the uses of section 4.1 on pictures rendered by code, before and after, with errors in grey levels.

Flash/no-flash and RGB/NIR restoration, and removal of texture by four passes, all by one model that learnt on noisy
depth. The truth is known here, so that a number stands beside each picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dkn.data.rendered.shapes import flash_pair, infrared, render
from dkn.evaluation import rmse
from dkn.evaluation.baselines import guided_filter
from dkn.filter import TASKS, Filter
from dkn.utils.tables import markdown
from dkn.utils.visualize import beside, labelled

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


def table(errors: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Markdown: means over the scenes of each use."""
    count = len(next(iter(errors.values())))
    means = {name: [f"{mean:.1f}" for mean in np.mean(found, axis=0)] for name, found in errors.items()}
    heads = [f"RMSE, grey levels, {count} scenes each", "before", "guided filter", "ours"]
    return markdown(heads, [[name, *cells] for name, cells in means.items()])


def row(example: Example, found: Mapping[str, np.ndarray], errors: Sequence[float]) -> np.ndarray:
    """The pictures of one use beside each other: (H, W, 3) uint8."""
    guided = TASKS[example.task].guided
    panels = {"guidance": example.guidance} if guided else {}
    for (name, picture), error in zip(found.items(), errors, strict=True):
        panels[f"{name} {error:.1f}"] = picture
    panels["truth"] = example.truth
    if not guided:
        panels["what was removed"] = 0.5 + found["ours"] - example.target
    return beside([labelled(name, _bytes(panel)) for name, panel in panels.items()])
