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

"""The quoted figures, against the text of the paper where it is at hand, and some by eye."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dkn.evaluation import paper

TEXT = Path(__file__).resolve().parents[3] / "shared" / "paper" / "dkn.txt"


@pytest.fixture
def lines() -> list[str]:
    if not TEXT.is_file():
        pytest.skip("the text of the paper is not here")
    return re.sub("</?u>", "", TEXT.read_text()).splitlines()


def test_table_2_by_eye():
    assert [q.rmse for q in paper.table_2("nyu", 8)][-2:] == [3.58, 3.26]
    assert paper.table_2("middlebury", 16)[0] == paper.Quote("Bicubic Int.", 11.87, True)
    assert paper.table_2("sintel", 4)[0] == paper.Quote("Bicubic Int.", 6.54, False)
    assert paper.table_2("lu", 16)[-1] == paper.Quote("DKN", 5.11, False)
    assert paper.table_2("nyu", 2) == paper.table_2("recording", 8) == []


def test_table_2_is_the_papers(lines):
    start = next(i for i, line in enumerate(lines) if line.startswith("Methods\t4×\t8×"))
    rows = [line.split("\t") for line in lines[start + 1 : start + 19]]
    columns = [(dataset, scale) for dataset in paper.DATASETS for scale in paper.SCALES]
    for column, (dataset, scale) in enumerate(columns, start=1):
        quotes = paper.table_2(dataset, scale)
        assert [q.rmse for q in quotes] == [float(row[column]) for row in rows]
        for quote, row in zip(quotes, rows, strict=True):
            assert re.sub(r"\W|\d", "", row[0]).startswith(re.sub(r"\W", "", quote.method))


def test_table_4_by_eye():
    assert paper.table_4("dkn", "both", "both", True, 3) == 3.26
    assert paper.table_4("fdkn", "rgb", "none", False, 25) == 5.99
    assert paper.table_4("fdkn", "depth", "depth", False, 5) == 4.13
    assert paper.table_4("fdkn", "both", "both", True, 15) is None
    assert paper.table_4("fdkn", "both", "none", True, 3) is None


def test_table_4_is_the_papers(lines):
    start = next(i for i, line in enumerate(lines) if line.startswith("Weight learning\t"))
    rows = [line.split("\t") for line in lines[start + 2 : start + 9]]
    source = {"✓ ": "rgb", " ✓": "depth", "✓✓": "both", "  ": "none"}
    for row in rows:
        weights, offsets = (source["".join(cell or " " for cell in row[i : i + 2])] for i in (0, 2))
        for size, cell in zip(paper.TABLE_4_KERNEL_SIZES, row[5:], strict=True):
            found = [paper.table_4(a, weights, offsets, bool(row[4]), size) for a in ("dkn", "fdkn")]
            assert found == ([None, None] if cell == "–" else [float(v) for v in cell.split("/")])
    assert len(rows) == len(paper.TABLE_4_ROWS) == 7


def test_supplement_by_eye():
    assert paper.SUPPLEMENT_TABLE_2[256, 1024] == ((3.15, 3.42), (0.36, 0.02), (5.8, 5.9), (23.0, 24.2))
    assert paper.SUPPLEMENT_TABLE_3[16, 4] == (9.04, 19.12)
    assert paper.SUPPLEMENT_TABLE_4["sintel", "DKN"][0] == 5.79
    assert paper.SALIENCY["FDKN"] == 0.9606
    assert (paper.NOISE["GF"], paper.NOISE["DKN"]) == (5.34, 2.46)
    assert paper.SEGMENTATION["FDKN"] == 73.60


def cells(lines, after, first, count=1):
    """Rows that begin with `first`, below the line that begins with `after`, as cells."""
    start = next(i for i, line in enumerate(lines) if line.startswith(after))
    found = next(i for i in range(start, len(lines)) if lines[i].startswith(first))
    rows = [line.split("\t") for line in lines[found : found + count]]
    return rows if count > 1 else rows[0]


def numbers(text):
    return tuple(float(part) for part in text.split("/"))


def test_the_supplements_table_2_is_the_papers(lines):
    about = "Table 2. Quantitative comparison of using different number of channels"
    rows = cells(lines, about, "n_1\t", 6)
    columns = list(zip(*(row[1:] for row in rows), strict=True))
    assert len(columns) == len(paper.SUPPLEMENT_TABLE_2)
    for (n1, n2, *figures), (key, quoted) in zip(columns, paper.SUPPLEMENT_TABLE_2.items(), strict=True):
        assert (int(n1), int(n2)) == key
        assert tuple(numbers(figure) for figure in figures) == quoted


def test_the_supplements_table_3_is_the_papers(lines):
    rows = cells(lines, "Table 3. RMSE comparison (DKN/DJFR", "4×\t", 3)
    found = {(train, test): numbers(row[1 + i]) for row, train in zip(rows, paper.SCALES, strict=True)
             for i, test in enumerate(paper.SCALES)}  # fmt: skip
    assert found == paper.SUPPLEMENT_TABLE_3


def test_the_supplements_table_4_is_the_papers(lines):
    head, *rows = cells(lines, "Table 4. RMSE comparison by varying", "Datasets\t", 7)
    assert tuple(map(int, head[2:])) == paper.TRAINING_SIZES
    found = {}
    for i, (_, method, *figures) in enumerate(rows):
        found["nyu" if i < 3 else "sintel", method.split(" ")[0]] = tuple(map(float, figures))
    assert found == paper.SUPPLEMENT_TABLE_4


def test_the_other_figures_of_the_supplement_are_the_papers(lines):
    names = [name.split(" [")[0] for name in cells(lines, "Table 5. Quantitative comparison on sal", "Bicubic Int.")]
    figures = cells(lines, "Table 5. Quantitative comparison on sal", "0.8860")
    assert dict(zip(names, map(float, figures), strict=True)) == paper.SALIENCY
    about = "Table 6. Quantitative comparison on semantic"
    names = [name.split(" [")[0] for name in cells(lines, about, "Methods")[1:]]
    figures = cells(lines, about, "Mean IoU")[1:]
    assert dict(zip(names, map(float, figures), strict=True)) == paper.SEGMENTATION
    sentence = next(line for line in lines if "average RMSE for GF [7], Yan" in line)
    assert "GF [7], Yan [24], SDF [5], DJF [14], and DKN on depth noise removal are" in sentence
    assert ", ".join(f"{v:.2f}" for v in list(paper.NOISE.values())[:4]) + ", and 2.46" in sentence
    assert list(paper.NOISE) == ["GF", "Yan", "SDF", "DJF", "DKN"]
