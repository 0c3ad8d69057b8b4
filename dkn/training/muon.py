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

"""Muon: steps along which every direction of a weight matrix moves equally far."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

MOMENTUM = 0.95
ADAM_BETAS = 0.9, 0.999
ADAM_EPS = 1e-8
UPDATE_RMS = 0.2  # of an update's entries: Adam's is 0.2 to 0.4, so that its learning rates fit


class Muon(torch.optim.Optimizer):
    """Muon for weights, Adam for vectors (biases, batch norm).

    Nesterov's momentum of a weight's gradient is laid out as a matrix (output channels × everything else) and replaced
    by the nearest matrix whose singular values are all 1 (Jordan et al., "Muon: An optimizer for hidden layers in
    neural networks", 2024), scaled so that its entries are as large as in an update by Adam (Liu et al., "Muon is
    scalable for LLM training", 2025).

    Args:
        params: what to optimise.
        lr: learning rate, of both. As a tensor (a scalar) on the parameters' device it can be changed inside a CUDA
            graph; nothing here asks the device for a value.
    """

    def __init__(self, params: Iterable[Tensor], lr: float | Tensor):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            vectors = [parameter for parameter in parameters if parameter.ndim < 2]
            if vectors:
                self._adam(vectors, group["lr"])
            # Weights of one shape are one stack: a GPU spends longer on launching these small products than on them.
            shapes = dict.fromkeys(parameter.shape for parameter in parameters if parameter.ndim > 1)
            for shape in shapes:
                self._muon([parameter for parameter in parameters if parameter.shape == shape], group["lr"])
        return loss

    def _muon(self, weights: list[Tensor], lr: float | Tensor) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        momenta = [self._state(weight, "momentum") for weight in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)
        stack = torch.stack([update.reshape(len(update), -1) for update in ahead])
        updates = orthogonalised(stack) * (UPDATE_RMS * max(stack.shape[1:]) ** 0.5) * lr
        torch._foreach_sub_(weights, [update.view_as(weight) for update, weight in zip(updates, weights, strict=True)])

    def _adam(self, vectors: list[Tensor], lr: float | Tensor) -> None:
        gradients = [vector.grad for vector in vectors if vector.grad is not None]
        means, squares = ([self._state(vector, name) for vector in vectors] for name in ("mean", "square"))
        steps = [self._state(vector, "count", ()) for vector in vectors]
        torch._foreach_add_(steps, 1)
        torch._foreach_lerp_(means, gradients, 1 - ADAM_BETAS[0])
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - ADAM_BETAS[1])
        # By how much means that began at zero fall short: 1 - βⁿ.
        short_mean, short_square = (
            torch._foreach_neg(torch._foreach_sub(torch._foreach_pow(beta, steps), 1)) for beta in ADAM_BETAS
        )
        deviations = torch._foreach_sqrt(torch._foreach_div(squares, short_square))
        torch._foreach_add_(deviations, ADAM_EPS)
        updates = torch._foreach_div(torch._foreach_div(means, short_mean), deviations)
        torch._foreach_mul_(updates, lr)
        torch._foreach_sub_(vectors, updates)

    def _state(self, parameter: Tensor, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """What is kept of a parameter, at first zeros; of its shape unless another is given."""
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter) if shape is None else parameter.new_zeros(shape)
        return state[name]


def orthogonalised(matrix: Tensor) -> Tensor:
    """U Vᵀ of the singular value decomposition U S Vᵀ, nearly: five rounds of Newton and Schulz's iteration, with the
    coefficients that bring small singular values up fastest; they end between 0.7 and 1.2.

    Args:
        matrix: (…, rows, columns), each of a stack on its own.
    """
    x = matrix / (torch.linalg.matrix_norm(matrix, keepdim=True) + 1e-7)
    high = matrix.shape[-2] > matrix.shape[-1]
    if high:
        x = x.mT
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if high else x
