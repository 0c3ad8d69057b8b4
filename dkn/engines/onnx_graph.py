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

from dkn.engines.folding import Convolution, FoldedStream, fold, of_rgb
from dkn.engines.quantisation import quantise
from dkn.networks import STRIDE, KernelNetwork

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
        weight = self.constant(convolution.weight)
        if convolution.input_range is not None:
            image = self.in_eight_bits(image, convolution.input_range)
            weight = self.weight_of_eight_bits(convolution.weight)
        pads, dilations = [before, before, after, after], [convolution.dilation] * 2
        bias = self.constant(convolution.bias)
        return self.add("Conv", image, weight, bias, pads=pads, dilations=dilations)

    def in_eight_bits(self, image: str, upper: float) -> str:
        """`image` rounded to 256 levels from 0 to `upper`; a convolution of such levels is what runtimes know."""
        scale, zero = self.constant(np.float32(upper / 255)), self.constant(np.uint8(0))
        return self.add("DequantizeLinear", self.add("QuantizeLinear", image, scale, zero), scale, zero)

    def weight_of_eight_bits(self, weight: np.ndarray) -> str:
        """Weights as −127..127 of a step for each output channel."""
        step = np.abs(weight).reshape(len(weight), -1).max(axis=1) / np.float32(127)
        step = np.maximum(step, np.finfo(np.float32).tiny)
        levels = np.rint(weight / step[:, None, None, None]).astype(np.int8)
        zeros = self.constant(np.zeros(len(step), np.int8))
        return self.add("DequantizeLinear", self.constant(levels), self.constant(step), zeros, axis=0)

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


def kernels_graph(network: KernelNetwork, *, for_engine: bool = False, int8: bool = False) -> onnx.ModelProto:
    """Images → kernel weights (products of sigmoids, not normalised) and offsets, pixel after pixel of the features.

    Inputs, float32:
        color: (N, 3, H, W) RGB in 0..1; absent in a network that sees depth alone. With `for_engine`: (N, H, W, 3)
            uint8.
        depth: (N, C, H, W), C = `depth_channels` of the config; the first is depth, upsampled, in units of the model's
            depth range. Absent in a network whose kernels come of colour alone. With `for_engine`: (N, 1 + C, H, W),
            the first in two parts whose sum it is, so that a runtime that rounds inputs to bfloat16 still sees
            millimetres.
    `int8`: with steps of eight bits before the wide convolutions.
    Outputs, float32, for p = 4 phases along each axis (FDKN, whose H and W have to be multiples of 4) or p = 1 (DKN):
        weights: (N, H/p, W/p, k²·p²). Channel (t·p + dy)·p + dx is tap t of the pixels (p·y + dy, p·x + dx).
        offsets: (N, H/p, W/p, 2·k²·p²), those along x of all taps, then those along y; absent for a regular grid.
    """
    graph, config = Graph(), network.config
    size = ("height", "width")
    inputs = []
    if network.depth_stream is not None:
        inputs.append(_describe("depth", ("batch", config.depth_channels + for_engine, *size)))
    if network.guidance_stream is not None and for_engine:
        inputs.append(_describe("color", ("batch", *size, 3), TensorProto.UINT8))
        color, white = graph.add("Transpose", graph.add("Cast", "color", to=TensorProto.FLOAT), perm=[0, 3, 1, 2]), 255
    elif network.guidance_stream is not None:
        inputs.append(_describe("color", ("batch", 3, *size)))
        color, white = "color", 1

    heads = []
    streams = fold(network)
    for stream in quantise(streams, network) if int8 else streams:
        stream = _x_before_y(stream, config.phases**2)
        if stream.image == "depth":
            heads.append(
                _stream(
                    graph, _of_two_parts(stream, config.phases**2) if for_engine else stream, "depth", config.phases
                )
            )
        else:
            heads.append(_stream(graph, of_rgb(stream, white), color, config.phases))
    count = config.kernel_size**2 * config.phases**2
    graph.product_by_pixel([graph.add("Sigmoid", weights) for weights, _ in heads if weights], "weights")
    outputs = [_describe("weights", ("batch", "rows", "columns", count))]
    if offsets := [offsets for _, offsets in heads if offsets]:
        graph.product_by_pixel([graph.bound(head) for head in offsets], "offsets")
        outputs.append(_describe("offsets", ("batch", "rows", "columns", 2 * count)))
    return graph.model(inputs, outputs)


def _describe(name: str, shape: Sequence[int | str], dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """An input or output; a dimension with a name is free."""
    return helper.make_tensor_value_info(name, dtype, list(shape))


def _stream(graph: Graph, stream: FoldedStream, image: str, phases: int) -> tuple[str, str]:
    """Names of the weights and of the offsets that a stream's heads give; empty where it has no such head."""
    first, *others = stream.features
    features = image
    if phases > 1:
        features = graph.add("SpaceToDepth", image, blocksize=STRIDE)
        first = _phases_first(first)
    for convolution in (first, *others):
        features = graph.add("Relu", graph.convolution(features, convolution))
    weights, offsets = (
        "" if head is None else graph.convolution(features, head) for head in (stream.weights, stream.offsets)
    )
    return weights, offsets


def _x_before_y(stream: FoldedStream, area: int) -> FoldedStream:
    """The heads give (x, y) of tap after tap; here x of all taps comes first, in rows that a CPU reads in one go."""
    if stream.offsets is None:
        return stream
    channels = np.arange(len(stream.offsets.bias)).reshape(-1, 2, area).swapaxes(0, 1).ravel()
    weight, bias = stream.offsets.weight[channels], stream.offsets.bias[channels]
    return replace(stream, offsets=replace(stream.offsets, weight=weight, bias=bias))


def _of_two_parts(stream: FoldedStream, area: int) -> FoldedStream:
    """The stream with its first convolution made for two images whose sum is the first of those it is meant for."""
    first, *others = stream.features
    twice = np.concatenate((first.weight[:, :area], first.weight), axis=1)
    return replace(stream, features=(replace(first, weight=twice), *others))


def _phases_first(convolution: Convolution) -> Convolution:
    """`pixel_unshuffle` keeps the phases of a channel together, ONNX's SpaceToDepth the channels of a phase."""
    weight = convolution.weight
    by_channel = weight.reshape(len(weight), -1, STRIDE**2, *weight.shape[2:])
    return replace(convolution, weight=by_channel.swapaxes(1, 2).reshape(weight.shape))
