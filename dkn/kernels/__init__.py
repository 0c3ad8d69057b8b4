"""Fast versions of `dkn.sampling.weighted_average`, and which of them serves given tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from torch import Tensor, float32

from dkn import sampling

Sampler = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]


def weighted_average(image: Tensor, weights: Tensor, offsets: Tensor, taps: Tensor, window: int) -> Tensor:
    """`dkn.sampling.weighted_average` by the fastest implementation that there is for these tensors."""
    plain = image.dtype == weights.dtype == offsets.dtype == float32
    sampler = _numba_sampler() if plain and image.device.type == "cpu" else sampling.weighted_average
    return sampler(image, weights, offsets, taps, window)


@cache
def _numba_sampler() -> Sampler:
    try:
        from dkn.kernels import numba_sampling
    except ImportError:  # an extra: without it, slower and the same
        return sampling.weighted_average
    return numba_sampling.weighted_average
