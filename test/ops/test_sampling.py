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

"""The weighted average of eq. (3) to (7), against eq. (5) and (6) written out, and against grid_sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sampling_cases import by_definition, positions, problem
from torch import Tensor

from dkn.ops.sampling import regular_taps, weighted_average


def by_grid_sample(image: Tensor, weights: Tensor, offsets: Tensor, k: int, window: int) -> Tensor:
    """Unfold the d×d windows, then sample each with torch's own bilinear sampler."""
    n, c, h, w = image.shape
    windows = F.unfold(image, window, padding=window // 2).view(n, c, window, window, h * w)
    windows = windows.permute(0, 4, 1, 2, 3).reshape(n * h * w, c, window, window)
    taps = torch.tensor(positions(k), dtype=image.dtype)
    where = offsets.view(n, k * k, 2, h * w).permute(0, 3, 1, 2) + taps
    grid = (where / (window // 2)).reshape(n * h * w, 1, k * k, 2)
    sampled = F.grid_sample(windows, grid, padding_mode="zeros", align_corners=True)[:, :, 0]
    kernel = weights.view(n, k * k, h * w).permute(0, 2, 1).reshape(n * h * w, 1, k * k)
    return (sampled * kernel).sum(2).view(n, h, w, c).permute(0, 3, 1, 2)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("window", [5, 15])
@pytest.mark.parametrize("reach", [0.7, 5.0, 40.0])  # inside the window; around its edge; mostly far outside
def test_equals_the_definition(k, window, reach):
    image, weights, offsets = problem(k, reach=reach)
    result = weighted_average(image, weights, offsets, regular_taps(k), window)
    expected = by_definition(image, weights, offsets, positions(k), window)
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)
    assert np.abs(expected).max() > 0  # zeros would prove nothing


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (8, 1), (2, 3), (6, 8), (11, 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_the_definition_at_any_size(size, channels):
    image, weights, offsets = problem(3, size, channels, batch=1)
    result = weighted_average(image, weights, offsets, regular_taps(3), 7)
    np.testing.assert_allclose(result.numpy(), by_definition(image, weights, offsets, positions(3), 7), atol=1e-12)


def test_whole_numbered_offsets_up_to_the_window_edge():
    image, weights, _ = problem(3, (9, 10))
    random = torch.Generator().manual_seed(5)
    offsets = torch.randint(-4, 5, (2, 18, 9, 10), generator=random).double()
    result = weighted_average(image, weights, offsets, regular_taps(3), 7)
    np.testing.assert_allclose(result.numpy(), by_definition(image, weights, offsets, positions(3), 7), atol=1e-12)


@pytest.mark.parametrize(("k", "window"), [(1, 3), (3, 3), (3, 15), (5, 9)])
def test_equals_unfold_and_grid_sample(k, window):
    image, weights, offsets = problem(k, (10, 13), channels=2, reach=4)
    result = weighted_average(image, weights, offsets, regular_taps(k), window)
    torch.testing.assert_close(result, by_grid_sample(image, weights, offsets, k, window), rtol=0, atol=1e-12)


def test_components_are_x_then_y_and_taps_go_row_by_row():
    image = torch.arange(35.0).view(1, 1, 5, 7)  # 7 y + x
    for t, (x, y) in enumerate(positions(3)):
        weights, offsets = torch.zeros(1, 9, 5, 7), torch.zeros(1, 18, 5, 7)
        weights[:, t] = 1
        assert weighted_average(image, weights, offsets, regular_taps(3), 9)[0, 0, 2, 3] == 7 * (2 + y) + 3 + x
        offsets[:, 2 * t] = 1.5
        assert weighted_average(image, weights, offsets, regular_taps(3), 9)[0, 0, 2, 3] == 7 * (2 + y) + 4.5 + x


def test_gradients():
    image, weights, offsets = problem(3, (3, 4), batch=1)
    random = torch.Generator().manual_seed(1)
    # Away from whole numbers, where bilinear interpolation has a kink. Some lie outside window and image.
    whole = torch.randint(-4, 4, offsets.shape, generator=random)
    offsets = whole + 0.1 + 0.8 * torch.rand(offsets.shape, generator=random, dtype=torch.float64)
    inputs = [t.requires_grad_() for t in (image, weights, offsets)]
    assert torch.autograd.gradcheck(lambda f, k, o: weighted_average(f, k, o, regular_taps(3), 5), inputs)


@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 3e9])
def test_wild_offsets_touch_their_own_pixel_alone(wild):
    image, weights, offsets = (t.float() for t in problem())
    expected = weighted_average(image, weights, offsets, regular_taps(3), 7)
    offsets[0, 4, 3, 5] = wild
    result = weighted_average(image, weights, offsets, regular_taps(3), 7)
    result[0, 0, 3, 5] = expected[0, 0, 3, 5] = 0
    assert torch.equal(result, expected)


@pytest.mark.parametrize("far", [1e30, -1e30, 3e9])
def test_a_tap_far_away_counts_zero(far):
    image, weights, offsets = (t.float() for t in problem())
    result = weighted_average(image, weights, torch.full_like(offsets, far), regular_taps(3), 7)
    assert torch.equal(result, torch.zeros_like(image))


def test_precision():
    image, weights, offsets = problem()
    exact = weighted_average(image, weights, offsets, regular_taps(3), 15)
    assert exact.dtype == torch.float64
    single = weighted_average(image.float(), weights.float(), offsets.float(), regular_taps(3), 15)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-4)
    # Kernels in bfloat16 lose what bfloat16 cannot say, and nothing more: addresses and sums stay in float32.
    half = weights.bfloat16(), offsets.bfloat16()
    mixed = weighted_average(image.float(), *half, regular_taps(3), 15)
    assert mixed.dtype == torch.float32
    rounded = weighted_average(image, *(t.double() for t in half), regular_taps(3), 15)
    torch.testing.assert_close(mixed.double(), rounded, rtol=0, atol=1e-4)
