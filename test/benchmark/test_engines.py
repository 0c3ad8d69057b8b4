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

"""`dkn bench`: what it says about the engines is true of them. Times are not asserted."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from torch import Tensor

from dkn.benchmark import engines as bench
from dkn.benchmark import timing, training
from dkn.cli import main
from dkn.cli.bench import draw
from dkn.engines.folding import flops
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import DKN, FDKN, build
from dkn.networks.weights import Weights
from dkn.training import Trainer
from dkn.utils.device import CPU

KEYS = {"device", "model", "size", "runs", "results"}
RESULT_KEYS = {"engine", "median_ms", "peak_mb", "max_abs_error_m"}


def test_the_command(make_model, tmp_path, capsys):
    path = make_model(tmp_path / "m_x8.safetensors")
    out = tmp_path / "b.json"
    arguments = ["--model", str(path), "--size", "64x48", "--device", "cpu", "--runs", "1", "--no-memory"]
    assert main(["bench", *arguments, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found.keys() >= KEYS
    assert (found["model"], found["size"], found["runs"]) == ("m_x8", "64x48", 1)
    results = {r["engine"]: r for r in found["results"]}
    assert {"reference", "torch"} <= results.keys()
    assert all(r.keys() >= RESULT_KEYS and r["median_ms"] > 0 for r in results.values())
    assert results["reference"]["max_abs_error_m"] == 0
    for name, r in results.items():
        # White-box in one respect: no engine equals the reference to the last bit.
        assert name == "reference" or 0 < r["max_abs_error_m"] < 0.3
    assert found["upsampler_ratio"] > 0
    assert "whole Upsampler" in capsys.readouterr().out


def test_memory_is_that_of_a_process_of_its_own(make_model, tmp_path):
    path = str(make_model(tmp_path / "m_x8.safetensors"))
    held = np.ones(400_000_000, np.uint8)  # by the process that asks
    result = bench.benchmark(path, (64, 48), "cpu", engines=["reference"], runs=1)
    del held
    assert [r.engine for r in result.results] == ["reference"]
    assert 100 < result.results[0].peak_mb < 560


def test_differences_are_metres(make_model, tmp_path, monkeypatch):
    class Off:
        name = "torch"

        def __init__(self, *_: object):
            pass

        def __call__(self, color: np.ndarray, depth: np.ndarray) -> np.ndarray:
            return reference(color, depth) + 0.02

    path = make_model(tmp_path / "m_x8.safetensors")
    weights = bench.open_model(str(path))[0]
    reference = bench.Choice("reference", CPU, "fp32").make(weights)
    monkeypatch.setattr(bench, "Upsampler", lambda *a, **k: lambda color, low: None)
    make = bench.Choice.make
    monkeypatch.setattr(bench.Choice, "make", lambda c, n: Off() if c.name == "torch" else make(c, n))
    result = bench.benchmark(str(path), (64, 48), "cpu", engines=["torch"], runs=1, memory=False)
    assert result.results[0].max_abs_error_m == pytest.approx(0.2, rel=1e-3)
    assert result.results[0].mean_abs_error_m == pytest.approx(0.2, rel=1e-3)


def test_an_architecture_without_a_model_runs_with_random_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("DKN_MODELS", str(tmp_path))
    result = bench.benchmark("dkn", (48, 40), "cpu", engines=["torch"], runs=1, memory=False)
    assert result.model == "dkn (random weights)"
    assert result.upsampler_ratio is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--runs", "0"], "at least one"),
        (["--model", "nothing"], "no model 'nothing'"),
        (["--figure", "f.png"], "--sweep"),
        (["--engine", "cuda"], "cuda"),
        (["--engine", "torch", "--precision", "fp16"], "fp16"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, words, capsys):
    assert main(["bench", "--size", "64x48", "--device", "cpu", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


@pytest.mark.parametrize("size", ["64", "64x", "8x8", "axb"])
def test_a_size_that_is_none(size, capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--size", size])
    assert "size" in capsys.readouterr().err


def test_turns_are_taken_and_the_second_frame_counts():
    calls: list[str] = []

    def slow_at_first(name: str) -> None:
        if not calls or calls[-1] != name:
            time.sleep(0.02)
        calls.append(name)

    turns = {name: (lambda name=name: slow_at_first(name)) for name in "ab"}
    times = timing.interleave(turns, 2, "", CPU)
    assert calls == list("aabb" * (2 + timing.WARM_UP))
    assert max(times.values()) < 0.02


def test_flops():
    """FDKN by hand, a feature pixel of 16: supplement Table 1."""
    network = build(NetworkConfig())
    layers = 9 * (32 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128) + 128 * 27 * 16
    expected = 2 * (2 * layers + 9 * 32 * (48 + 16)) * 64 * 48 / 16
    assert isinstance(network, FDKN)
    assert flops(Weights.of(network), (64, 48)) == expected
    # About 26.5 and 742 GFLOP at VGA.
    assert flops(Weights.of(network), (640, 480)) / 1e9 == pytest.approx(26.5, rel=0.05)
    dkn = build(NetworkConfig("dkn"))
    assert isinstance(dkn, DKN)
    assert flops(Weights.of(dkn), (640, 480)) / 1e9 == pytest.approx(720, rel=0.05)


def test_sweep_and_its_picture(tmp_path):
    pytest.importorskip("matplotlib")
    points = bench.sweep("cpu", sizes=[(64, 48), (96, 64)], kernel_sizes=[3], runs=1)
    assert [(p.architecture, p.size) for p in points] == [
        (name, size) for name in ("fdkn", "dkn") for size in ("64x48", "96x64")
    ]
    for small, large in (points[:2], points[2:]):
        assert large.gflop / small.gflop == pytest.approx(2)
    draw(points, tmp_path / "sub" / "f.png")
    assert (tmp_path / "sub" / "f.png").read_bytes().startswith(b"\x89PNG")


def test_the_plain_training_step_is_the_same_step(monkeypatch):
    """Both forms see the same pictures and, in float32, lose the same."""
    losses: dict[int, list[float]] = {}
    step = Trainer.train_step

    def note(trainer: Trainer) -> Tensor:
        loss = step(trainer)
        losses.setdefault(id(trainer), []).append(float(loss))
        return loss

    monkeypatch.setattr(Trainer, "train_step", note)
    for module in (timing, training):
        monkeypatch.setattr(module, "WARM_UP", 0)
    result = training.training_ratio("cpu", runs=1)
    assert result.ratio == pytest.approx(result.plain_ms / result.median_ms)
    ours, plain = losses.values()
    assert ours[0] == pytest.approx(plain[0], rel=2e-2)  # bfloat16 here, float32 there
