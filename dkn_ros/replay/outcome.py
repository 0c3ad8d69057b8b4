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

"""The result of a replay: as JSON, and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dkn_ros.pipeline.diagnostics import percentiles
from dkn_ros.replay.accuracy import BICUBIC, COLUMNS, JOINT_BILATERAL, OUTPUT, Accuracy
from dkn_ros.replay.playback import Playback
from dkn_ros.replay.player import Answers

OF_PAIRS = ("superseded", "failed")  # what the node counts by pairs; the rest by messages
LOST, UNREADABLE = "not delivered", "unreadable in the bag"


@dataclass(frozen=True)
class Outcome:
    """What was played, what came back, and what it is worth (None: there was nothing to compare with)."""

    playback: Playback
    answers: Answers
    accuracy: Accuracy | None
    machine: Mapping[str, str]
    confidence: float | None = None
    """Mean over the depths of the answers, 0 to 1; None: not known."""

    @property
    def pairs_in(self) -> int:
        """Pairs of the recording that the node was sent."""
        return len(self.answers.paired_s)

    @property
    def pairs_out(self) -> int:
        return len(self.answers.answers)

    @property
    def dropped(self) -> dict[str, int]:
        """What the node counted as dropped, and pairs that nobody counted: lost on the way."""
        counts = self.answers.counters("dropped ")
        if (lost := self.pairs_in - self.pairs_out - sum(counts.get(reason, 0) for reason in OF_PAIRS)) > 0:
            counts[LOST] = lost
        if self.answers.unreadable:
            counts[UNREADABLE] = self.answers.unreadable
        return counts

    @property
    def rate_hz(self) -> float:
        """Answers a second, from the first to the last."""
        arrivals = [answer.arrived_s for answer in self.answers.answers]
        span = arrivals[-1] - arrivals[0] if len(arrivals) > 1 else 0.0
        return (len(arrivals) - 1) / span if span else 0.0

    @property
    def latencies_ms(self) -> list[float]:
        return [answer.latency_ms for answer in self.answers.answers if answer.latency_ms is not None]

    @property
    def latency_ms(self) -> dict[str, float]:
        return percentiles(self.latencies_ms)

    @property
    def resets(self) -> int:
        return sum(self.answers.counters("resets ").values())

    @property
    def points_ms(self) -> float | None:
        """What a cloud of points took the node to make and to publish, on a thread of its own; None: there was none."""
        return (float(self.answers.health.get("points [ms]", 0)) or None) if self.playback.points else None

    @property
    def rmse_cm(self) -> dict[str, float]:
        """By method; empty if nothing was compared."""
        return {name: 100 * value for name, value in self.accuracy.rmse.items()} if self.accuracy else {}

    def gain(self, method: str) -> float:
        """How much smaller the output's RMSE is than this method's, as a share; negative: larger; NaN: not known."""
        theirs = self.rmse_cm.get(method, 0.0)
        return 1 - self.rmse_cm[OUTPUT] / theirs if theirs > 0 else math.nan

    @property
    def nothing_to_show(self) -> str:
        """Why a run has no result, in a sentence; empty if it has one."""
        if self.pairs_in == 0:
            return f"no pair: no stamps of {self.playback.color} and {self.playback.depth} lie within the slop."
        if self.pairs_out == 0:
            said = self.answers.health.get("message", "")
            dropped = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items()) or "nothing"
            words = f"; it says: {said}" if said else ""
            return f"the node answered none of {self.pairs_in} pairs; dropped: {dropped}{words}."
        if self.accuracy is None and self.playback.has_truth:
            return "no answer has a pixel whose true depth is known."
        return ""

    @property
    def verdict(self) -> str:
        """One sentence."""
        if not self.accuracy:
            return f"Nothing to compare with: {self.nothing_to_show or 'no true depth was asked for.'}"
        said = []
        for method in self.accuracy.methods[1:]:
            gain = self.gain(method)
            word = "better" if gain > 0 else "WORSE"
            said.append(f"{100 * abs(gain):.0f} % {word} than {method} ({self.rmse_cm[method]:.2f} cm)")
        return f"RMSE {self.rmse_cm[OUTPUT]:.2f} cm, {' and '.join(said)}."

    def to_json(self) -> dict[str, Any]:
        """Numbers rounded to what they are good for; RMSE as the mean of the frames', in cm."""
        rmse = {name: round(value, 4) for name, value in self.rmse_cm.items()}
        result: dict[str, Any] = {
            "pairs_in": self.pairs_in,
            "pairs_out": self.pairs_out,
            "dropped": self.dropped,
            "rate_hz": round(self.rate_hz, 2),
            "latency_ms": {name: round(value, 2) for name, value in self.latency_ms.items()},
            "rmse_cm": rmse.get(OUTPUT),
            "rmse_cm_bicubic": rmse.get(BICUBIC),
            "resets": self.resets,
            "rmse_cm_joint_bilateral": rmse.get(JOINT_BILATERAL),
            "points_ms": self.points_ms,
            "confidence": None if self.confidence is None else round(self.confidence, 4),
        }
        if a := self.accuracy:
            result |= {
                "compared": len(a.frames),
                **{c.key: {name: round(value, 4) for name, value in c.values(a).items()} for c in COLUMNS},
                "rmse_m_by_edge_distance_px": [each.to_json() for each in a.by_edge_distance],
                "rmse_m_by_depth_m": [each.to_json() for each in a.by_depth],
            }
        return result | {"run": self.run}

    @property
    def run(self) -> dict[str, Any]:
        """What was played into what, where."""
        p, health = self.playback, self.answers.health
        return {
            "bag": {"path": str(p.bag), "color": p.color, "depth": p.depth, "truth": p.truth or "depth, not reduced"},
            "input": {
                "scale": p.scale,
                "degradation": p.degradation,
                "rate": p.rate if p.paced else "each pair after the answer to the one before",
                "loops": p.loops,
                "from_s": p.start_s,
                "to_s": p.stop_s if math.isfinite(p.stop_s) else "end",
            },
            "node": {name: health.get(name, "") for name in ("model", "engine", "device")},
            "parameters": self.answers.parameters,
            "machine": dict(self.machine),
        }

    def table(self) -> str:
        """For the terminal."""
        dropped = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items()) or "none"
        latency = ", ".join(f"{name} {value:.0f}" for name, value in self.latency_ms.items()) or "none"
        node = self.answers.health
        rows = {
            "model": ", ".join(node[name] for name in ("model", "engine") if node.get(name)) or "none",
            "pairs sent": f"{self.pairs_in}",
            "pairs upsampled": f"{self.pairs_out}",
            "dropped": dropped,
            "rate": f"{self.rate_hz:.1f} Hz",
            "latency [ms]": latency,
            "resets": f"{self.resets}",
        }
        if self.confidence is not None:
            rows["confidence"] = f"{self.confidence:.3f} on average"
        if self.playback.points:
            rows["points"] = "none" if self.points_ms is None else f"{self.points_ms:.1f} ms each"
        lines = [f"  {name:<16} {value}" for name, value in rows.items()]
        if a := self.accuracy:
            figures = {column.heading: column.values(a) for column in COLUMNS}
            lines += ["", f"  {f'{len(a.frames)} frames compared':<26}" + "".join(f"{t:>13}" for t in figures)]
            for name in a.methods:
                lines.append(f"  {name:<26}" + "".join(f"{_number(by[name]):>13}" for by in figures.values()))
        return "\n".join([*lines, "", f"  {self.verdict}"])


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"
