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

"""`make soak MINUTES=30`: the node at work for a long time; does anything grow, or slow down?

A camera sends without pause, and its listener goes away for a moment now and then, so that subscriptions come and go.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from dkn.utils.arguments import size
from dkn_ros.fast_dds import fast_dds_environment
from dkn_ros.node_process import PROGRAM
from dkn_ros.parameters import Options
from dkn_ros.terminal import exit_status

WARM_UP = 0.2  # share of the time after which nothing may grow any more, at most `WARM_UP_S`
WARM_UP_S = 300.0
GROWTH = 0.02  # of memory
SLOWER = 0.1  # of the share of pairs answered, between the halves of what comes after the warm-up
FULL = 0.05  # share of time idle below which the machine had no core to spare, and answers depend on what else it does
COSTLIER = 0.25  # of the answers for a second of processor time; other programs take caches as well
ROWS = 20


@dataclass(frozen=True)
class Moment:
    """What the node used and did up to a moment; times in seconds, memory in MiB."""

    time_s: float
    sent: int
    published: int
    memory: float
    files: int
    threads: int
    cpu_s: float
    idle_s: float
    """How long the machine had nothing to do, mean of its cores."""


@dataclass(frozen=True)
class Check:
    """One line of the verdict."""

    what: str
    found: str
    good: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if something grew or slowed down, 2 for a mistake of the user's."""
    parser = argparse.ArgumentParser(prog="python -m dkn_ros.benchmark.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="[30]")
    parser.add_argument("--rate", type=float, default=30.0, help="pairs per second [30]")
    parser.add_argument("--mode", default=Options.mode, help="the node's parameter mode [%(default)s]")
    parser.add_argument(
        "--size", type=size, default=(320, 240), metavar="WxH", help="of colour; depth has an eighth of it [320x240]"
    )
    return exit_status("dkn_ros.benchmark.soak", partial(_run, parser.parse_args(arguments)))


def _run(given: argparse.Namespace) -> int:
    checks = judge(_watch(60 * given.minutes, given.mode, given.size, given.rate))
    print()
    for check in checks:
        print(f"{'ok  ' if check.good else 'FAIL'}  {check.what:24} {check.found}")
    return 0 if all(check.good for check in checks) else 1


def _watch(seconds: float, mode: str, color_size: tuple[int, int], rate_hz: float) -> list[Moment]:
    os.environ.update(fast_dds_environment())  # before Fast DDS reads it
    from dkn_ros.benchmark.rig import Rig, Usage, idle_s

    samples: list[Moment] = []
    period = max(1.0, seconds / 200)
    print(f"{'minutes':>8} {'Hz':>7} {'MiB':>8} {'files':>6} {'threads':>8} {'CPU':>6}")
    depth_size = color_size[0] // 8, color_size[1] // 8
    with Rig(PROGRAM, {"mode": mode}, color_size, depth_size, rate_hz) as rig:
        rig.start()
        node, begin = Usage(rig.node.pid), time.monotonic()
        shown = begin
        while (now := time.monotonic()) < begin + seconds:
            time.sleep(min(period, begin + seconds - now))
            rig.check()
            samples.append(
                Moment(
                    time.monotonic() - begin,
                    rig.sent,
                    len(rig.round_trips_ms),
                    node.memory_mb,
                    node.files,
                    node.threads,
                    node.cpu_s,
                    idle_s(),
                )
            )
            if time.monotonic() - shown >= seconds / ROWS and len(samples) > 1:
                shown = time.monotonic()
                print(_row(samples), flush=True)
            if len(samples) % 20 == 0:
                rig.stop_listening()
    return samples


def _row(samples: list[Moment]) -> str:
    before, now = samples[-2], samples[-1]
    seconds = now.time_s - before.time_s
    rate, cpu = (now.published - before.published) / seconds, (now.cpu_s - before.cpu_s) / seconds
    return f"{now.time_s / 60:8.1f} {rate:7.1f} {now.memory:8.1f} {now.files:6} {now.threads:8} {cpu:6.0%}"


def judge(samples: Sequence[Moment]) -> list[Check]:
    """The verdict on a run, from samples in the order of time.

    Memory may grow by `GROWTH` from the first to the last fifth of what comes after the warm-up (medians), descriptors
    and threads not at all.
    """
    end = samples[-1].time_s if samples else 0.0
    warm = [sample for sample in samples if sample.time_s >= min(WARM_UP * end, WARM_UP_S)]
    if len(warm) < 10:
        return [Check("length", f"{len(samples)} samples are too few to tell", False)]
    fifth = len(warm) // 5

    def grown(values: list[int]) -> tuple[str, bool]:
        first, last = statistics.median_low(values[:fifth]), statistics.median_low(values[-fifth:])
        return f"{first} → {last} (range {min(values)} to {max(values)})", last <= first

    first = statistics.median(sample.memory for sample in warm[:fifth])
    last = statistics.median(sample.memory for sample in warm[-fifth:])
    return [
        _answered(warm),
        Check("memory", f"{first:.1f} → {last:.1f} MiB ({last / first - 1:+.1%})", last <= (1 + GROWTH) * first),
        Check("file descriptors", *grown([sample.files for sample in warm])),
        Check("threads", *grown([sample.threads for sample in warm])),
    ]


def _answered(warm: Sequence[Moment]) -> Check:
    """Does it still do as much as before?

    The share of the pairs sent that were answered may fall by `SLOWER` from one half to the other. Of what was sent,
    because a machine that stands still for a while stops the camera as well. Where the machine was `FULL`, answers
    depend on what else it does: there, those for a second of processor time may fall, by `COSTLIER`.
    """
    middle = warm[len(warm) // 2]
    halves = (warm[0], middle), (middle, warm[-1])
    shares = [(b.published - a.published) / max(b.sent - a.sent, 1) for a, b in halves]
    worth = [(b.published - a.published) / max(b.cpu_s - a.cpu_s, 1e-3) for a, b in halves]
    full = any((b.idle_s - a.idle_s) / (b.time_s - a.time_s) < FULL for a, b in halves)
    steady = worth[1] >= (1 - COSTLIER) * worth[0] if full else shares[1] >= (1 - SLOWER) * shares[0]
    found = f"{shares[0]:.1%} → {shares[1]:.1%}, {worth[0]:.1f} → {worth[1]:.1f} for a second of processor time"
    found += " (no core was free: the latter counts)" if full else ""
    return Check("pairs answered", found, steady and shares[0] > 0)


if __name__ == "__main__":
    sys.exit(main())
