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

"""Rendered rooms as a data set, small ones."""

from __future__ import annotations

import numpy as np
import pytest

from dkn.data import synthetic
from dkn.data.synthetic import Rooms
from dkn.errors import DataError


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(synthetic, "KINECT_SIZE", (32, 24))
    monkeypatch.setattr(synthetic, "IMAGES", {"train": 3, "test": 2})
    monkeypatch.setattr(synthetic, "VIEWS", 2)


def test_rooms(tmp_path, monkeypatch):
    train, test = Rooms(tmp_path / "new", "train"), Rooms(tmp_path / "new", "test")
    assert (len(train), len(test)) == (3, 2)
    assert [sample.name for sample in train] == ["room_train_0000", "room_train_0001", "room_train_0002"]
    pictures = [*train, *test]
    for sample in pictures:
        assert sample.color.shape == (24, 32, 3)
        assert sample.color.dtype == np.uint8
        assert sample.depth.shape == (24, 32)
        assert sample.depth.dtype == np.float32
        assert 0.2 < sample.depth.min() < sample.depth.max() < 12
    for i, one in enumerate(pictures):
        assert all(np.abs(one.depth - other.depth).mean() > 0.01 for other in pictures[:i])

    def fail(*_):
        raise AssertionError("rendered twice")

    monkeypatch.setattr(synthetic, "render_sequence", fail)
    assert np.array_equal(Rooms(tmp_path / "new", "train")[2].depth, train[2].depth)


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file"):
        Rooms(tmp_path / "file", "test")


def test_a_damaged_cache(tmp_path):
    (tmp_path / "test").mkdir()
    np.save(tmp_path / "test" / "color.npy", np.zeros((2, 24, 32, 3), np.uint8))
    (tmp_path / "test" / "depth.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match="kept here"):
        Rooms(tmp_path, "test")
