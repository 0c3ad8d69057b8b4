"""Upsampler: what users call. Colour and depth arrays in, depth array out, in metres."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dkn import checkpoint
from dkn.checkpoint import ModelInfo
from dkn.depth import clamp_to_local_range, may_ask, prepare, resize_mask, to_grid
from dkn.device import choose_device
from dkn.engines import Runner, plan
from dkn.engines.cuda_graph import Graphs, Upload
from dkn.errors import ConfigError, ImageError
from dkn.models import find_model


class Loaded(NamedTuple):
    """A network ready to run, and what it is."""

    path: Path
    run: Runner
    info: ModelInfo


class Taps(NamedTuple):
    """What a network did at one pixel: where it read the interpolated depth, and with which weights."""

    regular: np.ndarray
    """(k², 2) float32 pixels as (x, y), relative to the pixel: q of eq. (4)."""
    positions: np.ndarray
    """The same after the offsets: q + Δq."""
    weights: np.ndarray
    """(k²,) float32: K of eq. (3) or (7)."""


class Upsampler:
    """Upsamples depth to the size of a registered colour image.

    Args:
        model: a model file, a file's short name (fdkn_x8), or a family (fdkn, dkn, …) of which the model for the
            scale at hand is taken, and loaded when first needed.
        scale: upsampling factor that decides which model of a family is taken; None: the ratio of the sizes.
        device: cpu, cuda, or auto (cuda where there is one).
        engine: what runs the network (`dkn.engines`), or auto: the fastest that is installed, works here and agrees
            with the reference; should it fail later, the next.
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
        engine: str = "auto",
        precision: str = "auto",
        fill_holes: bool = False,
        min_depth: float = 0.0,
        max_depth: float = math.inf,
    ):
        if scale is not None and not scale > 0:
            raise ConfigError(f"scale={scale}: a positive factor is needed")
        self.device = choose_device(device)
        self._plan = plan(self.device, engine, precision)
        self.fill_holes = fill_holes
        self.min_depth, self.max_depth = min_depth, max_depth
        self._model, self._scale = model, scale
        self._latest: Loaded | None = None
        self._loaded: dict[Path, Loaded] = {}
        self._path_by_scale: dict[float, Path] = {}
        self._graphs = Graphs(self.device) if self.device.type == "cuda" else None

    @property
    def model_name(self) -> str:
        """Name of the model in use; empty before the first."""
        return self._latest.path.stem if self._latest else ""

    @property
    def engine_name(self) -> str:
        """Engine in use, with its device and precision; before the first frame the one that comes first."""
        if self._latest:
            return str(self._latest.run.engine)
        return str(self._plan[0])

    @property
    def engine_failure(self) -> str:
        """Which engine failed in mid-run, why, and which one runs instead; empty if none did."""
        return self._latest.run.failure if self._latest else ""

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
            self._loaded[path] = Loaded(path, Runner(network, self._plan), info)
        self._latest = self._loaded[path]
        return self._latest

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
        _check(color, depth)
        size, depth = (color.shape[0], color.shape[1]), np.asarray(depth, np.float32)
        model = self._model_for(color, depth)
        engine = model.run.engine
        if self._graphs is not None and engine.capturable:
            key = engine, self.fill_holes, self.min_depth, self.max_depth
            way = partial(self._upsample, size=size, info=model.info, run=engine)
            result = self._graphs(str(engine), key, way, color, depth)
            if result is not None:
                return result
        with torch.inference_mode():
            # Copies, because the arrays may be read-only or mirrored views of messages; it costs 0.1 ms.
            uploads = [partial(self._upload, array) for array in (color, depth)]
            return self._upsample(*uploads, size=size, info=model.info, run=model.run).cpu().numpy()

    def taps(self, color: np.ndarray, depth: np.ndarray, pixels: Sequence[tuple[int, int]]) -> list[Taps]:
        """Where the network looks for each of these pixels (x, y), and how it weighs what it finds.

        Args:
            color, depth: as for `__call__`, with at least one valid depth.

        Raises:
            ImageError: arrays of another shape or type, or a pixel outside the image.
        """
        _check(color, depth)
        height, width = color.shape[:2]
        for x, y in pixels:
            if not (0 <= x < width and 0 <= y < height):
                raise ImageError(f"pixel {x},{y} lies outside the image of {width}x{height}")
        low = torch.from_numpy(np.array(depth, np.float32, order="C"))[None, None]
        valid = self._valid(low)
        if not bool(valid.any()):
            raise ImageError("the depth has no valid pixel")
        model = self._model_for(color, depth)
        prepared = prepare(low, valid, (height, width), model.info.depth_range, model.info.network.depth_channels)
        network = model.run.network
        with torch.inference_mode():
            guidance = torch.from_numpy(np.array(color, order="C"))[None].permute(0, 3, 1, 2)
            weights, offsets = network.kernels(guidance.float() / 255, prepared.shown)
        found = []
        for x, y in pixels:
            shift = 0 if offsets is None else offsets[0, :, y, x].view(-1, 2) * network.config.offset_unit
            parts = network.taps, network.taps + shift, weights[0, :, y, x]
            found.append(Taps(*(part.numpy() for part in parts)))
        return found

    def _model_for(self, color: np.ndarray, depth: np.ndarray) -> Loaded:
        return self.load(self._scale or math.sqrt(color.shape[0] * color.shape[1] / depth.size))

    def _upload(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array, order="C")).to(self.device)

    def _valid(self, low: Tensor) -> Tensor:
        return (low > 0) & (low >= self.min_depth) & (low <= self.max_depth) & low.isfinite()

    def _upsample(
        self,
        color: Upload,
        depth: Upload,
        *,
        size: tuple[int, int],
        info: ModelInfo,
        run: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """The whole way on the device, from (H, W, 3) uint8 and (h, w) float32 to (H, W). On a GPU, nothing in it waits
        for a value; colour, the larger of the two, may still be arriving while depth is prepared."""
        low = depth()[None, None]
        valid = self._valid(low)
        if may_ask(valid) and not bool(valid.any()):
            return low.new_full(size, math.nan)  # a camera that is covered costs nothing
        prepared = prepare(low, valid, size, info.depth_range, info.network.depth_channels)
        result = run(color()[None], prepared.shown) * prepared.unit + prepared.start
        result = clamp_to_local_range(result, prepared.filled, valid, info.network.window // 2)
        known = valid.any() if self.fill_holes else resize_mask(valid, size)
        return result.masked_fill(~known, math.nan)[0, 0]


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
