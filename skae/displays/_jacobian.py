"""The singular values of the Jacobian of the code, and tangents of the data as images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.utils import gen_batches

from skae._sklearn import _safe_indexing
from skae._validation import check_count
from skae.base import BaseAutoencoder
from skae.displays._base import (
    Display,
    before_last_step,
    divided,
    in_brackets,
    last_step,
    n_samples_of,
    name_of,
    position_of,
)
from skae.displays._images import (
    from_minus_one_to_one,
    image_shape_of,
    relative_to_largest,
    show,
    signed_mosaic,
)
from skae.inspection import jacobian

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_SIZE = 2**24  # entries of the Jacobians that are held at once
QUANTILES = 0.1, 0.9  # of the band
LINEAR = PCA, IncrementalPCA, TruncatedSVD


class JacobianDisplay(Display):
    r"""Singular values of the Jacobian of the code, and tangents of the data.

    The singular values of :math:`\partial z / \partial x` show in how many directions around a
    sample the code changes, and how much: for a contractive autoencoder, a few of them are much
    larger than the others, and their right singular vectors are tangents of the data manifold. The
    line is the median over the samples, the band reaches from the 10 % to the 90 % quantile. Use
    `from_estimator` to create one.

    Parameters
    ----------
    singular_values : array-like of shape (n_samples, n_values)
        Singular values of the Jacobian at each sample, in descending order.
    tangents : array-like of shape (n_tangents, n_features), default=None
        Leading right singular vectors at one sample.
    sample : array-like of shape (n_features,), default=None
        That sample.
    image_shape : tuple (height, width) or (height, width, n_channels), default=None
        Shape of tangents and sample as images. If None, these are not drawn.
    estimator_name : str, default=None
        Name for the legend. If None, it is not in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture. With images, those of the singular values and of the images divide it,
        and another such picture on the same axes replaces this one.
    figure_ : matplotlib Figure
        Figure that contains them.
    spectrum_ax_ : matplotlib Axes
        Axes of the singular values.
    line_ : matplotlib Line2D
        Medians of the singular values.
    band_ : matplotlib collection
        Their quantiles.
    image_ax_ : matplotlib Axes or None
        Axes of the images.
    image_ : matplotlib AxesImage or None
        The sample, then the tangents, each divided by its largest absolute value.

    See Also
    --------
    skae.inspection.jacobian : The Jacobian.
    skae.inspection.tangent_basis : The tangents at each sample.

    References
    ----------
    Rifai, S., Dauphin, Y., Vincent, P., Bengio, Y. and Muller, X. (2011). "The manifold tangent
    classifier". Advances in Neural Information Processing Systems 24.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import ContractiveAutoencoder
    >>> from skae.displays import JacobianDisplay
    >>> X = load_digits().data
    >>> contractive = ContractiveAutoencoder(16, max_iter=5, random_state=0).fit(X)
    >>> display = JacobianDisplay.from_estimator(contractive, X[:50], image_shape=(8, 8))
    >>> display.tangents.shape
    (7, 64)
    """

    def __init__(
        self,
        singular_values: ArrayLike,
        *,
        tangents: ArrayLike | None = None,
        sample: ArrayLike | None = None,
        image_shape: tuple[int, ...] | None = None,
        estimator_name: str | None = None,
    ):
        self.singular_values = singular_values
        self.tangents = tangents
        self.sample = sample
        self.image_shape = image_shape
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        image_shape: tuple[int, ...] | None = None,
        index: int = 0,
        n_tangents: int = 7,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the Jacobian of the code at samples.

        Parameters
        ----------
        estimator : object
            A fitted autoencoder, or PCA, or a pipeline that ends in one; the Jacobian is that of
            the last step, in the units of its input.
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Input samples.
        image_shape : tuple (height, width) or (height, width, n_channels), default=None
            Shape of a sample as an image. If None, that of the architecture, if it has one;
            otherwise, only singular values are drawn.
        index : int, default=0
            Position in X of the sample whose tangents are drawn.
        n_tangents : int, default=7
            Largest number of tangents.
        name : str, default=None
            Name for the legend. Pass one for each estimator if several are drawn on one `ax`.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of matplotlib's ``plot``, for the line.

        Returns
        -------
        display : JacobianDisplay
            The display.

        Raises
        ------
        TypeError
            If the estimator is neither an autoencoder of skae nor PCA.
        ValueError
            If `image_shape` does not describe the samples, or if `n_tangents` is not positive.
        IndexError
            If X has no sample at `index`.
        """
        check_count(n_tangents, "n_tangents")
        image_shape = image_shape_of(estimator, image_shape)
        given = before_last_step(estimator, X)
        model, tangents, sample = _with_jacobian(estimator), None, None
        if image_shape is not None:
            row = _safe_indexing(given, [position_of(index, given)])
            sample = (row.toarray() if issparse(row) else np.asarray(row))[0]
            J = _jacobian(model, row)[0]
            tangents = np.linalg.svd(J, full_matrices=False)[2][:n_tangents]
        display = cls(
            _singular_values(model, given),
            tangents=tangents,
            sample=sample,
            image_shape=image_shape,
            estimator_name=name,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, *, n_columns: int = 4, **kwargs: Any) -> Self:
        """Draw the singular values and, if there are any, the tangents.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created. With images, they must have been
            made by matplotlib's ``subplots``.
        n_columns : int, default=4
            Number of images in a row.
        **kwargs : dict
            Parameters of matplotlib's ``plot``, for the line.

        Returns
        -------
        self : JacobianDisplay
            The display.

        Raises
        ------
        ValueError
            If `image_shape` does not describe the tangents.
        """
        picture = self._picture(n_columns)
        ax = self._set_axes(ax, figsize=None if picture is None else (9.6, 4.0))
        self.spectrum_ax_, self.image_ax_, self.image_ = ax, None, None
        if picture is not None:
            self.spectrum_ax_, self.image_ax_ = divided(ax, 1, 2)[0]
            self.image_ = show(self.image_ax_, picture, vmin=-1, vmax=1)
            self.image_ax_.set_title("a sample and its tangents")
        values = np.asarray(self.singular_values, dtype=np.float64)
        index = np.arange(1, values.shape[1] + 1)
        suffix = in_brackets(self.estimator_name)
        style: dict[str, Any] = {
            "marker": "o",
            "markersize": 3,
            "label": f"median{suffix}",
        } | kwargs
        (self.line_,) = self.spectrum_ax_.plot(index, np.median(values, axis=0), **style)
        low, high = np.quantile(values, QUANTILES, axis=0)
        self.band_ = self.spectrum_ax_.fill_between(
            index,
            low,
            high,
            color=self.line_.get_color(),
            alpha=0.2,
            linewidth=0,
            label=f"10 % to 90 % of the samples{suffix}",
        )
        self.spectrum_ax_.set(xlabel="index", ylabel="singular value of the Jacobian")
        self.spectrum_ax_.set_ylim(0, 1.05 * (self.spectrum_ax_.dataLim.ymax or 1))
        self.spectrum_ax_.legend()
        return self

    def _picture(self, n_columns: int) -> NDArray | None:
        if self.tangents is None or self.sample is None or self.image_shape is None:
            return None
        tangents = relative_to_largest(np.asarray(self.tangents, dtype=np.float64))
        sample = from_minus_one_to_one(np.asarray(self.sample, dtype=np.float64))
        return signed_mosaic(np.vstack([sample, tangents]), self.image_shape, n_columns)


def _with_jacobian(estimator: Any) -> Any:
    """Return the last step, checked to have a Jacobian."""
    model = last_step(estimator)
    if not isinstance(model, (BaseAutoencoder, *LINEAR)):
        raise TypeError(
            f"The Jacobian of {name_of(estimator)} is not known; pass an autoencoder of skae, PCA, "
            "or a pipeline that ends in one."
        )
    return model


def _jacobian(model: Any, X: ArrayLike) -> NDArray:
    """Return the Jacobian of ``transform``, (n, n_components, n_features); n is 1 if linear."""
    if isinstance(model, BaseAutoencoder):
        return jacobian(model, X)
    J = model.components_
    if getattr(model, "whiten", False):
        scale = np.sqrt(model.explained_variance_)
        J = J / np.maximum(scale, np.finfo(scale.dtype).eps)[:, None]  # as in PCA.transform
    return J[None]


def _singular_values(model: Any, X: Any) -> NDArray:
    """Return those of the Jacobian at each sample, (n, n_values)."""
    n = n_samples_of(X)
    if isinstance(model, LINEAR):
        values = np.linalg.svd(_jacobian(model, X), compute_uv=False)
        return np.broadcast_to(values, (n, values.shape[1]))
    batches = gen_batches(n, max(1, MAX_SIZE // (model.n_components_ * model.n_features_in_)))
    parts = [
        np.linalg.svd(_jacobian(model, _safe_indexing(X, batch)), compute_uv=False)
        for batch in batches
    ]
    return np.concatenate(parts)
