from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skae._sklearn_types import clone
from skae._warnings import warn
from skae.architectures import ACTIVATION, HIDDEN_LAYER_SIZES, MLP, Architecture
from skae.base import BaseAutoencoder
from skae.hyperparameters import hyperparameters, one_of, param


def warn_free_scale(remedy: str) -> None:
    """Warn that a small code and a large decoder can make a penalty of the code ineffective."""
    warn(
        "The scale of the decoder is not constrained, so that the penalty may only shrink the "
        f"code; use {remedy}."
    )


@hyperparameters
class DeepAutoencoder(BaseAutoencoder):
    """Base of the autoencoders with networks: their architecture and what they start from.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> import numpy as np
    >>> from skae.extension import DeepAutoencoder
    >>> class SmallCode(DeepAutoencoder):
    ...     def _penalty(self, module, batch, h, output):
    ...         return 0.1 * h.square().mean(1)
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> SmallCode(2, max_iter=1, early_stopping=False, random_state=0).fit_transform(X).shape
    (50, 2)
    """

    hidden_layer_sizes: Sequence[int] | int | None = param(
        *HIDDEN_LAYER_SIZES,
        None,
        default=None,
        doc="""
        Number of units of each hidden layer of the encoder; the decoder mirrors them. If None, the
        default of the architecture, (128, 64).""",
    )
    activation: str | None = param(
        ACTIVATION,
        None,
        default=None,
        doc="""
        Activation function of the hidden layers. If None, the default of the architecture,
        'silu'.""",
    )
    architecture: Any = param(
        Architecture,
        None,
        default=None,
        doc="""
        Builds encoder and decoder. If None, ``MLP(hidden_layer_sizes, activation)``. Set either an
        architecture or these two parameters.""",
    )
    init: str = param(
        one_of("auto", "pca", "random"),
        default="auto",
        doc="""
        Initialisation of the weights: 'pca' starts at the principal components and requires a
        squared or absolute error (a Gaussian likelihood), a code without activation and the linear
        shortcut; 'random' starts at random; 'auto' is 'pca' where possible, else 'random'.""",
    )
    linear_shortcut: bool = param(
        "boolean",
        default=True,
        doc="Whether linear maps are added to the encoder and to the decoder.",
    )

    _linear_code = True  # whether the code is linear in the encoder's output

    def _architecture(self) -> Architecture:
        flat = {
            name: value
            for name in ("hidden_layer_sizes", "activation")
            if (value := getattr(self, name)) is not None
        }
        if self.architecture is None:
            architecture = self._default_architecture(**flat)
        elif flat:
            raise ValueError(
                f"Both architecture and {' and '.join(flat)} are given; set {' and '.join(flat)} "
                "on the architecture instead."
            )
        else:
            architecture = clone(self.architecture)
        if hasattr(architecture, "_validate_params"):
            architecture._validate_params()
        return architecture

    def _default_architecture(self, **flat: Any) -> Architecture:
        """Return the default architecture with these parameters."""
        return MLP(**flat)

    def _starts_from_pca(self) -> bool:
        if not self._loss().pca:
            obstacle = f"{self._loss_parameter}={getattr(self, self._loss_parameter)!r}"
        elif not self._linear_code:
            obstacle = f"the code of a {type(self).__name__}"
        elif not self.linear_shortcut:
            obstacle = "linear_shortcut=False"
        else:
            return self.init != "random"
        if self.init == "pca":
            raise ValueError(
                "init='pca' requires a squared or absolute error (a Gaussian likelihood), a code "
                f"without activation and linear_shortcut=True; got {obstacle}. Use init='auto'."
            )
        return False

    def _linear_shortcut(self) -> bool:
        return self.linear_shortcut
