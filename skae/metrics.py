"""How well codes keep the data, for PCA, autoencoders and whole pipelines alike.

Each function takes anything fitted that has ``transform`` and ``inverse_transform``, and can be
passed as ``scoring=`` to `sklearn.model_selection.GridSearchCV`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae._numeric_input import as_numeric
from skae._validation import binary_exponents, check_array, check_sample_weight, rescale_weights

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

    Raises
    ------
    ValueError
        If no cell counts, the reconstruction is not finite or not of the shape of X, or the score
        leaves the range of float64.

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
    with np.errstate(over="ignore"):
        square, power = _mean_square(_error(estimator, X, x), weight)
        score = -np.ldexp(square, 2 * power)
    if not np.isfinite(score):
        raise ValueError(
            "The reconstruction is so far from X that squared errors overflow float64; divide X by "
            "a constant before fitting."
        )
    return float(score)


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
        If no column of X varies, no cell counts, the reconstruction is not finite or not of the
        shape of X, or the score leaves the range of float64.

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
    variation, unit = _mean_square(_deviation(x, weight), weight)
    if variation == 0:
        raise ValueError(
            "X is constant, so it has no variance to explain; use neg_reconstruction_error."
        )
    with np.errstate(over="ignore"):
        error, power = _mean_square(_error(estimator, X, x), weight)
        score = 1 - np.ldexp(error / variation, 2 * (power - unit))
    if not np.isfinite(score):
        raise ValueError(
            "The reconstruction is so far from X, compared with how much X varies, that the "
            "explained variance overflows float64; check the units of X."
        )
    return float(score)


def _table(X: ArrayLike, sample_weight: ArrayLike | None) -> tuple[NDArray, NDArray]:
    """Return X in float64 and the weight of each cell, 0 where nothing is observed."""
    x = check_array(as_numeric(X), dtype=np.float64, ensure_all_finite="allow-nan", input_name="X")
    weight = check_sample_weight(sample_weight, len(x))[:, None] * ~np.isnan(x)
    if not weight.any():
        raise ValueError("No cell of X is observed in a row of positive weight; pass other rows.")
    return x, rescale_weights(weight)


def _error(estimator: Any, X: ArrayLike, x: NDArray) -> NDArray:
    """Return the error of each observed cell, 0 elsewhere."""
    x_hat = check_array(
        estimator.inverse_transform(estimator.transform(X)),
        dtype=np.float64,
        input_name="reconstruction",
        estimator=estimator,
    )
    if x_hat.shape != x.shape:
        raise ValueError(
            f"The reconstruction of X has shape {x_hat.shape}, but X has shape {x.shape}; pass an "
            "estimator whose inverse_transform undoes transform."
        )
    return _difference(x_hat, x)


def _deviation(x: NDArray, weight: NDArray) -> NDArray:
    """Return the difference of each observed cell from its column's mean, 0 elsewhere."""
    # Differences from a value of the column are exactly 0 where the column is constant.
    away = np.where(weight > 0, _difference(x, x[weight.argmax(axis=0), np.arange(x.shape[1])]), 0)
    power = binary_exponents(away)
    total = weight.sum(axis=0)
    means = (weight * np.ldexp(away, -power)).sum(axis=0) / np.where(total > 0, total, 1)
    return np.where(weight > 0, away - np.ldexp(means, power), 0)


def _difference(a: NDArray, b: NDArray) -> NDArray:
    """Return a - b, 0 where either is missing."""
    with np.errstate(over="ignore"):
        difference = np.nan_to_num(a - b, nan=0.0, posinf=np.inf, neginf=-np.inf)
    if not np.isfinite(difference).all():
        raise ValueError(
            "X or its reconstruction is so large that differences overflow float64; divide X by a "
            "constant before fitting."
        )
    return difference


def _mean_square(values: NDArray, weight: NDArray) -> tuple[Any, NDArray]:
    """Return m and p so that the weighted mean square is m * 4**p, which may overflow."""
    power = binary_exponents(values)
    return np.average(np.ldexp(values, -power) ** 2, weights=weight), power
