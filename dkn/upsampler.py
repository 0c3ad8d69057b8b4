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

"""Upsampler: what users call. Colour and depth arrays in, depth array out, in metres."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dkn import checkpoint
from dkn.checkpoint import DEFAULT_MODEL, ModelInfo, find_model
from dkn.depth.alignment import align_color
from dkn.depth.confidence import confidence
from dkn.depth.holes.small import FILLS, WIDTH, small_holes
from dkn.depth.stages.choice import compiling, is_compiling, stages
from dkn.depth.units import measured, not_metres
from dkn.engines import DeviceChanged, Runner, candidates, plan
from dkn.engines.base import Array, Upload, on_host, placed
from dkn.engines.selection import autotuning
from dkn.errors import ConfigError, ImageError
from dkn.utils.device import CPU, Device, choose_device

if TYPE_CHECKING:
    from dkn.engines.cuda_graph import Graphs

log = logging.getLogger("dkn")


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


@dataclass(frozen=True)
class Options:
    """What may change from one frame to the next. All of it is in the key of a CUDA graph, which would otherwise go on
    with what was when it was recorded.

    Raises:
        ConfigError: a value that makes no sense.
    """

    fill_holes: bool | str = "none"
    min_depth: float = 0.0
    max_depth: float = math.inf
    min_confidence: float = 0.0
    hole_width: float = WIDTH
    align_color: bool | None = None

    def __post_init__(self) -> None:
        if isinstance(self.fill_holes, bool):
            object.__setattr__(self, "fill_holes", "all" if self.fill_holes else "none")
        if self.fill_holes not in FILLS:
            raise ConfigError(f"fill_holes={self.fill_holes!r}: choose one of {', '.join(FILLS)}")
        if not 0 <= self.min_depth < self.max_depth:
            limits = f"min_depth={self.min_depth}, max_depth={self.max_depth}"
            raise ConfigError(f"{limits}: metres, the first below the second")
        if not 0 <= self.min_confidence <= 1:
            raise ConfigError(f"min_confidence={self.min_confidence}: a probability, 0 to 1, is needed")
        if not self.hole_width > 0:
            raise ConfigError(f"hole_width={self.hole_width}: a positive number of pixels is needed")


def _option(name: str) -> Any:
    def change(upsampler: Upsampler, value: Any) -> None:
        upsampler.options = replace(upsampler.options, **{name: value})

    return property(lambda upsampler: getattr(upsampler.options, name), change, doc=f"`Options.{name}`")


class Upsampler:
    """Upsamples depth to the size of a registered colour image.

    Args:
        model: a model file, a file's short name (fdkn_x8), or a family (fdkn, dkn, …) of which the model for the
            scale at hand is taken, and loaded when first needed.
        scale: upsampling factor that decides which model of a family is taken; None: the ratio of the sizes.
        device: cpu, cuda, or auto (cuda where there is one).
        engine: what runs the network (`dkn.engines`), or auto: the one that should be fastest, works here and agrees
            with the reference; should it fail later, the next. On a CPU, once some frames of a size have come, all
            are timed on them beside the one that serves, and the fastest takes over
            (`dkn.engines.selection.autotuning`).
        precision: of the convolutions: fp32, bf16, fp16, int8, or auto (fp16 on CUDA; what is fastest on a CPU).
            Depth, coordinates and sums are always float32.
        fill_holes: which pixels that the input knows nothing about get a depth too: "none"; "small", holes up to
            `hole_width` wide inside one surface; or "all". False and True are none and all. Where the rest ends
            follows colour (`dkn.depth.holes.validity`).
        min_depth, max_depth: metres; depth outside counts as invalid.
        min_confidence: a depth that is less likely than this to be right (`dkn.depth.confidence`) becomes unknown; 0:
            none does.
        hole_width: pixels of the result; of "small" holes.
        align_color: whether colour whose edges stand beside those of depth is moved onto them first
            (`dkn.depth.alignment`); None: with a model for real sensors. For frames that follow each other
            `dkn.depth.alignment.ColorAlignment` is steadier.
        compile_first: on a CPU, the first frame waits until all is compiled beside the network, which takes some
            seconds the first time after installation. If not, NumPy serves until then, slower.

    `fill_holes` to `align_color` are attributes too, and `options` all of them: what is set counts from the next frame
    on. Any number of threads may share one; they take turns. A copy, or what is unpickled in another process, has the
    same options and makes engines of its own. After a frame was upsampled the libraries have threads, which a forked
    process lacks: there, begin processes by `spawn` or `forkserver`.

    Raises:
        ConfigError: an option that makes no sense here.
        CheckpointError: no such model, or a damaged one (a family: when its first frame arrives).
    """

    fill_holes = _option("fill_holes")
    min_depth = _option("min_depth")
    max_depth = _option("max_depth")
    min_confidence = _option("min_confidence")
    hole_width = _option("hole_width")
    align_color = _option("align_color")

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        scale: float | None = None,
        device: object = "auto",
        engine: str = "auto",
        precision: str = "auto",
        fill_holes: bool | str = "none",
        min_depth: float = 0.0,
        max_depth: float = math.inf,
        min_confidence: float = 0.0,
        hole_width: float = WIDTH,
        align_color: bool | None = None,
        compile_first: bool = True,
    ):
        if scale is not None and not 0 < scale < math.inf:
            raise ConfigError(f"scale={scale}: a positive, finite factor is needed")
        self._options = {
            "model": model,
            "scale": scale,
            "device": str(device),
            "engine": engine,
            "precision": precision,
            "compile_first": compile_first,
        }
        self._compile_first = compile_first
        self._lock = threading.RLock()
        self.device = choose_device(device)
        self._plan = plan(self.device, engine, precision)
        self._candidates = candidates(self.device, engine, precision)
        self.options = Options(
            fill_holes=fill_holes,
            min_depth=min_depth,
            max_depth=max_depth,
            min_confidence=min_confidence,
            hole_width=hole_width,
            align_color=align_color,
        )
        self._model, self._scale = model, scale
        self._looked_at = False
        self._latest: Loaded | None = None
        self._loaded: dict[Path, Loaded] = {}
        self._path_by_scale: dict[float, Path] = {}
        self._graphs = _graphs(self.device) if self.device.type == "cuda" else None

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (type(self), self._options | asdict(self.options))

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
    def engine_times(self) -> dict[str, float]:
        """Milliseconds that each engine took for images of the size that came last, or when it was measured last; empty
        before that."""
        return dict(self._latest.run.autotuner.times) if self._latest else {}

    @property
    def is_measuring(self) -> bool:
        """Whether engines are being timed beside the one that serves, or what is to serve is still being compiled."""
        return is_compiling() or (self._latest is not None and self._latest.run.autotuner.under_way)

    def time_engines(self, color: np.ndarray, depth: np.ndarray) -> dict[str, float]:
        """Find the fastest engine for images of this size now, in place of beside the first frames that come.

        Args:
            color, depth: as for `__call__`, with at least one valid depth.

        Returns:
            `engine_times`, measured or remembered.
        """
        for frames in (1, autotuning.FRAMES):  # after the times of another size, if they are under way
            for _ in range(frames):
                self(color, depth)
            if self._latest:
                self._latest.run.autotuner.wait()
        return self.engine_times

    @property
    def engine_failure(self) -> str:
        """Which engine failed in mid-run, why, and which one runs instead; empty if none did."""
        return self._latest.run.failure if self._latest else ""

    def load(self, scale: float) -> Loaded:
        """The network for a scale factor, read from its file on first use.

        Raises:
            CheckpointError: no such model, or a damaged one.
        """
        with self._lock:
            if scale not in self._path_by_scale:
                self._path_by_scale[scale] = find_model(self._model, scale)
            path = self._path_by_scale[scale]
            if path not in self._loaded:
                with compiling(first=self._compile_first) if self.device == CPU else nullcontext():
                    weights, info = checkpoint.read(path)
                    self._loaded[path] = Loaded(path, Runner(weights, self._plan, self._candidates), info)
            self._latest = self._loaded[path]
            return self._latest

    def warm_up(self, scale: float) -> None:
        """Load the network for a scale factor, and have ready what it needs for images of the size that came last on
        this computer (`dkn.engines.selection`), so that the first frame does not wait for it.

        Raises:
            CheckpointError: as `load`.
        """
        with self._lock:
            self.load(scale).run.warm_up()

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
        if not self._looked_at:  # the first frame tells
            self._looked_at = True
            if doubt := not_metres(depth):
                log.warning("depth has to be in metres: %s", doubt)
        low, options = np.asarray(depth, np.float32), self.options  # which another thread may set meanwhile
        with self._lock:
            guide = self._aligned(color, low, options)
            result = self._upsampled(guide, low, options)
        if options.fill_holes == "small":
            result[~_known_or_small(guide, low, result, options)] = np.nan
        if options.min_confidence > 0:
            result[confidence(result, _measured(low, options)) < options.min_confidence] = np.nan
        return result

    def _aligned(self, color: np.ndarray, low: np.ndarray, options: Options) -> np.ndarray:
        wanted = options.align_color
        if wanted is None:
            wanted = self._model_for(color, low).info.is_for_sensors
        return align_color(color, _measured(low, options)) if wanted else color

    def confidence(self, result: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """How likely each depth of a result is right, within 2 % of the truth (`dkn.depth.confidence`).

        Args:
            result: (H, W) float32 metres, NaN = unknown: what a call gave.
            depth: (h, w) float metres, NaN = unknown: what it was given.

        Returns:
            (H, W) float32, 0 to 1; 0 where there is no depth.
        """
        return confidence(result, _measured(np.asarray(depth, np.float32), self.options))

    def _upsampled(self, color: np.ndarray, depth: np.ndarray, options: Options) -> np.ndarray:
        size = color.shape[0], color.shape[1]
        model = self._model_for(color, depth)
        engine = model.run.engine
        if self._graphs is not None and engine.capturable:
            whole = partial(_upsample, size=size, info=model.info, run=engine, options=options, device=engine.device)
            result = self._graphs(str(engine), (engine, options), whole, color, depth)
            if result is not None:
                return result
        while True:
            device = model.run.engine.device
            try:
                upsample = partial(_upsample, size=size, info=model.info, run=model.run, options=options, device=device)
                return _run_on(device, upsample, color, depth)
            except DeviceChanged:
                continue  # the next engine computes elsewhere, and takes the arrays there
            except RuntimeError as error:  # a GPU that is lost shows at the first call to it, whichever that is
                if device == CPU:
                    raise
                model.run.give_up(device, error)

    def taps(self, color: np.ndarray, depth: np.ndarray, pixels: Sequence[tuple[int, int]]) -> list[Taps]:
        """Where the network looks for each of these pixels (x, y), and how it weighs what it finds.

        Args:
            color, depth: as for `__call__`, with at least one valid depth.

        Raises:
            ImageError: arrays of another shape or type, or a pixel outside the image.
            ConfigError: PyTorch is missing.
        """
        _check(color, depth)
        height, width = color.shape[:2]
        for x, y in pixels:
            if not (0 <= x < width and 0 <= y < height):
                raise ImageError(f"pixel {x},{y} lies outside the image of {width}x{height}")
        low, options = np.asarray(depth, np.float32), self.options
        whole, stage = low[None, None], stages("cpu")
        valid = stage.validity(whole, options.min_depth, options.max_depth)
        if not valid.any():
            raise ImageError("the depth has no valid pixel")
        model = self._model_for(color, depth)
        network = model.run.weights.network()
        import torch  # which that needs too, and says so

        channels = model.info.network.depth_channels
        shown = stage.prepare(whole, valid, (height, width), model.info.depth_range, channels).shown
        guide = np.array(self._aligned(color, low, options), order="C")
        with torch.inference_mode():
            guidance = torch.from_numpy(guide)[None].permute(0, 3, 1, 2)
            weights, offsets = network.kernels(guidance.float() / 255, torch.from_numpy(shown))
        found = []
        for x, y in pixels:
            shift = 0 if offsets is None else offsets[0, :, y, x].view(-1, 2) * network.config.offset_unit
            parts = network.taps, network.taps + shift, weights[0, :, y, x]
            found.append(Taps(*(part.numpy() for part in parts)))
        return found

    def _model_for(self, color: np.ndarray, depth: np.ndarray) -> Loaded:
        return self.load(self._scale or math.sqrt(color.shape[0] * color.shape[1] / depth.size))


def _graphs(device: Device) -> Graphs:
    import torch

    from dkn.engines.cuda_graph import Graphs

    return Graphs(torch.device(str(device)))


def _run_on(device: Device, upsample: Callable[[Upload, Upload], Array], *arrays: np.ndarray) -> np.ndarray:
    def upload(array: np.ndarray) -> Array:
        # A copy, because the array may be a read-only or mirrored view of a message; it costs 0.1 ms.
        return placed(np.array(array, order="C"), device)

    with _inference_mode(device):
        return on_host(upsample(*(partial(upload, array) for array in arrays)))


def _inference_mode(device: Device) -> AbstractContextManager[Any]:
    if device == CPU:
        return nullcontext()
    import torch

    return torch.inference_mode()


def _measured(low: np.ndarray, options: Options) -> np.ndarray:
    """The depth as it is where it is valid, else NaN. On the host; `validity` where the network runs."""
    return measured(low, options.min_depth, options.max_depth)


def _known_or_small(color: np.ndarray, low: np.ndarray, result: np.ndarray, options: Options) -> np.ndarray:
    """(H, W) bool: where something was measured, or a small hole is."""
    sensed = _measured(low, options)
    small = small_holes(sensed, options.hole_width * math.sqrt(3 * low.size / color.size))
    known, depths = np.isfinite(sensed) | small, (array[None, None] for array in (sensed, result))
    found = stages("cpu").known(known[None, None], np.array(color, order="C"), *depths)
    return np.asarray(found[0, 0])


def _upsample(
    color: Upload,
    depth: Upload,
    *,
    size: tuple[int, int],
    info: ModelInfo,
    run: Callable[[Array, Array], Array],
    options: Options,
    device: Device,
) -> Array:
    """Everything on the device, from (H, W, 3) uint8 and (h, w) float32 to (H, W). On a GPU, nothing in it waits
    for a value; colour, the larger of the two, may still be arriving while depth is prepared."""
    low, stage = depth()[None, None], stages(str(device))
    valid = stage.validity(low, options.min_depth, options.max_depth)
    if isinstance(valid, np.ndarray) and not valid.any():
        return np.full(size, np.nan, np.float32)  # a camera that is covered costs nothing
    prepared = stage.prepare(low, valid, size, info.depth_range, info.network.depth_channels)
    bounds = stage.local_range(prepared.filled, valid, size, info.network.window // 2)
    guide = color()
    result = run(guide[None], prepared.shown)
    cut = options.fill_holes == "none"  # of small holes: on the host
    return stage.finish(result, prepared, bounds, low, valid, guide, cut)[0, 0]


def _make(kind: type[Upsampler], options: dict[str, Any]) -> Upsampler:
    return kind(**options)


def _check(color: np.ndarray, depth: np.ndarray) -> None:
    for name, image in (("colour", color), ("depth", depth)):
        if not isinstance(image, np.ndarray):
            kind = f"{type(image).__module__}.{type(image).__name__}"
            raise ImageError(f"{name} is a {kind}; a NumPy array is needed: numpy.asarray(image), of a tensor .numpy()")
    if color.ndim != 3 or color.shape[2] != 3 or color.dtype != np.uint8 or 0 in color.shape:
        raise ImageError(f"colour is {color.shape} {color.dtype}; expected (H, W, 3) uint8 RGB")
    if depth.ndim != 2 or depth.dtype.kind != "f" or 0 in depth.shape:
        raise ImageError(f"depth is {depth.shape} {depth.dtype}; expected (h, w) float metres")
