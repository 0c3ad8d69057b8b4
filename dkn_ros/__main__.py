"""`python -m dkn_ros`, `ros2 run dkn_ros upsample`: the node in a process of its own."""

from __future__ import annotations

import signal
import sys
from types import FrameType


class _Stop:
    """SIGINT and SIGTERM ask for an end; nothing is interrupted in the middle of what it does."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


def main(arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM. Returns the exit status: 2 for a mistake of the user's."""
    stop = _Stop()  # before the imports below, which take a second
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from dkn.errors import DknError
    from dkn_ros.node import UpsampleNode

    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    node = None
    try:
        node = UpsampleNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stop.asked:
            executor.spin_once(timeout_sec=0.1)
    except DknError as error:
        print(f"dkn_ros: {error}", file=sys.stderr)
        return 2
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
