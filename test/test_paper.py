"""The quoted figures, against the text of the paper where it is at hand, and some by eye."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dkn.evaluation import paper

TEXT = Path(__file__).resolve().parents[2] / "shared" / "paper" / "dkn.txt"


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
