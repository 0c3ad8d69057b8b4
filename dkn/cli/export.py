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

"""`dkn export`: a model's convolutions for other runtimes."""

from __future__ import annotations

import argparse
from pathlib import Path

from dkn.checkpoint import find_model
from dkn.errors import ConfigError


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="model file or short name (fdkn_x8)")
    parser.add_argument("--format", choices=["onnx"], default="onnx")
    parser.add_argument("--scale", type=float, default=8, help="which model of a family")
    parser.add_argument("--out", type=Path, required=True, help="file to write (.onnx)")


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    try:
        from dkn.export import export_onnx
    except ImportError as error:
        raise ConfigError(f"export needs {error.name}: pip install onnx onnxruntime") from None
    print(export_onnx(find_model(options.model, options.scale), options.out))
