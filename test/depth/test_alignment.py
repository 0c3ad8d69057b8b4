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

"""Colour beside its depth: rendered rooms whose colour is moved by known amounts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dkn import Upsampler
from dkn.data.rendered.room import Scene
from dkn.depth import alignment
from dkn.depth.alignment import FEWEST, RADIUS, SKIPPED, ColorAlignment, align_color, displacement, moved
from dkn.depth.edges import near_edges
from dkn.depth.kernels import numpy_alignment

SIZE = 640, 480  # width, height


def room(seed: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) colour and (H, W) exact depth."""
    scene = Scene(seed)
    pose = scene.camera_pose(2.0 * seed)
    return scene.render(pose, size)[0], scene.depth(pose, size)


@pytest.fixture(scope="module")
def rooms() -> list[tuple[np.ndarray, np.ndarray]]:
    return [room(seed) for seed in range(4)]


def beside(color: np.ndarray, x: int, y: int) -> np.ndarray:
    """Colour that has to move by (x, y), made by OpenCV."""
    shift = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
    size = color.shape[1], color.shape[0]
    return cv2.warpAffine(color, shift, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)


def points(depth: np.ndarray, ratio: int) -> np.ndarray:
    """Every so many-th sample, that in the middle."""
    return depth[ratio // 2 :: ratio, ratio // 2 :: ratio]


@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
@pytest.mark.parametrize("by", [(4, 0), (0, -5), (-6, 4), (8, 7)], ids=str)
def test_colour_is_moved_back(rooms, ratio, by):
    for color, depth in rooms:
        found = displacement(beside(color, *by), points(depth, ratio))
        if found == (0, 0) and np.hypot(*by) < ratio:
            continue  # an edge of depth lies anywhere within so many pixels: it may be too little to be certain
        assert np.hypot(found[0] - by[0], found[1] - by[1]) <= 1 + ratio / 4, found


@pytest.mark.parametrize("ratio", [1, 4, 8])
def test_colour_in_place_stays(rooms, ratio):
    for color, depth in rooms:
        assert align_color(color, points(depth, ratio)) is color


def test_noise_and_holes_are_borne(rooms):
    rng = np.random.default_rng(0)
    for color, depth in rooms:
        measured = depth + 0.002 * depth**2 * rng.standard_normal(depth.shape)
        measured[cv2.erode(depth, np.ones((1, 7))) < 0.94 * depth] = np.nan  # shadows, behind what is nearer
        noisy = np.clip(color + rng.normal(0, 4, color.shape), 0, 255).astype(np.uint8)
        assert displacement(noisy, measured.astype("f")) == (0, 0)
        found = displacement(beside(noisy, -5, 3), measured.astype("f"))
        assert np.hypot(found[0] + 5, found[1] - 3) <= 1.5


def test_where_nobody_can_tell_nothing_moves(rooms):
    color, depth = rooms[0]
    wall = np.full(depth.shape, 2, np.float32)
    assert displacement(color, wall) == (0, 0)
    assert displacement(color, np.full_like(depth, np.nan)) == (0, 0)
    assert displacement(color, np.zeros_like(depth)) == (0, 0)
    assert displacement(np.full_like(color, 90), depth) == (0, 0)  # no texture
    noise = np.random.default_rng(0).integers(0, 255, color.shape, np.uint8)
    assert displacement(noise, depth) == (0, 0)
    few = wall.copy()
    few[: FEWEST // 2, 100:] = 3
    assert displacement(beside(color, 5, 0), few) == (0, 0)
    tiny = np.ones((1, 1), np.float32)
    assert displacement(color[:1, :1], tiny) == (0, 0)


@pytest.mark.parametrize("size", [(1, 1), (10, 10), (12, 200), (39, 60), (40, 40)])
def test_pictures_however_small(size):
    rng = np.random.default_rng(4)
    for _ in range(20):
        color = rng.integers(0, 255, (*size, 3), np.uint8)
        assert align_color(color, rng.uniform(1, 3, size).astype("f")).shape == color.shape


def test_a_border_in_one_direction_says_nothing_of_the_other():
    """Beside an upright edge alone, colour may stand anywhere along it."""
    depth = np.full((480, 640), 3, np.float32)
    depth[:, 200:440] = 1.5
    color = np.where(depth[..., None] < 2, 40, 200).astype(np.uint8) * np.ones(3, np.uint8)
    assert displacement(beside(color, 6, 7), depth) == (6, 0)


def test_farther_than_can_be_seen_is_not_guessed(rooms):
    color, depth = rooms[1]
    x, y = displacement(beside(color, 3 * RADIUS, 0), depth)
    assert max(abs(x), abs(y)) <= RADIUS


def test_a_large_picture_is_moved_by_its_own_pixels():
    color, depth = room(2, (1280, 960))
    x, y = displacement(beside(color, 12, -8), points(depth, 4))
    assert abs(x - 12) <= 4 and abs(y + 8) <= 4


def test_views_that_mirror_bgr_are_taken_as_they_are(rooms):
    color, depth = rooms[2]
    shown = beside(color, 5, -4)
    mirrored = shown[..., ::-1].copy()[..., ::-1]
    assert mirrored.strides[2] < 0
    assert displacement(mirrored, depth) == displacement(shown, depth)
    np.testing.assert_array_equal(align_color(mirrored, depth), align_color(shown, depth))


@pytest.mark.parametrize("by", [(0, 0), (3, 0), (0, -4), (-5, 2)])
def test_moving_repeats_the_ends(rooms, by):
    color = rooms[0][0]
    np.testing.assert_array_equal(moved(color, by), beside(color, -by[0], -by[1]))


def test_the_compiled_form_is_the_same():
    numba_alignment = pytest.importorskip("dkn.depth.kernels.numba_alignment")
    rng = np.random.default_rng(3)
    for known in (1.0, 0.6, 0.05, 0.0):
        depth = rng.uniform(1, 1.12, (23, 31)).astype(np.float32)
        depth[rng.random(depth.shape) > known] = rng.choice([np.nan, 0, -1])
        for gap in (0, 2, 8):
            for name in ("edges_in_rows", "edges_in_columns"):
                one, other = (getattr(module, name)(depth, 0.06, gap) for module in (numpy_alignment, numba_alignment))
                assert sorted(map(tuple, one)) == sorted(map(tuple, other))
    image = rng.integers(0, 256, (40, 50), np.uint8)
    at = rng.integers(0, 30, (200, 2))
    sums = [np.zeros((9, 9), np.int64) for _ in range(2)]
    for module, total in zip((numpy_alignment, numba_alignment), sums, strict=True):
        module.add_windows(image, at, total)
    np.testing.assert_array_equal(*sums)


def test_without_numba_it_finds_the_same(rooms, monkeypatch):
    color, depth = rooms[2]
    found = [displacement(beside(color, *by), points(depth, 2)) for by in ((0, 0), (5, -4))]
    monkeypatch.setattr(alignment, "compiled", numpy_alignment)
    assert [displacement(beside(color, *by), points(depth, 2)) for by in ((0, 0), (5, -4))] == found


def test_all_of_the_search_is_compiled_before_the_first_frame(rooms):
    numba_alignment = pytest.importorskip("dkn.depth.kernels.numba_alignment")
    alignment.compile_search()
    functions = numba_alignment.edges_in_rows, numba_alignment.edges_in_columns, numba_alignment.add_windows
    before = [len(function.signatures) for function in functions]
    color, depth = rooms[0]
    displacement(color, depth)
    displacement(color[:, ::-1], points(depth, 4).astype(np.float64))
    assert before == [len(function.signatures) for function in functions]


def test_edges_by_hand():
    nan = np.nan
    depth = np.array([[1, 1, 2, nan, 1, nan, nan, 3]], np.float32)
    # 1 to 2; 2 to 1 across a hole, at the nearer one's end; 1 to 3, likewise
    assert numpy_alignment.edges_in_rows(depth, 0.06, 2).tolist() == [[0, 2], [0, 4], [0, 5]]
    assert numpy_alignment.edges_in_rows(depth, 0.06, 1).tolist() == [[0, 2], [0, 4]]
    assert numpy_alignment.edges_in_columns(depth.T, 0.06, 2).tolist() == [[2, 0], [4, 0], [5, 0]]
    assert not len(numpy_alignment.edges_in_columns(depth, 0.06, 2))


# ------------------------------------------------------------------------------------- frames that follow each other


def test_a_displacement_that_lasts_does_not_tremble(rooms):
    color, depth = rooms[3]
    rng = np.random.default_rng(1)
    align, found = ColorAlignment(), set()
    for _ in range(12):
        noisy = np.clip(beside(color, 5, 3) + rng.normal(0, 6, color.shape), 0, 255).astype(np.uint8)
        measured = (depth + 0.003 * depth**2 * rng.standard_normal(depth.shape)).astype(np.float32)
        align(noisy, measured)
        found.add(align.displacement)
    assert len(found) == 1
    assert np.hypot(found.pop()[0] - 5, align.displacement[1] - 3) <= 1.5


def test_it_follows_a_camera_that_begins_to_turn_and_stops(rooms):
    color, depth = rooms[1]
    align = ColorAlignment()
    for _ in range(SKIPPED + 2):
        assert align(color, depth) is color
    for _ in range(SKIPPED + 1):
        align(beside(color, 7, 0), depth)
    assert np.hypot(align.displacement[0] - 7, align.displacement[1]) <= 1.5
    align(beside(color, -6, 0), depth)  # at once, now that it is looked at
    assert np.hypot(align.displacement[0] + 6, align.displacement[1]) <= 1.5
    align(color, depth)
    assert align.displacement == (0, 0)


def test_while_colour_is_in_place_most_frames_are_not_looked_at(rooms, monkeypatch):
    color, depth = rooms[0]
    looked = []
    monkeypatch.setattr(alignment, "displacement", lambda *_: looked.append(1) or (0, 0))
    align = ColorAlignment()
    for _ in range(3 * (SKIPPED + 1)):
        align(color, depth)
    assert len(looked) == 3


def test_another_size_begins_anew(rooms):
    color, depth = rooms[1]
    align = ColorAlignment()
    align(beside(color, 7, 5), depth)
    small = cv2.resize(color, (320, 240), interpolation=cv2.INTER_AREA)
    assert align(small, points(depth, 2)).shape == (240, 320, 3)


# ---------------------------------------------------------------------------------------------- in an Upsampler


def near_edge_error(result: np.ndarray, truth: np.ndarray) -> float:
    near = near_edges(truth, margin=4)
    near[:10], near[-10:], near[:, :10], near[:, -10:] = False, False, False, False
    return float(np.nanmean(np.abs(result - truth)[near]))


@pytest.mark.parametrize("ratio", [1, 4])
def test_a_sensor_model_loses_less_by_colour_that_is_beside(rooms, ratio):
    options = {"device": "cpu", "engine": "torch", "precision": "fp32", "fill_holes": True}
    given = Upsampler("fdkn_sensor_tiny", **options)
    taken = Upsampler("fdkn_sensor_tiny", align_color=False, **options)
    errors = []
    for color, depth in rooms:
        low, shown = points(depth, ratio), beside(color, 6, -4)
        results = taken(color, low), taken(shown, low), given(shown, low)
        errors.append([near_edge_error(result, depth) for result in results])
        np.testing.assert_array_equal(given(color, low), results[0])  # in place: nothing changes
    right, beside_it, aligned = np.mean(errors, axis=0)
    assert aligned - right < 0.35 * (beside_it - right)


def test_other_models_take_colour_as_it_is(rooms, make_model, tmp_path):
    color, depth = rooms[0]
    low, shown = points(depth, 4), beside(color, 6, -4)
    path = make_model(tmp_path / "plain.safetensors", scale=4)
    plain = Upsampler(path, device="cpu", engine="torch", precision="fp32")
    asked = Upsampler(path, device="cpu", engine="torch", precision="fp32", align_color=True)
    np.testing.assert_array_equal(asked(shown, low), plain(align_color(shown, low), low))
    assert not np.array_equal(asked(shown, low), plain(shown, low), equal_nan=True)
    plain.align_color = True
    np.testing.assert_array_equal(asked(shown, low), plain(shown, low))
