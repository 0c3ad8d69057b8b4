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

"""`dkn filter`: files in and out, and one line for each mistake."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dkn.cli import main
from dkn.filter import Filter
from dkn.networks.config import NetworkConfig
from dkn.utils.image_io import read_picture, write_picture


@pytest.fixture
def files(tmp_path, make_model):
    random = np.random.default_rng(0)
    model = make_model(tmp_path / "m.safetensors", 1, NetworkConfig(residual=False, n1=8, n2=8))
    picture = random.integers(0, 255, (40, 52, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "t.png"), picture[..., ::-1])
    cv2.imwrite(str(tmp_path / "g.png"), picture[::-1, :, 0])
    return tmp_path, model, picture


def run(folder, model, *more):
    return main(["filter", f"--target={folder / 't.png'}", f"--out={folder / 'o.png'}", f"--model={model}", *more])


def test_guided(files):
    folder, model, picture = files
    assert run(folder, model, "--task=denoise", f"--guidance={folder / 'g.png'}", "--tile=32") == 0
    expected = Filter(model)(picture, picture[::-1, :, 0])
    result = read_picture(folder / "o.png")
    assert np.abs(result.astype(int) - expected).max() <= 1 and np.abs(result.astype(int) - picture).max() > 5


def test_texture_takes_four_passes(files):
    folder, model, picture = files
    assert run(folder, model, "--task=texture") == 0
    assert np.array_equal(read_picture(folder / "o.png"), Filter(model, iterations=4)(picture))
    assert run(folder, model, "--task=texture", "--iterations=1") == 0
    assert np.array_equal(read_picture(folder / "o.png"), Filter(model)(picture))


def test_upsampling_of_a_map(files):
    folder, model, picture = files
    write_picture(folder / "t.png", picture[::4, ::4, 0])
    assert run(folder, model, "--task=upsample", f"--guidance={folder / 'g.png'}") == 0
    assert read_picture(folder / "o.png").shape == (40, 52)


@pytest.mark.parametrize("channels", [None, 1, 3, 4, 5])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_pictures_survive_files(tmp_path, channels, kind):
    shape = (6, 7) if channels is None else (6, 7, channels)
    picture = (np.random.default_rng(0).random(shape) * 255).astype(kind)
    write_picture(tmp_path / "a" / "p.npy", picture)
    assert np.array_equal(read_picture(tmp_path / "a" / "p.npy"), picture)
    if kind != np.float32 and channels != 5:
        write_picture(tmp_path / "p.png", picture)
        assert np.array_equal(read_picture(tmp_path / "p.png"), picture.squeeze() if channels == 1 else picture)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--task=denoise"], "guidance"),
        (["--task=texture", "--guidance=g.png"], "leave --guidance out"),
        (["--task=texture", "--out=o.jpg"], ".npy"),
        (["--task=texture", "--target=none.png"], "no such file"),
        (["--task=texture", "--target=none.npy"], "none.npy"),
        (["--task=texture", "--iterations=0"], "iterations=0"),
        (["--task=texture", "--model=none.safetensors"], "none.safetensors"),
    ],
)
def test_mistakes(files, capfd, options, word):
    folder, model, _ = files
    assert run(folder, model, *options) == 2
    error = capfd.readouterr().err
    assert error.startswith("dkn: ") and word in error and error.count("\n") == 1
