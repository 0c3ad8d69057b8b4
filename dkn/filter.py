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

"""Filter: any picture, filtered by a network under the guidance of another, in tiles.

What a network learnt on depth serves other pictures as it is (supplement, sections 3.2 and 4.1). Each channel of the
target goes through the network alone; a guidance of one channel is repeated three times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dkn import checkpoint
from dkn.checkpoint import find_model
from dkn.depth.network_input import input_channels
from dkn.depth.resample import resize_bicubic
from dkn.engines.pytorch import without_tf32
from dkn.errors import ConfigError, ImageError
from dkn.networks.config import STRIDE, NetworkConfig
from dkn.networks.dkn import KernelNetwork
from dkn.utils.tensors import channels_last, torch_device

TILE = 512


class Task(NamedTuple):
    """What the model, the guidance and the iterations are unless somebody says otherwise."""

    model: str
    iterations: int
    guided: bool
    """By another picture; else by the target itself."""
    about: str


TASKS = {
    "denoise": Task("fdkn_noise", 1, True, "a noisy picture by a clean one of the same scene: flash, infrared, colour"),
    "texture": Task("fdkn_noise", 4, False, "a picture by itself, over and over, until its texture is gone"),
    "upsample": Task("fdkn", 1, True, "a map of fewer pixels (saliency, a mask, …) to the size of its picture"),
}


class Filter:
    """Filters pictures with one model. Whether the result is the target plus a correction (eq. 3) or an average of
    its pixels (eq. 7, for noise) is a property of the model.

    Args:
        model: a model file, a file's short name, or a family (of which the nearest scale is taken).
        iterations: how often it is applied, each time to the result of the time before.
        tile: edge in pixels of the tiles that a picture is computed in; they overlap by as much as the network sees,
            so that no seam shows. Memory grows with its square.
        device: cpu, cuda, or auto.
        progress: show a bar where it takes more than a second.

    Raises:
        ConfigError: iterations or tiles that make no sense.
        CheckpointError: no such model, or a damaged one (when the first picture arrives).
    """

    def __init__(
        self,
        model: str | Path = TASKS["denoise"].model,
        *,
        iterations: int = 1,
        tile: int = TILE,
        device: str = "auto",
        progress: bool = False,
    ):
        if iterations < 1 or tile < STRIDE:
            raise ConfigError(f"iterations={iterations}, tile={tile}: at least 1, and at least {STRIDE}, are needed")
        self.iterations, self.tile, self.progress = iterations, tile - tile % STRIDE, progress
        self.device = torch_device(device)
        self._model = model
        self._networks: dict[Path, KernelNetwork] = {}

    def __call__(self, target: np.ndarray, guidance: np.ndarray | None = None) -> np.ndarray:
        """Filter one picture.

        Args:
            target: (H, W) or (H, W, C), uint8, uint16, or float with 0 for black and 1 for white. If it has fewer
                pixels than the guidance, it is interpolated to its size first (bicubic).
            guidance: (H, W) or (H, W, C), of the same types. 1 channel is repeated three times, 3 are RGB, of
                any other number the mean counts. None: the target itself, after each iteration its result.

        Returns:
            The target's channels and type, at the guidance's size; integers are rounded and clipped, floats are not
            clipped.

        Raises:
            ImageError: arrays of another shape or type, or a target that is not finite.
        """
        channels = _channels(target, "target")
        guide = None if guidance is None else _three(_channels(guidance, "guidance"))
        size = tuple(channels.shape[1:] if guide is None else guide.shape[1:])
        scale = math.sqrt(math.prod(size) / math.prod(channels.shape[1:]))
        network = self._network(scale)
        low = channels
        channels = resize_bicubic(channels[None], (size[0], size[1]))[0]
        cut = list(tiles((size[0], size[1]), self.tile, context(network.config)))
        total = len(cut) * len(channels) * self.iterations
        bar = tqdm(total=total, desc="filtering", unit="tile", delay=1, disable=not self.progress)
        with torch.inference_mode(), bar, without_tf32():
            for _ in range(self.iterations):
                channels = _apply(network, _three(channels) if guide is None else guide, channels, low, cut, bar)
        return _as(channels, target)

    def _network(self, scale: float) -> KernelNetwork:
        path = find_model(self._model, scale)
        if path not in self._networks:
            self._networks[path] = channels_last(checkpoint.load(path)[0], self.device)
        return self._networks[path]


def _apply(network: KernelNetwork, guide: Tensor, channels: Tensor, low: Tensor, cut: list[Tile], bar: tqdm) -> Tensor:
    """Once over the picture: guide (3, H, W), channels (C, H, W), which came as low (C, h, w) → (C, H, W)."""
    device = next(network.parameters()).device
    result = torch.empty_like(channels)
    for i, channel in enumerate(channels):
        source = low[i][None, None]
        known = torch.ones_like(source, dtype=torch.bool)
        shown = input_channels(channel[None, None], source, known, network.config.depth_channels)
        for tile in cut:
            rows, columns = tile.seen
            seen = shown[:, :, rows, columns].to(device)
            around = guide[None, :, rows, columns].to(device)
            output = network(around.contiguous(memory_format=torch.channels_last), seen)
            result[i][tile.place] = output[0, 0][tile.inner].cpu()
            bar.update()
    return result


def _channels(image: np.ndarray, name: str) -> Tensor:
    """(H, W) or (H, W, C) → (C, H, W) float32, integers in 0..1."""
    fits = image.ndim in (2, 3) and 0 not in image.shape
    if not fits or not (image.dtype.kind == "f" or image.dtype in (np.uint8, np.uint16)):
        raise ImageError(f"{name} is {image.shape} {image.dtype}; expected (H, W) or (H, W, C), uint8, uint16 or float")
    values = image.reshape(*image.shape[:2], -1).transpose(2, 0, 1).astype(np.float32, order="C")
    if image.dtype.kind == "u":
        values /= np.float32(np.iinfo(image.dtype).max)
    elif not np.isfinite(values).all():
        raise ImageError(f"{name} has values that are not finite; fill them first")
    return torch.from_numpy(values)


def _three(channels: Tensor) -> Tensor:
    """(C, H, W) → (3, H, W)."""
    if len(channels) == 3:
        return channels
    return channels.mean(dim=0, keepdim=True).expand(3, -1, -1)


def _as(channels: Tensor, like: np.ndarray) -> np.ndarray:
    """(C, H, W) float32 as a picture of the channels and the type of `like`."""
    values = channels.numpy().transpose(1, 2, 0) if like.ndim == 3 else channels[0].numpy()
    if like.dtype.kind == "f":
        return values.astype(like.dtype, order="C")
    white = np.iinfo(like.dtype).max
    return np.rint(values * np.float32(white)).clip(0, white).astype(like.dtype, order="C")


RECEPTIVE_RADIUS = {"fdkn": 6 * STRIDE, "dkn": 25}
"""Pixels that an output pixel looks away at most; FDKN: six 3×3 convolutions at a quarter of the size."""


class Tile(NamedTuple):
    """A rectangle to be computed, and what has to be seen for it; each (rows, columns)."""

    seen: tuple[slice, slice]
    """With its context, in the picture."""
    inner: tuple[slice, slice]
    """The rectangle, inside what is seen."""
    place: tuple[slice, slice]
    """The rectangle, in the picture."""


def context(config: NetworkConfig) -> int:
    """Pixels around a tile that decide what comes out in it: the receptive field, or the window if it is larger."""
    reach = max(RECEPTIVE_RADIUS[config.architecture], config.window // 2 + 1)
    return math.ceil(reach / STRIDE) * STRIDE


def tiles(size: tuple[int, int], edge: int, around: int) -> Iterator[Tile]:
    """Cut a picture of `size` (H, W) into tiles of `edge` pixels, row by row.

    All begin, context included, at multiples of 4, where FDKN's phases begin; and none sees an edge that is not
    the picture's own within `around` pixels.

    Args:
        edge, around: multiples of 4.
    """
    for rows in _spans(size[0], edge, around):
        for columns in _spans(size[1], edge, around):
            seen, inner, place = zip(rows, columns, strict=True)
            yield Tile(seen, inner, place)


def _spans(length: int, edge: int, around: int) -> Iterator[tuple[slice, slice, slice]]:
    for start in range(0, length, edge):
        stop = min(start + edge, length)
        first, last = max(start - around, 0), min(stop + around, length)
        yield slice(first, last), slice(start - first, stop - first), slice(start, stop)
