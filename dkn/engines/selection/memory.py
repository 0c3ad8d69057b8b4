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

"""What was measured about engines, remembered in a file of the user's (`cache_file`).

An entry holds for one processor, number of threads, set of library versions and subject, such as a network. A file that
cannot be read or written is no error: engines are then measured again.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from pathlib import Path

from dkn.ops.rows import thread_count
from dkn.utils.device import instruction_sets
from dkn.utils.machine import libraries, processor

KEPT = 50  # entries, the newest
MOST_PIXELS = 2**24  # of an image; what is larger is damage

Times = dict[str, float]
"""Milliseconds by name: of an engine, as `dkn.engines.Choice` names itself."""


def cache_file() -> Path:
    """engines.json in $DKN_CACHE; by default in $XDG_CACHE_HOME/dkn, or ~/.cache/dkn."""
    folder = os.environ.get("DKN_CACHE")
    general = os.environ.get("XDG_CACHE_HOME")
    return (Path(folder) if folder else Path(general or Path.home() / ".cache") / "dkn") / "engines.json"


def entry(subject: object) -> str:
    """What times are a property of, beside the size of the images."""
    parts = [processor(), instruction_sets(), f"{thread_count()} threads", *map(" ".join, libraries().items())]
    return "; ".join([*parts, str(subject)])


def recall(subject: object, size: tuple[int, int] | None = None) -> Times:
    """What was measured for images of `size` (H, W), or on None for those that were measured last; empty if nothing.

    Args:
        subject: what was timed, by its text.
    """
    sizes = _read().get(entry(subject), {})
    found = sizes.get(_name(size)) if size else next(reversed(list(sizes.values())), None)
    return dict(found or {})


def last_size(subject: object) -> tuple[int, int] | None:
    """(H, W) of the images that were measured last; None if nothing was."""
    name = next(reversed(list(_read().get(entry(subject), {}))), None)
    return _size(name) if name else None


def recall_others(subject: object) -> list[Times]:
    """What was measured on this processor, with these versions, of other subjects, at every size."""
    here, own = entry(""), entry(subject)
    found = [sizes for key, sizes in _read().items() if key.startswith(here) and key != own]
    return [times for sizes in found for times in sizes.values() if times]


def remember(subject: object, size: tuple[int, int], times: Times) -> None:
    """Keep what was measured for images of `size` (H, W), if the file can be written."""
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: no home
        path, all_of_them, key = cache_file(), _read(), entry(subject)
        sizes = all_of_them.pop(key, {})
        sizes.pop(_name(size), None)
        all_of_them[key] = sizes | {_name(size): times}  # the newest last
        path.parent.mkdir(parents=True, exist_ok=True)
        # Others may read, or write theirs, at the same time.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".json", delete=False) as file:
            whole = Path(file.name)
        try:
            whole.write_text(json.dumps(dict(list(all_of_them.items())[-KEPT:]), indent=1))
            whole.replace(path)
        except OSError:  # a full disk
            whole.unlink(missing_ok=True)


def _read() -> dict[str, dict[str, Times]]:
    try:
        found = json.loads(cache_file().read_text())
        entries = [(key, size, times) for key, sizes in found.items() for size, times in sizes.items()]
    except (OSError, RuntimeError, ValueError, AttributeError):  # not there, no home, damaged as a whole
        return {}
    kept: dict[str, dict[str, Times]] = {}
    for key, size, times in entries:
        with contextlib.suppress(ValueError, TypeError, AttributeError, OverflowError):  # damage to one costs no other
            _size(size)
            kept.setdefault(key, {})[size] = _checked(times)
    return kept


def _checked(times: Times) -> Times:
    found = {str(name): float(ms) for name, ms in times.items()}
    if not all(0 < ms < math.inf for ms in found.values()):
        raise ValueError("no times")
    return found


def _size(name: str) -> tuple[int, int]:
    """(H, W) of what `_name` gave.

    Raises:
        ValueError: it is not of an image.
    """
    width, height = map(int, name.split("x"))
    if not (width > 0 and height > 0 and width * height <= MOST_PIXELS):
        raise ValueError(name)
    return height, width


def _name(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
