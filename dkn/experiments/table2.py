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

"""The models of the paper's Table 2: which file in `models/` stands for which row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dkn import checkpoint
from dkn.checkpoint import models_folder
from dkn.errors import CheckpointError
from dkn.networks.config import NetworkConfig

SCALES = (4, 8, 16)

ROWS: Mapping[str, tuple[str, bool, bool]] = {
    "FDKN †": ("fdkn", True, False),
    "DKN †": ("dkn", True, False),
    "FDKN w/o Res.": ("fdkn", False, True),
    "DKN w/o Res.": ("dkn", False, True),
    "FDKN": ("fdkn", True, True),
    "DKN": ("dkn", True, True),
}
"""By the paper's name: architecture, residual connection, guidance by colour († has none)."""


def find_rows(scale: int, folder: Path | None = None) -> dict[str, Path]:
    """The model file for each row that there is one for.

    A file stands for the row that its network belongs to if it was trained for just this scale. Where several do, the
    one with the shortest name is taken (fdkn_x8 rather than fdkn_sensor_x8).
    """
    found: dict[str, Path] = {}
    for path in sorted((folder or models_folder()).glob("*.safetensors"), key=lambda p: (len(p.stem), p.stem)):
        try:
            network, info = checkpoint.load(path)
        except CheckpointError:
            continue  # a file that another command's user will hear of
        row = _row(network.config)
        if info.scale == scale and row not in found:
            found[row] = path
    return {name: found[name] for name in ROWS if name in found}


def _row(config: NetworkConfig) -> str:
    kind = config.architecture, config.residual, config.guidance != "none"
    return next((name for name, row in ROWS.items() if row == kind), "")
