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

"""Where camera_info lies: beside the image, as image_transport has it, unless it is remapped itself."""

from __future__ import annotations

from typing import Any


def beside(image_topic: str) -> str:
    """The camera_info that belongs to an image topic: camera_info in the same namespace."""
    namespace, slash, _ = image_topic.rpartition("/")
    return f"{namespace}{slash}camera_info"


def camera_info_topic(node: Any, name: str, image_topic: str) -> str:
    """The full name of a camera_info topic of the node's.

    Args:
        node: rclpy's.
        name: relative, under which it can be remapped.
        image_topic: full name of its image, remapped, without a transport's suffix.
    """
    remapped: str = node.resolve_topic_name(name)
    return remapped if remapped != node.resolve_topic_name(name, only_expand=True) else beside(image_topic)
