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

"""Launch: camera presets, the launch file, and the Fast DDS profile that it sets."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from xml.etree import ElementTree

import pytest
import yaml

from dkn.errors import ConfigError
from dkn_ros import fast_dds
from dkn_ros.cameras import CAMERAS, remappings
from dkn_ros.fast_dds import fast_dds_environment

ROOT = Path(__file__).resolve().parents[1]
PROFILE, NODE_PROFILE = (ROOT / "config" / name for name in ("fastdds.xml", "fastdds_node.xml"))
INPUTS = ("color/image_raw", "depth/image_raw", "color/camera_info", "depth/camera_info")
VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
MODULES_OF_LAUNCH = (
    "ament_index_python",
    "ament_index_python.packages",
    "launch",
    "launch.action",
    "launch.actions",
    "launch.substitutions",
    "launch_ros",
    "launch_ros.actions",
    "launch_ros.parameter_descriptions",
)
CHOSEN_BY_USER = (*VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS", "RMW_IMPLEMENTATION", "ROS_DISTRO")


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CHOSEN_BY_USER:
        monkeypatch.delenv(name, raising=False)


# ------------------------------------------------------------------------------------------------------------- presets


@pytest.mark.parametrize(
    ("camera", "topics"),
    {
        "xtion": ("camera/rgb/image_raw", "camera/depth/image_raw", "camera/rgb/camera_info"),
        "kinect": ("camera/rgb/image_raw", "camera/depth/image_raw", "camera/rgb/camera_info"),
        "realsense": (
            "camera/camera/color/image_raw",
            "camera/camera/aligned_depth_to_color/image_raw",
            "camera/camera/color/camera_info",
        ),
        "azure": ("rgb/image_raw", "depth_to_rgb/image_raw", "rgb/camera_info"),
        "orbbec": ("camera/color/image_raw", "camera/depth/image_raw", "camera/color/camera_info"),
    }.items(),
)
def test_preset(camera: str, topics: tuple[str, ...]) -> None:
    rules = dict(remappings(camera))
    assert tuple(rules[name] for name in INPUTS[:3]) == topics
    assert rules["depth/camera_info"] == topics[1].replace("image_raw", "camera_info")


@pytest.mark.parametrize(
    ("camera", "name", "color"),
    [
        ("xtion", "front", "front/rgb/image_raw"),  # namespace:=front
        ("realsense", "d435", "camera/d435/color/image_raw"),  # camera_name:=d435
        ("realsense", "robot1/d435", "robot1/d435/color/image_raw"),  # camera_namespace:=robot1 camera_name:=d435
        ("realsense", "/robot1/d435", "/robot1/d435/color/image_raw"),
        ("azure", "k4a", "k4a/rgb/image_raw"),
        ("orbbec", "left", "left/color/image_raw"),  # camera_name:=left
    ],
)
def test_a_camera_may_have_a_name(camera: str, name: str, color: str) -> None:
    rules = dict(remappings(camera, camera_name=name))
    assert rules["color/image_raw"] == color
    assert rules["color/camera_info"] == color.replace("image_raw", "camera_info")
    assert rules["depth/image_raw"].startswith(color.rpartition("/")[0].rpartition("/")[0])


def test_a_name_without_a_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"camera_name:=d435.*camera:="):
        remappings(camera_name="d435")


def test_all_presets_are_tested_above() -> None:
    assert set(CAMERAS) == {"xtion", "kinect", "realsense", "azure", "orbbec"}


def test_without_anything_given_the_nodes_own_names_stay() -> None:
    assert remappings() == []


def test_given_topics_override_the_preset() -> None:
    rules = dict(remappings("realsense", color="/mine/rgb/image_rect", camera_info="/mine/info"))
    assert rules["color/image_raw"] == "/mine/rgb/image_rect"
    assert rules["color/camera_info"] == "/mine/info"
    assert rules["depth/image_raw"] == "camera/camera/aligned_depth_to_color/image_raw"


def test_one_topic_alone_leaves_the_others() -> None:
    rules = dict(remappings(depth="/d/image_raw"))
    assert set(rules) == {
        "depth/image_raw",
        "depth/image_raw/compressed",
        "depth/image_raw/compressedDepth",
        "depth/camera_info",
    }
    assert dict(remappings(camera_info="/i")) == {"color/camera_info": "/i"}


def test_compressed_transports_go_along() -> None:
    rules = dict(remappings("orbbec"))
    assert rules["color/image_raw/compressed"] == "camera/color/image_raw/compressed"
    assert rules["depth/image_raw/compressedDepth"] == "camera/depth/image_raw/compressedDepth"


@pytest.mark.parametrize(
    ("topic", "info"), [("rgb", "camera_info"), ("/rgb", "/camera_info"), ("a/b/c", "a/b/camera_info")]
)
def test_camera_info_is_beside_the_image(topic: str, info: str) -> None:
    assert dict(remappings(color=topic))["color/camera_info"] == info


def test_unknown_camera_names_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"camera:=webcam.*xtion, kinect, realsense, azure, orbbec"):
        remappings("webcam")


# --------------------------------------------------------------------------------------------------------- launch file


@pytest.fixture
def launch_file(clean_environment: None) -> Any:
    pytest.importorskip("launch.actions", reason="ROS 2's launch is not installed")
    pytest.importorskip("launch_ros.actions", reason="ROS 2's launch_ros is not installed")
    return load("upsample")


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"{name}_launch", ROOT / "launch" / f"{name}.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def visit(launch_file: Any, **given: str) -> tuple[Any, list[Any]]:
    """The node that the launch file would start with these arguments, and the other actions."""
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument
    from launch_ros.actions import Node

    context = LaunchContext()
    context.launch_configurations.update(given)
    actions = []
    for entity in launch_file.generate_launch_description().entities:
        made = entity.visit(context) or []
        if not isinstance(entity, DeclareLaunchArgument):
            actions += made
    nodes = [action for action in actions if isinstance(action, Node)]
    for node in nodes:
        node._perform_substitutions(context)
    return nodes[0], [action for action in actions if action is not nodes[0]]


def test_arguments(launch_file: Any) -> None:
    description = launch_file.generate_launch_description()
    names = {argument.name for argument in description.get_launch_arguments()}
    expected = (
        "camera camera_name color depth camera_info mode device engine precision slop color_transport depth_transport "
        "use_sim_time name namespace params_file log_level respawn output registration depth_to_color pointcloud rviz "
        "fixed_frame fastdds_profile"
    )
    assert names == set(expected.split())
    assert all(argument.default_value is not None for argument in description.get_launch_arguments())


def test_parameters_are_as_the_node_declares_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types and choices; the defaults are left to params_file. The file repeats them because what declares them loads
    PyTorch, which `ros2 launch --show-args` should not wait for.
    """
    options = pytest.importorskip("dkn_ros.parameters", reason="rclpy is not installed").Options
    for module in MODULES_OF_LAUNCH:  # only tables are looked at
        monkeypatch.setitem(sys.modules, module, MagicMock())
    launch_file = load("upsample")
    arguments = {name: (default, choices) for name, default, _, choices in launch_file.ARGUMENTS}
    declared = {f.name: f for f in dataclasses.fields(options)}
    assert launch_file.PARAMETERS.pop("use_sim_time") is bool  # which every node has
    for name, kind in launch_file.PARAMETERS.items():
        default, choices = arguments[name]
        assert (default, kind) == ("", type(declared[name].default)), name
        if choices:
            expected = {"true", "false"} if kind is bool else set(declared[name].metadata["choices"])
            assert set(choices) == {"", *expected}, name


@pytest.mark.parametrize("camera", CAMERAS)
def test_node_of_each_camera(launch_file: Any, camera: str) -> None:
    node, others = visit(launch_file, camera=camera, namespace="robot1")
    assert node.node_package == "dkn_ros"
    assert node.node_executable == "upsample"
    assert node.node_name == "/robot1/upsample"
    assert node.expanded_remapping_rules == remappings(camera)
    assert any(CAMERAS[camera].driver in action.msg[0].text for action in others)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An ament index with rviz2 in it."""
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "rviz2").touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join([str(tmp_path), os.environ.get("AMENT_PREFIX_PATH", "")]))


def test_rviz_shows_depth_and_points_of_the_node(launch_file: Any, installed: None) -> None:
    _, others = visit(launch_file, rviz="true", namespace="robot1", fixed_frame="base_link")
    rviz = others[-1]
    assert (rviz.node_package, rviz.node_executable, rviz.node_name) == ("rviz2", "rviz2", "/robot1/rviz")
    command = ["".join(getattr(part, "text", "") for part in parts) for parts in rviz.cmd]
    assert command[command.index("-f") + 1] == "base_link"
    shown = yaml.safe_load(Path(command[command.index("-d") + 1]).read_text())["Visualization Manager"]["Displays"]
    topics = {display["Class"]: display["Topic"]["Value"] for display in shown if "Topic" in display}
    assert topics["rviz_default_plugins/PointCloud2"] == "points"
    assert topics["rviz_default_plugins/Image"] == "depth_upsampled/image_rect"


def test_rviz_is_missed_in_words(launch_file: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    _, others = visit(launch_file, rviz="true")
    assert not [action for action in others if hasattr(action, "node_package")]
    assert any("rviz2" in action.msg[0].text for action in others)


def test_no_rviz_unless_asked(launch_file: Any, installed: None) -> None:
    _, others = visit(launch_file, pointcloud="true")
    assert not [action for action in others if hasattr(action, "node_package")]


def test_node_without_arguments(launch_file: Any) -> None:
    node, _ = visit(launch_file)
    assert not node.expanded_remapping_rules
    assert node.node_name.endswith("upsample")


def test_parameters_and_process(launch_file: Any, tmp_path: Path) -> None:
    given = {"device": "cuda:0", "engine": "torch", "precision": "int8", "slop": "1", "use_sim_time": "true"}
    given |= {"color_transport": "compressed", "depth_transport": "compressedDepth", "mode": "8"}
    given |= {"registration": "internal", "depth_to_color": "0 0 0 0 0 0 1", "pointcloud": "false"}
    node, _ = visit(launch_file, **given, name="front", respawn="true", log_level="debug")
    assert node.node_name.endswith("/front")
    command = ["".join(getattr(part, "text", "") for part in parts) for parts in node.cmd]
    assert command[command.index("--log-level") + 1] == "debug"
    assert node._ExecuteLocal__respawn is True
    # The file of what was given as arguments comes after the one of defaults, and so wins.
    path, is_file = node._Node__expanded_parameter_arguments[-1]
    assert is_file
    (shown,) = yaml.safe_load(Path(path).read_text()).values()
    assert shown["ros__parameters"] == given | {"slop": 1.0, "use_sim_time": True, "pointcloud": False}


def test_unknown_camera_is_refused(launch_file: Any) -> None:
    with pytest.raises(RuntimeError, match=r"foo.*realsense"):
        visit(launch_file, camera="foo")


def test_missing_params_file_is_refused(launch_file: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"/nowhere\.yaml"):
        visit(launch_file, params_file="/nowhere.yaml")


def test_evaluate_hands_everything_over(launch_file: Any) -> None:
    hostile = "/d; touch ran $(touch ran) --record x"
    node, _ = visit(load("evaluate"), bag="-bag", depth=hostile, loop="3", to="1.5")
    assert node.node_executable == "replay"
    command = [part[0].text if isinstance(part, list) else part for part in node.cmd[1:]]
    given = command[: command.index("--ros-args")]
    assert given == [str(Path.cwd() / "-bag"), f"--depth={hostile}", "--loop=3", "--to=1.5", "--report=replay.html"]


def test_evaluate_has_the_options_of_the_command(launch_file: Any) -> None:
    replay = pytest.importorskip("dkn_ros.replay.command", reason="rclpy is not installed")
    options = [name for action in replay._parser()._actions for name in action.option_strings]
    known = {name[2:] for name in options if name.startswith("--")}
    names = {argument.name for argument in load("evaluate").generate_launch_description().get_launch_arguments()}
    assert names - {"bag"} == known - {"help", "param", "benchmark"}


def test_profile_is_set(clean_environment: None) -> None:
    assert fast_dds_environment() == {VARIABLES[0]: str(PROFILE)}
    assert fast_dds_environment(fast_dds.NODE_PROFILE) == {VARIABLES[0]: str(NODE_PROFILE)}


def test_a_buffer_too_small_for_images_is_told(
    launch_file: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limit = tmp_path / "rmem_max"
    monkeypatch.setattr(fast_dds, "_RECEIVE_LIMIT", limit)
    limit.write_text("212992\n")
    (line,) = (action.msg[0].text for action in visit(launch_file)[1])
    assert "208 kB" in line and "sysctl -w net.core.rmem_max=4194304" in line and f"{VARIABLES[0]}={PROFILE}" in line
    assert not visit(launch_file, fastdds_profile="false")[1]
    limit.write_text("4194304\n")
    assert not visit(launch_file)[1]
    assert "sysctl" not in fast_dds.transport_advice()
    limit.unlink()  # no Linux
    assert not visit(launch_file)[1]


def test_the_node_can_be_kept_from_the_profile(launch_file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from launch import LaunchContext

    def environment(**given: str) -> dict[str, str]:
        node, _ = visit(launch_file, **given)
        context = LaunchContext()
        pairs = [["".join(part.perform(context) for part in parts) for parts in pair] for pair in node.additional_env]
        return dict(pairs)

    assert environment() == {VARIABLES[0]: str(NODE_PROFILE)}
    kept = environment(fastdds_profile="false")
    assert kept == {"FASTDDS_BUILTIN_TRANSPORTS": "DEFAULT"}
    monkeypatch.setenv(*kept.popitem())
    assert fast_dds_environment(fast_dds.NODE_PROFILE) == {}  # the node itself leaves it so


@pytest.mark.parametrize("distribution", ["humble", "jazzy"])
def test_fast_dds_2_knows_the_older_variable_only(
    clean_environment: None, monkeypatch: pytest.MonkeyPatch, distribution: str
) -> None:
    monkeypatch.setenv("ROS_DISTRO", distribution)
    assert fast_dds_environment() == {VARIABLES[1]: str(PROFILE)}


@pytest.mark.parametrize(
    ("variable", "value"),
    [*((name, "mine.xml") for name in VARIABLES), ("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA"),
     ("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")],
)  # fmt: skip
def test_profile_leaves_the_users_choice(
    clean_environment: None, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert fast_dds_environment() == {}


# ------------------------------------------------------------------------------------------------------------- profile


@pytest.mark.parametrize("profile", [PROFILE, NODE_PROFILE])
def test_profile_has_shared_memory_for_images(profile: Path) -> None:
    space = {"d": "http://www.eprosima.com"}
    root = ElementTree.parse(profile).getroot()
    transports = {
        transport.findtext("d:type", namespaces=space): transport
        for transport in root.iterfind(".//d:transport_descriptor", space)
    }
    assert set(transports) == {"SHM", "UDPv4"}
    assert transports["SHM"].findtext("d:segment_size", namespaces=space) == str(32 * 2**20)
    assert transports["SHM"].findtext("d:maxMessageSize", namespaces=space) == str(4 * 2**20)
    (participant,) = root.iterfind(".//d:participant", space)
    assert participant.get("is_default_profile") == "true"
    assert participant.findtext("d:rtps/d:useBuiltinTransports", namespaces=space) == "false"
    used = [element.text for element in participant.iterfind("d:rtps/d:userTransports/d:transport_id", space)]
    assert used == [transport.findtext("d:transport_id", namespaces=space) for transport in transports.values()]


# Its shared-memory segments are mapped into the process, and as large as the profile says only if it was taken.
PARTICIPANT = """
import re, pathlib, rclpy
rclpy.init()
node = rclpy.create_node("probe")
lines = pathlib.Path("/proc/self/maps").read_text().splitlines()
spans = [line.split("-")[:1] + line.split("-")[1].split()[:1] for line in lines if "/fastdds_" in line]
print("largest", max((int(end, 16) - int(start, 16) for start, end in spans), default=0))
ports = {int(number) for line in lines for number in re.findall("/fast[a-z]+_port([0-9]+)", line)}
print("ports", *ports)
node.destroy_node()
rclpy.shutdown()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("profile", "takes_images_by_shared_memory"), [(PROFILE, True), (NODE_PROFILE, False)])
def test_profile_is_taken_by_a_participant(profile: Path, takes_images_by_shared_memory: bool) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    environment = {k: v for k, v in os.environ.items() if k not in CHOSEN_BY_USER}
    environment |= {VARIABLES[1 if os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy") else 0]: str(profile)}
    environment |= {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}
    done = subprocess.run(
        [sys.executable, "-c", PARTICIPANT], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "XMLPARSER" not in done.stderr
    largest, ports = done.stdout.split("largest")[1].split("ports")
    assert int(largest) >= 32 * 2**20
    # Ports for user data are odd, those for discovery even (RTPS 9.6.1.1).
    assert any(int(port) % 2 for port in ports.split()) == takes_images_by_shared_memory
