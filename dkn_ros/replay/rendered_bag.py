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

"""A bag of a rendered indoor sequence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from dkn.data.rendered.room import KINECT_SIZE, render_sequence
from dkn.depth.sensor import kinect_noise
from dkn_ros.bags.bag import COLOR_INFO_TOPIC, COLOR_TOPIC, DEPTH_TOPIC, DEPTH_TRUTH_TOPIC, BagWriter


def record_synthetic(
    path: str | Path,
    frames: int = 90,
    size: tuple[int, int] = KINECT_SIZE,
    seed: int = 0,
    rate_hz: float = 30.0,
    storage: str = "sqlite3",
    progress: bool = True,
) -> Path:
    """Record a rendered indoor sequence as a bag.

    Topics: colour (rgb8), its camera_info, depth (16UC1, as a Kinect-like sensor would deliver it at full
    resolution, registered to the colour camera) and the exact depth (32FC1).

    Args:
        path: folder of the bag; a bag that is there already is replaced.
        frames: their number.
        size: (width, height) in pixels.
        seed: chooses scene, camera path and noise; the same seed gives the same messages.
        rate_hz: frames per second.
        storage: "sqlite3" or "mcap".
        progress: show a progress bar.

    Returns:
        The folder of the bag.

    Raises:
        DataError: ``path`` exists and is not a bag, or cannot be written.
    """
    sequence = render_sequence(frames, size, rate_hz, seed)
    rng = np.random.default_rng([seed, 2])
    with BagWriter(path, storage) as bag:
        for frame in tqdm(sequence, "rendering", frames, unit="frame", disable=not progress):
            bag.write_color(COLOR_TOPIC, frame.color, frame.stamp_ns)
            bag.write_camera_info(COLOR_INFO_TOPIC, size, frame.intrinsics, frame.stamp_ns)
            sensed = kinect_noise(frame.depth, rng, focal=frame.intrinsics[0])
            bag.write_depth(DEPTH_TOPIC, sensed, frame.stamp_ns)
            bag.write_depth(DEPTH_TRUTH_TOPIC, frame.depth, frame.stamp_ns, encoding="32FC1")
    return bag.path
