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

"""Pairs in a user's folder: layouts, units, unknown depth."""

from __future__ import annotations

import csv
import math

import cv2
import numpy as np
import pytest
from PIL import Image

from dkn.data.folder import Folder
from dkn.errors import ConfigError, DataError

METRES = np.array([[1.5, 0.8, 3.25], [2, 9.5, 4]])


@pytest.fixture
def path(tmp_path):
    (tmp_path / "color").mkdir()
    (tmp_path / "depth").mkdir()
    cv2.imwrite(str(tmp_path / "color" / "a.jpg"), np.zeros((2, 3, 3), np.uint8))
    return tmp_path


def test_millimetres(path):
    counts = np.rint(1000 * METRES).astype(np.uint16)
    counts[0, 0] = 0
    cv2.imwrite(str(path / "depth" / "a.png"), counts)
    sample = Folder(path)[0]
    assert sample.name == "a"
    assert sample.depth.dtype == np.float32
    assert np.isnan(sample.depth[0, 0])
    assert sample.depth.ravel()[1:] == pytest.approx(METRES.ravel()[1:])


@pytest.mark.parametrize(("kind", "unit"), [(np.uint16, 1 / 5000), (np.uint8, 0.05), (np.float32, 0.01)])
def test_a_unit_of_the_users(path, kind, unit):
    counts = METRES / unit
    np.save(path / "depth" / "a.npy", counts.astype(kind) if kind == np.float32 else np.rint(counts).astype(kind))
    assert Folder(path, unit)[0].depth == pytest.approx(METRES, abs=0.5 * unit)


@pytest.mark.parametrize("kind", ["tiff", "npy"])
def test_float_metres(path, kind):
    values = METRES.astype(np.float32)
    values[0, :] = math.nan, math.inf, -2
    file = path / "depth" / f"a.{kind}"
    np.save(file, values) if kind == "npy" else Image.fromarray(values).save(file)
    depth = Folder(path)[0].depth
    assert np.isnan(depth[0]).all()
    assert np.array_equal(depth[1], values[1])


def test_eight_bits_need_a_unit(path):
    cv2.imwrite(str(path / "depth" / "a.png"), np.ones((2, 3), np.uint8))
    with pytest.raises(ConfigError, match="--unit"):
        Folder(path)[0]


@pytest.mark.parametrize(
    ("color", "depth"), [("f_rgb.png", "f_depth.png"), ("f.color.jpg", "f.depth.tif"), ("f_colour.png", "f_disp8.png")]
)
def test_side_by_side(tmp_path, color, depth):
    cv2.imwrite(str(tmp_path / color), np.zeros((2, 3, 3), np.uint8))
    cv2.imwrite(str(tmp_path / depth), np.full((2, 3), 1500, np.uint16))
    sample = Folder(tmp_path)[0]
    assert sample.name == "f"
    assert sample.depth == pytest.approx(1.5)


def test_several_folders_of_depth(path):
    for name, value in (("depth", 1000), ("depth_true", 2000)):
        (path / name).mkdir(exist_ok=True)
        cv2.imwrite(str(path / name / "a.png"), np.full((2, 3), value, np.uint16))
    with pytest.raises(DataError, match="depth, depth_true"):
        Folder(path)
    assert Folder(path, depth_folder="depth")[0].depth == pytest.approx(1)
    assert Folder(path, depth_folder="depth_true")[0].depth == pytest.approx(2)
    with pytest.raises(DataError, match="depth_other"):
        Folder(path, depth_folder="depth_other")


def test_mistakes(path, tmp_path):
    with pytest.raises(DataError, match=r"none.*expected"):
        Folder(tmp_path / "none")
    with pytest.raises(ConfigError, match="unit=0"):
        Folder(path, unit=0)
    with pytest.raises(ConfigError, match="unit=nan"):
        Folder(path, unit=math.nan)
    with pytest.raises(DataError, match="NAME_depth"):
        Folder(path)  # its depth folder is empty
    cv2.imwrite(str(path / "depth" / "b.png"), np.zeros((2, 3), np.uint16))
    with pytest.raises(DataError, match="without a partner"):
        Folder(path)


def test_the_real_sequence(nyu_pairs):
    """Either depth as truth; the share of valid pixels and their difference as the recording's own table has them."""
    path = nyu_pairs.parents[1] / "sequence"
    if not path.is_dir():
        pytest.skip("the recording is not here")
    raw, true = (Folder(path, depth_folder=name) for name in ("depth_raw", "depth_gt_tsdf"))
    with (path / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(raw) == len(true) == len(rows)
    for i in (0, 150):
        a, b = raw[i], true[i]
        assert a.name == b.name == f"{i:04d}"
        assert np.array_equal(a.color, b.color)
        assert np.isfinite(a.depth).mean() == pytest.approx(float(rows[i]["raw_valid"]), abs=1e-4)
        assert np.isfinite(b.depth).mean() == pytest.approx(float(rows[i]["gt_valid"]), abs=1e-4)
        apart = 1000 * np.nanmedian(np.abs(a.depth - b.depth))
        assert apart == pytest.approx(float(rows[i]["med_abs_raw_minus_gt_mm"]), abs=1.0)
