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

"""`dkn gallery`: restoration and removal of texture on rendered pictures, before and after."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from dkn.experiments.gallery import examples, results, rmse_levels, row, table
from dkn.filter import TASKS
from dkn.utils.arguments import at_least_one
from dkn.utils.image_io import write_image


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default=TASKS["denoise"].model, help="model file or short name")
    parser.add_argument("--out", type=Path, required=True, help="picture (.png): a row for each use")
    parser.add_argument("--scenes", type=int, default=6, help="so many of each kind; the first is drawn")
    parser.add_argument("--seed", type=int, default=4, help="of the first scenes; the others' follow it")
    parser.add_argument("--device", default="auto")


def run(options: argparse.Namespace) -> None:
    """Draw the picture, and print the errors.

    Raises:
        ConfigError: no scenes.
    """
    at_least_one(scenes=options.scenes)
    errors: dict[str, list[list[float]]] = {}
    rows = []
    for seed in range(options.seed, options.seed + options.scenes):
        for example in examples(seed):
            found = {"before": example.target} | results(example, options.model, options.device)
            errors.setdefault(example.name, []).append([rmse_levels(p, example.truth) for p in found.values()])
            if seed == options.seed:
                rows.append(row(example, found, errors[example.name][0]))
    write_image(options.out, np.concatenate(rows))
    print(table(errors))
