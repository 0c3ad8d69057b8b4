"""The node's parameters: defaults, ranges, descriptions, and the file that shows them all."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source a ROS 2, or install requirements-ros.txt")

import rclpy
import yaml
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_harness import ENVIRONMENT

from dkn.errors import ConfigError
from dkn_ros.parameters import Parameters, declare

FILE = Path(__file__).resolve().parents[1] / "config" / "upsample.yaml"
FIELDS = {field.name: field for field in dataclasses.fields(Parameters)}
LIVE = {"mode", "slop", "min_depth", "max_depth", "fill_holes"}


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    context = Context()
    with mock.patch.dict("os.environ", ENVIRONMENT):
        rclpy.init(context=context)
    yield context
    context.try_shutdown()


@pytest.fixture
def make_node(context) -> Iterator[Any]:
    nodes: list[Node] = []

    def make(**overrides: Any) -> Node:
        parameters = [Parameter(name, value=value) for name, value in overrides.items()]
        nodes.append(Node("parameters", context=context, parameter_overrides=parameters))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def test_defaults_make_sense():
    assert Parameters().mode == "fdkn_sensor"
    assert Parameters().fill_holes is False


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
        assert getattr(Parameters(**{name: choice}), name) == choice
    with pytest.raises(ConfigError, match=rf"{name}='no such'.*{FIELDS[name].metadata['choices'][-1]}"):
        Parameters(**{name: "no such"})


@pytest.mark.parametrize("name", [name for name in FIELDS if FIELDS[name].metadata["limits"]])
def test_limits(name):
    low, high = FIELDS[name].metadata["limits"]
    if name not in ("min_depth", "max_depth"):  # these two bound each other
        assert getattr(Parameters(**{name: low}), name) == low
        assert getattr(Parameters(**{name: high}), name) == high
    for bad in (low - 1, high + 1, math.nan, math.inf, -math.inf):
        with pytest.raises(ConfigError, match=name):
            Parameters(**{name: bad})


def test_the_depth_range_has_to_hold_something():
    with pytest.raises(ConfigError, match=r"min_depth=2\.0 is not below max_depth=2\.0"):
        Parameters(min_depth=2.0, max_depth=2.0)


def test_changed():
    before = Parameters()
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
    assert declare(make_node()) == Parameters()
    given = {"mode": "dkn_x8", "scale": 4, "slop": 0.1, "fill_holes": True, "reliability": "reliable"}
    assert declare(make_node(**given)) == Parameters(**given)


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
        ("slop", 1),
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
