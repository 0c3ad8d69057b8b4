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

"""The `dkn` command: upsample, filter, train, evaluate, measure and export."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from dkn.errors import DknError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "upsample": "upsample one depth image, guided by its colour image",
    "filter": "filter a picture: noise, texture, or a map of fewer pixels",
    "denoise": "train networks on noisy depth, and evaluate them",
    "saliency": "weighted F-measure of upsampled saliency maps",
    "segment": "segmentation with the layer, bilinear upsampling, guided filter",
    "gallery": "restoration and removal of texture on rendered pictures",
    "train": "train a network",
    "average": "one model of several rounds of training: the mean of their weights",
    "bench": "time and memory of every engine, against the reference",
    "evaluate": "RMSE of models and baselines on a data set",
    "ablate": "train and evaluate the networks of the paper's Table 4, or of the supplement; resumes itself",
    "confidence": "how far confidence can be relied on; its coefficients fitted anew",
    "export": "write a model's convolutions for other runtimes",
}
"""Each is a module of this folder by the same name, which has `add_options(parser)` and `run(options)`."""
BEYOND_DEPTH = ("filter", "denoise", "saliency", "segment", "gallery")
"""Those in the folder of this name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. A mistake of the user's is one line on stderr and status 2."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        options.run(options)
    except (DknError, OSError) as error:  # OSError: a folder that cannot be made, a full disk
        print(f"dkn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dkn: interrupted", file=sys.stderr)
        return 130
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dkn", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, about in COMMANDS.items():
        command = commands.add_parser(name, help=about)
        if name in arguments[:1]:  # only what is asked for is imported: PyTorch takes seconds
            folder = f"{__name__}.beyond_depth" if name in BEYOND_DEPTH else __name__
            module = importlib.import_module(f"{folder}.{name}")
            module.add_options(command)
            command.set_defaults(run=module.run)
    return parser.parse_args(arguments)
