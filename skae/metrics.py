"""How well codes keep the data, for PCA, autoencoders and whole pipelines alike.

Each function takes anything fitted that has ``transform`` and ``inverse_transform``, and can be
passed as ``scoring=`` to `sklearn.model_selection.GridSearchCV`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from skae._sklearn import _check_sample_weight

__all__ = ["explained_variance", "neg_reconstruction_error"]


def neg_reconstruction_error(
    estimator: Any, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None
) -> float:
    r"""Return minus the mean squared error of reconstruction; higher is better.

    .. math:: -\frac{\sum_{ij} w_i (\hat x_{ij} - x_{ij})^2}{\sum_{ij} w_i}

    over the observed cells.

    Parameters
    ----------
    estimator : object
        Fitted, with ``transform`` and ``inverse_transform``.
    X : array-like of shape (n_samples, n_features)
        Rows. NaN is left to the estimator and not counted.
    y : None
        Ignored.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows. None is 1 for all.

    Returns
    -------
    score : float
        In squared units of X.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skae.metrics import neg_reconstruction_error
    >>> X = load_iris().data
    >>> round(neg_reconstruction_error(PCA(2).fit(X), X), 4)
    -0.0253
    """
    x, weight = _table(X, sample_weight)
    return -float((weight * _error(estimator, X, x) ** 2).sum() / weight.sum())


def explained_variance(
    estimator: Any, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None
) -> float:
    r"""Return the share of the variance of X that its reconstruction keeps; higher is better.

    .. math:: 1 - \frac{\sum_{ij} w_i (\hat x_{ij} - x_{ij})^2}
                       {\sum_{ij} w_i (x_{ij} - \bar x_j)^2}

    over the observed cells, where :math:`\bar x_j` is the mean of column j of these rows.

    Parameters
    ----------
    estimator : object
        Fitted, with ``transform`` and ``inverse_transform``.
    X : array-like of shape (n_samples, n_features)
        Rows. NaN is left to the estimator and not counted.
    y : None
        Ignored.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows. None is 1 for all.

    Returns
    -------
    score : float
        1 if nothing is lost, 0 for a reconstruction by the mean.

    Raises
    ------
    ValueError
        If no column of X varies.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skae.metrics import explained_variance
    >>> X = load_iris().data
    >>> pca = PCA(2).fit(X)
    >>> round(explained_variance(pca, X), 4), round(float(sum(pca.explained_variance_ratio_)), 4)
    (0.9777, 0.9777)
    """
    x, weight = _table(X, sample_weight)
    mean = np.nansum(weight * x, axis=0) / np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
    varies = np.fmin.reduce(x) < np.fmax.reduce(x)  # which rounding of the mean would hide
    variation = np.nansum((weight * (x - mean) ** 2)[:, varies])
    if variation == 0:
        raise ValueError(
            "X is constant, so it has no variance to explain; use neg_reconstruction_error."
        )
    return 1 - float((weight * _error(estimator, X, x) ** 2).sum() / variation)


def _table(X: ArrayLike, sample_weight: ArrayLike | None) -> tuple[NDArray, NDArray]:
    """Return X in float64 and the weight of each cell, 0 where nothing is observed."""
    x = check_array(X, dtype=np.float64, ensure_all_finite="allow-nan")
    rows = _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
    weight = rows[:, None] * ~np.isnan(x)
    if not weight.any():
        raise ValueError("No cell of X is observed in a row of positive weight; pass other rows.")
    return x, weight


def _error(estimator: Any, X: ArrayLike, x: NDArray) -> NDArray:
    """Return the error of each observed cell, 0 elsewhere."""
    x_hat = np.asarray(estimator.inverse_transform(estimator.transform(X)), dtype=np.float64)
    return np.where(np.isnan(x), 0, x_hat - x)
