from __future__ import annotations

from skae._schema import persistent
from skae._warnings import warn
from skae.autoencoders._deep import DeepAutoencoder
from skae.data import RowDataset
from skae.hyperparameters import hyperparameters, param
from skae.losses import LOSS_NAMES, LOSSES, Loss
from skae.training import AutoencoderModule


@persistent
@hyperparameters
class Autoencoder(DeepAutoencoder):
    r"""Autoencoder of any depth that starts as PCA and is never worse.

    With :math:`x` centred and divided by the root of the mean variance of the columns,

    .. math:: z = f(x) + A x, \qquad \hat x = \text{link}(g(z) + B z + c),
              \qquad \min \sum_i w_i \frac{1}{d_i} \sum_j \ell(\hat x_{ij}, x_{ij}),

    where the architecture provides the networks :math:`f` and :math:`g`, the second sum is over
    the :math:`d_i` observed cells of a sample, and :math:`\ell` is the loss. With the squared
    error, :math:`A` and :math:`B` start as the projection on the leading principal components of
    all training samples, and the last layers of the networks at zero: before the first epoch, the
    autoencoder is PCA. A later epoch is kept only if it is significantly better on validation
    samples.

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
        If the code has more components than X has features, so that the identity is a solution;
        if no epoch was better than PCA; if the fit was interrupted.

    See Also
    --------
    LinearAutoencoder : Linear autoencoder, whose optimum is the principal subspace.
    sklearn.decomposition.PCA : Principal component analysis.

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
        LOSS_NAMES,
        default="squared_error",
        doc="""
        Loss per cell: 'squared_error', 'absolute_error', 'log_loss' for values in [0, 1], or
        'poisson' (half the deviance) for non-negative values.""",
    )

    def _loss(self) -> Loss:
        return LOSSES[self.loss]

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        n_features = rows.n_features
        if self.n_components_ > n_features:
            warn(
                f"n_components={self.n_components_} is more than the {n_features} features of X: "
                "the identity is a solution. Lower n_components, or regularise."
            )
