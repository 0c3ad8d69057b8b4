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

"""Charts as inline SVG for a page that needs nothing else. Every text in them is escaped.

Colours are the page's: a series has the class `s0`, `s1`, …, labels have `axis`, lines behind all `grid`. Hovering over
a mark tells its values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 400, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 44  # margins of the plot
_DOTS = 400  # marks of a series beyond which they are thinned out


def lines(series: Mapping[str, Points], x_label: str, y_label: str) -> str:
    """Curves over a common axis, the first on top, their y from 0 upwards. A point that is not finite interrupts a
    curve."""
    plot = _numeric(series, x_label, y_label)
    for index, (name, points) in reversed(list(enumerate(series.items()))):
        parts: list[list[tuple[float, float]]] = [[]]
        for x, y in points:
            if math.isfinite(y):
                parts[-1].append((x, y))
            elif parts[-1]:
                parts.append([])
        for part in filter(None, parts):
            path = " ".join(f"{plot.x(x):.1f},{plot.y(y):.1f}" for x, y in part)
            plot.mark("polyline", f"s{index} line", name, points=path)
            for x, y in part if len(part) <= _DOTS // 4 else ():
                plot.dot(x, y, f"s{index}", f"{name}: {y:.4g} at {x:.4g}")
    return plot.svg()


def dots(points: Points, x_label: str, y_label: str) -> str:
    """One series of dots. Of very many, the highest of each slot of x is drawn."""
    plot = _numeric({"": points}, x_label, y_label)
    for x, y in thinned(points, _DOTS):
        plot.dot(x, y, "s0", f"{y:.4g} at {x:.4g}")
    return plot.svg()


def histogram(values: Sequence[float], x_label: str, y_label: str, bins: int = 30) -> str:
    """How many values lie in each of some equal intervals from the least to the largest."""
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(int((value - low) / width), bins - 1)] += 1
    plot = _Plot((low, low + bins * width), (0, max(counts)), x_label, y_label)
    plot.x_ticks()
    for i, count in enumerate(counts):
        left, right = low + i * width, low + (i + 1) * width
        if count:
            plot.bar(plot.x(left), plot.x(right) - 1, count, "s0", f"{count} from {left:.4g} to {right:.4g}")
    return plot.svg()


def bars(labels: Sequence[str], series: Mapping[str, Sequence[float]], x_label: str, y_label: str) -> str:
    """Groups of bars, one group for each label. A value that is not finite has no bar."""
    highest = max((v for values in series.values() for v in values if math.isfinite(v)), default=0.0)
    plot = _Plot((0, len(labels)), (0, highest), x_label, y_label)
    group = (plot.x(1) - plot.x(0)) * 0.8
    for i, label in enumerate(labels):
        plot.text(plot.x(i + 0.5), HEIGHT - _BOTTOM + 15, label, "middle")
        for k, (name, values) in enumerate(series.items()):
            left = plot.x(i + 0.5) - group / 2 + k * group / len(series)
            if math.isfinite(values[i]):
                plot.bar(left, left + group / len(series) - 1, values[i], f"s{k}", f"{name} {label}: {values[i]:.4g}")
    return plot.svg()


def thinned(points: Points, most: int) -> Points:
    """At most so many points, in order: each is the highest of as many neighbours as that takes."""
    step = -(-len(points) // most)
    return [max(points[i : i + step], key=lambda point: point[1]) for i in range(0, len(points), max(step, 1))]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, at most so many: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _numeric(series: Mapping[str, Points], x_label: str, y_label: str) -> _Plot:
    """An empty plot whose axes hold all points."""
    xs = [x for points in series.values() for x, _ in points] or [0.0]
    ys = [y for points in series.values() for _, y in points if math.isfinite(y)]
    plot = _Plot((min(xs), max(xs)), (0, max(ys, default=0.0)), x_label, y_label)
    plot.x_ticks()
    return plot


class _Plot:
    """An SVG under construction: a frame of axes, and marks in it. The y axis begins at 0."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float], x_label: str, y_label: str):
        self._x_range, self._y_range = _widened(*x_range), _widened(y_range[0], 1.05 * y_range[1])
        self._root = ElementTree.Element(
            "svg", {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": f"{y_label} against {x_label}"}
        )
        for value in ticks(*self._y_range, most=6):
            y = f"{self.y(value):.1f}"
            self.mark("line", "grid", "", x1=str(_LEFT), x2=str(WIDTH - _RIGHT), y1=y, y2=y)
            self.text(_LEFT - 6, self.y(value) + 4, f"{value:g}", "end")
        self.text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, x_label, "middle")
        middle = (_TOP + HEIGHT - _BOTTOM) / 2
        self.text(13, middle, y_label, "middle", transform=f"rotate(-90 13 {middle:g})")

    def x(self, value: float) -> float:
        low, high = self._x_range
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self._y_range
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (value - low) / (high - low)

    def x_ticks(self) -> None:
        for value in ticks(*self._x_range, most=8):
            self.text(self.x(value), HEIGHT - _BOTTOM + 15, f"{value:.6g}", "middle")

    def mark(self, kind: str, classes: str, title: str, **attributes: str) -> None:
        element = ElementTree.SubElement(self._root, kind, {"class": classes, **attributes})
        if title:
            ElementTree.SubElement(element, "title").text = title

    def dot(self, x: float, y: float, classes: str, title: str) -> None:
        self.mark("circle", classes, title, cx=f"{self.x(x):.1f}", cy=f"{self.y(y):.1f}", r="2.2")

    def bar(self, left: float, right: float, value: float, classes: str, title: str) -> None:
        top, width = self.y(value), max(right - left, 0.5)
        height = max(self.y(0) - top, 0.0)
        box = {"x": f"{left:.1f}", "y": f"{top:.1f}", "width": f"{width:.1f}", "height": f"{height:.1f}"}
        self.mark("rect", classes, title, **box)

    def text(self, x: float, y: float, text: str, anchor: str, **attributes: str) -> None:
        place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "class": "axis", **attributes}
        ElementTree.SubElement(self._root, "text", place).text = text

    def svg(self) -> str:
        return ElementTree.tostring(self._root, encoding="unicode")


def _widened(low: float, high: float) -> tuple[float, float]:
    """The same range, unless it is empty."""
    return (low, high) if high > low else (low, low + 1.0)
