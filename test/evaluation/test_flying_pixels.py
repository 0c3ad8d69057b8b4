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

"""Which depths lie near no surface."""

from __future__ import annotations

import math

import numpy as np

from dkn.evaluation.metrics import AROUND, FLYING, flying_pixels, flying_share


def test_between_two_walls():
    truth = np.full((9, 12), 2.0)
    truth[:, 6:] = 4
    result = truth.copy()
    result[4, 5], result[4, 6], result[4, 0] = 3, 2, 4  # in mid-air; on the other wall; on a wall that is too far away
    found = flying_pixels(result, truth)
    assert sorted(zip(*np.nonzero(found), strict=True)) == [(4, 0), (4, 5)]


def test_what_is_unknown_is_not_flying():
    truth = np.full((9, 9), np.nan)
    result = np.full((9, 9), 2.0)
    assert not flying_pixels(result, truth).any()
    truth[0, 0], result[2, 2] = 9, np.nan
    assert flying_pixels(result, truth)[3, 3] and not flying_pixels(result, truth)[2, 2]
    assert not flying_pixels(result, truth)[4, 4]  # four pixels away


def test_five_per_cent():
    truth = np.full((1, 2), 1.0)
    assert not flying_pixels(np.full((1, 2), 1.05), truth).any()
    assert flying_pixels(np.full((1, 2), 1.06), truth).all()


def test_pixel_by_pixel():
    rng = np.random.default_rng(0)
    truth, result = rng.choice([1.0, 1.2, 2.0, 3.0, np.nan], (12, 15)), rng.uniform(0.9, 3.2, (12, 15))
    result[rng.random(result.shape) < 0.2] = np.nan
    found = flying_pixels(result, truth)
    for y, x in np.ndindex(result.shape):
        near = truth[max(y - AROUND, 0) : y + AROUND + 1, max(x - AROUND, 0) : x + AROUND + 1]
        near = near[np.isfinite(near)]
        flying = np.isfinite(result[y, x]) and near.size and np.abs(near - result[y, x]).min() > FLYING * result[y, x]
        assert found[y, x] == bool(flying)


def test_share():
    truth, result = np.full((5, 8), 2.0), np.full((5, 8), 2.0)
    result[:, 0], result[0, 1:3], truth[1:, 5] = np.nan, 3.0, np.nan
    assert flying_share(result, truth) == 2 / 31
    assert math.isnan(flying_share(result, np.full_like(truth, np.nan)))
