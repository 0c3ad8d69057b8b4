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

"""The engines that there are, and which to try, best first."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata

from dkn.engines.base import PRECISIONS, Engine
from dkn.errors import ConfigError
from dkn.networks.weights import Weights
from dkn.ops import triton_version
from dkn.utils.device import CPU, Device, has_native_bf16

TENSOR_CORES = (8, 0)
"""Compute capability from which Triton's kernels use tensor cores. Below (a Turing, 7.5) they spill registers: they
come last there."""


@dataclass(frozen=True)
class Entry:
    """An engine that there is, described without importing what it needs."""

    place: str
    """module:class"""
    packages: tuple[str, ...]
    precisions: Mapping[str, tuple[str, ...]]
    """What its convolutions can be computed in, by type of device; the fastest first."""
    oldest: Mapping[str, str] = field(default_factory=dict)
    """Of these packages, the oldest version that will do."""


ENGINES = {
    "cuda": Entry(
        "dkn.engines.cuda:CudaEngine",
        ("triton",),
        {"cuda": ("fp16",)},
        {"triton": ".".join(map(str, triton_version.OLDEST))},
    ),
    "openvino": Entry(
        "dkn.engines.graph:OpenVINOEngine", ("openvino", "onnx", "numba"), {"cpu": ("int8", "bf16", "fp32")}
    ),
    "onnx": Entry("dkn.engines.graph:OnnxEngine", ("onnxruntime", "onnx", "numba"), {"cpu": ("fp32", "int8")}),
    "torch": Entry(
        "dkn.engines.pytorch:TorchEngine", ("torch",), {"cuda": ("fp16", "bf16", "fp32"), "cpu": ("bf16", "fp32")}
    ),
    "reference": Entry("dkn.engines.reference:ReferenceEngine", ("torch",), {"cuda": ("fp32",), "cpu": ("fp32",)}),
}
"""The fastest first."""


@dataclass(frozen=True)
class Choice:
    """An engine that could serve, not yet made."""

    name: str
    device: Device
    precision: str

    def __str__(self) -> str:
        return f"{self.name} ({self.device.type}, {self.precision})"

    def make(self, weights: Weights) -> Engine:
        module, _, name = ENGINES[self.name].place.partition(":")
        return getattr(importlib.import_module(module), name)(weights, self.device, self.precision)


def plan(device: Device, engine: str = "auto", precision: str = "auto") -> list[Choice]:
    """What to try, best first; on CUDA the CPU comes last.

    Args:
        engine: one of `ENGINES`, or auto.
        precision: of the convolutions: one of `PRECISIONS`, or auto (what the engine is fastest in here).

    Raises:
        ConfigError: an unknown name, a missing package, or nothing that can do this on this device.
    """
    if engine not in ("auto", *ENGINES):
        raise ConfigError(f"engine={engine!r}: choose auto, {', '.join(ENGINES)}")
    if precision not in ("auto", *PRECISIONS):
        raise ConfigError(f"precision={precision!r}: choose auto, {', '.join(PRECISIONS)}")
    choices: list[Choice] = []
    needed: set[str] = set()
    for name, entry in ENGINES.items():
        if (engine == "auto" and name == "reference") or engine not in ("auto", name):
            continue
        missing = _missing(entry)
        if missing and engine != "auto":
            raise ConfigError(f"engine={engine!r} needs what is not installed: pip install {shlex.join(missing)}")
        offered = entry.precisions.get(device.type, ())
        needed.update(missing if device.type in entry.precisions else ())
        wanted = _fastest(offered, device) if precision == "auto" else precision
        if wanted in offered and not missing:
            choices.append(Choice(name, device, wanted))
    if not choices:
        hint = f": pip install {shlex.join(sorted(needed))}" if needed else ""
        raise ConfigError(f"engine={engine!r} with precision={precision!r} is not to be had on {device.type}{hint}")
    if device.type == "cuda" and not _has_tensor_cores(device):
        choices.sort(key=lambda choice: choice.name == "cuda")
    if device.type == "cuda" and engine == "auto":
        choices += plan(CPU)
    return choices


def _has_tensor_cores(device: Device) -> bool:
    import torch

    return not torch.cuda.is_available() or torch.cuda.get_device_capability(str(device)) >= TENSOR_CORES


def _missing(entry: Entry) -> list[str]:
    """What is to be installed before an engine can be used, as pip takes it."""
    found = []
    for package in entry.packages:
        if importlib.util.find_spec(package) is None:
            found.append(package)
        elif (oldest := entry.oldest.get(package)) and _numbers(metadata.version(package)) < _numbers(oldest):
            found.append(f"{package}>={oldest}")
    return found


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]


def candidates(device: Device, engine: str = "auto", precision: str = "auto") -> list[Choice]:
    """What is worth timing against each other on a CPU: all of `plan`, in every precision. PyTorch only where there is
    nothing else: it was nowhere the fastest, and to import it alone takes 190 MB.

    Empty on CUDA, where there is one engine, and where both are given.

    Raises:
        ConfigError: as `plan`.
    """
    if device.type != "cpu" or "auto" not in (engine, precision):
        return []
    found: list[Choice] = []
    for choice in plan(device, engine, precision):
        if choice.name == "torch" and found:
            continue
        offered = ENGINES[choice.name].precisions["cpu"] if precision == "auto" else (precision,)
        found += [Choice(choice.name, device, p) for p in offered if p == choice.precision or _worth_it(p, device)]
    return found


def _fastest(offered: Sequence[str], device: Device) -> str:
    return next((p for p in offered if _worth_it(p, device)), "")


def _worth_it(precision: str, device: Device) -> bool:
    """Emulated, bfloat16 is slower than float32; eight bits are not."""
    return device.type != "cpu" or precision != "bf16" or has_native_bf16()
