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

"""Middlebury and Lu: made-up files in the published layouts, and the authors' figures on real pairs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from dkn.data.lu import Lu
from dkn.data.middlebury import Middlebury
from dkn.errors import DataError
from dkn.evaluation import bicubic, evaluate, rmse
from dkn.experiments.assessment import model_method

LEVELS = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5  # level 0 in the first corner


def write(folder, color, depth, shade=10, levels=LEVELS):
    folder.mkdir(parents=True, exist_ok=True)
    picture = np.full((*levels.shape, 3), shade, np.uint8)
    assert cv2.imwrite(str(folder / color), picture[..., 0] if color.endswith(".pgm") else picture)
    assert cv2.imwrite(str(folder / depth), levels)


def levels_of(data, depth):
    """Back from metres, by the data set's own unit: a difference of depths is one of levels."""
    return (depth - np.float32(1)) * data.unit_scale


def refused(kind, path, *words):
    with pytest.raises(DataError) as error:
        kind(path)
    assert "\n" not in str(error.value)
    for word in (str(path), *words):
        assert word in str(error.value)


def test_published_scenes(tmp_path):
    write(tmp_path / "2006" / "Wood1", "view1.png", "disp1.png", 1)
    write(tmp_path / "2006" / "Wood1", "view5.png", "disp5.png", 200)
    (tmp_path / "2006" / "Wood1" / "dmin.txt").write_text("200")
    write(tmp_path / "Art", "view1.png", "disp1.png", 2)
    write(tmp_path / "cones", "im2.png", "disp2.png", 3)
    write(tmp_path / "cones", "im6.png", "disp6.png", 200)
    write(tmp_path / "venus", "im2.ppm", "disp2.pgm", 4)
    write(tmp_path / "map", "im0.pgm", "disp0.pgm", 5)
    write(tmp_path / "map", "im1.pgm", "disp1.pgm", 200)
    write(tmp_path / "tsukuba", "scene1.row3.col3.ppm", "truedisp.row3.col3.pgm", 6)
    data = Middlebury(tmp_path)
    shades = {sample.name: int(sample.color[0, 0, 0]) for sample in data}
    assert shades == {"Wood1": 1, "Art": 2, "cones": 3, "venus": 4, "map": 5, "tsukuba": 6}
    for sample in data:
        assert sample.depth.dtype == np.float32
        assert np.isnan(sample.depth[0, 0])  # level 0: unknown
        assert levels_of(data, sample.depth).ravel()[1:] == pytest.approx(LEVELS.ravel()[1:], abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "part", "color"),
    [
        (Middlebury, "01_Middlebury_Dataset", "output_color"),
        (Lu, "03_RGBD_Dataset", "ouput_color"),
    ],
)
def test_the_published_archive(tmp_path, kind, part, color):
    for name, shade in (("one", 1), ("two", 2)):
        write(tmp_path / "Depth_Enh" / part, f"{name}_{color}.png", f"{name}_output_depth.png", shade)
        write(tmp_path / "Depth_Enh" / part, f"{name}_noisy_color.png", f"{name}_clean_depth.png", 200)
    for path in (tmp_path, tmp_path / "Depth_Enh", tmp_path / "Depth_Enh" / part):
        data = kind(path)
        assert [(sample.name, sample.color[0, 0, 0]) for sample in data] == [("one", 1), ("two", 2)]
        assert levels_of(data, data[0].depth) == pytest.approx(LEVELS, abs=1e-3)  # level 0 among them
        assert (data.unit, data.border) == ("levels", 6)


def test_errors_come_out_in_levels(tmp_path):
    write(tmp_path, "01_rgb.png", "01_depth8.png")
    write(tmp_path, "02_rgb.png", "02_depth8.png", levels=LEVELS + 7)
    data = Lu(tmp_path)
    assert data.unit_scale * rmse(data[0].depth, data[1].depth) == pytest.approx(7, abs=1e-3)


def test_mistakes(tmp_path):
    refused(Middlebury, tmp_path / "none", "no such folder")
    refused(Lu, tmp_path / "none", "no such folder")
    refused(Middlebury, tmp_path, "view1.png", "https://")
    refused(Lu, tmp_path, "03_RGBD_Dataset", "https://")
    write(tmp_path / "Art", "view1.png", "disp1.png")
    write(tmp_path / "Books", "view1.png", "disp1.png")
    (tmp_path / "Books" / "view1.png").unlink()
    refused(Middlebury, tmp_path, "Books", "view1", "https://")
    write(tmp_path, "01_rgb.png", "01_depth8.png")
    write(tmp_path, "02_rgb.png", "02_depth8.png")
    (tmp_path / "02_depth8.png").unlink()
    refused(Lu, tmp_path, "02_rgb.png has no depth")


def test_damaged_files(tmp_path):
    write(tmp_path / "Art", "view1.png", "disp1.png")
    file = tmp_path / "Art" / "disp1.png"
    for data in (b"", b"no picture"):
        file.write_bytes(data)
        with pytest.raises(DataError, match=r"disp1\.png: not a readable image"):
            Middlebury(tmp_path)[0]
    cv2.imwrite(str(file), LEVELS.astype(np.uint16))
    with pytest.raises(DataError, match="8 bits"):
        Middlebury(tmp_path)[0]


def pil_rmse(path, suffix):
    """Bicubic interpolation of 8x in levels, cropped to multiples of 8, by PIL and plain arithmetic."""
    errors = []
    for file in sorted(path.glob(f"*_{suffix}.png")):
        levels = np.asarray(Image.open(file), np.float32)
        height, width = (n // 8 * 8 for n in levels.shape)
        levels = levels[:height, :width]
        low = Image.fromarray(levels).resize((width // 8, height // 8), Image.Resampling.BICUBIC)
        error = np.asarray(low.resize((width, height), Image.Resampling.BICUBIC)) - levels
        errors.append(np.sqrt(np.mean(error[6:-6, 6:-6].astype(float) ** 2)))
    return np.mean(errors)


@pytest.mark.parametrize(
    ("kind", "suffix", "count", "figure"), [(Middlebury, "disp8", 21, 1.88), (Lu, "depth8", 3, 2.37)]
)
def test_the_authors_network_on_real_pairs(official, kind, suffix, count, figure):
    """`figure` is what the authors' own programs give on these pairs at 8x."""
    path = official.parent / kind.name
    if not path.is_dir():
        pytest.skip(f"the {kind.name} pairs are not here")
    methods = {"theirs": model_method(official / "FDKN_8x.pth"), "bicubic": bicubic}
    result = evaluate(kind(path), methods, 8)
    theirs, plain = result.results
    assert result.count == count
    assert theirs.rmse == pytest.approx(figure, abs=0.01)
    assert plain.rmse == pytest.approx(pil_rmse(path, suffix), rel=1e-3)
