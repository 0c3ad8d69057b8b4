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

"""From the last feature maps to the upsampled depth in one Triton kernel, for inference on a GPU.

1×1 heads, sigmoid, product of the streams, mean subtraction or normalisation, k² taps and the residual connection:
what `KernelNetwork.forward` does after the last ReLU, without a map of k² channels ever reaching memory. FDKN's pixel
shuffle costs nothing either: the heads of a phase are columns of a matrix, and its pixel is an index.
"""

# What Triton compiles has no Python types.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad

from dkn.errors import ConfigError
from dkn.networks.config import STRIDE
from dkn.networks.dkn import KernelNetwork
from dkn.ops.triton_sampling import neighbours, read

LARGEST_KERNEL = 7  # k; the taps of one pixel are the columns of one matrix product, and 25² are too many

# Sizes of a program. Compiled for compute capability 8.7 and 9.0, all then stays in registers.
LEAST_TAPS = 16  # that a matrix product takes
COLUMNS = 32  # of a matrix product: where k² taps leave room, several phases of the same feature pixels
ELEMENTS = 2048  # of the result of a matrix product
CHANNELS = 64  # of the features, read at a time
WARPS = 4  # eight would do half of the work twice over blocks of 64 rows: 0.125 ms in place of 0.083 on an H100


@dataclass(frozen=True)
class Heads:
    """The 1×1 heads of a network, laid out for the kernel. Use `pack`."""

    matrices: tuple[Tensor, ...]
    """One a stream, (3, groups, F, columns): for kernel weights, x and y of offsets. A column is a tap of one of the
    phases of a group. F, and the taps, are padded with zeros."""
    biases: tuple[Tensor, ...]
    """(3, groups, columns) each, float32."""
    gives: tuple[tuple[bool, bool], ...]
    """Whether a stream gives kernel weights, and offsets."""
    taps: Tensor
    """(2, padded k²) float32: x and y of the regular positions."""
    features: int
    """n2: channels of a feature map."""
    kernel_size: int
    window: int
    residual: bool
    offset_unit: float
    stride: int
    """4 where a feature pixel has heads for 4×4 pixels (FDKN), else 1."""


def pack(network: KernelNetwork, dtype: torch.dtype = torch.float16) -> Heads:
    """Lay out the heads of `network`, on its device. To be done once; later changes of the network are not seen.

    Args:
        network: FDKN or DKN.
        dtype: of the matrices, and of the features to come: float16, or float32 for exactness.

    Raises:
        ConfigError: a kernel larger than 7×7, or another dtype.
    """
    config = network.config
    if config.kernel_size > LARGEST_KERNEL:
        raise ConfigError(f"kernel_size={config.kernel_size}: the fused kernel goes up to {LARGEST_KERNEL}")
    if dtype not in (torch.float16, torch.float32):
        raise ConfigError(f"dtype={dtype}: the fused kernel takes torch.float16 or torch.float32")
    streams: list[Any] = [s.heads for s in (network.guidance_stream, network.depth_stream) if s is not None]
    stride = STRIDE if config.architecture == "fdkn" else 1
    taps = max(LEAST_TAPS, triton.next_power_of_2(len(network.taps)))
    group = min(stride, max(1, COLUMNS // taps))
    packed = [_pack_stream(heads, len(network.taps), taps, group, stride**2, config.n2, dtype) for heads in streams]
    return Heads(
        matrices=tuple(matrix for matrix, _ in packed),
        biases=tuple(bias for _, bias in packed),
        gives=tuple((heads.weights is not None, heads.offsets is not None) for heads in streams),
        taps=pad(network.taps.float().T, (0, taps - len(network.taps))).contiguous(),
        features=config.n2,
        kernel_size=config.kernel_size,
        window=config.window,
        residual=config.residual,
        offset_unit=config.offset_unit,
        stride=stride,
    )


def _pack_stream(
    heads: Any, taps: int, padded: int, group: int, phases: int, features: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Matrix and bias of one stream. Channel of a head: tap · phases + phase, an offset's tap being 2t for x of t and
    2t + 1 for y."""
    device = next(heads.parameters()).device
    rows = triton.cdiv(features, CHANNELS) * CHANNELS
    matrix = torch.zeros(3, phases // group, rows, group, padded, dtype=dtype, device=device)
    bias = torch.zeros(3, phases // group, group, padded, device=device)

    def fill(which: int, weight: Tensor, constant: Tensor) -> None:
        weight = weight.detach().view(taps, phases // group, group, features)
        matrix[which, :, :features, :, :taps] = weight.permute(1, 3, 2, 0).to(dtype)
        bias[which, ..., :taps] = constant.detach().view(taps, phases // group, group).permute(1, 2, 0)

    if heads.weights is not None:
        fill(0, heads.weights.weight, heads.weights.bias)
    if heads.offsets is not None:
        weight = heads.offsets.weight.view(taps, 2, phases, features)
        constant = heads.offsets.bias.view(taps, 2, phases)
        for axis in range(2):
            fill(1 + axis, weight[:, axis], constant[:, axis])
    return matrix.flatten(3), bias.flatten(2)


def upsample(
    heads: Heads,
    features: Sequence[Tensor],
    depth: Tensor,
    out: Tensor | None = None,
    band: tuple[int, int] | None = None,
) -> Tensor:
    """The output of the network, eq. (3) or (7), from the last feature maps of its streams.

    Args:
        heads: of the network.
        features: one map a stream, guidance first, in the dtype of `heads`; fastest as channels_last, or as slices of
            the channels of one such tensor.
            FDKN: (N, n2, ⌈H/4⌉, ⌈W/4⌉). DKN: (N, n2, H, W), or in polyphase form (16·N, n2, ⌈H/4⌉, ⌈W/4⌉), where
            [16·n + 4·i + j, :, y, x] belongs to pixel (4y + i, 4x + j) of image n.
        depth: (N, 1, H, W) float32, what the network saw.
        out: where to write, like `depth`; made anew if None.
        band: rows (first, end) that `features` belong to, of which alone `out` is written; the first a multiple of 4.
            All if None.

    Returns:
        (N, 1, H, W) float32, in the unit of `depth`. Logits, coordinates and sums are float32.

    Raises:
        ValueError: shapes or dtypes that do not fit together.
    """
    batch, channels, height, width = depth.shape
    if channels != 1 or depth.dtype != torch.float32:
        raise ValueError(f"depth {tuple(depth.shape)} {depth.dtype}: (N, 1, H, W) float32 is needed")
    phases_in_batch = heads.stride == 1 and len(features[0]) == STRIDE**2 * batch
    step = STRIDE if phases_in_batch else heads.stride
    top, bottom = band or (0, height)
    if not 0 <= top < bottom <= height or top % STRIDE:
        raise ValueError(f"band {band}: rows within {height}, the first a multiple of {STRIDE}, are needed")
    rows, columns = triton.cdiv(bottom - top, step), triton.cdiv(width, step)
    shape = (batch * STRIDE**2 if phases_in_batch else batch, heads.features, rows, columns)
    if len(features) != len(heads.matrices):
        raise ValueError(f"{len(features)} feature maps for a network of {len(heads.matrices)} streams")
    for image, matrix in zip(features, heads.matrices, strict=True):
        if image.shape != shape or image.dtype != matrix.dtype:
            raise ValueError(f"features {tuple(image.shape)} {image.dtype}: {shape} {matrix.dtype} are needed")
    depth = depth.contiguous()
    out = torch.empty_like(depth) if out is None else out
    if out.shape != depth.shape or out.dtype != depth.dtype or not out.is_contiguous():
        raise ValueError(f"out {tuple(out.shape)} {out.dtype}: contiguous, {tuple(depth.shape)} float32 is needed")

    maps, pitch = _side_by_side(features)
    taps = heads.taps.shape[1]
    group = 1 if phases_in_batch else heads.matrices[0].shape[3] // taps
    block = min(64, ELEMENTS // (group * taps))
    if heads.matrices[0].dtype == torch.float32:
        block //= 2  # no tensor core keeps float32 exact, and without one a product takes more registers
    grid = triton.cdiv(rows * columns, block) * (step**2 // group), batch
    with torch.cuda.device_of(depth):
        _upsample[grid](
            out,
            depth,
            maps[0],
            heads.matrices[0],
            heads.biases[0],
            maps[-1],
            heads.matrices[-1],
            heads.biases[-1],
            heads.taps,
            heads.offset_unit,
            height,
            width,
            top,
            bottom,
            rows,
            columns,
            STREAMS=len(maps),
            FIRST_WEIGHTS=heads.gives[0][0],
            FIRST_OFFSETS=heads.gives[0][1],
            SECOND_WEIGHTS=heads.gives[-1][0],
            SECOND_OFFSETS=heads.gives[-1][1],
            RESIDUAL=heads.residual,
            COUNT=heads.kernel_size**2,
            TAPS=taps,
            GROUP=group,
            STEP=step,
            PHASES_IN_BATCH=phases_in_batch,
            RADIUS=heads.window // 2,
            FEATURES=heads.features,
            PITCH=pitch,
            CHANNELS=CHANNELS,
            BLOCK=block,
            num_warps=WARPS,
            num_stages=2,
        )
    return out


def _side_by_side(features: Sequence[Tensor]) -> tuple[list[Tensor], int]:
    """The maps with the channels of a pixel together, and how many elements lie between two pixels of any of them."""
    _, channels, rows, columns = features[0].shape
    pitch = features[0].stride(3) if columns > 1 else channels
    strides = rows * columns * pitch, 1, columns * pitch, pitch
    if all(_lies(image, strides) for image in features):
        return list(features), pitch
    return [image.contiguous(memory_format=torch.channels_last) for image in features], channels


def _lies(image: Tensor, strides: tuple[int, ...]) -> bool:
    """Whether that is how to walk through `image`. The stride of an axis of length 1 means nothing."""
    return all(
        n == 1 or stride == wanted for n, stride, wanted in zip(image.shape, image.stride(), strides, strict=True)
    )


@triton.jit
def _logits(
    features,
    matrix,
    bias,
    group,
    mask,
    GROUPS: tl.constexpr,
    WEIGHTS: tl.constexpr,
    OFFSETS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FEATURES: tl.constexpr,
    PITCH: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The heads of one stream for a block of feature pixels and a group of phases: kernel weights before the sigmoid, x
    and y of offsets, (BLOCK, COLUMNS) each; what the stream does not give is left without meaning."""
    ROWS: tl.constexpr = (FEATURES + CHANNELS - 1) // CHANNELS * CHANNELS
    row = tl.arange(0, BLOCK)
    channel = tl.arange(0, CHANNELS)
    column = tl.arange(0, COLUMNS)
    bias += group * COLUMNS + column
    weights = tl.zeros((BLOCK, COLUMNS), tl.float32) + tl.load(bias)[None, :]
    x = tl.zeros((BLOCK, COLUMNS), tl.float32) + tl.load(bias + GROUPS * COLUMNS)[None, :]
    y = tl.zeros((BLOCK, COLUMNS), tl.float32) + tl.load(bias + 2 * GROUPS * COLUMNS)[None, :]
    features += row[:, None] * PITCH + channel[None, :]
    matrix += group * ROWS * COLUMNS + channel[:, None] * COLUMNS + column[None, :]
    for start in range(0, FEATURES, CHANNELS):
        tile = tl.load(features + start, mask=mask[:, None] & (start + channel < FEATURES)[None, :], other=0.0)
        at = matrix + start * COLUMNS
        if WEIGHTS:
            weights = tl.dot(tile, tl.load(at), weights, input_precision="ieee")
        if OFFSETS:
            x = tl.dot(tile, tl.load(at + GROUPS * ROWS * COLUMNS), x, input_precision="ieee")
            y = tl.dot(tile, tl.load(at + 2 * GROUPS * ROWS * COLUMNS), y, input_precision="ieee")
    return weights, x, y


@triton.jit
def _upsample(
    result,
    depth,
    first_features,
    first_matrix,
    first_bias,
    second_features,
    second_matrix,
    second_bias,
    taps,
    offset_unit,
    height,
    width,
    top,
    bottom,
    feature_rows,
    feature_columns,
    STREAMS: tl.constexpr,
    FIRST_WEIGHTS: tl.constexpr,
    FIRST_OFFSETS: tl.constexpr,
    SECOND_WEIGHTS: tl.constexpr,
    SECOND_OFFSETS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    COUNT: tl.constexpr,  # k²; TAPS is that, padded
    TAPS: tl.constexpr,
    GROUP: tl.constexpr,  # phases of one program
    STEP: tl.constexpr,  # phases are STEP × STEP
    PHASES_IN_BATCH: tl.constexpr,
    RADIUS: tl.constexpr,
    FEATURES: tl.constexpr,
    PITCH: tl.constexpr,  # from the features of a pixel to those of the next
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One group of phases of a block of feature pixels: GROUP output pixels for each of BLOCK feature pixels."""
    COLUMNS: tl.constexpr = GROUP * TAPS
    GROUPS: tl.constexpr = STEP * STEP // GROUP
    # The groups of the same feature pixels run side by side, so that they find these in the cache.
    group = tl.program_id(0) % GROUPS
    start = tl.program_id(0) // GROUPS * BLOCK
    sample = tl.program_id(1)
    pixels = feature_rows * feature_columns
    pixel = start + tl.arange(0, BLOCK)
    mask = pixel < pixels
    plane = sample * GROUPS + group if PHASES_IN_BATCH else sample
    matrix = 0 if PHASES_IN_BATCH else group
    MATRICES: tl.constexpr = 1 if PHASES_IN_BATCH else GROUPS
    first = (plane.to(tl.int64) * pixels + start) * PITCH

    # A stream that does not give something leaves a factor of 1.
    weights = tl.full((BLOCK, COLUMNS), 1.0, tl.float32)
    shift_x = tl.full((BLOCK, COLUMNS), 1.0, tl.float32)
    shift_y = tl.full((BLOCK, COLUMNS), 1.0, tl.float32)
    w, x, y = _logits(
        first_features + first, first_matrix, first_bias, matrix, mask,
        MATRICES, FIRST_WEIGHTS, FIRST_OFFSETS, COLUMNS, FEATURES, PITCH, CHANNELS, BLOCK,
    )  # fmt: skip
    if FIRST_WEIGHTS:
        weights *= tl.sigmoid(w)
    if FIRST_OFFSETS:
        shift_x *= x
        shift_y *= y
    if STREAMS == 2:
        w, x, y = _logits(
            second_features + first, second_matrix, second_bias, matrix, mask,
            MATRICES, SECOND_WEIGHTS, SECOND_OFFSETS, COLUMNS, FEATURES, PITCH, CHANNELS, BLOCK,
        )  # fmt: skip
        if SECOND_WEIGHTS:
            weights *= tl.sigmoid(w)
        if SECOND_OFFSETS:
            shift_x *= x
            shift_y *= y

    # Column → phase and tap; feature pixel and phase → pixel.
    column = tl.arange(0, COLUMNS)
    tap = column % TAPS
    phase = group * GROUP + column // TAPS
    at_y = (top + pixel // feature_columns * STEP)[:, None] + (phase // STEP)[None, :]
    at_x = (pixel % feature_columns * STEP)[:, None] + (phase % STEP)[None, :]
    real = mask[:, None] & (tap < COUNT)[None, :] & (at_y < bottom) & (at_x < width)
    weights = tl.where(real, weights, 0.0)

    # Eq. (4) and (5).
    tap_x = tl.load(taps + tap)[None, :]
    tap_y = tl.load(taps + TAPS + tap)[None, :]
    if FIRST_OFFSETS or SECOND_OFFSETS:
        tap_x = shift_x * offset_unit + tap_x
        tap_y = shift_y * offset_unit + tap_y
    else:
        tap_x = tl.broadcast_to(tap_x, (BLOCK, COLUMNS))
        tap_y = tl.broadcast_to(tap_y, (BLOCK, COLUMNS))
    x0, left, right, _, _ = neighbours(tap_x, RADIUS)
    y0, upper, lower, _, _ = neighbours(tap_y, RADIUS)
    x0 += at_x
    y0 += at_y
    depth += sample.to(tl.int64) * height * width
    value = upper * (
        left * read(depth, y0, x0, height, width, real) + right * read(depth, y0, x0 + 1, height, width, real)
    )
    value += lower * (
        left * read(depth, y0 + 1, x0, height, width, real) + right * read(depth, y0 + 1, x0 + 1, height, width, real)
    )

    # Σ(w − w̄)f = Σwf − w̄Σf: eq. (3); and eq. (7).
    weight_sum = _over_taps(weights, BLOCK, GROUP, TAPS)
    average = _over_taps(weights * value, BLOCK, GROUP, TAPS)
    phase = group * GROUP + tl.arange(0, GROUP)
    at_y = (top + pixel // feature_columns * STEP)[:, None] + (phase // STEP)[None, :]
    at_x = (pixel % feature_columns * STEP)[:, None] + (phase % STEP)[None, :]
    real = mask[:, None] & (at_y < bottom) & (at_x < width)
    if RESIDUAL:
        average -= weight_sum * (1.0 / COUNT) * _over_taps(value, BLOCK, GROUP, TAPS)
        average += tl.load(depth + at_y * width + at_x, mask=real, other=0.0)
    else:
        # Sigmoids of very negative numbers are all 0; their sum must not become a divisor.
        average /= tl.maximum(weight_sum, 1.1754944e-38)
    tl.store(result + sample.to(tl.int64) * height * width + at_y * width + at_x, average, mask=real)


@triton.jit
def _over_taps(values, BLOCK: tl.constexpr, GROUP: tl.constexpr, TAPS: tl.constexpr):
    """(BLOCK, GROUP · TAPS) summed → (BLOCK, GROUP)."""
    return tl.sum(tl.reshape(values, (BLOCK, GROUP, TAPS)), axis=2)
