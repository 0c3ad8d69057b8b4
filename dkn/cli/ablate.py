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

"""`dkn ablate`: train and evaluate the networks of the paper's Table 4, or of the supplement; resumes itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from dkn.cli.options import add_data_options, add_fields, given, open_half, set_threads
from dkn.data.registry import HALVED
from dkn.experiments import ablation, supplement
from dkn.networks.config import NetworkConfig
from dkn.training import OPTIMISERS, TrainConfig

TRAINING_OPTIONS = ("batch_size", "crop", "learning_rate", "seed")
NETWORK_OPTIONS = ("n1", "n2")


def add_options(parser: argparse.ArgumentParser) -> None:
    add_data_options(parser, HALVED)
    parser.add_argument(
        "--table", choices=["4", *supplement.TABLES], default="4", help="the paper's 4, or by what varies"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=list(supplement.SIZES), help="of --table sizes")
    parser.add_argument("--model", choices=["fdkn", "dkn"], default="fdkn", help="architecture")
    parser.add_argument("--scale", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of the table (.md, .json)")
    parser.add_argument("--steps", type=int, required=True, help="budget of each variant")
    parser.add_argument("--kernel-sizes", type=int, nargs="+", default=list(ablation.KERNEL_SIZES))
    parser.add_argument("--limit", type=int, help="evaluate on the first N test images only")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    add_fields(parser, TrainConfig, TRAINING_OPTIONS)
    add_fields(parser, NetworkConfig, NETWORK_OPTIONS)
    parser.add_argument(
        "--optimiser", choices=get_args(OPTIMISERS), default="adam", help="adam: the paper's; muon: more for few steps"
    )
    parser.add_argument("--fp32", action="store_true", help="convolutions in float32, not bfloat16")


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    set_threads(options.threads)
    network = NetworkConfig(options.model, **given(options, NETWORK_OPTIONS))
    config = TrainConfig(
        network,
        options.scale,
        steps=options.steps,
        optimiser=options.optimiser,
        loss="l1",
        phases=1 if options.model == "dkn" else 16,
        bf16=not options.fp32,
        **given(options, TRAINING_OPTIONS),
    )
    train, test = open_half(options, "train"), open_half(options, "test")
    if options.table == "4":
        ablation.run(train, test, config, options.out, options.kernel_sizes, options.limit, options.device)
        print((options.out / "table4.md").read_text())
    else:
        supplement.run(options.table, train, test, config, options.out, options.sizes, options.limit, options.device)
        print((options.out / f"{options.table}.md").read_text())
