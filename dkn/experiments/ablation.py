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

"""The paper's Table 4, trained and evaluated anew at a budget of one's own: `dkn ablate`.

Every variant is a run of its own in a folder of its own. What is there already is resumed, or taken over if it is
finished: the command may be cut off and started again at any time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dkn.data.sample import Dataset
from dkn.evaluation import Evaluation, bicubic, evaluate, paper
from dkn.experiments.runs import cell, trained, write_table
from dkn.networks.config import NetworkConfig
from dkn.training import TrainConfig
from dkn.utils.tables import markdown

KERNEL_SIZES = (3, 5, 7)

_SOURCE = {"rgb": "RGB", "depth": "depth", "both": "RGB + depth", "none": "regular grid"}


@dataclass(frozen=True)
class Variant:
    """One figure of the table: a network, and what came out."""

    network: NetworkConfig
    rmse: float | None = None
    """In the unit of the test set; None: not there yet."""
    steps: int = 0

    @property
    def name(self) -> str:
        """Folder of the run."""
        n = self.network
        residual = "residual" if n.residual else "direct"
        return f"{n.architecture}_k{n.kernel_size}_weights-{n.weights_from}_offsets-{n.offsets_from}_{residual}"

    @property
    def quoted(self) -> float | None:
        """The paper's figure."""
        n = self.network
        return paper.table_4(n.architecture, n.weights_from, n.offsets_from, n.residual, n.kernel_size)


def variants(base: NetworkConfig, kernel_sizes: Sequence[int] = KERNEL_SIZES) -> list[Variant]:
    """The rows of Table 4 as changes to `base`, for each kernel size; learned offsets up to 7×7, as in the paper."""
    found = []
    for weights, offsets, residual in paper.TABLE_4_ROWS:
        for size in kernel_sizes:
            if offsets != "none" and size >= base.window:
                continue  # no freedom is left for the offsets
            changes: dict[str, Any] = {"weights_from": weights, "offsets_from": offsets, "residual": residual}
            network = dataclasses.replace(base, kernel_size=size, window=max(base.window, size), **changes)
            found.append(Variant(network))
    return found


def run(
    train: Dataset,
    test: Dataset,
    config: TrainConfig,
    out: Path,
    kernel_sizes: Sequence[int] = KERNEL_SIZES,
    limit: int | None = None,
    device: str = "auto",
) -> list[Variant]:
    """Train every variant for `config.steps`, evaluate it on `test`, and write the table after each.

    Args:
        config: how each is trained; its network is what the variants are changes of.
        out: folder of the runs, `table4.json` and `table4.md`.
        limit: test images; default: all.

    Returns:
        The variants, all with their RMSE.

    Raises:
        ConfigError: a folder holds a run of another configuration.
    """
    table = variants(config.network, kernel_sizes)
    start = evaluate(test, {"bicubic": bicubic}, config.scales[0], limit=limit)
    for i, variant in enumerate(table):
        print(f"{i + 1} of {len(table)}: {variant.name}", flush=True)
        varied = dataclasses.replace(config, network=variant.network)
        (rmse,) = trained(varied, train, test, out / variant.name, config.scales, limit, device)
        table[i] = dataclasses.replace(variant, rmse=rmse, steps=config.steps)
        write(table, start, config, out)
    return table


def write(table: Sequence[Variant], start: Evaluation, config: TrainConfig, out: Path) -> None:
    """`table4.json` and `table4.md` in `out`; `start` is what bicubic interpolation reaches."""
    rows = [dataclasses.asdict(v.network) | {"rmse": v.rmse, "quoted_from_the_paper": v.quoted} for v in table]
    facts = {key: getattr(start, key) for key in ("dataset", "scale", "degradation", "unit", "count")}
    facts |= {"steps": config.steps, "bicubic": start.results[0].rmse, "results": rows}
    write_table(out, "table4", facts, to_markdown(table, start), config)


def to_markdown(table: Sequence[Variant], start: Evaluation) -> str:
    """Rows as in Table 4 after one of bicubic interpolation, kernel sizes across."""
    sizes = sorted({variant.network.kernel_size for variant in table})
    found: dict[tuple[str, str, str], dict[int, str]] = {}
    for variant in table:
        n = variant.network
        head = _SOURCE[n.weights_from], _SOURCE[n.offsets_from], "yes" if n.residual else "no"
        found.setdefault(head, {})[n.kernel_size] = cell(variant.rmse, variant.quoted)
    rows = [[*head, *(cells.get(size, "–") for size in sizes)] for head, cells in found.items()]
    bicubic = [f"bicubic interpolation, {start.scale}×", "", "", *[f"{start.results[0].rmse:.3f}"] * len(sizes)]
    heads = ["weights from", "offsets from", "residual", *(f"{k}×{k}" for k in sizes)]
    return markdown(heads, [bicubic, *rows], words=3)
