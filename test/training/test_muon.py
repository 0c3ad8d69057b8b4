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

"""Muon: against a singular value decomposition, and against torch's Adam where it is Adam."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dkn.training.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(8, 8), (16, 144), (144, 16), (1, 40)])
def test_singular_values_become_equal(shape):
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    matrix = 7 * u @ torch.diag(torch.logspace(0, -1.5, min(shape))) @ v  # the largest is 30 times the smallest
    result = orthogonalised(matrix)
    # In the basis of the singular vectors: nearly the identity.
    values = u.T @ result @ v.T
    assert 0.6 < values.diagonal().min() <= values.diagonal().max() < 1.3
    assert (values - values.diagonal().diag()).abs().max() < 1e-3


def test_an_update_of_weights():
    """Entries as large as in an update by Adam, against the momentum of the gradients."""
    weight = nn.Parameter(torch.randn(12, 3, 5, 5))
    optimiser = Muon([weight], lr=0.5)
    momentum = torch.zeros(12, 75)
    for _ in range(3):
        before, gradient = weight.detach().clone(), torch.randn_like(weight)
        weight.grad = gradient
        optimiser.step()
        update = ((before - weight.detach()) / 0.5).view(12, 75)
        assert update.square().mean().sqrt() == pytest.approx(0.2, rel=0.3)
        momentum = 0.95 * momentum + 0.05 * gradient.view(12, 75)
        looked_ahead = 0.95 * momentum + 0.05 * gradient.view(12, 75)
        u, _, v = torch.linalg.svd(looked_ahead, full_matrices=False)
        direction = torch.cosine_similarity((u @ v).flatten(), update.flatten(), dim=0)
        assert direction > 0.97


def test_vectors_go_adams_way():
    ours, theirs = (nn.Parameter(torch.ones(7)) for _ in range(2))
    muon, adam = Muon([ours], lr=1e-2), torch.optim.Adam([theirs], lr=1e-2)
    for _ in range(5):
        ours.grad = torch.randn(7)
        theirs.grad = ours.grad.clone()
        muon.step()
        adam.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_what_has_no_gradient_stays():
    parameter = nn.Parameter(torch.ones(3, 3))
    Muon([parameter], lr=1.0).step()
    assert torch.equal(parameter, torch.ones(3, 3))


def test_state_comes_back(tmp_path):
    def network() -> nn.Module:
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))

    def go_on(net: nn.Module, optimiser: Muon, seed: int) -> None:
        torch.manual_seed(seed)
        loss = net(torch.randn(2, 2, 6, 6)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    straight = network()
    optimiser = Muon(straight.parameters(), lr=1e-2)
    for seed in range(3):
        go_on(straight, optimiser, seed)
    torch.save((straight.state_dict(), optimiser.state_dict()), tmp_path / "state.pt")
    resumed = network()
    second = Muon(resumed.parameters(), lr=1.0)
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed.load_state_dict(weights)
    second.load_state_dict(state)
    for net, opt in ((straight, optimiser), (resumed, second)):
        for seed in (5, 6):
            go_on(net, opt, seed)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))
