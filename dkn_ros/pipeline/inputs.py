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

"""A subscription that exists only while it is wanted, with the reliability and durability that its publishers offer."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from dkn_ros.messages import stamp_ns

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

RECENT = 3.0
"""Seconds for which an input knows the stamps that came, and longer where fewer than `_FEW` did."""
_FEW = 8
_NAMED_AT_MOST = 3  # topics in a sentence
_COMPRESSED = ("compressed", "compressedDepth")  # image_transport's, on topics of these names below the image's

# Deep enough for a hiccup of the executor at 100 Hz, too shallow for frames to grow old in.
_DEPTH = 4


class Input:
    """One input topic of the node.

    Args:
        node: where the subscription lives.
        topic: name, relative names welcome.
        message_type: ROS message class.
        callback: called with each message.
        reliability: auto, reliable or best_effort. Best effort reaches every publisher, but without shared memory
            large enough for an image it loses nearly all of them; so auto asks for reliable where it is offered.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        message_type: type,
        callback: Callable[[Any], None],
        reliability: str,
    ):
        self._node, self._type, self._callback = node, message_type, callback
        self._reliability = reliability
        self.topic = node.resolve_topic_name(topic)
        self.received = 0
        self.received_s = -math.inf  # when the last one came (time.monotonic)
        self._recent: deque[tuple[float, int]] = deque()  # when it came, and its stamp
        self.lost = 0  # as the middleware reports it
        self.incompatible: str | None = None
        self._subscription: Any = None
        self._policy = ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE

    @property
    def subscribed(self) -> bool:
        return self._subscription is not None

    @property
    def publishers(self) -> int:
        """Publishers of the topic that are known now."""
        return self._node.count_publishers(self.topic)

    def stamps(self, since_s: float = -math.inf, until_s: float = math.inf) -> list[int]:
        """In nanoseconds, of the latest messages, or of those of them that came between two moments."""
        return [stamp for came_s, stamp in self._recent if since_s <= came_s <= until_s]

    def absence(self) -> str:
        """What is to be said where nothing comes."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        text = f"nothing received on {self.topic}, which has {len(publishers)} publisher(s)"
        kind = f"{self._type.__module__.split('.')[0]}/msg/{self._type.__name__}"
        others = {info.topic_type for info in publishers} - {kind}
        if others:
            return f"{text}: they send {', '.join(sorted(others))}, and {kind} is expected"
        if publishers:
            return text
        if other := self._other_transport():
            return f"{text}: the image comes on {other[0]}, so set the transport to {other[1]}"
        known = self._node.get_topic_names_and_types()
        there = sorted(t for t, kinds in known if kind in kinds and t != self.topic and self._is_from_others(t))
        if not there:
            return text
        more = f" and {len(there) - _NAMED_AT_MOST} more" if len(there) > _NAMED_AT_MOST else ""
        return f"{text}: {kind} is sent on {', '.join(there[:_NAMED_AT_MOST])}{more}; remap to what you want"

    def _other_transport(self) -> tuple[str, str] | None:
        """Topic and name of a transport by which image_transport sends the same image, if there is one."""
        raw, _, last = self.topic.rpartition("/")
        if last not in _COMPRESSED:
            raw = self.topic
        topics = {raw: "raw"} | {f"{raw}/{transport}": transport for transport in _COMPRESSED}
        return next((item for item in topics.items() if self._is_from_others(item[0])), None)

    def _is_from_others(self, topic: str) -> bool:
        ours = self._node.get_name(), self._node.get_namespace()
        publishers = self._node.get_publishers_info_by_topic(topic)
        return any((info.node_name, info.node_namespace) != ours for info in publishers)

    def update(self, wanted: bool) -> None:
        """Subscribe, unsubscribe, or subscribe anew where publishers offer another QoS than before."""
        if not wanted:
            self._unsubscribe()
        elif (policy := self._wanted_policy()) != self._policy or not self.subscribed:
            self._unsubscribe()
            self._policy = policy
            self._subscribe()
        elif self.incompatible and self._offers_only_reliable():
            self.incompatible = None  # that publisher is gone, and one that fits has come

    def _wanted_policy(self) -> tuple[ReliabilityPolicy, DurabilityPolicy]:
        offered = [info.qos_profile for info in self._node.get_publishers_info_by_topic(self.topic)]
        if not offered and self.subscribed:
            return self._policy  # a camera that is away for a moment will come back as it was
        reliable = {qos.reliability for qos in offered} == {ReliabilityPolicy.RELIABLE}
        # What was published once, before we came, is kept for those who ask for it.
        latched = {qos.durability for qos in offered} == {DurabilityPolicy.TRANSIENT_LOCAL}
        if self._reliability != "auto":
            reliable = self._reliability == "reliable"
        return (
            ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )

    def _offers_only_reliable(self) -> bool:
        offered = {i.qos_profile.reliability for i in self._node.get_publishers_info_by_topic(self.topic)}
        return offered == {ReliabilityPolicy.RELIABLE}

    def _subscribe(self) -> None:
        reliability, durability = self._policy
        qos = QoSProfile(depth=_DEPTH, history=HistoryPolicy.KEEP_LAST, reliability=reliability, durability=durability)
        events = SubscriptionEventCallbacks(incompatible_qos=self._on_qos, message_lost=self._on_lost)
        try:
            self._subscription = self._node.create_subscription(
                self._type, self.topic, self._on_message, qos, event_callbacks=events
            )
        except UnsupportedEventTypeError:  # not every middleware has both events
            self._subscription = self._node.create_subscription(self._type, self.topic, self._on_message, qos)

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            with contextlib.suppress(Exception):  # the context may be gone already
                self._node.destroy_subscription(self._subscription)
        self._subscription, self.incompatible = None, None
        self._recent.clear()

    def _on_message(self, message: Any) -> None:
        self.received += 1
        self.received_s = now = time.monotonic()
        self._recent.append((now, stamp_ns(message)))
        while len(self._recent) > _FEW and self._recent[0][0] < now - RECENT:
            self._recent.popleft()
        self._callback(message)

    def _on_lost(self, event: Any) -> None:
        self.lost += event.total_count_change

    def _on_qos(self, event: Any) -> None:
        if self.incompatible is None:
            self.incompatible = (
                f"a publisher of {self.topic} offers a QoS that our subscription ({self._policy[0].name.lower()}) "
                "cannot take; set the parameter reliability to auto or best_effort"
            )
