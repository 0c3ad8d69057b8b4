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

"""`dkn segment`: what the layer brings a small network on rendered scenes, beside bilinear upsampling and the guided
filter (the supplement's Table 6 does it for DeepLab v2 on Pascal VOC).

The network labels textured shapes (`dkn.data.rendered.shapes`) at an eighth of the size. It is trained with bilinear
upsampling first; then it goes on for as many steps again, once as before, once with the layer in place, both from the
same weights and on the same batches. The guided filter cleans the first one's probabilities, with parameters that are
best on training scenes.

The scenes are painted in patches, unevenly lit, and have shadows: in photographs, too, not every edge of colour is one
of a thing. On flat ones (`--scenes flat`) each thing has one colour, as a guided filter assumes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from dkn.data.rendered.shapes import KINDS, Scene, render
from dkn.evaluation import paper
from dkn.evaluation.baselines import guided_filter
from dkn.evaluation.iou import REACH, mean_iou
from dkn.networks.config import NetworkConfig
from dkn.networks.fdkn_layer import FDKNLayer
from dkn.training.muon import Muon
from dkn.utils.arguments import at_least_one
from dkn.utils.tables import markdown
from dkn.utils.visualize import beside, labelled

SIZE = (96, 128)
GRID: dict[str, Sequence[Any]] = {"radius": (2, 4, 8, 16, 24), "eps": tuple(255**2 * 10.0**e for e in range(-6, -1))}
LAYER = NetworkConfig("fdkn", residual=False, window=31)
"""Taps reach two cells of the scores far, which are 8 pixels wide, and the result is an average of scores (eq. 7)."""
_COLORS = np.array([(40, 40, 40), (230, 160, 30), (60, 150, 220), (200, 60, 120)], np.uint8)

Predict = Callable[[Tensor], Tensor]
"""(N, 3, H, W) image in 0..1 → (N, C, H, W) scores."""


class Row(NamedTuple):
    """One method's result, 0 to 1."""

    method: str
    mean_iou: float
    boundary_iou: float


class SmallNet(nn.Module):
    """Scores of the classes at an eighth of the size."""

    def __init__(self, classes: int = len(KINDS)):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in ((3, 16, 1), (16, 32, 2), (32, 48, 2), (48, 64, 2), (64, 64, 1)):
            layers += [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(64, classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)


class Bilinear(nn.Module):
    """What the layer takes the place of."""

    def forward(self, scores: Tensor, image: Tensor) -> Tensor:
        return F.interpolate(scores, size=tuple(image.shape[2:]), mode="bilinear")


class Segmenter(nn.Module):
    """A network that gives scores of low resolution, and what upsamples them.

    Args:
        network: (N, 3, H, W) → (N, C, h, w).
        upsample: (N, C, h, w) and the image → (N, C, H, W).
    """

    def __init__(self, network: nn.Module, upsample: nn.Module):
        super().__init__()
        self.network, self.upsample = network, upsample

    def forward(self, image: Tensor) -> Tensor:
        return self.upsample(self.network(image), image)


def scenes(count: int, first_seed: int, painted: bool = True) -> list[Scene]:
    """So many different scenes."""
    seeds = tqdm(range(count), "rendering", unit="scene", delay=1, mininterval=5)
    return [render(np.random.default_rng((first_seed, i)), SIZE, shapes=4, painted=painted) for i in seeds]


def train(segmenter: nn.Module, data: Sequence[Scene], steps: int, seed: int, rates: dict[str, float]) -> None:
    """Muon on the cross entropy of batches of four, flipped at random, by a cosine schedule; in place.

    Args:
        rates: learning rate of each child of `segmenter`, by its name.
    """
    optimisers = [Muon(getattr(segmenter, name).parameters(), rate) for name, rate in rates.items()]
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps) for optimiser in optimisers]
    rng = np.random.default_rng(seed)
    segmenter.train()
    for _ in tqdm(range(steps), "training", delay=1, mininterval=5):
        batch = [data[int(i)] for i in rng.integers(len(data), size=4)]
        image = torch.stack([_tensor(s) for s in batch])
        truth = torch.stack([torch.from_numpy(s.labels).long() for s in batch])
        if rng.random() < 0.5:
            image, truth = image.flip(3), truth.flip(2)
        loss = F.cross_entropy(segmenter(image), truth)
        segmenter.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            schedule.step()
    segmenter.eval()


def compare(
    steps: int, training: int | None = None, test: int = 60, seed: int = 0, painted: bool = True
) -> tuple[list[Row], dict[str, Predict], list[Scene]]:
    """Train all, and evaluate them on scenes none has seen: rows, the methods, and the scenes.

    Args:
        steps: of each half of the training.
        training: scenes to train on; default: as many as steps, so that each is seen four times in each half.
        test: scenes to evaluate on.

    Raises:
        ConfigError: no steps.
    """
    at_least_one(steps=steps)
    torch.manual_seed(seed)
    data, unseen = scenes(training or steps, seed + 1, painted), scenes(test, seed + 2, painted)
    start = Segmenter(SmallNet(), Bilinear())
    train(start, data, steps, seed, {"network": 3e-3})
    plain, ours = start, Segmenter(copy.deepcopy(start.network), FDKNLayer(len(KINDS), LAYER))
    train(plain, data, steps, seed + 1, {"network": 1e-3})
    train(ours, data, steps, seed + 1, {"network": 1e-3, "upsample": 2e-3})
    parameters = tune(plain, data[:20])
    methods: dict[str, Predict] = {
        "bilinear": plain,
        "guided filter": partial(_after, plain, **parameters),
        "FDKNLayer": ours,
    }
    return [evaluate(name, method, unseen) for name, method in methods.items()], methods, unseen


def evaluate(name: str, predict: Predict, data: Sequence[Scene]) -> Row:
    """Mean IoU, and boundary IoU within `REACH` pixels."""
    found = [labels(predict, scene) for scene in data]
    truth = [scene.labels for scene in data]
    return Row(name, *(mean_iou(found, truth, len(KINDS), reach) for reach in (0, REACH)))


@torch.inference_mode()
def labels(predict: Predict, scene: Scene) -> np.ndarray:
    """(H, W) uint8: the class of the largest score."""
    return predict(_tensor(scene)[None])[0].argmax(dim=0).numpy().astype(np.uint8)


def filtered(scores: Tensor, image: Tensor, radius: float, eps: float) -> Tensor:
    """The guided filter on every class's probability."""
    results = []
    for score, picture in zip(scores.softmax(dim=1).numpy(), image.numpy(), strict=True):
        color = np.rint(255 * picture.transpose(1, 2, 0)).astype(np.uint8)
        results.append([guided_filter(np.ascontiguousarray(channel), color, radius, eps) for channel in score])
    return torch.from_numpy(np.array(results))


def _after(plain: Predict, image: Tensor, radius: float, eps: float) -> Tensor:
    return filtered(plain(image), image, radius, eps)


def tune(plain: Predict, data: Sequence[Scene]) -> dict[str, Any]:
    """The point of `GRID` with the best mean IoU."""
    grid = [dict(zip(GRID, values, strict=True)) for values in product(*GRID.values())]
    found = [evaluate("", partial(_after, plain, **point), data) for point in grid]
    return grid[int(np.argmax([row.mean_iou for row in found]))]


def _tensor(scene: Scene) -> Tensor:
    return torch.from_numpy(scene.color).permute(2, 0, 1).float() / 255


def table(rows: Sequence[Row], kind: str, steps: int, count: int) -> str:
    """Markdown, with the supplement's own figures."""
    heads = [f"segmentation, {count} {kind} scenes, {steps} + {steps} steps", "mean IoU", "boundary IoU"]
    cells = [[row.method, f"{100 * row.mean_iou:.2f}", f"{100 * row.boundary_iou:.2f}"] for row in rows]
    quoted = ", ".join(f"{name} {value:.2f}" for name, value in paper.SEGMENTATION.items())
    about = f"*The supplement's Table 6, mean IoU on Pascal VOC 2012 with DeepLab v2: {quoted}.*"
    return f"{markdown(heads, cells)}\n\n{about}"


def picture(methods: dict[str, Predict], data: Sequence[Scene]) -> np.ndarray:
    """A row of pictures for each scene, twice as large: (H, W, 3) uint8."""
    size = (2 * SIZE[0], 2 * SIZE[1])
    rows = []
    for scene in data:
        maps = {"truth": scene.labels} | {name: labels(method, scene) for name, method in methods.items()}
        panels = {"image": scene.color} | {name: _COLORS[map_] for name, map_ in maps.items()}
        rows.append(beside([labelled(name, panel, size) for name, panel in panels.items()]))
    return np.concatenate(rows)
