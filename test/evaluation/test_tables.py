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

"""Tables as JSON and Markdown, by hand, and which model stands for which row of Table 2."""

from __future__ import annotations

import math

from dkn.evaluation import Evaluation, Result, tables
from dkn.evaluation.tables import Column
from dkn.experiments import table2
from dkn.networks.config import NetworkConfig

SMALL = {"n1": 8, "n2": 8}


def column(scale: int = 8, kind: str = "bicubic", rmse: float = 2.0, dataset: str = "nyu", **more) -> Column:
    results = [Result("bicubic", 5.0, 0.1), Result("FDKN", rmse, 0.2)]
    return Column(Evaluation(dataset, scale, kind, "cm", 3, results), **more)


def test_one_evaluation_is_itself():
    one = column()
    assert tables.to_json([one]) == one.evaluation.to_json()
    assert list(tables.to_json([one])) == ["dataset", "scale", "degradation", "unit", "count", "results"]
    assert tables.to_markdown([one]).splitlines()[:4] == [
        "| RMSE | nyu 8× bicubic, cm |",
        "|---|---:|",
        "| bicubic | 5.000 |",
        "| FDKN | **2.000** |",
    ]


def test_degradations_across():
    text = tables.to_markdown([column(), column(kind="noise", rmse=math.nan)]).splitlines()
    assert text[0] == "| RMSE | bicubic, cm | noise, cm |"
    assert text[2] == "| bicubic | 5.000 | **5.000** |"
    assert text[3] == "| FDKN | **2.000** | nan |"
    assert text[5] == "Measured on nyu, 3 images; 8×; input: bicubic, noise."


def test_table_2_has_absent_rows_and_marks_what_is_quoted():
    rows = ["bicubic", "FDKN", "DKN"]
    columns = [column(4, rows=rows, files={"FDKN 4×": "fdkn_x4"}), column(8, rows=rows)]
    lines = tables.to_markdown(columns, quoted=True).splitlines()
    assert lines[0] == "| RMSE | nyu 4×, cm | nyu 8×, cm |"
    assert lines[4] == "| DKN | absent | absent |"
    assert "| *paper: Bicubic Int.* | *8.16* ‡ | *14.22* ‡ |" in lines
    assert "| *paper: FDKN* | *1.86* | *3.58* |" in lines
    assert any("FDKN 4× = fdkn_x4" in line for line in lines)
    assert any(line.startswith("*In italics: quoted") and "do not compare" in line for line in lines)
    found = tables.to_json(columns, quoted=True)["tables"]
    assert [table["absent"] for table in found] == [["DKN"], ["DKN"]]
    assert found[0]["models"] == {"FDKN 4×": "fdkn_x4"}
    assert {"method": "DKN", "rmse": 3.26, "other_input": False} in found[1]["quoted_from_the_paper"]


def test_sintel_has_a_remark_of_its_own():
    assert "Sintel" not in tables.to_markdown([column(dataset="lu")], quoted=True)
    assert "Sintel" in tables.to_markdown([column(), column(dataset="sintel")], quoted=True)


def test_the_paper_has_no_figures_for_other_inputs():
    assert "paper:" not in tables.to_markdown([column(kind="noise"), column(dataset="recording")], quoted=True)


def test_what_is_measured_besides():
    results = [Result("bicubic", 5.0, 0.1, median_error=0.6, flicker=0.4), Result("other", 6.0, 0.1)]
    lines = tables.to_markdown([Column(Evaluation("recording", 8, "area", "cm", 3, results))]).splitlines()
    assert "| median absolute error | recording 8× area, cm |" in lines
    assert "| bicubic | **0.600** |" in lines
    assert "| flicker | recording 8× area, cm |" in lines
    assert "| bicubic | **0.400** |" in lines
    assert lines.count("| other | – |") == 2


def test_the_largest_share_is_the_best():
    recorded = [{"completeness": share, "mean_error": 1.0} for share in (90.0, 95.0)]
    results = [Result(name, 5.0, 0.1, recorded=r) for name, r in zip(("bicubic", "other"), recorded, strict=True)]
    lines = tables.to_markdown([Column(Evaluation("recording", 8, "area", "cm", 3, results))]).splitlines()
    where = lines.index("| share of the pixels with depth, % | recording 8× area |")
    assert lines[where + 2 : where + 4] == ["| bicubic | 90.000 |", "| other | **95.000** |"]
    assert "| other | 1.000 |" in lines  # where all are equal, none is the best


def test_models_of_table_2(tmp_path, make_model):
    make_model(tmp_path / "fdkn_x8.safetensors", 8)
    make_model(tmp_path / "fdkn_sensor_x8.safetensors", 8)
    make_model(tmp_path / "fdkn_x4.safetensors", 4)
    make_model(tmp_path / "dkn_x8.safetensors", 8, NetworkConfig("dkn", **SMALL))
    make_model(tmp_path / "plain_x8.safetensors", 8, NetworkConfig(residual=False, **SMALL))
    make_model(tmp_path / "alone_x8.safetensors", 8, NetworkConfig(guidance="none", **SMALL))
    make_model(tmp_path / "odd_x8.safetensors", 8, NetworkConfig(guidance="none", residual=False, **SMALL))
    (tmp_path / "broken_x8.safetensors").write_text("not a model")
    found = {name: path.stem for name, path in table2.find_rows(8, tmp_path).items()}
    assert found == {"FDKN †": "alone_x8", "FDKN w/o Res.": "plain_x8", "FDKN": "fdkn_x8", "DKN": "dkn_x8"}
    assert list(table2.find_rows(4, tmp_path)) == ["FDKN"]
    assert table2.find_rows(16, tmp_path) == {}
