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

"""`dkn evaluate`: errors of methods over data sets, scales and degradations; pictures of results and of kernels."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import count, product
from pathlib import Path

import numpy as np

from dkn.checkpoint import find_model
from dkn.cli.options import add_align_option, add_ensemble_option, add_model_options
from dkn.data.registry import DATASETS, named, open_dataset
from dkn.data.sample import Dataset
from dkn.depth.degradation import DEGRADATIONS, degrade
from dkn.depth.temporal import TemporalFilter
from dkn.errors import ConfigError
from dkn.evaluation import Method, bicubic, evaluate, tables
from dkn.evaluation.baselines import BASELINES, RECORDING_BASELINES
from dkn.evaluation.comparison import comparison, stack
from dkn.evaluation.flicker import flicker
from dkn.evaluation.tables import Column
from dkn.experiments import table2
from dkn.experiments.assessment import model_method
from dkn.experiments.kernel_figure import kernel_figure
from dkn.upsampler import Taps, Upsampler
from dkn.utils.arguments import check_output
from dkn.utils.image_io import write_image
from dkn.utils.tables import write_json

FRAME_RATE = 30.0  # of a recording's frames, which have no stamps


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        action="append",
        required=True,
        metavar="[NAME=]PATH",
        help="file or folder of a data set (docs/data.md); may be repeated, each with its name",
    )
    parser.add_argument("--dataset", choices=DATASETS, default="nyu", help="name of a data set given without one")
    parser.add_argument("--unit", type=float, help="folder: metres a count; default 0.001 for 16 bits, 1 for floats")
    parser.add_argument("--depth-folder", help="folder: which sub-folder holds the depth, where there are several")
    parser.add_argument("--scale", type=int, nargs="+", help="default: 8; of --table2: 4 8 16")
    parser.add_argument("--degradation", nargs="+", choices=(*DEGRADATIONS, "all"), default=["bicubic"])
    parser.add_argument(
        "--split",
        choices=("test", "validation"),
        default="test",
        help="validation: the last 100 pairs of the training half of nyu, to choose between models by",
    )
    parser.add_argument("--baselines", action="store_true", help=f"also {', '.join(BASELINES)}")
    parser.add_argument("--table2", action="store_true", help="the paper's Table 2: its models, baselines, its figures")
    parser.add_argument("--flicker", action="store_true", help="also how much the output flickers over time")
    parser.add_argument(
        "--temporal", type=float, metavar="W", help="of a recording: models also averaged over time with this weight"
    )
    parser.add_argument("--limit", type=int, help="the first N images only")
    parser.add_argument("--json", type=Path, help="write the table here too")
    parser.add_argument("--markdown", type=Path, help="write the table here too")
    parser.add_argument("--figure", type=Path, help="picture (.png) of crops with error maps, or of the kernels")
    parser.add_argument("--image", type=int, default=0, metavar="N", help="which image the picture shows")
    parser.add_argument(
        "--show-kernels", type=_pixel, nargs="+", metavar="X,Y", help="draw the kernels at these pixels"
    )
    add_model_options(parser, precision="fp32", many=True)
    add_ensemble_option(parser)
    add_align_option(parser)


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    check_output(options.figure, [".png"])
    for path in (options.json, options.markdown):
        check_output(path)
    datasets = [_open(text, options) for text in options.data]
    scales = options.scale or (table2.SCALES if options.table2 else [8])
    kinds = DEGRADATIONS if "all" in options.degradation else options.degradation
    for dataset in datasets:
        if not 0 <= options.image < len(dataset):
            raise ConfigError(f"--image {options.image}: {dataset.name} has images 0 to {len(dataset) - 1}")
    if options.show_kernels:
        if len(datasets) * len(scales) * len(kinds) > 1 or not options.figure:
            raise ConfigError("--show-kernels needs one data set, one scale, one degradation, and --figure FILE.png")
        _show_kernels(options, datasets[0], scales[0], kinds[0])
        return
    columns, pictures = [], []
    for dataset, scale, kind in product(datasets, scales, kinds):
        methods, files = _methods(options, scale, dataset.name, many=len(scales) > 1)
        result = evaluate(dataset, methods, scale, kind, options.limit)
        if options.flicker:
            if options.temporal:  # which remembers the frames it has seen
                methods, _ = _methods(options, scale, dataset.name, many=len(scales) > 1)
            result = result.with_flicker(flicker(dataset, methods, scale, kind, options.limit))
        print(result.table(), flush=True)
        columns.append(Column(result, _rows(methods) if options.table2 else (), files))
        if options.json:  # after each column: what is measured is not lost if the rest is cut off
            write_json(options.json, tables.to_json(columns, options.table2))
        if options.figure:
            pictures.append(comparison(dataset, methods, scale, kind, options.image))
            write_image(options.figure, stack(pictures))
    _finish(options, columns)


def _finish(options: argparse.Namespace, columns: list[Column]) -> None:
    markdown = tables.to_markdown(columns, options.table2)
    if len(columns) > 1:
        print("\n" + markdown)
    if options.markdown:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(markdown)


def _methods(
    options: argparse.Namespace, scale: int, dataset: str, many: bool
) -> tuple[dict[str, Method], dict[str, str]]:
    """Methods by name at one scale, for the set of this name; the files of Table 2's rows."""
    methods: dict[str, Method] = {"bicubic": bicubic}
    if options.baselines or options.table2:
        methods |= RECORDING_BASELINES if dataset == "recording" else BASELINES
    files: dict[str, str] = {}
    if options.table2:
        rows = table2.find_rows(scale)
        methods |= {
            name: model_method(path, options.device, options.engine, options.precision) for name, path in rows.items()
        }
        files = {f"{name} {scale}×": path.stem for name, path in rows.items()}
    for model in options.model:
        path = find_model(model, scale)
        # A family keeps its name over several scales. Every run's model has the same file name: there the path tells.
        name = model if many and path != Path(model) else path.stem
        name = str(path) if name in methods else name
        methods[name] = model_method(
            path, options.device, options.engine, options.precision, options.ensemble, options.align_color
        )
        if options.temporal:
            methods[f"{name}, temporal {options.temporal:g}"] = _over_time(methods[name], options.temporal)
    return methods, files


def _over_time(method: Method, weight: float) -> Method:
    """A method whose results are averaged over the frames of a recording, in their order."""
    average, stamps = TemporalFilter(weight), count()

    def over_time(color: np.ndarray, depth: np.ndarray) -> np.ndarray:
        return average(color, method(color, depth), next(stamps) / FRAME_RATE, depth)

    return over_time


def _rows(methods: Mapping[str, Method]) -> list[str]:
    """Baselines, all of Table 2's rows, further models."""
    others = [name for name in methods if name not in table2.ROWS]
    first = 1 + len(BASELINES)
    return [*others[:first], *table2.ROWS, *others[first:]]


def _show_kernels(options: argparse.Namespace, dataset: Dataset, scale: int, kind: str) -> None:
    if not options.model:
        raise ConfigError("--show-kernels needs a --model")
    sample = dataset[options.image].cropped(scale)
    low = degrade(sample.source, scale, kind, np.random.default_rng((0, options.image)), sample.color)
    outputs: dict[str, np.ndarray] = {}
    taps: dict[str, list[Taps]] = {}
    window = 0
    for model in options.model:
        path = find_model(model, scale)
        upsampler = Upsampler(
            path,
            device=options.device,
            engine=options.engine,
            precision=options.precision,
            fill_holes=True,
            align_color=options.align_color,
        )
        name = str(path) if path.stem in outputs else path.stem
        outputs[name] = upsampler(sample.color, low)
        taps[name] = upsampler.taps(sample.color, low, options.show_kernels)
        window = max(window, upsampler.load(scale).info.network.window)
    start = bicubic(sample.color, low)
    picture = kernel_figure(sample.color, start, outputs, taps, options.show_kernels, window, sample.depth)
    write_image(options.figure, picture)
    print(options.figure)


def _open(text: str, options: argparse.Namespace) -> Dataset:
    name, path = named(text, options.dataset)
    whole = name == "folder" or len(options.data) == 1  # of several sets the options mean the folder
    own = (options.unit, options.depth_folder) if whole else (None, None)
    return open_dataset(name, path, options.split, *own)


def _pixel(text: str) -> tuple[int, int]:
    try:
        x, y = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no pixel; write X,Y, e.g. 320,240") from None
    return x, y
