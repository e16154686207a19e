from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from skae._sklearn import HasMethods
from skae._sklearn_types import clone
from skae.architectures import MLP
from skae.architectures._mlp import ACTIVATION, HIDDEN_LAYER_SIZES
from skae.base import BaseAutoencoder
from skae.exceptions import AutoencoderWarning
from skae.hyperparameters import hyperparameters, one_of, param


def warn_free_scale(remedy: str) -> None:
    """Warn that a penalty of the code may be met by its scale alone."""
    warnings.warn(
        "The decoder is free to grow, so that the penalty may shrink the code instead of making it "
        f"what it asks for; use {remedy}.",
        AutoencoderWarning,
        stacklevel=7,
    )


@hyperparameters
class DeepAutoencoder(BaseAutoencoder):
    """Base of the autoencoders with networks: their architecture and what they start from.

    Parameters
    ----------
    {parameters}
    """

    hidden_layer_sizes: Sequence[int] | int | None = param(
        *HIDDEN_LAYER_SIZES,
        None,
        default=None,
        doc="""
        Width of each hidden layer of the encoder; the decoder mirrors them. None leaves it to the
        architecture, whose default is (128, 64).""",
    )
    activation: str | None = param(
        ACTIVATION,
        None,
        default=None,
        doc="Function after each hidden layer. None leaves it to the architecture: 'silu'.",
    )
    architecture: Any = param(
        HasMethods("build"),
        None,
        default=None,
        doc="""
        Recipe that builds encoder and decoder, such as `MLP`; None is
        ``MLP(hidden_layer_sizes, activation)``. Give either a recipe or its parameters here.""",
    )
    init: str = param(
        one_of("auto", "pca", "random"),
        default="auto",
        doc="""
        What training starts from: 'pca', which needs a squared or absolute error (a Gaussian
        likelihood), a code without activation and the linear shortcut; 'random'; or 'auto', which
        is 'pca' where that exists.""",
    )
    linear_shortcut: bool = param(
        "boolean",
        default=True,
        doc="Whether a linear map runs beside the encoder, and another beside the decoder.",
    )

    _linear_code = True  # whether the code is linear in the encoder's output

    def _architecture(self) -> Any:
        flat = {
            name: value
            for name in ("hidden_layer_sizes", "activation")
            if (value := getattr(self, name)) is not None
        }
        if self.architecture is None:
            recipe = self._default_architecture(**flat)
        elif flat:
            raise ValueError(
                f"Both architecture and {' and '.join(flat)} are given; set {' and '.join(flat)} "
                "on the architecture instead."
            )
        else:
            recipe = clone(self.architecture)
        if hasattr(recipe, "_validate_params"):
            recipe._validate_params()
        return recipe

    def _default_architecture(self, **flat: Any) -> Any:
        """Return the recipe that the flat parameters, where they are given, describe."""
        return MLP(**flat)

    def _starts_from_pca(self) -> bool:
        if not self._loss().pca:
            instead = f"{self._loss_parameter}={getattr(self, self._loss_parameter)!r}"
        elif not self._linear_code:
            instead = f"the code of a {type(self).__name__}"
        elif not self.linear_shortcut:
            instead = "linear_shortcut=False"
        else:
            return self.init != "random"
        if self.init == "pca":
            raise ValueError(
                "init='pca' needs a squared or absolute error (a Gaussian likelihood), a code "
                f"without activation and linear_shortcut=True; got {instead}. Use init='auto'."
            )
        return False

    def _linear_shortcut(self) -> bool:
        return self.linear_shortcut
