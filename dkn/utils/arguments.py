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

"""Arguments that several commands take, and checks of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dkn.errors import ConfigError


def size(text: str) -> tuple[int, int]:
    """(width, height) of an argument such as 640x480; for the `type` of argparse."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 640x480") from None
    if min(width, height) < 32:
        raise argparse.ArgumentTypeError(f"{text}: at least 32x32 is needed")
    return width, height


def at_least_one(**counts: int) -> None:
    """Refuse counts of which one is below 1; each is given by its name.

    Raises:
        ConfigError: names the one that is below 1.
    """
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{name}={count}: at least one is needed")


def limited(count: int, limit: int | None) -> int:
    """How many of `count` things are taken where `limit` are asked for; None: all.

    Raises:
        ConfigError: a limit below 1.
    """
    if limit is None:
        return count
    at_least_one(limit=limit)
    return min(count, limit)


def spread(count: int, limit: int | None) -> list[int]:
    """Indices of `limited` things of `count`, evenly spread from the first to the last.

    Raises:
        ConfigError: a limit below 1.
    """
    return [round(i) for i in np.linspace(0, count - 1, limited(count, limit))]


def check_output(path: Path | None, kinds: Sequence[str] = ()) -> None:
    """Say at once, not after minutes of work, that nothing can be written there; the folder is made.

    Args:
        path: of a file; None: nothing is to be written.
        kinds: how its name has to end; empty: anyhow.

    Raises:
        ConfigError: a folder, another kind of file, or where nothing can be written.
    """
    if path is None:
        return
    if kinds and not path.is_dir() and path.suffix.lower() not in kinds:
        raise ConfigError(f"cannot write {path}: pictures are written as {', '.join(kinds)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"cannot write {path}: it is a folder, or not ours to write")
