"""Reconstruction metrics for PCA, autoencoders and pipelines.

Each function takes a fitted estimator that has ``transform`` and ``inverse_transform``, and can be
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

    over the observed values.

    Parameters
    ----------
    estimator : object
        Fitted, with ``transform`` and ``inverse_transform``.
    X : array-like of shape (n_samples, n_features)
        Input samples. NaN marks a missing value, and is ignored.
    y : None
        Ignored.
    sample_weight : array-like of shape (n_samples,), default=None
        Per-sample weights. Samples with weight 0 are ignored. If None, all samples are weighted
        equally.

    Returns
    -------
    score : float
        In squared units of X.

    Raises
    ------
    ValueError
        If no value of X is observed, the reconstruction is not finite or not of the shape of X, or
        the score overflows float64.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skae.metrics import neg_reconstruction_error
    >>> X = load_iris().data
    >>> round(neg_reconstruction_error(PCA(2).fit(X), X), 4)
    -0.0253
    """
    x, weight = _check_data(X, sample_weight)
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
    r"""Return the fraction of the variance of X that its reconstruction explains; higher is better.

    .. math:: 1 - \frac{\sum_{ij} w_i (\hat x_{ij} - x_{ij})^2}
                       {\sum_{ij} w_i (x_{ij} - \bar x_j)^2}

    over the observed values, where :math:`\bar x_j` is the weighted mean of feature j in X.

    Parameters
    ----------
    estimator : object
        Fitted, with ``transform`` and ``inverse_transform``.
    X : array-like of shape (n_samples, n_features)
        Input samples. NaN marks a missing value, and is ignored.
    y : None
        Ignored.
    sample_weight : array-like of shape (n_samples,), default=None
        Per-sample weights. Samples with weight 0 are ignored. If None, all samples are weighted
        equally.

    Returns
    -------
    score : float
        1 for a perfect reconstruction, 0 for a reconstruction by the mean.

    Raises
    ------
    ValueError
        If X is constant, no value of X is observed, the reconstruction is not finite or not of the
        shape of X, or the score overflows float64.

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
    x, weight = _check_data(X, sample_weight)
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


def _check_data(X: ArrayLike, sample_weight: ArrayLike | None) -> tuple[NDArray, NDArray]:
    """Return X in float64 and the weight of each value, 0 if it is missing."""
    x = check_array(as_numeric(X), dtype=np.float64, ensure_all_finite="allow-nan", input_name="X")
    weight = check_sample_weight(sample_weight, len(x))[:, None] * ~np.isnan(x)
    if not weight.any():
        raise ValueError("X has no observed value with a positive weight; pass other samples.")
    return x, rescale_weights(weight)


def _error(estimator: Any, X: ArrayLike, x: NDArray) -> NDArray:
    """Return the error of each observed value, 0 elsewhere."""
    x_hat = check_array(
        estimator.inverse_transform(estimator.transform(X)),
        dtype=np.float64,
        input_name="reconstruction",
        estimator=estimator,
    )
    if x_hat.shape != x.shape:
        raise ValueError(
            f"The reconstruction of X has shape {x_hat.shape}, but X has shape {x.shape}; pass an "
            "estimator whose inverse_transform inverts transform."
        )
    return _difference(x_hat, x)


def _deviation(x: NDArray, weight: NDArray) -> NDArray:
    """Return the difference of each observed value from its feature's mean, 0 elsewhere."""
    # Differences from a value of the feature are exactly 0 if the feature is constant.
    reference = x[weight.argmax(axis=0), np.arange(x.shape[1])]
    deviation = np.where(weight > 0, _difference(x, reference), 0)
    power = binary_exponents(deviation)
    total = weight.sum(axis=0)
    means = (weight * np.ldexp(deviation, -power)).sum(axis=0) / np.where(total > 0, total, 1)
    return np.where(weight > 0, deviation - np.ldexp(means, power), 0)


def _difference(a: NDArray, b: NDArray) -> NDArray:
    """Return a - b, 0 if either is missing."""
    with np.errstate(over="ignore"):
        difference = np.nan_to_num(a - b, nan=0.0, posinf=np.inf, neginf=-np.inf)
    if not np.isfinite(difference).all():
        raise ValueError(
            "X or its reconstruction is so large that differences overflow float64; divide X by a "
            "constant before fitting."
        )
    return difference


def _mean_square(values: NDArray, weight: NDArray) -> tuple[Any, NDArray]:
    """Return m and p such that the weighted mean square is m * 4**p, which may overflow."""
    power = binary_exponents(values)
    return np.average(np.ldexp(values, -power) ** 2, weights=weight), power
