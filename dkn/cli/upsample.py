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

"""`dkn upsample`: one depth image, guided by its colour image."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np

from dkn.cli.options import add_align_option, add_ensemble_option, add_model_options
from dkn.data.depth_file import check_depth_type, read_depth, write_depth
from dkn.depth.holes.small import FILLS, WIDTH
from dkn.depth.resample import upsample_bicubic
from dkn.ensemble import self_ensemble
from dkn.errors import DataError
from dkn.upsampler import Upsampler
from dkn.utils.image_io import read_color, write_image
from dkn.utils.visualize import figure

ASPECT = 0.03  # of the logarithm of width / height; two registered pictures differ by less


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--color", type=Path, required=True, help="8-bit colour image")
    parser.add_argument("--depth", type=Path, required=True, help="registered to it: PNG, TIFF, PFM or .npy")
    parser.add_argument("--out", type=Path, required=True, help=".png (16-bit mm), or .npy or .tiff (float metres)")
    parser.add_argument("--figure", type=Path, help="picture of colour, input and output")
    parser.add_argument("--scale", type=float, help="factor to choose the model by; default: from the two sizes")
    parser.add_argument("--unit", type=float, help="metres a count of --depth; default 0.001 for 16 bits, 1 for floats")
    parser.add_argument("--min-depth", type=float, default=0.0, help="metres; depth below is unknown")
    parser.add_argument("--max-depth", type=float, default=math.inf, help="metres; depth beyond is unknown")
    parser.add_argument(
        "--fill-holes",
        nargs="?",
        const="all",
        default="none",
        type=lambda text: {"true": "all", "false": "none"}.get(text, text),
        choices=FILLS,
        help="give a depth to unknown pixels too: all (true), or those of small holes inside one surface",
    )
    parser.add_argument(
        "--hole-width", type=float, default=WIDTH, help="of small holes, in pixels of the result [%(default)g]"
    )
    add_model_options(parser, precision="auto")
    add_ensemble_option(parser)
    add_align_option(parser)


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    color = read_color(options.color)
    check_depth_type(options.out)
    depth = read_depth(options.depth, options.unit, options.min_depth, options.max_depth)
    _check(options, color, depth)
    upsampler = Upsampler(
        options.model,
        scale=options.scale,
        device=options.device,
        engine=options.engine,
        precision=options.precision,
        fill_holes=options.fill_holes,
        hole_width=options.hole_width,
        align_color=options.align_color,
    )
    result = (self_ensemble(upsampler) if options.ensemble else upsampler)(color, depth)
    write_depth(options.out, result)
    if options.figure:
        size = (color.shape[0], color.shape[1])
        panels = {"color": color, "input (bicubic)": upsample_bicubic(depth, size), "output": result}
        write_image(options.figure, figure(panels))


def _check(options: argparse.Namespace, color: np.ndarray, depth: np.ndarray) -> None:
    """Refuse what would come out empty, and warn of what will hardly be meant.

    Raises:
        DataError: no depth at all.
    """
    if not np.isfinite(depth).any():
        limits = f" between {options.min_depth:g} and {options.max_depth:g} m" if options.max_depth < math.inf else ""
        raise DataError(f"{options.depth}: no pixel has a depth{limits}; is --unit right?")
    wide, deep = color.shape[1] / color.shape[0], depth.shape[1] / depth.shape[0]
    if abs(math.log(wide / deep)) > ASPECT:
        turned = abs(math.log(wide * deep)) < ASPECT
        guess = "is one of them turned (EXIF orientation)?" if turned else "is one of them cropped?"
        sizes = f"colour is {color.shape[1]}x{color.shape[0]}, depth {depth.shape[1]}x{depth.shape[0]}"
        print(f"dkn: warning: {sizes}: not of one shape, so hardly registered; {guess}", file=sys.stderr)
