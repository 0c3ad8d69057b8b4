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

"""The library's log becomes the node's."""

from __future__ import annotations

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger


class NodeHandler(logging.Handler):
    """What `dkn` reports (the engine chosen, one that failed) goes where the node's own messages go."""

    def __init__(self, logger: RcutilsLogger):
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._logger.warning(record.getMessage())
        else:
            self._logger.info(record.getMessage())


def follow_library(logger: RcutilsLogger) -> NodeHandler:
    """Pass the library's messages on to `logger`, until the handler is removed."""
    handler = NodeHandler(logger)
    library = logging.getLogger("dkn")
    library.setLevel(logging.INFO)
    library.addHandler(handler)
    return handler
