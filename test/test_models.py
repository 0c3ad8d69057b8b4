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

"""Which file a model's name stands for."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dkn import Upsampler, checkpoint
from dkn.checkpoint import family, find_model
from dkn.data.rendered.room import render_sequence
from dkn.depth.degradation import degrade
from dkn.errors import CheckpointError
from dkn.utils import paths


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    for name in ("fdkn_x4", "fdkn_x16", "fdkn_x8", "dkn_x8", "fdkn_sensor_x2", "fdkn_sensor", "fdkn_xlarge", "lone"):
        (tmp_path / f"{name}.safetensors").touch()
    monkeypatch.setenv("DKN_MODELS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(1, 4), (2, 4), (4, 4), (5.6, 4), (5.7, 8), (6, 8), (8, 8), (11.3, 8), (11.4, 16), (16, 16), (50, 16), (0, 4)],
)
def test_a_family_picks_the_nearest_ratio(folder, scale, expected):
    assert find_model("fdkn", scale) == folder / f"fdkn_x{expected}.safetensors"


def test_a_family_keeps_to_its_own_files(folder):
    assert find_model("dkn", 4) == folder / "dkn_x8.safetensors"
    assert find_model("fdkn_sensor", 8) == folder / "fdkn_sensor.safetensors"
    (folder / "fdkn_sensor.safetensors").unlink()
    assert find_model("fdkn_sensor", 8) == folder / "fdkn_sensor_x2.safetensors"


def test_a_short_name_is_that_file_whatever_the_scale(folder):
    assert find_model("fdkn_x16", 2) == folder / "fdkn_x16.safetensors"
    assert find_model("lone", 8) == folder / "lone.safetensors"


def test_a_path_is_that_file(folder, tmp_path):
    path = tmp_path / "sub" / "my.pth"
    path.parent.mkdir()
    path.touch()
    assert find_model(path, 8) == path
    assert find_model(str(path), 8) == path


NAMES = ["unknown", "fdkn_x5", "fdkn_", "", "sub/none", "none.safetensors", "none.pth", "/", "**", "fdkn*", "x" * 300]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_that_name(folder, name):
    with pytest.raises(CheckpointError) as error:
        find_model(name, 8)
    assert "\n" not in str(error.value)


def test_an_unknown_name_lists_what_there_is(folder):
    with pytest.raises(CheckpointError, match="fdkn_x4"):
        find_model("unknown", 8)


def test_what_may_not_be_read_is_not_called_missing(folder, monkeypatch):
    def forbid(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")  # which root never sees

    path = folder / "fdkn_x4.safetensors"
    for function in ("open", "is_file"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, function, forbid)
            with pytest.raises(CheckpointError, match=re.escape(f"{path}: cannot be read (Permission denied)")):
                checkpoint.load(path)
    monkeypatch.setattr(Path, "is_file", forbid)
    for find in (find_model, lambda name, scale: family(name)):
        with pytest.raises(CheckpointError, match="cannot be read"):
            find("fdkn", 4)


def test_a_file_has_no_smaller_ones(folder):
    name = folder / f"{'x' * 230}.safetensors"  # which is no name to add anything to
    assert family(name) == [str(name)]
    (folder / "fdkn_sensor_tiny.safetensors").touch()
    assert family("fdkn_sensor") == ["fdkn_sensor", "fdkn_sensor_tiny"]


def test_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DKN_MODELS", str(tmp_path))
    with pytest.raises(CheckpointError, match="none"):
        find_model("fdkn", 8)


@pytest.mark.parametrize("place", ["models", "share/dkn_ros/models"])
def test_models_of_a_source_tree_and_of_an_installation(tmp_path, monkeypatch, place):
    source = place == "models"
    package = tmp_path / "dkn" if source else tmp_path / "lib" / "python3" / "site-packages" / "dkn"
    package.mkdir(parents=True)
    monkeypatch.setattr(paths, "__file__", str(package / "utils" / "paths.py"))
    monkeypatch.delenv("DKN_MODELS", raising=False)
    (tmp_path / place).mkdir(parents=True)
    (tmp_path.parent / "models").mkdir(exist_ok=True)  # somebody else's, further up: never ours
    if source:
        (tmp_path / "package.xml").touch()
    assert checkpoint.models_folder() == tmp_path / place


def test_no_models_anywhere(monkeypatch):
    monkeypatch.setattr(paths, "__file__", "/dkn/utils/paths.py")
    monkeypatch.delenv("DKN_MODELS", raising=False)
    with pytest.raises(CheckpointError, match="DKN_MODELS"):
        checkpoint.models_folder()


UPSAMPLED_BY_SENSOR = [
    *(("fdkn_sensor", scale) for scale in (4, 8, 16)),
    ("fdkn_sensor_medium", 8),
    ("fdkn_sensor_small", 8),
    ("fdkn_sensor_tiny", 8),
]
SHIPPED = sorted((Path(__file__).resolve().parents[1] / "models").glob("*.safetensors"))


def test_models_are_shipped():
    expected = {f"{network}_{kind}" for network in ("fdkn", "dkn") for kind in ("x4", "x8", "x16", "sensor")}
    assert expected <= {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_model_says_what_it_is(path):
    _, info = checkpoint.read(path, to_train=True)
    family, _, scale = path.stem.rpartition("_x")
    others = {"fdkn_sensor": None, "dkn_sensor": None, "fdkn_noise": 1}
    others |= {f"fdkn_sensor_{size}": None for size in ("medium", "small", "tiny")}
    assert info.scale == (int(scale) if family else others[path.stem])
    assert info.training["data"] and info.training["steps"] > 0
    if "recording" in info.training["data"]:  # whose terms are stricter than NYU's
        assert "non-commercial" in info.training["terms"]
        assert info.training["held_out"] and info.training["chosen_by"]


@pytest.mark.parametrize(("name", "scale"), [*((f"fdkn_x{s}", s) for s in (4, 8, 16)), *UPSAMPLED_BY_SENSOR])
def test_a_shipped_model_sharpens_depth(name, scale):
    # On a scene that it was not trained on, with low-resolution depth of the kind that it is for.
    frame = next(iter(render_sequence(1, (320, 240))))
    kind = "nearest" if "sensor" in name else "bicubic"
    low = degrade(frame.depth, scale, kind, np.random.default_rng(0), frame.color)
    height, width = frame.depth.shape
    bicubic = np.asarray(Image.fromarray(low).resize((width, height), Image.Resampling.BICUBIC))
    output = Upsampler(name, device="cpu", precision="fp32")(frame.color, low)
    error = {name: np.sqrt(np.mean((m - frame.depth) ** 2)) for name, m in (("in", bicubic), ("out", output))}
    assert error["out"] < (0.95 if name.endswith(("small", "tiny")) else 0.9) * error["in"]
