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

"""Crops side by side with error maps."""

from __future__ import annotations

import numpy as np
import pytest
from samples import Samples

from dkn.data.sample import Sample
from dkn.evaluation import bicubic
from dkn.evaluation import comparison as module
from dkn.evaluation.comparison import comparison, stack, worst_crop


def test_the_crop_with_the_largest_squared_error(monkeypatch):
    monkeypatch.setattr(module, "CROP", 5)
    error = np.random.default_rng(0).uniform(0, 1, (20, 24))
    error[3, 7] = np.nan
    error[0, 0] = 50  # in the border: does not count
    best, place = -1.0, (0, 0)
    for y in range(2, 14):
        for x in range(2, 18):
            total = np.nansum(error[y : y + 5, x : x + 5] ** 2)
            if total > best:
                best, place = total, (y, x)
    assert worst_crop(error, 2) == (slice(place[0], place[0] + 5), slice(place[1], place[1] + 5))


def test_a_crop_of_a_small_image_is_all_of_it_but_the_border():
    assert worst_crop(np.ones((40, 50)), 6) == (slice(6, 34), slice(6, 44))


def test_panels(make_scene):
    color, depth = make_scene(128, 160)
    data = Samples([Sample(color, depth, "one")])
    perfect = {"bicubic": bicubic, "perfect": lambda c, low: depth}
    picture = comparison(data, perfect, 8)
    panel, label, gap = 224, 26, 6
    assert picture.shape == (2 * (panel + label), 5 * panel + 4 * gap, 3)
    columns = [picture[:, i * (panel + gap) : i * (panel + gap) + panel] for i in range(5)]
    above, below = slice(label, label + panel), slice(panel + 2 * label, None)
    assert np.array_equal(columns[3][above], columns[4][above])  # perfect looks like the truth
    assert not np.array_equal(columns[2][above], columns[4][above])
    assert columns[3][below].max() < 10  # black: no error
    assert columns[2][below].max() > 200  # bicubic's is white somewhere
    assert stack([picture, picture[:, :100]]).shape == (2 * (picture.shape[0] + 10), picture.shape[1], 3)


@pytest.mark.parametrize("size", [(1, 1), (12, 40), (5, 64)])
def test_an_image_that_is_all_border_is_shown_whole(make_scene, size):
    color, depth = (image[: size[0], : size[1]] for image in make_scene(64, 64))
    data = Samples([Sample(color, depth, "one")])
    assert worst_crop(np.ones(size), data.border) == (slice(0, size[0]), slice(0, size[1]))
    assert comparison(data, {"bicubic": bicubic}, 1).ndim == 3
