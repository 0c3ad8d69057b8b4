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

"""The node's parameters: defaults, ranges, descriptions, and the file that shows them all."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source a ROS 2, or install requirements-ros.txt")

import yaml
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_harness import shared_context

from dkn import Upsampler
from dkn.engines import ENGINES, PRECISIONS
from dkn.errors import ConfigError
from dkn_ros.parameters import Options, declare, unknown

FILE = Path(__file__).resolve().parents[2] / "config" / "upsample.yaml"
FIELDS = {field.name: field for field in dataclasses.fields(Options)}
LIVE = {"mode", "target_rate", "decimation", "slop", "depth_unit", "min_depth", "max_depth", "fill_holes"}
LIVE |= {"hole_width", "min_confidence", "align_color", "temporal"}
LIVE |= {"registration", "depth_to_color", "points_decimation", "points_voxel_size"}


@pytest.fixture
def make_node() -> Iterator[Any]:
    nodes: list[Node] = []

    def make(**overrides: Any) -> Node:
        parameters = [Parameter(name, value=value) for name, value in overrides.items()]
        nodes.append(Node("parameters", context=shared_context(), parameter_overrides=parameters))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def test_defaults_make_sense():
    assert Options().mode == "fdkn_sensor"
    assert Options().fill_holes == Options(fill_holes=False).fill_holes == "none"


def test_the_file_shows_every_parameter_with_its_default():
    shown = yaml.safe_load(FILE.read_text())["/**"]["ros__parameters"]
    defaults = {name: field.default for name, field in FIELDS.items()}
    assert shown == defaults
    assert {name: type(value) for name, value in shown.items()} == {n: type(v) for n, v in defaults.items()}
    assert list(shown) == list(defaults)


def test_the_file_says_which_are_live():
    lines = re.findall(r"^    (\w+):.*#(.*)$", FILE.read_text(), re.MULTILINE)
    assert {name for name, comment in lines if comment.endswith("; live")} == LIVE
    assert {name for name, field in FIELDS.items() if field.metadata["live"]} == LIVE


@pytest.mark.parametrize("name", [name for name in FIELDS if FIELDS[name].metadata["choices"]])
def test_choices(name):
    for choice in FIELDS[name].metadata["choices"]:
        assert getattr(Options(**{name: choice}), name) == choice
    with pytest.raises(ConfigError, match=rf"{name}='no such'.*{FIELDS[name].metadata['choices'][-1]}"):
        Options(**{name: "no such"})


@pytest.mark.parametrize("name", [name for name in FIELDS if FIELDS[name].metadata["limits"]])
def test_limits(name):
    low, high = FIELDS[name].metadata["limits"]
    if name not in ("min_depth", "max_depth"):  # these two bound each other
        assert getattr(Options(**{name: low}), name) == low
        assert getattr(Options(**{name: high}), name) == high
    for bad in (low - 1, high + 1, math.nan, math.inf, -math.inf):
        with pytest.raises(ConfigError, match=name):
            Options(**{name: bad})


def test_the_depth_range_has_to_hold_something():
    with pytest.raises(ConfigError, match=r"min_depth=2\.0 is not below max_depth=2\.0"):
        Options(min_depth=2.0, max_depth=2.0)


def test_changed():
    before = Options()
    after = before.changed([Parameter("slop", value=0.5), Parameter("use_sim_time", value=True)])
    assert after == dataclasses.replace(before, slop=0.5)
    assert before.slop == 0.02
    with pytest.raises(ConfigError, match="slop"):
        before.changed([Parameter("slop", value=-1.0)])
    # Each alone would be refused.
    both = [Parameter("min_depth", value=70.0), Parameter("max_depth", value=0.1)]
    with pytest.raises(ConfigError):
        before.changed(both)


def test_declare_reads_what_the_node_was_started_with(make_node):
    assert declare(make_node()) == Options()
    given = {"mode": "dkn_x8", "scale": 4, "slop": 0.1, "fill_holes": True, "reliability": "reliable"}
    assert declare(make_node(**given)) == Options(**given)


def test_an_integer_is_a_number(make_node):
    """`max_depth: 5` in a file is an integer to ROS."""
    node = make_node(max_depth=5, slop=0)
    options = declare(node)
    assert options == Options(max_depth=5.0, slop=0.0)
    assert isinstance(options.max_depth, float)
    assert options.changed([Parameter("max_depth", value=7)]) == Options(max_depth=7.0, slop=0.0)
    for nonsense in ("7", True, None):
        with pytest.raises(ConfigError, match="max_depth"):
            options.changed([Parameter("max_depth", value=nonsense)])


def test_what_is_given_and_does_not_exist_is_named(make_node):
    node = make_node(mode="dkn", mdoe="fdkn", colour="red")
    declare(node)
    typo, foreign = unknown(node)
    assert "'mdoe'" in typo and "did you mean mode?" in typo
    assert "'colour'" in foreign and "there are mode, scale" in foreign


def test_what_the_upsampler_takes_is_an_argument_of_it():
    arguments = inspect.signature(Upsampler).parameters
    upsampler = Upsampler(device="cpu")
    assert set(Options().of_upsampler()) <= set(arguments)
    assert Options(fill_holes=True, min_depth=1.0).of_upsampler(live=True).items() >= {
        ("fill_holes", "all"),
        ("min_depth", 1.0),
    }
    assert all(hasattr(upsampler, name) for name in Options().of_upsampler(live=True))


@pytest.mark.parametrize("file", [FILE, FILE.parents[1] / "README.md"], ids=["upsample.yaml", "README"])
def test_engines_and_precisions_are_all_listed(file):
    """In the rows that are about them."""
    lines = [line for line in file.read_text().splitlines() if "openvino" in line or "fp32" in line]
    rows = " ".join(line for line in lines if "auto" in line)
    assert not [name for name in (*ENGINES, *PRECISIONS) if not re.search(rf"\b{name}\b", rows)]


def test_every_parameter_is_described(make_node):
    node = make_node()
    declare(node)
    for name, field in FIELDS.items():
        descriptor = node.describe_parameter(name)
        assert descriptor.description
        assert descriptor.read_only == (name not in LIVE)
        limits = [(r.from_value, r.to_value) for r in (*descriptor.floating_point_range, *descriptor.integer_range)]
        assert limits == ([field.metadata["limits"]] if field.metadata["limits"] else [])
        assert all(choice in descriptor.additional_constraints for choice in field.metadata["choices"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slop", -0.5),
        ("slop", math.nan),
        ("slop", "wide"),
        ("slop", True),
        ("slop", 2),
        ("scale", 2.5),
        ("scale", 65),
        ("fill_holes", "yes"),
        ("mode", 8),
        ("precision", "fp8"),
    ],
)
def test_declare_refuses_in_one_line(make_node, name, value):
    with pytest.raises(ConfigError, match=name) as error:
        declare(make_node(**{name: value}))
    assert "\n" not in str(error.value)
