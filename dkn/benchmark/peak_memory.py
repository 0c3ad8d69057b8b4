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
from pathlib import Path

import numpy as np

from dkn import CheckpointError, Upsampler
from dkn.engines import plan
from dkn.networks.config import NetworkConfig
from dkn.utils.device import CPU, Device, choose_device

SCALE = 8


def upsample(model: str, size: tuple[int, int], device: str, engine: str, precision: str) -> float:
    """Three frames as `dkn upsample` would do one; the peak of memory in MB: on CUDA, of the GPU's."""
    rng = np.random.default_rng(0)  # noise: a renderer would count too
    color = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
    low = 2 + rng.random((size[1] // SCALE, size[0] // SCALE), np.float32)
    target = choose_device(device)
    try:
        upsampler = Upsampler(model, scale=SCALE, device=device, engine=engine, precision=precision)
        for _ in range(3):
            upsampler(color, low)
    except CheckpointError:
        if model not in ("fdkn", "dkn"):
            raise
        _run_random(model, color, target, engine, precision)
    if target != CPU:
        import torch

        return torch.cuda.max_memory_allocated() / 1e6
    # getrusage would count what the parent held when it forked.
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


def _run_random(architecture: str, color: np.ndarray, device: Device, engine: str, precision: str) -> None:
    """An architecture without a model: the network alone, with random weights."""
    import torch

    from dkn.networks.dkn import build
    from dkn.networks.weights import Weights

    run = plan(device, engine, precision)[0].make(Weights.of(build(NetworkConfig(architecture))))  # type: ignore[arg-type]
    images = [torch.from_numpy(color)[None], torch.full((1, 1, *color.shape[:2]), 0.2)]
    for _ in range(3):
        run(*(image.numpy() if device == CPU else image.to(str(device)) for image in images))


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    print(upsample(**job | {"size": tuple(job["size"])}))
