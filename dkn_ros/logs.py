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
