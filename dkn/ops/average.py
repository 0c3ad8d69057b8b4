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

"""Fast versions of `dkn.ops.sampling.weighted_average`, and which of them serves given tensors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from dkn.ops import sampling

Sampler = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]


def weighted_average(image: Tensor, weights: Tensor, offsets: Tensor, taps: Tensor, window: int) -> Tensor:
    """`dkn.ops.sampling.weighted_average` by the fastest implementation that there is for these tensors.

    Numba's and Triton's can be differentiated once, the readable one (float64) any number of times.
    """
    dtypes = {image.dtype, weights.dtype, offsets.dtype}
    if image.is_cuda and torch.float64 not in dtypes:
        sampler = _triton_sampler(image.device)
    elif image.device.type == "cpu" and dtypes == {torch.float32}:
        sampler = _numba_sampler()
    else:
        sampler = sampling.weighted_average
    return sampler(image, weights, offsets, taps, window)


@cache
def _numba_sampler() -> Sampler:
    try:
        from dkn.ops import numba_sampling
    except ImportError:  # an extra: without it, slower and the same
        return sampling.weighted_average
    return numba_sampling.weighted_average


@cache
def _triton_sampler(device: torch.device) -> Sampler:
    """Triton's, if it is there and solves a small problem on this device; a failure is reported, once."""
    try:
        from dkn.ops import triton_sampling
    except ImportError:
        return sampling.weighted_average
    random = torch.Generator().manual_seed(0)
    image, weights, offsets = (torch.randn(1, n, 16, 16, generator=random).to(device) for n in (1, 9, 18))
    problem = image, weights, 4 * offsets, sampling.regular_taps(3), 7
    try:
        error = (triton_sampling.weighted_average(*problem) - sampling.weighted_average(*problem)).abs().max().item()
        complaint = "" if error < 1e-4 else f"differs from the reference by {error:.1e}"
    except Exception as reason:  # its compiler, the driver or the GPU: many kinds, and none is worth a crash
        complaint = f"failed with {type(reason).__name__}: {reason}"
    if complaint:
        logging.getLogger("dkn").warning("Triton on %s %s; plain PyTorch takes its place", device, complaint)
        return sampling.weighted_average
    return triton_sampling.weighted_average
