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

"""What Numba compiles of depth's way to a network and back, against the same in PyTorch."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dkn.depth import frame, network_input, resample

pytest.importorskip("numba")

SIZES = st.tuples(st.integers(1, 23), st.integers(1, 23))


def both(module: ModuleType, name: str, *arguments: object) -> tuple[Any, Any]:
    """A function's result compiled, and in PyTorch."""
    assert module.compiled is not None
    compiled = getattr(module, name)(*arguments)
    with pytest.MonkeyPatch.context() as without:
        without.setattr(module, "compiled", None)
        return compiled, getattr(module, name)(*arguments)


def maps(seed: int, size: tuple[int, int], share: float, batch: int = 2) -> tuple[Tensor, Tensor]:
    """Depth in metres with steps, NaN where not valid, and which pixels are valid: at least one of each map."""
    rng = np.random.default_rng(seed)
    depth = 1 + 5 * rng.random((batch, 1, *size), np.float32).round(1)
    valid = rng.random(depth.shape) < share
    valid[..., rng.integers(size[0]), rng.integers(size[1])] = True
    return torch.from_numpy(np.where(valid, depth, np.nan).astype(np.float32)), torch.from_numpy(valid)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), size=SIZES, share=st.sampled_from([0.0, 0.1, 0.6, 0.95, 1.0]))
def test_holes(seed, size, share):
    depth, valid = maps(seed, size, share)
    compiled, expected = both(resample, "fill_holes", depth, valid)
    torch.testing.assert_close(compiled, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(compiled[valid], depth[valid])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=SIZES,
    share=st.sampled_from([0.0, 0.05, 0.6, 1.0]),
    ratio=st.sampled_from([(1, 1), (2, 3), (8, 8), (0.5, 1.7)]),
    reach=st.integers(0, 31),
)
def test_range_of_the_surroundings(seed, size, share, ratio, reach):
    depth, valid = maps(seed, size, share)
    filled = resample.fill_holes(depth, valid)
    target = [max(1, round(n * r)) for n, r in zip(size, ratio, strict=True)]
    result = torch.from_numpy(np.random.default_rng(seed).normal(3, 4, (2, 1, *target)).astype(np.float32))
    compiled, expected = both(resample, "clamp_to_local_range", result, filled, valid, reach)
    torch.testing.assert_close(compiled, expected, atol=1e-6, rtol=1e-6)


def test_the_result_is_as_it_was():
    depth, valid = maps(0, (6, 8), 1.0, batch=1)
    result = torch.full((1, 1, 12, 16), 100.0)
    assert resample.clamp_to_local_range(result, depth, valid, 3).max() < 10
    assert (result == 100).all()


def test_units_and_bounds_in_one_pass():
    """By NumPy: each pixel between the bounds of the input pixel that it lies in."""
    rng = np.random.default_rng(0)
    result = rng.normal(0.3, 0.2, (1, 1, 6, 9)).astype(np.float32)
    low = rng.random((1, 1, 2, 3)).astype(np.float32) + 1
    bounds = np.concatenate((low, low + 1), axis=1)
    least, most = np.repeat(np.repeat(bounds[0], 3, axis=1), 3, axis=2)
    expected = np.clip(result[0, 0] * np.float32(10) + np.float32(-0.5), least, most)
    for clamped in both(resample, "clamp", torch.from_numpy(result), torch.from_numpy(bounds), 10.0, -0.5):
        np.testing.assert_allclose(clamped[0, 0].numpy(), expected, rtol=1e-6)
    of_the_map = resample.clamp(torch.from_numpy(result), torch.from_numpy(bounds), torch.tensor(10.0), -0.5)
    np.testing.assert_allclose(of_the_map[0, 0].numpy(), expected, rtol=1e-6)


def test_which_depths_are_valid():
    """Limits are valid themselves, as float32 has them."""
    depth = np.float32([[0.1, 0.3, np.nextafter(np.float32(0.3), np.float32(0)), 4, 4.5], [0, -1, np.nan, np.inf, 1]])
    ends = [[False, True, False, True, False], [False, False, False, False, True]]
    everything = [[True, True, True, True, True], [False, False, False, False, True]]
    for limits, expected in (((0.3, 4.0), ends), ((0.0, math.inf), everything)):
        for valid in both(frame, "validity", torch.from_numpy(depth)[None, None], *limits):
            assert valid[0, 0].tolist() == expected


def test_no_number_stays_none():
    """Comparisons with NaN hold nothing."""
    depth, valid = maps(0, (6, 8), 0.7, batch=1)
    result = torch.full((1, 1, 12, 16), math.nan)
    for clamped in both(resample, "clamp_to_local_range", result, resample.fill_holes(depth, valid), valid, 3):
        assert clamped.isnan().all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(1, 30), st.sampled_from([1, 4, 5, 23, 250])),
    share=st.sampled_from([0.3, 0.95, 1.0]),
    smooth=st.booleans(),
)
def test_mixed_pixels(seed, size, share, smooth):
    rng = np.random.default_rng(seed)
    steps = 1 + 2 * (np.arange(size[1]) // 4 % 2) + np.zeros((2, 1, *size))
    if smooth:  # depths half-way at the edges
        steps = (steps + np.roll(steps, 1, axis=3)) / 2
    depth = torch.from_numpy((steps + 0.01 * rng.random(steps.shape)).astype(np.float32))
    _, valid = maps(seed, size, share)
    compiled, expected = both(network_input, "mixed_pixels", depth, valid)
    assert compiled.shape == expected.shape == (2, 1, 1, 1)
    torch.testing.assert_close(compiled, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(60, 80), (12, 16)])
def test_whole_input(size):
    depth, valid = maps(3, (12, 16), 0.8)
    compiled, expected = both(network_input, "prepare", depth, valid, size, 10.0, 4)
    for ours, theirs in zip(compiled[:2], expected[:2], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
