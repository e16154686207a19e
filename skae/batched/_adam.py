"""AdamW for the weights of several models at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from skae.training import update_adamw


class StackedAdamW:
    """AdamW (Loshchilov and Hutter 2019) of rows of weights, each with its own learning rate.

    Parameters
    ----------
    weights : Tensor of shape (n_models, n_weights)
        Changed in place. Rows next to each other with the same rate and decay are updated at once.
    weight_decay : sequence of float
        Of each model.
    """

    def __init__(self, weights: Tensor, weight_decay: Sequence[float]):
        self.weights = weights
        self.weight_decay = list(weight_decay)
        self.n_steps = 0
        self.mean = torch.zeros_like(weights)
        self.square = torch.zeros_like(weights)

    @torch.no_grad()
    def step(self, gradient: Tensor, rates: Sequence[float], unused: Tensor | None = None) -> None:
        """Update by gradients, (n_models, n_weights), at a learning rate of each model.

        `unused` is a mask of weights without gradients, (n_weights,), which do not decay either.
        """
        kept = None
        if unused is not None and any(self.weight_decay):
            kept = self.weights[:, unused]
        start = 0
        for (rate, decay), run in groupby(zip(rates, self.weight_decay, strict=True)):
            rows = slice(start, start + len(list(run)))
            start = rows.stop
            count = torch.full((), float(self.n_steps), device=self.weights.device)
            moments = self.mean[rows], self.square[rows]
            update_adamw(
                self.weights[rows], *moments, count, gradient[rows], lr=rate, weight_decay=decay
            )
        self.n_steps += 1
        if kept is not None:
            self.weights[:, unused] = kept

    def take(self, index: Tensor, weights: Tensor) -> None:
        """Keep some of the models only, whose weights are given."""
        self.weights = weights
        self.mean, self.square = self.mean[index], self.square[index]
        self.weight_decay = [self.weight_decay[i] for i in index.tolist()]

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
