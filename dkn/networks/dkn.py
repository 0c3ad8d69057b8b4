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

"""DKN and FDKN: deformable kernel networks for guided depth map upsampling (Kim, Ponce and Ham).

Two streams of convolutions look at the guidance (colour) and at the depth map, already interpolated to the size of
the guidance. Each gives kernel weights and sampling offsets for every pixel; the two are multiplied, and the depth
comes out as a weighted average over k² taps (`dkn.ops.sampling`).

    DKN   paper Table 1: strided convolutions, one 51×51 neighbourhood per pixel. Run densely in one pass here;
          the paper's 16 shifted passes exist beside it (`kernels_by_shift_and_stitch`) as the reference.
    FDKN  supplement Table 1: the 16 phases of a 4×4 grid become channels, one pass at a quarter of the size.

A third one is not the paper's, and there to be trained only: CellNetwork, a DKN or its last layers with heads for all
pixels of cells of 4×4 (`dkn.networks.warm_start`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dkn.errors import ConfigError
from dkn.networks.config import IMAGE_PADDING, LAYERS, LUMA, STRIDE, NetworkConfig, cell_of, feature_padding
from dkn.ops.average import weighted_average


class KernelNetwork(nn.Module):
    """What DKN and FDKN share: two streams → kernels → weighted average. Use `build`."""

    taps: Tensor

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        taps = config.kernel_size**2
        self.register_buffer("taps", torch.from_numpy(config.taps()), persistent=False)
        stream = {"fdkn": FDKNStream, "dkn": DKNStream, "cells": CellStream}[config.architecture]

        def make(name: str, channels: int) -> Stream | None:
            weights, offsets = (
                config.gives(name, config.weights_from),
                config.gives(name, config.offsets_from),
            )
            if not (weights or offsets):
                return None
            return stream(channels, config.channels, taps * weights, 2 * taps * offsets)

        self.guidance_stream = make("rgb", config.guidance_channels)
        self.depth_stream = make("depth", config.depth_channels)

    def forward(self, guidance: Tensor | None, depth: Tensor) -> Tensor:
        """The raw network, eq. (3) or (7).

        Args:
            guidance: (N, 3, H, W) RGB in 0..1, whatever the config's guidance; ignored when that is none.
            depth: (N, C, H, W), C = `depth_channels` of the config. The first is depth, upsampled to the guidance's
                size and divided by the model's depth range.

        Returns:
            (N, 1, H, W) float32, in the unit of `depth`. Any H and W.
        """
        return self.average(depth, *self.kernels(guidance, depth))

    def kernels(self, guidance: Tensor | None, depth: Tensor) -> tuple[Tensor, Tensor | None]:
        """Kernel weights K (N, k², H, W), normalised, and offsets Δq (N, 2k², H, W) as the streams give them, or
        None for a regular grid."""
        weights, offsets = self.raw_kernels(guidance, depth)
        return self._normalise(weights), offsets

    def raw_kernels(self, guidance: Tensor | None, depth: Tensor) -> tuple[Tensor, Tensor | None]:
        """The same before the mean is taken off, or the sum divided by: weights are products of sigmoids."""
        return self._combine([stream(image) for stream, image in self._inputs(guidance, depth)])

    def average(self, depth: Tensor, weights: Tensor, offsets: Tensor | None) -> Tensor:
        """Apply kernels to the first channel of `depth`, which is what a network is shown of a depth map."""
        return self.filter(depth[:, :1], weights, offsets)

    def filter(self, image: Tensor, weights: Tensor, offsets: Tensor | None) -> Tensor:
        """Apply kernels to every channel of `image`: eq. (3) with the residual connection, eq. (7) without."""
        if offsets is None:
            offsets = image.new_zeros(1, 1, 1, 1).expand(len(image), 2 * len(self.taps), *image.shape[2:])
        # Offsets of a bfloat16 pass still address pixels in float32.
        offsets = offsets.float() * self.config.offset_unit if self.config.released_sampling else offsets
        average = weighted_average(image, weights, offsets, self.taps, self.config.window)
        return image + average if self.config.residual else average

    def streams(self) -> dict[str, Stream]:
        """The streams there are, by the image that each sees: rgb or grey, then depth."""
        streams = {self.config.guidance: self.guidance_stream, "depth": self.depth_stream}
        return {image: stream for image, stream in streams.items() if stream is not None}

    def _inputs(self, guidance: Tensor | None, depth: Tensor) -> list[tuple[Stream, Tensor]]:
        """The streams there are, each with its image."""
        images = {"depth": depth}
        if self.guidance_stream is not None:
            if guidance is None:
                raise ConfigError("this network needs a guidance image")
            images[self.config.guidance] = _grey(guidance) if self.config.guidance == "grey" else guidance
        return [(stream, images[image]) for image, stream in self.streams().items()]

    def _combine(self, heads: list[tuple[Tensor | None, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
        """Streams' heads → kernels: sigmoid, product (Fig. 2)."""
        weights = _product([torch.sigmoid(w.float()) for w, _ in heads if w is not None])
        offsets = _product([o.float() for _, o in heads if o is not None])
        assert weights is not None  # the config has a stream that gives weights
        return weights, offsets

    def _normalise(self, weights: Tensor) -> Tensor:
        """Mean subtraction (eq. 3), or L1 normalisation (eq. 7)."""
        if self.config.residual:
            return weights - weights.mean(dim=1, keepdim=True)
        # Sigmoids of very negative numbers are all 0 in float32; their sum must not become a divisor.
        return weights / weights.sum(dim=1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)


class FDKN(KernelNetwork):
    """Fast deformable kernel network: one pass over 4×4 phases stacked as channels (supplement 1.2)."""

    def __init__(self, config: NetworkConfig | None = None):
        super().__init__(config or NetworkConfig("fdkn"))


class StridedNetwork(KernelNetwork):
    """What DKN and CellNetwork share: their convolutions see no padding but that of the image."""

    @property
    def padding(self) -> tuple[int, int]:
        """Rows and columns that are seen before the first pixel, and behind the last, with a kernel."""
        return cast(DKNStream, self.depth_stream or self.guidance_stream).padding

    def unpadded_kernels(self, guidance: Tensor | None, depth: Tensor) -> tuple[Tensor, Tensor | None]:
        """What `kernels` gives, of images that bring their surroundings: `padding` rows and columns, zeros where a
        picture ends. DKN: at one of 16 pixels.

        Returns:
            (N, k², h, w) and (N, 2k², h, w) or None, of a DKN for images (N, C, 4(h-1) + 50, 4(w-1) + 50), of a network
            on cells for (N, C, h + 2 padding, w + 2 padding), where h and w are multiples of 4.
        """
        heads = [cast(DKNStream, stream).unpadded(image) for stream, image in self._inputs(guidance, depth)]
        weights, offsets = self._combine(heads)
        return self._normalise(weights), offsets


class DKN(StridedNetwork):
    """Deformable kernel network (paper 3.2), evaluated for all pixels in one dense pass."""

    def __init__(self, config: NetworkConfig | None = None):
        super().__init__(config or NetworkConfig("dkn"))

    def kernels_by_shift_and_stitch(self, guidance: Tensor | None, depth: Tensor) -> tuple[Tensor, Tensor | None]:
        """What `kernels` gives, by 16 passes over shifted inputs (supplement 1.1).

        Equal in evaluation mode. In training mode the batch statistics of 16 passes differ from those of one.
        """
        weights = offsets = None
        height, width = depth.shape[2:]
        for y in range(min(STRIDE, height)):
            for x in range(min(STRIDE, width)):
                heads = [
                    cast(DKNStream, stream).strided(image, x, y) for stream, image in self._inputs(guidance, depth)
                ]
                w, o = self._combine(heads)
                if weights is None:
                    weights = w.new_empty(len(w), w.shape[1], height, width)
                    offsets = None if o is None else o.new_empty(len(o), o.shape[1], height, width)
                weights[:, :, y::STRIDE, x::STRIDE] = w
                if o is not None and offsets is not None:
                    offsets[:, :, y::STRIDE, x::STRIDE] = o
        assert weights is not None
        return self._normalise(weights), offsets


class CellNetwork(StridedNetwork):
    """DKN with heads for all 16 pixels of cells of 4×4; with the `widths` of one layer, its last three convolutions
    alone, which see the pixels of a cell as channels. Evaluated for every cell in one pass."""

    def __init__(self, config: NetworkConfig | None = None):
        super().__init__(config or NetworkConfig("cells"))


def build(config: NetworkConfig) -> KernelNetwork:
    """The network that `config` describes, with random weights."""
    return {"fdkn": FDKN, "dkn": DKN, "cells": CellNetwork}[config.architecture](config)


class _Heads(nn.Module):
    """1×1 convolutions to kernel weights and offsets; zero channels asked for means no such head."""

    def __init__(self, features: int, weights: int, offsets: int):
        super().__init__()
        self.weights = nn.Conv2d(features, weights, 1) if weights else None
        self.offsets = nn.Conv2d(features, offsets, 1) if offsets else None

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        weights = None if self.weights is None else self.weights(x)
        offsets = None if self.offsets is None else self.offsets(x)
        return weights, offsets


class Stream(nn.Module):
    """Features of one image, then the heads that read kernels from them."""

    heads: _Heads

    def layers(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
        """The convolutions of the features in order, each with its BN; a ReLU follows each."""
        raise NotImplementedError

    @staticmethod
    def _first(conv: nn.Conv2d, image: Tensor) -> Tensor:
        """The first convolution, in float32 also under autocast: half precision knows a depth to a centimetre only."""
        with torch.autocast(image.device.type, enabled=False):
            return conv(image.to(conv.weight.dtype))


class FDKNStream(Stream):
    """Supplement Table 1: six 3×3 convolutions on the 16 phases, BN after the 1st, 3rd and 5th."""

    def __init__(self, channels: int, widths: Sequence[int], weights: int, offsets: int):
        super().__init__()
        phases = STRIDE**2
        widths = (channels * phases, *widths)
        layers: list[nn.Module] = []
        for (before, after), layer in zip(pairwise(widths), LAYERS["fdkn"], strict=True):
            layers.append(nn.Conv2d(before, after, layer.kernel, padding=feature_padding("fdkn", layer)))
            if layer.norm:
                layers.append(nn.BatchNorm2d(after))
            layers.append(nn.ReLU(inplace=True))
        self.features = nn.Sequential(*layers)
        self.heads = _Heads(widths[-1], weights * phases, offsets * phases)

    def layers(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
        return [
            (module, following if isinstance(following, nn.BatchNorm2d) else None)
            for module, following in pairwise(self.features)
            if isinstance(module, nn.Conv2d)
        ]

    def forward(self, image: Tensor) -> tuple[Tensor | None, Tensor | None]:
        height, width = image.shape[2:]
        image = F.pad(image, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        features = self._first(self.layers()[0][0], F.pixel_unshuffle(image, STRIDE))
        heads = self.heads(self.features[1:](features))
        weights, offsets = (None if h is None else F.pixel_shuffle(h, STRIDE) for h in heads)
        return _crop(weights, height, width), _crop(offsets, height, width)


class DKNStream(Stream):
    """Paper Table 1. All convolutions are "valid"; the image alone is padded, by its receptive field of 50."""

    padding: tuple[int, int] = IMAGE_PADDING["dkn"]

    def __init__(self, channels: int, widths: Sequence[int], weights: int, offsets: int):
        super().__init__()
        layers, ends = LAYERS["dkn"][-len(widths) :], pairwise((channels, *widths))
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, layer.kernel, stride=layer.stride)
            for (before, after), layer in zip(ends, layers, strict=True)
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(width) if layer.norm else nn.Identity() for width, layer in zip(widths, layers, strict=True)
        )
        self.heads = _Heads(widths[-1], weights, offsets)

    def layers(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
        pairs = zip(self.convs, self.norms, strict=True)
        return [(conv, norm if isinstance(norm, nn.BatchNorm2d) else None) for conv, norm in pairs]  # type: ignore[misc]

    def forward(self, image: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Every pixel in one pass: a stride becomes a dilation of all that follows it."""
        x, dilation = F.pad(image, self.padding * 2), 1
        for i, (conv, norm) in enumerate(self.layers()):
            x = F.conv2d(x, conv.weight, conv.bias, dilation=dilation) if i else self._first(conv, x)
            x = F.relu(x if norm is None else norm(x))
            dilation *= conv.stride[0]
        return self.heads(x)

    def strided(self, image: Tensor, shift_x: int, shift_y: int) -> tuple[Tensor | None, Tensor | None]:
        """One pass of shift-and-stitch: the pixels [shift_y::4, shift_x::4], as Table 1 has it."""
        return self.unpadded(F.pad(image, self.padding * 2)[:, :, shift_y:, shift_x:])

    def unpadded(self, image: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Every fourth pixel, from the one that has 25 rows and columns before it to the last that has 24 behind it."""
        x = image
        for i, (conv, norm) in enumerate(self.layers()):
            x = conv(x) if i else self._first(conv, x)
            x = F.relu(x if norm is None else norm(x))
        return self.heads(x)


class CellStream(DKNStream):
    """`DKNStream`, or the last of its convolutions, at every fourth pixel, each of which has heads for the 16 pixels of
    a cell. The image is padded by zeros, to whole cells and by the receptive field: it ends as it does for a DKN."""

    def __init__(self, channels: int, widths: Sequence[int], weights: int, offsets: int):
        layers, pixels = LAYERS["dkn"][-len(widths) :], STRIDE**2
        self.cell = cell_of(layers)
        super().__init__(channels * self.cell**2, widths, weights * pixels, offsets * pixels)
        seen = 1
        for layer in reversed(layers):
            seen = (seen - 1) * layer.stride + layer.kernel
        margin = (seen * self.cell - STRIDE) // 2
        self.padding = margin, margin

    def forward(self, image: Tensor) -> tuple[Tensor | None, Tensor | None]:
        height, width = image.shape[2:]
        before, behind = self.padding
        weights, offsets = self.unpadded(
            F.pad(image, (before, behind + -width % STRIDE, before, behind + -height % STRIDE))
        )
        return _crop(weights, height, width), _crop(offsets, height, width)

    def unpadded(self, image: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """All pixels but the first and last that `padding` counts, whole cells of them."""
        weights, offsets = super().unpadded(F.pixel_unshuffle(image, self.cell))
        return (
            None if weights is None else F.pixel_shuffle(weights, STRIDE),
            None if offsets is None else F.pixel_shuffle(offsets, STRIDE),
        )


def _grey(rgb: Tensor) -> Tensor:
    """Luma, (N, 3, H, W) → (N, 1, H, W)."""
    r, g, b = (weight * channel for weight, channel in zip(LUMA, rgb.unbind(1), strict=True))
    return (r + g + b)[:, None]


def _crop(x: Tensor | None, height: int, width: int) -> Tensor | None:
    return None if x is None else x[:, :, :height, :width]


def _product(factors: list[Tensor]) -> Tensor | None:
    """Elementwise product of one or two tensors; None of none."""
    if not factors:
        return None
    return factors[0] if len(factors) == 1 else factors[0] * factors[1]
