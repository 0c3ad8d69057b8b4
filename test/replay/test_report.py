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

"""The report and the figures: what a hostile bag is called stays text, and nothing is fetched or run."""

from __future__ import annotations

import dataclasses
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from dkn.evaluation.error_profile import Bin
from dkn_ros.replay import report
from dkn_ros.replay.accuracy import BICUBIC, OUTPUT, Accuracy, Example, FrameErrors
from dkn_ros.replay.outcome import Outcome
from dkn_ros.replay.playback import Playback
from dkn_ros.replay.player import Answer, Answers

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}&amp;"


class Page(HTMLParser):
    """Elements with their attributes, and all text outside of the style sheet."""

    def __init__(self, source: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._style = False
        self.feed(source)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self._style = tag == "style"
        self.text += " "

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._style = False


def accuracy(hostile: str = "median") -> Accuracy:
    depth = np.full((6, 8), 2.0, np.float32)
    depth[0, 0] = np.nan
    rmse = {OUTPUT: 0.01, BICUBIC: 0.02}
    example = Example(
        hostile, 7, rmse, np.zeros((6, 8, 3), np.uint8), depth[::2, ::2], dict.fromkeys(rmse, depth), depth
    )
    bins = [Bin(0, 1, 0.5, rmse), Bin(1, math.inf, 0.5, rmse)]
    frames = [FrameErrors(1, rmse), FrameErrors(2, rmse)]
    flicker, flying = {OUTPUT: math.nan, BICUBIC: 0.3}, {OUTPUT: 0.0025, BICUBIC: 0.04}
    return Accuracy([OUTPUT, BICUBIC], frames, rmse, flicker, flying, bins, bins, [example])


def outcome(accuracy: Accuracy | None, name: str = "bag", dropped: dict[str, str] | None = None) -> Outcome:
    answers = Answers(Path(), [Answer(1, 1.0, 10.0), Answer(2, 1.5, 30.0)], [0.9, 1.2, 1.3], [1, 2, 3])
    answers.health = {"model": name, "engine": name, "device": name, **(dropped or {})}
    answers.parameters = {"mode": name}
    return Outcome(Playback(Path(name), name, name, name), answers, accuracy, {"processor": name}, 0.91234)


def test_hostile_names_are_text() -> None:
    page = Page(report.html(outcome(accuracy(HOSTILE), HOSTILE, {f"dropped {HOSTILE}": "3"})))
    assert not [
        tag for tag, _ in page.elements if tag in ("script", "iframe", "object", "embed", "link", "base", "form")
    ]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.text.count(HOSTILE) >= 8  # bag, topics, model, machine, parameter, frame, drops
    assert "49" not in page.text.replace("4900", "")  # not evaluated as a template


def test_nothing_is_fetched() -> None:
    page = Page(report.html(outcome(accuracy())))
    fetching = ("src", "href", "xlink:href", "data", "action")
    sources = [attributes[key] for _, attributes in page.elements for key in fetching if key in attributes]
    assert len(sources) == 6  # colour, input, output, truth and two errors
    assert all(source.startswith(("data:image/png;base64,", "data:image/jpeg;base64,")) for source in sources)
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_figures_are_on_the_page() -> None:
    result = outcome(accuracy(), dropped={"dropped superseded": "1", "dropped color no_partner": "2", "dropped x": "0"})
    page = Page(report.html(result))
    text = " ".join(page.text.split())
    assert "RMSE 1.00 cm, 50 % better than bicubic (2.00 cm)." in text
    assert "2 of 3" in text and "superseded 1 a newer pair came" in text and "color no_partner 2" in text
    assert "x 0" not in text
    assert "0.912confidence, mean" in text and "flying, %" in text and "cloud of points" not in text
    assert "0.25" in text and "4.00" in text
    charts = [attributes["aria-label"] for tag, attributes in page.elements if tag == "svg"]
    assert charts == [
        "RMSE, cm against pixels",
        "RMSE, cm against metres",
        "RMSE, cm against seconds of the recording",
        "per second against seconds since the start",
        "ms against seconds since the start",
        "answers against ms",
    ]


def test_a_report_without_truth_or_answers(tmp_path: Path) -> None:
    empty = Outcome(Playback(Path("b"), "/c", "/d"), Answers(Path(), paired_s=[0.1]), None, {})
    report.write(tmp_path / "deep" / "r.html", empty)
    page = Page((tmp_path / "deep" / "r.html").read_text())
    assert "0 of 1" in page.text and "Nothing to compare with" in page.text and "not delivered" in page.text


def test_a_path_that_is_no_unicode(tmp_path: Path) -> None:
    report.write(tmp_path / "r.html", outcome(None, "bag\udcff"))
    assert "bag\\udcff" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_json() -> None:
    result = outcome(accuracy(), dropped={"dropped superseded": "1", "resets clock_jump": "2"}).to_json()
    expected: dict[str, Any] = {
        "pairs_in": 3,
        "pairs_out": 2,
        "dropped": {"superseded": 1},
        "rate_hz": 2.0,  # one answer in half a second
        "latency_ms": {"p50": 10.0, "p95": 30.0, "p99": 30.0, "max": 30.0},
        "rmse_cm": 1.0,
        "rmse_cm_bicubic": 2.0,
        "resets": 2,
        "rmse_cm_joint_bilateral": None,
        "points_ms": None,
        "confidence": 0.9123,
        "flying_percent": {OUTPUT: 0.25, BICUBIC: 4.0},
        "compared": 2,
    }
    assert {key: result[key] for key in expected} == expected
    assert result["run"]["input"]["scale"] == 8


def test_worse_is_said_plainly() -> None:
    a = accuracy()
    worse = [FrameErrors(1, {OUTPUT: 0.03, BICUBIC: 0.02})]
    result = outcome(dataclasses.replace(a, frames=worse))
    assert result.verdict == "RMSE 3.00 cm, 50 % WORSE than bicubic (2.00 cm)."
    assert "WORSE than bicubic" in result.table()
