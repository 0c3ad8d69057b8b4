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

"""Finding and reading pairs of pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from dkn.data.pairs import PairFiles, pairs_by_folder, pairs_by_suffix, pictures
from dkn.data.sample import Sample, from_levels
from dkn.errors import DataError
from dkn.utils.image_io import read_color, read_levels, read_map


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def names(pairs):
    return [(pair.name, pair.color.name, pair.depth.name) for pair in pairs]


def test_pairs_side_by_side(tmp_path):
    touch(tmp_path, "b_rgb.jpg", "b_depth.png", "a.rgb.PNG", "a-depth.npy", "c_d_rgb.png", "c_d_depth.tiff")
    touch(tmp_path, "readme.txt", "rgb.png", "e_rgb.txt", "e_depths.png", "._b_depth.png")
    assert names(pairs_by_suffix(tmp_path, "rgb", "depth")) == [
        ("a", "a.rgb.PNG", "a-depth.npy"),
        ("b", "b_rgb.jpg", "b_depth.png"),
        ("c_d", "c_d_rgb.png", "c_d_depth.tiff"),
    ]


def test_pairs_in_two_folders(tmp_path):
    touch(tmp_path / "color", "2.jpg", "1.jpg", "notes.txt")
    touch(tmp_path / "depth", "1.png", "2.tif", "list.csv")
    found = names(pairs_by_folder(tmp_path / "color", tmp_path / "depth"))
    assert found == [("1", "1.jpg", "1.png"), ("2", "2.jpg", "2.tif")]


def test_pictures_of_a_folder(tmp_path):
    touch(tmp_path, "a-b.png", "a.PNG", "._a.png", "b.jpg", "c.txt")
    assert list(pictures(tmp_path, (".png", ".jpg"))) == ["a", "a-b", "b"]
    touch(tmp_path, "b.png")
    with pytest.raises(DataError, match="the same picture"):
        pictures(tmp_path, (".png", ".jpg"))


def test_nothing_there(tmp_path):
    assert pairs_by_suffix(tmp_path, "rgb", "depth") == []
    touch(tmp_path, "a_rgb.png", "b_rgb.png")  # colour alone is another layout, not an incomplete one
    assert pairs_by_suffix(tmp_path, "rgb", "depth") == []


@pytest.mark.parametrize(("lost", "words"), [("a_rgb.png", "a_depth.png has no colour"), ("b_depth.png", "b_rgb.png")])
def test_a_picture_without_partner(tmp_path, lost, words):
    touch(tmp_path, "a_rgb.png", "a_depth.png", "b_rgb.png", "b_depth.png", "c_rgb.png", "c_depth.png")
    (tmp_path / lost).unlink()
    with pytest.raises(DataError, match=words):
        pairs_by_suffix(tmp_path, "rgb", "depth")


def test_two_files_for_one_picture(tmp_path):
    touch(tmp_path, "a_rgb.png", "a_depth.png", "a_depth.tif")
    with pytest.raises(DataError, match=r"a_depth\.png"):
        pairs_by_suffix(tmp_path, "rgb", "depth")


def test_colour_is_rgb(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    assert np.array_equal(read_color(tmp_path / "a.png"), image)
    Image.fromarray(image[..., 0]).save(tmp_path / "grey.pgm")
    assert np.array_equal(read_color(tmp_path / "grey.pgm"), np.repeat(image[..., :1], 3, axis=2))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_maps_as_they_are_stored(tmp_path, kind):
    values = np.arange(20, dtype=kind).reshape(4, 5) * 11
    file = tmp_path / ("m.tiff" if kind == np.float32 else "m.png")
    Image.fromarray(values).save(file)
    np.save(tmp_path / "m.npy", values)
    for path in (file, tmp_path / "m.npy"):
        read = read_map(path)
        assert read.dtype == kind
        assert np.array_equal(read, values)


def test_maps_that_are_none(tmp_path):
    cv2.imwrite(str(tmp_path / "color.png"), np.zeros((4, 4, 3), np.uint8))
    np.save(tmp_path / "words.npy", np.array([["a"]]))
    np.save(tmp_path / "objects.npy", np.array([[{}]]), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "words.npy").read_bytes()[:40])
    (tmp_path / "empty.npy").touch()
    (tmp_path / "text.png").write_text("no picture")
    for name in ("color.png", "words.npy", "objects.npy", "cut.npy", "empty.npy", "text.png", "none.png", "none.npy"):
        with pytest.raises(DataError, match=name) as error:
            read_map(tmp_path / name)
        assert "\n" not in str(error.value)
    cv2.imwrite(str(tmp_path / "deep.png"), np.zeros((4, 4), np.uint16))
    with pytest.raises(DataError, match="8 bits"):
        read_levels(tmp_path / "deep.png")


def test_sizes_must_agree(tmp_path):
    class Levels(PairFiles):
        def read_depth(self, path):
            return from_levels(read_levels(path))

    cv2.imwrite(str(tmp_path / "a_rgb.png"), np.zeros((4, 6, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "a_depth.png"), np.zeros((4, 5), np.uint8))
    data = Levels(pairs_by_suffix(tmp_path, "rgb", "depth"))
    with pytest.raises(DataError, match=r"a_depth\.png: is 5x4.*a_rgb\.png is 6x4"):
        data[0]


def test_levels_lie_in_a_room():
    depth = from_levels(np.array([[0, 255, np.nan, 100]]))
    assert depth.dtype == np.float32
    assert depth[0, [0, 1, 3]] == pytest.approx([1, 4.825, 2.5])
    assert np.isnan(depth[0, 2])


@pytest.mark.parametrize(("multiple", "size"), [(1, (21, 13)), (4, (20, 12)), (8, (16, 8)), (16, (16, 13))])
def test_cropping(multiple, size):
    depth = np.arange(21 * 13, dtype=np.float32).reshape(21, 13)
    color = np.repeat(depth[..., None], 3, 2).astype(np.uint8)
    cut = Sample(color, depth, "a").cropped(multiple)
    assert cut.depth.shape == cut.color.shape[:2] == size
    assert np.array_equal(cut.depth, depth[: size[0], : size[1]])
    assert np.array_equal(cut.color, color[: size[0], : size[1]])
