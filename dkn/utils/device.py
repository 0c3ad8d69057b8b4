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

"""What to compute on. PyTorch is imported only where there may be a GPU for it."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dkn.errors import ConfigError


@dataclass(frozen=True)
class Device:
    """A processor that tensors or arrays lie on; its text is what PyTorch calls it."""

    type: str
    """cpu or cuda."""
    index: int | None = None
    """Of several GPUs."""

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


CPU = Device("cpu")


def choose_device(name: object) -> Device:
    """auto, cpu, cuda, or one of several as cuda:1, or something of that text → a device that is there.

    Raises:
        ConfigError: an unknown name, or cuda where torch has none.
    """
    name = str(name)
    if name not in ("auto", "cpu") and not re.fullmatch(r"cuda(:\d+)?", name):
        raise ConfigError(f"device={name!r}: choose auto, cpu, cuda, or one of several as cuda:1")
    if name == "cpu" or (name == "auto" and not _may_have_gpu()):
        return CPU
    try:
        import torch
    except ImportError as error:
        if name == "auto":
            return CPU
        raise ConfigError(f"device={name!r} needs PyTorch, which cannot be imported ({error})") from None
    if not torch.cuda.is_available():
        if name == "auto":
            return CPU
        raise ConfigError(f"device={name!r}, but this torch sees no CUDA device; use auto or cpu")
    index = int(name.partition(":")[2]) if ":" in name else torch.cuda.current_device()
    if index >= (count := torch.cuda.device_count()):
        raise ConfigError(f"device={name!r}: this torch sees {count} CUDA device(s), counted from 0")
    # With its index: what "cuda" alone means is another device in each thread that says so.
    return Device("cuda", index)


GPU_FILES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/nvmap", "/dev/dxg", "/dev/kfd")
"""What there is of on Linux wherever PyTorch may find a GPU: NVIDIA's driver, on a PC and on a Jetson; WSL; ROCm."""


def _may_have_gpu() -> bool:
    """Whether it is worth asking PyTorch, which takes a second and 190 MB to import."""
    return "torch" in sys.modules or not sys.platform.startswith("linux") or any(map(os.path.exists, GPU_FILES))


def has_native_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; emulated, it would be slower than float32."""
    return bool({"avx512_bf16", "amx_bf16"} & cpu_flags())


def has_native_int8() -> bool:
    """Whether the CPU sums products of bytes in hardware."""
    return bool({"avx512_vnni", "avx_vnni", "amx_int8"} & cpu_flags())


CAP = "ONEDNN_MAX_CPU_ISA"
"""The environment variable that keeps oneDNN, and with it PyTorch and OpenVINO, from newer instructions."""
_CAPS = {
    "SSE41": ("avx", "amx"),
    "AVX": ("avx2", "avx_vnni", "avx512", "amx"),
    "AVX2": ("avx_vnni", "avx512", "amx"),
    "AVX2_VNNI": ("avx512", "amx"),
    "AVX2_VNNI_2": ("avx512", "amx"),
    "AVX512_CORE": ("avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx"),
    "AVX512_CORE_VNNI": ("avx512_bf16", "avx512_fp16", "amx"),
    "AVX512_CORE_BF16": ("avx512_fp16", "amx"),
    "AVX512_CORE_FP16": ("amx",),
}
"""What each value of it forbids: flags that begin so."""


def cpu_flags() -> frozenset[str]:
    """Instruction sets of the CPU, as Linux calls them, that libraries are allowed to use: the only place where this is
    asked."""
    forbidden = _CAPS.get(os.environ.get(CAP, "").upper(), ())
    return frozenset(flag for flag in _cpuinfo() if not flag.startswith(forbidden)) if forbidden else _cpuinfo()


@cache
def _cpuinfo() -> frozenset[str]:
    try:
        return frozenset(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return frozenset()


_INSTRUCTIONS = {
    "amx_int8": "AMX",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 bf16",
    "avx_vnni": "AVX-VNNI",
    "avx2": "AVX2",
    "i8mm": "I8MM",
    "asimddp": "DotProd",
    "asimd": "NEON",
}


def instruction_sets() -> str:
    """What matters here of what the CPU can do, in words; and that it is capped, if so."""
    found = [name for flag, name in _INSTRUCTIONS.items() if flag in cpu_flags()]
    cap = os.environ.get(CAP)
    return ", ".join(found) + (f"; capped to {cap}" if cap else "")
