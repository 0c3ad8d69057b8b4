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

"""Every data set by its name: what `dkn train` and `dkn evaluate` take as --dataset and --data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dkn.data.folder import Folder
from dkn.data.lu import Lu
from dkn.data.middlebury import Middlebury
from dkn.data.nyu import NYU
from dkn.data.nyu_split import NYUSplit
from dkn.data.recording import Recording
from dkn.data.sample import Dataset, Subset
from dkn.data.sintel import Sintel
from dkn.data.synthetic import Rooms
from dkn.errors import ConfigError

Split = Literal["train", "validation", "without_validation", "test"]
Half = Literal["train", "test"]
FIRST_VALIDATION_PAIR = 900


@dataclass(frozen=True)
class Entry:
    """A data set that there is."""

    open: Callable[[Path, Half], Dataset]
    halves: bool = False
    """Whether one half is for training and one for tests. The others are one piece, whatever the split."""
    test_only: bool = False


DATASETS = {
    "nyu": Entry(lambda path, half: NYUSplit(path, half) if path.is_dir() else NYU(path, half), halves=True),
    "middlebury": Entry(lambda path, _: Middlebury(path), test_only=True),
    "lu": Entry(lambda path, _: Lu(path), test_only=True),
    "sintel": Entry(lambda path, _: Sintel(path), test_only=True),
    # Edges of the fused truth are not judged, but trained on.
    "recording": Entry(
        lambda path, half: Recording(path) if half == "test" else Recording(path, edge_margin=None, keep=True)
    ),
    "folder": Entry(lambda path, _: Folder(path)),
    "synthetic": Entry(Rooms, halves=True),
}
HALVED = tuple(name for name, entry in DATASETS.items() if entry.halves)
TRAINABLE = tuple(name for name, entry in DATASETS.items() if not entry.test_only)


def named(text: str, default: str | None = None) -> tuple[str, Path]:
    """Name and path of a set, of an argument NAME=PATH; or of a path alone, whose set has the name `default`.

    Raises:
        ConfigError: no name of `DATASETS`, and no default.
    """
    name, equals, path = text.partition("=")
    if equals and name in DATASETS:
        return name, Path(path)
    if default is None:
        raise ConfigError(f"--data {text}: write NAME=PATH, NAME one of {', '.join(DATASETS)}")
    return default, Path(text)


def open_dataset(
    name: str,
    path: Path,
    split: Split,
    unit: float | None = None,
    depth_folder: str | None = None,
) -> Dataset:
    """A data set, ready to be read.

    Args:
        name: one of `DATASETS`.
        path: its file or folder (docs/data.md says how to arrange it).
        split: the half wanted, of those that have halves. Of `nyu` also validation, the last pairs of the training
            half, to choose between models by, and without_validation, the rest of that half.
        unit, depth_folder: as for `Folder`, with it alone.

    Raises:
        ConfigError: an unknown name, an option that makes no sense for it, or training on a set that is for testing.
        DataError: missing, truncated, or laid out differently.
    """
    if name not in DATASETS:
        raise ConfigError(f"no data set {name!r}; choose one of {', '.join(DATASETS)}")
    if name != "folder" and not (unit is None and depth_folder is None):
        raise ConfigError(f"{name} has a layout of its own; a unit and a depth folder are for the set 'folder'")
    if split != "test" and name not in TRAINABLE:
        raise ConfigError(f"{name} is for testing; train on {' or '.join(TRAINABLE)}")
    path = Path(path)
    if split in ("validation", "without_validation"):
        if name != "nyu":
            raise ConfigError(f"{name} has no pairs for validation; nyu has")
        train = open_dataset(name, path, "train")
        first = min(FIRST_VALIDATION_PAIR, len(train))
        return Subset(train, range(first, len(train)) if split == "validation" else range(first))
    if name == "folder":
        return Folder(path, unit, depth_folder)
    return DATASETS[name].open(path, "test" if split == "test" else "train")
