"""`python -m dkn_ros.benchmark`: what all that is not the network costs, with and without the Fast DDS profile.

A camera sends colour and depth to a node that gives back the depth as it came, in another process, and listens for it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from dkn.errors import DknError
from dkn_ros.share import OLD_PROFILE_VARIABLE, PROFILE_VARIABLE, fast_dds_environment

IDLE = 5.0  # seconds without a listener


@dataclass(frozen=True)
class Case:
    """One run."""

    profile: bool
    reliable: bool
    rate_hz: float
    seconds: float
    size: tuple[int, int]


@dataclass(frozen=True)
class Result:
    """Latencies in milliseconds; shares of one core and of the pairs sent."""

    profile: bool
    reliable: bool
    rate_hz: float
    sent: int
    delivered: float
    published: dict[str, float]
    """From the stamp to when the node published the depth, by the node's own count."""
    round_trip: dict[str, float]
    """From the stamp to the arrival of the depth where the camera is."""
    node_cpu: float
    camera_cpu: float
    idle_cpu: float
    """Of the node while nobody listens, though the camera goes on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dkn_ros.benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=100.0, help="pairs per second; 30 is measured as well [100]")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run [10]")
    parser.add_argument("--size", default="640x480", help="of colour and depth [640x480]")
    parser.add_argument("--start", action="store_true", help="measure instead how long the node takes to start")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    given = parser.parse_args(arguments)
    try:
        width, height = (int(n) for n in given.size.split("x"))
    except ValueError:
        parser.error(f"--size {given.size}: expected WIDTHxHEIGHT")
    results = []
    try:
        if given.start:
            print(f"start of the node to its first depth, 8x to {given.size}: {start_up((width, height)):.1f} s")
            return 0
        print(_HEADER)
        for rate in sorted({given.rate, 30.0}, reverse=True):
            for profile, reliable in ((True, False), (True, True), (False, True), (False, False)):
                results.append(run(Case(profile, reliable, rate, given.seconds, (width, height))))
                print(_row(results[-1]), flush=True)
    except DknError as error:
        print(f"dkn_ros.benchmark: {error}", file=sys.stderr)
        return 2
    if given.json:
        given.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    return 0


def run(case: Case) -> Result:
    """Measure in a process of its own: Fast DDS reads its profile once.

    Raises:
        ConfigError: the node does not start, or nothing comes back.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measure, case).result()


def start_up(size: tuple[int, int]) -> float:
    """Seconds from the start of the node's process, with its network, to the first depth that comes back.

    Raises:
        ConfigError: the node does not start, or nothing comes back.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_start_up, size).result()


def _start_up(size: tuple[int, int]) -> float:
    os.environ.update(fast_dds_environment())
    from dkn_ros.rig import Rig

    low = (size[0] // 8, size[1] // 8)
    begin = time.monotonic()
    with Rig(("-m", "dkn_ros"), {}, size, low, rate_hz=30.0) as rig:
        rig.start()
        return time.monotonic() - begin


def _measure(case: Case) -> Result:
    for name in (PROFILE_VARIABLE, OLD_PROFILE_VARIABLE):
        os.environ.pop(name, None)
    if case.profile:
        os.environ.update(fast_dds_environment())
    from dkn_ros.diagnostics import percentiles
    from dkn_ros.rig import Rig, Usage

    program, size = ("-m", "dkn_ros.pass_through"), case.size
    with Rig(program, {"diagnostics_period": 0.5}, size, size, case.rate_hz, case.reliable) as rig:
        rig.start()
        time.sleep(2.0)  # until all have found each other
        node, camera = Usage(rig.node.pid), Usage(os.getpid())
        cpu_s = node.cpu_s, camera.cpu_s
        sent, received, begin = rig.sent, len(rig.round_trips_ms), time.monotonic()
        time.sleep(case.seconds)
        seconds, sent = time.monotonic() - begin, rig.sent - sent
        round_trips = rig.round_trips_ms[received:]
        shares = [(usage.cpu_s - before) / seconds for usage, before in zip((node, camera), cpu_s, strict=True)]
        values = rig.values()
        before = node.cpu_s
        rig.look_away(IDLE)
        idle = (node.cpu_s - before) / IDLE
    ranks = ("p50", "p99")
    published = {rank: float(values.get(f"latency from stamp {rank} [ms]", "nan")) for rank in ranks}
    trips = percentiles(round_trips)
    return Result(
        profile=case.profile,
        reliable=case.reliable,
        rate_hz=case.rate_hz,
        sent=sent,
        delivered=len(round_trips) / max(sent, 1),
        published=published,
        round_trip={rank: trips.get(rank, float("nan")) for rank in ranks},
        node_cpu=shares[0],
        camera_cpu=shares[1],
        idle_cpu=idle,
    )


_HEADER = f"""\
{"":38} {"":>10} {"published ms":>14} {"round trip ms":>14} {"CPU of a core":>21}
{"transport":38} {"delivered":>10} {"p50":>6} {"p99":>7} {"p50":>6} {"p99":>7} {"node":>6} {"idle":>6} {"camera":>7}"""


def _row(r: Result) -> str:
    transport = "profile" if r.profile else "defaults"
    name = f"{r.rate_hz:g} Hz, {transport}, {'reliable' if r.reliable else 'best effort'}"
    return (
        f"{name:38} {r.delivered:10.1%} {r.published['p50']:6.1f} {r.published['p99']:7.1f} "
        f"{r.round_trip['p50']:6.1f} {r.round_trip['p99']:7.1f} {r.node_cpu:6.0%} {r.idle_cpu:6.1%} {r.camera_cpu:7.0%}"
    )


if __name__ == "__main__":
    sys.exit(main())
