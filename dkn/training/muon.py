"""Muon: steps along which every direction of a weight matrix moves equally far."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

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
        lr: learning rate, of both.
    """

    def __init__(self, params: Iterable[Tensor], lr: float):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update = _muon if parameter.ndim > 1 else _adam
                    parameter.sub_(update(parameter.grad, self.state[parameter]), alpha=group["lr"])
        return loss


def orthogonalised(matrix: Tensor) -> Tensor:
    """U Vᵀ of the singular value decomposition U S Vᵀ, nearly: five rounds of Newton and Schulz's iteration, with the
    coefficients that bring small singular values up fastest; they end between 0.7 and 1.2.

    Args:
        matrix: (rows, columns).
    """
    x = matrix / (matrix.norm() + 1e-7)
    if len(matrix) > matrix.shape[1]:
        x = x.T
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if len(matrix) > matrix.shape[1] else x


def _muon(gradient: Tensor, state: dict[str, Any]) -> Tensor:
    momentum = state.setdefault("momentum", torch.zeros_like(gradient))
    momentum.lerp_(gradient, 1 - MOMENTUM)
    matrix = gradient.lerp(momentum, MOMENTUM).reshape(len(gradient), -1)
    return (orthogonalised(matrix) * (UPDATE_RMS * max(matrix.shape) ** 0.5)).view_as(gradient)


def _adam(gradient: Tensor, state: dict[str, Any]) -> Tensor:
    step = state["step"] = state.get("step", 0) + 1
    mean = state.setdefault("mean", torch.zeros_like(gradient))
    square = state.setdefault("square", torch.zeros_like(gradient))
    mean.lerp_(gradient, 1 - ADAM_BETAS[0])
    square.lerp_(gradient.square(), 1 - ADAM_BETAS[1])
    unbiased = (square / (1 - ADAM_BETAS[1] ** step)).sqrt() + ADAM_EPS
    return mean / (1 - ADAM_BETAS[0] ** step) / unbiased
