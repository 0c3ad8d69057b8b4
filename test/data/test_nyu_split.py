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

"""NYU v2 as arrays: what other projects hand around, in the variants that are about."""

from __future__ import annotations

import numpy as np
import pytest

from dkn.data.nyu_split import NYUSplit
from dkn.errors import DataError

COUNT, HEIGHT, WIDTH = 12, 6, 8


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8)
    return colors, rng.uniform(0.8, 9, (COUNT, HEIGHT, WIDTH)).astype(np.float32)


def write(path, colors, depths):
    for images, depth in (("train_images_split", "train_depth_split"), ("test_images_v2", "test_depth")):
        np.save(path / f"{images}.npy", colors)
        np.save(path / f"{depth}.npy", depths)


def refused(path, *words):
    with pytest.raises(DataError) as error:
        NYUSplit(path, "test")
    assert "\n" not in str(error.value)
    for word in (str(path), *words):
        assert word in str(error.value)


@pytest.mark.parametrize("white", [None, 1, 255])
@pytest.mark.parametrize("channels", ["last", "second"])
def test_variants(tmp_path, pairs, white, channels):
    colors, depths = pairs
    stored = colors if white is None else (colors / (255 / white)).astype(np.float32)
    if channels == "last":
        write(tmp_path, stored, depths[..., None])
    else:
        write(tmp_path, stored.transpose(0, 3, 1, 2), depths[:, None])
    for split, first in (("train", 0), ("test", 1000)):
        data = NYUSplit(tmp_path, split)
        assert len(data) == COUNT
        for i in (0, 5, COUNT - 1):
            sample = data[i]
            assert sample.name == f"nyu_{first + i:04d}"
            assert sample.color.dtype == np.uint8
            assert np.array_equal(sample.color, colors[i])
            assert sample.depth.dtype == np.float32
            assert np.array_equal(sample.depth, depths[i])
    with pytest.raises(IndexError):
        data[COUNT]


def test_nothing_is_loaded_before_it_is_asked_for(tmp_path, pairs):
    write(tmp_path, *pairs)
    data = NYUSplit(tmp_path, "test")
    changed = np.load(tmp_path / "test_depth.npy", mmap_mode="r+")
    changed[3] = 5
    changed[3, 0, :3] = 0, np.nan, -1
    changed.flush()
    depth = data[3].depth
    assert np.isnan(depth[0, :3]).all()
    assert (depth.ravel()[3:] == 5).all()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("rows", [True, False])
def test_scaled_depth_becomes_metres(tmp_path, pairs, order, rows):
    colors, depths = pairs
    spans = np.stack([depths.min((1, 2)), depths.max((1, 2))], 1)
    low, high = (spans[:, k, None, None] for k in (0, 1))
    write(tmp_path, colors, (depths - low) / (high - low))
    refused(tmp_path, "test_minmax.npy", "https://")
    stored = spans[:, order]
    np.save(tmp_path / "test_minmax.npy", stored.T if rows else stored)
    data = NYUSplit(tmp_path, "test")
    for i in (0, 7):
        assert data[i].depth == pytest.approx(depths[i], rel=1e-5)
    np.save(tmp_path / "test_minmax.npy", spans[1:])
    refused(tmp_path, "test_minmax.npy")


def test_missing_and_doubled_files(tmp_path, pairs):
    refused(tmp_path, "test_images", "train_images_split.npy", "https://")
    write(tmp_path, *pairs)
    np.save(tmp_path / "test_depth_v2.npy", pairs[1])
    refused(tmp_path, "test_depth.npy, test_depth_v2.npy")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_truncated_files(tmp_path, pairs, share):
    write(tmp_path, *pairs)
    file = tmp_path / "test_depth.npy"
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    refused(tmp_path, "test_depth.npy", "https://")


@pytest.mark.parametrize(
    ("colors", "depths"),
    [
        (np.zeros((3, 6, 8, 3), np.uint8), np.ones((3, 8, 6), np.float32)),
        (np.zeros((3, 6, 8, 3), np.uint8), np.ones((2, 6, 8), np.float32)),
        (np.zeros((3, 6, 8), np.uint8), np.ones((3, 6, 8), np.float32)),
        (np.zeros((3, 6, 8, 3), np.uint8), np.ones((3, 6, 8), np.uint16)),
        (np.zeros((3, 6, 8, 3), complex), np.ones((3, 6, 8), np.float32)),
        (np.zeros((0, 6, 8, 3), np.uint8), np.ones((0, 6, 8), np.float32)),
        (np.zeros(3, np.uint8), np.ones(3, np.float32)),
    ],
)
def test_other_shapes(tmp_path, colors, depths):
    write(tmp_path, colors, depths)
    refused(tmp_path, "expected")
