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

"""Where the batches of a run come from: drawn as they are needed, by worker processes ahead of time, or cut out of a
set that lies on the device.

All three give the same crops for the same seed and step.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.context import BaseContext

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from dkn.data.sample import Dataset
from dkn.depth.degradation import degrade
from dkn.depth.network_input import prepare
from dkn.networks.config import STRIDE
from dkn.training import surroundings
from dkn.training.batches import Batch, ends_within_cells, place
from dkn.training.config import TrainConfig

AHEAD = 4  # batches that each worker process may have ready
DETERMINISTIC = ("bicubic", "bilinear", "area", "nearest")
"""Kinds of degradation that give a picture the same low-resolution depth every time."""


def batches(draw: Callable[[int], Batch], first: int, workers: int, device: torch.device) -> Iterator[Batch]:
    """The batches of the steps from `first` on, without an end.

    Args:
        draw: gives the batch of a step.
        workers: processes that draw ahead; 0: each batch is drawn when it is asked for.
        device: what the batches will be copied to; for CUDA they come in pinned memory.
    """
    if not workers:
        return map(draw, itertools.count(first))
    return iter(
        DataLoader(
            _Steps(draw),
            batch_size=None,
            sampler=itertools.count(first),
            num_workers=workers,
            multiprocessing_context=_clean_processes(),
            prefetch_factor=AHEAD,
            pin_memory=device.type == "cuda",
        )
    )


def _clean_processes() -> BaseContext:
    """Processes that are not forked from this one: its libraries' threads and locks would be missing there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imports PyTorch once for all of them
    return context


class _Steps(TorchDataset):
    def __init__(self, draw: Callable[[int], Batch]):
        self._draw = draw

    def __getitem__(self, step: int) -> Batch:
        return self._draw(step)


class ResidentSet:
    """A whole set on the device, its low-resolution depth made once; crops are cut there, a batch in a few launches.

    Drawing a crop on a CPU takes 10 ms, as long as a GPU takes for a step. What it draws is what
    `dkn.training.batches.draw_batch` does. (Depth with holes is filled in the whole picture, there in the crop's
    surroundings.)

    Args:
        dataset: pictures of one size.
        config: of a kind that is `possible`.
        device: 11 bytes a pixel of the set lie there.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig, device: torch.device):
        scale = config.scales[0]
        count, self._example = len(dataset), dataset[0]
        height, width = self._size = self._example.depth.shape
        self._color = torch.empty(count, height, width, 3, dtype=torch.uint8, device=device)
        self._target, self._shown = (torch.empty(count, height, width, device=device) for _ in range(2))
        for i in range(count):
            sample = dataset[i]
            whole = sample.cropped(scale)
            self._color[i] = torch.from_numpy(np.array(sample.color)).to(device)
            self._target[i] = torch.from_numpy(sample.depth / np.float32(config.depth_range)).to(device)
            low = torch.from_numpy(degrade(whole.source, scale, config.degradation, np.random.default_rng()))
            low = low[None, None].to(device)
            valid = low.isfinite() & (low > 0)
            shown = prepare(torch.where(valid, low, 0), valid, whole.depth.shape, config.depth_range, 1).shown
            self._shown[i] = 0
            self._shown[i, : shown.shape[2], : shown.shape[3]] = shown[0, 0]

    @staticmethod
    def possible(dataset: Dataset, config: TrainConfig, device: torch.device) -> bool:
        """Whether a run's batches can come from here: CUDA with enough memory, crops whose depth is made the same way
        every time, and pictures of one size."""
        if device.type != "cuda" or config.degradation not in DETERMINISTIC or len(config.scales) > 1:
            return False
        if config.network.depth_channels > 1 or config.color_jitter or config.mix_synthetic or not config.crop:
            return False
        if dataset[0].measured is not None:
            return False
        first = dataset[0].depth.shape
        if any(dataset[i].depth.shape != first for i in (len(dataset) // 2, len(dataset) - 1)):
            return False
        free, _ = torch.cuda.mem_get_info(device)
        return 11 * len(dataset) * first[0] * first[1] < free // 2

    def draw(self, config: TrainConfig, step: int, share: slice = slice(None)) -> Batch:
        """The batch of one step, on the device."""
        margin = surroundings.margin(config.network.window) if config.surrounded else 0
        stride, scale = STRIDE if config.at_one_phase else 1, config.scales[0]
        images, lines, ends = [], [], []
        for i in range(config.batch_size)[share]:
            rng = np.random.default_rng((config.seed, step, i))
            images.append(int(rng.integers(len(self._color))))
            corner = [place(n, self._example, scale, config, rng).start for n in self._size]
            if config.network.architecture == "cells":
                parts = [range(start, start + config.crop) for start in corner]
                ends.append([ends_within_cells(*of, scale, rng) for of in zip(parts, self._size, strict=True)])
            else:
                ends.append([(0, n) for n in self._size])
            mirrored = [config.flips and rng.random() < 0.5 for _ in corner]
            phase = rng.integers(STRIDE, size=2) if config.at_one_phase else (0, 0)
            lines.append(
                [(start, flip, int(first)) for start, flip, first in zip(corner, mirrored, phase, strict=True)]
            )
        seen, judged = [], []  # rows, then columns
        count = config.crop // stride
        length = stride * (count - 1) + 1 + 2 * margin
        for axis in (0, 1):
            starts, flips, firsts = zip(*(line[axis] for line in lines), strict=True)
            seen.append(_line(starts, flips, firsts, config.crop, length, 1, -margin))
            judged.append(_line(starts, flips, firsts, config.crop, count, stride, 0))
        cut = partial(self._cut, which=torch.tensor(images), ends=torch.tensor(ends))
        guidance = cut(self._color, lines=seen).permute(0, 3, 1, 2).float() / 255
        depth = cut(self._shown, lines=seen)[:, None]
        target = cut(self._target, lines=judged, beyond=torch.nan)[:, None]
        known = target.isfinite()
        return Batch(guidance, depth, torch.where(known, target, 0), known)

    def _cut(
        self, images: Tensor, *, which: Tensor, lines: Sequence[Tensor], ends: Tensor, beyond: float = 0
    ) -> Tensor:
        """Pixels of some of the images: (N, h, w, …).

        Args:
            which: (N), of the images.
            lines: rows (N, h) and columns (N, w).
            ends: (N, 2, 2), of each the first row and the one after the last that there are, and likewise columns.
            beyond: value of the others.
        """
        which, rows, columns, ends = (index.to(images.device, non_blocking=True) for index in (which, *lines, ends))
        first, last = ends[..., :1], ends[..., 1:]
        there = [(line >= first[:, i]) & (line < last[:, i]) for i, line in enumerate((rows, columns))]
        inside = there[0][:, :, None] & there[1][:, None]
        rows, columns = (line.clamp(0, n - 1) for line, n in zip((rows, columns), self._size, strict=True))
        pixels = images[which[:, None, None], rows[:, :, None], columns[:, None]]
        return torch.where(inside if pixels.ndim == 3 else inside[..., None], pixels, beyond)


def _line(
    starts: tuple[int, ...],
    flips: tuple[bool, ...],
    firsts: tuple[int, ...],
    crop: int,
    count: int,
    step: int,
    ahead: int,
) -> Tensor:
    """(N, count) rows or columns of a picture: every `step`th of a crop, perhaps mirrored, from `firsts + ahead` on."""
    within = torch.tensor(firsts)[:, None] + ahead + step * torch.arange(count)
    mirrored = crop - 1 - within
    return torch.tensor(starts)[:, None] + torch.where(torch.tensor(flips)[:, None], mirrored, within)
