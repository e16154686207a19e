"""Standard errors of the coefficients of linear models, in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

SINGULAR = 1e12  # condition of a scaled matrix, beyond which coefficients are not determined


def closed_form(model: Any, X: Any, y: NDArray, weight: NDArray) -> tuple[NDArray, float] | str:
    """Return squared standard errors and degrees of freedom, or why they are not known."""
    if reason := _why_not(model, y):
        return reason
    fisher, counts = isinstance(model, LogisticRegression), weight
    if fisher:
        p = expit(model.decision_function(X))
        counts = weight * p * (1 - p)
        alpha = 0.0 if model.penalty is None else 1 / model.C
    else:
        left = weight @ (y - model.predict(X)) ** 2
        alpha = float(np.squeeze(getattr(model, "alpha", 0.0)))
    X = np.asarray(X, dtype=np.float64)
    gram, back = _gram(X, counts, model.fit_intercept)
    inverse = _inverse(gram + np.diag(np.arange(len(gram)) < X.shape[1]) * alpha)
    if inverse is None:
        return "columns of a table depend on each other linearly"
    hat = inverse @ gram  # of the same trace as the matrix that turns y into its prediction
    n_coefs = len(gram) if fisher else 2 * np.trace(hat) - (hat * hat.T).sum()
    df = weight.sum() - n_coefs
    if df <= 0:
        return "there are no more rows than coefficients"
    covariance = inverse
    if not fisher:
        covariance = hat @ inverse * (left / df)
    variance = ((back @ covariance) * back).sum(axis=1)
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


def _gram(X: NDArray, weight: NDArray, fit_intercept: bool) -> tuple[NDArray, NDArray]:
    """Return X'WX, centred beside a column of ones, and what turns its coefficients into X's."""
    d = X.shape[1]
    if not fit_intercept:
        return (X.T * weight) @ X, np.eye(d)
    total = weight.sum()
    mean = weight @ X / total if total > 0 else np.zeros(d)
    gram, back = np.zeros((d + 1, d + 1)), np.eye(d + 1)
    gram[:d, :d] = ((X - mean).T * weight) @ (X - mean)
    gram[d, d], back[d, :d] = total, -mean
    return gram, back


def _inverse(matrix: NDArray) -> NDArray | None:
    """Return the inverse, whatever the units of the columns; None if there is none."""
    scale = np.sqrt(np.diag(matrix))
    if not (scale > 0).all():
        return None
    scaled = matrix / np.outer(scale, scale)
    if np.linalg.cond(scaled) > SINGULAR:
        return None
    return np.linalg.inv(scaled) / np.outer(scale, scale)
