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

"""`dkn saliency`: upsampling of saliency maps by networks that learnt on depth (supplement 3.2, Table 5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from dkn.data.pairs import in_all, pictures
from dkn.data.rendered.shapes import render
from dkn.depth.resample import resize_bicubic
from dkn.errors import ConfigError, DataError, ImageError
from dkn.evaluation import paper
from dkn.evaluation.baselines import guided_filter
from dkn.evaluation.weighted_f_measure import weighted_f_measure
from dkn.filter import Filter
from dkn.utils.arguments import limited
from dkn.utils.image_io import COLOR_TYPES, read_color, read_levels
from dkn.utils.tables import markdown
from dkn.utils.visualize import figure

GUIDED_FILTER = {"radius": 8, "eps": 6.5025}
"""Best of radius 2, 4, 8 and eps 255² · (1e-4, 1e-3, 1e-2) on six scenes of other seeds than those evaluated."""

SYNTHETIC = 50  # scenes that stand in where there is no set

Case = tuple[np.ndarray, np.ndarray]
"""(H, W, 3) uint8 RGB and (H, W) float32, 0..1: a picture, and its saliency."""
UpsampleSaliency = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(h, w) float32, 0..1, and (H, W, 3) uint8 RGB → (H, W) float32."""


class Omron:
    """DUT-OMRON as published: DUT-OMRON-image/NAME.jpg with pixelwiseGT-new-PNG/NAME.png; or any two folders of
    pictures and masks of 8 bits, one with "image" in its name, one with "GT" or "mask".

    Raises:
        DataError: missing, or laid out differently; (by iteration) a file that cannot be read.
    """

    def __init__(self, path: Path):
        folders = sorted(f for f in path.iterdir() if f.is_dir()) if path.is_dir() else []
        images = [f for f in folders if "image" in f.name.lower()]
        masks = [f for f in folders if "gt" in f.name.lower() or "mask" in f.name.lower()]
        if len(images) != 1 or len(masks) != 1:
            raise DataError(f"{path}: expected DUT-OMRON-image/NAME.jpg and pixelwiseGT-new-PNG/NAME.png")
        colors, truths = pictures(images[0], COLOR_TYPES), pictures(masks[0], [".png"])
        self._pairs = [(colors[name], truths[name]) for name in in_all(colors, truths)]
        if not self._pairs:
            raise DataError(f"{path}: no mask has a picture of the same name")

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[Case]:
        for picture, mask in self._pairs:
            color, truth = read_color(picture), read_levels(mask)
            if color.shape[:2] != truth.shape:
                raise DataError(f"{mask}: another size than {picture.name}")
            yield color, truth.astype(np.float32) / np.float32(255)


class Synthetic:
    """Masks of shapes over textured scenes, rendered: the first star, box or disc that is there is salient."""

    def __init__(self, count: int = SYNTHETIC, first_seed: int = 0):
        self._seeds = range(first_seed, first_seed + count)

    def __len__(self) -> int:
        return len(self._seeds)

    def __iter__(self) -> Iterator[Case]:
        for seed in self._seeds:
            scene = render(np.random.default_rng((seed, 7)), (296, 400), shapes=6)
            kind = next((k for k in (3, 2, 1) if (scene.labels == k).any()), 0)
            yield scene.color, (scene.labels == kind).astype(np.float32)


def low_resolution(saliency: np.ndarray, scale: int) -> np.ndarray:
    """(H, W) → (H / scale, W / scale) by bicubic interpolation, as depth is reduced."""
    height, width = saliency.shape
    return resize_bicubic(torch.from_numpy(saliency)[None, None], (height // scale, width // scale))[0, 0].numpy()


def methods(models: Sequence[str], device: str = "auto") -> dict[str, UpsampleSaliency]:
    """Bicubic interpolation, the guided filter after it, and models."""
    found: dict[str, UpsampleSaliency] = {
        "bicubic": _bicubic,
        "guided filter": lambda low, color: guided_filter(_bicubic(low, color), color, **GUIDED_FILTER),
    }
    return found | {str(model): Filter(model, device=device) for model in models}


def _bicubic(low: np.ndarray, color: np.ndarray) -> np.ndarray:
    return resize_bicubic(torch.from_numpy(low)[None, None], (color.shape[0], color.shape[1]))[0, 0].numpy()


def evaluate(
    cases: Omron | Synthetic, upsamplers: Mapping[str, UpsampleSaliency], scale: int = 8, limit: int | None = None
) -> dict[str, float]:
    """Mean weighted F-measure of each method over the pictures that have something salient.

    Raises:
        ConfigError: a scale or limit below 1, or nothing to evaluate.
    """
    if scale < 1:
        raise ConfigError(f"scale={scale}: a factor of at least 1 is needed")
    found: dict[str, list[float]] = {name: [] for name in upsamplers}
    count = limited(len(cases), limit)
    for _, (color, saliency) in zip(tqdm(range(count), "saliency", delay=1), cases, strict=False):
        height, width = (n - n % scale for n in saliency.shape)
        if not min(height, width):
            raise ImageError(f"a picture of {color.shape[1]}x{color.shape[0]} is too small for scale={scale}")
        color, saliency = color[:height, :width], saliency[:height, :width]
        truth = saliency > 0.5
        low = low_resolution(saliency, scale)
        for name, upsample in upsamplers.items():
            found[name].append(weighted_f_measure(upsample(low, color).clip(0, 1), truth))
    means = {name: [s for s in scores if not math.isnan(s)] for name, scores in found.items()}
    if not means or not all(means.values()):
        raise ConfigError("nothing to evaluate: no picture, no method, or nothing salient")
    return {name: float(np.mean(scores)) for name, scores in means.items()}


def table(scores: Mapping[str, float], dataset: str, scale: int, count: int) -> str:
    """Markdown, with the supplement's own figures."""
    heads = [f"saliency, {dataset}, {scale}x, {count} pictures", "weighted F-measure"]
    found = markdown(heads, [[name, f"{score:.4f}"] for name, score in scores.items()])
    quoted = ", ".join(f"{name} {value:.4f}" for name, value in paper.SALIENCY.items())
    return f"{found}\n\n*The supplement's Table 5, DUT-OMRON, 8x, 5,168 pictures: {quoted}.*"


def picture(case: Case, upsamplers: Mapping[str, UpsampleSaliency], scale: int) -> np.ndarray:
    """Colour, input, each method and the truth beside each other: (H, W, 3) uint8."""
    color, saliency = case
    height, width = (n - n % scale for n in saliency.shape)
    color, saliency = color[:height, :width], saliency[:height, :width]
    low = low_resolution(saliency, scale)
    panels = {"picture": color, "input": _grey(cv2.resize(low, (width, height), interpolation=cv2.INTER_NEAREST))}
    panels |= {name: _grey(upsample(low, color)) for name, upsample in upsamplers.items()}
    return figure(panels | {"truth": _grey(saliency)})


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(values.clip(0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
