from __future__ import annotations

import warnings

from skae._schema import persistent
from skae.autoencoders._deep import DeepAutoencoder
from skae.data import RowDataset
from skae.exceptions import AutoencoderWarning
from skae.hyperparameters import hyperparameters, one_of, param
from skae.losses import LOSSES, Loss
from skae.training import AutoencoderModule


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

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        n_features = rows.n_features
        if self.n_components_ > n_features:
            warnings.warn(
                f"n_components={self.n_components_} is more than the {n_features} features of X: "
                "nothing keeps the code from copying X. Lower n_components, or regularise.",
                AutoencoderWarning,
                stacklevel=6,
            )
