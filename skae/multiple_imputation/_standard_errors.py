"""Standard errors of the coefficients of linear models, in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.special import expit
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from skae._validation import binary_exponents

SINGULAR = 1e12  # condition of a scaled matrix, beyond which coefficients are not determined


def closed_form(model: Any, X: Any, y: NDArray, weight: NDArray) -> tuple[NDArray, float] | str:
    """Return squared standard errors and degrees of freedom, or why they are not known."""
    if reason := _why_not(model, y):
        return reason
    try:
        with np.errstate(all="ignore"):  # the result is checked
            known = _squares(model, X, y, weight)
    except (np.linalg.LinAlgError, MemoryError) as error:
        return f"their computation failed ({error})"
    if isinstance(known, tuple) and not np.isfinite(known[0]).all():
        return "their squares leave the range of float64"
    return known


def _squares(model: Any, X: Any, y: NDArray, weight: NDArray) -> tuple[NDArray, float] | str:
    fisher, counts = isinstance(model, LogisticRegression), weight
    if fisher:
        p = expit(model.decision_function(X))
        counts = weight * p * (1 - p)
        alpha = 0.0 if model.penalty is None else 1 / model.C
    else:
        residual = np.asarray(y - model.predict(X), dtype=np.float64)  # y may be objects
        power = binary_exponents(residual)
        left = weight @ np.ldexp(residual, -power) ** 2
        alpha = float(np.squeeze(getattr(model, "alpha", 0.0)))
    X = np.asarray(X, dtype=np.float64)
    gram, back, size = _gram(X, counts, model.fit_intercept)
    penalized = gram + np.diag(np.where(np.arange(len(gram)) < X.shape[1], alpha / size**2, 0))
    if not np.isfinite(penalized).all():
        return "sums of squares of the columns leave the range of float64"
    inverse = _inverse(penalized)
    if inverse is None:
        return "columns of a table depend on each other linearly"
    hat = inverse @ gram  # of the same trace as the matrix that turns y into its prediction
    n_coefs = len(gram) if fisher else 2 * np.trace(hat) - (hat * hat.T).sum()
    df = weight.sum() - n_coefs
    if not df > 0:
        return "there are no more rows than coefficients"
    covariance = inverse
    if not fisher:
        covariance = hat @ inverse * (left / df)
    variance = ((back @ covariance) * back).sum(axis=1)
    if not fisher:
        variance = np.ldexp(variance, 2 * power)
    return variance.reshape((*np.shape(model.coef_)[:-1], -1)), float(df)


def _why_not(model: Any, y: NDArray) -> str | None:
    """Return why there is no closed form for a model's standard errors, if so."""
    if type(model) in (LinearRegression, Ridge):
        if model.positive:
            return "positive=True keeps coefficients at a bound"
        return "y has two dimensions" if y.ndim > 1 else None
    if type(model) is not LogisticRegression:
        return "it is no LinearRegression, Ridge or LogisticRegression"
    if len(model.classes_) > 2:
        return "there are more than two classes"
    if model.l1_ratio or model.penalty not in ("deprecated", "l2", None):
        return "coefficients with an L1 penalty have no normal distribution"
    if model.class_weight is not None:
        return "class_weight counts rows as what they are not"
    if model.solver == "liblinear" and model.fit_intercept:
        return "solver='liblinear' penalises the intercept"
    return None


def _gram(X: NDArray, weight: NDArray, fit_intercept: bool) -> tuple[NDArray, NDArray, NDArray]:
    """Return X'WX, centred beside a column of ones, of columns divided by their sizes.

    Also what turns its coefficients into those of X, and the sizes: the largest absolute values.
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
    """Return the inverse, whatever the units of the columns; None if there is none."""
    scale = np.sqrt(np.diag(matrix))
    if not (scale > 0).all():
        return None
    scaled = matrix / np.outer(scale, scale)
    if np.linalg.cond(scaled) > SINGULAR:
        return None
    return np.linalg.inv(scaled) / np.outer(scale, scale)
