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

"""Every engine gives the depth of the reference; the choice between them, and what happens when one fails."""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_cases import CONFIGS, images

from dkn.engines import ENGINES, TOLERANCE, Choice, Engine, Runner, difference_from_numpy, numpy_network, plan, registry
from dkn.engines.graph import GraphEngine, OnnxRuntime, Runtime
from dkn.engines.reference import ReferenceEngine
from dkn.errors import ConfigError, DknError
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import KernelNetwork, build
from dkn.networks.weights import Weights
from dkn.utils.device import CAP, CPU, Device, has_native_bf16, has_native_int8

FAST = [name for name, entry in ENGINES.items() if "cpu" in entry.precisions and name != "reference"]


@pytest.fixture(params=FAST)
def engine_name(request) -> str:
    for package in ENGINES[request.param].packages:
        pytest.importorskip(package)
    return request.param


def by_hand(network: KernelNetwork, color: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Eq. (3) or (7) in float64, tap by tap, from the streams' own kernels."""
    config = network.config
    with torch.inference_mode():
        guidance = torch.from_numpy(color).permute(0, 3, 1, 2).float() / 255
        weights, offsets = network.kernels(guidance, torch.from_numpy(depth))
    f, kernel = depth[:, :1].astype(float), weights.double().numpy()
    shift = np.zeros((len(f), 2 * kernel.shape[1], *f.shape[2:])) if offsets is None else offsets.double().numpy()
    radius = config.window // 2
    padded = np.pad(f, ((0, 0), (0, 0), (radius, radius), (radius, radius)))
    along = np.arange(-radius, radius + 1)
    result = f.copy() if config.residual else np.zeros_like(f)
    for n, y, x in np.ndindex(f.shape[0], *f.shape[2:]):
        patch = padded[n, 0, y : y + config.window, x : x + config.window]
        for t, (tap_x, tap_y) in enumerate(network.taps.double().tolist()):
            g_x = np.maximum(0, 1 - np.abs(tap_x + shift[n, 2 * t, y, x] * config.offset_unit - along))
            g_y = np.maximum(0, 1 - np.abs(tap_y + shift[n, 2 * t + 1, y, x] * config.offset_unit - along))
            result[n, 0, y, x] += kernel[n, t, y, x] * (g_y @ patch @ g_x)
    return result


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_reference_equals_the_equations(config, liven):
    network = liven(build(config), offsets=3.0)
    color, depth = images(2, 11, 14, channels=config.depth_channels)
    result = ReferenceEngine(Weights.of(network), CPU)(color, depth)
    expected = by_hand(network, color, depth)
    np.testing.assert_allclose(result, expected, atol=TOLERANCE["fp32"])
    assert np.abs(expected - depth[:, :1]).max() > 0.01


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_engines_equal_the_reference(engine_name, config, liven):
    network = liven(build(config), offsets=2.0)  # products of two: often out of the window
    color, depth = images(2, 21, 30, channels=config.depth_channels)
    expected = ReferenceEngine(Weights.of(network), CPU)(color, depth)
    assert np.abs(expected - depth[:, :1]).max() > 0.01
    result = Choice(engine_name, CPU, "fp32").make(Weights.of(network))(color, depth)
    assert result.shape == expected.shape and result.dtype == np.float32
    assert np.abs(result - expected).max() <= TOLERANCE["fp32"]


@pytest.mark.parametrize("name", ["openvino", "torch"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_bfloat16_comes_near_and_openvino_has_it_where_the_cpu_does(name, config, liven):
    for package in ENGINES[name].packages:
        pytest.importorskip(package)
    network = liven(build(config))
    color, depth = images(2, 21, 30, channels=config.depth_channels)
    expected = ReferenceEngine(Weights.of(network), CPU)(color, depth)
    difference = np.abs(Choice(name, CPU, "bf16").make(Weights.of(network))(color, depth) - expected)
    if name == "torch" or has_native_bf16():
        assert difference.max() > TOLERANCE["fp32"]
    assert difference.max() <= TOLERANCE["bf16"]
    assert difference.mean() <= 0.03 * np.abs(expected - depth[:, :1]).mean()


class RoundingAlone(GraphEngine):
    """What eight bits cost by their rounding alone: the graph operator by operator, in float32."""

    name = "rounding alone"

    def __init__(self, weights: Weights):
        super().__init__(weights, CPU, "int8")

    def runtime(self, batch: int, height: int, width: int) -> Runtime:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        providers = ["CPUExecutionProvider"]
        return OnnxRuntime(*(onnxruntime.InferenceSession(graph, options, providers) for graph in self.graphs))


@pytest.mark.parametrize("name", [name for name, entry in ENGINES.items() if "int8" in entry.precisions.get("cpu", ())])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_eight_bits_lose_what_rounding_costs_and_more_where_the_cpu_sums_no_bytes(name, config, liven):
    """Without VNNI, products of bytes are summed in pairs of 16 bits, which saturate unless a bit of the weights is
    given up: up to five times the error of rounding was seen. (On pictures it costs nothing: docs/performance.md.)"""
    for package in (*ENGINES[name].packages, "onnxruntime"):
        pytest.importorskip(package)
    network = liven(build(config))
    color, depth = images(2, 21, 30, channels=config.depth_channels)
    expected = ReferenceEngine(Weights.of(network), CPU)(color, depth)
    rounding = np.abs(RoundingAlone(Weights.of(network))(color, depth) - expected)
    difference = np.abs(Choice(name, CPU, "int8").make(Weights.of(network))(color, depth) - expected)
    # bfloat16, where it takes part, comes on top.
    assert difference.mean() <= (1.5 if has_native_int8() else 6) * rounding.mean()
    assert rounding.max() > TOLERANCE["fp32"]
    # Most of it by offsets in bytes, here of tenths of a pixel between samples of noise.
    assert rounding.mean() <= 0.08 * np.abs(expected - depth[:, :1]).mean()


@pytest.mark.parametrize("name", ["openvino", "torch"])
def test_half_precision_sees_millimetres(name, liven):
    """A network that looks at differences of neighbours, on a slope of a few steps of bfloat16 in all."""
    for package in ENGINES[name].packages:
        pytest.importorskip(package)
    network = liven(build(NetworkConfig(guidance="none")))
    first = network.depth_stream.layers()[0][0].weight.data
    first.zero_()
    first[:, 0, 1, 1] = torch.linspace(-3000, 3000, len(first))
    first[:, 1, 1, 1] = -first[:, 0, 1, 1]  # the pixel to the right
    color, _ = images(1, 16, 16)
    depth = np.tile(0.8 + 1e-4 * np.arange(16, dtype=np.float32), (1, 1, 16, 1))  # millimetres, 8 m away
    expected = ReferenceEngine(Weights.of(network), CPU)(color, depth) - depth
    result = Choice(name, CPU, "bf16").make(Weights.of(network))(color, depth) - depth
    assert np.abs(result - expected).mean() <= 0.05 * np.abs(expected).mean()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (4, 4), (16, 5)])
def test_any_size(engine_name, size, liven):
    network = liven(build(NetworkConfig()))
    color, depth = images(1, 20, 20)
    color, depth = (np.ascontiguousarray(x) for x in (color[:, : size[0], : size[1]], depth[..., : size[0], : size[1]]))
    result = Choice(engine_name, CPU, "fp32").make(Weights.of(network))(color, depth)
    torch.testing.assert_close(result, ReferenceEngine(Weights.of(network), CPU)(color, depth), rtol=0, atol=1e-5)


def test_a_change_of_size_is_told_once(engine_name, liven, caplog):
    engine = Choice(engine_name, CPU, "fp32").make(Weights.of(liven(build(NetworkConfig()))))
    with caplog.at_level(logging.INFO, logger="dkn"):
        sizes = [(1, 8, 12), (2, 8, 12), (1, 8, 12), (1, 16, 12), (1, 8, 12)]
        results = [engine(*images(*size)) for size in sizes]
    torch.testing.assert_close(results[0], results[4], rtol=0, atol=0)
    told = [record for record in caplog.records if "built anew" in record.message]
    assert len(told) == (2 if engine_name == "openvino" else 0)


def test_nothing_stays_of_the_scene_of_the_check(engine_name, liven, caplog):
    runner = Runner(Weights.of(liven(build(NetworkConfig()))), [Choice(engine_name, CPU, "fp32")])
    with caplog.at_level(logging.INFO, logger="dkn"):
        runner(*images(1, 8, 12))
    assert not any("built anew" in record.message for record in caplog.records)


def test_the_same_bytes_on_every_run(engine_name, liven):
    """On as many threads; on others sums are of other parts, and may differ in their last bits."""
    network = liven(build(NetworkConfig()), offsets=3.0)
    color, depth = images(1, 37, 45)
    before = torch.get_num_threads()
    results: dict[int, list[np.ndarray]] = {}
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            engine = Choice(engine_name, CPU, "fp32").make(Weights.of(network))
            results.setdefault(threads, []).extend(engine(color, depth) for _ in range(2))
    finally:
        torch.set_num_threads(before)
    for same in results.values():
        for result in same[1:]:
            np.testing.assert_array_equal(result, same[0])
    torch.testing.assert_close(results[1][0], results[2][0], rtol=0, atol=1e-4)


def test_the_number_of_threads_may_change(engine_name, liven):
    """Which other libraries set, too: what was compiled for some goes on with others."""
    color, depth = images(1, 37, 45)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        engine = Choice(engine_name, CPU, "fp32").make(Weights.of(liven(build(NetworkConfig()), offsets=3.0)))
        expected = engine(color, depth)
        for threads in (1, 3):
            torch.set_num_threads(threads)
            torch.testing.assert_close(engine(color, depth), expected, rtol=0, atol=1e-4)
    finally:
        torch.set_num_threads(before)


def test_the_network_stays_as_it_was(engine_name, liven):
    network = liven(build(NetworkConfig()))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Choice(engine_name, CPU, "fp32").make(Weights.of(network))(*images(1, 8, 8))
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_plan_on_a_cpu(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())  # all is installed

    def planned(bf16: bool) -> list[tuple[str, str]]:
        monkeypatch.setattr(registry, "has_native_bf16", lambda: bf16)
        return [(c.name, c.precision) for c in plan(CPU)]

    assert planned(True) == [("openvino", "int8"), ("onnx", "fp32"), ("torch", "bf16")]
    assert planned(False) == [("openvino", "int8"), ("onnx", "fp32"), ("torch", "fp32")]
    assert {c.precision for c in plan(CPU, precision="bf16")} == {"bf16"}  # asked for, emulated or not
    assert [c.name for c in plan(CPU, "reference")] == ["reference"]


def test_the_plan_on_cuda_ends_on_the_cpu():
    choices = plan(Device("cuda"))
    assert [c.device.type for c in choices] == sorted((c.device.type for c in choices), reverse=True)
    assert {c.device.type for c in choices} == {"cuda", "cpu"}
    assert choices[0].precision == "fp16"
    assert {c.device.type for c in plan(Device("cuda"), "torch")} == {"cuda"}


@pytest.mark.parametrize(
    ("engine", "precision", "words"),
    [
        ("tensorrt", "auto", "choose auto, cuda, openvino"),
        ("auto", "fp8", "choose auto, fp32"),
        ("torch", "fp16", "not to be had on cpu"),
        ("cuda", "auto", "cuda"),
        ("onnx", "bf16", "onnx"),
    ],
)
def test_a_plan_that_cannot_be(engine, precision, words):
    with pytest.raises(ConfigError, match=words):
        plan(CPU, engine, precision)


def test_a_missing_package_leaves_the_next_best(monkeypatch):
    find = importlib.util.find_spec
    absent = ("openvino", "numba")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else find(name))
    assert [c.name for c in plan(CPU)] == ["torch"]
    with pytest.raises(ConfigError, match="pip install openvino numba"):
        plan(CPU, "openvino")


def test_nothing_that_could_serve_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    absent = ("openvino", "numba", "torch")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else find(name))
    with pytest.raises(ConfigError, match="pip install numba openvino torch"):
        plan(CPU)


class Fake(Engine):
    """Copies the depth, so that it differs from the reference by what the network would have done."""

    name = "fake"
    error: Exception | None = None

    def __call__(self, color: np.ndarray, depth: np.ndarray) -> np.ndarray:
        if self.error is not None:
            raise self.error
        return depth.copy()


@pytest.fixture
def fake(monkeypatch) -> type[Fake]:
    class Mine(Fake):
        pass

    make = Choice.make
    monkeypatch.setattr(Choice, "make", lambda c, n: Mine(n, CPU, "fp32") if c.name == "fake" else make(c, n))
    return Mine


def idle_network() -> Weights:
    """All weights zero: kernels are constant, their mean is taken off, and the depth passes through."""
    network = build(NetworkConfig()).eval()
    for parameter in network.parameters():
        parameter.data.zero_()
    return Weights.of(network)


CHOICES = [Choice("fake", CPU, "fp32"), Choice("torch", CPU, "fp32")]


def test_an_engine_that_is_wrong_is_not_used(fake, liven, caplog):
    weights = Weights.of(liven(build(NetworkConfig())))
    assert difference_from_numpy(fake(weights, CPU, "fp32"), weights) > 1e-3
    runner = Runner(weights, CHOICES)
    assert runner.engine.name == "torch"
    assert "fake (cpu, fp32) is off by" in caplog.text


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_network_in_numpy_equals_the_reference(config, liven):
    weights = Weights.of(liven(build(config), offsets=2.0))
    color, depth = images(2, 21, 30, channels=config.depth_channels)
    expected = ReferenceEngine(weights, CPU)(color, depth)
    np.testing.assert_allclose(numpy_network.run(weights, color, depth), expected, atol=TOLERANCE["fp32"])


def test_kernels_of_next_to_nothing_keep_their_digits(liven):
    """Eq. (7) divides by the sum of weights: 1 and 2 are as good as 1e-9 and 2e-9."""
    network = liven(build(NetworkConfig(residual=False)))
    network.depth_stream.heads.weights.bias.data -= 20
    weights = Weights.of(network)
    assert difference_from_numpy(ReferenceEngine(weights, CPU), weights) <= TOLERANCE["fp32"]


def test_an_engine_that_gives_nan_is_not_used(fake, monkeypatch):
    monkeypatch.setattr(fake, "__call__", lambda self, color, depth: depth * np.nan)
    assert Runner(idle_network(), CHOICES).engine.name == "torch"


def test_an_engine_that_cannot_be_made_is_not_used(monkeypatch, caplog):
    monkeypatch.setitem(ENGINES, "torch", ENGINES["torch"].__class__("dkn.engines.nowhere:X", (), {"cpu": ("fp32",)}))
    with pytest.raises(DknError, match=r"torch \(cpu, fp32\) cannot be used here: No module named"):
        Runner(idle_network(), [Choice("torch", CPU, "fp32")])


def test_a_failure_in_mid_run_goes_on_with_the_next(fake, caplog):
    runner = Runner(idle_network(), CHOICES)
    color, depth = images(1, 8, 12)
    assert runner.engine.name == "fake"
    torch.testing.assert_close(runner(color, depth), depth)
    fake.error = RuntimeError("the device fell off\nand more")
    torch.testing.assert_close(runner(color, depth), depth)
    assert runner.engine.name == "torch"
    assert "engine fake (cpu, fp32) failed, going on with torch (cpu, fp32): the device fell off" in caplog.messages
    assert runner.failure in caplog.messages


def test_out_of_memory_leaves_the_device(fake, caplog):
    choices = [CHOICES[0], CHOICES[0], CHOICES[1]]
    runner = Runner(idle_network(), choices)
    fake.error = torch.cuda.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(DknError, match="failed, and there is no other: CUDA out of memory"):
        runner(*images(1, 8, 12))  # the others are on the same device


def test_the_last_engine_fails(fake):
    runner = Runner(idle_network(), CHOICES[:1])
    fake.error = ValueError()
    with pytest.raises(DknError, match=r"fake .* failed, and there is no other: ValueError"):
        runner(*images(1, 8, 12))


def test_openvino_neither_forks_nor_reports():
    """A fork of a process whose other threads compute has stopped all of them for good."""
    pytest.importorskip("openvino")
    code = """
import os, sys
forks = []
os.register_at_fork(before=lambda: forks.append(1))
from dkn.engines.graph import _openvino
_openvino()
import openvino.tools.ovc
print(len(forks), [name for name in sys.modules if name.startswith("openvino_telemetry")])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split(maxsplit=1) == ["0", "[]\n"]


def test_all_of_this_on_a_cpu_with_avx2_alone():
    """This file once more in a process whose libraries may use no newer instructions (`make test CPU=avx2`)."""
    if os.environ.get(CAP):
        pytest.skip(f"{CAP} is set already")
    here = Path(__file__)
    recipe = subprocess.run(
        ["make", "-pn", "CPU=avx2", "test"], cwd=here.parents[2], capture_output=True, text=True
    ).stdout
    (line,) = {line for line in recipe.splitlines() if line.startswith("CAPPED_TO_avx2 :=")}
    settings = dict(setting.split("=", 1) for setting in line.partition(":= ")[2].split())
    command = [sys.executable, "-m", "pytest", "-q", "-k", "not avx2_alone", str(here), "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=here.parents[2], env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


FREE = """
from pathlib import Path
from dkn import Upsampler
from dkn.utils.memory import give_back

def resident():
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])

Upsampler("fdkn_sensor", device="cpu").load(8)
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_what_making_an_engine_took_goes_back():
    """Of quantisation and the check 9 to 15 MB would stay, in pieces that no frame fits into."""
    found = subprocess.run([sys.executable, "-c", FREE], check=True, capture_output=True, text=True)
    assert int(found.stdout) < 5e6
