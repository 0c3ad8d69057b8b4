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

"""Which topics the drivers of common RGB-D cameras publish, as remappings of the node's own names. No ROS import."""

from __future__ import annotations

from dataclasses import dataclass

from dkn.errors import ConfigError
from dkn_ros.pipeline.topics import beside


@dataclass(frozen=True)
class Camera:
    """A driver's topics, relative to the namespace it runs in, and the command that starts it with registered depth."""

    color: str
    depth: str
    driver: str
    name: str = "camera"
    """What the topics begin with by default, and a camera's own name takes the place of."""
    namespace: str = ""
    """What comes before that by default."""

    def topic(self, topic: str, name: str) -> str:
        """One of its topics for a camera of this name (namespace/name, where both differ); "" for the default."""
        words = [name] if "/" in name else [self.namespace, name or self.name]
        return "/".join(filter(None, [*words, topic]))


CAMERAS = {
    # openni2_camera 2.x (Jazzy; 1.x/2.0 on Humble has the same names). Its parameter depth_registration puts
    # depth/image_raw into the colour camera's frame; its launch files and default have it on.
    "xtion": Camera(
        color="rgb/image_raw",
        depth="depth/image_raw",
        driver="ros2 launch openni2_camera camera_only.launch.py",
    ),
    # Kinect v1: the same driver, over OpenNI2 with libfreenect's FreenectDriver. (kinect_ros2, the other ROS 2 driver,
    # publishes depth that is not registered.)
    "kinect": Camera(
        color="rgb/image_raw",
        depth="depth/image_raw",
        driver="ros2 launch openni2_camera camera_only.launch.py",
    ),
    # realsense2_camera 4.55 and later (README, "camera name and camera namespace": both are "camera" by default; before
    # 4.55 there was only one of them). align_depth.enable is off by default.
    "realsense": Camera(
        color="color/image_raw",
        depth="aligned_depth_to_color/image_raw",
        driver="ros2 launch realsense2_camera rs_launch.py align_depth.enable:=true enable_sync:=true",
        namespace="camera",
    ),
    # azure_kinect_ros_driver, branch humble (docs/usage.md). depth_to_rgb is registered without being asked; 5 Hz and a
    # depth mode that is too slow for 30 Hz are the driver's defaults.
    "azure": Camera(
        color="rgb/image_raw",
        depth="depth_to_rgb/image_raw",
        driver="ros2 launch azure_kinect_ros_driver driver.launch.py fps:=30 depth_mode:=NFOV_UNBINNED "
        "color_resolution:=720P",
        name="",
    ),
    # OrbbecSDK_ROS2 2.x, and 1.x likewise; the launch file is the one of the camera's series. depth_registration is off
    # in some of them.
    "orbbec": Camera(
        color="color/image_raw",
        depth="depth/image_raw",
        driver="ros2 launch orbbec_camera gemini_330_series.launch.py depth_registration:=true",
    ),
}

# The suffixes under which image_transport publishes the same image compressed. A remapping of the image alone does not
# reach them.
_TRANSPORTS = {"color": ("", "/compressed"), "depth": ("", "/compressed", "/compressedDepth")}


def remappings(
    camera: str = "", color: str = "", depth: str = "", camera_info: str = "", camera_name: str = ""
) -> list[tuple[str, str]]:
    """Remappings (from, to) of the node's inputs; an empty string means "not given".

    Args:
        camera: name in `CAMERAS`; without one, only the topics that are given are remapped.
        color, depth: image topics, each in the place of the preset's.
        camera_info: of the colour camera; by default beside the colour image, where image_transport has it.
        camera_name: of the preset's driver, in the place of its default; with a namespace before it, that as well.

    Raises:
        ConfigError: no such preset, or a name for none.
    """
    if camera_name and not camera:
        raise ConfigError(f"camera_name:={camera_name} is for a preset: give camera:= as well")
    if camera and camera not in CAMERAS:
        raise ConfigError(f"camera:={camera}: no such preset; there are {', '.join(CAMERAS)}")
    if camera:
        preset = CAMERAS[camera]
        color = color or preset.topic(preset.color, camera_name)
        depth = depth or preset.topic(preset.depth, camera_name)
    images = {stream: topic for stream, topic in (("color", color), ("depth", depth)) if topic}
    result = [
        (f"{stream}/image_raw{suffix}", f"{topic}{suffix}")
        for stream, topic in images.items()
        for suffix in _TRANSPORTS[stream]
    ]
    infos = {stream: beside(topic) for stream, topic in images.items()}
    if camera_info:
        infos["color"] = camera_info
    return result + [(f"{stream}/camera_info", topic) for stream, topic in infos.items()]
