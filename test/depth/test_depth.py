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

"""Units, interpolation equal to PIL's, holes that leak nowhere, and the bounds of a result."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dkn.depth.degradation import degrade
from dkn.depth.grid import reduce_color
from dkn.depth.network_input import input_channels, mixed_pixels
from dkn.depth.resample import clamp, fill_holes, local_range, resize_bicubic, to_grid
from dkn.depth.units import to_counts, to_metres
from dkn.errors import ImageError

NAN = float("nan")


def pil_bicubic(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array))[None, None]


def random_map(size: tuple[int, int], seed: int = 0, holes: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Depth in metres and validity, with at least one valid pixel."""
    rng = np.random.default_rng(seed)
    valid = rng.random(size) >= holes
    valid.flat[rng.integers(valid.size)] = True
    return rng.uniform(0.5, 9, size).astype(np.float32), valid


sizes = st.tuples(st.integers(1, 13), st.integers(1, 13))
seeds = st.integers(0, 10**6)

# --- Units --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
def test_millimetres_become_metres(order):
    raw = np.array([[0, 1, 1000, 1234], [40000, 65534, 65535, 0]], order + "u2")  # 65535: unknown, as 0
    metres = to_metres(raw)
    assert metres.dtype == np.dtype("=f4")
    np.testing.assert_allclose(metres, [[NAN, 0.001, 1.0, 1.234], [40.0, 65.534, NAN, NAN]], rtol=1e-6)


def test_counts_may_be_of_any_unit():
    """A RealSense counts tenths of a millimetre, TUM's recordings 1/5000 m."""
    counts = np.array([[0, 1, 15000, 65534]], np.uint16)
    np.testing.assert_allclose(to_metres(counts, 1e-4), [[np.nan, 1e-4, 1.5, 6.5534]], rtol=1e-6)
    np.testing.assert_allclose(to_metres(counts, 1 / 5000), [[np.nan, 0.0002, 3.0, 13.1068]], rtol=1e-6)
    metres = np.float32([[1.5]])
    np.testing.assert_array_equal(to_metres(metres, 1e-4), metres)


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", ">f8", "<f2"])
def test_metres_stay_metres(kind):
    raw = np.array([[0.5, 2.25, 0], [-1, NAN, math.inf], [-math.inf, -0.0, 8]], kind)
    metres = to_metres(raw)
    assert metres.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(metres, [[0.5, 2.25, NAN], [NAN, NAN, NAN], [NAN, NAN, 8]])


def test_units_leave_their_input_alone():
    raw = np.array([[1.0, -1.0, math.inf]], np.float32)
    before = raw.copy()
    to_metres(raw)
    np.testing.assert_array_equal(raw, before)
    raw.setflags(write=False)
    to_metres(raw[:, ::-1])


@pytest.mark.parametrize(
    "raw",
    [np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.int16), np.zeros((2, 2, 1), np.uint16), np.zeros(4, np.float32)],
)
def test_depth_of_another_type_is_an_error(raw):
    with pytest.raises(ImageError, match=r"depth (is|has shape)"):
        to_metres(raw)


def test_metres_become_millimetres():
    metres = np.array([[1.0, 1.2344, 1.2346], [NAN, math.inf, -math.inf], [-2.0, 0.0, 0.0004]], np.float32)
    millimetres = to_counts(metres)
    assert millimetres.dtype == np.uint16
    assert millimetres.tolist() == [[1000, 1234, 1235], [0, 0, 0], [0, 0, 0]]


def test_a_depth_that_16_bits_cannot_say_becomes_invalid():
    metres = np.array([[65.535, 65.536, 70.0, 131.072, 1e30, 0.0006]], np.float32)
    assert to_counts(metres).tolist() == [[65535, 0, 0, 0, 0, 1]]


def test_every_millimetre_survives_a_round_trip():
    raw = np.arange(65535, dtype=np.uint16).reshape(255, 257)  # 65535 itself is unknown
    np.testing.assert_array_equal(to_counts(to_metres(raw)), raw)
    np.testing.assert_array_equal(to_counts(to_metres(raw, 1e-4), 1e-4), raw)


# --- Interpolation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((60, 80), (480, 640)),
        ((480, 640), (60, 80)),
        ((480, 640), (1024, 1280)),  # an Xtion's two cameras: 2.13 and 2
        ((37, 53), (100, 91)),
        ((50, 41), (7, 9)),
        ((20, 64), (60, 16)),  # up in y, down in x
        ((1, 1), (5, 4)),
        ((1, 7), (9, 30)),
        ((7, 1), (20, 1)),  # one pixel wide: torch alone gets this wrong
        ((5, 9), (7, 1)),
        ((6, 4), (1, 1)),
        ((12, 17), (12, 17)),
        ((12, 17), (13, 17)),
    ],
)
def test_bicubic_equals_pil(source, target):
    image, _ = random_map(source)
    result = resize_bicubic(tensor(image), target)[0, 0].numpy()
    np.testing.assert_allclose(result, pil_bicubic(image, target), rtol=0, atol=5e-5)


@settings(deadline=None, max_examples=40)
@given(source=sizes, target=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=seeds)
def test_bicubic_equals_pil_at_any_ratio(source, target, seed):
    image, _ = random_map(source, seed)
    result = resize_bicubic(tensor(image), target)[0, 0].numpy()
    np.testing.assert_allclose(result, pil_bicubic(image, target), rtol=0, atol=5e-5)


# --- Holes --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(size=sizes, holes=st.sampled_from([0.0, 0.3, 0.9, 1.0]), seed=seeds)
def test_filling_keeps_valid_pixels_and_invents_nothing_outside_their_range(size, holes, seed):
    depth, valid = random_map(size, seed, holes)
    filled = fill_holes(tensor(depth), tensor(valid))[0, 0].numpy()
    assert filled.shape == size
    assert np.array_equal(filled[valid], depth[valid])
    assert np.isfinite(filled).all()
    assert filled.min() >= depth[valid].min() * (1 - 1e-6)
    assert filled.max() <= depth[valid].max() * (1 + 1e-6)


@settings(deadline=None, max_examples=40)
@given(size=sizes, holes=st.sampled_from([0.3, 0.9, 1.0]), seed=seeds, value=st.floats(0.5, 20, width=32))
def test_filling_a_constant_gives_the_constant(size, holes, seed, value):
    _, valid = random_map(size, seed, holes)
    depth = np.where(valid, np.float32(value), np.float32(-5))
    np.testing.assert_allclose(fill_holes(tensor(depth), tensor(valid))[0, 0], value, rtol=1e-6)


@settings(deadline=None, max_examples=40)
@given(source=sizes, target=sizes, seed=seeds, under=st.sampled_from([0.0, NAN, math.inf, 1e9, -3.0]))
def test_what_lies_under_a_hole_has_no_influence(source, target, seed, under):
    depth, valid = random_map(source, seed, holes=0.4)
    other = np.where(valid, depth, np.float32(under))
    mask = tensor(valid)
    assert torch.equal(fill_holes(tensor(depth), mask), fill_holes(tensor(other), mask))
    assert torch.equal(to_grid(tensor(depth), mask, target)[0], to_grid(tensor(other), mask, target)[0])


def test_a_hole_takes_its_depth_from_its_surroundings():
    depth = np.full((16, 16), 2.0, np.float32)
    depth[:, 8:] = 6
    valid = np.ones((16, 16), bool)
    valid[2:5, 2:5] = valid[10:13, 11:14] = False
    filled = fill_holes(tensor(depth), tensor(valid))[0, 0].numpy()
    np.testing.assert_allclose(filled[2:5, 2:5], 2, atol=0.7)
    np.testing.assert_allclose(filled[10:13, 11:14], 6, atol=0.7)


def test_maps_of_a_batch_are_filled_on_their_own():
    (a, all_valid), (b, valid) = random_map((7, 9), 1), random_map((7, 9), 2, holes=0.5)
    both = fill_holes(torch.cat((tensor(a), tensor(b))), torch.cat((tensor(all_valid), tensor(valid))))
    assert torch.equal(both[:1], tensor(a))
    assert torch.equal(both[1:], fill_holes(tensor(b), tensor(valid)))


# --- To the grid of the colour image ------------------------------------------------------------------------------


def parent(index: int, big: int, small: int) -> int:
    """The pixel of a row of `small` in which the centre of pixel `index` of a row of `big` lies."""
    return (2 * index + 1) * small // (2 * big)


@settings(deadline=None, max_examples=40)
@given(source=sizes, target=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=seeds)
def test_a_pixel_is_valid_if_the_one_it_lies_in_was(source, target, seed):
    depth, valid = random_map(source, seed, holes=0.4)
    resized, known = to_grid(tensor(depth), tensor(valid), target)
    assert resized.shape == known.shape == (1, 1, *target)
    assert resized.isfinite().all()
    for y, x in np.ndindex(target):
        on_a_border = any(
            (2 * i + 1) * n % (2 * m) == 0 for i, n, m in zip((y, x), source, target, strict=True)
        )  # between two pixels either may be taken
        if not on_a_border:
            assert known[0, 0, y, x] == valid[parent(y, target[0], source[0]), parent(x, target[1], source[1])]


def test_grid_without_holes_is_bicubic_interpolation():
    depth, valid = random_map((30, 40))
    resized, known = to_grid(tensor(depth), tensor(valid), (75, 64))
    assert known.all()
    np.testing.assert_allclose(resized[0, 0], pil_bicubic(depth, (75, 64)), rtol=0, atol=5e-5)


def test_grid_of_equal_size_changes_nothing():
    depth, valid = random_map((9, 11), holes=0.3)
    resized, known = to_grid(tensor(depth), tensor(valid), (9, 11))
    assert torch.equal(known, tensor(valid))
    assert np.array_equal(resized[0, 0].numpy()[valid], depth[valid])


# --- Bounds -------------------------------------------------------------------------------------------------------


def bounds_by_loops(depth, valid, size, reach, margin=0.1):
    """Smallest and largest valid depth in the window that bicubic interpolation and taps can read, each moved
    outwards by `margin` of their distance, downwards also by no more than that share of the depth."""
    (h, w), (height, width) = depth.shape, size
    low, high = np.empty(size), np.empty(size)
    for y, x in np.ndindex(size):
        j, i = parent(y, height, h), parent(x, width, w)
        ry, rx = 2 + math.ceil(reach * h / height), 2 + math.ceil(reach * w / width)
        around = slice(max(j - ry, 0), j + ry + 1), slice(max(i - rx, 0), i + rx + 1)
        values = depth[around][valid[around]] if valid[around].any() else depth[around].ravel()
        spread = margin * (values.max() - values.min())
        low[y, x], high[y, x] = max(values.min() - spread, (1 - margin) * values.min()), values.max() + spread
    return low, high


@pytest.mark.parametrize("reach", [0, 7])
@pytest.mark.parametrize(
    ("source", "target"),
    [((5, 7), (40, 56)), ((9, 12), (21, 24)), ((16, 20), (16, 20)), ((20, 18), (7, 9)), ((1, 1), (3, 4))],
)
def test_bounds_by_loops(source, target, reach):
    depth, valid = random_map(source, 3, holes=0.6)
    low, high = bounds_by_loops(depth, valid, target, reach)
    bounds = local_range(tensor(depth), tensor(valid), target, reach)
    for extreme, expected in ((1e6, high), (-1e6, low)):
        result = clamp(torch.full((1, 1, *target), extreme), bounds)
        np.testing.assert_allclose(result[0, 0].numpy(), expected, rtol=1e-5, atol=1e-6)
    inside = ((low + high) / 2).astype(np.float32)
    result = clamp(tensor(inside), bounds)
    assert np.array_equal(result[0, 0].numpy(), inside)


# --- What a network is told ---------------------------------------------------------------------------------------


def test_a_network_is_told_what_was_measured_and_how_far_apart():
    valid = torch.ones(1, 1, 6, 8, dtype=torch.bool)
    valid[..., 2:4, 3:6] = False
    depth = torch.rand(1, 1, 48, 32)  # 8 times as high, 4 times as wide
    low = torch.rand(1, 1, 6, 8) + 1
    shown = input_channels(depth, low, valid, 4)
    assert shown.shape == (1, 4, 48, 32)
    torch.testing.assert_close(shown[:, :1], depth)
    expected = cv2.resize(valid[0, 0].numpy().astype(np.float32), (32, 48), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(shown[0, 1].numpy(), expected, atol=1e-6)
    torch.testing.assert_close(shown[:, 2], torch.full((1, 48, 32), 2.5 / 4))  # log2 of √(8 · 4), over that of 16
    torch.testing.assert_close(shown[:, 3:], mixed_pixels(low, valid).expand(1, 1, 48, 32))
    assert input_channels(depth, low, valid, 1) is depth


def mixed_by_hand(depth, valid):
    """The definition, pixel by pixel."""
    found = []
    for lines, known in ((depth, valid), (depth.T, valid.T)):
        for line, there in zip(lines, known, strict=True):
            for i in range(2, len(line) - 2):
                outer, left, middle, right, after = line[i - 2 : i + 3]
                step = abs(right - left)
                beside = max(abs(left - outer), abs(after - right))
                if all(there[i - 2 : i + 3]) and step > 0.05 * min(left, right) and beside < 0.25 * step:
                    share = min(max((middle - left) / (right - left), 0), 1)
                    found.append(4 * share * (1 - share))
    return (0.6 * 8 + sum(found)) / (8 + len(found)), len(found)


def test_mixed_pixels_by_hand():
    rng = np.random.default_rng(3)
    depth = 2 + 0.05 * rng.random((2, 60, 100)) + 1.5 * (rng.random((2, 60, 100)).cumsum(axis=2) % 9 > 5)
    valid = rng.random((2, 60, 100)) > 0.02
    result = mixed_pixels(torch.from_numpy(depth)[:, None], torch.from_numpy(valid)[:, None])
    assert result.shape == (2, 1, 1, 1)
    for i in range(2):
        expected, edges = mixed_by_hand(depth[i], valid[i])
        assert edges > 50
        assert result[i].item() == pytest.approx(expected)
    # Nothing to tell by: too small, or flat.
    for shape in ((1, 1, 4, 4), (1, 1, 1, 1), (1, 1, 20, 3)):
        assert mixed_pixels(torch.ones(shape), torch.ones(shape, dtype=torch.bool)).item() == pytest.approx(0.6)


def test_point_samples_are_told_from_averages():
    """At every ratio, and also where there are holes and noise."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:480, :640]
    truth = (4 + x / 640).astype(np.float32)
    for _ in range(6):  # discs before a slanted wall: their edges lie anywhere in a block
        truth[np.hypot(y - rng.integers(480), x - rng.integers(640)) < rng.integers(60, 120)] = rng.uniform(1, 3)
    for scale in (2, 4, 8, 16):
        found = {}
        for kind in ("nearest", "area", "bicubic", "noise", "holes"):
            low = torch.from_numpy(degrade(truth, scale, kind, rng))[None, None]
            valid = low.isfinite()
            found[kind] = mixed_pixels(fill_holes(torch.where(valid, low, 0), valid), valid).item()
        points = found.pop("nearest")
        assert points + 0.1 < min(found.values()), (scale, points, found)


@pytest.mark.parametrize("layout", ["rgb", "bgr", "rgba", "padded rows"])
@pytest.mark.parametrize("decimation", [1, 2, 3])
def test_reduced_color_is_the_mean_over_areas(layout, decimation):
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (12, 18, 3), np.uint8)
    views = {
        "rgb": color,
        "bgr": np.ascontiguousarray(color[..., ::-1])[..., ::-1],
        "rgba": np.dstack((color, color[..., :1]))[..., :3],
        "padded rows": np.pad(color, ((0, 0), (0, 5), (0, 0)))[:, :18],
    }
    blocks = color.reshape(12 // decimation, decimation, 18 // decimation, decimation, 3)
    result = reduce_color(views[layout], decimation)
    np.testing.assert_allclose(result, blocks.mean(axis=(1, 3)), atol=0.51)


def test_reduced_color_of_any_size():
    assert reduce_color(np.zeros((7, 10, 3), np.uint8), 3).shape == (2, 3, 3)
    assert reduce_color(np.zeros((2, 1, 3), np.uint8), 4).shape == (1, 1, 3)
