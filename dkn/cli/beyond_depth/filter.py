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

"""`dkn filter`: one picture through a network, guided by another or by itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from dkn.errors import ConfigError
from dkn.filter import TASKS, TILE, Filter
from dkn.utils.image_io import check_writable, read_picture, write_picture


def add_options(parser: argparse.ArgumentParser) -> None:
    about = "; ".join(f"{name}: {task.about}" for name, task in TASKS.items())
    parser.add_argument("--task", choices=TASKS, required=True, help=about)
    parser.add_argument("--target", type=Path, required=True, help="picture to filter, or .npy of (H, W, C)")
    parser.add_argument("--guidance", type=Path, help="picture that guides; texture: none, it is the target itself")
    parser.add_argument("--out", type=Path, required=True, help=".png or .npy, of the target's type")
    parser.add_argument("--model", help="model file, short name or family; default: the task's")
    parser.add_argument("--iterations", type=int, help="default: 4 for texture, else 1")
    parser.add_argument("--tile", type=int, default=TILE, help="edge of the tiles in pixels; less takes less memory")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    task = TASKS[options.task]
    if task.guided and options.guidance is None:
        raise ConfigError(f"--task {options.task} needs a --guidance")
    if not task.guided and options.guidance is not None:
        raise ConfigError(f"--task {options.task} guides itself; leave --guidance out")
    target = read_picture(options.target)
    guidance = None if options.guidance is None else read_picture(options.guidance)
    check_writable(options.out, target)
    smooth = Filter(
        options.model or task.model,
        iterations=task.iterations if options.iterations is None else options.iterations,
        tile=options.tile,
        device=options.device,
        progress=True,
    )
    write_picture(options.out, smooth(target, guidance))
