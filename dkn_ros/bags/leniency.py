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

"""What `rosbags` refuses and other readers of ROS 2 bags do not.

`allow` makes it pass over channels of an mcap that are not ROS 2's (protobuf or JSON, as other recorders write them
beside), and take metadata that names no storage, as `ros2 bag` does, for what the files' names say.
"""

from __future__ import annotations

from typing import Any

from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2 import reader, storage_mcap


def allow() -> None:
    """From now on, in this process."""
    read_definition = storage_mcap.get_msgdef

    def definition_or_none(schema: Any) -> MessageDefinition:
        try:
            return read_definition(schema)
        except KeyError:  # a schema language that is not ROS 2's
            return MessageDefinition(MessageDefinitionFormat.NONE, "")

    storage_mcap.get_msgdef = definition_or_none
    plugins = dict(reader.DirectoryReader.STORAGE_PLUGINS)

    def by_suffix(path: Any) -> Any:
        return plugins["mcap" if path.suffix == ".mcap" else "sqlite3"](path)

    reader.DirectoryReader.STORAGE_PLUGINS = plugins | {"": by_suffix}  # type: ignore[assignment]
