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

"""CUDA: cuDNN for the convolutions, Triton for the heads and the average (`dkn.engines.triton_heads`).

Feature maps are float16 with the channels last, which is what tensor cores want; each convolution takes its bias and
its ReLU along. What rounding would cost most is done in two parts whose sum is exact: depth, which one float16 would
round to millimetres, and the weights of the first convolutions, which take differences of numbers of equal size. Taps,
sums and the result are float32.

Nothing here asks the GPU for a value: the engine can be captured in a CUDA graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dkn.engines.base import log
from dkn.engines.folding import Convolution, FoldedStream, fold, of_rgb
from dkn.engines.pytorch import TensorEngine
from dkn.engines.triton_heads import pack, upsample
from dkn.networks.config import STRIDE
from dkn.networks.weights import Weights
from dkn.utils.device import Device
from dkn.utils.tensors import DTYPES

PER_LEVEL = 2.0**-8  # bytes → float16, exactly; 1/255 is left to the weights

Band = tuple[int, int]
"""Rows of the result: the first, and the one after the last."""

MANY = 75
"""Multiprocessors for which a stream's convolution at 640×480, 150 programs, is no more than two rounds of work."""


def layers_joined(device: torch.device) -> int:
    """All of FDKN's six where one stream alone would leave multiprocessors without work, as on an H100; none on a GPU
    of few (an Orin has 16), which the zeros would cost half a millisecond, by the count of operations."""
    if device.type != "cuda":
        return 6
    return 6 if torch.cuda.get_device_properties(device).multi_processor_count >= MANY else 0


class CudaEngine(TensorEngine):
    """The fastest way through a network on an NVIDIA GPU. Computes the same on the CPU, slowly, for tests.

    The arguments after the first three choose between ways to compute the same. The defaults were the fastest on an
    H100 (docs/gpu.md).

    Args:
        joined: how many of FDKN's six convolutions run for both streams at once. Both streams are small (19,200 pixels
            at 640×480, which is 150 programs of 128 for 132 multiprocessors), so that one wide convolution fills a GPU
            better than two narrow ones, and launches half as many. None: by the size of the GPU (`layers_joined`).
        grouped: joined convolutions are grouped ones, without any needless product; otherwise dense, with a matrix
            that is half zeros. For float16 with the channels last, cuDNN's fast kernels are those of a single group.
            The zeros cost 23 GFLOP at 640×480, some 0.05 ms of an H100; a grouped kernel without tensor cores would
            cost several times the whole network.
        dilated: DKN's strides become dilations; otherwise its maps are split into their phases after each stride, and
            all convolutions stay dense. The split costs two copies of a map, about a tenth of the time; what a
            dilation costs is up to cuDNN's choice of a kernel.
        most_pixels: of a DKN result computed at once; a larger one is computed in bands of rows, each from all that its
            pixels see. One pixel takes about 1 kB of the GPU's memory.
    """

    name = "cuda"
    capturable = True

    def __init__(
        self,
        weights: Weights,
        device: Device,
        precision: str,
        *,
        joined: int | None = None,
        grouped: bool = False,
        dilated: bool = True,
        most_pixels: int = 2**20,
    ):
        super().__init__(weights, device, precision)
        dtype = DTYPES[precision]
        streams = [_of_parts(stream, dtype, self.config.phases**2) for stream in fold(weights)]
        self._heads = pack(weights.network().to(self.torch_device), dtype)
        self._features: _FDKNFeatures | _DKNFeatures
        if self.config.architecture == "fdkn":
            joined = layers_joined(self.torch_device) if joined is None else joined
            self._features = _FDKNFeatures(streams, self.torch_device, dtype, joined, grouped)
        else:
            self._features = _DKNFeatures(streams, self.torch_device, dtype, dilated, most_pixels)

    def run(self, color: Tensor, depth: Tensor) -> Tensor:
        averaged = depth[:, :1].contiguous()
        result = torch.empty_like(averaged)
        for band, features in self._features(color, depth.permute(0, 2, 3, 1)):
            upsample(self._heads, features, averaged, result, band=band)
        return result


class _FDKNFeatures:
    """Last feature maps of FDKN's streams, from the 4×4 phases of the images: both at once, as far as `joined`."""

    def __init__(
        self, streams: Sequence[FoldedStream], device: torch.device, dtype: torch.dtype, joined: int, grouped: bool
    ):
        self._images = [stream.image for stream in streams]
        self._dtype = dtype
        layers = list(zip(*(stream.features for stream in streams), strict=True))
        self._channels_in, self._channels_joined = (
            [layer.weight.shape[axis] for layer in row]
            for axis, row in ((1, layers[0]), (0, layers[joined - 1]) if joined else (1, layers[0]))
        )
        # The first has different numbers of channels for the two, and is small.
        self._joined = [
            _Layer.of(_join(row, grouped and i > 0), device, dtype, groups=len(row) if grouped and i > 0 else 1)
            for i, row in enumerate(layers[:joined])
        ]
        self._own = [[_Layer.of(layer, device, dtype) for layer in stream.features[joined:]] for stream in streams]

    def __call__(self, color: Tensor, depth: Tensor) -> Iterator[tuple[Band, list[Tensor]]]:
        height = depth.shape[1]
        color, depth = _whole_phases(color), _whole_phases(depth)
        batch, rows, columns = len(depth), depth.shape[1] // STRIDE, depth.shape[2] // STRIDE
        x = depth.new_empty((batch, rows, columns, sum(self._channels_in)), dtype=self._dtype)
        for image, channels in zip(self._images, x.split(self._channels_in, dim=3), strict=True):
            pixels = channels.unflatten(3, (-1, STRIDE, STRIDE)).permute(0, 1, 4, 2, 5, 3)  # (N, h, 4, w, 4, C)
            color_phases, depth_phases = (
                whole.unflatten(2, (columns, STRIDE)).unflatten(1, (rows, STRIDE)) for whole in (color, depth)
            )
            _write(image, pixels, color_phases, depth_phases)
        x = _run(self._joined, x.permute(0, 3, 1, 2))
        parts = x.split(self._channels_joined, dim=1)
        yield (0, height), [_run(layers, part) for layers, part in zip(self._own, parts, strict=True)]


class _DKNFeatures:
    """Last feature maps of DKN's streams for all pixels, band after band: in polyphase form, or as they are if
    `dilated`."""

    MARGIN = 25, 24
    """Zeros before and after an image."""
    CHANNELS = 8
    """An image has a multiple of so many, most of them zeros: otherwise cuDNN's fast kernels cannot read it."""

    def __init__(
        self, streams: Sequence[FoldedStream], device: torch.device, dtype: torch.dtype, dilated: bool, most_pixels: int
    ):
        self._dtype, self._dilated, self._most_pixels = dtype, dilated, most_pixels
        self._streams = []
        for stream in streams:
            first, *others = stream.features
            assert first.padding == self.MARGIN
            missing = -first.weight.shape[1] % self.CHANNELS
            first = replace(first, weight=np.pad(first.weight, ((0, 0), (0, missing), (0, 0), (0, 0))), padding=(0, 0))
            layers = [_Layer.of(convolution, device, dtype) for convolution in (first, *others)]
            self._streams.append((stream.image, layers))

    def __call__(self, color: Tensor, depth: Tensor) -> Iterator[tuple[Band, list[Tensor]]]:
        images = [
            (self._with_margin(image, layers[0].weight.shape[1], color, depth), layers)
            for image, layers in self._streams
        ]
        height = depth.shape[1]
        for top, bottom in self._bands(*depth.shape[:3]):
            end = images[0][0].shape[2] if bottom == height else bottom + sum(self.MARGIN)
            run = _run if self._dilated else _run_in_phases
            yield (top, bottom), [run(layers, image[:, :, top:end]) for image, layers in images]

    def _with_margin(self, image: str, channels: int, color: Tensor, depth: Tensor) -> Tensor:
        """(N, channels, H + 49, W + 49), with more zeros below and right where the phases do not divide H and W."""
        before, after = self.MARGIN
        batch, height, width = depth.shape[:3]
        step = 1 if self._dilated else STRIDE
        rows, columns = (before + n + -n % step + after for n in (height, width))
        x = depth.new_zeros((batch, rows, columns, channels), dtype=self._dtype)
        _write(image, x[:, before : before + height, before : before + width], color, depth)
        return x.permute(0, 3, 1, 2)

    def _bands(self, batch: int, height: int, width: int) -> list[Band]:
        count = math.ceil(batch * height * width / self._most_pixels)
        rows = STRIDE * math.ceil(height / count / STRIDE)
        return [(top, min(top + rows, height)) for top in range(0, height, rows)]


@dataclass(frozen=True)
class _Layer:
    """A convolution and the ReLU after it, on its device."""

    weight: Tensor
    bias: Tensor
    padding: int
    dilation: int
    groups: int
    fuses: dict[tuple[int, ...], bool] = field(default_factory=dict, compare=False)
    """Whether cuDNN takes bias and ReLU along, by the shape of what comes in and the dilation."""

    @classmethod
    def of(cls, convolution: Convolution, device: torch.device, dtype: torch.dtype, groups: int = 1) -> _Layer:
        before, after = convolution.padding
        assert before == after
        weight = torch.from_numpy(convolution.weight).to(device, dtype, memory_format=torch.channels_last)
        bias = torch.from_numpy(convolution.bias).to(device, dtype)
        return cls(weight, bias, before, convolution.dilation, groups)

    def __call__(self, x: Tensor) -> Tensor:
        padding, dilation = [self.padding] * 2, [self.dilation] * 2
        if x.is_cuda:
            return self._on_gpu(x, padding, dilation)
        # As tensor cores do it: exact products of rounded numbers, summed in float32.
        x32, weight, bias = x.float(), self.weight.float(), self.bias.float()
        return F.conv2d(x32, weight, bias, 1, padding, dilation, self.groups).relu_().to(x.dtype)

    def _on_gpu(self, x: Tensor, padding: list[int], dilation: list[int]) -> Tensor:
        """Fused if cuDNN can do so for this shape. That it ran out of memory says nothing about that."""
        shape = (*x.shape, self.dilation)
        if self.fuses.get(shape, _fuses(x.device, x.dtype)):
            try:
                return torch.cudnn_convolution_relu(x, self.weight, self.bias, [1, 1], padding, dilation, self.groups)
            except torch.cuda.OutOfMemoryError:
                raise
            except RuntimeError as error:
                self.fuses[shape] = False
                log.info("cuDNN does not fuse a convolution of %s: %s", shape, str(error).partition("\n")[0])
        return F.conv2d(x, self.weight, self.bias, 1, padding, dilation, self.groups).relu_()


@cache
def _fuses(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether cuDNN can be asked for convolution, bias and ReLU at once here."""
    random = torch.Generator().manual_seed(0)
    shapes = (1, 16, 8, 8), (16, 16, 3, 3), (16,)
    x, weight, bias = (torch.randn(shape, generator=random).to(device, dtype) for shape in shapes)
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    try:
        result = torch.cudnn_convolution_relu(x, weight, bias, [1, 1], [1, 1], [1, 1], 1)
        good = torch.allclose(result, F.conv2d(x, weight, bias, padding=1).relu(), atol=0.1)
    except torch.cuda.OutOfMemoryError:  # says nothing, and is not remembered
        raise
    except (AttributeError, RuntimeError):
        good = False
    if not good:
        log.info("cuDNN on %s does not take bias and ReLU into its convolutions; they follow on their own", device)
    return good


def _run(layers: Sequence[_Layer], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _run_in_phases(layers: Sequence[_Layer], x: Tensor) -> Tensor:
    """The layers with their dilations undone: 16 phases of the last feature map, as [16·n + 4·i + j, :, y, x] for the
    pixel (4y + i, 4x + j)."""
    phases = 1
    for layer in layers:
        if layer.dilation != phases:
            x, phases = _halved(x, phases), 2 * phases
        x = replace(layer, dilation=1)(x)
    return x


def _halved(x: Tensor, phases: int) -> Tensor:
    """Twice the phases along each axis: (N·p², C, H, W) with even H and W → (N·4p², C, H/2, W/2)."""
    pixels = x.permute(0, 2, 3, 1).contiguous().view(torch.int64)  # a copy of several channels at a time
    pixels = pixels.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).unflatten(0, (-1, phases, phases))
    # (n, i, j, y, row, x, column, c): what was the phase i is now the phase p · row + i.
    pixels = pixels.permute(0, 4, 1, 6, 2, 3, 5, 7).flatten(0, 4).contiguous()
    return pixels.view(x.dtype).permute(0, 3, 1, 2)


def _join(convolutions: Sequence[Convolution], grouped: bool) -> Convolution:
    """Several convolutions side by side as one: of that many groups, or dense with zeros between them."""
    bias = np.concatenate([convolution.bias for convolution in convolutions])
    weights = [convolution.weight for convolution in convolutions]
    if grouped:
        return replace(convolutions[0], weight=np.concatenate(weights), bias=bias)
    ends = np.cumsum([weight.shape[1] for weight in weights]).tolist()
    apart = [
        np.pad(weight, ((0, 0), (end - weight.shape[1], ends[-1] - end), (0, 0), (0, 0)))
        for weight, end in zip(weights, ends, strict=True)
    ]
    return replace(convolutions[0], weight=np.concatenate(apart), bias=bias)


def _of_parts(stream: FoldedStream, dtype: torch.dtype, area: int) -> FoldedStream:
    """The stream with its first convolution made for what `_write` writes; area: channels of it for one of an image."""
    if stream.image != "depth":
        stream = of_rgb(stream, 255 * PER_LEVEL)
    first, *others = stream.features
    weight = torch.from_numpy(first.weight)
    leading = weight.to(dtype).float()
    parts = [leading, weight - leading]
    if stream.image == "depth":
        parts.insert(1, leading[:, :area])
    return replace(stream, features=(replace(first, weight=torch.cat(parts, dim=1).numpy()), *others))


def _write(image: str, into: Tensor, color: Tensor, depth: Tensor) -> None:
    """The image that a stream sees → the first channels of its input: each channel twice, for the two parts of the
    weights; between them what rounding has left of the depth.

    Args:
        image: depth, or what colour there is.
        into: (…, C), C ≥ 6 for colour, 2 D + 1 for depth.
        color: (…, 3) uint8.
        depth: (…, D) float32; the first channel is depth.
    """
    if image == "depth":
        channels = depth.shape[-1]
        into[..., :channels].copy_(depth)
        torch.sub(depth[..., 0], into[..., 0], out=into[..., channels])
        into[..., channels + 1 : 2 * channels + 1].copy_(into[..., :channels])
    else:
        twice = into[..., :6].unflatten(-1, (2, 3))
        torch.mul(color[..., None, :].expand(twice.shape), PER_LEVEL, out=twice)


def _whole_phases(image: Tensor) -> Tensor:
    """(N, H, W, …) with its last row and column repeated until the phases divide its size."""
    for axis in (1, 2):
        size = image.shape[axis]
        if size % STRIDE:
            whole = torch.arange(size + -size % STRIDE, device=image.device).clamp(max=size - 1)
            image = image.index_select(axis, whole)
    return image.contiguous()
