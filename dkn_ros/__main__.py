"""`python -m dkn_ros`, `ros2 run dkn_ros upsample`: the node in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from dkn.threads import sleep_between_work
from dkn_ros.share import NODE_PROFILE, fast_dds_environment

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
        arguments: of the command line.
        make_node: makes the node; by default the one that users want.

    Returns:
        The exit status: 2 for a mistake of the user's.
    """
    stop = _Stop()  # before the imports below, which take a second, and ten on a busy machine
    sleep_between_work()
    os.environ.update(fast_dds_environment(NODE_PROFILE))  # read when the first participant is made
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from dkn.errors import ConfigError, DknError
    from dkn_ros.node import UpsampleNode

    stop.begun = True
    node = None
    try:
        try:
            rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        except RuntimeError as error:  # rclpy has no public name for its errors
            raise ConfigError(f"arguments not understood: {' '.join(str(error).split())}") from None
        node = (make_node or UpsampleNode)()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stop.asked:
            executor.spin_once(timeout_sec=SIGNAL_PERIOD)
    except DknError as error:
        print(f"dkn_ros: {error}", file=sys.stderr)
        return 2
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
