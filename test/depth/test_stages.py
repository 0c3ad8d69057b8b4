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

"""The stages of a frame on a CPU, by Numba and by NumPy, against those of PyTorch; and which of them serves."""

from __future__ import annotations

import math
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from launches import on_arrays
from PIL import Image
from samples import depth_in_steps

from dkn.depth import kernels, network_input, resample
from dkn.depth.kernels import numpy_network_input, numpy_resample
from dkn.depth.stages import choice, host
from dkn.depth.stages.pytorch import PYTORCH

numba_resample = pytest.importorskip("dkn.depth.kernels.numba_resample")
numba_network_input = pytest.importorskip("dkn.depth.kernels.numba_network_input")

SIZES = st.tuples(st.integers(1, 23), st.integers(1, 23))
SHARES = st.sampled_from([0.0, 0.05, 0.6, 0.95, 1.0])
BY_NUMBA, BY_PYTORCH = host.compiled(), on_arrays(PYTORCH)
ON_CPU = pytest.mark.parametrize("stages", [BY_NUMBA, host.BY_NUMPY], ids=["Numba", "NumPy"])
ALL = pytest.mark.parametrize("stages", [BY_NUMBA, host.BY_NUMPY, BY_PYTORCH], ids=["Numba", "NumPy", "PyTorch"])
RESAMPLE = pytest.mark.parametrize("module", [numba_resample, numpy_resample], ids=["Numba", "NumPy"])


@pytest.fixture(autouse=True, scope="module")
def _pytorch_alone():
    """On the other side of the comparison."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (resample, network_input):
            patch.setattr(module, "compiled", None)
        yield


def a_map(seed: int, size: tuple[int, int], share: float) -> tuple[np.ndarray, np.ndarray]:
    """(1, 1, h, w): depth in metres with steps, NaN where not valid, and which pixels are valid: at least one."""
    rng = np.random.default_rng(seed)
    depth = 1 + 5 * rng.random((1, 1, *size), np.float32).round(1)
    valid = rng.random(depth.shape) < share
    valid[..., rng.integers(size[0]), rng.integers(size[1])] = True
    return np.where(valid, depth, np.float32(np.nan)), valid


@ON_CPU
@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=SIZES,
    target=SIZES,
    share=SHARES,
    depth_range=st.sampled_from([10.0, None]),
    channels=st.sampled_from([1, 4]),
    reach=st.integers(0, 31),
    cut=st.booleans(),
)
def test_all_of_a_frame_but_the_network(stages, seed, size, target, share, depth_range, channels, reach, cut):
    low, valid = a_map(seed, size, share)
    rng = np.random.default_rng(seed)
    color = rng.integers(0, 256, (*target, 3), np.uint8)
    change = rng.normal(0, 0.3, (1, 1, *target)).astype(np.float32)
    found = []
    for one in (stages, BY_PYTORCH):
        assert np.array_equal(one.validity(low, 0.0, math.inf), valid)
        prepared = one.prepare(low, valid, target, depth_range, channels)
        bounds = one.local_range(prepared.filled, valid, target, reach)
        result = prepared.shown[:, :1] + change / np.float32(prepared.unit)
        metres = one.finish(result, prepared, bounds, low, valid, color, cut)
        assert metres.shape == (1, 1, *target) and metres.dtype == np.float32
        shown = prepared.shown.copy()
        shown[:, :1] = shown[:, :1] * prepared.unit + prepared.start
        found.append((prepared.filled, shown, bounds, metres))
    for ours, theirs in zip(found[0][:-1], found[1][:-1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    ours, theirs = (metres[-1] for metres in found)
    exact = [(2 * np.arange(n) + 1) * m % (2 * n) > 0 for n, m in zip(target, size, strict=True)]
    certain = exact[0][:, None] & exact[1]  # a centre just on a border is rounded to either side by PyTorch
    both = np.isfinite(ours) & np.isfinite(theirs) & certain
    differ = (np.isfinite(ours) != np.isfinite(theirs)) & certain
    assert differ.sum() <= 0.02 * ours.size  # votes that are even but for rounding
    np.testing.assert_allclose(ours[both], theirs[both], rtol=1e-4, atol=1e-4)


@RESAMPLE
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), size=SIZES, target=SIZES)
def test_interpolation_is_that_of_pil(module, seed, size, target):
    image = np.random.default_rng(seed).random(size, np.float32)
    expected = np.asarray(Image.fromarray(image).resize(target[::-1], Image.Resampling.BICUBIC))
    np.testing.assert_allclose(module.resize_bicubic(image, target), expected, atol=2e-6)


@ON_CPU
def test_what_is_measured_stays(stages):
    low, valid = a_map(0, (12, 16), 0.6)
    filled = stages.prepare(low, valid, (12, 16), 10.0, 1).filled
    assert np.array_equal(filled[valid], low[valid]) and np.isfinite(filled).all()


@RESAMPLE
def test_units_and_bounds_in_one_pass(module):
    """By NumPy: each pixel between the bounds of the input pixel that it lies in."""
    rng = np.random.default_rng(0)
    result = rng.normal(0.3, 0.2, (6, 9)).astype(np.float32)
    low = rng.random((2, 3)).astype(np.float32) + 1
    least, most = (np.kron(bound, np.ones((3, 3), np.float32)) for bound in (low, low + 1))
    expected = np.clip(result * np.float32(10) + np.float32(-0.5), least, most)
    clamped = module.clamp(result, low, low + 1, 10.0, -0.5)
    np.testing.assert_allclose(clamped, expected, rtol=1e-6)
    bounds = torch.from_numpy(np.stack((low, low + 1)))[None]
    for unit in (10.0, torch.tensor(10.0)):
        of_pytorch = resample.clamp(torch.from_numpy(result)[None, None], bounds, unit, -0.5)
        np.testing.assert_allclose(of_pytorch[0, 0].numpy(), expected, rtol=1e-6)


@ALL
def test_which_depths_are_valid(stages):
    """Limits are valid themselves, as float32 has them."""
    depth = np.float32([[0.1, 0.3, np.nextafter(np.float32(0.3), np.float32(0)), 4, 4.5], [0, -1, np.nan, np.inf, 1]])
    ends = [[False, True, False, True, False], [False, False, False, False, True]]
    everything = [[True, True, True, True, True], [False, False, False, False, True]]
    for limits, expected in (((0.3, 4.0), ends), ((0.0, math.inf), everything)):
        assert stages.validity(depth[None, None], *limits)[0, 0].tolist() == expected


@ALL
def test_no_number_stays_none(stages):
    """Comparisons with NaN hold nothing."""
    low, valid = a_map(0, (6, 8), 0.7)
    prepared = stages.prepare(low, valid, (12, 16), 10.0, 1)
    bounds = stages.local_range(prepared.filled, valid, (12, 16), 3)
    result, color = np.full((1, 1, 12, 16), np.nan, np.float32), np.zeros((12, 16, 3), np.uint8)
    assert np.isnan(stages.finish(result, prepared, bounds, low, valid, color, False)).all()


@ON_CPU
def test_the_network_s_result_is_as_it_was(stages):
    low, valid = a_map(0, (6, 8), 1.0)
    prepared = stages.prepare(low, valid, (12, 16), 10.0, 1)
    bounds = stages.local_range(prepared.filled, valid, (12, 16), 3)
    result = np.full((1, 1, 12, 16), 100, np.float32)
    assert stages.finish(result, prepared, bounds, low, valid, np.zeros((12, 16, 3), np.uint8), True).max() < 10
    assert (result == 100).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(1, 30), st.sampled_from([1, 4, 5, 23, 250])),
    share=st.sampled_from([0.3, 0.95, 1.0]),
    smooth=st.booleans(),
)
def test_points_or_means(seed, size, share, smooth):
    depth = depth_in_steps(np.random.default_rng(seed), size, smooth)
    valid = a_map(seed, size, share)[1][0, 0]
    expected = network_input.mixed_pixels(*(torch.from_numpy(m)[None, None] for m in (depth, valid)))
    for module in (numba_network_input, numpy_network_input):
        assert module.mixed_pixels(depth, valid) == pytest.approx(float(expected), abs=1e-4)


# --- Which of them serves -----------------------------------------------------------------------------------------


@pytest.fixture
def nothing_chosen(monkeypatch):
    monkeypatch.setattr(kernels, "awaited", False)
    choice._compiled.cache_clear()
    yield
    choice._compiled.cache_clear()


def test_a_cpu_has_what_is_compiled(nothing_chosen):
    assert choice.stages("cpu") is not host.BY_NUMPY


def test_without_numba_there_is_numpy(nothing_chosen, monkeypatch):
    monkeypatch.setitem(sys.modules, "dkn.depth.kernels.numba_resample", None)
    monkeypatch.delattr("dkn.depth.kernels.numba_resample")
    assert choice.stages("cpu") is host.BY_NUMPY


def test_a_frame_needs_no_pytorch(make_model, tmp_path):
    """Which takes a second to import, and more memory than all else."""
    pytest.importorskip("openvino")
    low = np.random.default_rng(0).random((12, 16)).astype(np.float32) + 1
    low[3:6, 4:9] = np.nan
    color = cv2.resize(np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8), (64, 48))
    np.savez(tmp_path / "frame.npz", low=low, color=color)
    code = """
import sys
import numpy as np
from dkn import Upsampler
frame = np.load(sys.argv[2])
for fill in ("none", "small", "all"):
    upsampler = Upsampler(sys.argv[1], fill_holes=fill, align_color=True, min_confidence=0.1)
    upsampler(frame["color"], frame["low"])
upsampler.time_engines(frame["color"], frame["low"])
print(*sorted(name for name in sys.modules if name.partition(".")[0] in ("torch", "triton")))
"""
    model = make_model(tmp_path / "m_x4.safetensors", 4)
    command = [sys.executable, "-c", code, str(model), str(tmp_path / "frame.npz")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
