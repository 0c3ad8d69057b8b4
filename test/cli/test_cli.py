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

"""The `dkn` command on tiny data, and one line for each of a user's mistakes."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from refusals import refused

from dkn import checkpoint
from dkn.cli import COMMANDS, main
from dkn.networks.config import NetworkConfig

TRAIN = ["--scale=4", "--batch-size=2", "--crop=16", "--n1=8", "--n2=8", "--fp32"]


@pytest.fixture
def pair(tmp_path, make_scene):
    """A colour picture of 48×64, and its depth in millimetres at the same size."""
    color, depth = make_scene(48, 64)
    cv2.imwrite(str(tmp_path / "color.png"), color[..., ::-1])
    cv2.imwrite(str(tmp_path / "depth.png"), np.rint(1000 * depth).astype(np.uint16))
    return tmp_path


@pytest.fixture
def model(tmp_path, make_model):
    return make_model(tmp_path / "net.safetensors", scale=4)


def upsample(folder, model, *more):
    files = [f"--color={folder / 'color.png'}", f"--depth={folder / 'depth.png'}", f"--out={folder / 'new' / 'o.png'}"]
    return main(["upsample", *files, f"--model={model}", *map(str, more)])


def test_upsample(pair, model):
    cv2.imwrite(str(pair / "depth.png"), cv2.imread(str(pair / "depth.png"), cv2.IMREAD_UNCHANGED)[2::4, 2::4])
    assert upsample(pair, model, "--figure", pair / "f.png") == 0
    result = cv2.imread(str(pair / "new" / "o.png"), cv2.IMREAD_UNCHANGED)
    assert result.shape == (48, 64)
    assert result.dtype == np.uint16
    assert 500 < result.min() <= result.max() < 6000
    picture = cv2.imread(str(pair / "f.png"))
    assert picture.shape[1] >= 3 * 64
    assert picture.shape[2] == 3


def test_upsample_reduces_the_depth_first(pair, model):
    assert upsample(pair, model, "--scale", 4) == 0
    reduced = cv2.imread(str(pair / "new" / "o.png"), cv2.IMREAD_UNCHANGED).astype(int)
    assert reduced.shape == (48, 64)
    truth = cv2.imread(str(pair / "depth.png"), cv2.IMREAD_UNCHANGED).astype(int)
    assert 0 < np.abs(reduced - truth).mean() < 300


def test_upsample_holes(pair, model):
    depth = cv2.imread(str(pair / "depth.png"), cv2.IMREAD_UNCHANGED)
    depth[8:16, 8:16] = 0
    cv2.imwrite(str(pair / "depth.png"), depth)
    upsample(pair, model)
    cut = cv2.imread(str(pair / "new" / "o.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(cut == 0, depth == 0)
    upsample(pair, model, "--fill-holes")
    assert cv2.imread(str(pair / "new" / "o.png"), cv2.IMREAD_UNCHANGED).min() > 0


def test_train_then_resume_then_evaluate(tiny_nyu, tmp_path, capfd):
    common = ["train", f"--data={tiny_nyu}", "--hold-out", "--terms=research alone", "--steps=4", *TRAIN]
    run = [*common, f"--out={tmp_path / 'run'}"]
    # A sitting of no length: it stops at once, whatever the speed of the machine.
    assert main([*run, "--minutes=0.00001"]) == 0
    assert main([*run, "--resume"]) == 0
    _, info = checkpoint.load(tmp_path / "run" / "model.safetensors")
    assert info.network == NetworkConfig(n1=8, n2=8)
    assert info.training["steps"] == 4
    assert info.training["test_images"] == 3
    assert (info.training["images"], info.training["terms"]) == (900, "research alone")
    assert info.training["held_out"] == "pairs 900 to 999 of NYU v2"

    assert main([*common, f"--out={tmp_path / 'straight'}"]) == 0
    a, b = (checkpoint.load(tmp_path / name / "model.safetensors")[0] for name in ("run", "straight"))
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    capfd.readouterr()

    models = [f"--model={tmp_path / name / 'model.safetensors'}" for name in ("run", "straight")]
    common = ["evaluate", f"--data={tiny_nyu}", "--scale=4", "--limit=2"]
    assert main([*common, *models, "--baselines", f"--json={tmp_path / 'o.json'}"]) == 0
    table = json.loads((tmp_path / "o.json").read_text())
    assert list(table) == ["dataset", "scale", "degradation", "unit", "count", "results"]
    assert (table["dataset"], table["scale"], table["degradation"]) == ("nyu", 4, "bicubic")
    assert (table["unit"], table["count"]) == ("cm", 2)
    rows = {row["method"]: row["rmse"] for row in table["results"]}
    assert len(rows) == len(table["results"]) == 7  # both models, though their files have one name
    assert "bicubic" in rows
    assert all(np.isfinite(rmse) for rmse in rows.values())
    out = capfd.readouterr().out
    assert all(name in out for name in rows)


def test_options_reach_the_network(tiny_nyu, tmp_path):
    run = ["train", f"--data={tiny_nyu}", f"--out={tmp_path}", "--steps=9", "--minutes=0.00001", *TRAIN]
    options = ["--kernel-size=5", "--window=11", "--guidance=grey", "--weights-from=depth", "--offsets-from=none"]
    assert main([*run, *options, "--no-residual"]) == 0
    _, info = checkpoint.load(tmp_path / "model.safetensors")
    assert info.network == NetworkConfig(
        "fdkn", 5, 11, residual=False, guidance="grey", weights_from="depth", offsets_from="none", n1=8, n2=8
    )


def test_recipes_and_what_is_otherwise(tiny_nyu, tmp_path):
    run = ["train", f"--data={tiny_nyu}", "--minutes=0.00001", "--n1=8", "--n2=8", "--scale=4"]

    def trained(name: str, *options: str) -> dict:
        assert main([*run, f"--out={tmp_path / name}", *options]) == 0
        return checkpoint.load(tmp_path / name / "model.safetensors")[1].training["recipe"]

    paper = trained("paper", "--recipe=paper")
    assert (paper["steps"], paper["crop"], paper["optimiser"], paper["bf16"]) == (40_000, 0, "adam", False)
    assert trained("flips", "--recipe=paper", "--flips", "--steps=7") == paper | {"flips": True, "steps": 7}
    best = trained("best", "--crop=16", "--no-bf16")
    assert (best["optimiser"], best["schedule"], best["loss"]) == ("muon", "cosine", "rmse")
    others = ["--optimiser=adam", "--schedule=steps", "--loss=l1", "--ema-decay=0", "--warmup-steps=3", "--no-flips"]
    changed = trained("changed", "--crop=16", "--fp32", *others, "--color-jitter=0.2", "--batch-size=1")
    names = ("optimiser", "schedule", "loss", "ema_decay", "warmup_steps", "flips", "color_jitter", "batch_size")
    assert [changed.pop(name) for name in names] == ["adam", "steps", "l1", 0, 3, False, 0.2, 1]
    assert changed == {key: value for key, value in best.items() if key not in names}


@pytest.mark.parametrize("all_layers", [False, True], ids=["last layers", "then all"])
def test_train_a_dkn_on_cells_first(tiny_nyu, tmp_path, capfd, all_layers):
    """One command or several: the same model. A sitting that ends in the first round goes on there."""
    common = ["train", f"--data={tiny_nyu}", *TRAIN, "--model=dkn", "--steps=2"]
    one = [*common, f"--out={tmp_path / 'one'}", "--warm-start", "3", *["2"] * all_layers]
    assert main([*one, "--minutes=0.00001"]) == 0
    assert not (tmp_path / "one" / "model.safetensors").exists()
    assert main([*one, "--resume"]) == 0
    cells = ["train", f"--data={tiny_nyu}", *TRAIN, "--model=cells"]
    assert main([*cells, "--steps=3", f"--out={tmp_path / 'c'}"]) == 0
    init = f"--init={tmp_path / 'c' / 'cells.safetensors'}"
    if all_layers:
        widths = ["--widths", "32", "32", "64", "64", "128"]
        assert main([*cells, *widths, "--steps=2", f"--out={tmp_path / 'a'}", init]) == 0
        init = f"--init={tmp_path / 'a' / 'cells.safetensors'}"
    assert main([*common, f"--out={tmp_path / 'two'}", init]) == 0
    (a, info), (b, other) = (checkpoint.load(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    assert info.training["recipe"] == other.training["recipe"] | {"minutes": info.training["recipe"]["minutes"]}
    assert info.training["recipe"]["freeze_first_norms"]
    assert info.training["begun_from"] == f"nyu, 4x, {3 - all_layers} steps of a network on cells"
    assert "RMSE" in capfd.readouterr().out
    fdkn = ["train", f"--data={tiny_nyu}", *TRAIN, f"--out={tmp_path}", "--steps=2"]
    for wrong in ([*fdkn, "--warm-start", "3"], [*common, f"--out={tmp_path}", "--warm-start", "1", "2", "3"]):
        assert main(wrong) != 0
        assert "--warm-start" in capfd.readouterr().err


def test_train_a_sensor_model(tiny_nyu, tmp_path, capfd):
    """From a plain model; for every scale; evaluated on what sensors do."""
    common = [f"--data={tiny_nyu}", "--n1=8", "--n2=8", "--crop=16", "--batch-size=1", "--fp32", "--steps=2"]
    assert main(["train", *common, f"--out={tmp_path / 'plain'}", "--scale=8"]) == 0
    capfd.readouterr()
    start = tmp_path / "plain" / "model.safetensors"
    run = ["train", *common, f"--out={tmp_path / 'sensor'}", "--degradation=sensor", f"--init={start}"]
    assert main(run) == 0
    _, info = checkpoint.load(tmp_path / "sensor" / "model.safetensors")
    assert info.network == NetworkConfig(n1=8, n2=8, depth_channels=4, window=63)
    assert info.scale is None
    assert info.training["recipe"]["scale"] == [1, 2, 4, 8, 16]
    assert set(info.training["test_rmse_cm"]) == {"8x bicubic", "8x nearest", "8x noise", "8x holes"}
    assert info.training["begun_from"] == "nyu, 8x, 2 steps"
    model = f"--model={tmp_path / 'sensor' / 'model.safetensors'}"
    command = ["evaluate", f"--data={tiny_nyu}", "--scale", "1", "4", "--degradation=holes", "--limit=1", model]
    assert main(command) == 0
    assert main([*run, "--resume", "--scale", "2", "4"]) == 2
    assert "another scale" in capfd.readouterr().err


def test_evaluate_prints_other_degradations(tiny_nyu, capfd):
    assert main(["evaluate", f"--data={tiny_nyu}", "--scale=8", "--limit=1", "--degradation=nearest"]) == 0
    assert "nearest" in capfd.readouterr().out


# --- Mistakes -----------------------------------------------------------------------------------------------------


def test_pictures_that_are_not_there_or_no_pictures(pair, model, capfd):
    (pair / "depth.png").rename(pair / "elsewhere.png")
    refused(capfd, upsample(pair, model), "depth.png", "no such file")
    (pair / "depth.png").write_text("hello")
    refused(capfd, upsample(pair, model), "depth.png", "not a readable image")
    cv2.imwrite(str(pair / "depth.png"), np.ones((6, 8), np.uint8))
    refused(capfd, upsample(pair, model), "uint8", "--unit")
    cv2.imwrite(str(pair / "depth.png"), np.ones((6, 8, 3), np.uint8))
    refused(capfd, upsample(pair, model), "depth")


def test_models_that_are_not_there_or_damaged(pair, model, capfd):
    refused(capfd, upsample(pair, pair / "none.safetensors"), "none.safetensors")
    model.write_bytes(model.read_bytes()[:1000])
    refused(capfd, upsample(pair, model), "net.safetensors")


def test_output_that_cannot_be_written(pair, model, capfd):
    (pair / "new").write_text("a file, where a folder should be")
    refused(capfd, upsample(pair, model), "new")
    (pair / "new").unlink()
    refused(capfd, upsample(pair, model, f"--figure={pair / 'f.tiff'}"), "f.tiff")


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ("--device=tpu", "tpu"),
        ("--kernel-size=4", "kernel_size"),
        ("--window=2", "window"),
        ("--guidance=blue", "guidance"),
        ("--crop=15", "crop"),
        ("--crop=64", "crop"),
        ("--batch-size=0", "batch_size"),
        ("--scale=0", "scale"),
        ("--init=none.safetensors", "none.safetensors"),
        ("--scale=most", "scale"),
        ("--phases=1", "phases"),
        ("--mix-synthetic=2", "mix_synthetic"),
        ("--steps=0", "steps"),
        ("--data=none.mat", "none.mat"),
        ("--mix=nyu=none.mat:nan", "mix"),
        ("--seed=-1", "seed"),
        (f"--seed={10**23}", "seed"),
        ("--threads=-1", "threads"),
        ("--threads=99999", "threads"),
        ("--workers=-1", "workers"),
        ("--workers=99999", "workers"),
        ("--learning-rate=inf", "learning_rate"),
        ("--minutes=nan", "minutes"),
    ],
)
def test_mistakes_in_training(tiny_nyu, tmp_path, capfd, option, word):
    run = ["train", f"--data={tiny_nyu}", f"--out={tmp_path / 'run'}", "--steps=2", *TRAIN, option]
    refused(capfd, main(run), word)


def test_training_twice_in_one_folder(tiny_nyu, tmp_path, capfd):
    run = ["train", f"--data={tiny_nyu}", f"--out={tmp_path}", "--steps=9", "--minutes=0.00001", *TRAIN]
    assert main(run) == 0
    capfd.readouterr()
    refused(capfd, main(run), "resume")
    refused(capfd, main([*run, "--resume", "--seed=5"]), "seed")


def test_mistakes_in_evaluation(tiny_nyu, tmp_path, capfd):
    common = ["evaluate", f"--data={tiny_nyu}"]
    refused(capfd, main([*common, f"--model={tmp_path / 'none.pth'}"]), "none.pth")
    refused(capfd, main([*common, "--scale=0"]), "factor")
    refused(capfd, main(["evaluate", f"--data={tmp_path / 'none.mat'}"]), "none.mat")
    (tmp_path / "file").touch()
    refused(capfd, main([*common, "--limit=1", f"--json={tmp_path / 'file' / 'o.json'}"]), "file")


def test_unknown_options_and_commands(capfd):
    for arguments in (["paint"], ["upsample"], ["evaluate", "--data=x", "--degradation=blur"], []):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
    assert "Traceback" not in capfd.readouterr().err


def test_as_a_program(pair, model):
    """The module runs by itself, and its exit status arrives."""
    command = [sys.executable, "-m", "dkn", "upsample", "--color", pair / "color.png", "--out", pair / "o.png"]
    good = subprocess.run([*command, "--depth", pair / "depth.png", "--model", model], capture_output=True, text=True)
    assert (good.returncode, good.stderr) == (0, "")
    bad = subprocess.run([*command, "--depth", "none.png", "--model", model], capture_output=True, text=True)
    assert (bad.returncode, bad.stderr) == (2, "dkn: none.png: no such file\n")


def test_help_comes_without_pytorch():
    code = """
import sys
from dkn.cli import COMMANDS, main
try:
    main(["--help"])
except SystemExit:
    sys.exit("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_module(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert f"usage: dkn {name}" in capsys.readouterr().out
