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

"""`dkn bench --pareto` and `--all`."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from refusals import refused

from dkn import checkpoint
from dkn.benchmark.training import training_ratio
from dkn.cli import main
from dkn.engines import candidates
from dkn.engines.selection.autotuning import subject
from dkn.engines.selection.memory import recall
from dkn.errors import ConfigError
from dkn.utils.image_io import write_image


@pytest.fixture
def recording(tmp_path):
    """Two frames of a wall with a box before it."""
    rng = np.random.default_rng(0)
    depth = np.full((96, 128), 3000, np.uint16)
    depth[30:70, 40:90] = 1500
    for name in ("rgb", "depth_raw", "depth_gt_tsdf"):
        (tmp_path / "recording" / name).mkdir(parents=True)
    for i in range(2):
        color = rng.integers(0, 256, (96, 128, 3), np.uint8)
        write_image(tmp_path / "recording" / "rgb" / f"{i}.png", color)
        for name in ("depth_raw", "depth_gt_tsdf"):
            cv2.imwrite(str(tmp_path / "recording" / name / f"{i}.png"), depth)
    return tmp_path / "recording"


def test_error_against_time(recording, make_model, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    for name in ("m", "m_small"):
        make_model(tmp_path / "models" / f"{name}.safetensors")
    monkeypatch.setenv("DKN_MODELS", str(tmp_path / "models"))
    arguments = ["--data", f"recording={recording}", "--model", "m", "--device", "cpu", "--runs", "1"]
    out, figure = tmp_path / "o.json", tmp_path / "f.png"
    assert main(["bench", "--pareto", *arguments, "--json", str(out), "--figure", str(figure)]) == 0
    entries = json.loads(out.read_text())["entries"]
    assert [e["method"] for e in entries][-2:] == ["m", "m_small"]
    assert {"bicubic", "guided filter", "joint bilateral"} <= {e["method"] for e in entries}
    assert all(e["median_ms"] > 0 and e["rmse"] >= 0 and e["dataset"] == "recording" for e in entries)
    assert figure.stat().st_size > 1000
    assert "joint bilateral" in capsys.readouterr().out


def test_data_is_needed(capsys):
    assert main(["bench", "--pareto"]) != 0
    assert "--data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("--pareto --runs 0", "runs=0"),
        ("--pareto --limit 0", "limit=0"),
        ("--pareto --limit -1", "limit=-1"),
        ("--pareto --precision fp32", "--precision"),
        ("--pareto --engine torch", "--engine"),
        ("--pareto --size 640x480", "--size"),
        ("--pareto --sweep", "--sweep"),
        ("--pareto --figure f.xyz", "f.xyz"),
        ("--pareto --figure .", "folder"),
        ("--pareto --figure file/f.png", "file/f.png"),
        ("--pareto --json .", "folder"),
        ("--sweep --figure f", ".png"),
        ("--sweep --runs 0", "runs=0"),
        ("--profile --runs -1", "runs=-1"),
        ("--training --runs 0", "runs=0"),
        ("--training --runs -1", "runs=-1"),
        ("--registration --rooms -1", "rooms=-1"),
        ("--registration --runs 2", "--runs is for"),
        ("--registration --figure f.png", "--figure is for --pareto or --sweep, not for --registration"),
        ("--training --figure f.png", "--figure is for --pareto or --sweep, not for --training"),
        ("--training --model x", "--model is for"),
        ("--training --size 640x480", "--size is for the comparison of engines or --profile, not for --training"),
        ("--training --limit 3", "--limit is for --pareto, not for --training"),
        ("--sweep --model fdkn", "--model is for"),
        ("--sweep --data x", "--data is for --pareto"),
        ("--profile --engine torch", "--engine is for the comparison of engines, not for --profile"),
        ("--profile --all", "--all is for the comparison of engines"),
        ("--pareto --no-memory", "--no-memory is for the comparison of engines"),
        ("--pareto --rooms 2", "--rooms is for --registration"),
        ("--rooms 2", "--rooms is for --registration, not for the comparison of engines"),
        ("--limit 40", "--limit is for --pareto, not for the comparison of engines"),
    ],
)
def test_mistakes_are_refused_before_anything_is_measured(recording, monkeypatch, capfd, options, word):
    monkeypatch.chdir(recording)
    (recording / "file").touch()
    for name in ("benchmark", "pareto", "sweep", "profile", "training_ratio", "milliseconds"):
        monkeypatch.setattr(f"dkn.cli.bench.{name}", lambda *_, **__: pytest.fail("measured"))
    data = ["--data", f"recording={recording}"] if "--pareto" in options else []
    refused(capfd, main(["bench", *options.split(), *data]), word)


@pytest.mark.parametrize("runs", [0, -1])
def test_a_training_step_is_not_measured_never(runs):
    with pytest.raises(ConfigError, match="runs"):
        training_ratio("cpu", runs)


def test_every_precision_is_measured_and_remembered(make_model, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("DKN_CACHE", str(tmp_path / "cache"))
    path = make_model(tmp_path / "m_x8.safetensors")
    out = tmp_path / "b.json"
    given = ["bench", "--model", str(path), "--size", "64x48", "--device", "cpu", "--runs", "1", "--no-memory"]
    assert main([*given, "--all", "--engine", "onnx", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert [(r["engine"], r["precision"]) for r in found["results"]] == [
        ("onnx", "fp32"),
        ("onnx", "int8"),
        ("reference", "fp32"),
    ]
    compared = subject(checkpoint.load(path)[0].config, candidates(torch.device("cpu"), "onnx"))
    times = recall(compared, (48, 64))
    assert set(times) == {"onnx (cpu, fp32)", "onnx (cpu, int8)"}
    assert found["measured"] and found["chosen"] in times
    assert "chosen: onnx" in capsys.readouterr().out
