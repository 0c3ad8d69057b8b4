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

from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

from dkn.errors import ConfigError, ImageError
from dkn.geometry import CameraModel, Registration, registration

DEPTH = CameraModel(128, 106, 91.5, 91.5, 64, 52, "plumb_bob", (0.09, -0.27, 0.0, 0.0, 0.09))
COLOR = CameraModel(480, 270, 265, 265, 240, 135, "plumb_bob", (0.05, -0.04, 0.0, 0.0, 0.0))


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0, angle: float = 0.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = x, y, z
    return matrix


@pytest.fixture(autouse=True)
def _few_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter runs one program after the other, and takes as long for a small one as for a large one."""
    if find_spec("triton") and not torch.cuda.is_available():
        monkeypatch.setattr("dkn.geometry.triton_registration.BLOCK", 2048)


@pytest.fixture(params=["numba", "numpy", "triton"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's on a GPU where there is one, else by its interpreter."""
    if request.param == "triton":
        monkeypatch.setattr(registration, "_on_gpu", lambda device, **known: by_triton()(**known))
    elif request.param == "numba":
        pytest.importorskip("numba")
        from dkn.geometry import numba_registration as module
    else:
        from dkn.geometry import numpy_registration as module  # type: ignore[no-redef]
    if request.param != "triton":
        monkeypatch.setattr(registration, "kernels", module)


def by_triton() -> partial[Any]:
    module = pytest.importorskip("dkn.geometry.triton_registration", reason="Triton is not installed")
    return partial(module.Register, device="cuda" if torch.cuda.is_available() else "cpu")


def test_a_plane_comes_to_the_depth_that_it_has_in_colour_s_view(kernels: None) -> None:
    transform = moved(-0.052, 0.01, 0.004, angle=0.03)
    # A slanted plane n·p = 1 in the depth camera's frame, and the same one in colour's.
    normal = np.array([0.1, -0.15, 0.5])
    x, y = DEPTH.rays()
    depth = (1 / (normal[0] * x + normal[1] * y + normal[2])).astype(np.float32)
    register = Registration(DEPTH, COLOR, transform)
    result = register(depth)
    n = transform[:3, :3] @ normal
    x, y = register.grid.rays()
    expected = (1 + n @ transform[:3, 3]) / (n[0] * x + n[1] * y + n[2])
    inside = np.isfinite(result)
    rows, columns = np.nonzero(inside)
    # Colour's view is flatter and wider; within what both see there is no gap.
    assert inside[8:-8, columns.min() + 8 : columns.max() - 8].all()
    assert rows.min() == 0 and rows.max() == register.grid.height - 1
    # A point lies up to half a pixel from the centre of the one it falls into.
    slope = np.maximum(*(np.abs(g) for g in np.gradient(expected)))
    assert (np.abs(result - expected)[inside] < 1.2 * slope[inside] + 1e-4).all()


def test_the_nearer_surface_wins_and_shows_no_gaps(kernels: None) -> None:
    # A board at 1 m before a wall at 3 m. The baseline moves the board's image further than the wall's beside it.
    depth = np.full((106, 128), 3.0, np.float32)
    depth[30:80, 40:90] = 1.0
    pinhole = CameraModel(128, 106, 91.5, 91.5, 64, 52)
    # Rolled, so that pixels of the board fall between those of the grid.
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
    turned[0, 3] = -0.06
    result = Registration(pinhole, pinhole, turned)(depth)
    values = result[np.isfinite(result)]
    assert (np.isclose(values, 1, atol=1e-4) | np.isclose(values, 3, atol=1e-4)).all()
    corners = np.array([[39.5, 29.5], [89.5, 29.5], [89.5, 79.5], [39.5, 79.5]])
    points = np.c_[(corners - [64, 52]) / 91.5, np.ones(4)] @ turned[:3, :3].T + turned[:3, 3]
    u, v = pinhole.project(points)
    # Well inside the board's image everything is the board, well outside nothing is.
    rows, columns = np.mgrid[:106, :128]
    inside = np.full(rows.shape, np.inf)
    for k in range(4):
        along = np.array([u[(k + 1) % 4] - u[k], v[(k + 1) % 4] - v[k]])
        across = np.array([-along[1], along[0]]) / np.hypot(*along)
        inside = np.minimum(inside, (columns - u[k]) * across[0] + (rows - v[k]) * across[1])
    assert (result[inside > 1] == pytest.approx(1.0, abs=1e-4)) and not (result[inside < -1] < 2).any()


def test_what_colour_sees_and_depth_does_not_is_unknown(kernels: None) -> None:
    depth = np.full((106, 128), 3.0, np.float32)
    depth[:, :64] = 1.0
    pinhole = CameraModel(128, 106, 91.5, 91.5, 64, 52)
    row = Registration(pinhole, pinhole, moved(x=-0.06))(depth)[50]
    # Disparities: 91.5·0.06/1 = 5.49 pixels for the near half, which so ends at 58; 1.83 for the far one.
    assert np.allclose(row[:58], 1.0, atol=1e-5) and np.allclose(row[63:126], 3.0, atol=1e-5)
    assert np.isnan(row[59:61]).all() and np.isnan(row[127])


def test_invalid_depth_stays_so(kernels: None) -> None:
    depth = np.full((106, 128), 2.0, np.float32)
    depth[40:60, 40:60] = np.nan
    depth[10:20, 10:20], depth[20:30, 10:20] = 0, -1
    pinhole = CameraModel(128, 106, 91.5, 91.5, 64, 52)
    result = Registration(pinhole, pinhole, np.eye(4))(depth)
    assert np.array_equal(np.isnan(result), ~(depth > 0)) and np.allclose(result[depth > 0], 2)


def test_both_implementations_agree() -> None:
    pytest.importorskip("numba")
    from dkn.geometry import numba_registration, numpy_registration

    columns = np.arange(128) * np.ones((106, 1))
    depth = (2 + 0.3 * np.sin(columns / 9) + (columns > 60)).astype(np.float32)
    depth[np.random.default_rng(0).random(depth.shape) < 0.05] = np.nan
    for color in (COLOR, CameraModel(480, 270, 265, 265, 240, 135)):
        known = Registration(DEPTH, color, moved(-0.05, 0, 0.01, 0.1))._on_cpu.keywords
        one, other = (module.register(depth, **known) for module in (numba_registration, numpy_registration))
        # A point on the edge of a pixel may fall to either side.
        assert np.isclose(one, other, rtol=1e-5, equal_nan=True).mean() > 0.999


KINECT_V2 = (CameraModel(128, 106, 91.5, 91.5, 64, 52), CameraModel(240, 135, 132, 132, 120, 67), moved(-0.052))
AZURE = (CameraModel(80, 72, 63, 63, 40, 36), CameraModel(160, 90, 76, 76, 80, 45), moved(-0.032, -0.002, 0.004, 0.1))
REALSENSE = (CameraModel(106, 60, 53, 53, 53, 30), CameraModel(120, 68, 87, 87, 60, 34), moved(0.06, 0, 0, 0.01))


@pytest.mark.parametrize("cameras", [KINECT_V2, AZURE, REALSENSE, (DEPTH, COLOR, moved(-0.025, 0.01, 0.01, -0.2))])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.6, 1.0])
def test_a_gpu_gives_what_the_processor_gives(cameras: tuple[Any, ...], share: float) -> None:
    """Steps and slopes with unknown pixels; several that are equally near, too: the first of them wins everywhere."""
    on_cpu = Registration(*cameras)
    on_gpu = by_triton()(**on_cpu._on_cpu.keywords)
    random = np.random.default_rng(0)
    height, width = cameras[0].height, cameras[0].width
    y, x = np.mgrid[:height, :width].astype(np.float32)
    for depth in (1.5 + 0.004 * y + np.floor(x / 37) * 0.7, np.ones_like(x)):
        depth = depth.astype(np.float32)
        depth[random.random(depth.shape) < share] = np.nan
        found, expected = on_gpu(depth), on_cpu(depth)
        assert found.dtype == np.float32 and found.shape == expected.shape
        assert np.isclose(found, expected, rtol=1e-5, equal_nan=True).mean() > 0.998
        assert np.isnan(found).all() == (share == 1.0)


LENSES = (
    (),
    (0.09, -0.27, 0.004, -0.006, 0.09),
    (-0.3, 0.0, 0.0, 0.0),  # folds its image at the sides: what lies beyond is not seen
    (0.4, 0.1, 0.01, -0.02, 0.05, 0.3, 0.1, 0.0, 0.02, -0.01, 0.015, 0.01),
)


@pytest.mark.parametrize("lens", LENSES, ids=["pinhole", "plumb_bob", "folding", "rational"])
@pytest.mark.parametrize("seed", range(3))
def test_a_gpu_gives_what_the_processor_gives_of_any_scene(lens: tuple[float, ...], seed: int) -> None:
    """Boards before a slope, from nearer by, so that they have gaps all over, in every direction; turned at random."""
    random = np.random.default_rng(seed)
    model = "rational_polynomial" if len(lens) == 12 else "plumb_bob"
    camera, color = CameraModel(72, 60, 34, 34, 36.1, 30.2), CameraModel(72, 60, 30, 30, 35.7, 29.6, model, lens)
    matrix = moved(*random.uniform(-0.06, 0.06, 2), -0.3, random.uniform(-0.1, 0.1))
    roll = np.eye(4)
    roll[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    on_cpu = Registration(camera, color, roll @ matrix)
    y, x = np.mgrid[:60, :72]
    depth = 2.0 + 0.01 * x + 0.006 * y
    for _ in range(8):
        top, left = random.integers(0, 48), random.integers(0, 60)
        depth[top : top + 14, left : left + 14] = random.uniform(0.8, 1.6) + 0.02 * x[:14, :14][: 60 - top, : 72 - left]
    # Steps about as large as one surface may have
    depth = (depth * random.choice([1, 1.03, 1.05], depth.shape, p=[0.4, 0.3, 0.3])).astype(np.float32)
    depth[random.random(depth.shape) < 0.05] = np.nan
    found, expected = by_triton()(**on_cpu._on_cpu.keywords)(depth), on_cpu(depth)
    # A few points on the edges of pixels, or of a limit, may fall to either side.
    assert np.isfinite(expected).mean() > 0.3
    assert np.sum(~np.isclose(found, expected, rtol=1e-4, equal_nan=True)) <= 2


@pytest.mark.parametrize("name", ["numba", "numpy", "triton"])
def test_of_several_that_are_equally_near_the_first_wins(name: str) -> None:
    """Pixels 5 and 9 fall into one of the grid, pixel 6 into the next but one, and pixel 3 shows between them. 5 and 6
    are neighbours and close the gap; 9 and 6 are not."""
    depth, u, v = np.full((3, 5), np.nan, np.float32), np.zeros((3, 5), np.float32), np.ones((3, 5), np.float32)
    for pixel, column, metres in ((5, 0, 1), (9, 0, 1), (6, 2, 1), (3, 1, 3)):
        depth.flat[pixel], u.flat[pixel] = metres, column
    numbers = np.array([0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0], np.float32)
    lens = np.array([1, np.nan], np.float32), np.float32(1)
    known: dict[str, Any] = {"rays": [u, v, np.ones_like(u)], "lens": lens, "numbers": numbers, "surface": 0.04}
    known["size"] = 3, 3
    if name == "triton":
        result = by_triton()(**known)(depth)
    else:
        pytest.importorskip(name)
        result = import_module(f"dkn.geometry.{name}_registration").register(depth, **known)
    np.testing.assert_array_equal(result[1], [1, 1, 1])


@pytest.mark.parametrize("complaint", ["differs in", "failed with ArithmeticError"])
def test_the_check_sees_the_kernel_for_lenses(complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("dkn.geometry.triton_registration", reason="Triton is not installed")
    here = "cuda" if torch.cuda.is_available() else "cpu"

    class WithoutLenses(module.Register):  # type: ignore[name-defined,misc]  # imported only where Triton is
        def on_device(self, depth: torch.Tensor) -> torch.Tensor:
            if len(self._radial) == 2:
                return super().on_device(depth)
            if complaint == "differs in":
                return 1.5 * super().on_device(depth)
            raise ArithmeticError

    assert not registration._problem.__wrapped__(here)
    monkeypatch.setattr(module, "Register", WithoutLenses)
    assert complaint in registration._problem.__wrapped__(here)


def test_a_gpu_that_fails_leaves_it_to_the_processor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Here, where there is none, PyTorch refuses; and where there is one that is wrong, so is the check."""
    module = pytest.importorskip("dkn.geometry.triton_registration", reason="Triton is not installed")
    depth, (camera, color, transform) = np.full((106, 128), 2, np.float32), KINECT_V2
    expected = Registration(camera, color, transform)(depth)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("out of order")

    class Wrong:
        def __init__(self, **known: Any) -> None:
            self.size = known["size"]

        def __call__(self, depth: np.ndarray) -> np.ndarray:
            return np.ones(self.size, np.float32)

    for broken, complaint in ((refuse, "out of order"), (Wrong, "differs in")):
        registration._problem.cache_clear()
        caplog.clear()
        monkeypatch.setattr(module, "Register", broken)
        np.testing.assert_array_equal(Registration(camera, color, transform, device="cuda")(depth), expected)
        assert complaint in caplog.text
    registration._problem.cache_clear()


def test_the_grid_is_as_coarse_as_the_depth_camera_sees() -> None:
    grid = Registration(DEPTH, COLOR, np.eye(4)).grid
    assert grid.fx == pytest.approx(DEPTH.fx, rel=0.02) and grid.width / grid.height == pytest.approx(16 / 9, rel=0.01)
    fine = Registration(COLOR, DEPTH, np.eye(4)).grid
    assert (fine.width, fine.height) == (DEPTH.width, DEPTH.height), "never finer than colour"


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="rotation"):
        Registration(DEPTH, COLOR, 2 * np.eye(4))
    with pytest.raises(ImageError, match="its camera has"):
        Registration(DEPTH, COLOR, np.eye(4))(np.ones((10, 10), np.float32))


def test_a_gpu_that_is_lost_leaves_it_to_the_processor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    depth, calls = np.full((106, 128), 2, np.float32), []
    expected = Registration(*KINECT_V2)(depth)

    def lost(depth: np.ndarray) -> np.ndarray:
        calls.append(depth)
        raise RuntimeError("CUDA error: device lost")

    monkeypatch.setattr(registration, "_on_gpu", lambda device, **known: lost)
    register = Registration(*KINECT_V2, device="cuda")
    for _ in range(2):
        np.testing.assert_array_equal(register(depth), expected)
    assert len(calls) == 1
    assert caplog.text.count("device lost") == 1
