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

"""A network's convolutions as an ONNX graph: one description for every runtime that reads ONNX.

The graph ends at the kernels, so that the sampler can stay our own. It is built from the folded convolutions, not
traced: nothing in it depends on a version of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dkn.engines.folding import Convolution, FoldedStream, of_rgb
from dkn.networks.config import NetworkConfig
from dkn.ops.numba_cells import depth_cell_size

OPSET = 17
IR_VERSION = 8  # of the same age; newer ones are refused by runtimes that would read the graph well
BEYOND = 1e4  # pixels, further than any window


class Graph:
    """ONNX nodes in the order of their making; each call gives the name of what it computes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """One operator of these inputs. `name` of its result: one of its own if empty."""
        name = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def convolution(self, image: str, convolution: Convolution) -> str:
        before, after = convolution.padding
        if convolution.input_range is None:
            weight = self.constant(convolution.weight)
        else:
            upper = convolution.input_range
            # Of an image that was `of_bytes` already too: changes nothing then, but without it OpenVINO (2026.4)
            # does not know the convolution for one in eight bits.
            image = self.of_bytes(self.to_bytes(image, upper), upper)
            weight = self.weight_of_eight_bits(convolution.weight)
        pads, dilations = [before, before, after, after], [convolution.dilation] * 2
        bias = self.constant(convolution.bias)
        return self.add("Conv", image, weight, bias, pads=pads, dilations=dilations)

    def to_bytes(self, image: str, upper: float) -> str:
        """`image` rounded to 256 levels from 0 to `upper`."""
        return self.add("QuantizeLinear", image, self.constant(np.float32(upper / 255)), self.constant(np.uint8(0)))

    def of_bytes(self, image: str, upper: float) -> str:
        """Bytes as numbers, 256 levels from 0 to `upper`."""
        return self.add("DequantizeLinear", image, self.constant(np.float32(upper / 255)), self.constant(np.uint8(0)))

    def weight_of_eight_bits(self, weight: np.ndarray) -> str:
        """Weights as −127..127 of a step for each output channel."""
        step = np.abs(weight).reshape(len(weight), -1).max(axis=1) / np.float32(127)
        step = np.maximum(step, np.finfo(np.float32).tiny)
        levels = np.rint(weight / step[:, None, None, None]).astype(np.int8)
        zeros = self.constant(np.zeros(len(step), np.int8))
        return self.add("DequantizeLinear", self.constant(levels), self.constant(step), zeros, axis=0)

    def to_signed_bytes(self, image: str, upper: float) -> str:
        """`image` rounded to levels from −`upper` (1) over 0 (128) to `upper` (255)."""
        return self.add("QuantizeLinear", image, self.constant(np.float32(upper / 127)), self.constant(np.uint8(128)))

    def bound(self, value: str) -> str:
        """`value` held to a range that means nothing to offsets in pixels. For OpenVINO it means that the convolution
        before it writes float32 itself, as it does before a sigmoid, and not bfloat16 to be converted."""
        return self.add("Clip", value, *(self.constant(np.float32(limit)) for limit in (-BEYOND, BEYOND)))

    def product_by_pixel(self, factors: Sequence[str], name: str) -> None:
        """Output `name`: the elementwise product of one or two results, with the channels last."""
        product = self.add("Mul", *factors) if len(factors) == 2 else factors[0]
        # Convolutions work on channels last inside: there, this transposition costs nothing, and saves one.
        self.add("Transpose", product, name=name, perm=[0, 2, 3, 1])

    def model(self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "dkn", inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model


def kernels_graph(streams: Sequence[FoldedStream], config: NetworkConfig) -> onnx.ModelProto:
    """Images → kernel weights (products of sigmoids, not normalised) and offsets, pixel after pixel of the features.

    Inputs, float32:
        color: (N, 3, H, W) RGB in 0..1; absent in a network that sees depth alone.
        depth: (N, C, H, W), C = `depth_channels` of the config; the first is depth, upsampled, in units of the model's
            depth range. Absent in a network whose kernels come of colour alone.
    Outputs, float32, for p = 4 phases along each axis (FDKN, whose H and W have to be multiples of 4) or p = 1 (DKN):
        weights: (N, H/p, W/p, k²·p²). Channel (t·p + dy)·p + dx is tap t of the pixels (p·y + dy, p·x + dx).
        offsets: (N, H/p, W/p, 2·k²·p²), those along x of all taps, then those along y; absent for a regular grid.
    """
    graph = Graph()
    size = ("height", "width")
    inputs, heads = [], []
    for stream in streams:
        stream = _x_before_y(stream, config.phases**2)
        channels = config.depth_channels if stream.image == "depth" else 3
        image = "depth" if stream.image == "depth" else "color"
        inputs.append(_describe(image, ("batch", channels, *size)))
        cells = graph.add("SpaceToDepth", image, blocksize=config.phases) if config.phases > 1 else image
        stream = stream if stream.image == "depth" else of_rgb(stream, 1)
        stream = _phases_first(stream, config.phases)
        heads.append(_heads(graph, stream, _features(graph, stream, cells)))
    count = config.kernel_size**2 * config.phases**2
    outputs = [_describe("weights", ("batch", "rows", "columns", count))]
    graph.product_by_pixel([weights for weights, _ in heads if weights], "weights")
    if offsets := [offsets for _, offsets in heads if offsets]:
        graph.product_by_pixel(offsets, "offsets")
        outputs.append(_describe("offsets", ("batch", "rows", "columns", 2 * count)))
    return graph.model(inputs, outputs)


def engine_graphs(
    streams: Sequence[FoldedStream], config: NetworkConfig, parts: int = 1
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The same for an engine, in two graphs: from cells of an image to features, and from these to factors of kernels.

    The second makes many numbers of few. On some rows of the features at a time they stay in a processor's cache until
    the average has read them, and products of two streams need not be written at all (`dkn.ops.numba_average`).

    Args:
        streams: of `fold`, or of `dkn.engines.quantisation.quantise`.
        parts: in how many the depths come: 2 where a runtime rounds its inputs to bfloat16, so that it still sees
            millimetres.

    Inputs of the first, those there are: color (N, rows, columns, 3p²) uint8 and depth (N, rows, columns,
    `depth_cell_size`) float32, made by `dkn.ops.numba_cells`. Its outputs, inputs of the second: features_0 … of each
    stream, (N, rows, columns, n2), float32 or uint8. Outputs of the second: weights_0, offsets_0 …, laid out as in
    `kernels_graph`, those there are, float32 or uint8 as `dkn.ops.numba_average` takes them.
    """
    first, second = Graph(), Graph()
    images, features, kernels = [], [], []
    taps = config.kernel_size**2 * config.phases**2
    for i, stream in enumerate(streams):
        stream = _x_before_y(stream, config.phases**2)
        if stream.image == "depth":
            stream = _of_depth_cells(_phases_first(stream, config.phases), config, parts)
            channels = depth_cell_size(config.depth_channels, config.phases, parts)
            images.append(_describe("depth", ("batch", "rows", "columns", channels)))
            cells = first.add("Transpose", "depth", perm=[0, 3, 1, 2])
        else:
            # Bytes as numbers up to 1 for a convolution in eight bits: with numbers up to 255, OpenVINO (2026.4) does
            # it in floats.
            white = 255 if stream.features[0].input_range is None else 1
            stream = _phases_first(of_rgb(stream, white), config.phases)
            images.append(_describe("color", ("batch", "rows", "columns", 3 * config.phases**2), TensorProto.UINT8))
            pixels = first.add("Cast", "color", to=TensorProto.FLOAT) if white > 1 else first.of_bytes("color", white)
            cells = first.add("Transpose", pixels, perm=[0, 3, 1, 2])
        head = stream.weights or stream.offsets
        assert head is not None  # a stream without heads would not be there
        result = _features(first, stream, cells)
        kind = TensorProto.FLOAT
        if head.input_range is not None:
            result, kind = first.to_bytes(result, head.input_range), TensorProto.UINT8
        name = f"features_{i}"
        first.product_by_pixel([result], name)
        features.append(_describe(name, ("batch", "rows", "columns", len(stream.features[-1].bias)), kind))
        levels = second.of_bytes(name, head.input_range) if head.input_range is not None else name
        given = second.add("Transpose", levels, perm=[0, 3, 1, 2])
        for kernel, count, made in zip(
            ("weights", "offsets"), (taps, 2 * taps), _heads(second, stream, given), strict=True
        ):
            if made:
                second.product_by_pixel([made], f"{kernel}_{i}")
                kind = TensorProto.FLOAT if head.output_range is None else TensorProto.UINT8
                kernels.append(_describe(f"{kernel}_{i}", ("batch", "rows", "columns", count), kind))
    return first.model(images, features), second.model(features, kernels)


def _describe(name: str, shape: Sequence[int | str], dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """An input or output; a dimension with a name is free."""
    return helper.make_tensor_value_info(name, dtype, list(shape))


def bytes_of_a_pixel(value: onnx.ValueInfoProto) -> int:
    """Of an input or output whose channels come last."""
    kind = value.type.tensor_type
    return int(kind.shape.dim[3].dim_value * helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize)


def _features(graph: Graph, stream: FoldedStream, cells: str) -> str:
    """Name of what a stream's heads look at."""
    features = cells
    for convolution in stream.features:
        features = graph.add("Relu", graph.convolution(features, convolution))
    return features


def _heads(graph: Graph, stream: FoldedStream, features: str) -> tuple[str, str]:
    """Names of a stream's weights, after the sigmoid, and of its offsets; empty where it has no such head."""
    weights = offsets = ""
    if stream.weights is not None:
        weights = graph.add("Sigmoid", graph.convolution(features, stream.weights))
        if stream.weights.output_range is not None:
            weights = graph.to_bytes(weights, stream.weights.output_range)
    if stream.offsets is not None:
        offsets, upper = graph.convolution(features, stream.offsets), stream.offsets.output_range
        offsets = graph.bound(offsets) if upper is None else graph.to_signed_bytes(offsets, upper)
    return weights, offsets


def _x_before_y(stream: FoldedStream, area: int) -> FoldedStream:
    """The heads give (x, y) of tap after tap; here x of all taps comes first, in rows that a CPU reads in one go."""
    if stream.offsets is None:
        return stream
    channels = np.arange(len(stream.offsets.bias)).reshape(-1, 2, area).swapaxes(0, 1).ravel()
    weight, bias = stream.offsets.weight[channels], stream.offsets.bias[channels]
    return replace(stream, offsets=replace(stream.offsets, weight=weight, bias=bias))


def _of_depth_cells(stream: FoldedStream, config: NetworkConfig, parts: int) -> FoldedStream:
    """The stream with its first convolution made for `depth_cells`: depth in parts has the same weights for each, and
    what is the same in all phases of a cell has the sum of theirs."""
    first, *others = stream.features
    weight, channels = first.weight, config.depth_channels
    by_phase = weight.reshape(len(weight), -1, channels, *weight.shape[2:])
    planes = [by_phase[:, :, 0]] * parts
    if channels > 1:
        planes += [by_phase[:, :, 1], by_phase[:, :, 2:].sum(axis=1)]
    return replace(stream, features=(replace(first, weight=np.concatenate(planes, axis=1)), *others))


def _phases_first(stream: FoldedStream, phases: int) -> FoldedStream:
    """`pixel_unshuffle` keeps the phases of a channel together, ONNX's SpaceToDepth the channels of a phase."""
    first, *others = stream.features
    weight = first.weight
    by_channel = weight.reshape(len(weight), -1, phases**2, *weight.shape[2:])
    return replace(stream, features=(replace(first, weight=by_channel.swapaxes(1, 2).reshape(weight.shape)), *others))
