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

"""`dkn average`: one model of several rounds of its training, by the mean of their weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from dkn.training.averaging import average


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="model files, oldest first")
    parser.add_argument("--shares", nargs="+", type=float, metavar="S", help="of each in the mean; default: equal ones")
    parser.add_argument("--out", type=Path, required=True, help="model file to write")


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    print(average(options.models, options.out, options.shares))
