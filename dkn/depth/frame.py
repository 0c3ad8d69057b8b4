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

"""What a frame passes through before and after the network: in PyTorch, or fused into a few launches on a GPU."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from dkn.depth import kernels
from dkn.depth.alignment import compile_search
from dkn.depth.holes.validity import compile_vote, upsample_validity
from dkn.depth.network_input import Prepared, compile_mixed_pixels, prepare
from dkn.depth.resample import clamp, compile_resampling, compiled, local_range, serves
from dkn.ops import triton_version

log = logging.getLogger("dkn")
COMPILER = "dkn-compile"


@dataclass(frozen=True)
class Stages:
    """The same functions by one implementation. Those of PyTorch, below and in the modules they come from, say what
    they do; the others take one map at a time (N = 1)."""

    validity: Callable[[Tensor, float, float], Tensor]
    """`validity`"""
    prepare: Callable[[Tensor, Tensor, tuple[int, int], float | None, int], Prepared]
    """`dkn.depth.network_input.prepare`"""
    local_range: Callable[[Tensor, Tensor, tuple[int, int], int], Tensor]
    """`dkn.depth.resample.local_range`"""
    finish: Callable[[Tensor, Prepared, Tensor, Tensor, Tensor, Tensor, bool], Tensor]
    """`finish`"""


def validity(low: Tensor, least: float, most: float) -> Tensor:
    """Where a depth (1, 1, h, w) is positive, finite, and within these metres: (1, 1, h, w) bool."""
    if serves(compiled, low):
        return torch.from_numpy(compiled.within(low[0, 0].numpy(), least, most))[None, None]
    return (low > 0) & (low >= least) & (low <= most) & low.isfinite()


def finish(
    result: Tensor, prepared: Prepared, bounds: Tensor, low: Tensor, valid: Tensor, color: Tensor, cut: bool
) -> Tensor:
    """What the network gave, in metres, within bounds, and NaN where nothing is known.

    Args:
        result: (1, 1, H, W), in the unit of `prepared`.
        bounds: (1, 2, h, w) of `local_range`.
        low, valid: (1, 1, h, w) metres and bool: what was measured.
        color: (H, W, 3) uint8 RGB.
        cut: unknown is what `upsample_validity` says; otherwise nothing, unless all of `low` is.

    Returns:
        (1, 1, H, W) float32.
    """
    metres = clamp(result, bounds, prepared.unit, prepared.start)
    known = upsample_validity(valid, color, low, metres) if cut else valid.any()
    return metres.masked_fill_(~known, math.nan)


@contextmanager
def compiling(first: bool) -> Iterator[None]:
    """Compile what a CPU does here after the body, once a process: some seconds, or a part of one where Numba kept it.

    Args:
        first: no frame may come before it is done. Otherwise a thread does it, and until then, from the body on,
            PyTorch serves: slower, and with other roundings.
    """
    begins = not first and not kernels.awaited and not compile_stages.cache_info().currsize
    if begins:
        kernels.awaited = True
    try:
        yield
    except BaseException:
        kernels.awaited = kernels.awaited and not begins
        raise
    if begins:
        threading.Thread(target=_compile, name=COMPILER).start()
    elif first:
        compile_stages()


@cache
def compile_stages() -> None:
    """Compile them here and now."""
    for compile_some in (compile_resampling, compile_mixed_pixels, compile_vote, compile_search):
        if threading.main_thread().is_alive():
            compile_some()


def is_compiling() -> bool:
    """Whether that thread is at work."""
    return any(thread.name == COMPILER for thread in threading.enumerate())


def _compile() -> None:
    try:
        compile_stages()
    except Exception as error:  # PyTorch goes on
        if threading.main_thread().is_alive():  # else nobody is left to want to know
            log.warning("Numba cannot compile (%s); plain PyTorch takes its place", error)
    else:
        kernels.awaited = False


PYTORCH = Stages(validity, prepare, local_range, finish)


def stages(device: torch.device) -> Stages:
    """The fastest that there are for tensors on this device. The first time that it is asked, it waits for the device:
    that has to be before a CUDA graph is recorded."""
    return _fused(device) if device.type == "cuda" else PYTORCH


@cache
def _fused(device: torch.device) -> Stages:
    """Triton's, if it is there, new enough, and solves small problems on this device; a failure is reported, once."""
    try:
        if not triton_version.is_new_enough():
            return PYTORCH
        from dkn.depth import fused
    except ImportError:
        return PYTORCH
    found = Stages(fused.validity, fused.prepare, fused.local_range, fused.finish)
    try:
        error = max(difference(found, device, *case) for case in CASES)
        complaint = "" if error < 1e-3 else f"differ from PyTorch by {error:.1e} m"
    except Exception as reason:  # its compiler, the driver or the GPU: many kinds, and none is worth a crash
        complaint = f"failed with {type(reason).__name__}: {reason}"
    if complaint:
        log.warning("Fused kernels on %s %s; plain PyTorch takes their place", device, complaint)
        return PYTORCH
    return found


# Both numbers of channels; with a vote, without, and all filled; a map for one program, and one for several launches.
CASES = [((12, 16), (48, 64), 4, True), ((12, 16), (20, 30), 4, True), ((100, 90), (100, 90), 1, False)]


def difference(
    candidate: Stages, device: torch.device, small: tuple[int, int], size: tuple[int, int], channels: int, cut: bool
) -> float:
    """Largest difference from PyTorch's stages, in metres, on a made-up map with holes; infinite where they disagree
    about what is known in more than single pixels."""
    random = torch.Generator().manual_seed(0)
    low = 1 + torch.rand(1, 1, *small, generator=random)
    low[..., 5:] += 2
    low[torch.rand(low.shape, generator=random) < 0.3] = math.nan
    color = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=random)
    low, color = low.to(device), color.to(device)
    found = []
    for stage in (PYTORCH, candidate):
        valid = stage.validity(low, 0.5, math.inf)
        prepared = stage.prepare(low, valid, size, 10.0, channels)
        bounds = stage.local_range(prepared.filled, valid, size, 7)
        metres = stage.finish(prepared.shown[:, :1], prepared, bounds, low, valid, color, cut)
        found.append((prepared.shown, metres))
    (expected_shown, expected), (shown, result) = found
    known = expected.isfinite() & result.isfinite()
    if (expected.isfinite() != result.isfinite()).sum() > 0.01 * known.numel():  # votes that are even but for rounding
        return math.inf
    apart = (result - expected).abs().masked_fill(~known, 0).max()
    return float(torch.maximum(apart, (shown - expected_shown).abs().max()))
