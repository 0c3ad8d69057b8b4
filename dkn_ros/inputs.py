"""A subscription that exists only while it is wanted, with the reliability that its publishers offer."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

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
        on_incompatible: called once a subscription, with a sentence, when a publisher's QoS does not fit.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        message_type: type,
        callback: Callable[[Any], None],
        reliability: str,
        on_incompatible: Callable[[str], Any] = lambda _: None,
    ):
        self._node, self._type, self._callback = node, message_type, callback
        self._reliability, self._on_incompatible = reliability, on_incompatible
        self.topic = node.resolve_topic_name(topic)
        self.received = 0
        self.received_s = -math.inf  # when the last one came (time.monotonic)
        self.lost = 0  # as the middleware reports it
        self.incompatible: str | None = None
        self._subscription: Any = None
        self._policy = ReliabilityPolicy.BEST_EFFORT

    @property
    def subscribed(self) -> bool:
        return self._subscription is not None

    @property
    def publishers(self) -> int:
        """Publishers of the topic that are known now."""
        return self._node.count_publishers(self.topic)

    def update(self, wanted: bool) -> None:
        """Subscribe, unsubscribe, or subscribe anew where publishers offer another reliability than before."""
        if not wanted:
            self._unsubscribe()
        elif (policy := self._wanted_policy()) != self._policy or not self.subscribed:
            self._unsubscribe()
            self._policy = policy
            self._subscribe()
        elif self.incompatible and self._offered() == {ReliabilityPolicy.RELIABLE}:
            self.incompatible = None  # that publisher is gone, and one that fits has come

    def _wanted_policy(self) -> ReliabilityPolicy:
        if self._reliability == "auto":
            offered = self._offered()
            if not offered and self.subscribed:
                return self._policy  # a camera that is away for a moment will come back as it was
            reliable = offered == {ReliabilityPolicy.RELIABLE}
        else:
            reliable = self._reliability == "reliable"
        return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT

    def _offered(self) -> set[ReliabilityPolicy]:
        return {info.qos_profile.reliability for info in self._node.get_publishers_info_by_topic(self.topic)}

    def _subscribe(self) -> None:
        qos = QoSProfile(depth=_DEPTH, history=HistoryPolicy.KEEP_LAST, reliability=self._policy)
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

    def _on_message(self, message: Any) -> None:
        self.received += 1
        self.received_s = time.monotonic()
        self._callback(message)

    def _on_lost(self, event: Any) -> None:
        self.lost += event.total_count_change

    def _on_qos(self, event: Any) -> None:
        if self.incompatible is None:
            self.incompatible = (
                f"a publisher of {self.topic} offers a QoS that our subscription ({self._policy.name.lower()}) cannot "
                "take; set the parameter reliability to auto or best_effort"
            )
            self._on_incompatible(self.incompatible)
