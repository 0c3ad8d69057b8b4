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

"""A network trained and tested for a table, in a folder of its own: resumed, or taken over once it is finished."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dkn.data.sample import Dataset
from dkn.errors import DataError
from dkn.evaluation import evaluate
from dkn.experiments.assessment import model_method
from dkn.training import TrainConfig, Trainer
from dkn.utils.arguments import limited
from dkn.utils.tables import write_json

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
    facts["count"] = limited(len(test), limit)
    if trainer.finished and (known := _read(out / RESULT)) and {key: known.get(key) for key in facts} == facts:
        return list(known["rmse"])
    method = {out.name: model_method(trainer.run(), device)}
    rmse = [evaluate(test, method, scale, limit=limit).results[0].rmse for scale in scales]
    write_json(out / RESULT, facts | {"rmse": rmse})
    return rmse


def write_table(out: Path, name: str, facts: dict[str, Any], table: str, config: TrainConfig) -> None:
    """`name`.json with these facts, and `name`.md: a table of `cell`s, with what was measured and at what budget."""
    steps = f"{config.steps} steps of {config.batch_size} crops of {config.crop}×{config.crop}"
    about = (
        f"{config.network.architecture.upper()}, {facts['dataset']}, {facts['count']} test images, RMSE in "
        f"{facts['unit']}. Each network was trained for {steps}. *In italics: the paper's figure, quoted; it trained "
        "for 40,000 steps on whole images.*"
    )
    write_json(out / f"{name}.json", facts)
    (out / f"{name}.md").write_text(f"{table}\n\n{about}\n")


def cell(rmse: float | None, quoted: float | None) -> str:
    """Ours, or that it is not there yet, and the paper's figure in italics beside it."""
    ours = "not yet" if rmse is None else f"{rmse:.3f}"
    return ours if quoted is None else f"{ours} *{quoted:.2f}*"


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(file.read_text())) if file.is_file() else None
    except ValueError:
        raise DataError(f"{file}: damaged; delete it to have that run evaluated again") from None
