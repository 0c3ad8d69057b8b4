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

"""What the Numba kernels share: rows of an image shared out among threads, and a border that taps may fall into.

Each pixel is summed in the same order however many threads there are: results are the same to the last bit.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

FAST = {"contract", "nsz", "arcp"}
"""What Numba may assume of arithmetic; not that NaN and infinity do not occur."""


def with_border(image: np.ndarray, window: int) -> tuple[np.ndarray, int]:
    """Zeros around `image` (H, W) as by `border`, and their width."""
    pad, *_ = border(image.shape, window)
    return np.pad(image, pad), pad


def border(size: tuple[int, ...], window: int, multiple: int = 1) -> tuple[int, int, int]:
    """How many pixels around an image of `size` (H, W) make a tap that is clamped to just outside the d×d window a
    legal address: above and to the left; below; and to the right. The last two are more, until `multiple` divides the
    size within."""
    pad = window // 2 + 2
    height, width = size
    return pad, pad + -height % multiple, pad + -width % multiple


def stacked(maps: list[np.ndarray]) -> np.ndarray:
    """Along a new first axis; one alone is not copied."""
    return np.stack(maps) if len(maps) > 1 else maps[0][None]


def in_rows(kernel: Callable[..., None], rows: int, *arguments: object) -> None:
    """Run kernel(first row, last row, *arguments) over all rows, in `thread_count` threads.

    The threads are our own and sleep between calls: those of other libraries would spin for a while after each.
    """
    if not rows:
        return
    threads = min(thread_count(), rows)
    (_, mine), *others = pairwise(rows * i // threads for i in range(threads + 1))
    parts = [_pool(threads - 1).submit(kernel, first, last, *arguments) for first, last in others]
    kernel(0, mine, *arguments)
    for part in parts:
        part.result()


def thread_count() -> int:
    """How many threads may work on one frame: as many as PyTorch has, where it is in use; else OMP_NUM_THREADS, or as
    many as there are cores, which is what PyTorch would have."""
    count = getattr(sys.modules.get("torch"), "get_num_threads", None)  # not there while another thread imports it
    if count is not None:
        return int(count())
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else _cores()


@cache
def _cores() -> int:
    """Those that this process may run on; threads of one core, which share its arithmetic, count once."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    found = {_text(Path(siblings.format(number))) or str(number) for number in os.sched_getaffinity(0)}
    return len(found)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="dkn-rows")
