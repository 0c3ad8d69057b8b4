"""Upsampler: what users call. Colour and depth arrays in, depth array out, in metres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dkn import checkpoint
from dkn.checkpoint import ModelInfo
from dkn.depth import clamp_to_local_range, fill_holes, resize_bicubic, resize_mask, to_grid
from dkn.device import DTYPES, channels_last, choose_device, choose_precision
from dkn.errors import ConfigError, ImageError
from dkn.models import find_model
from dkn.networks import KernelNetwork


class Loaded(NamedTuple):
    """A network ready to run, and what it is."""

    path: Path
    network: KernelNetwork
    info: ModelInfo


class Taps(NamedTuple):
    """What a network did at one pixel: where it read the interpolated depth, and with which weights."""

    regular: np.ndarray
    """(k², 2) float32 pixels as (x, y), relative to the pixel: q of eq. (4)."""
    positions: np.ndarray
    """The same after the offsets: q + Δq."""
    weights: np.ndarray
    """(k²,) float32: K of eq. (3) or (7)."""


class _Pass(NamedTuple):
    """One run of a network: its input, (normalised · unit + start) metres, and the kernels it gave."""

    network: KernelNetwork
    filled: Tensor
    normalised: Tensor
    start: Tensor
    unit: Tensor
    kernels: tuple[Tensor, Tensor | None]


class Upsampler:
    """Upsamples depth to the size of a registered colour image.

    Args:
        model: a model file, a file's short name (fdkn_x8), or a family (fdkn, dkn, …) of which the model for the
            scale at hand is taken, and loaded when first needed.
        scale: upsampling factor that decides which model of a family is taken; None: the ratio of the sizes.
        device: cpu, cuda, or auto (cuda where there is one).
        precision: of the convolutions: fp32, bf16, fp16, or auto (fp16 on CUDA; bf16 on a CPU that multiplies it
            natively; else fp32). Depth, coordinates and sums are always float32.
        fill_holes: give a depth also to pixels that the input knows nothing about.
        min_depth, max_depth: metres; depth outside counts as invalid.

    Raises:
        ConfigError: an option that makes no sense here.
        CheckpointError: no such model, or a damaged one (a family: when its first frame arrives).
    """

    def __init__(
        self,
        model: str | Path = "fdkn",
        *,
        scale: float | None = None,
        device: str = "auto",
        precision: str = "auto",
        fill_holes: bool = False,
        min_depth: float = 0.0,
        max_depth: float = math.inf,
    ):
        if scale is not None and not scale > 0:
            raise ConfigError(f"scale={scale}: a positive factor is needed")
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.fill_holes = fill_holes
        self.min_depth, self.max_depth = min_depth, max_depth
        self._model, self._scale = model, scale
        self._latest: Path | None = None
        self._loaded: dict[Path, Loaded] = {}
        self._path_by_scale: dict[float, Path] = {}

    @property
    def model_name(self) -> str:
        """Name of the model in use; empty before the first."""
        return self._latest.stem if self._latest else ""

    def load(self, scale: float) -> Loaded:
        """The network for a scale factor, read from its file on first use.

        Raises:
            CheckpointError: no such model, or a damaged one.
        """
        if scale not in self._path_by_scale:
            self._path_by_scale[scale] = find_model(self._model, scale)
        path = self._path_by_scale[scale]
        if path not in self._loaded:
            network, info = checkpoint.load(path)
            self._loaded[path] = Loaded(path, channels_last(network, self.device), info)
        self._latest = path
        return self._loaded[path]

    def __call__(self, color: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Upsample one depth map.

        Args:
            color: (H, W, 3) uint8 RGB.
            depth: (h, w) float metres, invalid = NaN (or anything not positive), registered to `color`. Any ratio of
                the sizes, also different in x and y.

        Returns:
            (H, W) float32 metres, invalid = NaN. All invalid if the input was.

        Raises:
            ImageError: arrays of another shape or type.
            CheckpointError: no model for this scale, or a damaged one.
        """
        guidance, low, valid = self._tensors(color, depth)
        size = color.shape[0], color.shape[1]
        if not bool(valid.any()):
            return np.full(size, np.nan, np.float32)
        with torch.inference_mode():
            result = self._upsample(guidance, low, valid, size)
        return result[0, 0].cpu().numpy()

    def taps(self, color: np.ndarray, depth: np.ndarray, pixels: Sequence[tuple[int, int]]) -> list[Taps]:
        """Where the network looks for each of these pixels (x, y), and how it weighs what it finds.

        Args:
            color, depth: as for `__call__`, with at least one valid depth.

        Raises:
            ImageError: arrays of another shape or type, or a pixel outside the image.
        """
        guidance, low, valid = self._tensors(color, depth)
        height, width = color.shape[:2]
        for x, y in pixels:
            if not (0 <= x < width and 0 <= y < height):
                raise ImageError(f"pixel {x},{y} lies outside the image of {width}x{height}")
        if not bool(valid.any()):
            raise ImageError("the depth has no valid pixel")
        with torch.inference_mode():
            network, *_, (weights, offsets) = self._run(guidance, low, valid, (height, width))
        found = []
        for x, y in pixels:
            shift = 0 if offsets is None else offsets[0, :, y, x].float().view(-1, 2) * network.config.offset_unit
            parts = network.taps, network.taps + shift, weights[0, :, y, x].float()
            found.append(Taps(*(part.cpu().numpy() for part in parts)))
        return found

    def _tensors(self, color: np.ndarray, depth: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Guidance (1, 3, H, W) uint8, depth (1, 1, h, w) float32 and its validity."""
        _check(color, depth)
        low = torch.from_numpy(np.array(depth, np.float32, order="C"))[None, None].to(self.device)
        valid = (low > 0) & (low >= self.min_depth) & (low <= self.max_depth) & low.isfinite()
        # A copy, because the array may be a read-only or mirrored view of a message; it costs 0.1 ms.
        guidance = torch.from_numpy(np.array(color, order="C")).to(self.device)
        return guidance.permute(2, 0, 1)[None], low, valid

    def _upsample(self, guidance: Tensor, low: Tensor, valid: Tensor, size: tuple[int, int]) -> Tensor:
        network, filled, normalised, start, unit, kernels = self._run(guidance, low, valid, size)
        result = network.average(normalised, *kernels) * unit + start
        result = clamp_to_local_range(result, filled, valid, network.config.window // 2)
        return result if self.fill_holes else result.masked_fill(~resize_mask(valid, size), math.nan)

    def _run(self, guidance: Tensor, low: Tensor, valid: Tensor, size: tuple[int, int]) -> _Pass:
        filled = fill_holes(low, valid)
        depth = resize_bicubic(filled, size)
        scale = math.sqrt(size[0] * size[1] / (low.shape[2] * low.shape[3]))
        _, network, info = self.load(self._scale or scale)
        if info.depth_range is None:
            start, unit = depth.min(), (depth.max() - depth.min()).clamp(min=1e-6)
        else:
            start, unit = depth.new_zeros(()), depth.new_tensor(info.depth_range)
        normalised = (depth - start) / unit
        with torch.autocast(self.device.type, DTYPES[self.precision], enabled=self.precision != "fp32"):
            kernels = network.kernels(guidance.float() / 255, normalised)
        return _Pass(network, filled, normalised, start, unit, kernels)


def upsample_bicubic(depth: np.ndarray, size: tuple[int, int], fill: bool = False) -> np.ndarray:
    """The same path without a network: (h, w) float metres with NaN → (H, W) float32, by bicubic interpolation."""
    low = torch.from_numpy(np.array(depth, np.float32, order="C"))[None, None]
    valid = (low > 0) & low.isfinite()
    if not bool(valid.any()):
        return np.full(size, np.nan, np.float32)
    result, known = to_grid(low, valid, size)
    return (result if fill else result.masked_fill(~known, math.nan))[0, 0].numpy()


def _check(color: np.ndarray, depth: np.ndarray) -> None:
    if color.ndim != 3 or color.shape[2] != 3 or color.dtype != np.uint8 or 0 in color.shape:
        raise ImageError(f"colour is {color.shape} {color.dtype}; expected (H, W, 3) uint8 RGB")
    if depth.ndim != 2 or depth.dtype.kind != "f" or 0 in depth.shape:
        raise ImageError(f"depth is {depth.shape} {depth.dtype}; expected (h, w) float metres")
