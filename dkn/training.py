"""Training: L1 loss (eq. 8) or the RMSE of a crop, Adam, random crops and flips, a moving average of the weights.

Every step is a function of (seed, step number) and of the state on disk alone, so that a run that was cut off and
resumed gives the same weights as one that was not.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dkn import checkpoint
from dkn.checkpoint import ModelInfo
from dkn.data.sample import Dataset, Sample
from dkn.degradation import degrade
from dkn.depth import to_grid
from dkn.device import channels_last, choose_device
from dkn.errors import CheckpointError, ConfigError
from dkn.networks import NetworkConfig, build

LOSSES = Literal["l1", "rmse"]
STATE = "state.pt"
MODEL = "model.safetensors"


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained. Stored with every checkpoint.

    Raises:
        ConfigError: neither `steps` nor `minutes`, or a crop that the scale does not divide.
    """

    network: NetworkConfig
    scale: int
    steps: int = 0
    """Length of the schedule; 0: as many as `minutes` allow."""
    minutes: float = 0.0
    """With `steps`: stop this sitting after so long, to be resumed. Without: the length of the schedule itself."""
    batch_size: int = 8
    crop: int = 128
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    ema_decay: float = 0.999
    depth_range: float = 10.0
    """Metres that the network sees as 1."""
    seed: int = 0
    loss: LOSSES = "rmse"
    """l1: eq. (8). rmse: root mean square error of each crop, in the mean over crops; near what evaluation counts."""
    bf16: bool = True
    """Convolutions in bfloat16; weights, sampling and loss stay float32."""

    def __post_init__(self) -> None:
        if not (self.steps > 0 or self.minutes > 0):
            raise ConfigError("training needs a length: steps, minutes, or both")
        if self.loss not in get_args(LOSSES):
            raise ConfigError(f"loss={self.loss!r}: choose one of {', '.join(get_args(LOSSES))}")
        if self.scale < 1 or self.crop % self.scale:
            raise ConfigError(f"crop={self.crop} is not a multiple of scale={self.scale}")
        for name in ("crop", "batch_size", "learning_rate", "depth_range"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)}: a positive number is needed")


class Batch(NamedTuple):
    """Tensors (N, C, H, W) float32: guidance in 0..1; depths in units of the depth range; known is bool."""

    guidance: Tensor
    depth: Tensor
    target: Tensor
    known: Tensor


def draw_batch(dataset: Dataset, config: TrainConfig, step: int) -> Batch:
    """The batch of one step, the same on every call: crops of random images, flipped at random."""
    rng = np.random.default_rng((config.seed, step))
    samples = [_draw_crop(dataset[int(rng.integers(len(dataset)))], config, rng) for _ in range(config.batch_size)]
    return Batch(*(torch.stack(parts) for parts in zip(*samples, strict=True)))


def _draw_crop(sample: Sample, config: TrainConfig, rng: np.random.Generator) -> tuple[Tensor, ...]:
    height, width = sample.depth.shape
    crop, scale = config.crop, config.scale
    if crop > min(height, width):
        raise ConfigError(f"crop={crop} does not fit into {sample.name} of {width}x{height}")
    # Cut along the low-resolution grid, with as much around as bicubic interpolation down and up can see: the crop
    # then holds the very values that the whole image would have had.
    y, x = (int(rng.integers((n - crop) // scale + 1)) * scale for n in (height, width))
    margin = 4 * scale
    top, left = max(y - margin, 0), max(x - margin, 0)
    bottom, right = ((min(e + crop + margin, n) // scale) * scale for e, n in ((y, height), (x, width)))
    context = sample.depth[top:bottom, left:right] / np.float32(config.depth_range)
    low = torch.from_numpy(degrade(context, scale, "bicubic", rng))[None, None]
    up = to_grid(low, low.isfinite(), (bottom - top, right - left))[0][0]

    inside = (slice(None), slice(y - top, y - top + crop), slice(x - left, x - left + crop))
    color = torch.from_numpy(np.array(sample.color[y : y + crop, x : x + crop])).permute(2, 0, 1).float() / 255
    target = torch.from_numpy(context)[None][inside]
    known = target.isfinite()
    parts = color, up[inside], torch.where(known, target, 0), known
    flips = [axis for axis in (1, 2) if rng.random() < 0.5]
    return tuple(part.flip(flips) for part in parts)


def loss_of(output: Tensor, target: Tensor, known: Tensor, kind: LOSSES) -> Tensor:
    """The loss over known pixels, a scalar in the unit of `output`; all (N, 1, H, W)."""
    error = torch.where(known, output - target, 0)
    if kind == "l1":
        return error.abs().sum() / known.sum().clamp(min=1)
    square = error.square().sum((1, 2, 3)) / known.sum((1, 2, 3)).clamp(min=1)
    return (square + 1e-8).sqrt().mean()  # the root has no slope at zero


class Trainer:
    """One training run in a folder of its own.

    Args:
        dataset: what to train on.
        config: how.
        out: folder for the state (`state.pt`) and the model (`model.safetensors`).
        resume: go on from the state in `out`, if there is one.
        init: model file whose weights to begin with.
        draw: what gives the batch of each step.

    Raises:
        ConfigError: `out` holds a run and `resume` is not set, or it was made with another configuration.
        CheckpointError: a damaged state.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: TrainConfig,
        out: Path,
        *,
        device: str = "auto",
        resume: bool = False,
        init: Path | None = None,
        draw: Callable[[Dataset, TrainConfig, int], Batch] = draw_batch,
    ):
        self.dataset, self.config, self.out, self.device = dataset, config, Path(out), choose_device(device)
        self._draw = draw
        torch.manual_seed(config.seed)
        self.network = channels_last(build(config.network), self.device)
        self._begun_from = ""
        if init is not None:
            self._initialise(init)
        self.ema = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self.step, self.seconds = 0, 0.0
        state = self.out / STATE
        if state.exists():
            if not resume:
                raise ConfigError(f"{self.out} already holds a run: resume it, or choose another folder")
            self._restore(state)
        self.out.mkdir(parents=True, exist_ok=True)

    @property
    def finished(self) -> bool:
        """Whether the schedule, however many sittings it took, is at its end."""
        return self.step >= self.config.steps if self.config.steps else self.seconds >= 60 * self.config.minutes

    def run(self, save_every_s: float = 120.0) -> Path:
        """Train to the end of the schedule or of the minutes, whichever comes first. Returns the model file."""
        started, saved = time.monotonic(), time.monotonic()
        before = self.seconds
        total = self.config.steps or None
        with tqdm(total=total, initial=self.step, unit="step", desc="training", mininterval=5) as bar:
            loss_mean = math.nan
            while not (self.finished or 0 < self.config.minutes <= (time.monotonic() - started) / 60):
                loss = self.train_step()
                loss_mean = loss if math.isnan(loss_mean) else 0.99 * loss_mean + 0.01 * loss
                now = time.monotonic()
                self.seconds = before + now - started
                bar.update()
                if self.step % 20 == 0:
                    # In cm: the mean error (l1), or the root of the mean square (rmse).
                    bar.set_postfix(self._status(loss_mean))
                if now - saved > save_every_s:
                    self.save()
                    saved = now
        self.save()
        return self.out / MODEL

    def train_step(self) -> float:
        """One step; returns the loss in units of the depth range."""
        batch = self._draw(self.dataset, self.config, self.step)
        guidance, depth, target, known = (t.to(self.device) for t in batch)
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * self._schedule()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            kernels = self.network.kernels(guidance.contiguous(memory_format=torch.channels_last), depth)
        output = self.network.average(depth, *kernels)
        loss = loss_of(output, target, known, self.config.loss)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.step += 1
        self._update_ema()
        return loss.item()

    def save(self, **training: object) -> None:
        """Write the state to resume from, and the averaged weights as a model."""
        state = {
            "config": json.dumps(dataclasses.asdict(self.config)),
            "step": self.step,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "begun_from": self._begun_from,
        }
        temporary = self.out / (STATE + ".partial")
        torch.save(state, temporary)
        temporary.replace(self.out / STATE)
        recipe = dataclasses.asdict(self.config)
        recipe.pop("network")
        facts = {"data": self.dataset.name, "images": len(self.dataset), "optimiser": "Adam"}
        facts |= {"steps": self.step, "recipe": recipe, "begun_from": self._begun_from, **training}
        info = ModelInfo(self.config.network, self.config.scale, self.config.depth_range, facts)
        checkpoint.save(self.out / MODEL, self.ema, info)

    def _schedule(self) -> float:
        """Factor on the learning rate: a linear warm-up, then a cosine to zero."""
        done = self.step / self.config.steps if self.config.steps else self.seconds / (60 * self.config.minutes)
        warmup = min(1.0, (self.step + 1) / max(self.config.warmup_steps, 1))
        return warmup * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def _status(self, loss: float) -> dict[str, str]:
        status = {"error": f"{loss * self.config.depth_range * 100:.2f} cm"}
        if not self.config.steps:
            left = self.config.minutes - self.seconds / 60
            status["left"] = f"{max(left, 0):.1f} min"
        return status

    @torch.no_grad()
    def _update_ema(self) -> None:
        # Early on a short memory: the average must not drag the random start along.
        decay = min(self.config.ema_decay, self.step / (self.step + 10))
        pairs = zip(self.ema.state_dict().values(), self.network.state_dict().values(), strict=True)
        for average, value in pairs:
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)

    def _initialise(self, init: Path) -> None:
        source, info = checkpoint.load(init)
        if source.config != self.config.network:
            raise ConfigError(f"{init}: another network than the one to be trained ({source.config})")
        self.network.load_state_dict(source.state_dict())
        self._begun_from = f"{info.training.get('data')}, {info.scale}x, {info.training.get('steps')} steps"

    def _restore(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # torch raises many types for a damaged file
            raise CheckpointError(f"{path}: damaged ({type(error).__name__})") from None
        if not isinstance(state, dict) or "config" not in state:
            raise CheckpointError(f"{path}: not the state of a training run")
        theirs, ours = json.loads(state["config"]), dataclasses.asdict(self.config)
        different = [name for name in ours if name != "minutes" and theirs.get(name) != ours[name]]
        if different:
            raise ConfigError(f"{path}: was made with another {', '.join(different)}")
        self.network.load_state_dict(state["network"])
        self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        self._begun_from = state.get("begun_from", self._begun_from)
