"""What to compute on, and how precisely."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from dkn.errors import ConfigError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

N = TypeVar("N", bound=nn.Module)


def channels_last(network: N, device: torch.device) -> N:
    """Move a network to `device` in the memory layout that convolutions are fastest in."""
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def choose_device(name: str) -> torch.device:
    """auto, cpu or cuda → a device that is there.

    Raises:
        ConfigError: an unknown name, or cuda where torch has none.
    """
    if name not in ("auto", "cpu") and not name.startswith("cuda"):
        raise ConfigError(f"device={name!r}: choose auto, cpu or cuda")
    available = torch.cuda.is_available()
    if name.startswith("cuda") and not available:
        raise ConfigError(f"device={name!r}, but this torch sees no CUDA device; use auto or cpu")
    return torch.device("cuda" if name == "auto" and available else "cpu" if name == "auto" else name)


def has_native_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; emulated, it would be slower than float32."""
    return bool({"avx512_bf16", "amx_bf16"} & _cpu_flags())


def has_native_int8() -> bool:
    """Whether the CPU sums products of bytes in hardware."""
    return bool({"avx512_vnni", "avx_vnni", "amx_int8"} & _cpu_flags())


@cache
def _cpu_flags() -> set[str]:
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return set()
