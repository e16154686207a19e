"""Layers that torch.nn does not provide."""

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
    """Dropout that draws from the random generator of the batch.

    Parameters
    ----------
    p : float
        Probability of a unit to be set to zero; the others are divided by ``1 - p``.

    Examples
    --------
    >>> import torch
    >>> from skae.extension import Dropout
    >>> layer = Dropout(0.5).eval()  # in training, it draws from the batch
    >>> layer(torch.ones(3))
    tensor([1., 1., 1.])
    """

    random: Any = None  # of the batch; set before each forward pass

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return x; in training, with units set to zero at random.

        Parameters
        ----------
        x : Tensor
            Units.

        Returns
        -------
        x : Tensor
            The same units, some of them zero.
        """
        if not self.training or not self.p:
            return x
        return x * ((self.random.uniform(*x.shape) >= self.p) / (1 - self.p))


class Transposed(nn.Module):
    """A linear layer with the transposed weights of another one, and its own bias."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.layer = (layer,)  # in a tuple, so that it is not registered twice
        self.bias = nn.Parameter(torch.zeros(layer.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return x times the weights of the other layer, plus the bias."""
        return F.linear(x, self.layer[0].weight.T, self.bias)


class UnitLinear(nn.Linear):
    """A linear layer whose columns have a fixed norm."""

    def __init__(self, n_in: int, n_out: int, length: float):
        super().__init__(n_in, n_out)
        self.length = length

    @property
    def columns(self) -> Tensor:
        """The normalised weights, (n_out, n_in)."""
        return self.weight * (self.length * self.weight.square().sum(0).rsqrt())

    def forward(self, x: Tensor) -> Tensor:
        """Return x times the columns, plus the bias."""
        return F.linear(x, self.columns, self.bias)
