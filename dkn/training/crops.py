"""What a step learns from: crops of random pictures, and the low-resolution depth that is made of each.

Every crop is a function of (seed, step, its place in the batch) alone: a run that is resumed goes on with the crops
that it would have seen, and several processes draw between them what one would draw.

A model for real sensors is trained on a mixture: each crop draws a scale and a kind of degradation, and some are of
depth as a Kinect measures it, whatever is done to it then. The model is told the scale and what was measured, as it
will be in use (`dkn.depth.prepare`), but not the kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dkn.data.sample import Dataset, Sample
from dkn.degradation import degrade, kinect_noise
from dkn.depth import prepare
from dkn.errors import ConfigError
from dkn.networks import STRIDE
from dkn.training import phases
from dkn.training.config import TrainConfig
from dkn.training.jitter import jitter

KINDS = {
    "bicubic": 0.06,
    "area": 0.05,
    "nearest": 0.56,
    "noise": 0.11,
    "holes": 0.15,
    "sensor": 0.05,
    "quantised": 0.01,
    "misregistered": 0.01,
}
"""The mixture for real sensors: how often each kind is drawn."""
SAME_AT_FULL_SIZE = ("bicubic", "area", "nearest")
"""Kinds that change nothing at a scale of 1; `sensor` takes their place there."""
MEASURED = 0.25
"""How often depth is as a Kinect measures it, with noise, disparity steps, ragged edges and shadows. Without, a network
learns that point samples are exact: most other noise in the mixture comes with averages."""
KINECT_FOCAL = 525 / 640
"""Its focal length, of its image's width."""
SCALE_WEIGHTS = {1: 0.12, 2: 0.08, 4: 0.14, 8: 0.54, 16: 0.12}
"""How often each scale is drawn, in relation to the others; 0.1 for those between."""


class Input(NamedTuple):
    """How the low-resolution depth of a crop is made."""

    scale: int
    kind: str
    measured: bool


class Batch(NamedTuple):
    """Tensors (N, C, H, W) float32: guidance in 0..1; depths in units of the depth range; known is bool.

    With one phase of 16, guidance and depth reach beyond the crop and target and known are every fourth pixel of it
    (`dkn.training.phases`).
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
    crops = []
    for place in range(config.batch_size)[share]:
        rng = np.random.default_rng((config.seed, step, place))
        source = rooms if rooms is not None and rng.random() < config.mix_synthetic else dataset
        crops.append(_draw_crop(source[int(rng.integers(len(source)))], config, rng))
    if len({crop.target.shape for crop in crops}) > 1:
        raise ConfigError("whole pictures of different sizes make no batch: use batch_size=1, or a crop")
    return Batch(*(torch.stack(parts) for parts in zip(*crops, strict=True)))


def draw_input(config: TrainConfig, rng: np.random.Generator) -> Input:
    """What one crop is to be upsampled from."""
    scale, kind, measured = config.scales[0], config.degradation, False
    if len(config.scales) > 1:
        scale = config.scales[_choose([SCALE_WEIGHTS.get(s, 0.1) for s in config.scales], rng)]
    if kind == "sensor":
        kind = list(KINDS)[_choose(list(KINDS.values()), rng)]
        if scale == 1 and kind in SAME_AT_FULL_SIZE:
            kind = "sensor"
        measured = rng.random() < MEASURED
    return Input(scale, kind, measured)


def _choose(weights: Sequence[float], rng: np.random.Generator) -> int:
    return int(rng.choice(len(weights), p=np.divide(weights, sum(weights))))


def _draw_crop(sample: Sample, config: TrainConfig, rng: np.random.Generator) -> Batch:
    """One crop (C, H, W)."""
    drawn = draw_input(config, rng)
    rows, columns = (_place(n, sample, drawn.scale, config.crop, rng) for n in sample.depth.shape)
    apart = config.phases < STRIDE**2
    margin = phases.margin(config.network.window) if apart else 0
    shown, known = _low_resolution(sample, rows, columns, margin, drawn, config, rng)
    color = sample.color
    if config.color_jitter:  # of the whole picture: its mean brightness is what contrast is relative to
        color = jitter(color, config.color_jitter, rng)
    guidance = torch.from_numpy(_cut(color, rows, columns, margin)).permute(2, 0, 1).float() / 255
    depth = sample.depth[rows.start : rows.stop, columns.start : columns.stop] / np.float32(config.depth_range)
    target = torch.from_numpy(depth)[None]
    known = known & target.isfinite()
    parts = guidance, shown, torch.where(known, target, 0), known
    if config.flips:
        axes = [axis for axis in (1, 2) if rng.random() < 0.5]
        parts = tuple(part.flip(axes) for part in parts)  # type: ignore[assignment]
    if apart:
        parts = phases.pick(*parts, margin, *(int(n) for n in rng.integers(STRIDE, size=2)))
    return Batch(*parts)


def _place(length: int, sample: Sample, scale: int, crop: int, rng: np.random.Generator) -> range:
    """Where a crop lies along an axis: on the low-resolution grid. A whole picture ends where the grid does.

    Crops that reach over an end by up to half their length are moved back to it. Drawn from those that fit alone, the
    last pixels of a picture would hardly ever be seen, and a network that sees beyond its crop (`dkn.training.phases`)
    would not learn how a picture ends.
    """
    length -= length % scale
    if crop == 0 and length:
        return range(length)
    if not 0 < crop <= length:
        height, width = sample.depth.shape
        raise ConfigError(f"crop={crop or scale} does not fit into {sample.name} of {width}x{height}")
    start = scale * int(rng.integers(-(crop // 2 // scale), (length - crop // 2) // scale + 1))
    start = min(max(start, 0), length - crop)
    return range(start, start + crop)


def _low_resolution(
    sample: Sample,
    rows: range,
    columns: range,
    margin: int,
    drawn: Input,
    config: TrainConfig,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """What a network is shown of the depth of a crop and `margin` pixels around it, zero beyond the picture:
    (C, H + 2 margin, W + 2 margin). And whether there was any depth to be seen, (1, 1, 1) bool."""
    # With as much around as bicubic interpolation down and up can see: the crop then holds the very values that the
    # whole picture would have had.
    scale = drawn.scale
    reach = (4 + -(-margin // scale)) * scale
    around = [
        range(max(part.start - reach, 0), min(part.stop + reach, n - n % scale))
        for part, n in zip((rows, columns), sample.depth.shape, strict=True)
    ]
    context = sample.source[around[0].start : around[0].stop, around[1].start : around[1].stop]
    if drawn.measured:
        context = kinect_noise(context, rng, focal=KINECT_FOCAL * sample.depth.shape[1])
    low = torch.from_numpy(degrade(context, scale, drawn.kind, rng))[None, None]
    valid = low.isfinite() & (low > 0)
    low = torch.where(valid, low, 0)
    shown = prepare(low, valid, context.shape, config.depth_range, config.network.depth_channels).shown[0]
    inside = [range(p.start - a.start, p.stop - a.start) for p, a in zip((rows, columns), around, strict=True)]
    view = _cut(shown.permute(1, 2, 0).numpy(), inside[0], inside[1], margin)
    return torch.from_numpy(view).permute(2, 0, 1), valid.any().view(1, 1, 1)


def _cut(image: np.ndarray, rows: range, columns: range, margin: int) -> np.ndarray:
    """A rectangle of (H, W, C) and `margin` pixels around it, zero beyond the image."""
    wanted = [range(part.start - margin, part.stop + margin) for part in (rows, columns)]
    there = [range(max(w.start, 0), min(w.stop, n)) for w, n in zip(wanted, image.shape, strict=False)]
    cut = image[there[0].start : there[0].stop, there[1].start : there[1].stop]
    beyond = [(t.start - w.start, w.stop - t.stop) for w, t in zip(wanted, there, strict=True)]
    return np.pad(cut, (*beyond, (0, 0)))
