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

"""`dkn evaluate` over several data sets, scales and degradations, its pictures, and what it refuses."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from refusals import refused

from dkn.cli import main
from dkn.depth.degradation import DEGRADATIONS
from dkn.networks.config import NetworkConfig
from dkn.upsampler import Upsampler


@pytest.fixture(autouse=True)
def models(tmp_path_factory, make_model, monkeypatch):
    folder = tmp_path_factory.mktemp("models")
    for scale in (4, 8):
        make_model(folder / f"fdkn_x{scale}.safetensors", scale, seed=scale)
    make_model(folder / "alone_x8.safetensors", 8, NetworkConfig(guidance="none", n1=8, n2=8))
    monkeypatch.setenv("DKN_MODELS", str(folder))
    return folder


def run(data, *more) -> int:
    return main(["evaluate", f"--data={data}", "--limit=1", *map(str, more)])


def test_all_degradations(tiny_nyu, tmp_path, capfd):
    files = [f"--json={tmp_path / 'o.json'}", f"--markdown={tmp_path / 'new' / 'o.md'}"]
    assert run(tiny_nyu, "--scale=4", "--degradation", "all", "--model=fdkn", *files) == 0
    found = json.loads((tmp_path / "o.json").read_text())["tables"]
    assert [table["degradation"] for table in found] == list(DEGRADATIONS)
    assert all([row["method"] for row in table["results"]] == ["bicubic", "fdkn_x4"] for table in found)
    markdown = (tmp_path / "new" / "o.md").read_text()
    head = [cell.strip() for cell in markdown.splitlines()[0].split("|")[2:-1]]
    assert head == [f"{kind}, cm" for kind in DEGRADATIONS]
    assert markdown in capfd.readouterr().out


def test_a_family_over_several_scales_is_one_row(tiny_nyu, tmp_path):
    assert run(f"nyu={tiny_nyu}", "--scale", 4, 8, "--model=fdkn", f"--json={tmp_path / 'o.json'}") == 0
    found = json.loads((tmp_path / "o.json").read_text())["tables"]
    assert [(table["scale"], table["results"][1]["method"]) for table in found] == [(4, "fdkn"), (8, "fdkn")]
    single = tmp_path / "single.json"
    run(tiny_nyu, "--scale", 8, "--model=fdkn_x8", f"--json={single}")
    assert found[1]["results"][1]["rmse"] == json.loads(single.read_text())["results"][1]["rmse"]


def test_table_2(tiny_nyu, tmp_path, capfd):
    files = [f"--json={tmp_path / 'o.json'}", f"--figure={tmp_path / 'f.png'}"]
    assert run(tiny_nyu, "--table2", "--scale", 4, 8, *files) == 0
    four, eight = json.loads((tmp_path / "o.json").read_text())["tables"]
    names = [row["method"] for row in eight["results"]]
    assert names == [
        "bicubic",
        "guided filter",
        "joint bilateral",
        "fast bilateral solver",
        "fast global smoother",
        "FDKN †",
        "FDKN",
    ]
    assert eight["models"] == {"FDKN † 8×": "alone_x8", "FDKN 8×": "fdkn_x8"}
    assert eight["absent"] == ["DKN †", "FDKN w/o Res.", "DKN w/o Res.", "DKN"]
    assert "FDKN †" in four["absent"]
    assert "| FDKN † | absent |" in capfd.readouterr().out
    picture = cv2.imread(str(tmp_path / "f.png"))
    assert picture.shape[0] > 4 * 224  # two tables, two rows each


def test_flicker(tiny_nyu, tmp_path):
    assert run(tiny_nyu, "--degradation", "noise", "bicubic", "--flicker", f"--json={tmp_path / 'o.json'}") == 0
    noise, still = json.loads((tmp_path / "o.json").read_text())["tables"]
    assert noise["results"][0]["flicker"] > 0.5
    assert still["results"][0]["flicker"] == 0


def test_kernels(tiny_nyu, tmp_path):
    more = ["--model=fdkn_x8", "--model=alone_x8", "--show-kernels", "20,30", "40,10", f"--figure={tmp_path / 'k.png'}"]
    assert run(tiny_nyu, *more, "--image=2") == 0
    picture = cv2.imread(str(tmp_path / "k.png"))
    assert picture.shape[1] > 2 * 3 * 14 * 23  # three panels a model
    assert np.ptp(picture) == 255


@pytest.mark.parametrize("more", [[], ["--show-kernels", "20,30"]])
def test_colour_is_moved_or_not_as_it_is_told(tiny_nyu, tmp_path, monkeypatch, more):
    """In pictures of kernels, too."""
    told = []
    monkeypatch.setattr(Upsampler, "_aligned", lambda _, color, low, options: told.append(options.align_color) or color)
    figure = f"--figure={tmp_path / 'k.png'}"
    for option in ("--align-color", "--no-align-color"):
        assert run(tiny_nyu, "--model=fdkn_x8", "--limit=1", option, figure, *more) == 0
    assert set(told[: len(told) // 2]) == {True} and set(told[len(told) // 2 :]) == {False}


def test_mistakes(tiny_nyu, tmp_path, capfd):
    figure = f"--figure={tmp_path / 'f.png'}"
    refused(capfd, run(tiny_nyu, "--show-kernels", "3,3", "--model=fdkn"), "--figure")
    refused(capfd, run(tiny_nyu, "--show-kernels", "3,3", "--scale", 4, 8, "--model=fdkn", figure), "one scale")
    refused(capfd, run(tiny_nyu, "--show-kernels", "3,3", figure), "--model")
    refused(capfd, run(tiny_nyu, "--show-kernels", "64,3", "--model=fdkn", figure), "64,3", "64x48")
    refused(capfd, run(tiny_nyu, "--image=3", figure), "--image 3", "0 to 2")
    refused(capfd, run(f"recording={tmp_path}"), "rgb")
    refused(capfd, run(tiny_nyu, "--limit=0"), "limit=0")
    with pytest.raises(SystemExit):
        run(tiny_nyu, "--show-kernels", "3;3")
    assert "no pixel" in capfd.readouterr().err


@pytest.mark.parametrize("option", ["--figure=f.jpg", "--figure=.", "--json=.", "--markdown=.", "--json=file/o.json"])
def test_output_that_cannot_be_written_is_refused_before_the_work(tiny_nyu, tmp_path, capfd, monkeypatch, option):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert run(tiny_nyu, option) == 2
    out, error = capfd.readouterr()
    assert not out and len(error.splitlines()) == 1
    assert option.partition("=")[2] in error


def test_ablate(tiny_nyu, tmp_path, capfd):
    more = ["--steps=1", "--batch-size=1", "--crop=16", "--n1=8", "--n2=8", "--fp32", "--scale=4", "--limit=1"]
    assert main(["ablate", f"--data={tiny_nyu}", f"--out={tmp_path}", "--kernel-sizes", "3", *more]) == 0
    assert "| RGB + depth | RGB + depth | yes |" in capfd.readouterr().out
    refused(
        capfd, main(["ablate", f"--data={tiny_nyu}", f"--out={tmp_path}", *more, "--kernel-sizes", "4"]), "kernel_size"
    )
