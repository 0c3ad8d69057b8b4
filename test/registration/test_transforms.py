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

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source a ROS 2, or install requirements-ros.txt")

from geometry_msgs.msg import TransformStamped

from dkn.errors import ConfigError
from dkn_ros.registration.transforms import TransformBuffer, TransformListener, parse_transform

HALF = np.sqrt(0.5)


def stamped(parent: str, child: str, at: tuple[float, ...] = (0, 0, 0), turn: tuple[float, ...] = (0, 0, 0, 1)) -> Any:
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = parent, child
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, at)
    q.x, q.y, q.z, q.w = map(float, turn)
    return message


def heard(*transforms: Any) -> TransformBuffer:
    buffer = TransformBuffer()
    buffer.add(SimpleNamespace(transforms=list(transforms)))
    return buffer


def test_a_chain_up_and_down_the_tree() -> None:
    buffer = heard(
        stamped("base", "camera", (1, 2, 3), (0, 0, HALF, HALF)),  # a quarter turn about z
        stamped("camera", "depth", (0.1, 0, 0)),
        stamped("camera", "color", (0.2, 0, 0)),
        stamped("map", "elsewhere"),
    )
    assert np.allclose(buffer.lookup("color", "depth") @ [0, 0, 1, 1], [-0.1, 0, 1, 1])
    # In the base frame the camera's x is y.
    assert np.allclose(buffer.lookup("base", "depth") @ [0, 0, 0, 1], [1, 2.1, 3, 1])
    assert np.allclose(buffer.lookup("depth", "base"), np.linalg.inv(buffer.lookup("base", "depth")))
    assert buffer.lookup("color", "elsewhere") is None and buffer.lookup("color", "nowhere") is None


def test_the_latest_counts_and_slashes_do_not() -> None:
    buffer = heard(stamped("/color", "/depth", (0.1, 0, 0)), stamped("color", "depth", (0.3, 0, 0)))
    assert buffer.lookup("/color", "depth")[0, 3] == pytest.approx(0.3)


def test_what_makes_no_sense_is_passed_over() -> None:
    buffer = heard(stamped("a", "b", turn=(0, 0, 0, 0)), stamped("a", "c"), stamped("c", "a"))
    assert buffer.lookup("a", "b") is None
    assert heard(stamped("a", "b", (0, float("nan"), 0))).lookup("a", "b") is None
    assert np.allclose(buffer.lookup("a", "c"), np.eye(4)), "a circle does not hang"


def test_the_parameter() -> None:
    matrix = parse_transform("0.05 -0.01, 0 0 0 0.7071068 0.7071068")
    assert np.allclose(matrix @ [1, 0, 0, 1], [0.05, 0.99, 0, 1], atol=1e-6)
    for text in ("0.05", "a b c d e f g", "0 0 0 0 0 0 0", "0 0 0 1 1 1 1", "0 0 0 0 0 0 1 0", "nan 0 0 0 0 0 1"):
        with pytest.raises(ConfigError, match="seven numbers"):
            parse_transform(text)


class _FakeNode:
    """Keeps the callbacks of subscriptions by topic."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Any] = {}

    def create_subscription(self, kind: Any, topic: str, callback: Any, qos: Any) -> str:
        self.callbacks[topic] = callback
        return topic

    def destroy_subscription(self, topic: str) -> None:
        del self.callbacks[topic]


def module(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Any) -> None:
    made = ModuleType(name)
    vars(made).update(contents)
    monkeypatch.setitem(sys.modules, name, made)


def test_listening_without_tf2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2_ros", None)  # not there
    module(monkeypatch, "tf2_msgs")
    module(monkeypatch, "tf2_msgs.msg", TFMessage=object)
    node = _FakeNode()
    listener = TransformListener(node)  # type: ignore[arg-type]
    listener.update(True)
    node.callbacks["/tf_static"](SimpleNamespace(transforms=[stamped("color", "camera")]))
    node.callbacks["/tf"](SimpleNamespace(transforms=[stamped("camera", "depth", (0, 0.1, 0))]))
    assert listener.lookup("color", "depth")[1, 3] == pytest.approx(0.1)
    listener.update(False)
    assert not node.callbacks and listener.lookup("color", "depth") is None


def test_listening_with_tf2(monkeypatch: pytest.MonkeyPatch) -> None:
    """tf2_ros as its documentation has it: `can_transform` and `lookup_transform` of (target, source, time)."""
    known = {("color", "depth"): stamped("color", "depth", (0, 0, 0.2))}

    class Buffer:
        def can_transform(self, target: str, source: str, time: Any) -> bool:
            return (target, source) in known

        def lookup_transform(self, target: str, source: str, time: Any) -> Any:
            return known[target, source]

    ended = []
    listeners = SimpleNamespace(unregister=lambda: ended.append(True))
    module(monkeypatch, "tf2_ros", Buffer=Buffer, TransformListener=lambda buffer, node: listeners)
    listener = TransformListener(_FakeNode())  # type: ignore[arg-type]
    listener.update(True)
    assert listener.lookup("/color", "depth")[2, 3] == pytest.approx(0.2)
    assert listener.lookup("depth", "color") is None
    listener.update(False)
    assert ended


def test_without_any_of_them_the_problem_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tf2_ros", "tf2_msgs"):
        monkeypatch.setitem(sys.modules, name, None)
    listener = TransformListener(_FakeNode())  # type: ignore[arg-type]
    listener.update(True)
    assert "depth_to_color" in listener.problem and listener.lookup("color", "depth") is None
