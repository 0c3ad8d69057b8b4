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

"""Kernels: the taps are those that make the output, and the picture shows them where they are."""

from __future__ import annotations

import numpy as np
import pytest

from dkn.depth.resample import upsample_bicubic
from dkn.errors import ImageError
from dkn.experiments.kernel_figure import kernel_figure, kernel_on_grid
from dkn.networks.config import NetworkConfig
from dkn.upsampler import Taps, Upsampler


def read(depth: np.ndarray, x: float, y: float) -> float:
    """Bilinear interpolation at a place inside the image."""
    i, j = int(np.floor(y)), int(np.floor(x))
    v, u = y - i, x - j
    rows = depth[i : i + 2, j : j + 2].astype(float)
    return float((1 - v) * ((1 - u) * rows[0, 0] + u * rows[0, 1]) + v * ((1 - u) * rows[1, 0] + u * rows[1, 1]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"residual": False},
        {"offsets_from": "none", "kernel_size": 5},
        {"released_sampling": True},
        {"guidance": "none"},
    ],
)
def test_taps_make_the_output(tmp_path, make_model, make_scene, changes):
    config = NetworkConfig(n1=8, n2=8, **changes)
    model = Upsampler(make_model(tmp_path / "m.safetensors", 4, config), device="cpu", precision="fp32")
    color, depth = make_scene(64, 80)
    low = depth[2::4, 2::4]
    start, output = upsample_bicubic(low, (64, 80)), model(color, low)
    pixels = [(40, 30), (25, 35), (50, 20), (41, 44)]
    agree = 0
    for (x, y), taps in zip(pixels, model.taps(color, low, pixels), strict=True):
        assert taps.positions.shape == (config.kernel_size**2, 2)
        assert np.abs(taps.positions).max() < 7  # otherwise the window would cut it off
        if config.offsets_from == "none":
            assert np.array_equal(taps.positions, taps.regular)
        total = sum(w * read(start, x + dx, y + dy) for w, (dx, dy) in zip(taps.weights, taps.positions, strict=True))
        expected = total + (start[y, x] if config.residual else 0)
        agree += abs(output[y, x] - expected) < 1e-4  # the result is clamped to its surroundings afterwards
    assert agree >= 3


def test_taps_of_pixels_that_are_not_there(tmp_path, make_model, make_scene):
    model = Upsampler(make_model(tmp_path / "m.safetensors", 4), device="cpu")
    color, depth = make_scene(32, 40)
    for pixel in ((40, 3), (3, 32), (-1, 0)):
        with pytest.raises(ImageError, match="outside"):
            model.taps(color, depth[::4, ::4], [pixel])
    with pytest.raises(ImageError, match="no valid"):
        model.taps(color, np.full((8, 10), np.nan, np.float32), [(1, 1)])


def test_kernel_on_the_grid_by_hand():
    positions = np.array([[0, 0], [1.25, -0.5], [9, 9], [2.5, 0]])
    taps = Taps(np.zeros((4, 2)), positions, np.array([0.5, -1, 7, 4]))
    expected = np.zeros((5, 5))
    expected[2, 2] = 0.5
    expected[1, 3], expected[2, 3] = -0.375, -0.375
    expected[1, 4], expected[2, 4] = -0.125, -0.125 + 2  # the other half of the last one lies outside, as does the 7
    np.testing.assert_allclose(kernel_on_grid(taps, 5), expected)


def test_picture(make_scene):
    color, depth = make_scene(60, 80)
    color[:] = 128
    taps = Taps(np.zeros((2, 2)), np.array([[3, -2], [-4, 5]]), np.array([0.5, -0.5]))
    picture = kernel_figure(color, depth, {"net": depth}, {"net": [taps, taps]}, [(40, 30), (1, 1)], 15, depth)
    label, zoom, radius = 26, 14, 11
    side = zoom * (2 * radius + 1)
    assert picture.shape[0] == (label + 60 + 12) + 2 * (label + side + 12)
    snippet = picture[label + 60 + 12 + label :][:side, :side].astype(int)

    def at(x: int, y: int) -> np.ndarray:
        return snippet[zoom * (radius + y) + zoom // 2, zoom * (radius + x) + zoom // 2]

    red, blue = at(3, -2), at(-4, 5)
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 100
    assert np.ptp(at(9, 9)) == 0  # grey as the image
