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

"""How good a model that was just trained is, on the test half of its set."""

from __future__ import annotations

import math
from pathlib import Path

from dkn.data.sample import Dataset
from dkn.ensemble import self_ensemble
from dkn.evaluation import Evaluation, Method, bicubic, evaluate
from dkn.training.config import TrainConfig
from dkn.upsampler import Upsampler

SENSOR_KINDS = ("bicubic", "nearest", "noise", "holes")
USUAL_SCALE = 8
FIRST = 16  # images that are quick to judge while a run goes on


def assess(
    model: Path,
    test: Dataset,
    config: TrainConfig,
    device: str = "auto",
    engine: str = "auto",
    limit: int | None = None,
) -> list[Evaluation]:
    """Bicubic interpolation and the model on what it was trained for; of a mixture, on the kinds that tell most, and of
    several scales at the one nearest to 8."""
    scale = min(config.scales, key=lambda s: abs(math.log(s / USUAL_SCALE)))
    kinds = SENSOR_KINDS if config.degradation == "sensor" else (config.degradation,)
    methods = {"bicubic": bicubic, model.stem: model_method(model, device, engine)}
    return [evaluate(test, methods, scale, kind, limit) for kind in kinds]


def first_rmse(model: Path, test: Dataset, config: TrainConfig, device: str = "auto") -> dict[str, float]:
    """RMSE of the model on the first images of a test set, by what it was measured on."""
    # PyTorch itself: faster engines take longer to build than these few images do.
    tables = assess(model, test, config, device, "torch", FIRST)
    return {f"{t.unit}/{t.scale}x {t.degradation}": t.results[1].rmse for t in tables}


def model_method(
    model: str | Path,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "fp32",
    ensemble: bool = False,
    align_color: bool | None = None,
) -> Method:
    """A model as a method: every pixel gets a depth, as the protocol wants it. `ensemble`: the mean of four mirror
    images; `align_color`: as `Upsampler`."""
    method = Upsampler(
        model, device=device, engine=engine, precision=precision, fill_holes=True, align_color=align_color
    )
    return self_ensemble(method) if ensemble else method
