"""Self-masked values: the probability that a value is missing depends on the value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from skae.data import subsample_evenly
from skae.tables import ColumnGroups

MAX_CELLS, MIN_ROWS, MAX_ROWS = 2**17, 200, 2000
MIN_CELLS = 10  # missing and observed ones, of a column that has a slope
N_FOLDS = 10  # of the columns, which are predicted from the others
SLOPES = np.linspace(-3, 3, 61)  # of the log odds, per standard deviation
N_PREDICTORS = (1, 2, 4, 8, 16, 32)  # of the other explanation
N_NEWTON_STEPS = 10
MIN_CURVATURE = 1e-9
MIN_STD = 1e-9
RIDGE = 1e-3  # of the logistic regression


def self_masking_slopes(
    complete: Callable[[NDArray], NDArray],
    Z: NDArray,
    groups: ColumnGroups,
    rng: np.random.RandomState,
) -> NDArray:
    r"""Return the slope of the log odds that a value is missing, in that value, (d,).

    With r = 1 for a missing value and

    .. math:: \operatorname{logit} P(r_j = 1 | x) = a_j + b_j x_j, \qquad
              x_j | x_o, r_j = 0 \sim N(m_j, v_j),

    Bayes' rule gives :math:`x_j | x_o, r_j = 1 \sim N(m_j + b_j v_j, v_j)` (exponential tilting,
    Kim and Yu 2011) and

    .. math:: \operatorname{logit} P(r_j = 1 | x_o) = a_j + b_j m_j + b_j^2 v_j / 2,

    so that the slope b is learned from which values are missing and from the predictions m of all
    values, with v taken as constant. It is 0 unless this explains a column's missing values
    better, by the Bayesian information criterion, than a constant probability and than a logistic
    regression on the other columns. One slope for all columns, or for those that others do not
    explain better, is chosen if that explains all missing values better than an explanation for
    each column.

    Parameters
    ----------
    complete : callable
        Returns predictions of missing values, given rows with NaN, (n, d).
    Z : ndarray of shape (n, d)
        Standardised rows; NaN marks a missing value.
    groups : ColumnGroups
        Groups of the columns; those of categories have the slope 0.
    rng : RandomState
        Source of the folds.
    """
    n_rows = int(np.clip(MAX_CELLS // Z.shape[1], MIN_ROWS, MAX_ROWS))
    Z = Z[subsample_evenly(np.arange(len(Z)), n_rows)]
    n, d = Z.shape
    missing = np.isnan(Z)
    n_missing, slopes = missing.sum(axis=0), np.zeros(d)
    candidates = (np.minimum(n_missing, n - n_missing) >= MIN_CELLS) & ~groups.is_grouped
    if not candidates.any():
        return slopes
    gains = np.full((d, len(SLOPES)), -np.inf)
    of_others = np.zeros(d)
    fold = rng.permutation(np.arange(d) % N_FOLDS)[groups.group_start]
    for i in np.unique(fold[candidates]):
        filled = complete(np.where(fold == i, np.nan, Z))
        for j in np.flatnonzero(candidates & (fold == i)):
            r = missing[:, j].astype(np.float64)
            gains[j] = _gains(filled[:, j], r)
            other = groups.group_start != j
            of_others[j] = _gain_of_others(filled[:, other], r)
    # One further parameter, and one of several columns to choose from.
    penalty = np.log(n) / 2 + np.log(candidates.sum())
    own, others = gains.max(axis=1) - penalty, np.maximum(of_others, 0.0)
    chosen = candidates & (own > others)
    slopes[chosen] = SLOPES[gains[chosen].argmax(axis=1)]
    best = np.maximum(own, others)[candidates].sum()
    for some in (candidates & (own > of_others), candidates):
        together = gains[some].sum(axis=0)
        total = together.max() - penalty + others[candidates & ~some].sum()
        if total > best:
            best, slopes = total, np.where(some, SLOPES[together.argmax()], 0.0)
    return slopes


def _gains(m: NDArray, r: NDArray) -> NDArray:
    """Return the gain in log-likelihood of each slope over slope 0, (n_slopes,).

    Less that of a standard normal prior of the slope.
    """
    offset = SLOPES[:, None] * m
    share = r.mean()
    a = logit(share) - offset.mean(axis=1)
    for _ in range(N_NEWTON_STEPS):
        p = expit(a[:, None] + offset)
        curvature = np.maximum((p * (1 - p)).mean(axis=1), MIN_CURVATURE)
        a = a + np.clip((share - p.mean(axis=1)) / curvature, -1, 1)
    eta = a[:, None] + offset
    likelihood = eta @ r - np.logaddexp(0, eta).sum(axis=1)
    return likelihood - _null(r) - SLOPES**2 / 2


def _gain_of_others(X: NDArray, r: NDArray) -> float:
    """Return the gain of a logistic regression on other columns, less its penalty.

    The best of several numbers of columns, those first that are most correlated with r.
    """
    n = len(r)
    X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), MIN_STD)
    related = np.argsort(-np.abs((r - r.mean()) @ X), kind="stable")
    numbers = np.unique(np.minimum(N_PREDICTORS, X.shape[1]))
    penalties = numbers * np.log(n) / 2
    likelihoods = [_logistic(X[:, related[:k]], r) for k in numbers.tolist()]
    return float(np.max(likelihoods - penalties)) - _null(r)


def _logistic(X: NDArray, r: NDArray) -> float:
    """Return the log-likelihood of a logistic regression."""
    A = np.column_stack([np.ones(len(r)), X])
    w = np.zeros(A.shape[1])
    w[0] = logit(r.mean())
    for _ in range(N_NEWTON_STEPS):
        p = expit(A @ w)
        hessian = (A.T * (p * (1 - p))) @ A + RIDGE * np.eye(len(w))
        w = w + np.clip(np.linalg.solve(hessian, A.T @ (r - p) - RIDGE * w), -1, 1)
    eta = A @ w
    return float(r @ eta - np.logaddexp(0, eta).sum())


def _null(r: NDArray) -> float:
    """Return the log-likelihood of a constant probability."""
    share = r.mean()
    return float(len(r) * (share * np.log(share) + (1 - share) * np.log(1 - share)))
