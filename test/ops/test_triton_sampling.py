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

"""The Triton kernels of the weighted average: on a GPU as they are, elsewhere through Triton's interpreter."""

from __future__ import annotations

import sys

import pytest
import torch
from sampling_cases import by_definition, positions, problem
from torch import Tensor

from dkn import ops
from dkn.ops import average, sampling
from dkn.ops.sampling import regular_taps

triton_sampling = pytest.importorskip("dkn.ops.triton_sampling", reason="Triton is not installed")

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fused(image: Tensor, weights: Tensor, offsets: Tensor, taps: Tensor, window: int) -> Tensor:
    return triton_sampling.weighted_average(*(t.to(DEVICE) for t in (image, weights, offsets, taps)), window).cpu()


def with_gradients(function, inputs: list[Tensor], taps: Tensor, window: int, upstream: Tensor) -> list[Tensor]:
    """The result, and the gradients of a weighted sum of it."""
    inputs = [t.detach().requires_grad_() for t in inputs]
    result = function(*inputs, taps, window)
    assert result.dtype == inputs[0].dtype
    (result * upstream.to(result.dtype)).sum().backward()
    assert [t.grad.dtype for t in inputs] == [t.dtype for t in inputs]
    return [result.detach(), *(t.grad for t in inputs)]


@pytest.mark.parametrize(
    ("k", "size", "channels", "batch", "window", "reach", "dtype"),
    [
        (1, (1, 1), 1, 1, 3, 0.3, torch.float32),
        (3, (7, 19), 1, 2, 15, 3.0, torch.float32),  # more pixels than one program takes
        (3, (4, 5), 3, 2, 5, 8.0, torch.float32),  # mostly outside the window
        (3, (6, 1), 1, 1, 15, 5.0, torch.float16),
        (3, (4, 5), 2, 1, 15, 3.0, torch.bfloat16),
        (5, (5, 6), 1, 1, 7, 5.0, torch.float32),
        (7, (3, 8), 1, 1, 15, 5.0, torch.float32),
    ],
)
def test_equals_the_readable_version_and_its_gradients(k, size, channels, batch, window, reach, dtype):
    image, weights, offsets = problem(k, size, channels, batch, reach)
    inputs = [image.float(), weights.to(dtype), offsets.to(dtype)]
    upstream = torch.randn(image.shape, generator=torch.Generator().manual_seed(3))
    taps = regular_taps(k) + torch.tensor([0.25, -0.4])
    result = with_gradients(fused, inputs, taps, window, upstream)
    expected = with_gradients(sampling.weighted_average, [t.double() for t in inputs], taps, window, upstream)
    assert expected[0].abs().max() > 0
    for name, mine, theirs, given in zip("rfkd", result, expected, [inputs[0], *inputs], strict=True):
        error = (mine.double() - theirs).abs().max()
        assert error <= 4 * torch.finfo(given.dtype).eps * max(theirs.abs().max(), 4), name


def test_gradients_against_finite_differences_of_the_definition():
    image, weights, offsets = problem(3, (2, 3), batch=1)
    random = torch.Generator().manual_seed(1)
    # Away from whole numbers, where bilinear interpolation has a kink. Some lie outside window and image.
    whole = torch.randint(-4, 4, offsets.shape, generator=random)
    offsets = whole + 0.1 + 0.8 * torch.rand(offsets.shape, generator=random, dtype=torch.float64)
    inputs, upstream = [image, weights, offsets], torch.randn(image.shape, generator=random, dtype=torch.float64)
    gradients = with_gradients(fused, [t.float() for t in inputs], regular_taps(3), 5, upstream)[1:]
    step = 1e-3
    for tensor, gradient in zip(inputs, gradients, strict=True):
        values, found = tensor.view(-1), gradient.reshape(-1)
        for i in range(len(values)):
            sums = []
            for sign in (1, -1):
                values[i] += sign * step
                sums.append((by_definition(*inputs, positions(3), 5) * upstream.numpy()).sum())
                values[i] -= sign * step
            assert found[i].item() == pytest.approx((sums[0] - sums[1]) / (2 * step), abs=2e-4)


def test_any_memory_layout():
    image, weights, offsets = (t.float() for t in problem(3, (5, 6)))
    expected = fused(image, weights, offsets, regular_taps(3), 7)
    layouts = [t.to(memory_format=torch.channels_last) for t in (image, weights, offsets)]
    assert torch.equal(fused(*layouts, regular_taps(3), 7), expected)
    sliced = [torch.cat((t, t), 1)[:, : t.shape[1], :, :] for t in (image, weights, offsets)]
    assert torch.equal(fused(*sliced, regular_taps(3), 7), expected)
    zeros = torch.zeros_like(offsets)
    expected = fused(image, weights, zeros, regular_taps(3), 7)
    assert torch.equal(fused(image, weights, zeros[:1, :1, :1, :1].expand_as(zeros), regular_taps(3), 7), expected)


def test_gradients_of_expanded_offsets_and_only_those_asked_for():
    image, weights, offsets = (t.float().to(DEVICE) for t in problem(1, (3, 4), batch=2))
    shared = offsets[:1].clone().requires_grad_()
    triton_sampling.weighted_average(image, weights, shared.expand_as(offsets), regular_taps(1), 7).sum().backward()
    twin = shared.detach().clone().requires_grad_()
    sampling.weighted_average(image, weights, twin.expand_as(offsets), regular_taps(1), 7).sum().backward()
    torch.testing.assert_close(shared.grad, twin.grad)
    assert image.grad is None and weights.grad is None
    ops = [weights.clone().requires_grad_() for _ in range(2)]
    for sampler, kernel in zip((triton_sampling.weighted_average, sampling.weighted_average), ops, strict=True):
        sampler(image, kernel, offsets, regular_taps(1), 7).sum().backward()
    torch.testing.assert_close(ops[0].grad, ops[1].grad)


@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 3e9])
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # of the interpreter's NumPy
def test_wild_offsets_touch_their_own_pixel_alone(wild):
    image, weights, offsets = (t.float() for t in problem(3, (4, 5), batch=1))
    upstream = torch.ones_like(image)
    expected = with_gradients(fused, [image, weights, offsets], regular_taps(3), 7, upstream)
    offsets[0, 4, 2, 3] = wild
    result = with_gradients(fused, [image, weights, offsets], regular_taps(3), 7, upstream)
    for index in (0, 2, 3):  # the result, and the gradients of weights and offsets
        result[index][0, :, 2, 3] = expected[index][0, :, 2, 3] = 0
        assert torch.equal(result[index], expected[index])


@pytest.mark.parametrize("far", [1e30, -3e9])
def test_a_tap_far_away_counts_zero(far):
    image, weights, offsets = (t.float() for t in problem(3, (4, 5), batch=1))
    assert not fused(image, weights, torch.full_like(offsets, far), regular_taps(3), 7).any()


def test_the_same_bytes_every_time():
    image, weights, offsets = (t.float() for t in problem(3, (5, 6), batch=1))
    upstream = torch.randn(image.shape, generator=torch.Generator().manual_seed(3))
    runs = [with_gradients(fused, [image, weights, offsets], regular_taps(3), 7, upstream) for _ in range(2)]
    for index in (0, 2, 3):
        assert torch.equal(runs[0][index], runs[1][index])


def test_what_it_does_not_do_is_said():
    image, weights, offsets = problem(1, (2, 3))
    with pytest.raises(TypeError, match="float64"):
        fused(image, weights, offsets, regular_taps(1), 3)
    weights = weights.float().requires_grad_()
    result = fused(image.float(), weights, offsets.float(), regular_taps(1), 3)
    (gradient,) = torch.autograd.grad((result**2).sum(), weights, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


# --- Where dkn.ops chooses it ------------------------------------------------------------------------------------


def test_it_is_chosen_where_it_works():
    assert average._triton_sampler.__wrapped__(DEVICE) is triton_sampling.weighted_average


@pytest.mark.skipif(DEVICE.type != "cuda", reason="needs a GPU")
def test_tensors_on_a_gpu_go_there(monkeypatch):
    called = []
    monkeypatch.setattr(average, "_triton_sampler", lambda device: lambda *args: called.append(device) or args[0])
    average.weighted_average(*(t.float().to(DEVICE) for t in problem(1)), regular_taps(1), 3)
    assert [device.type for device in called] == ["cuda"]


@pytest.mark.parametrize("broken", ["raises", "wrong"])
def test_it_is_not_chosen_where_it_fails(monkeypatch, broken, caplog):
    def substitute(image: Tensor, *_: object) -> Tensor:
        if broken == "raises":
            raise RuntimeError("Failed to find C compiler")
        return torch.zeros_like(image)

    monkeypatch.setattr(triton_sampling, "weighted_average", substitute)
    assert average._triton_sampler.__wrapped__(DEVICE) is sampling.weighted_average
    assert ("C compiler" if broken == "raises" else "differs from the reference") in caplog.text


def test_without_triton_it_is_not_chosen(monkeypatch):
    monkeypatch.setitem(sys.modules, "dkn.ops.triton_sampling", None)
    monkeypatch.delattr(ops, "triton_sampling")
    assert average._triton_sampler.__wrapped__(DEVICE) is sampling.weighted_average
