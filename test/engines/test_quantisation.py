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

"""Eight bits: ranges of inputs, and what steps of weights and inputs cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dkn.engines.folding import FoldedStream, fold
from dkn.engines.quantisation import FIRST_LAYER, _patches, best_range, find_ranges, quantise
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import KernelNetwork, build
from dkn.networks.weights import Weights


def quantised(network: KernelNetwork) -> list[FoldedStream]:
    return quantise(fold(Weights.of(network)), network.config)


@pytest.mark.parametrize("architecture", ["fdkn", "dkn"])
def test_ranges_are_those_of_the_network(architecture, liven):
    network = liven(build(NetworkConfig(architecture=architecture, guidance="grey")))
    ranges = find_ranges(fold(Weights.of(network)), network.config)
    color, depth = _patches()
    for image, stream in network.streams().items():
        layers = stream.layers()
        assert len(ranges[image].inputs) == len(layers) + 1
        x = torch.from_numpy({"grey": color.mean(1, keepdims=True), "depth": depth}[image])
        with torch.inference_mode():
            if architecture == "fdkn":
                x = torch.nn.functional.pixel_unshuffle(x, 4)
            else:
                x = torch.nn.functional.pad(x, (25, 24, 25, 24))
            for upper, (conv, norm) in zip(ranges[image].inputs, layers, strict=False):
                assert upper == pytest.approx(float(x.max()), rel=1e-5)
                x = conv(x)
                x = (x if norm is None else norm(x)).relu()
            assert ranges[image].inputs[-1] == pytest.approx(float(x.max()), rel=1e-5)


def test_range_of_offsets():
    """The largest of evenly spread ones; where one in ten thousand is a hundred times larger, it does not decide."""
    assert best_range(np.linspace(-3, 2, 1001, dtype=np.float32)) == pytest.approx(3)
    few = np.linspace(-1, 1, 10_000, dtype=np.float32)
    few[17] = 100
    upper = best_range(few)
    assert 0.99 <= upper < 20

    def error(upper: float) -> float:
        step = upper / 127
        return float(np.abs(np.rint(few / step).clip(-127, 127) * step - few).mean())

    assert error(upper) < min(error(100.0), error(0.5))
    assert best_range(np.zeros(5, np.float32)) > 0


def test_eq_7_has_its_kernels_in_floats(liven):
    """Its weights count against each other, and the small ones would all be nothing."""
    network = liven(build(NetworkConfig(residual=False)))
    heads = [head for stream in quantised(network) for head in (stream.weights, stream.offsets)]
    assert all(head.input_range is not None and head.output_range is None for head in heads)


@pytest.mark.parametrize("architecture", ["fdkn", "dkn"])
def test_all_but_the_first_layers_of_depth(architecture, liven):
    network = liven(build(NetworkConfig(architecture=architecture)))
    for stream in quantised(network):
        first = FIRST_LAYER[architecture] if stream.image == "depth" else 0
        assert [c.input_range is not None for c in stream.features] == [i >= first for i in range(len(stream.features))]
        assert stream.weights.input_range == stream.offsets.input_range > 0
        assert stream.weights.output_range == 1
        assert stream.offsets.output_range > 0


def test_heads_of_a_dead_stream_give_floats(liven):
    """And so do those of the other, since an average takes one kind."""
    network = liven(build(NetworkConfig()))
    conv, norm = network.depth_stream.layers()[5]
    conv.weight.data.zero_(), conv.bias.data.fill_(-1)
    if norm is not None:
        norm.bias.data.fill_(-100)
    heads = [head for stream in quantised(network) for head in (stream.weights, stream.offsets)]
    assert [head.input_range is None for head in heads].count(True) == 2
    assert all(head.output_range is None for head in heads)


def test_a_dead_layer_stays_in_floating_point(liven):
    network = liven(build(NetworkConfig(guidance="none")))
    conv, norm = network.depth_stream.layers()[4]
    conv.weight.data.zero_(), conv.bias.data.fill_(-1), norm.bias.data.fill_(-100)
    (stream,) = quantised(network)
    assert stream.features[4].input_range is not None
    assert stream.features[5].input_range is None


@pytest.mark.parametrize("config", [NetworkConfig(), NetworkConfig(depth_channels=4), NetworkConfig(guidance="grey")])
def test_openvino_does_them_in_eight_bits(config, liven):
    """Which it does only for graphs of the form that it looks for, and says nothing when it does not."""
    pytest.importorskip("openvino")
    from dkn.engines.graph import _openvino
    from dkn.engines.onnx_graph import engine_graphs

    network = liven(build(config))
    streams = quantised(network)
    convolutions = [c for s in streams for c in (*s.features, s.weights, s.offsets)]
    done = []
    for graph in engine_graphs(streams, config):
        model = _openvino().read_model(graph.SerializeToString())
        model.reshape({port.any_name: [1, 8, 8, port.get_partial_shape()[3].get_length()] for port in model.inputs})
        hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        nodes = _openvino().compile_model(model, "CPU", hints).get_runtime_model().get_ops()
        facts = [{name: str(value.astype(str)) for name, value in node.get_rt_info().items()} for node in nodes]
        done += [fact["primitiveType"] for fact in facts if fact["layerType"] == "Convolution"]
    in_bytes = [kind for kind in done if kind.endswith("_I8")]
    assert len(done) == len(convolutions)
    assert len(in_bytes) == sum(c.input_range is not None for c in convolutions)


def test_steps_in_the_graph(liven):
    """The constants of the graph are the weights to half a step, channel by channel."""
    onnx = pytest.importorskip("onnx")
    from dkn.engines.onnx_graph import Graph

    network = liven(build(NetworkConfig(guidance="none")))
    (stream,) = quantised(network)
    graph = Graph()
    graph.convolution("x", stream.features[5])
    constants = [onnx.numpy_helper.to_array(c) for c in graph.constants]
    (levels,) = (c for c in constants if c.dtype == np.int8 and c.ndim == 4)
    (steps,) = (c for c in constants if c.dtype == np.float32 and c.shape == (128,) and (c > 0).all() and c.max() < 1)
    weight = stream.features[5].weight
    assert np.abs(levels).reshape(128, -1).max(axis=1).tolist() == [127] * 128
    assert (np.abs(levels * steps[:, None, None, None] - weight) <= 0.501 * steps[:, None, None, None]).all()
