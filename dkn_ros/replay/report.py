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

"""The report of a replay: one HTML file that needs nothing else, neither a network nor a script.

The template (report.html) escapes all that it is given but the charts, which escape their texts themselves.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from dkn.errors import DataError
from dkn.evaluation.error_profile import Bin
from dkn.utils import visualize
from dkn_ros.replay import charts
from dkn_ros.replay.accuracy import COLUMNS, Example
from dkn_ros.replay.outcome import LOST, UNREADABLE, Outcome

PICTURE_WIDTH = 480  # pixels at most; a page of a few megabytes
ERROR_SPAN = 0.2  # metres that an error is drawn white from

# What a reader should make of each reason; a counter of the node's that is not here speaks for itself.
REASONS = {
    "superseded": "a newer pair came while the network was busy",
    "failed": "the network failed; the node's log says how",
    "bad_color": "a colour message that is not what its header says",
    "bad_depth": "a depth message that is not what its header says",
    "no_partner": "nothing of the other stream within the slop",
    "queue_full": "too many messages were waiting for a partner",
    "duplicate": "its stamp had been there already",
    "late": "a newer pair had been given out",
    "stale": "from before a jump of the clock",
    "reset": "was waiting for a partner when pairing began anew",
    LOST: "sent, and counted by nobody: lost on the transport",
    UNREADABLE: "could not be decoded, and was not sent",
}


def write(path: Path, outcome: Outcome) -> None:
    """Write the report, making the folder.

    Raises:
        DataError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A path may hold bytes that are no UTF-8.
        path.write_text(html(outcome), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error


def html(outcome: Outcome) -> str:
    """The page."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["number"] = _number
    template = environment.from_string(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    accuracy = outcome.accuracy
    return template.render(
        outcome=outcome,
        name=outcome.playback.bag.resolve().name,
        accuracy=accuracy,
        columns={column.heading: column.values(accuracy) for column in COLUMNS} if accuracy else {},
        error_charts=_error_charts(outcome) if accuracy else [],
        time_charts=_time_charts(outcome),
        drops=[(reason, count, _meaning(reason)) for reason, count in outcome.dropped.items()],
        examples=[(e, _pictures(e)) for e in accuracy.examples] if accuracy else [],
        error_span_cm=100 * ERROR_SPAN,
        facts=_facts(outcome),
    )


def _error_charts(outcome: Outcome) -> list[tuple[str, str]]:
    a = outcome.accuracy
    assert a is not None
    times = _times([frame.stamp for frame in a.frames])
    over_time = {
        name: [(t, 100 * frame.rmse[name]) for t, frame in zip(times, a.frames, strict=True)] for name in a.methods
    }
    return [
        ("Error by distance to depth edges", _profile(a.by_edge_distance, a.methods, "pixels")),
        ("Error by depth", _profile(a.by_depth, a.methods, "metres")),
        ("Error of each frame", charts.lines(over_time, "seconds of the recording", "RMSE, cm")),
    ]


def _profile(bins: Sequence[Bin], methods: Sequence[str], unit: str) -> str:
    series = {name: [100 * each.rmse[name] for each in bins] for name in methods}
    return charts.bars([each.label for each in bins], series, unit, "RMSE, cm")


def _time_charts(outcome: Outcome) -> list[tuple[str, str]]:
    answers = outcome.answers.answers
    rates = {"answers": _rates([a.arrived_s for a in answers]), "pairs sent": _rates(outcome.answers.paired_s)}
    timed = [(a.arrived_s, a.latency_ms) for a in answers if a.latency_ms is not None]
    found = [("Rate", charts.lines(rates, "seconds since the start", "per second"))]
    if timed:
        found += [
            ("Latency", charts.dots(timed, "seconds since the start", "ms")),
            ("Latency, histogram", charts.histogram(outcome.latencies_ms, "ms", "answers")),
        ]
    return found


def _rates(times_s: Sequence[float]) -> list[tuple[float, float]]:
    """Events a second around the middle of each slot of time: of one second, or more in a long replay."""
    if not times_s:
        return []
    slot = max(1.0, math.ceil(max(times_s) / 200))
    counts = np.bincount((np.asarray(times_s) / slot).astype(int).clip(0))
    # The last slot is not over.
    whole = counts[:-1] if len(counts) > 1 else counts
    return [((i + 0.5) * slot, count / slot) for i, count in enumerate(whole.tolist())]


def _times(stamps: Sequence[int]) -> list[float]:
    """Seconds since the first."""
    return [(stamp - stamps[0]) / 1e9 for stamp in stamps]


def _meaning(reason: str) -> str:
    words = reason.split(" ", 1)
    return REASONS.get(reason) or REASONS.get(words[-1], "")


def _pictures(example: Example) -> list[list[tuple[str, str]]]:
    """(caption, data URI) of each picture of a frame: a row of what it is, a row of errors."""
    low, high = visualize.depth_span(example.truth)
    height, width = example.truth.shape
    depths = {"input": example.low, "output": example.output, "truth": example.truth}
    maps, errors = [("colour", _uri(example.color, ".jpg"))], []
    for name, depth in depths.items():
        size = f" {depth.shape[1]}×{depth.shape[0]}" if name == "input" else ""
        maps.append((f"{name}{size}", _uri(_sized(visualize.colorize(depth, low, high), (width, height)), ".png")))
    for name, output in example.outputs.items():
        error = _sized(visualize.colorize_error(np.abs(output - example.truth), ERROR_SPAN), (width, height))
        errors.append((f"error of {name}: {100 * example.rmse[name]:.1f} cm", _uri(error, ".png")))
    return [maps, errors]


def _sized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarged without smoothing."""
    return cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)


def _uri(picture: np.ndarray, kind: str) -> str:
    """(H, W, 3) uint8 RGB as a data URI, no wider than `PICTURE_WIDTH`."""
    height, width = picture.shape[:2]
    if width > PICTURE_WIDTH:
        size = PICTURE_WIDTH, round(height * PICTURE_WIDTH / width)
        picture = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(kind, picture[..., ::-1])[1].tobytes()
    return f"data:image/{'jpeg' if kind == '.jpg' else 'png'};base64,{base64.b64encode(coded).decode()}"


def _facts(outcome: Outcome) -> list[tuple[str, Mapping[str, Any]]]:
    """Tables of what the run was."""
    run = outcome.run
    titles = {"bag": "Recording", "input": "Input", "node": "Node", "machine": "Machine", "parameters": "Parameters"}
    return [(title, run[key]) for key, title in titles.items() if run[key]]


def _number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"
