"""Start the node for a camera: `ros2 launch dkn_ros upsample.launch.py camera:=realsense`."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from dkn.models import share_folder
from dkn_ros.cameras import CAMERAS, point_cloud_remappings, remappings
from dkn_ros.share import NO_PROFILE, NODE_PROFILE, fast_dds_environment, receive_buffer_problem

CONFIG = share_folder() / "config"
POINT_CLOUD_PACKAGE = "depth_image_proc"
# name, default, description, choices
ARGUMENTS = [
    ("camera", "", "preset of topic names; without it the node's own, as color/image_raw", ["", *CAMERAS]),
    ("color", "", "colour image topic, instead of the preset's", None),
    ("depth", "", "depth image topic, registered to colour, instead of the preset's", None),
    ("camera_info", "", "colour camera_info topic; by default the one beside the colour image", None),
    (
        "mode",
        "",
        "model: fdkn_sensor, fdkn, dkn, a short name such as fdkn_x8, or a file; by default as in params_file",
        None,
    ),
    ("device", "", "where the network runs; by default as in params_file", ["", "auto", "cpu", "cuda"]),
    ("namespace", "", "namespace of the node; relative topics, the presets' too, are inside it", None),
    ("params_file", str(CONFIG / "upsample.yaml"), "parameters of the node", None),
    ("output", "screen", "where the node's output goes", ["screen", "log", "both"]),
    ("pointcloud", "false", "also start depth_image_proc's point cloud, coloured, on points", ["true", "false"]),
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
        name="upsample",
        namespace=given["namespace"],
        parameters=[
            str(params_file),
            # As text, or a model called 8 would arrive as a number.
            {name: ParameterValue(given[name], value_type=str) for name in ("mode", "device") if given[name]},
        ],
        remappings=remappings(*(given[name] for name in ("camera", "color", "depth", "camera_info"))),
        additional_env=environment,
        output=given["output"],
    )
    cloud = _point_cloud(given, environment) if given["pointcloud"] == "true" else []
    return [*_advice(given["camera"], environment), node, *cloud]


def _point_cloud(given: dict[str, str], environment: dict[str, str]) -> list[Action]:
    """depth_image_proc's node, fed by ours; only a word on it where the package is not installed."""
    try:
        get_package_prefix(POINT_CLOUD_PACKAGE)
    except PackageNotFoundError:
        line = (
            f"pointcloud:=true needs {POINT_CLOUD_PACKAGE}, which is not installed: no point cloud. "
            "sudo apt install ros-$ROS_DISTRO-depth-image-proc"
        )
        return [LogInfo(msg=line)]
    topics = point_cloud_remappings(*(given[name] for name in ("camera", "color", "camera_info")))
    return [
        Node(
            package=POINT_CLOUD_PACKAGE,
            executable="point_cloud_xyzrgb_node",
            name="point_cloud",
            namespace=given["namespace"],
            remappings=topics,
            additional_env=environment,
            output=given["output"],
        )
    ]


def _advice(camera: str, environment: dict[str, str]) -> list[Action]:
    """What has to be done outside of the node."""
    lines = []
    # Not where the user has chosen a profile, or another middleware.
    if environment and environment != NO_PROFILE and (problem := receive_buffer_problem()):
        lines.append(problem)
    if camera:
        lines.append(f"Depth must be registered to colour. The driver that does it: {CAMERAS[camera].driver}")
    return [LogInfo(msg=line) for line in lines]
