from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.extmath import svd_flip
from torch import Tensor

from skae._schema import Check, array, either, persistent, sequence
from skae._training_parameters import N_COMPONENTS, N_COMPONENTS_DOC
from skae.base import BaseAutoencoder
from skae.data import RowDataset
from skae.hyperparameters import POSITIVE, POSITIVE_INT, hyperparameters, one_of, param
from skae.training import AutoencoderModule


@persistent
@hyperparameters
class LinearAutoencoder(BaseAutoencoder):
    r"""Linear autoencoder with squared error, whose optimum is the principal subspace.

    .. math:: z = A x, \qquad \hat x = B z + c,
              \qquad \min \sum_i w_i \lVert \hat x_i - x_i \rVert^2

    At all minima, the range of :math:`B` is the span of the leading principal components; there are
    no other local minima. The start ``init="pca"`` is thus the optimum and no training follows,
    unless values are missing: then the loss is over observed cells, and the start is the PCA of the
    samples with missing values replaced by the mean. After training, the code is expressed in the
    principal axes of the learned subspace, in X's units, with the order and signs of PCA. Training
    and fitted attributes are in float64 if X is, as in PCA.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Principal axes of the learned subspace, in order of decreasing variance, the entry of
        largest absolute value positive. At the optimum, and without missing values,
        ``transform(X)`` is ``(X - mean_) @ components_.T``.
    explained_variance_ : ndarray of shape (n_components,)
        Variance of the training samples along each axis: the weighted mean square times
        n / (n - 1), where n is ``n_samples_``; missing values are replaced by the mean. After
        ``partial_fit``, of all samples so far; those of former calls are represented by their
        projections on the subspace at that time.
    explained_variance_ratio_ : ndarray of shape (n_components,)
        Fraction of the total variance of the columns along each axis.
    singular_values_ : ndarray of shape (n_components,)
        Square roots of ``(n_samples_ - 1) * explained_variance_``.
    noise_variance_ : float
        Mean variance along the remaining principal axes, of which there are
        ``min(n_samples_, n_features) - n_components``; 0 if there are none.
    n_samples_ : int
        Number of training samples with a positive weight and an observed value. After
        ``partial_fit``, of all samples so far.
    {attributes}

    See Also
    --------
    Autoencoder : Nonlinear networks in addition to the linear maps.
    sklearn.decomposition.PCA : The same subspace by a decomposition.

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
    >>> linear = LinearAutoencoder(
    ...     2, init="random", max_iter=1000, learning_rate=0.3, random_state=0
    ... ).fit(X)
    >>> bool(abs(linear.components_ - PCA(2).fit(X).components_).max() < 1e-4)
    True
    """

    n_components: Any = param(
        *N_COMPONENTS,
        one_of("mle"),
        default=2,
        kw_only=False,
        doc=f"{N_COMPONENTS_DOC}\n'mle' is Minka's estimate, as in PCA.",
    )
    init: str = param(
        one_of("pca", "random"),
        default="pca",
        doc="Initialisation: the principal components, or random weights.",
    )
    # Large batches: only noise in the gradient prevents the subspace from being exact.
    batch_size: int | str = param(
        POSITIVE_INT,
        one_of("auto"),
        default=4096,
        doc="""
        Number of samples per gradient step, at most all of them. 'auto' is a sixteenth of the
        training samples, at least 16 and at most 128.""",
    )
    learning_rate: float = param(POSITIVE, default=3e-2, doc="Initial learning rate (Adam).")
    early_stopping: bool | str = param(
        "boolean",
        one_of("auto"),
        default=False,
        doc="""
        Whether to hold out validation samples and keep the epoch with the lowest validation loss.
        These samples are then not used for training.""",
    )

    _fitted_schema: ClassVar[dict[str, Check]] = {
        "components_": array("f", "n_components_", "n_features_in_"),
        "explained_variance_": array("f", "n_components_"),
        "explained_variance_ratio_": array("f", "n_components_"),
        "_trained": sequence(
            either(
                array("f", "n_components_", "n_features_in_"),
                array("f", "n_features_in_", "n_components_"),
            )
        ),
    }

    def _starts_from_pca(self) -> bool:
        return self.init == "pca"

    def _n_epochs(self, rows: RowDataset, steps_per_epoch: int, starts_at_pca: bool) -> int:
        at_optimum = starts_at_pca and rows.complete
        return 0 if at_optimum else super()._n_epochs(rows, steps_per_epoch, starts_at_pca)

    def _training_dtype(self, dtype: np.dtype) -> torch.dtype:
        default = torch.get_default_dtype()
        if self.precision != "full":
            return default
        return torch.promote_types(default, getattr(torch, dtype.name))

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        k, n_features = self.n_components_, rows.n_features
        if k > n_features:
            raise ValueError(
                f"n_components={k} must be at most the number of features of X, "
                f"{n_features}: there are no more principal components."
            )
        if self._starts_from_pca():
            with torch.no_grad():
                # Axes beyond the rank must be orthonormal, too.
                axes = torch.linalg.qr(module.output_axes).Q
                module.output_axes.copy_(axes)
                module.input_axes.copy_(axes.T)

    def _after_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        encoder, decoder = module.input_axes, module.output_axes
        basis = torch.linalg.qr(decoder.double()).Q  # (d, k)
        n, left_out, covariance = self._squares(rows, basis)
        squares, rotation = torch.linalg.eigh(covariance)
        _, axes = svd_flip(None, (basis @ rotation.flip(1)).T.numpy(), u_based_decision=False)
        # Training resumes in the coordinates of the moments of the optimiser.
        self._trained = encoder.numpy().copy(), decoder.numpy().copy()
        # The same map in principal axes and X's units: B A = axes' (axes B A).
        turned = torch.from_numpy(axes) @ decoder.double() @ encoder.double()
        encoder.copy_(turned * self.scale_)
        decoder.copy_(torch.from_numpy(axes.T) / self.scale_)
        self._seen = n, left_out, squares.flip(0).clamp_min(0).numpy()
        self._report(axes)

    def _squares(self, rows: RowDataset, basis: Tensor) -> tuple[int, float, Tensor]:
        """Return the number of samples so far, and sums of squares outside and within a basis."""
        n, left_out, squares = self._seen_before(basis)
        weight = rows.weight.double() / (rows.total_weight / rows.n_samples)
        own, outside = torch.zeros_like(squares), squares.new_zeros(())
        for chunk in rows.gen_chunks():
            x = rows.values(chunk)[0].double()
            along = x @ basis
            outside += weight[chunk] @ (x - along @ basis.T).square().sum(1)
            own += (along * weight[chunk, None]).T @ along
        left_out += float(rows.sum(outside))
        return n + rows.n_samples, left_out, squares + rows.sum(own)

    def _seen_before(self, basis: Tensor) -> tuple[int, float, Tensor]:
        """Return the same for the samples of former calls of ``partial_fit``."""
        if not self._one_pass or not hasattr(self, "_seen"):
            k = basis.shape[1]
            return 0, 0.0, basis.new_zeros(k, k)
        n, left_out, squares = self._seen
        turned = basis.T @ torch.from_numpy(self.components_.T).double()
        along = turned * torch.from_numpy(squares) @ turned.T
        return n, left_out + max(float(squares.sum() - along.trace()), 0.0), along

    def _report(self, axes: NDArray) -> None:
        """Set the fitted attributes in common with PCA, in X's dtype."""
        n, left_out, squares = self._seen
        real = self.mean_.dtype.type
        unit = self.scale_**2 / max(n - 1, 1)
        self.n_samples_ = n
        self.components_ = axes.astype(real, order="C")
        self.explained_variance_ = (squares * unit).astype(real)
        # All samples of a resumed fit may be equal to the mean.
        total = (left_out + squares.sum()) or 1.0
        self.explained_variance_ratio_ = (squares / total).astype(real)
        self.singular_values_ = (np.sqrt(squares) * self.scale_).astype(real)
        n_left_out = min(n, axes.shape[1]) - len(axes)
        self.noise_variance_ = real(left_out * unit / n_left_out if n_left_out > 0 else 0.0)

    def _before_resume(self, module: AutoencoderModule, rows: RowDataset) -> None:
        encoder, decoder = map(torch.tensor, self._trained)
        module.input_axes.copy_(encoder)
        module.output_axes.copy_(decoder)
