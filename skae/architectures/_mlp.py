from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any

from sklearn.base import BaseEstimator
from torch import nn

from skae._params import POSITIVE_INT, hyperparameters, one_of, param

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

HIDDEN_LAYER_SIZES = ("array-like", POSITIVE_INT)
ACTIVATION = one_of(*ACTIVATIONS)


@hyperparameters
class MLP(BaseEstimator):
    r"""Dense encoder and decoder, the decoder mirroring the encoder.

    With the encoder's layers of widths :math:`n_1, \dots, n_L`, the encoder is

    .. math:: h_l = \phi(W_l h_{l-1} + b_l), \quad h_0 = x, \quad z = W_{L+1} h_L + b_{L+1},

    and the decoder the same with its widths in reverse order. The code and the output are
    linear. Weights start uniform in :math:`\pm 1 / \sqrt{\text{fan-in}}`.

    Parameters
    ----------
    {parameters}

    See Also
    --------
    Autoencoder : Takes a recipe as its ``architecture``.

    Examples
    --------
    >>> from skae import MLP
    >>> encoder, decoder = MLP(hidden_layer_sizes=(16,)).build(
    ...     n_inputs=8, n_code=3, n_components=3, n_outputs=8
    ... )
    >>> encoder
    Sequential(
      (0): Linear(in_features=8, out_features=16, bias=True)
      (1): SiLU()
      (2): Linear(in_features=16, out_features=3, bias=True)
    )
    """

    hidden_layer_sizes: Sequence[int] | int = param(
        (128, 64),
        *HIDDEN_LAYER_SIZES,
        positional=True,
        doc="""
        Width of each hidden layer of the encoder, from the input on; the decoder mirrors them.
        ``()`` makes both linear.""",
    )
    activation: str = param("silu", ACTIVATION, doc="Function after each hidden layer.")

    def build(
        self, n_inputs: int, n_code: int, n_components: int, n_outputs: int
    ) -> tuple[nn.Module, nn.Module]:
        """Build an encoder and a decoder.

        Parameters
        ----------
        n_inputs : int
            Width of what the encoder sees.
        n_code : int
            Width of what the encoder answers.
        n_components : int
            Width of what the decoder sees.
        n_outputs : int
            Width of what the decoder answers.

        Returns
        -------
        encoder, decoder : torch.nn.Sequential
            Each ends in the linear layer that a start from principal components sets to zero.
        """
        widths = self._widths()
        encoder = self._stack([n_inputs, *widths, n_code])
        decoder = self._stack([n_components, *reversed(widths), n_outputs])
        return encoder, decoder

    def _widths(self) -> list[int]:
        sizes: Any = self.hidden_layer_sizes
        widths = [sizes] if isinstance(sizes, Integral) else list(sizes)
        if not all(isinstance(w, Integral) and int(w) > 0 for w in widths):
            raise ValueError(
                "The 'hidden_layer_sizes' parameter must hold positive integers, one per hidden "
                f"layer. Got {sizes!r} instead."
            )
        return [int(w) for w in widths]

    def _stack(self, widths: Sequence[int]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), ACTIVATIONS[self.activation]()]
        return nn.Sequential(*layers[:-1])
