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

"""Depth in files: units, what is unknown, and what is refused. Files are written by NumPy and by hand, not by the code
under test."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from dkn.data.depth_file import read_depth, write_depth
from dkn.errors import ConfigError, DataError

METRES = np.array([[1.5, 2.25, np.nan], [0.5, 60.0, 3.008]], np.float32)


def png(path, counts):
    assert cv2.imwrite(str(path), counts)
    return path


def test_millimetres_are_the_usual_unit_of_16_bits(tmp_path):
    file = png(tmp_path / "d.png", np.array([[1500, 0, 65535, 65534]], np.uint16))
    np.testing.assert_allclose(read_depth(file), [[1.5, np.nan, np.nan, 65.534]], rtol=1e-6)


@pytest.mark.parametrize(("unit", "count"), [(0.0001, 15000), (1 / 5000, 7500), (0.001, 1500)])
def test_another_unit(tmp_path, unit, count):
    """RealSense at 0.1 mm, TUM's 5000 counts a metre."""
    file = png(tmp_path / "d.png", np.full((2, 2), count, np.uint16))
    np.testing.assert_allclose(read_depth(file, unit), 1.5, rtol=1e-5)


@pytest.mark.parametrize("unit", [0, -1, np.nan, np.inf])
def test_a_unit_that_is_none(tmp_path, unit):
    with pytest.raises(ConfigError, match="unit"):
        read_depth(png(tmp_path / "d.png", np.ones((2, 2), np.uint16)), unit)


def test_eight_bits_have_no_usual_unit(tmp_path):
    file = png(tmp_path / "d.png", np.full((2, 2), 150, np.uint8))
    with pytest.raises(ConfigError, match="--unit"):
        read_depth(file)
    np.testing.assert_allclose(read_depth(file, 0.01), 1.5, rtol=1e-6)


@pytest.mark.parametrize("kind", [".npy", ".tiff"])
def test_float_millimetres_are_refused_by_name(tmp_path, kind):
    file, values = tmp_path / f"d{kind}", np.full((4, 4), 1500, np.float32)
    np.save(file, values) if kind == ".npy" else cv2.imwrite(str(file), values)
    with pytest.raises(DataError, match=r"1500 m; are these millimetres\? --unit 0.001"):
        read_depth(file)
    np.testing.assert_allclose(read_depth(file, 0.001), 1.5, rtol=1e-6)


def test_limits(tmp_path):
    np.save(tmp_path / "d.npy", METRES)
    found = read_depth(tmp_path / "d.npy", min_depth=1, max_depth=10)
    np.testing.assert_array_equal(np.isfinite(found), [[True, True, False], [False, False, True]])


@pytest.mark.parametrize(("factor", "order"), [("-1.0", "<"), ("1.0", ">"), ("-255", "<"), ("0.003921", ">")])
def test_pfm_as_its_format_says(tmp_path, factor, order):
    """Rows come from the bottom up; the factor's sign is the order of bytes, its size changes nothing."""
    rows = [[3.008, 1.0], [2.0, 4.5], [0.25, 8.0]]
    data = b"".join(struct.pack(f"{order}2f", *row) for row in reversed(rows))
    (tmp_path / "d.pfm").write_bytes(b"Pf\n2 3\n" + factor.encode() + b"\n" + data)
    np.testing.assert_array_equal(read_depth(tmp_path / "d.pfm"), np.array(rows, np.float32))


@pytest.mark.parametrize(
    "content", [b"", b"Pf\n2 3\n-1.0\n\0", b"PF\n1 1\n-1\n" + 12 * b"\0", b"Pf\nx y\n1\n", b"\x89PNG"]
)
def test_a_damaged_pfm(tmp_path, content):
    (tmp_path / "d.pfm").write_bytes(content)
    with pytest.raises(DataError, match="PFM"):
        read_depth(tmp_path / "d.pfm")


@pytest.mark.parametrize("kind", [".npy", ".tif", ".tiff"])
def test_metres_are_written_as_they_are(tmp_path, kind):
    file = tmp_path / "new" / f"d{kind}"
    write_depth(file, METRES * 10)  # 600 m
    found = np.load(file) if kind == ".npy" else cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, METRES * 10)
    assert found.dtype == np.float32


def test_a_png_of_what_16_bits_cannot_say(tmp_path):
    with pytest.raises(DataError, match=r"1 pixels lie beyond 65.534 m.*\.npy"):
        write_depth(tmp_path / "d.png", METRES * 10)
    assert not (tmp_path / "d.png").exists()
    write_depth(tmp_path / "d.png", METRES)
    found = cv2.imread(str(tmp_path / "d.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, [[1500, 2250, 0], [500, 60000, 3008]])


def test_another_kind_of_file(tmp_path):
    with pytest.raises(DataError, match="depth is written as"):
        write_depth(tmp_path / "d.jpg", METRES)


def test_counts_of_either_byte_order(tmp_path):
    for order in "<>":
        np.save(tmp_path / "depth.npy", np.array([[0, 1234], [65535, 1]], f"{order}u2"))
        found = read_depth(tmp_path / "depth.npy")
        np.testing.assert_allclose(found, [[np.nan, 1.234], [np.nan, 0.001]], rtol=1e-6)
