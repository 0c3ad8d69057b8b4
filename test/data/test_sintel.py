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

"""MPI Sintel: made-up frames in the published layout, their .dpt files written by struct."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from dkn.data.sintel import Sintel, read_dpt
from dkn.errors import DataError
from dkn.evaluation import rmse

DEPTH = np.arange(1, 49, dtype=np.float64).reshape(6, 8) ** 2  # 1 to 2304 m


def dpt(depth, tag=202021.25):
    height, width = depth.shape
    return struct.pack(f"<f2i{depth.size}f", tag, width, height, *depth.ravel())


def write(root, scene, frame, depth=DEPTH, shade=10):
    for part in ("final", "depth", "clean"):
        (root / part / scene).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / "final" / scene / f"frame_{frame:04d}.png"), np.full((*depth.shape, 3), shade, np.uint8))
    (root / "depth" / scene / f"frame_{frame:04d}.dpt").write_bytes(dpt(depth))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "training"
    for scene in ("market_2", "alley_1"):
        for frame in (1, 2):
            write(root, scene, frame, shade=frame)
    (root / "final" / "readme.txt").touch()
    return root


def refused(path, *words):
    with pytest.raises(DataError) as error:
        Sintel(path)[0]
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_frames_in_order(root):
    for path in (root, root.parent):
        data = Sintel(path)
        names = ["alley_1_frame_0001", "alley_1_frame_0002", "market_2_frame_0001", "market_2_frame_0002"]
        assert [sample.name for sample in data] == names
        assert [int(sample.color[0, 0, 0]) for sample in data] == [1, 2, 1, 2]


def test_depth_as_it_is_stored(root):
    depth = read_dpt(root / "depth" / "alley_1" / "frame_0001.dpt")
    assert depth.dtype == np.float32
    assert np.array_equal(depth, DEPTH)


def test_every_frame_fills_the_levels(root):
    data = Sintel(root)
    depth = data[0].depth
    assert depth.dtype == np.float32
    assert (depth.min(), depth.max()) == pytest.approx((1, 1 + 255 / data.unit_scale))
    expected = (DEPTH - 1) / 2303 * 255
    assert (depth - depth.min()) * data.unit_scale == pytest.approx(expected, abs=1e-2)
    other = np.roll(DEPTH, 1)
    write(root, "alley_1", 2, other)
    error = np.sqrt(np.mean((255 * (other - DEPTH) / 2303) ** 2))
    assert data.unit_scale * rmse(data[1].depth, depth) == pytest.approx(error, rel=1e-4)


def test_unknown_depth(root):
    bad = DEPTH.copy()
    bad[0, :4] = 0, -1, np.nan, np.inf
    write(root, "alley_1", 1, bad)
    depth = Sintel(root)[0].depth
    assert np.isnan(depth[0, :4]).all()
    assert np.isfinite(depth.ravel()[4:]).all()
    assert np.nanmin(depth) == pytest.approx(1)
    write(root, "alley_1", 1, np.zeros((6, 8)))
    refused(root, "frame_0001.dpt", "no pixel")


def test_a_flat_frame(root):
    write(root, "alley_1", 1, np.full((6, 8), 3.0))
    assert (Sintel(root)[0].depth == 1).all()


@pytest.mark.parametrize("share", [0, 0.02, 0.1, 0.9, 1.1])
def test_truncated_or_too_long(root, share):
    file = root / "depth" / "alley_1" / "frame_0001.dpt"
    data = 2 * file.read_bytes()
    file.write_bytes(data[: int(share * len(data) / 2)])
    refused(root, str(file), "expected")


def test_another_format(root):
    file = root / "depth" / "alley_1" / "frame_0001.dpt"
    for data in (dpt(DEPTH, 1.0), struct.pack(">f2i", 202021.25, 8, 6), struct.pack("<f2i", 202021.25, -8, 6)):
        file.write_bytes(data)
        refused(root, str(file), "http")


def test_incomplete_archives(root):
    refused(root.parent / "none", "training/final", "http")
    (root / "final" / "alley_1" / "frame_0002.png").unlink()
    refused(root, "frame_0002.dpt has no colour")
    for part in (root / "final" / "alley_1").iterdir():
        part.unlink()
    (root / "final" / "alley_1").rmdir()
    refused(root, "final/alley_1", "no such folder")


def test_empty_folders(tmp_path):
    (tmp_path / "final").mkdir()
    (tmp_path / "depth").mkdir()
    refused(tmp_path, "frame_NNNN.dpt")
