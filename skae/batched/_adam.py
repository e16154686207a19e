"""AdamW for the weights of several models at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # torch's defaults


class StackedAdamW:
    """AdamW (Loshchilov and Hutter 2019) of rows of weights, each with its own learning rate.

    Parameters
    ----------
    weights : Tensor of shape (n_models, n_weights)
        Changed in place.
    weight_decay : Tensor of shape (n_models, 1)
    """

    def __init__(self, weights: Tensor, weight_decay: Tensor):
        self.weights = weights
        self.weight_decay = weight_decay
        self.n_steps = 0
        self.mean = torch.zeros_like(weights)
        self.square = torch.zeros_like(weights)
        self._decays = bool(weight_decay.any())

    def step(self, gradient: Tensor, rate: Tensor, decaying: Tensor | float = 1.0) -> None:
        """Update by gradients, (n_models, n_weights), at learning rates, (n_models, 1).

        `decaying` is 1 for weights that decay, and 0 for others, (1, n_weights).
        """
        self.n_steps += 1
        if self._decays:
            self.weights.mul_(1 - rate * self.weight_decay * decaying)
        self.mean.lerp_(gradient, 1 - BETA1)
        self.square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        correction = (1 - BETA2**self.n_steps) ** 0.5
        denominator = self.square.sqrt().div_(correction).add_(EPS)
        self.weights.sub_(self.mean.div(denominator).mul_(rate / (1 - BETA1**self.n_steps)))

    def take(self, index: Tensor, weights: Tensor) -> None:
        """Keep some of the models only, whose weights are given."""
        self.weights = weights
        self.mean, self.square = self.mean[index], self.square[index]
        self.weight_decay = self.weight_decay[index]

    def moments(self, i: int, slices: dict[str, tuple[slice, torch.Size]]) -> dict[str, Any]:
        """Return the state of a model's optimiser as torch's AdamW has it, by name of weight."""
        if not self.n_steps:
            return {}
        step = torch.tensor(float(self.n_steps)).numpy()
        return {
            name: {
                "step": step.copy(),
                "exp_avg": self.mean[i, part].reshape(shape).cpu().numpy().copy(),
                "exp_avg_sq": self.square[i, part].reshape(shape).cpu().numpy().copy(),
            }
            for name, (part, shape) in slices.items()
        }
