"""Selection of the best epoch, and early stopping."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from skae.data import ALONE, Group


class BestEpoch:
    r"""Keep the weights of the best epoch, the start being epoch 0.

    An epoch is kept if its validation loss is the lowest so far, and if the mean over samples of
    its improvement over the start is more than `n_errors` standard errors of that mean:

    .. math:: \bar g = \frac{\sum_i w_i g_i}{\sum_i w_i} > c \sqrt{\frac{n}{n - 1}}
              \frac{\sqrt{\sum_i w_i^2 (g_i - \bar g)^2}}{\sum_i w_i}

    Parameters
    ----------
    module : Module
        The module that is trained.
    weight : Tensor of shape (n,)
        Weights of the validation samples.
    start : Tensor of shape (n,)
        Their losses before training.
    patience : int
        Number of consecutive epochs without improvement after which training stops.
    start_patience : int or None
        The same while no epoch is better than the start, and the last one is worse. If None,
        `patience`.
    tol : float
        Minimum relative decrease of the lowest loss that counts as improvement for `patience`.
    n_errors : float
        :math:`c` above.
    group : Group
        The processes of the training; that of rank 0 decides.
    """

    def __init__(
        self,
        module: nn.Module,
        weight: Tensor,
        start: Tensor,
        *,
        patience: int,
        start_patience: int | None = None,
        tol: float,
        n_errors: float,
        group: Group = ALONE,
    ):
        self.module = module
        self.weight = weight.double() / weight.double().sum()
        self.start_losses = start.double()
        self.patience = patience
        self.start_patience = patience if start_patience is None else start_patience
        self.tol = tol
        self.n_errors = n_errors
        self.group = group
        self.epoch = 0
        self.loss = self.lowest = self.initial_loss = float(self.weight @ self.start_losses)
        self.waited = 0
        self.exhausted = False  # whether the patience has run out
        self._values = self._weights()

    def update(self, epoch: int, losses: Tensor, *, is_candidate: bool = True) -> float:
        """Update with the validation losses of an epoch, if it is a candidate; return the mean."""
        losses = losses.double()
        gain = self.start_losses - losses
        mean = self.weight @ gain
        n = len(gain)
        error = ((self.weight * (gain - mean)) ** 2).sum().sqrt() * math.sqrt(n / max(n - 1, 1))
        decisive = torch.stack([self.weight @ losses, mean - self.n_errors * error])
        loss, surplus = self.group.first(decisive).tolist()
        if not is_candidate:
            return loss
        enough = self.lowest - self.tol * abs(self.lowest)
        self.waited = 0 if loss < enough else self.waited + 1
        self.lowest = min(loss, self.lowest)
        if loss < self.loss and surplus > 0:
            # In one statement, so that an interrupt cannot separate them.
            self.epoch, self.loss, self._values = epoch, loss, self._weights()
        is_worse = self.epoch == 0 and loss > self.initial_loss
        self.exhausted = self.waited >= (self.start_patience if is_worse else self.patience)
        return loss

    def restore(self) -> None:
        """Load the best weights into the module."""
        for value, best in zip(self.module.state_dict().values(), self._values, strict=True):
            value.copy_(best)

    def state(self) -> dict[str, Any]:
        """Return the state as arrays and numbers."""
        return {
            "epoch": self.epoch,
            "loss": self.loss,
            "lowest": self.lowest,
            "waited": self.waited,
            "exhausted": self.exhausted,
            "values": [value.cpu().numpy() for value in self._values],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Load a state that `state` returned."""
        self.epoch, self.loss = state["epoch"], state["loss"]
        self.lowest, self.waited = state["lowest"], state["waited"]
        self.exhausted = state["exhausted"]
        self._values = [torch.tensor(value) for value in state["values"]]

    def _weights(self) -> list[Tensor]:
        return [value.clone() for value in self.module.state_dict().values()]
