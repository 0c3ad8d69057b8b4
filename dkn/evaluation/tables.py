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

"""Several evaluations in one table: methods down, data sets, scales and degradations across. JSON and Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dkn.evaluation import paper
from dkn.evaluation.protocol import Evaluation
from dkn.evaluation.recorded import FIGURES
from dkn.utils.tables import markdown

_REMARK = (
    "*In italics: quoted from the paper, not measured here.* ‡ The paper took these from earlier work, whose "
    "low-resolution depth is not the bicubic one of the rows above (one pixel of each block fits its bicubic row): "
    "do not compare."
)
_SINTEL = " How the paper scaled Sintel's depth is not known: its figures there are of another kind."


@dataclass(frozen=True)
class Column:
    """One evaluation, with what is to be said beside it."""

    evaluation: Evaluation
    rows: Sequence[str] = ()
    """The table's methods in its order, where some may be absent; default: those that were measured."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Model file by method, where the method's name does not say it."""

    @property
    def methods(self) -> Sequence[str]:
        """In order, absent ones included."""
        return self.rows or [result.method for result in self.evaluation.results]

    @property
    def absent(self) -> list[str]:
        """Methods of the table that there is no model for."""
        measured = {result.method for result in self.evaluation.results}
        return [name for name in self.methods if name not in measured]

    @property
    def quotes(self) -> Sequence[paper.Quote]:
        """What the paper reports for this column."""
        e = self.evaluation
        return paper.table_2(e.dataset, e.scale) if e.degradation == "bicubic" else ()


def to_json(columns: Sequence[Column], quoted: bool = False) -> dict[str, Any]:
    """One evaluation as itself; several as a list under `tables`."""
    tables = []
    for column in columns:
        table = column.evaluation.to_json()
        if column.absent:
            table["absent"] = column.absent
        if column.files:
            table["models"] = dict(column.files)
        if quoted:
            table["quoted_from_the_paper"] = [quote._asdict() for quote in column.quotes]
        tables.append(table)
    return tables[0] if len(tables) == 1 else {"tables": tables}


def to_markdown(columns: Sequence[Column], quoted: bool = False) -> str:
    """RMSE of every method in every column, the best of each column in bold; below, in tables of their own, what else
    was measured."""
    methods = _union([c.methods for c in columns])
    heads = [_head(column, columns) for column in columns]
    rows = []
    errors = [{r.method: r.rmse for r in c.evaluation.results} for c in columns]
    best = [_best(values.values()) for values in errors]
    for method in methods:
        cells = [_cell(method, *given) for given in zip(errors, columns, best, strict=True)]
        rows.append([method, *cells])
    if quoted:
        quotes = [{quote.method: quote for quote in column.quotes} for column in columns]
        for name in _union([list(q) for q in quotes]):
            found = [q.get(name) for q in quotes]
            cells = ["" if q is None else f"*{q.rmse:.2f}*{' ‡' * q.other_input}" for q in found]
            rows.append([f"*paper: {name}*", *cells])
    text = markdown(["RMSE", *heads], rows) + "\n\n" + _counts(columns) + "\n"
    further = {"median_error": "median absolute error", **FIGURES, "flicker": "flicker"}
    for key, title in further.items():
        values = [{r.method: r.to_json().get(key) for r in c.evaluation.results} for c in columns]
        if any(value is not None for column in values for value in column.values()):
            text += "\n" + _more(title, values, methods, heads, largest=key == "completeness")
    remark = _REMARK + _SINTEL * any(c.evaluation.dataset == "sintel" for c in columns)
    return text + (f"\n{remark}\n" if quoted else "")


def _more(
    title: str, values: Sequence[Mapping[str, Any]], methods: Sequence[str], heads: Sequence[str], largest: bool
) -> str:
    """A further table of the same form, of what is not always measured; a share, of which the largest is the best, has
    no unit of its columns."""
    best = [_best(column.values(), largest) for column in values]
    rows = []
    for method in methods:
        found = [column.get(method) for column in values]
        rows.append([method, *("–" if v is None else _bold(v, b) for v, b in zip(found, best, strict=True))])
    return markdown([title, *(head.rpartition(", ")[0] if largest else head for head in heads)], rows) + "\n"


def _cell(method: str, errors: Mapping[str, float], column: Column, best: float | None) -> str:
    if method not in errors:
        return "absent" if method in column.absent else "–"
    return _bold(errors[method], best)


def _best(values: Iterable[float | None], largest: bool = False) -> float | None:
    """None where nothing was measured, or where all are equal."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    return (max if largest else min)(known) if known and (len(known) == 1 or len(set(known)) > 1) else None


def _bold(value: float, best: float | None) -> str:
    return f"**{value:.3f}**" if value == best else f"{value:.3f}"


def _head(column: Column, columns: Sequence[Column]) -> str:
    """What tells a column from the others, and its unit where they differ."""
    e, all_ = column.evaluation, [c.evaluation for c in columns]
    parts = [f"{e.dataset} {e.scale}×" if len({(o.dataset, o.scale) for o in all_}) > 1 else ""]
    parts += [e.degradation if len({o.degradation for o in all_}) > 1 else ""]
    text = " ".join(part for part in parts if part) or f"{e.dataset} {e.scale}× {e.degradation}"
    return f"{text}, {e.unit}"


def _counts(columns: Sequence[Column]) -> str:
    """On what the table was measured."""
    counts = _union([[f"{c.evaluation.dataset}, {c.evaluation.count} images" for c in columns]])
    left_out = _union([[f"{_head(c, columns)}: {words}" for words in c.evaluation.left_out()] for c in columns])
    scales = _union([[f"{c.evaluation.scale}×" for c in columns]])
    kinds = _union([[c.evaluation.degradation for c in columns]])
    text = f"Measured on {'; '.join(counts)}; {', '.join(scales)}; input: {', '.join(kinds)}."
    files = _union([[f"{name} = {file}" for c in columns for name, file in c.files.items()]])
    text += f" {'; '.join(left_out)}." if left_out else ""
    return text + (f" Models: {', '.join(files)}." if files else "")


def _union(lists: Sequence[Sequence[str]]) -> list[str]:
    """Every entry once, in the order of its first appearance."""
    return list(dict.fromkeys(entry for entries in lists for entry in entries))
