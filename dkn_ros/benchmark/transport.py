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

"""`dkn-replay --benchmark`: what transport and node cost without a network, with and without the Fast DDS profiles.

A camera sends colour and depth to a node that gives back the depth as it came, in another process, and listens for it.
Or, with `--start`, `--overload` and `--rates`, to the node as users run it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from dkn.engines import ENGINES
from dkn.utils.arguments import size
from dkn.utils.device import instruction_sets
from dkn.utils.machine import processor
from dkn.utils.tables import write_json
from dkn_ros.benchmark import rates
from dkn_ros.fast_dds import (
    NO_PROFILE,
    NODE_PROFILE,
    OLD_PROFILE_VARIABLE,
    PROFILE_VARIABLE,
    TRANSPORTS_VARIABLE,
    fast_dds_environment,
)
from dkn_ros.node_process import PROGRAM
from dkn_ros.terminal import exit_status

T = TypeVar("T")

IDLE = 5.0  # seconds without a listener
TRANSPORTS = {
    "profile": "camera and node with config/fastdds.xml",
    "node's own": "the node as it is, the camera with Fast DDS's defaults",
    "defaults": "both with Fast DDS's defaults",
}
OVERLOADS = (15.0, 30.0, 60.0, 120.0)  # pairs per second
SCALE = 8  # of the sizes of colour and depth, where there is a network


@dataclass(frozen=True)
class Case:
    """One run."""

    transport: str
    reliable: bool
    rate_hz: float
    seconds: float
    size: tuple[int, int]
    color_format: str = ""
    """jpeg or png, for compressed input; raw if empty."""


@dataclass(frozen=True)
class Result:
    """Latencies in milliseconds; shares of one core and of the pairs sent."""

    transport: str
    reliable: bool
    rate_hz: float
    sent: int
    arrived: float
    """Pairs that the node had."""
    answered: float
    """Pairs that the node published the depth of; less than `arrived` where a newer one superseded them."""
    delivered: float
    """Depths that came back to where the camera is."""
    published: dict[str, float]
    """From the stamp to when the node published the depth, by the node's own count."""
    round_trip: dict[str, float]
    """From the stamp to the arrival of the depth where the camera is."""
    node_cpu: float
    camera_cpu: float
    idle_cpu: float
    """Of the node while nobody listens, though the camera goes on."""


@dataclass(frozen=True)
class Overload:
    """What the node does, with its network, when a camera is faster than that. Times in milliseconds."""

    rate_hz: float
    answered_hz: float
    superseded: float
    """Share of the pairs in whose place a newer one was upsampled."""
    uncounted: int
    """Pairs of which the node's counters do not say what became of them: those at work just then."""
    round_trip: dict[str, float]
    first_depth: float
    """From when a listener comes back, the node being idle, to its first depth."""

    @property
    def frame(self) -> float:
        """From one depth to the next."""
        return 1000 / self.answered_hz if self.answered_hz else float("nan")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="dkn-replay --benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=100.0, help="pairs per second; 30 is measured as well [100]")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run [10]")
    parser.add_argument("--size", type=size, default=(640, 480), metavar="WxH", help="of colour and depth [640x480]")
    parser.add_argument(
        "--compressed", choices=("jpeg", "png"), default="", help="colour so compressed, depth as compressedDepth (PNG)"
    )
    parser.add_argument("--start", action="store_true", help="measure instead how long the node takes to start")
    parser.add_argument(
        "--overload",
        action="store_true",
        help="measure instead the node with its network, behind faster cameras",
    )
    parser.add_argument(
        "--rates", action="store_true", help="measure instead whether the node keeps the rate of several cameras"
    )
    parser.add_argument("--engine", choices=("auto", *ENGINES), default="auto", help="of the node, for --rates [auto]")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    return exit_status("dkn-replay --benchmark", partial(_run, parser.parse_args(arguments)))


def _run(given: argparse.Namespace) -> None:
    if given.start:
        width, height = given.size
        print(f"start of the node to its first depth, 8x to {width}x{height}: {start_up(given.size):.1f} s")
        return
    if given.overload:
        _overloads(given)
        return
    if given.rates:
        _rates(given)
        return
    for name, meaning in TRANSPORTS.items():
        print(f"{name}: {meaning}")
    print(f"\n{_HEADER}")
    results = []
    rates = sorted({given.rate, 30.0}, reverse=True)
    for rate, transport, reliable in product(rates, TRANSPORTS, (True, False)):
        results.append(run(Case(transport, reliable, rate, given.seconds, given.size, given.compressed)))
        print(_row(results[-1]), flush=True)
    _write(given.json, results)


def _overloads(given: argparse.Namespace) -> None:
    width, height = given.size
    print(f"the node with its network, {SCALE}x to {width}x{height}\n\n{_OVERLOAD_HEADER}")
    results = []
    for rate in OVERLOADS:
        results.append(overload(given.size, rate, given.seconds))
        print(_overload_row(results[-1]), flush=True)
    _write(given.json, results)


def _rates(given: argparse.Namespace) -> None:
    print(f"cameras at {rates.RATE:g} Hz, {processor()} ({instruction_sets()})\n\n{rates.HEADER}", flush=True)
    results = []
    for camera in rates.CAMERAS:
        results.append(_alone(rates.measure, camera, given.seconds, given.engine))
        print(rates.row(results[-1]), flush=True)
    _write(given.json, results)


def _write(path: Path | None, results: Sequence[Result | Overload | rates.Kept]) -> None:
    if path:
        write_json(path, [asdict(result) for result in results])


def run(case: Case) -> Result:
    """Measure transport and node.

    Raises:
        ConfigError: the node does not start, or nothing comes back.
    """
    return _alone(_measure, case)


def start_up(color_size: tuple[int, int]) -> float:
    """Seconds from the start of the node's process, with its network, to the first depth that comes back.

    Raises:
        ConfigError: as for `run`.
    """
    return _alone(_start_up, color_size)


def overload(color_size: tuple[int, int], rate_hz: float, seconds: float) -> Overload:
    """Measure the node, with its network, behind a camera of this rate.

    Raises:
        ConfigError: as for `run`.
    """
    return _alone(_overload, color_size, rate_hz, seconds)


def _alone(measure: Callable[..., T], *arguments: object) -> T:
    """In a process of its own: Fast DDS reads its profile once."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def _start_up(color_size: tuple[int, int]) -> float:
    os.environ.update(fast_dds_environment())
    from dkn_ros.benchmark.rig import Rig

    begin = time.monotonic()
    with Rig(PROGRAM, {}, color_size, _reduced(color_size), rate_hz=30.0) as rig:
        rig.start()
        return time.monotonic() - begin


def _overload(color_size: tuple[int, int], rate_hz: float, seconds: float) -> Overload:
    os.environ.update(fast_dds_environment())
    from dkn_ros.benchmark.rig import Rig
    from dkn_ros.pipeline.diagnostics import percentiles

    with Rig(PROGRAM, {}, color_size, _reduced(color_size), rate_hz) as rig:
        rig.start()
        time.sleep(2.0)  # until all have found each other, and the first frame's extra work is done

        def counts() -> dict[str, int]:
            said = rig.values()
            counters = {n: int(said.get(n, 0)) for n in ("matched", "published", "dropped superseded", "dropped idle")}
            return counters | {"back": len(rig.round_trips_ms)}

        before, begin = counts(), time.monotonic()
        time.sleep(seconds)
        after, took = counts(), time.monotonic() - begin
        done = {name: after[name] - before[name] for name in after}
        trips = percentiles(rig.round_trips_ms[before["back"] : after["back"]])
        first_depth = 1000 * rig.first_depth()
        now = counts()
    return Overload(
        rate_hz=rate_hz,
        answered_hz=done["published"] / took,
        superseded=done["dropped superseded"] / max(done["matched"], 1),
        uncounted=now["matched"] - now["published"] - now["dropped superseded"] - now["dropped idle"],
        round_trip={rank: trips.get(rank, float("nan")) for rank in ("p50", "p99")},
        first_depth=first_depth,
    )


def _reduced(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] // SCALE, size[1] // SCALE


def _node_environment(transport: str) -> dict[str, str]:
    """Set the variables of this process, which is the camera's; returns those of the node's."""
    for name in (PROFILE_VARIABLE, OLD_PROFILE_VARIABLE, TRANSPORTS_VARIABLE):
        os.environ.pop(name, None)
    if transport == "profile":
        os.environ.update(fast_dds_environment())
    more = {"profile": {}, "node's own": fast_dds_environment(NODE_PROFILE), "defaults": NO_PROFILE}[transport]
    return {**os.environ, **more}


def _measure(case: Case) -> Result:
    environment = _node_environment(case.transport)
    from dkn_ros.benchmark.rig import Rig, Usage
    from dkn_ros.pipeline.diagnostics import percentiles

    program, parameters = ("-m", "dkn_ros.benchmark.pass_through"), {"diagnostics_period": 0.5}
    with Rig(
        program, parameters, case.size, case.size, case.rate_hz, case.reliable, case.color_format, environment
    ) as rig:
        rig.start()
        time.sleep(2.0)  # until all have found each other
        node, camera = Usage(rig.node.pid), Usage(os.getpid())

        def counts() -> dict[str, float]:
            said = rig.values()  # counted at the same moment as the rest, but for the time that a message takes
            own = {"time": time.monotonic(), "sent": rig.sent, "back": len(rig.round_trips_ms)}
            return (
                own | {"node": node.cpu_s, "camera": camera.cpu_s} | {n: int(said[n]) for n in ("matched", "published")}
            )

        before = counts()
        time.sleep(case.seconds)
        values, after = rig.values(), counts()
        done = {name: after[name] - before[name] for name in after}
        trips = percentiles(rig.round_trips_ms[int(before["back"]) : int(after["back"])])
        cpu_s = node.cpu_s
        rig.stop_listening(IDLE)
        idle = (node.cpu_s - cpu_s) / IDLE
    ranks = ("p50", "p99")
    published = {rank: float(values.get(f"latency from stamp {rank} [ms]", "nan")) for rank in ranks}
    sent = int(done["sent"])
    shares = {name: done[name] / max(sent, 1) for name in ("matched", "published", "back")}
    return Result(
        transport=case.transport,
        reliable=case.reliable,
        rate_hz=case.rate_hz,
        sent=sent,
        arrived=shares["matched"],
        answered=shares["published"],
        delivered=shares["back"],
        published=published,
        round_trip={rank: trips.get(rank, float("nan")) for rank in ranks},
        node_cpu=done["node"] / done["time"],
        camera_cpu=done["camera"] / done["time"],
        idle_cpu=idle,
    )


_HEADER = f"""\
{"":34} {"pairs":>27} {"published ms":>14} {"round trip ms":>14} {"CPU of a core":>21}
{"":34} {"arrived":>8} {"answered":>8} {"delivered":>9} {"p50":>6} {"p99":>7} {"p50":>6} {"p99":>7} \
{"node":>6} {"idle":>6} {"camera":>7}"""


def _row(r: Result) -> str:
    name = f"{r.rate_hz:g} Hz, {r.transport}, {'reliable' if r.reliable else 'best effort'}"
    return (
        f"{name:34} {r.arrived:8.1%} {r.answered:8.1%} {r.delivered:9.1%} "
        f"{r.published['p50']:6.1f} {r.published['p99']:7.1f} {r.round_trip['p50']:6.1f} {r.round_trip['p99']:7.1f} "
        f"{r.node_cpu:6.0%} {r.idle_cpu:6.1%} {r.camera_cpu:7.0%}"
    )


_OVERLOAD_HEADER = f"""\
{"pairs":>7} {"answered":>9} {"super-":>7} {"not":>8} {"from one to":>12} {"round trip ms":>15} {"new listener's":>15}
{"Hz":>7} {"Hz":>9} {"seded":>7} {"counted":>8} {"the next ms":>12} {"p50":>7} {"p99":>7} {"first depth ms":>15}"""


def _overload_row(r: Overload) -> str:
    return (
        f"{r.rate_hz:7g} {r.answered_hz:9.1f} {r.superseded:7.1%} {r.uncounted:8} {r.frame:12.0f} "
        f"{r.round_trip['p50']:7.0f} {r.round_trip['p99']:7.0f} {r.first_depth:15.0f}"
    )


if __name__ == "__main__":
    sys.exit(main())
