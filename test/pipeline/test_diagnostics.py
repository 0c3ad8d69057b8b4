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

"""Counters, latencies, and the status that is made of them."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs the messages of ROS 2")

from builtin_interfaces.msg import Time

from dkn_ros.pipeline import diagnostics
from dkn_ros.pipeline.diagnostics import Health, percentiles

OK, WARN, ERROR = 0, 1, 2


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300))
def test_percentiles_are_of_the_nearest_rank(values):
    result = percentiles(values)
    expected = np.percentile(values, [50, 95, 99, 100], method="inverted_cdf")
    assert [result[name] for name in ("p50", "p95", "p99", "max")] == list(expected)


def test_percentiles_of_nothing():
    assert percentiles([]) == {}


def test_health_counts():
    health = Health()
    health.publish(10.0, 2.0)
    health.publish(30.0, 4.0)
    health.drop("superseded")
    health.drop("superseded")
    health.drop("bad_color")
    snapshot = health.snapshot()
    assert snapshot.published == 2
    assert snapshot.dropped == {"superseded": 2, "bad_color": 1}
    assert snapshot.from_stamp_ms == {"p50": 10.0, "p95": 30.0, "p99": 30.0, "max": 30.0}
    assert snapshot.from_arrival_ms == {"p50": 2.0, "p95": 4.0, "p99": 4.0, "max": 4.0}
    assert 0 <= snapshot.time_s - health.published_s < 60
    assert Health().published_s == -math.inf


def test_a_snapshot_stays_as_it_was():
    health = Health()
    health.drop("failed")
    before = health.snapshot()
    health.drop("failed")
    health.publish(1.0, 1.0)
    assert before.dropped == {"failed": 1}
    assert before.published == 0
    assert before.from_stamp_ms == {}


def test_latencies_are_of_the_newest_frames():
    health = Health()
    for _ in range(1000):
        health.publish(500.0, 500.0)
    for _ in range(1000):
        health.publish(5.0, 1.0)
    snapshot = health.snapshot()
    assert snapshot.from_stamp_ms["max"] == 5.0
    assert snapshot.from_arrival_ms["max"] == 1.0
    assert snapshot.published == 2000


def test_threads_lose_no_count():
    health = Health()

    def work() -> None:
        for _ in range(2000):
            health.publish(1.0, 1.0)
            health.drop("failed")
        health.snapshot()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert health.snapshot().published == 8000
    assert health.snapshot().dropped == {"failed": 8000}


def test_no_problem_is_ok():
    status = diagnostics.status("/ns/upsample: depth upsampling", "camera", [], {})
    assert (status.level, status.message) == (bytes([OK]), "ok")
    assert (status.name, status.hardware_id) == ("/ns/upsample: depth upsampling", "camera")


def test_the_worst_problem_gives_the_level_and_comes_first():
    problems = [(WARN, "nothing received"), (ERROR, "wrong QoS"), (OK, "idle")]
    status = diagnostics.status("", "", problems, {})
    assert status.level == bytes([ERROR])
    assert status.message == "wrong QoS; nothing received; idle"
    status = diagnostics.status("", "", problems[2:], {})
    assert (status.level, status.message) == (bytes([OK]), "idle")


def test_values_are_text():
    values = {"rate [Hz]": 29.97123, "published": 12, "model": "fdkn_x8", "none": None}
    status = diagnostics.status("", "", [], values)
    assert [(pair.key, pair.value) for pair in status.values] == [
        ("rate [Hz]", "29.97"),
        ("published", "12"),
        ("model", "fdkn_x8"),
        ("none", "None"),
    ]


def test_the_array_carries_a_stamp():
    stamp = Time(sec=3, nanosec=4)
    status = diagnostics.status("a", "", [], {})
    message = diagnostics.array(stamp, status)
    assert message.header.stamp == stamp
    assert message.status == [status]
