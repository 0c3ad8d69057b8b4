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

"""A frame's stages as Triton kernels against those of PyTorch: on a GPU as they are, elsewhere through Triton's
interpreter."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from dkn.depth import resample
from dkn.depth.network_input import mixed_pixels
from dkn.depth.network_input import prepare as prepare_by_pytorch
from dkn.depth.stages import choice
from dkn.depth.stages.base import MIXED, MIXED_EDGES, Prepared, Stages, follows_color
from dkn.depth.stages.pytorch import PYTORCH, finish, upsample_validity, validity

fused = pytest.importorskip("dkn.depth.stages.fused", reason="Triton is not installed")
from dkn.depth.stages.fused import network_input, pyramid, result  # noqa: E402  # only where Triton is

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
NAN = math.nan


@pytest.fixture(autouse=True)
def _few_programs(monkeypatch):
    """The interpreter runs one program after the other, and takes as long for a small one as for a large one."""
    if DEVICE.type == "cpu":
        for module, name, value in (
            (network_input, "BLOCK", 2048),
            (network_input, "PARTS", 4),
            (pyramid, "BLOCK", 1024),
            (result, "BLOCK", 2048),
            (result, "FEW", 256),
        ):
            monkeypatch.setattr(module, name, value)


def a_map(size: tuple[int, int], holes: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Depth of noise and steps, NaN where not valid; at least one pixel is."""
    random = torch.Generator().manual_seed(seed)
    depth = 0.5 + 0.02 * torch.rand(1, 1, *size, generator=random)
    depth[..., size[0] // 3 :, size[1] // 2 :] += 1.5
    depth[..., size[0] // 2 :, :] += 3
    valid = torch.rand(depth.shape, generator=random) >= holes
    valid.view(-1)[int(torch.randint(valid.numel(), (), generator=random))] = True
    return depth.masked_fill(~valid, NAN).to(DEVICE), valid.to(DEVICE)


def an_image(size: tuple[int, int], seed: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=random).to(DEVICE)


def assert_close(found: Tensor, expected: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol, equal_nan=True)


# --- Holes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holes", [0.0, 0.5, 0.97])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (7, 5), (12, 16), (45, 61)])
def test_holes_are_filled_alike(size, holes):
    depth, valid = a_map(size, holes)
    filled = fused.fill_holes(depth, valid)
    assert_close(filled, resample.fill_holes(depth, valid))
    assert torch.equal(filled[valid], depth[valid])


@settings(deadline=None, max_examples=8)
@given(st.tuples(st.integers(1, 20), st.integers(1, 20)), st.floats(0, 1), st.integers(0, 10**6))
def test_holes_of_any_map(size, holes, seed):
    depth, valid = a_map(size, holes, seed)
    assert_close(fused.fill_holes(depth, valid), resample.fill_holes(depth, valid))


@pytest.mark.parametrize(
    ("size", "small", "count"),
    [((37, 53), 40, 5), ((37, 53), 20, 9), ((64, 33), 40, 5), ((3, 700), 100, 5), ((20, 30), 20, 5)],
)
def test_holes_of_a_map_that_takes_several_launches(size, small, count, monkeypatch):
    monkeypatch.setattr(pyramid, "SMALL", small)
    assert pyramid.launches(*size) == count
    for holes in (0.4, 0.99):
        depth, valid = a_map(size, holes)
        assert_close(fused.fill_holes(depth, valid), resample.fill_holes(depth, valid))


@pytest.mark.parametrize(
    ("size", "count"),
    [((60, 80), 1), ((90, 90), 1), ((120, 160), 5), ((480, 640), 5), ((1024, 1280), 9), ((1, 1), 1), ((1, 10**6), 13)],
)
def test_launches_by_size(size, count):
    assert pyramid.launches(*size) == count


def test_without_any_depth_there_are_zeros():
    depth = torch.full((1, 1, 6, 7), NAN, device=DEVICE)
    valid = torch.zeros_like(depth, dtype=torch.bool)
    filled = fused.fill_holes(depth, valid)
    assert not filled.any()
    assert_close(filled, resample.fill_holes(depth.nan_to_num(), valid))


# --- Before the network -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("least", "most"), [(0.0, math.inf), (0.5, 4.0)])
def test_what_is_valid(least, most):
    values = [NAN, math.inf, -math.inf, 0.0, -0.0, -1.0, 1e-30, 0.49, 0.5, 0.51, 3.99, 4.0, 4.01, 1e30]
    low = torch.tensor(values, device=DEVICE)[None, None, None]
    found = fused.validity(low, least, most)
    assert found.dtype == torch.bool
    assert torch.equal(found, validity(low, least, most))


RATIOS = [
    ((7, 5), (21, 20)),
    ((12, 16), (48, 64)),
    ((4, 5), (24, 50)),  # centres on the border of what the vote keeps
    ((16, 20), (16, 20)),
    ((5, 7), (80, 70)),
    ((9, 12), (21, 24)),
    ((7, 1), (21, 4)),
    ((1, 1), (1, 1)),
    ((20, 6), (7, 30)),  # shrinks along one axis; PyTorch does it
]


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(("small", "size"), RATIOS, ids=str)
def test_the_network_sees_the_same(small, size, channels):
    low, valid = a_map(small, 0.3)
    found = fused.prepare(low, valid, size, 10.0, channels)
    expected = prepare_by_pytorch(low, valid, size, 10.0, channels)
    assert_close(found.filled, expected.filled)
    assert found.shown.shape == (1, channels, *size)
    assert_close(found.shown, expected.shown, 2e-6)
    assert (found.start, found.unit) == (0.0, 10.0)


@pytest.mark.parametrize("channels", [1, 4])
def test_a_range_of_the_map_itself(channels):
    low, valid = a_map((7, 5), 0.3)
    found, expected = (f(low, valid, (21, 20), None, channels) for f in (fused.prepare, prepare_by_pytorch))
    for mine, theirs in zip(found, expected, strict=True):
        assert_close(mine, theirs)
    flat = fused.prepare(torch.full_like(low, 2.0), torch.ones_like(valid), (21, 20), None, channels)
    assert_close(flat.shown[:, :1] * flat.unit + flat.start, torch.full((1, 1, 21, 20), 2.0, device=DEVICE))


def test_bicubic_is_that_of_pil():
    depth, _ = a_map((9, 13), 0.0)
    shown = fused.prepare(depth, torch.ones_like(depth, dtype=torch.bool), (30, 52), 1.0, 1).shown
    image = Image.fromarray(depth[0, 0].cpu().numpy()).resize((52, 30), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(shown[0, 0].cpu().numpy(), np.asarray(image), rtol=0, atol=5e-6)


def test_many_programs(monkeypatch):
    for module in (network_input, result):
        monkeypatch.setattr(module, "BLOCK", 128)
    monkeypatch.setattr(result, "FEW", 32)
    found = Stages(fused.validity, fused.prepare, fused.local_range, fused.finish, upsample_validity)
    assert choice.difference(found, str(DEVICE), (6, 8), (18, 25), 4, True) < 1e-5


@pytest.mark.parametrize("size", [(12, 16), (5, 9), (4, 30), (30, 3), (1, 1), (130, 7), (6, 250)])
def test_edges_are_the_same(size):
    random = torch.Generator().manual_seed(0)
    depth = 2 + torch.randint(0, 2, (1, 1, *size), generator=random).float().cumsum(3).cumsum(2) / 9
    valid = torch.rand(depth.shape, generator=random) > 0.02
    depth, valid = depth.to(DEVICE), valid.to(DEVICE)
    total, count = network_input.mixed_edges(depth, valid).sum(dim=1)
    assert count > 0 or math.prod(size) < 100
    found = (total + MIXED * MIXED_EDGES) / (count + MIXED_EDGES)
    assert_close(found, mixed_pixels(depth, valid)[0, 0, 0, 0])


# --- After it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reach", [0, 7])
@pytest.mark.parametrize(("small", "size"), RATIOS, ids=str)
def test_the_range_is_the_same(small, size, reach):
    depth, valid = a_map(small, 0.8)
    filled = resample.fill_holes(depth, valid)
    assert_close(
        fused.local_range(filled, valid, size, reach), resample.local_range(filled, valid, size, reach), atol=1e-6
    )


def test_where_nothing_valid_is_near_the_range_is_of_all():
    depth = torch.arange(1.0, 401.0, device=DEVICE).view(1, 1, 20, 20)
    valid = depth == 1
    found = fused.local_range(depth, valid, (40, 40), 3)
    assert_close(found, resample.local_range(depth, valid, (40, 40), 3), atol=1e-4)
    assert found[0, 0, -1, -1] > 200 and found[0, 1, 0, 0] == 1


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize(("small", "size"), RATIOS, ids=str)
def test_the_result_is_the_same(small, size, cut):
    low, valid = a_map(small, 0.4)
    color = an_image(size)
    prepared = prepare_by_pytorch(low, valid, size, 10.0, 1)
    bounds = resample.local_range(prepared.filled, valid, size, 2)
    random = torch.Generator().manual_seed(2)
    shown = prepared.shown + 0.1 * torch.randn(prepared.shown.shape, generator=random).to(DEVICE)
    for i, wild in enumerate((math.inf, -math.inf, NAN)):
        shown.view(-1)[5 * i % shown.numel()] = wild
    found, expected = (f(shown, prepared, bounds, low, valid, color, cut) for f in (fused.finish, finish))
    assert found.shape == (1, 1, *size)
    differ = found.isnan() != expected.isnan()
    assert differ.float().mean() < 1e-3  # votes that are even but for rounding
    assert_close(found.masked_fill(differ, 0), expected.masked_fill(differ, 0))


@pytest.mark.parametrize("cut", [True, False])
def test_without_depth_there_is_no_result(cut):
    low = torch.full((1, 1, 6, 8), NAN, device=DEVICE)
    valid = fused.validity(low, 0.0, math.inf)
    prepared = fused.prepare(low, valid, (24, 32), 10.0, 4)
    bounds = fused.local_range(prepared.filled, valid, (24, 32), 7)
    found = fused.finish(prepared.shown[:, :1], prepared, bounds, low, valid, an_image((24, 32)), cut)
    assert prepared.shown.isfinite().all() and found.isnan().all()


def test_a_unit_that_the_host_does_not_know():
    low, valid = a_map((7, 5), 0.3)
    unit, start = torch.tensor(4.0, device=DEVICE), torch.tensor(0.5, device=DEVICE)
    prepared = Prepared(low, low, start, unit)
    bounds = torch.tensor([0.0, 9.0], device=DEVICE).view(1, 2, 1, 1).expand(1, 2, 7, 5).contiguous()
    shown = torch.rand(1, 1, 14, 10, device=DEVICE)
    found, expected = (
        f(shown, prepared, bounds, low, valid, an_image((14, 10)), False) for f in (fused.finish, finish)
    )
    assert_close(found, expected)


@pytest.mark.parametrize(
    ("small", "size"), [((6, 8), (48, 64)), ((5, 7), (16, 23)), ((4, 3), (67, 50)), ((1, 1), (3, 3))]
)
def test_the_colours_are_those_of_the_vote(small, size):
    color = an_image(size)
    guide = color.permute(2, 0, 1)[None].float()
    expected = adaptive_avg_pool2d(guide, (3 * small[0], 3 * small[1]))[0, :, 1::3, 1::3]
    assert_close(result.middle_colors(color, *small), expected, 1e-4)


@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([0.0, 0.3, 0.9]),
    st.booleans(),
)
def test_all_stages_in_a_row(small, size, holes, cut):
    low, _ = a_map(small, holes)
    color, results = an_image(size), []
    for stages in (PYTORCH, Stages(fused.validity, fused.prepare, fused.local_range, fused.finish, upsample_validity)):
        valid = stages.validity(low, 0.4, 9.0)
        prepared = stages.prepare(low, valid, size, 10.0, 4)
        bounds = stages.local_range(prepared.filled, valid, size, 7)
        results.append(stages.finish(prepared.shown[:, :1], prepared, bounds, low, valid, color, cut))
    expected, found = results
    same = found.isnan() == expected.isnan()
    assert same.float().mean() > 0.99
    assert_close(found[same], expected[same])


# --- Where it is chosen -------------------------------------------------------------------------------------------


def test_a_gpu_has_the_kernels_where_they_work():
    assert any(math.prod(small) > pyramid.SMALL for small, *_ in choice.CASES)  # the check sees every kernel
    found = choice._fused.__wrapped__(str(DEVICE))
    assert found.finish is fused.finish and found.prepare is fused.prepare


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (lambda *arguments: 1 / 0, "failed with ZeroDivisionError"),
        (lambda *arguments: finish(*arguments) + 0.01, "differ from PyTorch by 1.0e-02 m"),
        (lambda *arguments: finish(*arguments) * NAN, "differ from PyTorch by inf m"),
    ],
)
def test_a_gpu_has_pytorch_where_they_fail(broken, complaint, monkeypatch, caplog):
    monkeypatch.setattr(fused, "finish", broken)
    monkeypatch.setattr(choice, "CASES", [((6, 8), (18, 25), 4, True)])
    assert choice._fused.__wrapped__(str(DEVICE)) is PYTORCH
    assert complaint in caplog.text


@pytest.mark.parametrize("version", ["3.0.0", "3.1.0", "2.3.1"])
def test_an_old_triton_is_not_asked(version, monkeypatch):
    monkeypatch.setattr("triton.__version__", version)
    monkeypatch.setattr(fused, "validity", None)
    assert choice._fused.__wrapped__(str(DEVICE)) is PYTORCH


@pytest.mark.parametrize("missing", ["triton", "dkn.depth.stages.fused"])
def test_without_triton_there_is_pytorch(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delattr("dkn.depth.stages.fused")
    assert choice._fused.__wrapped__(str(DEVICE)) is PYTORCH


def test_outlines_follow_colour_from_the_same_scale_on():
    scales = [follows_color((4, 4), size) for size in ((12, 12), (11, 12), (12, 11), (4, 4), (64, 64))]
    assert scales == [True, False, False, False, True]
