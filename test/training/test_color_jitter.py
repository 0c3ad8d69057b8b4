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

"""Random colours: what they leave alone, and how far they go."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from dkn.training.color_jitter import jitter


class Drawn:
    """A generator that gives these numbers."""

    def __init__(self, factors, exponent):
        self.given = [np.array(factors), exponent]

    def uniform(self, low, high, size=None):
        return self.given.pop(0)


@pytest.fixture
def picture(make_scene):
    return make_scene(12, 16)[0]


def test_no_strength_changes_nothing(picture):
    result = jitter(picture, 0.0, np.random.default_rng(0))
    np.testing.assert_allclose(result, picture, atol=1e-3)


def test_each_change_alone(picture):
    np.testing.assert_allclose(jitter(picture, 0.3, Drawn((0.8, 1, 1), 0)), 0.8 * picture, atol=1e-3)
    flat = jitter(picture, 0.3, Drawn((1, 0.8, 1), 0))
    np.testing.assert_allclose(flat, 0.8 * picture + 0.2 * picture.mean(), atol=1e-2)
    dark = jitter(picture, 0.3, Drawn((1, 1, 1), 0.3))
    np.testing.assert_allclose(dark, 255 * (picture / 255) ** np.exp(0.3), atol=1e-2)
    pale = jitter(picture, 0.3, Drawn((1, 1, 0.7), 0))
    for before, after in zip(picture.reshape(-1, 3) / 255, pale.reshape(-1, 3) / 255, strict=True):
        (y, i, q), (y2, i2, q2) = colorsys.rgb_to_yiq(*before), colorsys.rgb_to_yiq(*after)
        assert y2 == pytest.approx(y, abs=5e-3)  # its luma is the same, to two digits of its coefficients
        assert (i2, q2) == pytest.approx((0.7 * i, 0.7 * q), abs=5e-3)


def test_results_stay_colours(picture):
    rng = np.random.default_rng(1)
    results = [jitter(picture, 1.0, rng) for _ in range(30)]
    assert min(r.min() for r in results) >= 0
    assert max(r.max() for r in results) <= 255
    assert len({float(r.mean()) for r in results}) == 30


def test_a_part_changes_as_it_does_in_the_whole_picture(picture):
    whole = jitter(picture, 0.3, np.random.default_rng(2))
    part = jitter(picture[3:9, 4:], 0.3, np.random.default_rng(2), mean=float(picture.mean()))
    np.testing.assert_allclose(part, whole[3:9, 4:], atol=1e-2)
