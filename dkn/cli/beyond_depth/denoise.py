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

"""`dkn denoise`: train a network on noisy depth, and its RMSE beside the guided filter's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from dkn.data.registry import HALVED, open_dataset
from dkn.errors import ConfigError
from dkn.evaluation import paper
from dkn.experiments.denoising import evaluate, methods, table, tune
from dkn.experiments.noise import STEPS, draw_noisy_batch, recipe
from dkn.networks.config import NetworkConfig
from dkn.training import LOSSES, Trainer
from dkn.utils.arguments import spread
from dkn.utils.tables import write_json


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", choices=["train", "evaluate", "tune"], help="tune: the guided filter, on train images"
    )
    parser.add_argument("--dataset", choices=HALVED, default="nyu")
    parser.add_argument("--data", type=Path, required=True, help="its file or folder (docs/data.md)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="train: folder of the run; the same command resumes it")
    parser.add_argument("--architecture", choices=["fdkn", "dkn"], default="fdkn", help="train")
    parser.add_argument("--steps", type=int, default=STEPS, help="train: length of the schedule")
    parser.add_argument("--batch-size", type=int, default=4, help="train")
    parser.add_argument("--crop", type=int, default=96, help="train")
    parser.add_argument("--loss", choices=get_args(LOSSES), default="l1", help="train; l1: the paper's")
    parser.add_argument("--seed", type=int, default=0, help="train")
    parser.add_argument("--init", type=Path, help="train: model file whose weights to begin with")
    parser.add_argument("--model", action="append", default=[], help="evaluate: model file or short name; repeatable")
    parser.add_argument("--limit", type=int, help="evaluate, tune: so many images, evenly spread")
    parser.add_argument("--json", type=Path, help="evaluate: write the table here too")


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    dataset = open_dataset(options.dataset, options.data, "test" if options.action == "evaluate" else "train")
    images = spread(len(dataset), options.limit)
    if options.action == "train":
        if options.out is None:
            raise ConfigError("dkn denoise train needs an --out")
        network = NetworkConfig(options.architecture, residual=False)
        changes = {name: getattr(options, name) for name in ("batch_size", "crop", "loss", "seed")}
        config = recipe(network, options.steps, **changes)
        how: dict[str, Any] = {"device": options.device, "resume": True, "init": options.init}
        print(Trainer(dataset, config, options.out, draw=draw_noisy_batch, **how).run())
    elif options.action == "tune":
        for error, parameters in tune(dataset, images):
            print(f"{error:7.3f}  " + ", ".join(f"{name} {value:g}" for name, value in parameters.items()))
    else:
        rows = evaluate(dataset, methods(options.model, options.device), images)
        print(table(rows, dataset.name, len(images)))
        if options.json:
            facts = {"dataset": dataset.name, "count": len(images), "results": [vars(row) for row in rows]}
            write_json(options.json, facts | {"quoted_from_the_paper": paper.NOISE})
