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

"""How a network is trained: every choice there is, and the two recipes that make them all."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from dkn.depth.degradation import DEGRADATIONS
from dkn.errors import ConfigError
from dkn.networks.config import STRIDE, NetworkConfig

LOSSES = Literal["l1", "rmse", "rmse+l1"]
OPTIMISERS = Literal["adam", "muon"]
SCHEDULES = Literal["cosine", "steps"]
RECIPES = Literal["best", "paper"]

ANY_SCALE = (1, 2, 4, 8, 16)
"""What a model for every ratio is trained at."""
SENSOR_NETWORK: dict[str, Any] = {"depth_channels": 4, "window": 63}
"""What a network for real sensors needs: validity and scale as input channels, and taps that reach over holes
and over the blocks of 16×."""

_PAPER: dict[str, Any] = {
    "steps": 40_000,
    "batch_size": 1,
    "crop": 0,
    "learning_rate": 1e-3,
    "optimiser": "adam",
    "schedule": "steps",
    "warmup_steps": 0,
    "ema_decay": 0.0,
    "loss": "l1",
    "flips": False,
    "bf16": False,
}


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained. Stored with every checkpoint. The defaults are those of the recipe `best`.

    Raises:
        ConfigError: neither `steps` nor `minutes`, a crop that a scale does not divide, a choice that there is not, or
            a number out of its range.
    """

    network: NetworkConfig
    scale: int | tuple[int, ...]
    """One upsampling factor, or several of which each crop draws one."""
    degradation: str = "bicubic"
    """How low-resolution depth is made: one of `DEGRADATIONS`; sensor: each crop draws one (`dkn.training.batches`)."""
    steps: int = 0
    """Length of the schedule; 0: as many as `minutes` allow."""
    minutes: float = 0.0
    """With `steps`: stop this sitting after so long, to be resumed. Without: the length of the schedule itself."""
    batch_size: int = 8
    """Crops a step, over all processes."""
    crop: int = 128
    """Pixels along each side of what is cut from a picture; 0: whole pictures."""
    learning_rate: float = 1e-3
    optimiser: OPTIMISERS = "muon"
    schedule: SCHEDULES = "cosine"
    """cosine: to zero. steps: divided by 5 after each quarter."""
    warmup_steps: int = 200
    ema_decay: float = 0.999
    """Of the moving average of the weights, which is the model; 0: the weights themselves."""
    depth_range: float = 10.0
    """Metres that the network sees as 1."""
    seed: int = 0
    loss: LOSSES = "rmse"
    """Of each crop, in the mean over crops. l1: eq. (8). rmse: root mean square error, what evaluation counts. rmse+l1:
    the mean of both, whose slopes are as long."""
    aligned: bool = True
    """Crops begin on the low-resolution grid. Else anywhere: `cells` has weights of its own for each of 16 pixels, and
    each has to be seen wherever it may lie between the measured ones."""
    flips: bool = True
    color_jitter: float = 0.0
    """Strength of random changes of brightness, contrast, saturation and gamma: 0.3 is by up to 30 %."""
    mix_synthetic: float = 0.0
    """Share of the crops that are drawn from rendered rooms."""
    mix: tuple[tuple[str, float], ...] = ()
    """Further data sets, and what share of the crops is drawn from each (`dkn.training.mixture`)."""
    phases: Literal[1, 16] = 16
    """DKN: at how many of the 4×4 phases of its stride each crop is judged (`dkn.training.surroundings`)."""
    freeze_first_norms: bool = False
    """DKN, or all its layers on cells: batch norm of the first four convolutions keeps its statistics. After a warm
    start these pass pixels on (`dkn.networks.warm_start`), which a batch's own statistics would rescale."""
    bf16: bool = True
    """Convolutions in bfloat16; weights, sampling and loss stay float32."""

    def __post_init__(self) -> None:
        for name in ("steps", "minutes"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name}={getattr(self, name)}: 0 or a positive number is needed")
        if not (self.steps > 0 or self.minutes > 0):
            raise ConfigError("training needs a length: steps, minutes, or both")
        for name, hint in get_type_hints(type(self)).items():
            allowed, value = get_args(hint), getattr(self, name)
            if name not in ("scale", "mix") and allowed and value not in allowed:
                raise ConfigError(f"{name}={value!r}: choose one of {', '.join(map(str, allowed))}")
        if self.degradation not in DEGRADATIONS:
            raise ConfigError(f"degradation={self.degradation!r}: choose one of {', '.join(DEGRADATIONS)}")
        if not self.scales or min(self.scales) < 1:
            raise ConfigError(f"scale={self.scale}: a factor of at least 1 is needed")
        if self.crop % math.lcm(*self.scales):
            raise ConfigError(f"crop={self.crop} is not a multiple of scale={self.scale}")
        for name in ("batch_size", "learning_rate", "depth_range"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name}={getattr(self, name)}: a positive number is needed")
        for name in ("crop", "warmup_steps", "ema_decay", "color_jitter", "mix_synthetic"):
            if not 0 <= getattr(self, name) <= (1 if isinstance(getattr(self, name), float) else math.inf):
                raise ConfigError(f"{name}={getattr(self, name)}: out of range")
        if not 0 <= self.seed < 2**63:  # what torch and NumPy both take
            raise ConfigError(f"seed={self.seed}: 0 to 2^63 - 1 are possible")
        shares = [share for _, share in self.mix]
        if not all(0 <= share <= 1 for share in shares) or not sum(shares) <= 1:  # so that NaN is refused
            raise ConfigError(f"mix={self.mix}: shares of the crops are needed, 0 to 1 in all")
        if self.at_one_phase and self.network.architecture != "dkn":
            raise ConfigError(f"phases={self.phases}: {self.network.architecture} gives all of them at once; take 16")
        if self.freeze_first_norms and self.network.cell > 1:
            raise ConfigError("freeze_first_norms: for a network that has the first layers of a DKN")
        if self.network.architecture == "cells" and (self.crop % STRIDE or not self.crop):
            raise ConfigError(f"crop={self.crop}: cells need a multiple of {STRIDE}")
        if not self.aligned and not self.crop:
            raise ConfigError("aligned=False needs a crop: whole pictures begin where the low-resolution grid does")
        if self.crop:
            self.check_size(self.crop, self.crop)

    def check_size(self, height: int, width: int) -> None:
        """Whether the networks can learn from crops, or whole pictures, of so many pixels.

        Raises:
            ConfigError: less than one pixel of the features; or a single one in all, which batch norm makes zero.
        """
        if min(height, width) < STRIDE:
            raise ConfigError(f"crop of {width}x{height}: at least {STRIDE} pixels along each side are needed")
        if self.network.architecture == "fdkn" and self.batch_size == 1 and max(height, width) == STRIDE:
            raise ConfigError(f"crop of {width}x{height} with batch_size=1: a larger crop, or more of them, are needed")

    @property
    def at_one_phase(self) -> bool:
        return self.phases < STRIDE**2

    @property
    def surrounded(self) -> bool:
        """Whether crops bring what a network sees around them (`dkn.training.surroundings`)."""
        return self.at_one_phase or self.network.architecture == "cells"

    @property
    def scales(self) -> tuple[int, ...]:
        return (self.scale,) if isinstance(self.scale, int) else self.scale

    @property
    def model_scale(self) -> int | None:
        """The factor that the model is for; None: many."""
        return self.scales[0] if len(self.scales) == 1 else None

    def different(self, other: dict[str, Any]) -> list[str]:
        """Names of the fields in which `other`, a config as JSON keeps it, is another run's."""
        ours = json.loads(json.dumps(dataclasses.asdict(self)))
        # What a run from before a field was made did not have is what the field is by default.
        defaults = json.loads(json.dumps({f.name: f.default for f in dataclasses.fields(self)}, default=str))
        return [name for name in ours if name != "minutes" and (defaults | other).get(name) != ours[name]]


def recipe(name: RECIPES, network: NetworkConfig, scale: int | tuple[int, ...], **changes: Any) -> TrainConfig:
    """A recipe with changes.

    Args:
        name: paper: section 4.1, to the letter: whole pictures one at a time, Adam, learning rate 1e-3 divided by 5
            every 10,000 of 40,000 steps, L1 loss, float32, no augmentation. best: what measured best here.
        changes: fields of `TrainConfig` that shall be otherwise.
    """
    if name not in get_args(RECIPES):
        raise ConfigError(f"recipe={name!r}: choose one of {', '.join(get_args(RECIPES))}")
    choices: dict[str, Any] = _PAPER if name == "paper" else {}
    if name == "best" and network.architecture == "dkn":
        choices = {"phases": 1}
    if network.architecture == "cells":
        choices = choices | {"aligned": False}
    return TrainConfig(network, scale, **(choices | changes))
