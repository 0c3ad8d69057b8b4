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

"""The Numba kernels against the readable sampler in float64, which its own tests hold to the equations."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from dkn import ops
from dkn.ops import average, sampling
from dkn.ops.sampling import regular_taps

pytest.importorskip("numba")
from dkn.ops import numba_sampling
from dkn.ops.numba_average import average_kernels
from dkn.ops.numba_cells import color_cells, depth_cell_size, depth_cells


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def problem(k: int, size: tuple[int, int], channels: int, reach: float, seed: int = 0) -> tuple[Tensor, ...]:
    """Image, weights, offsets (deviation `reach` pixels) and a gradient, float32, two of each."""
    random = torch.Generator().manual_seed(seed)
    counts = channels, k * k, 2 * k * k, channels
    image, weights, offsets, gradient = (torch.randn(2, c, *size, generator=random) for c in counts)
    return image + 3, weights, offsets * reach, gradient


def run(sampler, tensors: tuple[Tensor, ...], k: int, window: int, dtype: torch.dtype) -> list[Tensor]:
    """The average and its gradients to image, weights and offsets."""
    *inputs, gradient = (t.to(dtype) for t in tensors)
    inputs = [t.requires_grad_() for t in inputs]
    result = sampler(*inputs, regular_taps(k), window)
    result.backward(gradient)
    return [result.detach(), *(t.grad for t in inputs)]


@pytest.mark.parametrize(
    ("k", "size", "channels", "window", "reach"),
    [
        (3, (9, 13), 1, 15, 2.0),
        (3, (9, 13), 3, 5, 2.0),  # around the edge of the window
        (1, (1, 1), 1, 3, 1.0),
        (5, (2, 17), 2, 15, 30.0),  # mostly outside
        (7, (11, 3), 1, 9, 0.7),
    ],
)
def test_values_and_gradients(k, size, channels, window, reach, threads):
    tensors = problem(k, size, channels, reach)
    expected = run(sampling.weighted_average, tensors, k, window, torch.float64)
    results = run(numba_sampling.weighted_average, tensors, k, window, torch.float32)
    for result, wanted in zip(results, expected, strict=True):
        assert wanted.abs().max() > 0
        torch.testing.assert_close(result.double(), wanted, rtol=1e-5, atol=1e-4)


def test_an_image_that_needs_no_gradient_gets_none():
    image, weights, offsets, gradient = problem(3, (6, 7), 1, 1.0)
    weights.requires_grad_()
    numba_sampling.weighted_average(image, weights, offsets, regular_taps(3), 7).backward(gradient)
    assert image.grad is None and offsets.grad is None
    assert weights.grad is not None and weights.grad.abs().max() > 0


def test_a_second_derivative_is_refused():
    image, weights, offsets, _ = problem(3, (4, 4), 1, 1.0)
    weights.requires_grad_()
    result = numba_sampling.weighted_average(image, weights, offsets, regular_taps(3), 7)
    (first,) = torch.autograd.grad(result.square().sum(), weights, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 3e9])
def test_wild_offsets_touch_their_own_pixel_alone(wild):
    image, weights, offsets, gradient = problem(3, (8, 9), 1, 1.0)
    expected = run(sampling.weighted_average, (image, weights, offsets, gradient), 3, 7, torch.float64)[0]
    offsets[0, 4, 3, 5] = wild
    offsets[1, 9, 7, 8] = wild
    results = run(numba_sampling.weighted_average, (image, weights, offsets, gradient), 3, 7, torch.float32)
    elsewhere = torch.ones(2, 1, 8, 9, dtype=torch.bool)
    elsewhere[0, 0, 3, 5] = elsewhere[1, 0, 7, 8] = False
    torch.testing.assert_close(results[0].double()[elsewhere], expected[elsewhere], rtol=1e-5, atol=1e-5)


def test_the_dispatcher_chooses_by_type(monkeypatch):
    taken = []
    monkeypatch.setattr(average, "_numba_sampler", lambda: lambda *a: taken.append("numba"))
    monkeypatch.setattr(sampling, "weighted_average", lambda *a: taken.append("readable"))
    image, weights, offsets, _ = problem(3, (4, 4), 1, 1.0)
    for dtype in (torch.float32, torch.float64):
        average.weighted_average(image.to(dtype), weights.to(dtype), offsets.to(dtype), regular_taps(3), 7)
    average.weighted_average(image, weights.bfloat16(), offsets, regular_taps(3), 7)
    assert taken == ["numba", "readable", "readable"]


def test_without_numba_the_readable_sampler_serves(monkeypatch):
    monkeypatch.setitem(sys.modules, "dkn.ops.numba_sampling", None)
    monkeypatch.delattr(ops, "numba_sampling")
    assert average._numba_sampler.__wrapped__() is sampling.weighted_average


def lay_out(heads: Tensor, phases: int) -> np.ndarray:
    """(1, C, H, W) → what a head gives: (H/p, W/p, C·p²)."""
    return torch.nn.functional.pixel_unshuffle(heads, phases)[0].permute(1, 2, 0).contiguous().numpy()


@pytest.mark.parametrize("phases", [1, 4])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(("k", "window", "reach"), [(3, 15, 3.0), (5, 5, 2.0), (1, 3, 20.0)])
def test_average_of_kernels(phases, residual, k, window, reach, threads):
    random = torch.Generator().manual_seed(1)
    depth = torch.rand(1, 1, 10, 13, generator=random)
    size = (-(-10 // phases) * phases, -(-13 // phases) * phases)  # features reach beyond the image
    weights = torch.rand(1, k * k, *size, generator=random)
    offsets = torch.randn(1, k * k, 2, *size, generator=random) * reach
    result = average_kernels(
        depth[0, 0].numpy(),
        [lay_out(weights, phases)],
        [lay_out(offsets.transpose(1, 2).flatten(1, 2), phases)],
        regular_taps(k).numpy(),
        window,
        phases,
        residual=residual,
    )
    kernel, shifts = weights[..., :10, :13].double(), offsets.flatten(1, 2)[..., :10, :13].double()
    kernel = kernel - kernel.mean(1, keepdim=True) if residual else kernel / kernel.sum(1, keepdim=True)
    expected = sampling.weighted_average(depth.double(), kernel, shifts, regular_taps(k), window)
    if residual:
        expected = expected + depth
    np.testing.assert_allclose(result, expected[0, 0].numpy(), atol=1e-5)


def test_average_of_kernels_that_are_all_zero():
    zeros = np.zeros((3, 4, 9), np.float32)
    shifts = np.zeros((3, 4, 18), np.float32)
    depth = np.ones((3, 4), np.float32)
    result = average_kernels(depth, [zeros], [shifts], regular_taps(3).numpy(), 7, 1, residual=False)
    np.testing.assert_array_equal(result, 0)


@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -float("inf"), 1e30, -3e9])
def test_average_with_wild_offsets(wild):
    rng = np.random.default_rng(0)
    depth, weights = rng.random((8, 8), np.float32), rng.random((2, 2, 144), np.float32)
    shifts = rng.standard_normal((2, 2, 288), np.float32)
    arguments = regular_taps(3).numpy(), 7, 4
    expected = average_kernels(depth, [weights], [shifts], *arguments, residual=True)
    shifts[1, 0, 16 * 4 + 5] = wild  # tap 4, phase 5: the pixel (4 + 1, 0 + 1)
    result = average_kernels(depth, [weights], [shifts], *arguments, residual=True)
    elsewhere = np.ones((8, 8), bool)
    elsewhere[5, 1] = False
    np.testing.assert_array_equal(result[elsewhere], expected[elsewhere])


def test_average_of_factors():
    """Two of weights and of offsets are as good as their product; without offsets the taps stay where they are."""
    rng = np.random.default_rng(0)
    depth = rng.random((9, 14), np.float32)
    weights, shifts = rng.random((2, 3, 4, 144), np.float32), rng.standard_normal((2, 3, 4, 288), np.float32)
    arguments = regular_taps(3).numpy(), 15, 4
    product = average_kernels(depth, [weights[0] * weights[1]], [2 * shifts[0] * shifts[1]], *arguments, residual=True)
    result = average_kernels(depth, list(weights), list(shifts), *arguments, residual=True, offset_unit=2.0)
    np.testing.assert_allclose(result, product, atol=1e-6)
    still = average_kernels(depth, list(weights), [0 * shifts[0]], *arguments, residual=True)
    np.testing.assert_array_equal(average_kernels(depth, list(weights), [], *arguments, residual=True), still)
    assert np.abs(still - product).max() > 0.01


@pytest.mark.parametrize("factors", [(1, 1), (2, 2), (2, 1), (1, 0)])
@pytest.mark.parametrize("residual", [True, False])
def test_average_of_bytes(factors, residual):
    """Equal to that of the floats that the levels stand for."""
    rng = np.random.default_rng(0)
    depth = rng.random((9, 14), np.float32)
    n_weights, n_offsets = factors
    weights = rng.integers(0, 256, (n_weights, 3, 4, 144)).astype(np.uint8)
    offsets = rng.integers(0, 256, (n_offsets, 3, 4, 288)).astype(np.uint8)
    arguments = regular_taps(3).numpy(), 15, 4
    step = 0.05 ** max(1, n_offsets)
    result = average_kernels(depth, list(weights), list(offsets), *arguments, residual=residual, offset_unit=step)
    floats = [w / np.float32(255) for w in weights], [np.float32(0.05) * (o.astype(np.float32) - 128) for o in offsets]
    expected = average_kernels(depth, *floats, *arguments, residual=residual)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert np.abs(expected - depth).max() > 0.01


@pytest.mark.parametrize("phases", [1, 4])
def test_cells(phases):
    """Against torch's pixel_unshuffle of the image continued by its last row and column."""
    rng = np.random.default_rng(0)
    color, depth = rng.integers(0, 256, (10, 13, 3), np.uint8), rng.random((4, 10, 13), np.float32)
    depth[2:] = depth[2:, :1, :1]

    def unshuffled(image: np.ndarray) -> np.ndarray:
        """(C, H, W) → (rows, columns, p², C)"""
        x = torch.from_numpy(image).float()[None]
        x = torch.nn.functional.pad(x, (0, -13 % phases, 0, -10 % phases), mode="replicate")
        x = torch.nn.functional.pixel_unshuffle(x, phases)[0].permute(1, 2, 0)
        return x.unflatten(2, (-1, phases**2)).mT.numpy()

    expected = unshuffled(color.transpose(2, 0, 1))
    np.testing.assert_array_equal(color_cells(color, phases), expected.reshape(*expected.shape[:2], -1))
    expected, area = unshuffled(depth), phases**2
    for parts in (1, 2):
        cells = depth_cells(depth, phases, parts)
        assert cells.shape[2] == depth_cell_size(4, phases, parts)
        first = cells[..., : parts * area].reshape(*cells.shape[:2], parts, area)
        np.testing.assert_array_equal(first.sum(axis=2), expected[..., 0])
        leading = torch.from_numpy(first[:, :, 0])
        assert parts == 1 or torch.equal(leading.bfloat16().float(), leading)
        np.testing.assert_array_equal(cells[..., parts * area : -2], expected[..., 1])
        np.testing.assert_array_equal(cells[..., -2:], expected[..., 0, 2:])
    assert depth_cells(depth[:1], phases, 1).shape[2] == area
