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

"""`dkn saliency`: upsampling of saliency maps, judged by the weighted F-measure."""

from __future__ import annotations

import argparse
from pathlib import Path

from dkn.evaluation import paper
from dkn.experiments.saliency import Omron, Synthetic, evaluate, methods, picture, table
from dkn.utils.arguments import limited
from dkn.utils.image_io import write_image
from dkn.utils.tables import write_json


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder in DUT-OMRON's layout; default: scenes rendered for this")
    parser.add_argument("--model", action="append", default=[], help="model file, short name or family; repeatable")
    parser.add_argument("--scale", type=int, default=8)
    parser.add_argument("--limit", type=int, help="the first N pictures only")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write the table here too")
    parser.add_argument("--figure", type=Path, help="picture (.png) of the first case")


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    cases = Omron(options.data) if options.data else Synthetic()
    name = "DUT-OMRON" if options.data else "synthetic"
    upsamplers = methods(options.model or ["fdkn"], options.device)
    count = limited(len(cases), options.limit)
    scores = evaluate(cases, upsamplers, options.scale, options.limit)
    print(table(scores, name, options.scale, count))
    if options.json:
        facts = {"dataset": name, "scale": options.scale, "count": count, "weighted_f_measure": scores}
        write_json(options.json, facts | {"quoted_from_the_paper": paper.SALIENCY})
    if options.figure:
        write_image(options.figure, picture(next(iter(cases)), upsamplers, options.scale))
