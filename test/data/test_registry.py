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

"""One way to every data set."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dkn.cli import main
from dkn.data.folder import Folder
from dkn.data.registry import DATASETS, TRAINABLE, named, open_dataset
from dkn.errors import ConfigError, DataError


@pytest.fixture
def pairs(tmp_path, make_scene):
    """Three pairs that a folder, Middlebury's flat layout and Lu's have in common, of a size that 4 does not divide."""
    for i in range(3):
        color, depth = make_scene(50, 67, i)
        levels = np.rint(255 * (depth - depth.min()) / (depth.max() - depth.min())).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{i:02d}_x_rgb.png"), color[..., ::-1])
        for suffix in ("disp8", "depth8"):
            (tmp_path / suffix).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / suffix / f"{i:02d}_x_rgb.png"), color[..., ::-1])
            cv2.imwrite(str(tmp_path / suffix / f"{i:02d}_x_{suffix}.png"), levels)
    return tmp_path


def test_a_name_and_a_path_in_one_argument():
    assert named("lu=a/b=c") == ("lu", Path("a/b=c"))
    assert named("a/b=c", "nyu") == ("nyu", Path("a/b=c"))
    with pytest.raises(ConfigError, match=r"--data a/b=c: write NAME=PATH.*nyu"):
        named("a/b=c")


@pytest.mark.parametrize("name", [n for n in DATASETS if n != "synthetic"])
def test_nothing_there(tmp_path, name):
    with pytest.raises(DataError, match="none") as error:
        open_dataset(name, tmp_path / "none", "test")
    assert "\n" not in str(error.value)


def test_every_name_opens_its_set(tiny_nyu, pairs):
    assert open_dataset("nyu", tiny_nyu, "test").name == "nyu"
    assert len(open_dataset("nyu", tiny_nyu, "train")) == 1000
    assert open_dataset("middlebury", pairs / "disp8", "test").name == "middlebury"
    assert open_dataset("lu", pairs / "depth8", "test").name == "lu"
    (pairs / "rooms" / "test").mkdir(parents=True)
    np.save(pairs / "rooms" / "test" / "color.npy", np.zeros((2, 4, 4, 3), np.uint8))
    np.save(pairs / "rooms" / "test" / "depth.npy", np.ones((2, 4, 4), np.float32))
    assert open_dataset("synthetic", pairs / "rooms", "test").name == "synthetic"
    folder = open_dataset("folder", pairs / "depth8", "train", unit=0.01)
    assert isinstance(folder, Folder)
    assert np.nanmax(folder[0].depth) == pytest.approx(2.55)


def test_a_folder_is_the_array_form_of_nyu(tmp_path):
    with pytest.raises(DataError, match="train_images_split"):
        open_dataset("nyu", tmp_path, "train")


def test_options_and_splits_that_make_no_sense(tmp_path):
    with pytest.raises(ConfigError, match="kitti"):
        open_dataset("kitti", tmp_path, "test")
    with pytest.raises(ConfigError, match="layout of its own"):
        open_dataset("lu", tmp_path, "test", unit=0.01)
    for name in set(DATASETS).difference(TRAINABLE):
        with pytest.raises(ConfigError, match="for testing"):
            open_dataset(name, tmp_path, "train")


@pytest.mark.parametrize(("name", "folder"), [("middlebury", "disp8"), ("lu", "depth8")])
def test_evaluate_from_the_command_line(pairs, name, folder, capfd):
    assert main(["evaluate", f"--dataset={name}", f"--data={pairs / folder}", "--scale=4"]) == 0
    out = capfd.readouterr().out
    assert f"{name}, 4x, bicubic, 3 images, RMSE in levels" in out


def test_train_on_a_folder_from_the_command_line(pairs, tmp_path, capfd):
    common = ["--dataset=folder", f"--data={pairs / 'depth8'}", "--unit=0.02", "--scale=4"]
    small = ["--batch-size=2", "--crop=16", "--n1=8", "--n2=8", "--fp32", "--steps=2"]
    assert main(["train", *common, *small, f"--out={tmp_path / 'run'}"]) == 0
    assert "evaluated" not in capfd.readouterr().out
    assert main(["evaluate", *common, f"--model={tmp_path / 'run' / 'model.safetensors'}", "--limit=1"]) == 0
    assert "RMSE in cm" in capfd.readouterr().out
