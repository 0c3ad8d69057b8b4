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

"""Functions of tensors that Numba does where it is there, batches of maps too, against the same in PyTorch."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import depth_in_steps
from torch import Tensor

from dkn.depth import network_input, resample

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
    size=st.tuples(st.integers(1, 30), st.sampled_from([1, 4, 5, 23, 250])),
    share=st.sampled_from([0.3, 0.95, 1.0]),
    smooth=st.booleans(),
)
def test_mixed_pixels(seed, size, share, smooth):
    depth = torch.from_numpy(depth_in_steps(np.random.default_rng(seed), (2, 1, *size), smooth))
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
