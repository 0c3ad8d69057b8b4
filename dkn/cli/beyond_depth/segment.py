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

"""`dkn segment`: what the layer brings a small network, beside bilinear upsampling and the guided filter."""

from __future__ import annotations

import argparse
from pathlib import Path

from dkn.evaluation import paper
from dkn.experiments.segmentation import compare, picture, table
from dkn.utils.image_io import write_image
from dkn.utils.tables import write_json


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=6000, help="of each half of the training; so many scenes, too")
    parser.add_argument("--scenes", choices=["painted", "flat"], default="painted", help="flat: things of one colour")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the table here too")
    parser.add_argument("--figure", type=Path, help="picture (.png) of scenes, truth and methods")


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    rows, methods, unseen = compare(options.steps, seed=options.seed, painted=options.scenes == "painted")
    print(table(rows, options.scenes, options.steps, len(unseen)))
    if options.json:
        facts = {"scenes": options.scenes, "steps": options.steps, "count": len(unseen)}
        facts["results"] = [row._asdict() for row in rows]
        write_json(options.json, facts | {"quoted_from_the_paper": paper.SEGMENTATION})
    if options.figure:
        write_image(options.figure, picture(methods, unseen[:3]))
