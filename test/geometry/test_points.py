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

from __future__ import annotations

import numpy as np
import pytest

from dkn.errors import ConfigError, ImageError
from dkn.geometry import CameraModel, PointCloud, numpy_points, points

CAMERA = CameraModel(40, 30, 35, 36, 19, 15, "plumb_bob", (0.1, -0.05, 0.001, 0.002))


@pytest.fixture(params=["numba", "numpy"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    module = numpy_points
    if request.param == "numba":
        pytest.importorskip("numba")
        from dkn.geometry import numba_points as module  # type: ignore[no-redef]
    monkeypatch.setattr(points, "kernels", module)


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 4, (30, 40)).astype(np.float32)
    depth[3:6, 10:20] = np.nan
    return depth, rng.integers(0, 256, (30, 40, 3), np.uint8)


def colors_of(cloud: np.ndarray) -> np.ndarray:
    """(…, 3) RGB, read as PCL reads it: of a packed number, red in bits 16 to 23."""
    packed = np.ascontiguousarray(cloud[..., 4]).view(np.uint32)
    return np.stack([packed >> shift & 255 for shift in (16, 8, 0)], -1)


def test_points_project_to_their_pixels(kernels: None, images: tuple[np.ndarray, np.ndarray]) -> None:
    depth, color = images
    cloud = PointCloud(CAMERA)(depth, color)
    u, v = CAMERA.project(cloud[..., :3].astype(float))
    known = np.isfinite(depth)
    rows, columns = np.mgrid[:30, :40]
    assert np.allclose(u[known], columns[known], atol=1e-3) and np.allclose(v[known], rows[known], atol=1e-3)
    assert np.array_equal(cloud[..., 2], depth, equal_nan=True) and np.isnan(cloud[..., :3][~known]).all()
    assert np.array_equal(colors_of(cloud), color)


def test_decimation_takes_pixels_as_they_are(kernels: None, images: tuple[np.ndarray, np.ndarray]) -> None:
    whole, third = PointCloud(CAMERA)(*images), PointCloud(CAMERA, decimation=3)
    assert third.shape == (10, 13)
    assert np.array_equal(third(*images).view(np.uint32), whole[1::3, 1::3].view(np.uint32))


def test_voxels_hold_the_mean_of_their_points(kernels: None, images: tuple[np.ndarray, np.ndarray]) -> None:
    depth, color = images
    size = 0.25
    cloud = PointCloud(CAMERA)(depth, color)
    known = np.isfinite(depth)
    voxels = PointCloud(CAMERA, voxel_size=size)(depth, color)
    by_voxel: dict[tuple[int, ...], list[tuple[np.ndarray, np.ndarray]]] = {}
    for point, shown in zip(cloud[known][:, :3], color[known], strict=True):
        by_voxel.setdefault(tuple(np.floor(point / np.float32(size)).astype(int)), []).append((point, shown))
    assert voxels.shape == (len(by_voxel), 8)
    assert np.allclose(voxels[:, :3], [np.mean([p for p, _ in m], axis=0) for m in by_voxel.values()], atol=1e-5)
    means = np.array([np.mean([c for _, c in m], axis=0) for m in by_voxel.values()])
    assert (np.abs(colors_of(voxels) - means) <= 0.5 + 1e-9).all()


def test_of_nothing_known_no_voxel_comes(kernels: None) -> None:
    nothing = np.full((30, 40), np.nan, np.float32)
    assert PointCloud(CAMERA, voxel_size=0.1)(nothing, np.zeros((30, 40, 3), np.uint8)).shape == (0, 8)


def test_an_image_smaller_than_half_the_decimation_has_no_points(kernels: None) -> None:
    cloud = PointCloud(CameraModel(40, 30, fx=40, fy=40, cx=20, cy=15), 64)
    assert cloud(np.ones((30, 40), np.float32), np.zeros((30, 40, 3), np.uint8)).shape == (*cloud.shape, 8)
    assert 0 in cloud.shape


def test_mistakes_are_named(images: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ConfigError):
        PointCloud(CAMERA, decimation=0)
    with pytest.raises(ConfigError):
        PointCloud(CAMERA, voxel_size=float("nan"))
    with pytest.raises(ImageError, match="their camera"):
        PointCloud(CAMERA)(images[0][1:], images[1])
