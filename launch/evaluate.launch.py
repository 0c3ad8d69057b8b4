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

"""Replay a bag into the node and write a report: `ros2 launch dkn_ros evaluate.launch.py bag:=recording`."""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

# Options of dkn-replay: name, default, description. Empty: as dkn-replay has it.
OPTIONS = [
    ("color", "", "topic of the colour images; found by its type if there is one choice"),
    ("depth", "", "topic of the depth images, registered to colour; likewise"),
    ("truth", "", "topic of the true depth; by default the depth before it is reduced"),
    ("scale", "", "reduce depth by this factor before it is sent; by default 8"),
    ("degradation", "", "how it is reduced: bicubic, area, nearest, …"),
    ("rate", "", "speed, 1 = as recorded; max = each pair after the answer to the one before"),
    ("loop", "", "how often to play"),
    ("from", "", "begin at this second"),
    ("to", "", "end at this second"),
    ("compare", "", "judge so many frames at most"),
    ("mode", "", "model: fdkn_sensor, fdkn, dkn, a short name such as fdkn_x8, or a file"),
    ("device", "", "where the network runs: auto, cpu, cuda"),
    ("json", "", "file for the figures"),
    ("report", "replay.html", "file for the report"),
    ("record", "", "new bag for the node's answers"),
]


def generate_launch_description() -> LaunchDescription:
    bag = DeclareLaunchArgument("bag", description="folder of a ROS 2 bag (sqlite3 or mcap)")
    options = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in OPTIONS
    ]
    return LaunchDescription([bag, *options, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Action]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ("bag", *(name for name, *_ in OPTIONS))}
    # One argument each, whatever is in it; an absolute path never looks like an option.
    arguments = [str(Path(given.pop("bag")).expanduser().absolute())]
    arguments += [f"--{name}={value}" for name, value in given.items() if value]
    return [Node(package="dkn_ros", executable="replay", arguments=arguments, output="screen", emulate_tty=True)]
