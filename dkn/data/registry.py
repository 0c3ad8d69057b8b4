"""Every data set by its name: what `dkn train` and `dkn evaluate` take as --dataset and --data."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dkn.data.folder import Folder
from dkn.data.lu import Lu
from dkn.data.middlebury import Middlebury
from dkn.data.nyu import NYU
from dkn.data.nyu_split import NYUSplit
from dkn.data.recording import Recording
from dkn.data.rooms import Rooms
from dkn.data.sample import Dataset
from dkn.data.sintel import Sintel
from dkn.errors import ConfigError

DATASETS = ("nyu", "middlebury", "lu", "sintel", "recording", "folder", "synthetic")
TEST_ONLY = ("middlebury", "lu", "sintel", "recording")
HALVED = ("nyu", "synthetic")
"""Sets with a half to train on and one to test on. The others are one piece, whatever the split."""


def open_dataset(
    name: str,
    path: Path,
    split: Literal["train", "test"],
    unit: float | None = None,
    depth_folder: str | None = None,
) -> Dataset:
    """A data set, ready to be read.

    Args:
        name: one of `DATASETS`.
        path: its file or folder (docs/data.md says how to arrange it).
        split: the half wanted, of those that have halves.
        unit, depth_folder: as for `Folder`, with it alone.

    Raises:
        ConfigError: an unknown name, an option that makes no sense for it, or training on a set that is for testing.
        DataError: missing, truncated, or laid out differently.
    """
    if name not in DATASETS:
        raise ConfigError(f"no data set {name!r}; choose one of {', '.join(DATASETS)}")
    if name != "folder" and not (unit is None and depth_folder is None):
        raise ConfigError(f"{name} has a layout of its own; a unit and a depth folder are for the set 'folder'")
    if split == "train" and name in TEST_ONLY:
        raise ConfigError(f"{name} is for testing; train on {' or '.join(n for n in DATASETS if n not in TEST_ONLY)}")
    path = Path(path)
    if name == "nyu":
        return NYUSplit(path, split) if path.is_dir() else NYU(path, split)
    if name == "folder":
        return Folder(path, unit, depth_folder)
    if name == "synthetic":
        return Rooms(path, split)
    if name == "recording":
        return Recording(path)
    if name == "middlebury":
        return Middlebury(path)
    return Lu(path) if name == "lu" else Sintel(path)
