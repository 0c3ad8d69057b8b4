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

"""`dkn-replay --benchmark --rates`: does the node, with its network, keep the rate of a camera, on this computer?

A camera of each kind at 30 Hz, and a listener. What is counted begins when the node has settled: engines are timed, and
`target_rate` has found its model.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dkn_ros.fast_dds import fast_dds_environment
from dkn_ros.node_process import PROGRAM

RATE = 30.0  # pairs per second
CALM, SETTLING = 8.0, 90.0  # seconds without a change that are waited for; at most
STEPS = ("model", "engine", "decimation")  # with these begins what the node says and changes until it has settled

Size = tuple[int, int]


@dataclass(frozen=True)
class Camera:
    """A kind of camera, and what is asked of the node. Sizes are (width, height)."""

    name: str
    color: Size
    depth: Size
    parameters: Mapping[str, Any]


CAMERAS = (
    Camera("640x480, depth 80x60", (640, 480), (80, 60), {}),
    Camera("640x480, depth 640x480", (640, 480), (640, 480), {}),
    Camera("640x480, depth 80x60", (640, 480), (80, 60), {"target_rate": 30.0}),
    Camera("640x480, depth 640x480", (640, 480), (640, 480), {"target_rate": 30.0}),
    Camera("1920x1080, depth 512x424", (1920, 1080), (512, 424), {"target_rate": 15.0, "decimation": 0}),
)


@dataclass(frozen=True)
class Kept:
    """What one camera got."""

    camera: Camera
    model: str
    engine: str
    decimation: int
    answered_hz: float
    superseded: float
    """Share of the pairs in whose place a newer one was upsampled."""
    p50: float
    """Milliseconds from the stamp to the depth's arrival where the camera is."""
    p99: float
    cores: float
    """That the node kept busy."""
    peak_mb: float
    """Most memory that the node's process ever had resident."""


def measure(camera: Camera, seconds: float, engine: str = "auto") -> Kept:
    """Run the node behind a camera. In a process of its own: Fast DDS reads its profile once.

    Raises:
        ConfigError: the node does not start, or nothing comes back.
    """
    os.environ.update(fast_dds_environment())
    from dkn_ros.benchmark.rig import Rig, Usage
    from dkn_ros.pipeline.diagnostics import percentiles

    parameters = {"diagnostics_period": 0.5, "engine": engine, **camera.parameters}
    with Rig(PROGRAM, parameters, camera.color, camera.depth, RATE) as rig:
        rig.start()
        said = rig.values()
        begin = since = time.monotonic()
        while (now := time.monotonic()) < min(since + CALM, begin + SETTLING):
            before, said = said, rig.values()
            if any(said.get(name) != before.get(name) for name in {**said, **before} if name.startswith(STEPS)):
                since = now
        node = Usage(rig.node.pid)
        before, cpu_s, back, begin = said, node.cpu_s, len(rig.round_trips_ms), time.monotonic()
        time.sleep(seconds)
        said, took = rig.values(), time.monotonic() - begin
        done = {name: int(said.get(name, 0)) - int(before.get(name, 0)) for name in ("matched", "dropped superseded")}
        trips = percentiles(rig.round_trips_ms[back:])
        return Kept(
            camera=camera,
            model=said.get("model", ""),
            engine=said.get("engine", ""),
            decimation=int(said.get("decimation", 1)),
            answered_hz=(len(rig.round_trips_ms) - back) / took,
            superseded=done["dropped superseded"] / max(done["matched"], 1),
            p50=trips.get("p50", float("nan")),
            p99=trips.get("p99", float("nan")),
            cores=(node.cpu_s - cpu_s) / took,
            peak_mb=node.peak_mb,
        )


HEADER = f"""\
{"":26} {"target":>6} {"answered":>8} {"super-":>7} {"round trip ms":>13} {"":>6} {"peak":>6}
{"colour, depth":26} {"Hz":>6} {"Hz":>8} {"seded":>7} {"p50":>6} {"p99":>6} {"cores":>6} {"MB":>6}  by"""


def row(kept: Kept) -> str:
    """Of the table that `HEADER` begins."""
    target = kept.camera.parameters.get("target_rate", 0)
    return (
        f"{kept.camera.name:26} {target or '-':>6} {kept.answered_hz:8.1f} {kept.superseded:7.1%} "
        f"{kept.p50:6.0f} {kept.p99:6.0f} {kept.cores:6.2f} {kept.peak_mb:6.0f}  "
        f"{kept.model}, {kept.engine}, decimation {kept.decimation}"
    )
