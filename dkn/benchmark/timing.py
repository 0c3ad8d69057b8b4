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

"""What every benchmark needs: functions that take turns, and what they ran on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from tqdm import tqdm

from dkn.ops.rows import thread_count
from dkn.utils.device import Device, instruction_sets
from dkn.utils.machine import processor

WARM_UP = 1
Key = TypeVar("Key")


def interleave(turns: Mapping[Key, Callable[[], object]], runs: int, title: str, device: Device) -> dict[Key, float]:
    """Median seconds of each function, all of them taking turns."""
    times: dict[Key, list[float]] = {name: [] for name in turns}
    for run in tqdm(range(WARM_UP + runs), desc=title, unit="round", leave=False):
        for name, turn in turns.items():
            # The second frame of a turn counts, as in a stream of frames: the first finds the caches, and the cores,
            # as the engine before it left them.
            turn()
            started = time.perf_counter()
            turn()
            if device.type == "cuda":
                torch.cuda.synchronize(str(device))
            if run >= WARM_UP:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def describe(device: Device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(str(device))
    return f"{processor()} ({instruction_sets()}), {thread_count()} threads"
