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

"""The fast bilateral solver against a dense one, made of dictionaries and numpy.linalg.solve."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
import pytest

from dkn.evaluation.bilateral_solver import solve


def dense_solution(guide, target, confidence, sigma_space, sigma_color, strength):
    yuv = cv2.cvtColor(guide, cv2.COLOR_BGR2YCrCb).astype(int)
    height, width = target.shape
    cells = {}
    for y, x in product(range(height), range(width)):
        cell = (int(y / sigma_space), int(x / sigma_space), *(int(v / sigma_color) for v in yuv[y, x]))
        cells.setdefault(cell, []).append((y, x))
    names = list(cells)
    blur = np.zeros((len(names), len(names)))
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            apart = np.abs(np.subtract(a, b))
            blur[i, j] = 10 if i == j else 1 if apart.sum() == 1 else 0
    count = np.array([len(cells[name]) for name in names], float)
    scale = np.ones(len(names))
    for _ in range(10):
        scale = np.sqrt(scale * count / (blur @ scale))
    mass = scale * (blur @ scale)
    weight = np.array([sum(confidence[p] for p in cells[name]) for name in names])
    wanted = np.array([sum(confidence[p] * target[p] for p in cells[name]) for name in names])
    system = strength * (np.diag(mass) - np.diag(scale) @ blur @ np.diag(scale)) + np.diag(weight)
    solution = np.linalg.solve(system, wanted)
    result = np.empty_like(target)
    for name, value in zip(names, solution, strict=True):
        for pixel in cells[name]:
            result[pixel] = value
    return result


@pytest.mark.parametrize("seed", range(3))
def test_equals_a_dense_solution(seed):
    rng = np.random.default_rng(seed)
    guide = cv2.resize(rng.integers(0, 255, (4, 5, 3)).astype(np.uint8), (15, 12), interpolation=cv2.INTER_LINEAR)
    target, confidence = rng.uniform(1, 4, (12, 15)), rng.uniform(0.01, 1, (12, 15))
    arguments = {"sigma_space": 2.5, "sigma_color": 24.0, "strength": 0.7}
    expected = dense_solution(guide, target, confidence, **arguments)
    assert np.ptp(expected) > 0.3
    result = solve(guide, target, confidence, **arguments, iterations=400)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_pixels_without_confidence_take_their_neighbours_depth():
    guide = np.full((12, 16, 3), 90, np.uint8)
    guide[:, 8:] = 200
    target = np.full((12, 16), 1.0)
    target[:, 8:] = 3.0
    confidence = np.ones((12, 16))
    target[4:8, 4:12] = 100.0
    confidence[4:8, 4:12] = 0
    result = solve(guide, target, confidence, sigma_space=2, sigma_color=8, strength=1, iterations=200)
    np.testing.assert_allclose(result[:, :8], 1, atol=1e-4)
    np.testing.assert_allclose(result[:, 8:], 3, atol=1e-4)
