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

"""Confidence inside the node, over DDS, against the library's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the node needs rclpy: source a ROS 2, or install requirements-ros.txt")

from rclpy.qos import QoSProfile
from ros_harness import COLOR_FRAME, METRES, RGB, Bench, image, nanoseconds, pixels, running
from sensor_msgs.msg import Image

from dkn import Upsampler

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the harness reads /proc")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("confidence"), models, mode="fdkn_x4") as bench:
        yield bench


def test_confidence_of_the_depth_that_is_published(bench: Bench, models: Path) -> None:
    upsampler = Upsampler(models / "fdkn_x4.safetensors", device="cpu", precision="fp32")
    depth = image(METRES, "32FC1")
    assert pixels(bench.exchange(image(RGB, "rgb8"), depth)).shape == (48, 64)  # nobody has asked for it yet
    found: list[Image] = []
    listener = bench.ros.create_subscription(Image, "depth_upsampled/confidence", found.append, QoSProfile(depth=10))
    result = bench.until(lambda: [r for r in [bench.exchange(image(RGB, "rgb8"), depth)] if found], "confidence")[0]
    stamps = {nanoseconds(message): message for message in found}
    result = bench.exchange(image(RGB, "rgb8"), depth)
    (message,) = bench.until(lambda: [m for m in found if nanoseconds(m) == nanoseconds(result)], "its confidence")
    bench.ros.destroy_subscription(listener)
    assert stamps and message.encoding == "32FC1" and message.header.frame_id == COLOR_FRAME
    expected = upsampler.confidence(pixels(result).astype(np.float32), METRES)
    np.testing.assert_allclose(pixels(message), expected, atol=1e-3)
    assert 0 <= expected.min() < expected.max() <= 1


def test_what_is_hardly_right_becomes_unknown(bench: Bench, models: Path) -> None:
    with bench.parameter("min_confidence", 0.5, 0.0):
        result = pixels(bench.exchange(image(RGB, "rgb8"), image(METRES, "32FC1")))
    whole = pixels(bench.exchange(image(RGB, "rgb8"), image(METRES, "32FC1")))
    upsampler = Upsampler(models / "fdkn_x4.safetensors", device="cpu", precision="fp32")
    likely = upsampler.confidence(whole.astype(np.float32), METRES)
    clear = np.abs(likely - 0.5) > 1e-3
    np.testing.assert_array_equal(np.isfinite(result)[clear], (likely >= 0.5)[clear])
    assert "Max: 1.0" in bench.set_parameter("min_confidence", 1.5)
