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

"""The steps of training, and everything that the next one depends on.

Every step is a function of (seed, step number) and of the state on disk alone, so that a run that was cut off and
resumed gives the same weights as one that was not.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dkn import checkpoint
from dkn.checkpoint import ModelInfo, not_finite
from dkn.data.sample import Dataset
from dkn.engines.pytorch import without_tf32
from dkn.errors import CheckpointError, ConfigError, DataError
from dkn.networks.dkn import FDKN, CellNetwork, KernelNetwork, StridedNetwork, build
from dkn.networks.narrowing import narrowed
from dkn.networks.warm_start import CARRYING, to_dkn, with_all_layers
from dkn.training import surroundings
from dkn.training.batches import Batch, draw_batch
from dkn.training.captured import CapturedStep
from dkn.training.config import LOSSES, TrainConfig
from dkn.training.distributed import Processes, join
from dkn.training.loader import ResidentSet, batches
from dkn.training.muon import Muon
from dkn.utils.tensors import channels_last

Draw = Callable[[Dataset, TrainConfig, int, Dataset | None, slice], Batch]

STATE = "state.pt"
MODEL = "model.safetensors"
CELLS = "cells.safetensors"  # of a network on cells: to begin with; the model is the DKN made of it
LOOKED_AT = 8  # pictures, before a run begins


def loss_of(output: Tensor, target: Tensor, known: Tensor, kind: LOSSES) -> Tensor:
    """The loss over the known pixels of each crop, in the mean over crops: a scalar in the unit of `output`; all
    (N, 1, H, W)."""
    error = torch.where(known, output - target, 0)
    count = known.sum((1, 2, 3)).clamp(min=1)
    kinds = {
        "l1": error.abs().sum((1, 2, 3)) / count,
        "rmse": (error.square().sum((1, 2, 3)) / count + 1e-8).sqrt(),  # the root has no slope at zero
    }
    return torch.stack([kinds[name].mean() for name in kind.split("+")]).mean()


def _check_depth(dataset: Dataset) -> None:
    """Look at a few pictures before hours are spent on nothing.

    Raises:
        DataError: none of them has depth.
    """
    looked_at = sorted({round(i) for i in np.linspace(0, len(dataset) - 1, LOOKED_AT)}) if len(dataset) else []
    if not any(np.isfinite(dataset[i].depth).any() for i in looked_at):
        raise DataError(
            f"{dataset.name}: no depth in any of {len(looked_at)} pictures looked at; there is nothing to learn"
        )


def _check_state(state: Mapping[str, Any]) -> None:
    """Whether a state has what training goes on with; `load_state_dict` looks at the shapes.

    Raises:
        LookupError, TypeError, ValueError: it has not.
    """
    kinds = {"step": int, "seconds": int | float, "begun_from": str, "network": Mapping, "ema": Mapping}
    for name, kind in kinds.items():
        if not isinstance(state[name], kind):
            raise TypeError(f"{name} is {type(state[name]).__name__}")
    if not (state["step"] >= 0 and 0 <= state["seconds"] < math.inf):
        raise ValueError(f"{state['step']} steps in {state['seconds']} s")
    card = state.get("card", {})
    if not isinstance(card, dict) or not all(isinstance(part, str) for pair in card.items() for part in pair):
        raise TypeError("card is no text by name")
    for name in ("network", "ema"):
        if weights := _not_finite(state[name]):
            raise ValueError(f"{name}: {weights} is not finite")


def _not_finite(state: Mapping[str, Any]) -> str | None:
    return not_finite({name: torch.as_tensor(value).cpu().numpy() for name, value in state.items()})


def _check_optimiser(optimiser: torch.optim.Optimizer) -> None:
    """Whether the state that was read into an optimiser is one that it can go on with.

    Raises:
        TypeError, ValueError: it is not.
    """
    is_adam = isinstance(optimiser, torch.optim.Adam)  # Muon has no options, and begins anew what is missing
    if is_adam and not all({"betas", "eps"} <= group.keys() for group in optimiser.param_groups):
        raise TypeError("optimiser: options are missing")
    for parameter, kept in optimiser.state.items():
        if is_adam and not {"step", "exp_avg", "exp_avg_sq"} <= kept.keys():
            raise TypeError("optimiser: moments are missing")
        for name, value in kept.items():
            if not isinstance(value, Tensor) or value.shape not in ((), parameter.shape):
                raise TypeError(f"optimiser: {name} does not belong to weights of shape {tuple(parameter.shape)}")
            if not value.isfinite().all():
                raise ValueError(f"optimiser: {name} is not finite")


def _draw(draw: Draw, dataset: Dataset, config: TrainConfig, rooms: Dataset | None, share: slice, step: int) -> Batch:
    return draw(dataset, config, step, rooms, share)


class Trainer:
    """One training run in a folder of its own.

    Args:
        dataset: what to train on.
        config: how.
        out: folder for the state (`state.pt`) and the model (`model.safetensors`); of a network on cells this is the
            DKN made of it, and the network itself is beside it, to begin with (`cells.safetensors`).
        resume: go on from the state in `out`, if there is one.
        init: model file whose weights to begin with; for a DKN also a network on cells, for one of these also its last
            layers alone (`dkn.networks.warm_start`). It may differ in its window and its residual connection; have seen
            colour that the network will not see (offsets then begin at zero); and have one depth channel: the other
            channels then have no weight at first.
        rooms: rendered rooms, if the configuration mixes them in.
        draw: what gives the batch of a step, in place of `draw_batch`.
        workers: processes that draw batches ahead of time; 0: each batch is drawn when it is its turn.
        resident: hold the set on a CUDA device where that is possible (`dkn.training.loader.ResidentSet`).
        card: what else the model's file is to say of its making, by name. Of `terms`, what the licences of its data
            allow, those of `init` stay beside it.
        processes: those that train together; default: all that torchrun started (`dkn.training.distributed.join`).

    Raises:
        ConfigError: `out` holds a run and `resume` is not set, or it was made with another configuration; a batch that
            the processes cannot share evenly; rooms that are wanted and missing.
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
        rooms: Dataset | None = None,
        draw: Draw = draw_batch,
        workers: int = 0,
        resident: bool = True,
        card: Mapping[str, str] = MappingProxyType({}),
        processes: Processes | None = None,
    ):
        self.processes = processes or join(device)
        self.dataset, self.config, self.out, self.device = dataset, config, Path(out), self.processes.device
        self._rooms, self._draw = rooms, draw
        self._workers, self._resident = workers, resident
        self._batches: Iterator[Batch] | None = None
        if config.batch_size % self.processes.count:
            raise ConfigError(f"batch_size={config.batch_size} cannot be shared by {self.processes.count} processes")
        if config.mix_synthetic and rooms is None:
            raise ConfigError(f"mix_synthetic={config.mix_synthetic}, but there are no rendered rooms")
        _check_depth(dataset)
        torch.manual_seed(config.seed)
        self.network = channels_last(build(config.network), self.device)
        self._begun_from, self._card = "", dict(card)
        if init is not None:
            self._initialise(init)
        self.ema = copy.deepcopy(self.network).eval().requires_grad_(False)
        optimiser = {"adam": torch.optim.Adam, "muon": Muon}[config.optimiser]
        self.optimiser = optimiser(self.network.parameters(), lr=config.learning_rate)
        self.step, self.seconds = 0, 0.0
        self._forget = torch.zeros((), device=self.device)
        self._rate: Tensor | None = None
        self._take_step = self._learn
        if self.device.type == "cuda" and config.optimiser == "muon" and self.processes.count == 1 and config.crop:
            self._rate = torch.zeros((), device=self.device)
            self._take_step = CapturedStep(self._learn)
        state = self.processes.from_first(lambda: self._read_state(resume))
        if state is not None:
            self._restore(state)
        if self.processes.first:
            self.out.mkdir(parents=True, exist_ok=True)

    @property
    def finished(self) -> bool:
        """Whether the schedule, however many sittings it took, is at its end."""
        return self.step >= self.config.steps if self.config.steps else self.seconds >= 60 * self.config.minutes

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return float(self.optimiser.param_groups[0]["lr"])

    def run(self, save_every_s: float = 120.0, after_step: Callable[[Tensor], None] | None = None) -> Path:
        """Train to the end of the schedule or of the minutes, whichever comes first. Returns the model file.

        Args:
            save_every_s: seconds from one saved state to the next.
            after_step: called after each step with the mean loss so far: a scalar on the device, in units of the depth
                range.
        """
        started = saved = time.monotonic()
        before = self.seconds
        minutes = self.config.minutes or math.inf
        bar = tqdm(
            total=self.config.steps or None,
            initial=self.step,
            unit="step",
            desc="training",
            mininterval=5,
            disable=not self.processes.first,
        )
        with bar:
            loss_mean: Tensor | None = None  # on the device: to read it is to wait for the step
            while not (self.finished or self.seconds - before >= 60 * minutes):
                loss = self.train_step()
                loss_mean = loss if loss_mean is None else loss_mean.lerp(loss, 0.01)
                now = time.monotonic()
                # The same for all processes: it decides when they stop.
                self.seconds = before + self.processes.mean(now - started)
                bar.update()
                if self.step % 20 == 0:
                    # In cm: the mean error (l1), or the root of the mean square (rmse).
                    bar.set_postfix(self._status(float(loss_mean)))
                if after_step is not None:
                    after_step(loss_mean)
                if now - saved > save_every_s:
                    self.save()
                    saved = now
        self.save()
        return self.out / MODEL

    def batch(self, step: int) -> Batch:
        """This process's share of the batch of a step, on the device."""
        share = slice(self.processes.rank, None, self.processes.count)
        batch = self._draw(self.dataset, self.config, step, self._rooms, share)
        return Batch(*(part.to(self.device) for part in batch))

    def _next_batch(self) -> Batch:
        """The same of the coming step, perhaps drawn before."""
        if self._batches is None:
            self._batches = self._open_batches()
        return Batch(*(part.to(self.device, non_blocking=True) for part in next(self._batches)))

    def _open_batches(self) -> Iterator[Batch]:
        share = slice(self.processes.rank, None, self.processes.count)
        plain = self._draw is draw_batch and self._rooms is None
        if self._resident and plain and ResidentSet.possible(self.dataset, self.config, self.device):
            whole = ResidentSet(self.dataset, self.config, self.device)
            return batches(partial(whole.draw, self.config, share=share), self.step, 0, self.device)
        draw = partial(_draw, self._draw, self.dataset, self.config, self._rooms, share)
        return batches(draw, self.step, self._workers, self.device)

    def output(self, network: KernelNetwork, batch: Batch) -> Tensor:
        """What `network` makes of a batch, (N, 1, H, W) as its target."""
        seen = self.config.surrounded
        guidance = batch.guidance.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            if seen:
                kernels = surroundings.kernels(cast(StridedNetwork, network), guidance, batch.depth)
            else:
                kernels = network.kernels(guidance, batch.depth)
        if seen:
            return surroundings.average(cast(StridedNetwork, network), batch.depth, *kernels)
        return network.average(batch.depth, *kernels)

    def train_step(self) -> Tensor:
        """One step; returns the loss in units of the depth range, a scalar on the device. (Reading it waits for the
        device; a step by itself does not.)"""
        batch = self._next_batch()
        self._train_mode()
        rate = self.config.learning_rate * self._schedule()
        if isinstance(self._rate, Tensor):
            self._rate.fill_(rate)
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate if isinstance(self._rate, Tensor) else rate
        self.step += 1
        # Early on a short memory: the average must not drag the random start along.
        self._forget.fill_(1 - min(self.config.ema_decay, self.step / (self.step + 10)))
        return self._take_step(batch)

    def _learn(self, batch: Batch) -> Tensor:
        """What a step does on the device, always the same operations; its loss."""
        # The first convolutions, forward and backward: what TF32 leaves of a depth is good to some millimetres.
        with without_tf32(benchmark=True):
            self.optimiser.zero_grad(set_to_none=True)
            loss = loss_of(self.output(self.network, batch), batch.target, batch.known, self.config.loss)
            loss.backward()
        loss = loss.detach()
        if self.processes.count > 1:
            gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
            statistics = [b for b in self.network.buffers() if b.is_floating_point()]
            self.processes.average([*gradients, *statistics, loss])
        self.optimiser.step()
        self._update_ema()
        return loss

    def _train_mode(self) -> None:
        self.network.train()
        if self.config.freeze_first_norms:
            for stream in self.network.streams().values():
                for _, norm in stream.layers()[:CARRYING]:
                    if norm is not None:
                        norm.eval()

    def save(self, **training: object) -> None:
        """Write the state to resume from, and the averaged weights as a model (the first process alone does).

        Raises:
            CheckpointError: weights that are not finite; nothing is written then.
        """
        if not self.processes.first:
            return
        if name := _not_finite(self.network.state_dict()) or _not_finite(self.ema.state_dict()):
            raise CheckpointError(
                f"{self.out}: after {self.step} steps {name} is not finite: training has diverged (a smaller "
                "learning_rate may help); what was there before is kept"
            )
        state = {
            "config": json.dumps(dataclasses.asdict(self.config)),
            "step": self.step,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "begun_from": self._begun_from,
            "card": self._card,
        }
        with checkpoint.writing(self.out / STATE) as partial:
            torch.save(state, partial)
        recipe = dataclasses.asdict(self.config)
        recipe.pop("network")
        facts = {"data": self.dataset.name, "images": len(self.dataset)}
        facts |= {"steps": self.step, "recipe": recipe, "begun_from": self._begun_from, **self._card, **training}
        network = self.ema
        info = ModelInfo(self.config.network, self.config.model_scale, self.config.depth_range, facts)
        if isinstance(network, CellNetwork):
            checkpoint.save(self.out / CELLS, network, info)
            network = to_dkn(network)
            info = dataclasses.replace(info, network=network.config)
        checkpoint.save(self.out / MODEL, network, info)

    def _schedule(self) -> float:
        """Factor on the learning rate: a linear warm-up, then a cosine to zero, or a fifth after each quarter."""
        done = self.step / self.config.steps if self.config.steps else self.seconds / (60 * self.config.minutes)
        warmup = min(1.0, (self.step + 1) / max(self.config.warmup_steps, 1))
        if self.config.schedule == "steps":
            return warmup * 0.2 ** min(int(4 * done), 3)
        return warmup * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def _status(self, loss: float) -> dict[str, str]:
        status = {"error": f"{loss * self.config.depth_range * 100:.2f} cm"}
        if not self.config.steps:
            left = self.config.minutes - self.seconds / 60
            status["left"] = f"{max(left, 0):.1f} min"
        return status

    @torch.no_grad()
    def _update_ema(self) -> None:
        averages, values = (list(network.state_dict().values()) for network in (self.ema, self.network))
        if not self.config.ema_decay:  # exactly the weights, which an average with a share of 1 is not
            torch._foreach_copy_(averages, values)
            return
        floats = [i for i, value in enumerate(values) if value.is_floating_point()]
        moving = [averages[i] for i in floats]
        changes = torch._foreach_sub([values[i] for i in floats], moving)
        torch._foreach_mul_(changes, self._forget)
        torch._foreach_add_(moving, changes)
        for i in set(range(len(values))).difference(floats):
            averages[i].copy_(values[i])

    def _initialise(self, init: Path) -> None:
        source, info = checkpoint.load(init, to_train=True)
        ours, begun_from = self.config.network, ""
        if isinstance(source, CellNetwork) and ours.architecture == "dkn":
            source, begun_from = to_dkn(source, ours.widths), " of a network on cells"
        elif isinstance(source, CellNetwork) and ours.cell < source.config.cell:
            source, begun_from = with_all_layers(source, ours.widths), " of its last layers"
        theirs, free = source.config, ["window", "residual", "depth_channels"]
        if ours.guidance == "none":
            free.append("guidance")
        if ours.architecture == "fdkn":
            free += ["widths", "n1", "n2"]
        alike = dataclasses.replace(theirs, **{name: getattr(ours, name) for name in free}) == ours
        if not alike or theirs.depth_channels > ours.depth_channels:
            raise ConfigError(f"{init}: another network than the one to be trained ({theirs})")
        if isinstance(source, FDKN) and ours.channels != theirs.channels:
            example = self._draw(self.dataset, self.config, 0, self._rooms, slice(None))
            depth = example.depth[:, : theirs.depth_channels]
            try:
                source = narrowed(source, ours.widths, ours.n1, ours.n2, example.guidance, depth)
            except ConfigError as error:
                raise ConfigError(f"{init}: {error}") from None
            begun_from = " of a wider network"
        known, weights = source.state_dict(), {}
        for name, own in self.network.state_dict().items():
            weights[name] = known[name].to(self.device)
            if (missing := own.shape[1] - weights[name].shape[1] if own.ndim > 1 else 0) > 0:
                zeros = own.new_zeros(len(own), missing, *own.shape[2:])
                weights[name] = torch.cat((weights[name], zeros), dim=1)
            if ours.guidance != theirs.guidance and "heads.offsets" in name:
                # Offsets are the product of both streams': that of one alone would send taps out of the window, and
                # nothing would call them back. They begin at the regular grid.
                weights[name] = torch.zeros_like(own)
        self.network.load_state_dict(weights)
        scale = f"{info.scale}x" if info.scale else "many scales"
        self._begun_from = f"{info.training.get('data')}, {scale}, {info.training.get('steps')} steps{begun_from}"
        self._add_terms(info.training.get("terms", ""))

    def _add_terms(self, *terms: str) -> None:
        """Terms of what the model is made of come before those that its card has."""
        if found := checkpoint.joined_terms(*terms, self._card.get("terms", "")):
            self._card["terms"] = found

    def _read_state(self, resume: bool) -> dict[str, Any] | None:
        path = self.out / STATE
        if not path.exists():
            return None
        if not resume:
            raise ConfigError(f"{self.out} already holds a run: resume it, or choose another folder")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many types for a damaged file
            raise CheckpointError(f"{path}: damaged ({type(error).__name__})") from None
        try:
            config = json.loads(state["config"])
        except (LookupError, TypeError, ValueError):
            config = None
        if not isinstance(config, dict):
            raise CheckpointError(f"{path}: not the state of a training run")
        if different := self.config.different(config):
            raise ConfigError(f"{path}: was made with another {', '.join(different)}")
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            _check_state(state)
            self.network.load_state_dict(state["network"])
            self.ema.load_state_dict(state["ema"])
            self.optimiser.load_state_dict(state["optimiser"])
            _check_optimiser(self.optimiser)
            self.step, self.seconds = state["step"], state["seconds"]
            self._begun_from, given = state["begun_from"], self._card
            self._card = dict(state.get("card", given))
            self._add_terms(self._card.pop("terms", ""), given.get("terms", ""))
        except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:  # torch's among them
            reason = str(error).partition("\n")[0]
            raise CheckpointError(f"{self.out / STATE}: not the state of this run ({reason})") from None
