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

"""The reader of NYU v2, on made-up files in its layout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from dkn.data import nyu
from dkn.data.nyu import NYU
from dkn.errors import DataError

COUNT, WIDTH, HEIGHT = 5, 16, 12


def color(n: int, c: int, x: int, y: int):
    return (37 * n + 61 * c + 3 * x + 11 * y) % 256


def depth(n: int, x: int, y: int):
    return 1 + 0.5 * n + 0.01 * x + 0.2 * y


@pytest.fixture
def path(tmp_path):
    """images[n, c, x, y] and depths[n, x, y], as MATLAB's axes look from Python."""
    path = tmp_path / "nyu.mat"
    with h5py.File(path, "w") as file:
        file["images"] = np.fromfunction(color, (COUNT, 3, WIDTH, HEIGHT), dtype=int).astype(np.uint8)
        file["depths"] = np.fromfunction(depth, (COUNT, WIDTH, HEIGHT)).astype(np.float32)
        file["names"] = np.zeros(3)  # the published file has more than the two
    return path


def change(path, name, index, value):
    with h5py.File(path, "r+") as file:
        file[name][index] = value


def test_pictures_come_out_upright(path):
    data = NYU(path)
    assert len(data) == COUNT
    sample = data[3]
    assert sample.color.shape == (HEIGHT, WIDTH, 3)
    assert sample.color.dtype == np.uint8
    assert sample.depth.shape == (HEIGHT, WIDTH)
    assert sample.depth.dtype == np.float32
    assert sample.name == "nyu_0003"
    for y, x in ((0, 0), (0, 15), (11, 0), (7, 4)):
        assert sample.color[y, x].tolist() == [color(3, c, x, y) for c in range(3)]
        assert sample.depth[y, x] == pytest.approx(depth(3, x, y), rel=1e-6)


def test_bad_depth_is_nan(path):
    for x, value in enumerate((0.0, -1.0, np.nan, np.inf)):
        change(path, "depths", (1, x, 2), value)
    row = NYU(path)[1].depth[2]
    assert np.isnan(row[:4]).all()
    assert np.isfinite(row[4:]).all()


def test_iteration_ends_and_wrong_indices_are_errors(path):
    assert [sample.name for sample in NYU(path)] == [f"nyu_{i:04d}" for i in range(COUNT)]
    with pytest.raises(IndexError):
        NYU(path)[COUNT]


def test_splits_by_position(path, monkeypatch):
    assert nyu.TRAINING_IMAGES == 1000
    monkeypatch.setattr(nyu, "TRAINING_IMAGES", 3)
    train, test = NYU(path, "train"), NYU(path, "test")
    assert [s.name for s in train] == ["nyu_0000", "nyu_0001", "nyu_0002"]
    assert [s.name for s in test] == ["nyu_0003", "nyu_0004"]


def test_the_split_of_the_paper(tiny_nyu):
    assert len(NYU(tiny_nyu, "train")) == 1000
    test = NYU(tiny_nyu, "test")
    assert [s.name for s in test] == ["nyu_1000", "nyu_1001", "nyu_1002"]
    assert len(NYU(tiny_nyu)) == 1003


def test_no_test_split_in_a_short_file(path):
    assert len(NYU(path, "train")) == COUNT
    with pytest.raises(DataError, match="test"):
        NYU(path, "test")


def test_the_cache_serves_until_the_file_is_newer(path, monkeypatch):
    NYU(path)
    change(path, "depths", (0, 0, 0), 7.5)
    cached = path.with_name(path.name + ".cache") / "depth.npy"
    stamp = cached.stat().st_mtime
    os.utime(path, (stamp - 10, stamp - 10))
    with monkeypatch.context() as patch:
        patch.setattr(nyu, "_build_cache", None)  # would fail if it were called
        assert NYU(path)[0].depth[0, 0] == 1
    os.utime(path, (stamp + 10, stamp + 10))
    assert NYU(path)[0].depth[0, 0] == 7.5


def test_a_cache_that_was_cut_off_is_made_again(path):
    NYU(path)
    (path.with_name(path.name + ".cache") / "depth.npy").unlink()
    assert NYU(path)[2].depth[0, 0] == 2


def test_a_cache_elsewhere(path, tmp_path):
    assert NYU(path, cache=tmp_path / "a" / "b")[0].depth[0, 0] == 1
    assert (tmp_path / "a" / "b" / "depth.npy").is_file()
    assert not path.with_name(path.name + ".cache").exists()


def refused(path, *words):
    with pytest.raises(DataError) as error:
        NYU(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)
    assert not path.with_name(path.name + ".cache").joinpath("depth.npy").exists()


def test_a_missing_file_says_where_to_get_it(tmp_path):
    refused(tmp_path / "none.mat", "no such file", "https://")


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_a_truncated_file(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refused(path)


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "other.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(2000))
    refused(path)


@pytest.mark.parametrize(
    ("images", "depths"),
    [
        (None, (5, 16, 12)),
        ((5, 3, 16, 12), None),
        ((5, 16, 12, 3), (5, 16, 12)),
        ((5, 3, 16, 12), (5, 12, 16)),
        ((5, 3, 16, 12), (4, 16, 12)),
        ((3, 16, 12), (16, 12)),
        ((16,), (16,)),
    ],
)
def test_another_layout(tmp_path, images, depths):
    path = tmp_path / "other.mat"
    with h5py.File(path, "w") as file:
        for name, shape, kind in (("images", images, np.uint8), ("depths", depths, np.float32)):
            if shape:
                file[name] = np.ones(shape, kind)
    refused(path, "expected")


def test_groups_and_other_types(tmp_path):
    path = tmp_path / "other.mat"
    with h5py.File(path, "w") as file:
        file.create_group("images")
        file.create_group("depths")
    refused(path, "expected")
    with h5py.File(path, "w") as file:
        file["images"], file["depths"] = np.ones((5, 3, 16, 12)), np.ones((5, 16, 12))
    refused(path, "uint8")


def test_a_full_disk_is_one_line_and_leaves_no_half_of_a_cache(tiny_nyu, tmp_path):
    """No file may grow beyond 1 MB, which the system reports as it does a full disk."""
    code = """
import resource, signal, sys
from pathlib import Path
from dkn.data.nyu import NYU
from dkn.errors import DataError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    NYU(Path(sys.argv[1]), cache=Path(sys.argv[2]))
except DataError as error:
    print("DataError", error)
"""
    command = [sys.executable, "-c", code, str(tiny_nyu), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith(f"DataError {tmp_path / 'cache'}") and "DKN_DATA_CACHE" in done.stdout, done
    assert done.returncode == 0 and not list((tmp_path / "cache").iterdir())


def test_another_place_for_the_cache(tiny_nyu, tmp_path, monkeypatch):
    monkeypatch.setenv("DKN_DATA_CACHE", str(tmp_path / "elsewhere"))
    expected = NYU(tiny_nyu, cache=tmp_path / "given")[5]
    found = NYU(tiny_nyu)[5]
    (cache,) = (tmp_path / "elsewhere").iterdir()
    assert cache.name.startswith("tiny.mat-")
    assert sorted(f.name for f in cache.iterdir()) == ["color.npy", "depth.npy"]
    np.testing.assert_array_equal(found.depth, expected.depth)
    np.testing.assert_array_equal(found.color, expected.color)


def test_files_of_one_name_in_one_place_for_caches(tiny_nyu, tmp_path, monkeypatch):
    monkeypatch.setenv("DKN_DATA_CACHE", str(tmp_path / "caches"))
    other = tmp_path / tiny_nyu.name
    shutil.copy2(tiny_nyu, other)
    with h5py.File(other, "r+") as file:
        file["images"][...] = 7
    os.utime(other, ns=(0, 0))  # older than any cache
    assert NYU(tiny_nyu)[5].color.max() > 7
    assert (NYU(other)[5].color == 7).all()


def test_a_damaged_file_is_not_a_cache_that_cannot_be_written(tiny_nyu, tmp_path):
    """Compressed, with one byte after the other of the images turned round."""
    damaged = tmp_path / "damaged.mat"
    with h5py.File(tiny_nyu) as file, h5py.File(damaged, "w") as written:
        for name in ("images", "depths"):
            written.create_dataset(name, data=file[name], chunks=file[name].shape, fletcher32=True)
        place = written["images"].id.get_chunk_info(0).byte_offset
    with damaged.open("r+b") as file:
        file.seek(place + 100)
        file.write(bytes(100))
    with pytest.raises(DataError, match=r"damaged\.mat: damaged"):
        NYU(damaged, cache=tmp_path / "cache")
