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

"""What a step learns from: crops of random pictures, and the low-resolution depth that is made of each.

Every crop is a function of (seed, step, its place in the batch) alone: a run that is resumed goes on with the crops
that it would have seen, and several processes draw between them what one would draw.

A model for real sensors is trained on a mixture: each crop draws a data set, a scale and a kind of degradation
(`dkn.training.mixture`). The scale and what was measured are input channels, as they will be in use
(`dkn.depth.prepare`), but not the kind.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dkn.data.sample import Dataset, Sample
from dkn.depth.degradation import degrade
from dkn.depth.network_input import prepare
from dkn.errors import ConfigError
from dkn.networks.config import STRIDE
from dkn.sensors import SENSORS, registration_error
from dkn.training import surroundings
from dkn.training.color_jitter import jitter
from dkn.training.config import TrainConfig
from dkn.training.mixture import EXACT, Inputs, Mixture, Part, draw_input, draw_sample, inputs_of

OCCLUDED = 32
"""Pixels around a crop whose depth decides what a simulated camera sees in it: nearer things hide what lies behind."""
END = 0.2
"""Chance that a side of a crop for cells is made a picture's end. Those of NYU v2 lie in a white frame: a network that
has seen no other errs where the pictures of another set end."""
MEANT = 8
"""Every so many rows and columns say how bright a picture is."""


class Batch(NamedTuple):
    """Tensors (N, C, H, W) float32: guidance in 0..1; depths in units of the depth range; known is bool.

    Guidance and depth may reach beyond the crop, and target and known be every fourth pixel of it
    (`dkn.training.surroundings`).
    """

    guidance: Tensor
    depth: Tensor
    target: Tensor
    known: Tensor


def draw_batch(
    dataset: Dataset, config: TrainConfig, step: int, rooms: Dataset | None = None, share: slice = slice(None)
) -> Batch:
    """The batch of one step, the same on every call.

    Args:
        rooms: where `mix_synthetic` of the crops come from.
        share: which of the batch's crops, for one process of several.

    Raises:
        ConfigError: pictures that the crop does not fit into, or, whole, that differ in size.
    """
    if rooms is not None and config.mix_synthetic:
        of_rooms = config.mix_synthetic
        dataset = Mixture([Part(dataset, 1 - of_rooms, inputs_of(dataset)), Part(rooms, of_rooms, EXACT)])
    crops = []
    for index in range(config.batch_size)[share]:
        rng = np.random.default_rng((config.seed, step, index))
        sample, inputs = draw_sample(dataset, rng)
        crops.append(_draw_crop(sample.spread(), inputs, config, rng))
    if len({crop.target.shape for crop in crops}) > 1:
        raise ConfigError("whole pictures of different sizes make no batch: use batch_size=1, or a crop")
    return Batch(*(torch.stack(parts) for parts in zip(*crops, strict=True)))


def _draw_crop(sample: Sample, inputs: Inputs, config: TrainConfig, rng: np.random.Generator) -> Batch:
    """One crop (C, H, W)."""
    scale, kind = draw_input(inputs, config.scales, config.degradation, rng)
    rows, columns = (place(n, sample, scale, config, rng) for n in sample.depth.shape)
    config.check_size(len(rows), len(columns))
    margin = surroundings.margin(config.network.window) if config.surrounded else 0
    shown, known = _low_resolution(sample, rows, columns, margin, scale, kind, inputs, config, rng)
    change = None
    if config.color_jitter:
        mean = float(sample.color[::MEANT, ::MEANT].mean())
        change = partial(jitter, strength=config.color_jitter, rng=rng, mean=mean)
    color = _cut(sample.color, rows, columns, margin, change)
    guidance = torch.from_numpy(color).permute(2, 0, 1).float() / 255
    depth = sample.depth[rows.start : rows.stop, columns.start : columns.stop] / np.float32(config.depth_range)
    target = torch.from_numpy(depth)[None]
    known = known & target.isfinite()
    if config.network.architecture == "cells":
        lines = []
        for part, n in zip((rows, columns), sample.depth.shape, strict=True):
            first, last = ends_within_cells(part, n, scale, rng)
            seen = torch.arange(part.start - margin, part.stop + margin)
            lines.append((seen >= first) & (seen < last))
        inside = (lines[0][:, None] & lines[1])[None]
        guidance, shown = guidance * inside, shown * inside
        known = known & inside[:, margin:-margin, margin:-margin]
    parts = guidance, shown, torch.where(known, target, 0), known
    if config.flips:
        axes = [axis for axis in (1, 2) if rng.random() < 0.5]
        parts = tuple(part.flip(axes) for part in parts)  # type: ignore[assignment]
    if config.at_one_phase:
        parts = surroundings.pick(*parts, margin, *(int(n) for n in rng.integers(STRIDE, size=2)))
    return Batch(*parts)


def ends_within_cells(part: range, length: int, scale: int, rng: np.random.Generator) -> tuple[int, int]:
    """The first row or column that counts as one of the picture's, and the one after the last, for a network on cells.
    Of a crop at a picture's end, or at what is made one (`END`), up to three beside it do not: a DKN that begins with
    this network sees the ends of a picture so, since each of its pixels is the third of a cell, wherever it lies.

    Args:
        part: the crop's.
        length: of the picture.
    """
    before, behind = (int(n) for n in rng.integers(STRIDE, size=2))
    begins, ends = (chance < END for chance in rng.random(2))
    first = part.start + before if begins or part.start == 0 else 0
    last = part.stop - behind if ends or part.stop == length - length % scale else length
    return first, max(first + 1, last)  # of a crop of one cell, at least a pixel


def place(length: int, sample: Sample, scale: int, config: TrainConfig, rng: np.random.Generator) -> range:
    """Where a crop lies along an axis: on the low-resolution grid, unless it need not (`aligned`). A whole picture ends
    where the grid does.

    Crops that reach over an end by up to half their length are moved back to it. Drawn from those that fit alone, the
    last pixels of a picture would hardly ever be seen, and one that sees beyond its crop (`dkn.training.surroundings`)
    would not learn how a picture ends.
    """
    length -= length % scale
    crop, step = config.crop, scale if config.aligned else 1
    if crop == 0 and length:
        return range(length)
    if not 0 < crop <= length:
        height, width = sample.depth.shape
        raise ConfigError(f"crop={crop or scale} does not fit into {sample.name} of {width}x{height}")
    start = step * int(rng.integers(-(crop // 2 // step), (length - crop // 2) // step + 1))
    start = min(max(start, 0), length - crop)
    return range(start, start + crop)


def _low_resolution(
    sample: Sample,
    rows: range,
    columns: range,
    margin: int,
    scale: int,
    kind: str,
    inputs: Inputs,
    config: TrainConfig,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """What a network is shown of the depth of a crop and `margin` pixels around it, zero beyond the picture:
    (C, H + 2 margin, W + 2 margin). And whether there was any depth to be seen, (1, 1, 1) bool."""
    # With as much around as bicubic interpolation down and up can see: the crop then holds the very values that the
    # whole picture would have had. It begins and ends on the low-resolution grid, wherever the crop does.
    reach = (4 + -(-margin // scale)) * scale
    if kind in SENSORS:
        reach = max(reach, -(-OCCLUDED // scale) * scale)
    around = [
        range(max(part.start // scale * scale - reach, 0), min(-(-part.stop // scale) * scale + reach, n - n % scale))
        for part, n in zip((rows, columns), sample.depth.shape, strict=True)
    ]
    context, colors = (
        image[around[0].start : around[0].stop, around[1].start : around[1].stop]
        for image in (sample.source, sample.color)
    )
    if inputs.misregistered and rng.random() < inputs.misregistered:
        context = registration_error(context, sample.depth.shape[1], rng)
    low = torch.from_numpy(degrade(context, scale, kind, rng, colors, sample.depth.shape[1]))[None, None]
    valid = low.isfinite() & (low > 0)
    low = torch.where(valid, low, 0)
    shown = prepare(low, valid, context.shape, config.depth_range, config.network.depth_channels).shown[0]
    inside = [range(p.start - a.start, p.stop - a.start) for p, a in zip((rows, columns), around, strict=True)]
    view = _cut(shown.permute(1, 2, 0).numpy(), inside[0], inside[1], margin)
    return torch.from_numpy(view).permute(2, 0, 1), valid.any().view(1, 1, 1)


def _cut(
    image: np.ndarray,
    rows: range,
    columns: range,
    margin: int,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """A rectangle of (H, W, C) and `margin` pixels around it, as `change` makes it, zero beyond the image."""
    wanted = [range(part.start - margin, part.stop + margin) for part in (rows, columns)]
    there = [range(max(w.start, 0), min(w.stop, n)) for w, n in zip(wanted, image.shape, strict=False)]
    cut = image[there[0].start : there[0].stop, there[1].start : there[1].stop]
    cut = change(cut) if change else cut
    beyond = [(t.start - w.start, w.stop - t.stop) for w, t in zip(wanted, there, strict=True)]
    return np.pad(cut, (*beyond, (0, 0)))
