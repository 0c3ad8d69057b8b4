"""`dkn train`: a recipe, whatever of it shall be otherwise, and a folder for the run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import torch

from dkn.arguments import add_data_options
from dkn.data.registry import DATASETS, HALVED, TEST_ONLY, open_dataset
from dkn.data.rooms import Rooms
from dkn.data.sample import Dataset
from dkn.degradation import DEGRADATIONS
from dkn.errors import ConfigError, DataError
from dkn.networks import NetworkConfig
from dkn.training.assessment import assess
from dkn.training.board import Board
from dkn.training.config import ANY_SCALE, RECIPES, SENSOR_NETWORK, TrainConfig, recipe
from dkn.training.processes import Processes, join
from dkn.training.trainer import Trainer

ANY = "any"
NETWORK_OPTIONS = ("kernel_size", "window", "guidance", "depth_channels", "weights_from", "offsets_from", "n1", "n2")
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
    "flips",
    "color_jitter",
    "mix_synthetic",
    "phases",
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
    "loss": "l1: the paper's; rmse: of each crop",
    "flips": "random mirror images",
    "color_jitter": "strength, 0 to 1, of random changes of colour",
    "mix_synthetic": "share of the crops, 0 to 1, from rendered rooms",
    "phases": "DKN: at how many of 16 phases a crop is judged",
    "bf16": "convolutions in bfloat16",
    "depth_channels": "4: the network is told what was measured, the scale, and points or averages",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Everything that `dkn train` takes."""
    add_data_options(parser, [name for name in DATASETS if name not in TEST_ONLY])
    parser.add_argument("--synthetic-data", type=Path, help="folder of the rendered rooms; default: rooms in --out")
    parser.add_argument("--model", choices=["fdkn", "dkn"], default="fdkn", help="architecture")
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
    parser.add_argument("--init", type=Path, help="model file whose weights to begin with")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    parser.add_argument("--tensorboard", action="store_true", help="curves and pictures in --out/tensorboard")
    parser.add_argument("--test-every", type=int, default=1000, help="steps between tests for --tensorboard")
    parser.add_argument(
        "--recipe",
        choices=get_args(RECIPES),
        default="best",
        help="what everything below is unless given; paper: section 4.1, to the letter",
    )
    _add_fields(parser, TrainConfig, RECIPE_OPTIONS)
    parser.add_argument("--fp32", dest="bf16", action="store_false", default=argparse.SUPPRESS, help="= --no-bf16")
    _add_fields(parser, NetworkConfig, NETWORK_OPTIONS)
    parser.add_argument("--no-residual", action="store_true", help="eq. (7) in place of eq. (3)")


def run(options: argparse.Namespace) -> None:
    """Train, and evaluate what comes out if the run is finished and the set has a half to test on."""
    if options.threads:
        torch.set_num_threads(options.threads)
    config = _config(options)
    processes = join(options.device)
    trainer = Trainer(
        _open(options, "train", processes),
        config,
        options.out,
        resume=options.resume,
        init=options.init,
        rooms=_rooms(options, processes) if config.mix_synthetic else None,
        processes=processes,
    )
    test = _open_test(options) if processes.first else None
    board = Board(trainer, test, options.test_every) if options.tensorboard and processes.first else None
    path = trainer.run(board=board)
    if board is not None:
        board.close()
    if not processes.first:
        return
    if trainer.finished and test is not None:
        tables = assess(path, test, config, str(trainer.device))
        for table in tables:
            print(table.table())
        found = {f"{t.scale}x {t.degradation}": round(t.results[1].rmse, 4) for t in tables}
        trainer.save(test_images=tables[0].count, test_rmse_cm=found if len(found) > 1 else next(iter(found.values())))
    print(path)


def _config(options: argparse.Namespace) -> TrainConfig:
    sensor = options.degradation == "sensor"
    given = vars(options)
    choices: dict[str, Any] = dict(SENSOR_NETWORK) if sensor else {}
    choices |= {name: given[name] for name in NETWORK_OPTIONS if name in given}
    network = NetworkConfig(options.model, residual=not options.no_residual, **choices)
    changes = {name: given[name] for name in RECIPE_OPTIONS if name in given}
    scale = _scale(options.scale or ([ANY] if sensor else ["8"]))
    return recipe(options.recipe, network, scale, degradation=options.degradation, **changes)


def _scale(texts: Sequence[str]) -> int | tuple[int, ...]:
    if list(texts) == [ANY]:
        return ANY_SCALE
    try:
        scales = tuple(sorted({int(text) for text in texts}))
    except ValueError:
        raise ConfigError(f"scale={' '.join(texts)}: whole numbers are needed, or {ANY}") from None
    return scales if len(scales) > 1 else scales[0]


def _open(options: argparse.Namespace, split: Literal["train", "test"], processes: Processes) -> Dataset:
    with processes.first_alone():  # it may write a cache
        return open_dataset(options.dataset, options.data, split, options.unit, options.depth_folder)


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


def _add_fields(parser: argparse.ArgumentParser, config: type, names: Sequence[str]) -> None:
    """An option for each of these fields of a config dataclass. Those not given are absent: a recipe decides."""
    hints = get_type_hints(config)
    for name in names:
        option, about = f"--{name.replace('_', '-')}", _HELP.get(name)
        if hints[name] is bool:
            parser.add_argument(option, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=about)
            continue
        choices = get_args(hints[name])  # the config refuses others, in its own words
        kind, metavar = (type(choices[0]), f"{{{','.join(map(str, choices))}}}") if choices else (hints[name], None)
        parser.add_argument(option, type=kind, metavar=metavar, default=argparse.SUPPRESS, help=about)
