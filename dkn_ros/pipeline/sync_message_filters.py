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

"""The message_filters package behind the interface of our own synchroniser, for those who want that one.

Of its counters only what can be seen from outside is known: pairs that matched.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from dkn.errors import ConfigError
from dkn_ros.pipeline.sync import JUMP_NS, Pair, Statistics


class MessageFiltersSynchronizer:
    """`PairSynchronizer`'s methods, by message_filters.ApproximateTimeSynchronizer.

    Raises:
        ConfigError: the package is not installed.
    """

    def __init__(self, slop_ns: int, queue_size: int):
        try:
            from message_filters import ApproximateTimeSynchronizer, SimpleFilter
        except ImportError:
            raise ConfigError(
                "synchronizer='message_filters' needs that ROS 2 package "
                "(apt install ros-$ROS_DISTRO-message-filters); or use 'nearest'"
            ) from None
        self.statistics = Statistics()
        self._filters: list[Any] = []
        self._make_filter = SimpleFilter
        self._make = lambda slop_s: ApproximateTimeSynchronizer(self._filters, queue_size, slop_s)
        self._ready: list[Pair[Any, Any]] = []
        self._slop_ns = slop_ns
        self._restart()

    @property
    def slop_ns(self) -> int:
        return self._slop_ns

    @slop_ns.setter
    def slop_ns(self, value: int) -> None:
        if value != self._slop_ns:  # the node sets it with every parameter, and to restart drops what waits
            self._slop_ns = value
            self._restart()

    def add_color(self, stamp_ns: int, message: Any, now_ns: int) -> list[Pair[Any, Any]]:
        return self._add("color", stamp_ns, message)

    def add_depth(self, stamp_ns: int, message: Any, now_ns: int) -> list[Pair[Any, Any]]:
        return self._add("depth", stamp_ns, message)

    def poll(self, now_ns: int) -> list[Pair[Any, Any]]:
        ready, self._ready = self._ready, []
        return ready

    def deadline_ns(self) -> int | None:
        return None

    def reset(self, reason: str) -> None:
        self.statistics.resets[reason] += 1
        self._restart()

    def _restart(self) -> None:
        self._newest_ns: dict[str, int] = {}
        self._filters = [self._make_filter(), self._make_filter()]
        self._make(self._slop_ns / 1e9).registerCallback(self._on_pair)

    def _add(self, stream: str, stamp_ns: int, message: Any) -> list[Pair[Any, Any]]:
        self.statistics.received[stream] += 1
        # The package keeps what has the largest stamps: those of before a jump would keep out all that come after it.
        if stamp_ns < self._newest_ns.get(stream, stamp_ns) - JUMP_NS:
            self.reset("clock_jump")
        self._newest_ns[stream] = max(stamp_ns, self._newest_ns.get(stream, stamp_ns))
        # The package reads header.stamp; ours may be a frame whose header it must not touch.
        self._filters[stream == "depth"].signalMessage(
            SimpleNamespace(header=message.header, stamp_ns=stamp_ns, message=message)
        )
        return self.poll(0)

    def _on_pair(self, color: Any, depth: Any) -> None:
        pair = Pair(color.message, depth.message, color.stamp_ns, depth.stamp_ns)
        self.statistics.count_match(abs(pair.difference_ns))
        self._ready.append(pair)
