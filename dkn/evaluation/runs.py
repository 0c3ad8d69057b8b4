"""A network trained and tested for a table, in a folder of its own: resumed, or taken over once it is finished."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dkn.data.sample import Dataset
from dkn.errors import DataError
from dkn.evaluation import evaluate, model_method
from dkn.report import write_json
from dkn.training import TrainConfig, Trainer

RESULT = "result.json"


def trained(
    config: TrainConfig,
    train: Dataset,
    test: Dataset,
    out: Path,
    scales: Sequence[int],
    limit: int | None = None,
    device: str = "auto",
) -> list[float]:
    """RMSE at each of these scales, in the unit of `test`, of a network trained as `config` says.

    Args:
        out: folder of the run, and of its `result.json`.
        limit: test images; default: all.

    Raises:
        ConfigError: the folder holds a run of another configuration.
        DataError: a damaged `result.json`.
    """
    trainer = Trainer(train, config, out, device=device, resume=True)
    facts: dict[str, Any] = {"steps": config.steps, "images": len(train), "dataset": test.name, "scales": list(scales)}
    facts["count"] = min(len(test), limit or len(test))
    if trainer.finished and (known := _read(out / RESULT)) and {key: known.get(key) for key in facts} == facts:
        return list(known["rmse"])
    method = {out.name: model_method(trainer.run(), device)}
    rmse = [evaluate(test, method, scale, limit=limit).results[0].rmse for scale in scales]
    write_json(out / RESULT, facts | {"rmse": rmse})
    return rmse


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(file.read_text())) if file.is_file() else None
    except ValueError:
        raise DataError(f"{file}: damaged; delete it to have that run evaluated again") from None
