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

"""The tables of the paper's supplement, and the residual connection, at a budget of one's own: `dkn ablate --table`.

channels   Table 2: channels of the last two feature layers
scales     Table 3: trained at one scale, tested at the others
sizes      Table 4: few training images
residual   eq. (3) against eq. (7): rows of the paper's Table 2

As in `ablation.py`, each network has a folder of its own; what is finished is taken over, what was cut off goes on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dkn.data.sample import Dataset, Subset
from dkn.errors import ConfigError
from dkn.evaluation import bicubic, evaluate, paper
from dkn.experiments.runs import cell, trained, write_table
from dkn.networks.dkn import build
from dkn.training import TrainConfig
from dkn.utils.arguments import limited, spread
from dkn.utils.tables import markdown

SIZES = (10, 100, 1000)


@dataclass(frozen=True)
class Run:
    """One network of a table."""

    name: str
    """Folder of the run, and head of its row."""
    config: TrainConfig
    scales: tuple[int, ...]
    """At which it is tested."""
    quoted: tuple[float | None, ...]
    """The paper's figures for these."""
    images: int | None = None
    """Training images, evenly spread over the set; None: all."""
    rmse: tuple[float, ...] = ()
    """In the unit of the test set, one for each scale; empty: not there yet."""

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in build(self.config.network).parameters())


def fewer(whole: Dataset, count: int) -> Dataset:
    """So many samples of a set, evenly spread.

    Raises:
        ConfigError: fewer than one, or more than there are.
    """
    if not 1 <= count <= len(whole):
        raise ConfigError(f"{count} training images: {whole.name} has 1 to {len(whole)}")
    return Subset(whole, spread(len(whole), count))


def channels(config: TrainConfig, sizes: Sequence[int] = SIZES) -> list[Run]:
    runs = []
    for (n1, n2), (rmse, *_) in paper.SUPPLEMENT_TABLE_2.items():
        network = dataclasses.replace(config.network, n1=n1, n2=n2)
        quoted = rmse[config.network.architecture == "fdkn"] if config.scale == 8 else None
        changed = dataclasses.replace(config, network=network)
        runs.append(Run(f"channels_{n1}_{n2}", changed, config.scales, (quoted,)))
    return runs


def scales(config: TrainConfig, sizes: Sequence[int] = SIZES) -> list[Run]:
    """The paper's figures are DKN's; for FDKN it has those on the diagonal only, in its Table 2."""
    runs = []
    for train in paper.SCALES:
        quoted = tuple(_quoted_scales(config, train, test) for test in paper.SCALES)
        runs.append(Run(f"trained_at_{train}x", dataclasses.replace(config, scale=train), paper.SCALES, quoted))
    return runs


def _quoted_scales(config: TrainConfig, train: int, test: int) -> float | None:
    if config.network.architecture == "dkn":
        return paper.SUPPLEMENT_TABLE_3[train, test][0]
    return _table_2("FDKN", test) if train == test else None


def sizes(config: TrainConfig, sizes: Sequence[int] = SIZES) -> list[Run]:
    row = paper.SUPPLEMENT_TABLE_4["nyu", config.network.architecture.upper()]
    figures = dict(zip(paper.TRAINING_SIZES, row, strict=True)) if config.scale == 8 else {}
    return [Run(f"images_{n}", config, config.scales, (figures.get(n),), n) for n in sizes]


def residual(config: TrainConfig, sizes: Sequence[int] = SIZES) -> list[Run]:
    runs = []
    for name, with_residual in (("residual", True), ("direct", False)):
        network = dataclasses.replace(config.network, residual=with_residual)
        row = config.network.architecture.upper() + ("" if with_residual else " w/o Res.")
        changed = dataclasses.replace(config, network=network)
        runs.append(Run(name, changed, config.scales, tuple(_table_2(row, scale) for scale in config.scales)))
    return runs


def _table_2(row: str, scale: int) -> float | None:
    return next((q.rmse for q in paper.table_2("nyu", scale) if q.method == row), None)


TABLES = {"channels": channels, "scales": scales, "sizes": sizes, "residual": residual}


def run(
    table: str,
    train: Dataset,
    test: Dataset,
    config: TrainConfig,
    out: Path,
    sizes: Sequence[int] = SIZES,
    limit: int | None = None,
    device: str = "auto",
) -> list[Run]:
    """Train every network of a table for `config.steps`, evaluate it, and write the table after each.

    Args:
        table: one of `TABLES`.
        config: how each is trained, but for what the table varies.
        out: folder of the runs, and of `TABLE.json` and `TABLE.md`.
        sizes: numbers of training images, of the table that varies them.
        limit: test images; default: all.

    Raises:
        ConfigError: a folder holds a run of another configuration, or there are not so many training images.
    """
    runs = TABLES[table](config, sizes)
    count = limited(len(test), limit)
    start = [evaluate(test, {"bicubic": bicubic}, scale, limit=limit).results[0].rmse for scale in runs[0].scales]
    facts = {"table": table, "dataset": test.name, "unit": test.unit, "count": count, "steps": config.steps}
    facts["bicubic"] = start
    for i, one in enumerate(runs):
        print(f"{i + 1} of {len(runs)}: {one.name}", flush=True)
        part = train if one.images is None else fewer(train, one.images)
        rmse = trained(one.config, part, test, out / one.name, one.scales, limit, device)
        runs[i] = dataclasses.replace(one, rmse=tuple(rmse))
        rows = [
            {"name": r.name, "scales": r.scales, "rmse": r.rmse, "quoted_from_the_paper": r.quoted, "images": r.images}
            | {"parameters": r.parameters, "residual": r.config.network.residual}
            for r in runs
        ]
        write_table(out, table, facts | {"results": rows}, to_markdown(runs, start), config)
    return runs


def to_markdown(runs: Sequence[Run], start: Sequence[float]) -> str:
    """A row for bicubic interpolation, with its RMSE at each scale of the test, and one for each network."""
    rows = [["bicubic interpolation", "", *(f"{rmse:.3f}" for rmse in start)]]
    for one in runs:
        found = one.rmse or (None,) * len(one.scales)
        cells = [cell(*pair) for pair in zip(found, one.quoted, strict=True)]
        rows.append([one.name.replace("_", " "), f"{one.parameters / 1e6:.2f} M", *cells])
    return markdown(["network", "parameters", *(f"tested at {scale}×" for scale in runs[0].scales)], rows)
