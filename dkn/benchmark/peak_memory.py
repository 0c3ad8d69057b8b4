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

"""The peak of memory of a process that upsamples, printed in MB. A program of its own, which imports no more than that
takes: `dkn.benchmark.engines` runs it.

python -m dkn.benchmark.peak_memory '{"model": "fdkn", "size": [640, 480], "device": "cpu", "engine": "auto",
"precision": "auto"}'
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from dkn import CheckpointError, Upsampler
from dkn.checkpoint import find_model
from dkn.engines import plan
from dkn.utils.device import CPU, choose_device

SCALE = 8


def peak(model: str, size: tuple[int, int], device: str, engine: str, precision: str) -> float:
    """Of three frames as `dkn upsample` would do one, in MB: on CUDA, of the GPU's memory."""
    rng = np.random.default_rng(0)  # noise: a renderer would count too
    color = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
    low = 2 + rng.random((size[1] // SCALE, size[0] // SCALE), np.float32)
    target = choose_device(device)
    try:
        path = find_model(model, SCALE)
    except CheckpointError:  # random weights, which take PyTorch; an Upsampler takes files
        from dkn.benchmark.engines import normalised, open_model

        weights, _, _ = open_model(model)
        run = plan(target, engine, precision)[0].make(weights)
        once: Callable[[], object] = partial(run, *normalised(weights.config, color, low, target))
    else:
        once = partial(Upsampler(path, device=device, engine=engine, precision=precision), color, low)
    for _ in range(3):
        once()
    if target != CPU:
        import torch

        return torch.cuda.max_memory_allocated() / 1e6
    # getrusage would count what the parent held when it forked.
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    print(peak(**job | {"size": tuple(job["size"])}))
