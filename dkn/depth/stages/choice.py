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

"""Which implementation of the stages of a frame (`dkn.depth.stages`) serves on a device."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from dkn.depth import kernels
from dkn.depth.alignment import compile_search
from dkn.depth.stages.base import Stages
from dkn.depth.stages.host import BY_NUMPY, compiled
from dkn.ops import triton_version

log = logging.getLogger("dkn")
COMPILER = "dkn-compile"
_ONCE = threading.Lock()


def stages(device: str) -> Stages:
    """The fastest that there are on cpu or, say, cuda:0: of arrays on a CPU, of tensors on CUDA.

    The first time it waits: on a CPU until they are compiled, unless `compiling` is to do that; on CUDA for the device,
    so that it has to be before a CUDA graph is recorded.
    """
    if device == "cpu":
        return BY_NUMPY if kernels.awaited else _on_cpu()
    with _ONCE:
        return _fused(device)


@contextmanager
def compiling(first: bool) -> Iterator[None]:
    """Compile what a CPU does here, once a process: some seconds, or a part of one where Numba kept it.

    Args:
        first: beside the body, and no frame may come before it is done. Otherwise a thread does it after the body, and
            until then NumPy serves: slower, and with other roundings.
    """
    if first:
        thread = threading.Thread(target=_on_cpu, name=COMPILER)
        thread.start()
        try:
            yield
        finally:
            thread.join()
        return
    begins = not kernels.awaited and not _compiled.cache_info().currsize
    kernels.awaited = kernels.awaited or begins
    try:
        yield
    except BaseException:
        kernels.awaited = kernels.awaited and not begins
        raise
    if begins:
        threading.Thread(target=_on_cpu, name=COMPILER).start()


def is_compiling() -> bool:
    """Whether that thread is at work."""
    return any(thread.name == COMPILER for thread in threading.enumerate())


def _on_cpu() -> Stages:
    with _ONCE:
        found = _compiled()
        kernels.awaited = found is BY_NUMPY  # also of what is no stage (`dkn.depth.alignment`)
    return found


@cache
def _compiled() -> Stages:
    """Numba's, if it is there and can compile them; otherwise slower and the same."""
    try:
        compile_search()
        return compiled()
    except ImportError:  # an extra
        pass
    except Exception as error:
        if threading.main_thread().is_alive():  # else nobody is left to want to know
            log.warning("Numba cannot compile (%s); NumPy takes its place", error)
    return BY_NUMPY


@cache
def _fused(device: str) -> Stages:
    """Triton's, if it is there, new enough, and solves small problems on this device; a failure is reported, once."""
    from dkn.depth.stages.pytorch import PYTORCH, upsample_validity

    try:
        if not triton_version.is_new_enough():
            return PYTORCH
        from dkn.depth.stages import fused
    except ImportError:
        return PYTORCH
    found = Stages(fused.validity, fused.prepare, fused.local_range, fused.finish, upsample_validity)
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
    candidate: Stages, device: str, small: tuple[int, int], size: tuple[int, int], channels: int, cut: bool
) -> float:
    """Largest difference from PyTorch's stages, in metres, on a made-up map with holes; infinite where they disagree
    about what is known in more than single pixels."""
    import torch

    from dkn.depth.stages.pytorch import PYTORCH

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
