"""How good a model that was just trained is, on the test half of its set."""

from __future__ import annotations

import math
from pathlib import Path

from dkn.data.sample import Dataset
from dkn.evaluation import Evaluation, bicubic, evaluate, model_method
from dkn.training.config import TrainConfig

SENSOR_KINDS = ("bicubic", "nearest", "noise", "holes")
USUAL_SCALE = 8


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
