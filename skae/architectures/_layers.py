"""Layers that torch.nn does not have."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Dropout(nn.Module):
    """Set units to zero at random in training, by the draws of the batch.

    Parameters
    ----------
    p : float
        Share of the units that are set to zero; the others are divided by ``1 - p``.
    """

    random: Any = None  # of the batch; set before each forward pass

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return x, with units set to zero in training."""
        if not self.training or not self.p:
            return x
        return x * ((self.random.uniform(*x.shape) >= self.p) / (1 - self.p))
