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

"""`dkn confidence`: how far confidence can be relied on, and its coefficients fitted anew."""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np

from dkn.cli.options import add_model_options
from dkn.data.registry import named, open_dataset
from dkn.experiments import confidence as experiment
from dkn.upsampler import Upsampler
from dkn.utils.arguments import spread
from dkn.utils.tables import markdown


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", action="append", required=True, metavar="NAME=PATH", help="docs/data.md")
    parser.add_argument("--scale", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--degradation", nargs="+", default=["nearest", "holes"], help="how depth is reduced")
    parser.add_argument("--limit", type=int, default=20, help="images of each set, evenly spread")
    parser.add_argument("--fit", action="store_true", help="print coefficients fitted on the training half instead")
    add_model_options(parser, precision="auto")


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    sets = [named(text) for text in options.data]
    model = Upsampler(
        options.model, device=options.device, engine=options.engine, precision=options.precision, fill_holes=True
    )
    if options.fit:
        name, path = sets[0]
        train = open_dataset(name, path, "without_validation")
        images = spread(len(train), options.limit)
        found = experiment.fit(train, model, options.scale, images)
        print(np.array2string(found, separator=", ", max_line_width=110))
        return
    head = ["", "calibration", "AUSE", "by slope", "flying: bicubic, %", "ours, %"]
    head += [f"left at {t:g}, %; flying, %" for t in experiment.THRESHOLDS]
    rows = []
    for (name, path), scale, kind in product(sets, options.scale, options.degradation):
        dataset = open_dataset(name, path, "test")
        images = spread(len(dataset), options.limit)
        j = experiment.judge(experiment.cases(dataset, model, scale, kind, images))
        figures = [f"{j.calibration:.3f}", f"{j.ause:.4f}", f"{j.ause_slope:.4f}"]
        figures += [f"{100 * j.flying_bicubic:.3f}", f"{100 * j.flying:.3f}"]
        figures += [f"{100 * left:.1f}; {100 * flying:.3f}" for left, flying in j.left.values()]
        rows.append([f"{path.name} {scale}× {kind}", *figures])
        print(rows[-1], flush=True)
    print(markdown(head, rows))
