"""Which topics the drivers of common RGB-D cameras publish, as remappings of the node's own names. No ROS import."""

from __future__ import annotations

from dataclasses import dataclass

from dkn.errors import ConfigError


@dataclass(frozen=True)
class Camera:
    """A driver's topics, relative to the namespace it runs in, and the command that starts it with registered depth."""

    color: str
    depth: str
    driver: str


CAMERAS = {
    # openni2_camera 2.x (Jazzy; 1.x/2.0 on Humble has the same names). Its parameter depth_registration puts
    # depth/image_raw into the colour camera's frame; its launch files and default have it on.
    "xtion": Camera(
        color="camera/rgb/image_raw",
        depth="camera/depth/image_raw",
        driver="ros2 launch openni2_camera camera_only.launch.py",
    ),
    # Kinect v1: the same driver, over OpenNI2 with libfreenect's FreenectDriver. (kinect_ros2, the other ROS 2 driver,
    # publishes depth that is not registered.)
    "kinect": Camera(
        color="camera/rgb/image_raw",
        depth="camera/depth/image_raw",
        driver="ros2 launch openni2_camera camera_only.launch.py",
    ),
    # realsense2_camera 4.55 and later (README, "camera name and camera namespace": both are "camera" by default; before
    # 4.55 there was only one of them). align_depth.enable is off by default.
    "realsense": Camera(
        color="camera/camera/color/image_raw",
        depth="camera/camera/aligned_depth_to_color/image_raw",
        driver="ros2 launch realsense2_camera rs_launch.py align_depth.enable:=true enable_sync:=true",
    ),
    # azure_kinect_ros_driver, branch humble (docs/usage.md). depth_to_rgb is registered without being asked; 5 Hz and a
    # depth mode that is too slow for 30 Hz are the driver's defaults.
    "azure": Camera(
        color="rgb/image_raw",
        depth="depth_to_rgb/image_raw",
        driver="ros2 launch azure_kinect_ros_driver driver.launch.py fps:=30 depth_mode:=NFOV_UNBINNED "
        "color_resolution:=720P",
    ),
    # OrbbecSDK_ROS2 2.x, and 1.x likewise; the launch file is the one of the camera's series. depth_registration is off
    # in some of them.
    "orbbec": Camera(
        color="camera/color/image_raw",
        depth="camera/depth/image_raw",
        driver="ros2 launch orbbec_camera gemini_330_series.launch.py depth_registration:=true",
    ),
}

# The suffixes under which image_transport publishes the same image compressed. A remapping of the image alone does not
# reach them.
_TRANSPORTS = {"color": ("", "/compressed"), "depth": ("", "/compressed", "/compressedDepth")}


def remappings(camera: str = "", color: str = "", depth: str = "", camera_info: str = "") -> list[tuple[str, str]]:
    """Remappings (from, to) of the node's inputs; an empty string means "not given".

    Args:
        camera: name in `CAMERAS`; without one, only the topics that are given are remapped.
        color, depth: image topics, each in the place of the preset's.
        camera_info: of the colour camera; by default beside the colour image, where image_transport has it.

    Raises:
        ConfigError: no camera of that name.
    """
    if camera and camera not in CAMERAS:
        raise ConfigError(f"camera:={camera}: no such preset; there are {', '.join(CAMERAS)}")
    if camera:
        color = color or CAMERAS[camera].color
        depth = depth or CAMERAS[camera].depth
    images = {stream: topic for stream, topic in (("color", color), ("depth", depth)) if topic}
    result = [
        (f"{stream}/image_raw{suffix}", f"{topic}{suffix}")
        for stream, topic in images.items()
        for suffix in _TRANSPORTS[stream]
    ]
    infos = {stream: _beside(topic) for stream, topic in images.items()}
    if camera_info:
        infos["color"] = camera_info
    return result + [(f"{stream}/camera_info", topic) for stream, topic in infos.items()]


def point_cloud_remappings(camera: str = "", color: str = "", camera_info: str = "") -> list[tuple[str, str]]:
    """Remappings of depth_image_proc's point_cloud_xyzrgb node, so that it takes our depth and the camera's colour.

    Args: as for `remappings`.

    Raises:
        ConfigError: no camera of that name.
    """
    inputs = dict(remappings(camera, color=color, camera_info=camera_info))
    picture = inputs.get("color/image_raw", "color/image_raw")
    info = inputs.get("color/camera_info", "color/camera_info")
    rules = [
        ("depth_registered/image_rect", "depth_upsampled/image_rect"),
        ("rgb/image_rect_color", picture),
        ("rgb/camera_info", info),  # up to Humble; later ones look for it beside the picture
    ]
    return rules if info == _beside(picture) else [*rules, (_beside(picture), info)]


def _beside(image_topic: str) -> str:
    """The camera_info that belongs to an image topic: camera_info in the same namespace."""
    namespace, slash, _ = image_topic.rpartition("/")
    return f"{namespace}{slash}camera_info"
