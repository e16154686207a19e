"""Layers that torch.nn does not have."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


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


class Transposed(nn.Module):
    """A linear layer with the weights of another, transposed, and a bias of its own."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.layer = (layer,)  # in a tuple, so that it is not registered a second time
        self.bias = nn.Parameter(torch.zeros(layer.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return x times the other's weights, plus the bias."""
        return F.linear(x, self.layer[0].weight.T, self.bias)


class UnitLinear(nn.Linear):
    """A linear layer whose columns have one length, whatever is learned."""

    def __init__(self, n_in: int, n_out: int, length: float):
        super().__init__(n_in, n_out)
        self.length = length

    @property
    def columns(self) -> Tensor:
        """The weights that are used, (n_out, n_in)."""
        return self.weight * (self.length * self.weight.square().sum(0).rsqrt())

    def forward(self, x: Tensor) -> Tensor:
        """Return x times the columns, plus the bias."""
        return F.linear(x, self.columns, self.bias)
