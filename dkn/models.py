"""Which model file a name stands for."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from dkn.errors import CheckpointError

FAMILIES = ("fdkn", "dkn", "fdkn_sensor", "dkn_sensor")
"""Short names that pick the file whose scale is nearest to the one at hand."""


def share_folder() -> Path:
    """The folder that holds `models/`, `config/` and `launch/`: a source tree, or share/dkn_ros of an installation.

    Raises:
        CheckpointError: it is not where any way of installing puts it.
    """
    package = Path(__file__).resolve().parent
    if (package.parent / "package.xml").is_file():  # a source tree, or an installation that points back to it
        return package.parent
    for parent in package.parents:
        if (folder := parent / "share" / "dkn_ros").is_dir():
            return folder
    raise CheckpointError("no models folder beside the installed package; set DKN_MODELS to one")


def models_folder() -> Path:
    """Folder of the models that come with the project; the environment variable DKN_MODELS overrides it.

    Raises:
        CheckpointError: as `share_folder`.
    """
    chosen = os.environ.get("DKN_MODELS")
    return Path(chosen) if chosen else share_folder() / "models"


def find_model(name: str | Path, scale: float) -> Path:
    """The model file that `name` means: a path, a file's short name (fdkn_x8), or one of `FAMILIES`.

    Args:
        scale: upsampling factor at hand; a family's file for the nearest factor (as a ratio) is taken.

    Raises:
        CheckpointError: nothing of that name.
    """
    path = Path(name)
    if path.suffix or len(path.parts) > 1:
        if not path.is_file():
            raise CheckpointError(f"{path}: no such model file")
        return path
    folder = models_folder()
    if (exact := folder / f"{name}.safetensors").is_file():
        return exact
    scales = {
        int(match[1]): file
        for file in sorted(folder.glob(f"{name}_x*.safetensors"))
        if (match := re.fullmatch(rf"{re.escape(str(name))}_x(\d+)", file.stem))
    }
    if not scales:
        known = sorted(file.stem for file in folder.glob("*.safetensors"))
        raise CheckpointError(f"no model {name!r} in {folder}; there are {', '.join(known) or 'none'}")
    nearest = min(scales, key=lambda s: abs(math.log(s / max(scale, 1e-6))))
    return scales[nearest]
