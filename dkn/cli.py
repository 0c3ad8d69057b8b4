"""The `dkn` command: upsample, filter, train, evaluate, measure and export."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch

from dkn import bench_command, report
from dkn.arguments import add_data_options
from dkn.data.pairs import read_color, read_map
from dkn.data.registry import HALVED, open_dataset
from dkn.data.sample import Dataset
from dkn.depth import to_metres, to_millimetres
from dkn.engines import ENGINES, PRECISIONS
from dkn.errors import ConfigError, DknError
from dkn.evaluation import ablation, supplement
from dkn.evaluation import command as evaluate_command
from dkn.filtering import command as filter_command
from dkn.filtering import denoising, gallery, saliency
from dkn.models import find_model
from dkn.networks import NetworkConfig
from dkn.segmentation import comparison as segmentation
from dkn.training import OPTIMISERS, TrainConfig
from dkn.training import command as train_command
from dkn.upsampler import Upsampler, upsample_bicubic

ROOMS = {
    "filter": (filter_command, "filter a picture: noise, texture, or a map of fewer pixels"),
    "denoise": (denoising, "train networks on noisy depth, and evaluate them"),
    "saliency": (saliency, "weighted F-measure of upsampled saliency maps"),
    "segment": (segmentation, "segmentation with the layer, bilinear upsampling, guided filter"),
    "gallery": (gallery, "restoration and removal of texture on rendered pictures"),
    "train": (train_command, "train a network"),
    "bench": (bench_command, "time and memory of every engine, against the reference"),
}
"""Commands that have a room of their own, with all their options."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. A mistake of the user's is one line on stderr and status 2."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (DknError, OSError) as error:  # OSError: a folder that cannot be made, a full disk
        print(f"dkn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dkn: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dkn", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    upsample = commands.add_parser("upsample", help="upsample one depth image, guided by its colour image")
    upsample.add_argument("--color", type=Path, required=True, help="8-bit colour image")
    upsample.add_argument("--depth", type=Path, required=True, help="16-bit PNG in millimetres, 0 = unknown")
    upsample.add_argument("--out", type=Path, required=True, help="16-bit PNG in millimetres")
    upsample.add_argument("--figure", type=Path, help="picture of colour, input and output")
    upsample.add_argument("--scale", type=float, help="factor to choose the model by; default: from the two sizes")
    upsample.add_argument("--fill-holes", action="store_true", help="give a depth to unknown pixels too")
    _add_model_options(upsample, precision="auto")
    upsample.set_defaults(run=_upsample)

    for name, (room, about) in ROOMS.items():
        command = commands.add_parser(name, help=about)
        room.add_options(command)
        command.set_defaults(run=room.run)

    evaluation = commands.add_parser("evaluate", help="RMSE of models and baselines on a data set")
    evaluate_command.add_options(evaluation)
    _add_model_options(evaluation, precision="fp32", many=True)
    evaluation.set_defaults(run=evaluate_command.run)

    ablate = commands.add_parser(
        "ablate", help="train and evaluate the networks of the paper's Table 4, or of the supplement; resumes itself"
    )
    add_data_options(ablate, HALVED)
    ablate.add_argument(
        "--table", choices=["4", *supplement.TABLES], default="4", help="the paper's 4, or by what varies"
    )
    ablate.add_argument("--sizes", type=int, nargs="+", default=list(supplement.SIZES), help="of --table sizes")
    ablate.add_argument("--model", choices=["fdkn", "dkn"], default="fdkn", help="architecture")
    ablate.add_argument("--scale", type=int, default=8)
    ablate.add_argument("--out", type=Path, required=True, help="folder of the runs and of the table (.md, .json)")
    ablate.add_argument("--steps", type=int, required=True, help="budget of each variant")
    ablate.add_argument("--kernel-sizes", type=int, nargs="+", default=list(ablation.KERNEL_SIZES))
    ablate.add_argument("--limit", type=int, help="evaluate on the first N test images only")
    ablate.add_argument("--device", default="auto")
    ablate.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    _add_fields(ablate, TrainConfig, ("batch_size", "crop", "learning_rate", "seed"))
    _add_fields(ablate, NetworkConfig, ("n1", "n2"))
    ablate.add_argument(
        "--optimiser", choices=get_args(OPTIMISERS), default="adam", help="adam: the paper's; muon: more for few steps"
    )
    ablate.add_argument("--fp32", action="store_true", help="convolutions in float32, not bfloat16")
    ablate.set_defaults(run=_ablate)

    export = commands.add_parser("export", help="write a model's convolutions for other runtimes")
    export.add_argument("--model", required=True, help="model file or short name (fdkn_x8)")
    export.add_argument("--format", choices=["onnx"], default="onnx")
    export.add_argument("--scale", type=float, default=8, help="which model of a family")
    export.add_argument("--out", type=Path, required=True, help="file to write (.onnx)")
    export.set_defaults(run=_export)
    return parser


def _open_dataset(options: argparse.Namespace, split: Literal["train", "test"]) -> Dataset:
    return open_dataset(options.dataset, options.data, split, options.unit, options.depth_folder)


def _add_model_options(parser: argparse.ArgumentParser, precision: str, many: bool = False) -> None:
    text = "model file, short name (fdkn_x8) or family (fdkn, dkn: the one for the scale at hand)"
    if many:
        parser.add_argument("--model", action="append", default=[], help=text + "; may be repeated")
    else:
        parser.add_argument("--model", default="fdkn", help=text)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--engine", default="auto", choices=["auto", *ENGINES], help="what runs the network")
    parser.add_argument("--precision", default=precision, choices=["auto", *PRECISIONS])


def _add_fields(parser: argparse.ArgumentParser, config: type, names: Sequence[str]) -> None:
    """An option for each of these fields of a config dataclass, with the field's default."""
    for name in names:
        default = config.__dataclass_fields__[name].default  # type: ignore[attr-defined]
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)


def _upsample(options: argparse.Namespace) -> None:
    color = read_color(options.color)
    depth = to_metres(read_map(options.depth))
    upsampler = Upsampler(
        options.model,
        scale=options.scale,
        device=options.device,
        engine=options.engine,
        precision=options.precision,
        fill_holes=options.fill_holes,
    )
    result = upsampler(color, depth)
    report.write_image(options.out, to_millimetres(result))
    if options.figure:
        size = (color.shape[0], color.shape[1])
        panels = {"color": color, "input (bicubic)": upsample_bicubic(depth, size), "output": result}
        report.write_image(options.figure, report.figure(panels))


def _ablate(options: argparse.Namespace) -> None:
    if options.threads:
        torch.set_num_threads(options.threads)
    network = NetworkConfig(options.model, n1=options.n1, n2=options.n2)
    config = TrainConfig(
        network,
        options.scale,
        steps=options.steps,
        optimiser=options.optimiser,
        loss="l1",
        phases=1 if options.model == "dkn" else 16,
        bf16=not options.fp32,
        **{name: getattr(options, name) for name in ("batch_size", "crop", "learning_rate", "seed")},
    )
    train, test = _open_dataset(options, "train"), _open_dataset(options, "test")
    if options.table == "4":
        ablation.run(train, test, config, options.out, options.kernel_sizes, options.limit, options.device)
        print((options.out / "table4.md").read_text())
    else:
        supplement.run(options.table, train, test, config, options.out, options.sizes, options.limit, options.device)
        print((options.out / f"{options.table}.md").read_text())


def _export(options: argparse.Namespace) -> None:
    try:
        from dkn.export import export_onnx
    except ImportError as error:
        raise ConfigError(f"export needs {error.name}: pip install onnx onnxruntime") from None
    print(export_onnx(find_model(options.model, options.scale), options.out))
