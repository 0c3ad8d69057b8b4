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

"""Options that several commands take."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_origin, get_type_hints

import torch

from dkn.checkpoint import DEFAULT_MODEL
from dkn.data.registry import Split, open_dataset
from dkn.data.sample import Dataset
from dkn.engines import ENGINES, PRECISIONS
from dkn.errors import ConfigError


def add_data_options(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Which data set, and where it lies."""
    parser.add_argument("--dataset", choices=names, default="nyu")
    parser.add_argument(
        "--data", type=Path, required=True, help="its file or folder (docs/data.md); synthetic: a folder to keep it in"
    )
    parser.add_argument("--unit", type=float, help="folder: metres a count; default 0.001 for 16 bits, 1 for floats")
    parser.add_argument("--depth-folder", help="folder: which sub-folder holds the depth, where there are several")


def open_half(options: argparse.Namespace, split: Split) -> Dataset:
    """The data set that `add_data_options` asked for."""
    return open_dataset(options.dataset, options.data, split, options.unit, options.depth_folder)


def add_model_options(parser: argparse.ArgumentParser, precision: str, many: bool = False) -> None:
    """Which model, where it runs, on which engine, and how precisely."""
    text = "model file, short name (fdkn_x8) or family (fdkn, dkn: the one for the scale at hand)"
    if many:
        parser.add_argument("--model", action="append", default=[], help=text + "; may be repeated")
    else:
        parser.add_argument("--model", default=DEFAULT_MODEL, help=text + " [%(default)s]")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--engine", default="auto", choices=["auto", *ENGINES], help="what runs the network")
    parser.add_argument("--precision", default=precision, choices=["auto", *PRECISIONS])


def add_ensemble_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ensemble", action="store_true", help="mean over four mirror images: a little better, four times the work"
    )


def add_align_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--align-color",
        action=argparse.BooleanOptionalAction,
        help="move colour onto depth's edges where it stands beside them; default: with models for real sensors",
    )


def add_fields(
    parser: argparse.ArgumentParser, config: type, names: Sequence[str], about: Mapping[str, str] = MappingProxyType({})
) -> None:
    """An option for each of these fields of a config dataclass. Those not given are absent from what is parsed.

    Args:
        about: help by field.
    """
    hints = get_type_hints(config)
    for name in names:
        option, text, hint = f"--{name.replace('_', '-')}", about.get(name), hints[name]
        if hint is bool:
            parser.add_argument(option, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
            continue
        if get_origin(hint) is tuple:
            kind, _ = get_args(hint)
            parser.add_argument(option, type=kind, nargs="+", metavar="N", default=argparse.SUPPRESS, help=text)
            continue
        choices = get_args(hint)  # the config refuses others, in its own words
        kind, metavar = (type(choices[0]), f"{{{','.join(map(str, choices))}}}") if choices else (hint, None)
        parser.add_argument(option, type=kind, metavar=metavar, default=argparse.SUPPRESS, help=text)


def sensible_count(name: str, count: int) -> int:
    """A number of threads or processes: 0 to four times as many as there are cores.

    Raises:
        ConfigError: another, which would bring the machine down or which nobody can mean.
    """
    most = 4 * len(os.sched_getaffinity(0))
    if not 0 <= count <= most:
        raise ConfigError(f"{name}={count}: 0 to {most} are possible on this machine")
    return count


def set_threads(count: int) -> None:
    """As `--threads` says: so many of the CPU's; 0: torch's choice.

    Raises:
        ConfigError: as `sensible_count`.
    """
    if sensible_count("threads", count):
        torch.set_num_threads(count)


def given(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Those of these fields that were given."""
    return {name: getattr(options, name) for name in names if name in options}
