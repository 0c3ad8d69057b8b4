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

"""`python -m dkn_ros`, `ros2 run dkn_ros upsample`: the node in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from dkn.utils.threads import sleep_between_work, take_short_turns
from dkn_ros.fast_dds import NODE_PROFILE, fast_dds_environment

if TYPE_CHECKING:
    from dkn_ros.node import UpsampleNode

SIGNAL_PERIOD = 0.5  # seconds between looks for a signal while nothing else happens; each one costs a little


class _Stop:
    """SIGINT and SIGTERM ask for an end; nothing that was begun is interrupted in the middle of what it does."""

    _SIGNALS = signal.SIGINT, signal.SIGTERM

    def __init__(self) -> None:
        self.asked = False
        self.begun = False
        """Whether there is anything yet that has to be ended in order."""
        for number in self._SIGNALS:
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self.begun:
            os._exit(0)
        self.asked = True
        # Ctrl-C reaches a launched node twice, from the terminal and from launch; and Python gives up its handlers
        # before it has ended, so that a late second one would kill it.
        for other in self._SIGNALS:
            signal.signal(other, signal.SIG_IGN)


def main(arguments: list[str] | None = None, make_node: Callable[[], UpsampleNode] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM.

    Args:
        arguments: of the command line, without the program's name; None: those of the process.
        make_node: makes the node; by default the one that users want.

    Returns:
        The exit status: 2 for a mistake of the user's.
    """
    stop = _Stop()  # before the imports below, which take a second, and ten on a busy machine
    sleep_between_work()
    take_short_turns()
    os.environ.update(fast_dds_environment(NODE_PROFILE))  # read when the first participant is made
    import rclpy
    import rclpy.logging
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from dkn.errors import ConfigError, DknError
    from dkn_ros.arguments import files_for_others, help_text, refuse_unknown, split
    from dkn_ros.node import NAME, UpsampleNode

    own, ros = split(sys.argv[1:] if arguments is None else arguments)
    if "--help" in own or "-h" in own:
        print(help_text())
        return 0
    stop.begun = True
    node = None
    try:
        refuse_unknown(own)
        try:
            rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        except RuntimeError as error:  # rclpy has no public name for its errors
            raise ConfigError(f"arguments not understood: {' '.join(str(error).split())}") from None
        node = (make_node or UpsampleNode)()
        for sentence in files_for_others(ros, node.get_fully_qualified_name()):
            node.get_logger().warning(sentence)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stop.asked:
            executor.spin_once(timeout_sec=SIGNAL_PERIOD)
    except DknError as error:
        rclpy.logging.get_logger(NAME).fatal(str(error))
        return 2
    except Exception as error:
        rclpy.logging.get_logger(NAME).fatal(f"{type(error).__name__}: {error}")
        raise
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def run(make_node: Callable[[], UpsampleNode] | None = None) -> NoReturn:
    """`main` for a process that has nothing else to do, with the arguments of its command line.

    Once the node is closed, the process is left at once. For Python to take PyTorch and the engines apart lasts a
    second, and on a busy machine longer than the five that `ros2 launch` waits.
    """
    status = main(make_node=make_node)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
