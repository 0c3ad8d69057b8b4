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

"""Starts that fail: the exit status, and one line about what is wrong with a model, a parameter or an argument."""

from __future__ import annotations

import dataclasses
import multiprocessing
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

pytest.importorskip("rclpy", reason="the node needs rclpy: source a ROS 2, or install requirements-ros.txt")

from program_output import status_of
from ros_harness import ENVIRONMENT, LIMIT, NodeProcess

from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import build
from dkn_ros.parameters import Options

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the harness reads /proc")


@pytest.fixture(scope="module")
def models(tmp_path_factory, make_model) -> Path:
    """Two families."""
    folder = tmp_path_factory.mktemp("models")
    for name, scale in (("fdkn_x4", 4), ("fdkn_x8", 8), ("dkn_x8", 8)):
        make_model(folder / f"{name}.safetensors", scale, NetworkConfig(name.partition("_")[0], n1=8, n2=8))
    return folder


@pytest.fixture(scope="module")
def process(models) -> Iterator[ProcessPoolExecutor]:
    """A process that serves one start after the other, since importing everything takes seconds.

    Not this one: two participants of Fast DDS in a process can block each other for ever when one goes
    (https://github.com/eProsima/Fast-DDS/issues/6193), and other tests have theirs here.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ENVIRONMENT | {"DKN_MODELS": str(models)}).items():
            patch.setenv(name, value)
        executor = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        executor.submit(int).result(LIMIT)  # the process exists, with this environment
    yield executor
    executor.shutdown(wait=False)
    for child in multiprocessing.active_children():
        child.kill()  # it may be stuck


@pytest.fixture
def start(process, tmp_path) -> Callable[..., tuple[int, str]]:
    """Runs the program; returns its exit status and what it said."""

    def run(*arguments: str, own: tuple[str, ...] = ()) -> tuple[int, str]:
        output = tmp_path / "output"
        status = process.submit(status_of, [*own, "--ros-args", *arguments], output).result(LIMIT)
        return status, output.read_text()

    return run


def assert_one_line(err: str, *words: str) -> None:
    assert re.match(r"\[FATAL\] \[[\d.]+\] \[upsample\]: ", err), err
    assert err.count("\n") == 1, err
    assert all(word in err for word in words), err


def test_a_missing_model_ends_the_process(tmp_path, models):
    node = NodeProcess(tmp_path, environment={"DKN_MODELS": str(models)}, mode="no_such_model")
    assert node.wait() == 2
    assert_one_line(node.output, "no model 'no_such_model'", "dkn_x8, fdkn_x4, fdkn_x8")


@pytest.mark.parametrize("kind", ["missing", "truncated", "empty", "foreign", "not a model", "other weights"])
def test_a_model_file_that_is_none(start, tmp_path, models, kind):
    path = tmp_path / "model.safetensors"
    good = (models / "fdkn_x4.safetensors").read_bytes()
    if kind == "truncated":
        path.write_bytes(good[: len(good) // 2])
    elif kind == "empty":
        path.touch()
    elif kind == "foreign":
        save_file({"weights": torch.zeros(3)}, path)
    elif kind == "not a model":
        path.write_text("<html>404 Not Found</html>")
    elif kind == "other weights":  # a metadata of one network with the weights of another
        state = build(NetworkConfig(n1=4, n2=4)).state_dict()
        with safe_open(models / "fdkn_x4.safetensors", "pt") as file:
            save_file(state, path, file.metadata())
    status, err = start("-p", f"mode:={path}")
    assert status == 2
    assert_one_line(err, str(path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("device", "abacus"),
        ("precision", "fp8"),
        ("synchronizer", "chance"),
        ("reliability", "some"),
        ("color_transport", "theora"),
        ("depth_transport", "pigeon"),
        ("output_encoding", "8UC1"),
        ("scale", "-2"),
        ("scale", "much"),
        ("slop", "-0.1"),
        ("slop", ".nan"),
        ("slop", "2"),  # an integer is a number, but not this one
        ("max_wait", "0.0"),
        ("queue_size", "0"),
        ("diagnostics_period", "0.0"),
        ("min_depth", "65.535"),
        ("fill_holes", "some"),
    ],
)
def test_a_value_that_makes_no_sense(start, name, value):
    status, err = start("-p", f"{name}:={value}")
    assert status == 2
    assert_one_line(err, name)


@pytest.mark.parametrize(
    "arguments",
    [("-p", "nonsense"), ("--params-file", "no_such_file.yaml"), ("-r", "color/image_raw:=not a topic"), ("--what",)],
    ids=" ".join,
)
def test_arguments_that_make_no_sense(start, arguments):
    status, err = start(*arguments)
    assert status == 2
    own = [line for line in err.splitlines() if not line.startswith("[ERROR]")]  # rcl says something before
    assert_one_line(own[0] + "\n", "arguments")
    assert len(own) == 1


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (("--mode", "fdkn"), ("'--mode'", "--ros-args -p mode:=fdkn")),
        (("mode:=fdkn",), ("'mode:=fdkn'", "--ros-args -p mode:=fdkn")),
        (("--mdoe=fdkn",), ("'--mdoe=fdkn'", "--help")),
        (("fdkn",), ("'fdkn'", "--help")),
    ],
)
def test_unknown_arguments_are_named(start, own, words):
    status, err = start(own=own)
    assert status == 2
    assert_one_line(err, "unknown argument", *words)


def test_help(start):
    status, out = start(own=("--help",))
    assert status == 0
    assert out.startswith("usage: ros2 run dkn_ros upsample")
    for option in dataclasses.fields(Options):
        assert re.search(rf"^  {option.name} ", out, re.MULTILINE)
    assert "auto, fp32, fp16, bf16, int8" in out.replace("\n" + 24 * " ", " ")


def test_a_relative_path_is_named_in_full(start):
    status, err = start("-p", "mode:=some/model.safetensors")
    assert status == 2
    assert_one_line(err, str(Path.cwd() / "some" / "model.safetensors"))


@pytest.mark.parametrize(("device", "words"), [("cuda:x", "choose auto"), ("cpu:1", "choose auto")])
def test_devices_that_make_no_sense(start, device, words):
    status, err = start("-p", f"device:={device}")
    assert status == 2
    assert_one_line(err, device, words)


@pytest.mark.parametrize("value", ["sometimes", "1", "true"])
def test_a_qos_that_makes_no_sense(start, value):
    override = f"qos_overrides./depth_upsampled/image_rect.publisher.reliability:={value}"
    status, err = start("-p", "mode:=fdkn", "-p", override)
    assert status == 2
    assert_one_line(err, "qos_overrides of", "image_rect")


def test_message_filters_is_missed_in_words(start):
    if find_spec("message_filters"):
        pytest.skip("message_filters is installed")
    status, err = start("-p", "mode:=fdkn", "-p", "synchronizer:=message_filters")
    assert status == 2
    assert_one_line(err, "message-filters", "nearest")


def test_cuda_is_missed_in_words(start):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    status, err = start("-p", "device:=cuda")
    assert status == 2
    assert_one_line(err, "cuda")
