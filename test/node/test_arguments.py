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

"""The node's command line, without a node."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="the parameters need rclpy")

from dkn_ros.arguments import files_for_others, split


@pytest.mark.parametrize(
    ("line", "own", "ros"),
    [
        ("", "", ""),
        ("--help", "--help", ""),
        ("--ros-args -p a:=b", "", "-p a:=b"),
        ("x --ros-args -p a:=b -- y -- --ros-args -r c:=d", "x y --", "-p a:=b -r c:=d"),
    ],
)
def test_split(line, own, ros):
    assert split(line.split()) == (own.split(), ros.split())


@pytest.mark.parametrize(
    ("content", "is_for_us"),
    [
        ("/**: {ros__parameters: {}}", True),
        ("/**/upsample: {ros__parameters: {}}", True),
        ("/front/upsample: {ros__parameters: {}}", True),
        ("front/upsample: {ros__parameters: {}}", True),
        ("front: {upsample: {ros__parameters: {}}}", True),
        ("/*/upsample: {ros__parameters: {}}", True),
        ("/front/*: {ros__parameters: {}}", True),
        ("camera: {ros__parameters: {}}\n/**: {ros__parameters: {}}", True),
        ("upsample: {ros__parameters: {}}", False),  # that is the one without a namespace
        ("/*: {ros__parameters: {}}", False),
        ("/back/upsample: {ros__parameters: {}}", False),
        ("/front/upsampler: {ros__parameters: {}}", False),
        ("/**/camera: {ros__parameters: {}}", False),
    ],
)
def test_files_of_parameters(tmp_path, content, is_for_us):
    """As rcl_yaml_param_parser takes names: nested or not, * one word, ** any number."""
    file = tmp_path / "parameters.yaml"
    file.write_text(content)
    found = files_for_others(["-r", "a:=b", "--params-file", str(file)], "/front/upsample")
    assert found == [] if is_for_us else (len(found) == 1 and str(file) in found[0] and "/front/upsample" in found[0])


@pytest.mark.parametrize("content", ["", "[1, 2]", "a: b: c", "\x00"])
def test_what_ros_itself_will_refuse(tmp_path, content):
    file = tmp_path / "parameters.yaml"
    file.write_text(content)
    assert files_for_others(["--params-file", str(file)], "/upsample") == []
    assert files_for_others(["--params-file", str(tmp_path / "none.yaml")], "/upsample") == []
