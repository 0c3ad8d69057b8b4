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

"""The fast bilateral solver (Barron and Poole, ECCV 2016): smooth depth that stays near what is trusted.

It minimises  λ/2 Σ_ij W_ij (x_i − x_j)² + Σ_i c_i (x_i − t_i)²  over x, where W is a bistochastic affinity of pixels
that lie close together and look alike. The solution is sought in a simplified bilateral grid.

OpenCV has this filter too, but only in builds with Eigen, which those on PyPI are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Array = np.ndarray

_LOWEST_DIAGONAL = 1e-5


@dataclass(frozen=True)
class _Grid:
    """The occupied cells (vertices) of a grid over row, column, luma and two chromas."""

    vertex: Array
    """(pixels,) index of the vertex that each pixel belongs to."""
    neighbours: Array
    """(10, vertices) index of the next vertex along each direction; the number of vertices where there is none."""

    def splat(self, values: Array) -> Array:
        """Sum over the pixels of each vertex."""
        return np.bincount(self.vertex, values.ravel(), self.neighbours.shape[1])

    def blur(self, values: Array) -> Array:
        """A [1 2 1] filter along each dimension, summed: 10 v plus all the neighbours of v."""
        padded = np.append(values, 0.0)
        return np.asarray(len(self.neighbours) * values + padded[self.neighbours].sum(axis=0))


def solve(
    guide: Array,
    target: Array,
    confidence: Array,
    *,
    sigma_space: float,
    sigma_color: float,
    strength: float,
    iterations: int = 25,
) -> Array:
    """Filter `target`.

    Args:
        guide: (H, W, 3) uint8 BGR.
        target: (H, W) float, no NaN.
        confidence: (H, W) float, 0 or more: how much to trust each pixel.
        sigma_space: pixels along the edge of a cell.
        sigma_color: grey levels along the edge of a cell (luma and chroma).
        strength: λ.
        iterations: of the conjugate gradients.

    Returns:
        (H, W) float64.
    """
    grid = _build(guide, sigma_space, sigma_color)
    weight = grid.splat(confidence)
    wanted = grid.splat(confidence * target)
    scale, mass = _bistochastic(grid)

    def system(x: Array) -> Array:
        return np.asarray(strength * (mass * x - scale * grid.blur(scale * x)) + weight * x)

    diagonal = strength * (mass - len(grid.neighbours) * scale**2) + weight
    start = wanted / np.maximum(weight, 1e-12)
    solution = _conjugate_gradients(system, wanted, start, np.maximum(diagonal, _LOWEST_DIAGONAL), iterations)
    return solution[grid.vertex].reshape(target.shape)


def _build(guide: Array, sigma_space: float, sigma_color: float) -> _Grid:
    coordinates = np.dstack((*np.indices(guide.shape[:2]), cv2.cvtColor(guide, cv2.COLOR_BGR2YCrCb)))
    cells = coordinates.reshape(-1, 5) / np.array([sigma_space] * 2 + [sigma_color] * 3)
    key = np.zeros(len(cells), np.int64)
    steps: list[int] = []
    for number in cells.astype(np.int64).T + 1:
        # One to spare at either end: a step out of the range must not arrive at the next row's cells.
        base = int(number.max()) + 2
        key = key * base + number
        steps = [step * base for step in steps] + [1]
    keys, vertex = np.unique(key, return_inverse=True)
    neighbours = []
    for step in (sign * step for step in steps for sign in (-1, 1)):
        place = np.searchsorted(keys, keys + step).clip(max=len(keys) - 1)
        neighbours.append(np.where(keys[place] == keys + step, place, len(keys)))
    return _Grid(vertex.ravel(), np.stack(neighbours))


def _bistochastic(grid: _Grid, iterations: int = 10) -> tuple[Array, Array]:
    """n and m such that diag(n) B diag(n) has row sums m, close to the number of pixels in each vertex."""
    count = np.bincount(grid.vertex).astype(float)
    scale = np.ones_like(count)
    for _ in range(iterations):
        scale = np.sqrt(scale * count / grid.blur(scale))
    return scale, scale * grid.blur(scale)


def _conjugate_gradients(
    system: Callable[[Array], Array], right: Array, x: Array, diagonal: Array, iterations: int
) -> Array:
    """x with system(x) = right, preconditioned by `diagonal`."""
    residual = right - system(x)
    direction = scaled = residual / diagonal
    product = residual @ scaled
    for _ in range(iterations):
        if product <= 1e-24 * (right @ right):
            break
        image = system(direction)
        step = product / (direction @ image)
        x, residual = x + step * direction, residual - step * image
        scaled = residual / diagonal
        previous, product = product, residual @ scaled
        direction = scaled + product / previous * direction
    return x
