from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from sklearn.base import clone

from skae._params import hyperparameters, one_of, param
from skae._schema import persistent
from skae._sklearn import HasMethods
from skae.architectures import MLP
from skae.architectures._mlp import ACTIVATION, HIDDEN_LAYER_SIZES
from skae.base import BaseAutoencoder
from skae.exceptions import AutoencoderWarning
from skae.losses import LOSSES, Loss
from skae.training import AutoencoderModule, Rows


def warn_of_growth(remedy: str) -> None:
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
            recipe = self._recipe(**flat)
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

    def _recipe(self, **flat: Any) -> Any:
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


@persistent
@hyperparameters
class Autoencoder(DeepAutoencoder):
    r"""Autoencoder of any depth that starts as PCA and is never worse.

    With :math:`x` centred and divided by the root of its columns' mean variance,

    .. math:: z = f(x) + A x, \qquad \hat x = \text{link}(g(z) + B z + c),
              \qquad \min \sum_i w_i \frac{1}{d} \sum_j \ell(\hat x_{ij}, x_{ij}),

    where the networks :math:`f` and :math:`g` come from the architecture, the second sum is over
    the observed cells of a row, and :math:`\ell` is the loss. With the squared error, :math:`A`
    and :math:`B` start as the projection on the leading principal components of all training
    rows, and the last layers of the networks at zero: before the first epoch, the autoencoder is
    PCA. A later epoch is kept only if it does better on rows held out, beyond doubt.

    ``init="random", linear_shortcut=False`` is the textbook network.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    Warns
    -----
    AutoencoderWarning
        If the code is wider than the input, so that nothing must be learned to copy it; if no
        epoch was better than PCA; if the fit was interrupted.

    See Also
    --------
    LinearAutoencoder : Principal components, by training.
    sklearn.decomposition.PCA : The start.

    References
    ----------
    Hinton, G. E. and Salakhutdinov, R. R. (2006). "Reducing the dimensionality of data with
    neural networks". Science 313(5786), 504-507.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae import Autoencoder
    >>> from skae.metrics import explained_variance
    >>> X = load_digits().data
    >>> pca = PCA(8).fit(X[:1300])
    >>> autoencoder = Autoencoder(8, max_iter=50, random_state=0).fit(X[:1300])
    >>> autoencoder.transform(X).shape
    (1797, 8)
    >>> explained_variance(autoencoder, X[1300:]) > explained_variance(pca, X[1300:])
    True
    """

    loss: str = param(
        one_of(*LOSSES),
        default="squared_error",
        doc="""
        What a reconstruction costs per cell: 'squared_error', 'absolute_error', 'log_loss' for
        values in [0, 1], or 'poisson' (half the deviance) for values of at least 0.""",
    )

    def _loss(self) -> Loss:
        return LOSSES[self.loss]

    def _setup(self, module: AutoencoderModule, rows: Rows) -> None:
        n_features = rows.n_features
        if self.n_components_ > n_features:
            warnings.warn(
                f"n_components={self.n_components_} is more than the {n_features} features of X: "
                "nothing keeps the code from copying X. Lower n_components, or regularise.",
                AutoencoderWarning,
                stacklevel=6,
            )
