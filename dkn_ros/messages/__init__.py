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

"""ROS image messages to and from numpy arrays.

Every reader takes a message by its attributes alone, so that the messages of rclpy and of rosbags both
work, and returns a view of the message's data wherever the encoding allows one: no pixel is copied. A view
keeps the data alive and stays valid after the message is gone. Whatever cannot be read raises `ImageError`.

What common cameras publish:

====================================  ==========================================  ======================
camera (driver)                       depth                                       colour
====================================  ==========================================  ======================
Xtion, Kinect v1 (openni2_camera)     16UC1; 32FC1 from depth_image_proc, and     rgb8
                                      under depth_registered when rectified
RealSense (realsense2_camera)         16UC1, also as aligned_depth_to_color       rgb8
Azure Kinect                          16UC1 or 32FC1 (an option of the driver)    bgra8
Orbbec                                16UC1                                       rgb8, also rgba8, bgra8
some other drivers                    mono16, used as if it were 16UC1            mono8, yuv422, Bayer
====================================  ==========================================  ======================

Units follow REP 118: 16-bit depth is in millimetres with 0 for no measurement, 32FC1 is in metres with NaN.
"""

from dkn_ros.messages.compressed import color_from_compressed, depth_from_compressed
from dkn_ros.messages.limits import MAX_PIXELS
from dkn_ros.messages.raw import DEPTH_ENCODINGS, DepthArray, UInt8Array, color_from_image, depth_from_image, stamp_ns
from dkn_ros.messages.writing import DepthImageWriter, compressed_depth

__all__ = [
    "DEPTH_ENCODINGS",
    "MAX_PIXELS",
    "DepthArray",
    "DepthImageWriter",
    "UInt8Array",
    "color_from_compressed",
    "color_from_image",
    "compressed_depth",
    "depth_from_compressed",
    "depth_from_image",
    "stamp_ns",
]
