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

"""The mean of a model's rounds of training. Weights that one run has reached from another's lie in one valley of the
loss, and their mean is lower in it than either: Izmailov et al., Averaging Weights Leads to Wider Optima and Better
Generalization, UAI 2018."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dkn import checkpoint
from dkn.errors import ConfigError
from dkn.networks.weights import Weights

OF_ITS_TEST = ("test_images", "test_rmse_cm", "chosen_by")
"""What a model's card says that its mean with another has to be tested for anew."""


def average(models: Sequence[Path], out: Path, shares: Sequence[float] | None = None) -> Path:
    """Write the mean of the weights of some models, batch norm's statistics included; returns `out`. Its card is the
    last one's, with what the mean is of.

    Args:
        models: model files, at least two, of one network, for one scale and depth range.
        shares: of each in the mean, in any unit; None: equal ones.

    Raises:
        CheckpointError: a file that cannot be read, or `out` not be written.
        ConfigError: models that differ in more than their weights; shares that are negative, all zero, or of another
            number.
    """
    if len(models) < 2:
        raise ConfigError("a mean takes two models or more")
    parts = [1.0] * len(models) if shares is None else list(shares)
    if len(parts) != len(models) or min(parts) < 0 or not 0 < sum(parts) < math.inf:
        raise ConfigError(f"shares={parts}: {len(models)} numbers from 0 on are needed, not all of them 0")
    parts = [part / sum(parts) for part in parts]
    found = [checkpoint.read(model, to_train=True) for model in models]
    weights, info = found[-1]
    for model, (_, other) in zip(models, found, strict=True):
        for name in ("network", "scale", "depth_range"):
            if getattr(other, name) != getattr(info, name):
                raise ConfigError(f"{model} has another {name} than {models[-1]}: there is no mean of them")
    arrays = {}
    for name, last in weights.arrays.items():
        if last.dtype.kind == "f":
            mean = sum(part * w.arrays[name].astype(np.float64) for part, (w, _) in zip(parts, found, strict=True))
            last = np.asarray(mean, last.dtype)
        arrays[name] = last
    training = {name: value for name, value in info.training.items() if name not in OF_ITS_TEST}
    training["averaged"] = [
        {"share": round(part, 4), "data": other.training.get("data"), "steps": other.training.get("steps")}
        for part, (_, other) in zip(parts, found, strict=True)
    ]
    if terms := checkpoint.joined_terms(*(other.training.get("terms", "") for _, other in found)):
        training["terms"] = terms
    checkpoint.save(out, Weights(info.network, arrays), dataclasses.replace(info, training=training))
    return out
