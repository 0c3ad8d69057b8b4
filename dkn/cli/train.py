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

"""`dkn train`: a recipe, whatever of it shall be otherwise, and a folder for the run."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

from dkn import checkpoint
from dkn.cli.options import add_data_options, add_fields, given, open_half, sensible_count, set_threads
from dkn.data.nyu import TRAINING_IMAGES
from dkn.data.registry import FIRST_VALIDATION_PAIR, HALVED, TRAINABLE, Split, open_dataset
from dkn.data.sample import Dataset
from dkn.data.synthetic import Rooms
from dkn.depth.degradation import DEGRADATIONS
from dkn.errors import ConfigError, DataError
from dkn.experiments.assessment import assess, first_rmse
from dkn.networks.config import NetworkConfig
from dkn.training.config import ANY_SCALE, RECIPES, SENSOR_NETWORK, TrainConfig, recipe
from dkn.training.distributed import Processes, join
from dkn.training.mixture import Mixture, Part, inputs_of
from dkn.training.tensorboard import Board
from dkn.training.trainer import CELLS, Trainer

ANY = "any"
NETWORK_OPTIONS = (
    "kernel_size",
    "window",
    "guidance",
    "depth_channels",
    "weights_from",
    "offsets_from",
    "n1",
    "n2",
    "widths",
)
RECIPE_OPTIONS = (
    "steps",
    "minutes",
    "batch_size",
    "crop",
    "learning_rate",
    "optimiser",
    "schedule",
    "warmup_steps",
    "ema_decay",
    "loss",
    "aligned",
    "flips",
    "color_jitter",
    "mix_synthetic",
    "phases",
    "freeze_first_norms",
    "bf16",
    "seed",
)
_HELP = {
    "steps": "length of the schedule",
    "minutes": "with --steps: stop after; alone: the length",
    "batch_size": "crops a step, over all processes",
    "crop": "pixels along a side; 0: whole pictures",
    "schedule": "of the learning rate; steps: divided by 5 after each quarter",
    "ema_decay": "of the moving average of the weights; 0: none",
    "loss": "l1: the paper's; rmse: of each crop; rmse+l1: the mean of both",
    "aligned": "crops begin on the low-resolution grid",
    "flips": "random mirror images",
    "color_jitter": "strength, 0 to 1, of random changes of colour",
    "mix_synthetic": "share of the crops, 0 to 1, from rendered rooms",
    "phases": "DKN: at how many of 16 phases a crop is judged",
    "freeze_first_norms": "DKN: batch norm of the first four convolutions stays as it is; yes after a warm start",
    "bf16": "convolutions in bfloat16",
    "widths": "channels of the layers before the last two; default: those of the paper",
    "depth_channels": "4: depth, validity, scale, and whether it consists of points or means",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Everything that `dkn train` takes."""
    add_data_options(parser, TRAINABLE)
    parser.add_argument(
        "--mix",
        action="append",
        default=[],
        metavar="NAME=PATH:SHARE",
        help="draw this share of the crops, 0 to 1, from another data set, e.g. recording=FOLDER:0.5; may be repeated",
    )
    parser.add_argument(
        "--hold-out", action="store_true", help="nyu: leave out pairs 900 to 999 (dkn evaluate --split validation)"
    )
    parser.add_argument("--terms", default="", help="what the licences of the data allow; the model's file will say it")
    parser.add_argument("--synthetic-data", type=Path, help="folder of the rendered rooms; default: rooms in --out")
    parser.add_argument(
        "--model",
        choices=["fdkn", "dkn", "cells"],
        default="fdkn",
        help="architecture; cells: what a DKN can begin with, with --widths of five layers a whole one",
    )
    parser.add_argument(
        "--scale",
        nargs="+",
        metavar="N",
        help="8 unless given; several, or any (1 2 4 8 16): each crop draws one; any is the default of sensor",
    )
    parser.add_argument(
        "--degradation",
        choices=DEGRADATIONS,
        default="bicubic",
        help="how low-resolution depth is made; sensor: a mixture, for a model that serves real sensors at every ratio",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--init", type=Path, help="model file whose weights to begin with; an FDKN may be wider")
    parser.add_argument(
        "--warm-start",
        nargs="+",
        type=int,
        metavar="STEPS",
        default=[],
        help="DKN: first so many steps of its last layers on 4×4 cells, in --out/cells; then, with a second number, so "
        "many of all layers on them, in --out/all_layers; with --init: from there",
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    parser.add_argument(
        "--workers", type=int, help="processes that draw crops ahead of time; default: 0, on CUDA all cores but one"
    )
    parser.add_argument("--tensorboard", action="store_true", help="curves and pictures in --out/tensorboard")
    parser.add_argument("--no-test", action="store_true", help="leave out the test at the end")
    parser.add_argument("--test-every", type=int, default=1000, help="steps between tests for --tensorboard")
    parser.add_argument(
        "--recipe",
        choices=get_args(RECIPES),
        default="best",
        help="what everything below is unless given; paper: section 4.1, to the letter",
    )
    add_fields(parser, TrainConfig, RECIPE_OPTIONS, _HELP)
    parser.add_argument("--fp32", dest="bf16", action="store_false", default=argparse.SUPPRESS, help="= --no-bf16")
    add_fields(parser, NetworkConfig, NETWORK_OPTIONS, _HELP)
    parser.add_argument("--no-residual", action="store_true", help="eq. (7) in place of eq. (3)")


def run(options: argparse.Namespace) -> None:
    """Train, and evaluate what comes out if the run is finished and the set has a half to test on."""
    set_threads(options.threads)
    config = _config(options)
    processes = join(options.device)
    workers = _workers(options.workers, processes)
    make = partial(
        Trainer,
        _open_train(options, processes),
        resume=options.resume,
        rooms=_rooms(options, processes) if config.mix_synthetic else None,
        workers=workers,
        card=_card(options),
        processes=processes,
    )
    init = options.init
    for name, on_cells in _warm_start(config, options.warm_start):
        before = make(on_cells, options.out / name, init=init)
        before.run()
        if not before.finished:
            return
        init = before.out / CELLS
        with processes.first_alone():  # the others wait for its file
            del before  # and what it holds on the device
    trainer = make(config, options.out, init=init)
    test = _open_test(options) if processes.first else None
    if options.tensorboard and processes.first:
        judge = None
        if test is not None:
            judge = partial(first_rmse, test=test, config=config, device=str(trainer.device))
        with Board(trainer, judge, options.test_every) as board:
            path = trainer.run(after_step=board.after_step)
    else:
        path = trainer.run()
    if not processes.first:
        return
    if trainer.finished and test is not None and not options.no_test:
        tables = assess(path, test, config, str(trainer.device))
        for table in tables:
            print(table.table())
        found = {f"{t.scale}x {t.degradation}": round(t.results[1].rmse, 4) for t in tables}
        trainer.save(test_images=tables[0].count, test_rmse_cm=found if len(found) > 1 else next(iter(found.values())))
    print(path)


def _card(options: argparse.Namespace) -> dict[str, str]:
    held_out = f"pairs {FIRST_VALIDATION_PAIR} to {TRAINING_IMAGES - 1} of NYU v2" if options.hold_out else ""
    return {name: text for name, text in (("terms", options.terms), ("held_out", held_out)) if text}


def _config(options: argparse.Namespace) -> TrainConfig:
    sensor = options.degradation == "sensor"
    choices: dict[str, Any] = dict(SENSOR_NETWORK) if sensor else {}
    choices |= given(options, NETWORK_OPTIONS)
    network = NetworkConfig(options.model, residual=not options.no_residual, **choices)
    changes = given(options, RECIPE_OPTIONS)
    changes["mix"] = tuple((name, share) for name, _, share in map(_mixed, options.mix))
    scale = _scale(options.scale or ([ANY] if sensor else ["8"]))
    if network.cell == 1 and (options.warm_start or (options.init and _is_on_cells(options.init))):
        changes.setdefault("freeze_first_norms", True)
    return recipe(options.recipe, network, scale, degradation=options.degradation, **changes)


def _is_on_cells(init: Path) -> bool:
    return checkpoint.read(init, to_train=True)[1].network.architecture == "cells"


def _warm_start(config: TrainConfig, steps: Sequence[int]) -> Iterator[tuple[str, TrainConfig]]:
    """How a DKN is trained before it is one: the folder and the run of each round. Everything else is the same."""
    if steps and (config.network.architecture != "dkn" or len(steps) > 2 or min(steps) < 0):
        raise ConfigError(f"--warm-start {' '.join(map(str, steps))}: one or two numbers of steps before --model dkn")
    widths = config.network.channels[:-2]
    for name, layers, count in zip(("cells", "all_layers"), (widths[-1:], widths), steps, strict=False):
        if count:
            network = dataclasses.replace(config.network, architecture="cells", widths=layers)
            frozen = config.freeze_first_norms and network.cell == 1
            changes: dict[str, Any] = {"phases": 16, "aligned": False, "freeze_first_norms": frozen}
            yield name, dataclasses.replace(config, network=network, steps=count, **changes)


def _scale(texts: Sequence[str]) -> int | tuple[int, ...]:
    if list(texts) == [ANY]:
        return ANY_SCALE
    try:
        scales = tuple(sorted({int(text) for text in texts}))
    except ValueError:
        raise ConfigError(f"scale={' '.join(texts)}: whole numbers are needed, or {ANY}") from None
    return scales if len(scales) > 1 else scales[0]


def _open_train(options: argparse.Namespace, processes: Processes) -> Dataset:
    split: Split = "without_validation" if options.hold_out else "train"
    with processes.first_alone():  # it may write a cache
        main = open_half(options, split)
        others = [
            Part(dataset, share, inputs_of(dataset, beside_another=True))
            for name, path, share in map(_mixed, options.mix)
            for dataset in [open_dataset(name, path, "train")]
        ]
    if not others:
        return main
    return Mixture([Part(main, 1 - sum(part.share for part in others), inputs_of(main)), *others])


def _mixed(text: str) -> tuple[str, Path, float]:
    """Name, path and share of an argument such as recording=FOLDER:0.5."""
    name, equals, rest = text.partition("=")
    path, colon, share = rest.rpartition(":")
    try:
        return name, Path(path), float(share if equals and colon and path else "")
    except ValueError:
        raise ConfigError(f"--mix {text}: write NAME=PATH:SHARE, e.g. recording=FOLDER:0.5") from None


def _workers(wanted: int | None, processes: Processes) -> int:
    if wanted is None:
        return max(len(os.sched_getaffinity(0)) // processes.count - 1, 0) if processes.device.type == "cuda" else 0
    return sensible_count("workers", wanted)


def _open_test(options: argparse.Namespace) -> Dataset | None:
    if options.dataset not in HALVED:
        return None
    try:
        return open_dataset(options.dataset, options.data, "test")
    except DataError as error:
        print(f"will not be evaluated: {error}")
        return None


def _rooms(options: argparse.Namespace, processes: Processes) -> Dataset:
    with processes.first_alone():
        return Rooms(options.synthetic_data or options.out / "rooms", "train")
