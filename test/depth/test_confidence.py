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

"""Confidence: both forms of it, and what it says of surfaces, edges and pixels in mid-air."""

from __future__ import annotations

import numpy as np
import pytest

from dkn.depth.confidence import COEFFICIENTS, confidence, expand, features
from dkn.depth.kernels import numpy_confidence


def scene(seed: int = 0, size: tuple[int, int] = (24, 32), low: tuple[int, int] = (6, 8)):
    rng = np.random.default_rng(seed)
    result, measured = rng.uniform(0.5, 8, size).astype("f"), rng.uniform(0.5, 8, low).astype("f")
    result[rng.random(size) < 0.1], measured[rng.random(low) < 0.3] = np.nan, np.nan
    return result, measured


@pytest.mark.parametrize("sizes", [((24, 32), (6, 8)), ((7, 5), (7, 5)), ((9, 13), (2, 3)), ((4, 4), (1, 1))])
def test_the_compiled_form_is_the_same(sizes):
    numba_confidence = pytest.importorskip("dkn.depth.kernels.numba_confidence")
    result, low = scene(1, *sizes)
    np.testing.assert_allclose(
        numba_confidence.features(result, low, 1.5), numpy_confidence.features(result, low, 1.5), atol=2e-5
    )
    coefficients = np.random.default_rng(0).normal(0, 0.2, len(COEFFICIENTS)).astype("f")
    arguments = result, low, 1.5, coefficients
    found, expected = numba_confidence.probability(*arguments), numpy_confidence.probability(*arguments)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_features_by_hand():
    low = np.array([[2, 2, 4], [2, np.nan, 4], [2, 2, 4]], np.float32)
    result = np.full((3, 3), 2, np.float32)
    result[1, 1] = 3
    spread, gap, slope, missing, depth, scale = features(result, low)[1, 1]
    assert spread == pytest.approx(np.log(1 + 1e-3), abs=1e-5) and gap == pytest.approx(np.log(1 / 3 + 1e-3), abs=1e-5)
    assert slope == pytest.approx(np.log(1 / 3 + 1e-3), abs=1e-5) and missing == pytest.approx(1 / 9)
    assert (depth, scale) == (pytest.approx(np.log(3)), 0)


def test_expand_is_every_product_once():
    x = np.random.default_rng(0).normal(size=(5, 6))
    found = expand(x)
    assert found.shape == (5, len(COEFFICIENTS))
    weights = np.random.default_rng(1).normal(size=found.shape[1])
    for row, values in zip(x, found, strict=True):
        whole, total, k = [1.0, *row], 0.0, 0
        for i in range(7):
            for j in range(i, 7):
                total += weights[k] * whole[i] * whole[j]
                k += 1
        assert values @ weights == pytest.approx(total)


def test_a_wall_is_trusted_and_a_pixel_in_mid_air_is_not():
    low = np.full((12, 16), 2, np.float32)
    low[:, 8:] = 4
    result = np.repeat(np.repeat(low, 4, 0), 4, 1)
    result[20, 31] = 3  # between the two walls
    result[5, 5] = np.nan
    found = confidence(result, low)
    assert found.dtype == np.float32 and found[5, 5] == 0
    assert found[20, 10] > 0.9 and found[20, 50] > 0.9
    assert found[20, 31] < 0.3 < found[40, 31]  # beside the edge, but on a wall


def test_an_order_of_bytes_and_views():
    result, low = scene(2)
    expected = confidence(result, low)
    np.testing.assert_array_equal(confidence(result[::-1, ::-1], low[::-1, ::-1])[::-1, ::-1].shape, expected.shape)
    np.testing.assert_array_equal(confidence(np.asfortranarray(result), low.astype("f8")), expected)
