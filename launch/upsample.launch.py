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

"""Start the node for a camera: `ros2 launch dkn_ros upsample.launch.py camera:=realsense`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from dkn.errors import ConfigError
from dkn.utils.paths import share_folder
from dkn_ros.cameras import CAMERAS, remappings
from dkn_ros.fast_dds import NO_PROFILE, NODE_PROFILE, fast_dds_environment, receive_buffer_problem

CONFIG = share_folder() / "config"
RVIZ_PACKAGE = "rviz2"
RESPAWN_DELAY = 2.0  # seconds
_BOOLEANS = ["", "true", "false"]
# Arguments that are parameters of the node, with their types.
PARAMETERS: dict[str, type] = {
    "mode": str,
    "device": str,
    "engine": str,
    "precision": str,
    "slop": float,
    "color_transport": str,
    "depth_transport": str,
    "use_sim_time": bool,
    "registration": str,
    "depth_to_color": str,
    "pointcloud": bool,
}
# name, default, description, choices
ARGUMENTS = [
    ("camera", "", "preset of topic names; without it the node's own, as color/image_raw", ["", *CAMERAS]),
    ("camera_name", "", "name that the preset's driver was given, or namespace/name; by default as the driver's", None),
    ("color", "", "colour image topic, instead of the preset's", None),
    ("depth", "", "depth image topic, registered to colour, instead of the preset's", None),
    ("camera_info", "", "colour camera_info topic; by default the one beside the colour image", None),
    (
        "mode",
        "",
        "model: fdkn_sensor, fdkn, dkn, a short name such as fdkn_x8, or a file; by default as in params_file",
        None,
    ),
    ("device", "", "where the network runs: auto, cpu, cuda, cuda:1 …; by default as in params_file", None),
    ("engine", "", "what runs the network; by default as in params_file", None),
    ("precision", "", "of the convolutions; by default as in params_file", None),
    ("slop", "", "largest difference between the stamps of a pair [s]; by default as in params_file", None),
    ("color_transport", "", "how colour arrives; by default as in params_file", ["", "raw", "compressed"]),
    (
        "depth_transport",
        "",
        "how depth arrives; by default as in params_file",
        ["", "raw", "compressed", "compressedDepth"],
    ),
    ("use_sim_time", "", "follow /clock, as with `ros2 bag play --clock`; by default as in params_file", _BOOLEANS),
    ("name", "upsample", "name of the node", None),
    ("namespace", "", "namespace of the node; relative topics, the presets' too, are inside it", None),
    ("params_file", str(CONFIG / "upsample.yaml"), "parameters of the node", None),
    ("log_level", "info", "of the node's log", ["debug", "info", "warn", "error", "fatal"]),
    ("respawn", "false", "start the node again, two seconds after it has ended", ["true", "false"]),
    ("output", "screen", "where the node's output goes", ["screen", "log", "both"]),
    (
        "registration",
        "",
        "of depth to colour in the node; by default as in params_file",
        ["", "auto", "off", "internal"],
    ),
    ("depth_to_color", "", "where the depth camera is in colour's frame, 'x y z qx qy qz qw', instead of /tf", None),
    ("pointcloud", "", "offer a coloured cloud on points; by default as in params_file, which does", _BOOLEANS),
    ("rviz", "false", "also start RViz with the depth and the points", ["true", "false"]),
    ("fixed_frame", "camera_color_optical_frame", "of RViz: any frame that the colour camera is connected to", None),
    (
        "fastdds_profile",
        "true",
        "let the node take config/fastdds_node.xml, unless the environment names a profile",
        ["true", "false"],
    ),
]


def generate_launch_description() -> LaunchDescription:
    declarations = [
        DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)
        for name, default, description, choices in ARGUMENTS
    ]
    return LaunchDescription([*declarations, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Action]:
    given = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    params_file = Path(given["params_file"]).expanduser()
    if not params_file.is_file():  # launch_ros only warns, and the node would run with its defaults
        raise FileNotFoundError(f"params_file:={params_file}: no such file")
    environment = fast_dds_environment(NODE_PROFILE) if given["fastdds_profile"] == "true" else NO_PROFILE
    node = Node(
        package="dkn_ros",
        executable="upsample",
        name=given["name"],
        namespace=given["namespace"],
        parameters=[
            str(params_file),
            {name: _value(name, kind, given[name]) for name, kind in PARAMETERS.items() if given[name]},
        ],
        remappings=remappings(*(given[name] for name in ("camera", "color", "depth", "camera_info", "camera_name"))),
        ros_arguments=["--log-level", given["log_level"]],
        additional_env=environment,
        output=given["output"],
        respawn=given["respawn"] == "true",
        respawn_delay=RESPAWN_DELAY,
    )
    return [*_advice(given["camera"], environment), node, *(_rviz(given) if given["rviz"] == "true" else [])]


def _value(name: str, kind: type, text: str) -> Any:
    """An argument as the value of a parameter."""
    if kind is bool:
        return text == "true"
    if kind is float:
        try:
            return float(text)
        except ValueError:
            raise ConfigError(f"{name}:={text}: a number is needed") from None
    return ParameterValue(text, value_type=str)  # or a model called 8 would arrive as a number


def _rviz(given: dict[str, str]) -> list[Action]:
    """RViz on our topics; only a word on it where it is not installed."""
    try:
        get_package_prefix(RVIZ_PACKAGE)
    except PackageNotFoundError:
        line = f"rviz:=true needs {RVIZ_PACKAGE}, which is not installed. sudo apt install ros-$ROS_DISTRO-rviz2"
        return [LogInfo(msg=line)]
    # The file's topics are relative: they are found in the node's namespace.
    arguments = ["-d", str(CONFIG / "upsample.rviz"), "-f", given["fixed_frame"]]
    return [
        Node(package=RVIZ_PACKAGE, executable="rviz2", name="rviz", namespace=given["namespace"], arguments=arguments)
    ]


def _advice(camera: str, environment: dict[str, str]) -> list[Action]:
    """What has to be done outside of the node."""
    lines = []
    # Not where the user has chosen a profile, or another middleware.
    if environment and environment != NO_PROFILE and (problem := receive_buffer_problem()):
        lines.append(problem)
    if camera:
        lines.append(f"The driver that registers depth to colour (or the node does): {CAMERAS[camera].driver}")
    return [LogInfo(msg=line) for line in lines]
