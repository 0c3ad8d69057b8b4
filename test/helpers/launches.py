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

"""How many launches a frame takes on a GPU, counted where there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cuda_tape import recorded
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dkn import checkpoint, upsampler
from dkn.checkpoint import ModelInfo
from dkn.depth.stages.base import Prepared, Stages
from dkn.depth.stages.fused import pyramid
from dkn.engines import cuda
from dkn.upsampler import Upsampler

CPU = torch.device("cpu")


class Launches(TorchDispatchMode):
    """Counts PyTorch's operators that compute or copy (views and allocations launch nothing)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        schema = function._schema
        if "upsample" not in schema.name:  # one launch, whatever PyTorch knows to say it in
            with self:  # in inference mode, what consists of other operators comes as one
                parts = function.decompose(*args, **(kwargs or {}))
            if parts is not NotImplemented:
                return parts
        views = any(value.alias_info is not None and not value.alias_info.is_write for value in schema.returns)
        if not views and "empty" not in schema.name and schema.name != "aten::scalar_tensor":
            self.found[schema.name] += 1
        return function(*args, **(kwargs or {}))


def on_arrays(stages: Stages) -> Stages:
    """Stages of tensors as stages of arrays."""
    return Stages(*(_on_arrays(getattr(stages, field.name)) for field in fields(stages)))


def _on_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    def of_arrays(*arguments: Any) -> Any:
        with torch.inference_mode():
            return _converted(function(*(_converted(argument) for argument in arguments)))

    return of_arrays


def _converted(value: Any) -> Any:
    """Arrays to tensors and tensors to arrays, also in a `Prepared`; anything else as it is."""
    if isinstance(value, Prepared):
        return Prepared(*map(_converted, value))
    if isinstance(value, Tensor):
        return value.numpy()
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def as_on_a_gpu(patch: pytest.MonkeyPatch) -> None:
    """What PyTorch does with tensors of a GPU, for those of a CPU: their values are not asked for, and Numba does not
    serve."""
    for module in ("dkn.depth.resample", "dkn.depth.holes.validity"):
        patch.setattr(f"{module}.is_readable", lambda tensor: False)
    for module in ("dkn.depth.resample", "dkn.depth.network_input"):
        patch.setattr(f"{module}.serves", lambda kernel, tensor: False)


@cache
def _engine(model: Path) -> tuple[cuda.CudaEngine, ModelInfo]:
    weights, info = checkpoint.read(model)
    return cuda.CudaEngine(weights, CPU, "fp16"), info


def of_a_frame(model: Path, small: tuple[int, int], size: tuple[int, int], stages: Stages, **options) -> Counter[str]:
    """What `upsampler._upsample` launches with the CUDA engine and these stages, from (h, w) to (H, W), by name.

    Triton's kernels and convolutions, which take their bias and ReLU along, are counted and not computed: what comes
    out has no meaning.
    """
    engine, info = _engine(model)
    frame = Upsampler(model, device="cpu", **options)
    color, depth = torch.zeros(*size, 3, dtype=torch.uint8), torch.ones(small)
    launches = Launches()

    def launch(kernel, *arguments, grid, warmup, **options) -> None:
        launches.found[f"triton {kernel.fn.__name__}"] += 1

    def convolve(layer: cuda._Layer, x: Tensor) -> Tensor:
        launches.found["cudnn"] += 1
        lost = layer.dilation * (layer.weight.shape[2] - 1) - 2 * layer.padding
        shape = x.shape[0], layer.weight.shape[0], x.shape[2] - lost, x.shape[3] - lost
        return torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)

    with pytest.MonkeyPatch.context() as patch:
        as_on_a_gpu(patch)
        patch.setattr(upsampler, "stages", lambda device: stages)
        patch.setattr(type(pyramid._up), "run", launch)
        patch.setattr(cuda._Layer, "__call__", convolve)
        with torch.inference_mode(), recorded(launches):  # nothing may ask for a value: a CUDA graph could not
            made = {"size": size, "info": info, "run": engine, "options": frame.options, "device": CPU}
            result = upsampler._upsample(lambda: color, lambda: depth, **made)
    assert result.shape == size
    return launches.found
