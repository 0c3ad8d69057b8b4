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

"""Charts: read back as XML, their marks against what was drawn."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

import pytest

from dkn_ros.replay import charts


def marks(svg: str, kind: str) -> list[Any]:
    return list(ElementTree.fromstring(svg).iter(kind))


def title(mark: Any) -> str:
    return mark.findtext("title")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 0.7, [0, 0.2, 0.4, 0.6]),
        (3, 47, [10, 20, 30, 40]),
        (0, 1234, [0, 500, 1000]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert charts.ticks(low, high) == pytest.approx(expected)


def test_bars_are_as_high_as_their_values() -> None:
    svg = charts.bars(["a", "b"], {"ours": [1.0, 4.0], "theirs": [2.0, math.nan]}, "x", "y")
    bars = {title(bar): float(bar.get("height")) for bar in marks(svg, "rect")}
    assert set(bars) == {"ours a: 1", "ours b: 4", "theirs a: 2"}  # nothing for what is not known
    assert bars["theirs a: 2"] == pytest.approx(2 * bars["ours a: 1"], abs=0.2)
    assert bars["ours b: 4"] == pytest.approx(4 * bars["ours a: 1"], abs=0.3)


def test_bars_of_zeros_have_no_height() -> None:
    svg = charts.bars(["a"], {"ours": [0.0]}, "x", "y")
    assert [float(bar.get("height")) for bar in marks(svg, "rect")] == [0.0]


def test_a_histogram_counts_every_value_once() -> None:
    svg = charts.histogram([1, 1, 1, 2, 4], "ms", "n", bins=3)
    assert [title(bar) for bar in marks(svg, "rect")] == ["3 from 1 to 2", "1 from 2 to 3", "1 from 3 to 4"]
    (bar,) = marks(charts.histogram([7.0, 7.0], "ms", "n"), "rect")
    assert title(bar).startswith("2 from 7")


def test_a_gap_interrupts_a_line() -> None:
    svg = charts.lines({"ours": [(0, 1), (1, 2), (2, math.nan), (3, 1), (4, 1)]}, "x", "y")
    assert [len(line.get("points").split()) for line in marks(svg, "polyline")] == [2, 2]


def test_of_many_dots_the_highest_stay() -> None:
    points = [(float(i), float(i == 1234) + 1) for i in range(3000)]
    thin = charts.thinned(points, 400)
    assert len(thin) <= 400 and max(thin, key=lambda point: point[1]) == (1234.0, 2.0)
    assert [x for x, _ in thin] == sorted(x for x, _ in thin)
    assert list(charts.thinned(points[:5], 400)) == points[:5]
    assert len(marks(charts.dots(points, "x", "y"), "circle")) <= 400


def test_texts_are_escaped() -> None:
    hostile = '</text><script>alert("1")</script>&'
    svg = charts.bars([hostile], {hostile: [1.0]}, hostile, hostile)
    assert "<script" not in svg
    texts = [text.text for text in marks(svg, "text")]
    assert texts.count(hostile) == 3  # the axes' labels and the group's


def test_nothing_to_draw_is_an_empty_chart() -> None:
    assert not marks(charts.lines({"ours": []}, "x", "y"), "polyline")
