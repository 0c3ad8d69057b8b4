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

import cv2
import numpy as np
import pytest

from dkn.errors import ConfigError
from dkn.geometry import CameraModel

# Calibrations as drivers publish them: Kinect v2's infrared, Azure Kinect's colour, a wide-angle lens.
CAMERAS = [
    CameraModel(512, 424, 366, 366, 258.2, 204.1, "plumb_bob", (0.09, -0.27, 0.001, -0.002, 0.09)),
    CameraModel(512, 424, 366, 366, 258.2, 204.1, "plumb_bob", (0.05, -0.04, 0.001, -0.002)),
    CameraModel(
        1280, 720, 611, 612, 639, 366, "rational_polynomial", (0.5, -2.6, 5e-4, -2e-4, 1.5, 0.4, -2.4, 1.4)
    ),
    CameraModel(
        640, 480, 500, 510, 320, 240, "rational_polynomial",
        (0.1, -0.1, 1e-3, 2e-3, 0.01, 0.05, -0.02, 0.0, 1e-3, -2e-3, 5e-4, 1e-3),
    ),
    CameraModel(640, 480, 400, 400, 321, 239, "equidistant", (-0.01, 0.05, -0.04, 0.01)),
]  # fmt: skip


def with_opencv(camera: CameraModel, points: np.ndarray) -> np.ndarray:
    matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]], float)
    if camera.model == "equidistant":
        lens = np.array(camera.distortion)[:, None]
        pixels, _ = cv2.fisheye.projectPoints(points[:, None], np.zeros((3, 1)), np.zeros((3, 1)), matrix, lens)
    else:
        pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, np.array(camera.distortion))
    return pixels.reshape(-1, 2)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: f"{camera.model}{len(camera.distortion)}")
def test_projection_is_opencv_s(camera: CameraModel) -> None:
    points = np.random.default_rng(0).uniform([-0.6, -0.6, 1], [0.6, 0.6, 1.5], (500, 3))
    assert np.allclose(np.stack(camera.project(points), 1), with_opencv(camera, points), atol=1e-6)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: f"{camera.model}{len(camera.distortion)}")
def test_rays_lead_back_to_their_pixels(camera: CameraModel) -> None:
    x, y = camera.rays()
    points = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3).astype(float)
    rows, columns = np.mgrid[: camera.height, : camera.width].reshape(2, -1)
    assert np.allclose(with_opencv(camera, points), np.stack([columns, rows], 1), atol=1e-3)


def test_what_a_folding_lens_cannot_show_is_not_projected() -> None:
    camera = CameraModel(640, 480, 500, 500, 320, 240, "plumb_bob", (-0.3, 0.0, 0.0, 0.0))  # x − 0.3 x³ turns at 1.054
    u, _ = camera.project(np.array([[1.0, 0, 1], [1.2, 0, 1], [0, 0, -1]]))
    assert u[0] == pytest.approx(670) and np.isnan(u[1:]).all()


def test_resized_and_cropped_images_show_the_same_view() -> None:
    camera = CameraModel(640, 480, 500, 510, 300, 250)
    point = np.array([0.1, -0.2, 1.0])
    u, v = camera.project(point)
    half_u, half_v = camera.resized(320, 240).project(point)
    assert (half_u, half_v) == pytest.approx(((u + 0.5) / 2 - 0.5, (v + 0.5) / 2 - 0.5))
    assert camera.cropped(100, 20, 200, 100).project(point) == pytest.approx((u - 100, v - 20))


@pytest.mark.parametrize(
    "change",
    [{"model": "fisheye"}, {"distortion": (0.1,)}, {"fx": 0.0}, {"cx": float("nan")}, {"width": 0}],
)
def test_what_is_no_camera_is_refused(change: dict[str, object]) -> None:
    numbers = {"width": 640, "height": 480, "fx": 500.0, "fy": 500.0, "cx": 320.0, "cy": 240.0}
    with pytest.raises(ConfigError):
        CameraModel(**(numbers | change))  # type: ignore[arg-type]
