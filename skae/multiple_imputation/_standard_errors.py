"""Coefficients of a fitted estimator, and their standard errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, sparse
from scipy.special import expit
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from skae._validation import binary_exponents, check_array, check_sample_weight

MAX_CONDITION = 1e12  # of a scaled matrix; beyond, coefficients are not determined


def coefficients(model: Any, size: int) -> NDArray:
    """Return the coefficients, with the intercept if the last axis shall be longer by one."""
    coef = np.asarray(model.coef_, dtype=np.float64)
    if coef.shape[-1] == size:
        return coef
    last = np.asarray(model.intercept_, dtype=np.float64).reshape(-1)
    return np.concatenate([coef, np.broadcast_to(last, (*coef.shape[:-1], 1)[-2:])], axis=-1)


def coefficient_variance(
    model: Any,
    X: Any,
    y: NDArray,
    sample_weight: ArrayLike | None,
    coef_variance: str | Callable = "auto",
) -> tuple[NDArray, float] | str:
    """Return squared standard errors and degrees of freedom, or why they are not available.

    Parameters
    ----------
    model : estimator
        Fitted to X and y.
    X, y : ndarray or DataFrame
        Completed training data.
    sample_weight : array-like of shape (n_samples,) or None
        Weights in the fit.
    coef_variance : {'auto'} or callable, default='auto'
        See `PooledEstimator`.

    Raises
    ------
    ValueError
        If the result of `coef_variance` is not an array of numbers of the right shape, or
        coefficients are not finite.
    """
    coef = getattr(model, "coef_", None)
    if coef is None:
        return "it has no coef_"
    for name in ("coef_", "intercept_"):
        fitted = getattr(model, name, 0.0)
        if not sparse.issparse(fitted) and not np.isfinite(fitted).all():
            raise ValueError(
                f"{name} of the fitted {type(model).__name__} is not finite, because y is too "
                "large for its arithmetic; rescale y."
            )
    weight = check_sample_weight(sample_weight, len(y))
    if not callable(coef_variance):
        return _closed_form(model, X, y, weight)
    given = {} if sample_weight is None else {"sample_weight": sample_weight}
    variance = check_array(
        coef_variance(model, X, y, **given),
        dtype=np.float64,
        ensure_2d=False,
        allow_nd=True,
        input_name="the result of coef_variance",
    )
    shape = np.shape(coef)
    if variance.shape not in (shape, (*shape[:-1], shape[-1] + 1)):
        raise ValueError(
            f"coef_variance must return an array of coef_'s shape, {shape}, or longer by one in "
            f"the last axis, for the intercept; got {variance.shape}."
        )
    return variance, weight.sum() - variance.shape[-1]


def _closed_form(model: Any, X: Any, y: NDArray, weight: NDArray) -> tuple[NDArray, float] | str:
    """Return squared standard errors and degrees of freedom of a linear model, or why not."""
    if reason := _why_not(model, y):
        return reason
    try:
        with np.errstate(all="ignore"):  # the result is checked
            result = _squares(model, X, y, weight)
    except (np.linalg.LinAlgError, MemoryError) as error:
        return f"their computation failed ({error})"
    if isinstance(result, tuple) and not np.isfinite(result[0]).all():
        return "their squares overflow float64"
    return result


def _squares(model: Any, X: Any, y: NDArray, weight: NDArray) -> tuple[NDArray, float] | str:
    fisher, counts = isinstance(model, LogisticRegression), weight
    if fisher:
        p = expit(model.decision_function(X))
        counts = weight * p * (1 - p)
        alpha = 0.0 if model.penalty is None else 1 / model.C
    else:
        residual = np.asarray(y - model.predict(X), dtype=np.float64)  # y may be objects
        power = binary_exponents(residual)
        residual_sum = weight @ np.ldexp(residual, -power) ** 2
        alpha = float(np.squeeze(getattr(model, "alpha", 0.0)))
    X = np.asarray(X, dtype=np.float64)
    gram, back, size = _gram(X, counts, model.fit_intercept)
    penalized = gram + np.diag(np.where(np.arange(len(gram)) < X.shape[1], alpha / size**2, 0))
    if not np.isfinite(penalized).all():
        return "sums of squares of the features overflow float64"
    inverse = _inverse(penalized)
    if inverse is None:
        return "features are linearly dependent"
    hat = inverse @ gram  # of the same trace as the hat matrix
    n_coefs = len(gram) if fisher else 2 * np.trace(hat) - (hat * hat.T).sum()
    df = weight.sum() - n_coefs
    if not df > 0:
        return "there are no more samples than coefficients"
    covariance = inverse
    if not fisher:
        covariance = hat @ inverse * (residual_sum / df)
    variance = ((back @ covariance) * back).sum(axis=1)
    if not fisher:
        variance = np.ldexp(variance, 2 * power)
    return variance.reshape((*np.shape(model.coef_)[:-1], -1)), float(df)


def _why_not(model: Any, y: NDArray) -> str | None:
    """Return why there is no closed form for a model's standard errors, or None."""
    if type(model) in (LinearRegression, Ridge):
        if model.positive:
            return "positive=True constrains the coefficients"
        return "y has two dimensions" if y.ndim > 1 else None
    if type(model) is not LogisticRegression:
        return "it is not a LinearRegression, Ridge or LogisticRegression"
    if len(model.classes_) > 2:
        return "there are more than two classes"
    if model.l1_ratio or model.penalty not in ("deprecated", "l2", None):
        return "coefficients with an L1 penalty are not normally distributed"
    if model.class_weight is not None:
        return "class_weight changes the weights of the samples"
    if model.solver == "liblinear" and model.fit_intercept:
        return "solver='liblinear' penalises the intercept"
    return None


def _gram(X: NDArray, weight: NDArray, fit_intercept: bool) -> tuple[NDArray, NDArray, NDArray]:
    """Return X'WX of scaled features, the map from its coefficients to those of X, and the scales.

    Features are divided by their largest absolute values. With an intercept, they are centered and
    a column of ones is appended.
    """
    total, mean = weight.sum(), np.zeros(X.shape[1])
    if fit_intercept and total > 0:
        mean = (weight / total) @ X
    centred = X - mean
    size = np.abs(centred).max(axis=0)
    size = np.where(size > 0, size, 1)
    centred /= size
    gram, back = (centred.T * weight) @ centred, np.diag(1 / size)
    if not fit_intercept:
        return gram, back, size
    return (
        linalg.block_diag(gram, total),
        np.block([[back, np.zeros((len(size), 1))], [-mean / size, np.ones(1)]]),
        np.append(size, 1),
    )


def _inverse(matrix: NDArray) -> NDArray | None:
    """Return the inverse, independent of the units of the features; None if it is singular."""
    scale = np.sqrt(np.diag(matrix))
    if not (scale > 0).all():
        return None
    scaled = matrix / np.outer(scale, scale)
    if np.linalg.cond(scaled) > MAX_CONDITION:
        return None
    return np.linalg.inv(scaled) / np.outer(scale, scale)
