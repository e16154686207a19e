from __future__ import annotations

import torch
from sklearn.utils.extmath import svd_flip
from torch import Tensor

from skae._params import POSITIVE, POSITIVE_INT, hyperparameters, one_of, param
from skae.base import BaseAutoencoder
from skae.training import AutoencoderModule, Rows


@hyperparameters
class LinearAutoencoder(BaseAutoencoder):
    r"""Linear autoencoder with squared error, whose optimum is the principal subspace.

    .. math:: z = A x, \qquad \hat x = B z + c,
              \qquad \min \sum_i w_i \lVert \hat x_i - x_i \rVert^2

    All minima have the span of the leading principal components as the range of :math:`B`; there
    are no other local minima. From ``init="pca"`` training has nothing to do, unless values are
    missing: then only observed cells count, and the start is the PCA of rows filled by the mean.
    After training the code is expressed in the principal axes of the subspace that was found, in
    PCA's order and with PCA's signs.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Principal axes of the learned subspace, by decreasing variance, the entry of largest
        absolute value positive. At the optimum, ``transform(X)`` is
        ``(X - mean_) @ components_.T / scale_``.
    explained_variance_ : ndarray of shape (n_components,)
        Variance of the training rows along each axis: the weighted mean square times
        n / (n - 1), n being the number of rows. After ``partial_fit``, of all rows so far, those
        of former calls as their projections on the subspace of then.
    explained_variance_ratio_ : ndarray of shape (n_components,)
        Its share of the columns' total variance.
    {attributes}

    See Also
    --------
    Autoencoder : With nonlinear networks beside the linear maps.
    sklearn.decomposition.PCA : The same subspace by decomposition.

    References
    ----------
    Baldi, P. and Hornik, K. (1989). "Neural networks and principal component analysis: learning
    from examples without local minima". Neural Networks 2(1), 53-58.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skae import LinearAutoencoder
    >>> X = load_iris().data
    >>> linear = LinearAutoencoder(2, init="random", random_state=0).fit(X)
    >>> bool(abs(linear.components_ - PCA(2).fit(X).components_).max() < 1e-4)
    True
    """

    init: str = param(
        one_of("pca", "random"),
        default="pca",
        doc="What training starts from: the principal components, or random weights.",
    )
    # Noise in the gradient is all that keeps the subspace from being exact.
    batch_size: int | str = param(
        POSITIVE_INT,
        one_of("auto"),
        default=4096,
        doc="""
        Rows per gradient step; all of them where there are fewer. 'auto' is a sixteenth of the
        training rows, at least 16 and at most 128.""",
    )
    learning_rate: float = param(POSITIVE, default=3e-2, doc="Step size of the optimiser (Adam).")
    early_stopping: bool | str = param(
        "boolean",
        one_of("auto"),
        default=False,
        doc="""
        Whether to hold out rows and keep the epoch whose loss on them is lowest. Training then
        misses those rows.""",
    )

    def _starts_from_pca(self) -> bool:
        return self.init == "pca"

    def _n_epochs(self, rows: Rows, steps_per_epoch: int, at_pca: bool) -> int:
        at_optimum = at_pca and rows.complete
        return 0 if at_optimum else super()._n_epochs(rows, steps_per_epoch, at_pca)

    def _setup(self, module: AutoencoderModule, rows: Rows) -> None:
        n_features = rows.n_features
        if self.n_components > n_features:
            raise ValueError(
                f"n_components={self.n_components} must be at most the number of features of X, "
                f"{n_features}: there are no more principal components."
            )

    def _finish(self, module: AutoencoderModule, rows: Rows) -> None:
        encoder, decoder = module.input_axes, module.output_axes
        basis = torch.linalg.qr(decoder.double()).Q  # (d, k)
        seen, total, covariance = self._seen_before(basis)
        weight = rows.weight.double() / rows.weight.double().mean()
        for piece in rows.pieces():
            x = rows.values(piece)[0].double()
            along = x @ basis
            total += weight[piece] @ x.square().sum(1)
            covariance += (along * weight[piece, None]).T @ along
        n = seen + len(rows)
        variances, rotation = torch.linalg.eigh(covariance / n)
        _, axes = svd_flip(None, (basis @ rotation.flip(1)).T.numpy(), u_based_decision=False)
        # Training goes on in the coordinates that the optimiser's moments belong to.
        self._trained = encoder.numpy().copy(), decoder.numpy().copy()
        # The same map in other coordinates: B A = axes' (axes B A).
        encoder.copy_(torch.from_numpy(axes) @ decoder.double() @ encoder.double())
        decoder.copy_(torch.from_numpy(axes.T))
        variances = variances.flip(0).clamp_min(0).numpy()
        self.components_ = axes
        self.explained_variance_ = variances * self.scale_**2 * n / max(n - 1, 1)
        # Rows that a fit goes on with may all be at the mean.
        self.explained_variance_ratio_ = n * variances / (float(total) or 1.0)
        self._seen = n, float(total), n * variances

    def _seen_before(self, basis: Tensor) -> tuple[int, Tensor, Tensor]:
        """Return number and sums of squares of a stream's former rows: of x, and along a basis."""
        if not self._one_pass or not hasattr(self, "_seen"):
            k = basis.shape[1]
            return 0, basis.new_zeros(()), basis.new_zeros(k, k)
        n, total, squares = self._seen
        turned = basis.T @ torch.from_numpy(self.components_.T)
        return n, basis.new_tensor(total), turned * torch.from_numpy(squares) @ turned.T

    def _go_on(self, module: AutoencoderModule) -> None:
        encoder, decoder = map(torch.tensor, self._trained)
        module.input_axes.copy_(encoder)
        module.output_axes.copy_(decoder)
