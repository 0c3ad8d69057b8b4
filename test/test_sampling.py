"""The weighted average of eq. (3) to (7), against eq. (5) and (6) written out, and against grid_sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dkn.sampling import regular_taps, weighted_average


def problem(
    k: int = 3, size: tuple[int, int] = (7, 9), channels: int = 1, batch: int = 2, reach: float = 3.0, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Random image, weights and offsets in float64; offsets have a deviation of `reach` pixels."""
    random = torch.Generator().manual_seed(seed)
    shape = {"generator": random, "dtype": torch.float64}
    image = torch.randn(batch, channels, *size, **shape) + 3
    weights = torch.randn(batch, k * k, *size, **shape)
    return image, weights, torch.randn(batch, 2 * k * k, *size, **shape) * reach


def positions(k: int) -> list[tuple[int, int]]:
    """The regular grid q as (x, y), row by row."""
    return [(x, y) for y in range(-(k // 2), k // 2 + 1) for x in range(-(k // 2), k // 2 + 1)]


def by_definition(image: Tensor, weights: Tensor, offsets: Tensor, taps: list, window: int) -> np.ndarray:
    """Σ_q K Σ_t G(s, t) f_t with t over every pixel of the d×d window, f being zero outside the image."""
    f, kernel, shift = image.numpy(), weights.numpy(), offsets.numpy()
    r = window // 2
    padded = np.pad(f, ((0, 0), (0, 0), (r, r), (r, r)))
    t = np.arange(-r, r + 1)
    result = np.zeros_like(f)
    for n, y, x in np.ndindex(f.shape[0], *f.shape[2:]):
        patch = padded[n, :, y : y + window, x : x + window]
        for i, (tap_x, tap_y) in enumerate(taps):
            g_x = np.maximum(0, 1 - np.abs(tap_x + shift[n, 2 * i, y, x] - t))
            g_y = np.maximum(0, 1 - np.abs(tap_y + shift[n, 2 * i + 1, y, x] - t))
            result[n, :, y, x] += kernel[n, i, y, x] * np.einsum("y,cyx,x->c", g_y, patch, g_x)
    return result


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
