"""The deformable weighted average of the paper (eq. 3 to 7), as readable, differentiable PyTorch.

This is the formulation that every faster one has to equal. It walks over the k² taps and reads the four
neighbours of each (eq. 5) straight from the image: no d×d window is ever unfolded. On a GPU with Triton, kernels that
do the same (`kernels/triton_sampling.py`) take its place.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def regular_taps(kernel_size: int) -> Tensor:
    """The positions q of a k×k kernel relative to its centre, (k², 2) float32 as (x, y), row by row."""
    radius = kernel_size // 2
    along = torch.arange(-radius, radius + 1, dtype=torch.float32)
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()), dim=1)


def weighted_average(image: Tensor, weights: Tensor, offsets: Tensor, taps: Tensor, window: int) -> Tensor:
    """Σ_q K_q · f(q + Δq) at every pixel: eq. (7), and the sum in eq. (3).

    f is read by bilinear interpolation (eq. 5 and 6) inside a window of d×d pixels around each pixel. Whatever lies
    outside that window, or outside the image, counts as zero.

    Args:
        image: (N, C, H, W), the map f; all C channels share weights and offsets.
        weights: (N, k², H, W), the kernel K.
        offsets: (N, 2k², H, W), Δq in pixels, as pairs (x, y) in the order of `taps`.
        taps: (k², 2), the regular positions q in pixels as (x, y), relative to the pixel.
        window: d, odd.

    Returns:
        (N, C, H, W) in the dtype of `image`. Coordinates and sums are float32 at least, whatever comes in. Twice
        differentiable, save on a GPU with Triton.
    """
    double = torch.float64 in (image.dtype, weights.dtype, offsets.dtype)
    fast = None if double or not image.is_cuda else fused_average(image.device)
    return (fast or readable_average)(image, weights, offsets, taps, window)


@lru_cache
def fused_average(device: torch.device) -> Callable[..., Tensor] | None:
    """The Triton version of `weighted_average`, or None where Triton is missing or does not work on `device`.

    Found out once, by a small problem; that it was found wanting is warned of.
    """
    try:
        from dkn.kernels.triton_sampling import weighted_average as fused
    except ImportError:
        return None
    random = torch.Generator().manual_seed(0)
    image, weights, offsets = (torch.randn(1, n, 16, 16, generator=random).to(device) for n in (1, 9, 18))
    problem = image, weights, 4 * offsets, regular_taps(3), 7
    try:
        error = (fused(*problem) - readable_average(*problem)).abs().max().item()
        complaint = "" if error < 1e-4 else f"differs from the reference by {error:.1e}"
    except Exception as problem_of_triton:  # its compiler, the driver or the GPU: many kinds, and none is worth a crash
        complaint = f"failed with {type(problem_of_triton).__name__}: {problem_of_triton}"
    if complaint:
        warnings.warn(f"the Triton kernel for {device} {complaint}; plain PyTorch takes its place", stacklevel=2)
        return None
    return fused


def readable_average(image: Tensor, weights: Tensor, offsets: Tensor, taps: Tensor, window: int) -> Tensor:
    """`weighted_average` in plain PyTorch, on any device."""
    batch, channels, height, width = image.shape
    dtype = torch.promote_types(image.dtype, torch.float32)
    radius = window // 2
    pad = radius + 1  # then even a corner of a tap just outside the window is a legal address
    stride = width + 2 * pad
    flat = F.pad(image.to(dtype), (pad,) * 4).flatten(2)
    rows = torch.arange(pad, pad + height, device=image.device)
    columns = torch.arange(pad, pad + width, device=image.device)
    centre = rows[:, None] * stride + columns

    # Unbound at once: the gradient of each slice on its own would be as large as all of them together.
    kernel, shifts = weights.unbind(1), offsets.unbind(1)
    total = torch.zeros_like(image, dtype=dtype)
    for t, (tap_x, tap_y) in enumerate(taps.tolist()):
        x0, left, right = _bilinear_weights(shifts[2 * t].to(dtype) + tap_x, radius)
        y0, upper, lower = _bilinear_weights(shifts[2 * t + 1].to(dtype) + tap_y, radius)
        corner = (centre + y0 * stride + x0).flatten(1)

        def read(shift: int, corner: Tensor = corner) -> Tensor:
            index = (corner + shift)[:, None].expand(-1, channels, -1)
            return flat.gather(2, index).view(batch, channels, height, width)

        value = upper * (left * read(0) + right * read(1))
        value = value + lower * (left * read(stride) + right * read(stride + 1))
        total = total + kernel[t][:, None] * value
    return total.to(image.dtype)


def _bilinear_weights(position: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lower integer neighbour of `position` (N, H, W) as an index, and g(s, t) of it and of the next, each
    (N, 1, H, W) and zero where that neighbour lies outside [-radius, radius] (eq. 6 over a bounded window)."""
    floor = position.detach().floor()
    fraction = position - floor
    first = (1 - fraction) * (floor.abs() <= radius)
    second = fraction * ((floor + 1).abs() <= radius)
    # Clamped as integers: a wild offset (even NaN) then reads a legal address, with weight zero or NaN.
    index = floor.long().clamp(-radius - 1, radius)
    return index, first[:, None], second[:, None]
