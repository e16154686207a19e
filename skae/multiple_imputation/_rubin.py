"""Rubin's rules: one estimate from several completed tables."""

from __future__ import annotations

from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from skae._validation import binary_exponents, check_array, check_share, weighted_mean

MAX_T_QUANTILE = 1e100  # from here on, scipy's quantiles of the t distribution are wrong


class Pooled(NamedTuple):
    """Pooled estimates with their standard errors and intervals: see `pool_estimates`."""

    estimate: NDArray
    std_error: NDArray
    df: NDArray
    low: NDArray
    high: NDArray


def pool_estimates(
    estimates: ArrayLike,
    variances: ArrayLike,
    df_complete: float = np.inf,
    coverage: float = 0.95,
) -> Pooled:
    r"""Pool estimates from several completed tables by Rubin's rules.

    .. math:: \bar q = \frac{1}{m} \sum_i q_i, \qquad
              T = \frac{1}{m} \sum_i u_i + \left(1 + \frac{1}{m}\right) B, \qquad
              B = \frac{1}{m - 1} \sum_i (q_i - \bar q)^2

    with :math:`q_i` the estimates, such as the coefficients of a regression on each table, and
    :math:`u_i` their squared standard errors. The interval is that of a t distribution, with the
    degrees of freedom of Barnard and Rubin.

    Parameters
    ----------
    estimates : array-like of shape (n_imputations, ...)
        One or several estimates from each table.
    variances : array-like of shape (n_imputations, ...)
        Their squared standard errors, as if the table had been complete.
    df_complete : float, default=inf
        Degrees of freedom of the estimates from a complete table, such as the number of samples
        minus that of coefficients.
    coverage : float, default=0.95
        Nominal coverage probability of the intervals.

    Returns
    -------
    pooled : Pooled
        Named tuple of arrays: ``estimate``, ``std_error`` (the square root of T), ``df``, and
        ``low`` and ``high``, the bounds of the interval.

    Raises
    ------
    ValueError
        If there are fewer than two tables, shapes differ, a variance is negative, a value is not
        finite, ``df_complete`` is not above 0, ``coverage`` is not between 0 and 1, or an interval
        overflows float64.

    References
    ----------
    Rubin, D. B. (1987). "Multiple imputation for nonresponse in surveys". Wiley.

    Barnard, J. and Rubin, D. B. (1999). "Small-sample degrees of freedom with multiple
    imputation". Biometrika 86(4), 948-955.

    Examples
    --------
    >>> from skae import pool_estimates
    >>> pooled = pool_estimates([1.0, 2.0, 3.0], [0.5, 0.5, 0.5])
    >>> float(pooled.estimate), float(pooled.std_error.round(3))
    (2.0, 1.354)
    """
    q, u = _numbers(estimates, "estimates"), _numbers(variances, "variances")
    if q.shape != u.shape or q.ndim < 1 or len(q) < 2:
        raise ValueError(
            "pool_estimates needs estimates and variances from two tables or more, in one shape; "
            f"got shapes {q.shape} and {u.shape}."
        )
    if not (np.isfinite(q).all() and np.isfinite(u).all() and (u >= 0).all()):
        raise ValueError(
            "pool_estimates needs finite estimates, and finite variances of at least 0; check the "
            "estimator that returned others."
        )
    if not (isinstance(df_complete, Real) and df_complete > 0):
        raise ValueError(f"df_complete must be above 0; got {df_complete!r}.")
    check_share(coverage, "coverage")
    m, power = len(q), binary_exponents(q, axis=0)
    scaled = np.ldexp(q, -power)  # squares of the largest and smallest numbers stay in range
    residual = scaled - scaled[0]  # exactly 0 if all tables agree
    estimate = np.ldexp(scaled[0] + residual.mean(axis=0), power)
    with np.errstate(over="ignore", invalid="ignore"):
        between = np.ldexp(np.sqrt((1 + 1 / m) * residual.var(axis=0, ddof=1)), power)
        within = np.sqrt(weighted_mean(u))
        std_error = np.hypot(within, between)
        df = _degrees_of_freedom(m, within, between, float(df_complete))
        quantile = stats.t.isf((1 - float(coverage)) / 2, df)
        half = np.where(quantile < MAX_T_QUANTILE, quantile, np.inf) * std_error
        pooled = Pooled(estimate, std_error, df, estimate - half, estimate + half)
    if not (np.isfinite(pooled.low) & np.isfinite(pooled.high)).all():
        raise ValueError(
            "The interval of a pooled estimate overflows float64: estimates differ by too much "
            "between tables, in absolute terms or compared with their variances; leave such an "
            "estimate out, rescale it, or lower the coverage."
        )
    return pooled


def _numbers(values: ArrayLike, name: str) -> NDArray:
    """Return an array of float64, of any shape."""
    return check_array(
        values,
        dtype=np.float64,
        ensure_2d=False,
        allow_nd=True,
        ensure_all_finite=False,
        ensure_min_samples=0,
        ensure_min_features=0,
        input_name=name,
    )


def _degrees_of_freedom(m: int, within: NDArray, between: NDArray, df_complete: float) -> NDArray:
    """Return those of Barnard and Rubin, for standard deviations within and between tables."""
    std_error = np.hypot(within, between)
    varies = std_error > 0
    # Shares of the standard error due to missing values, and of the rest.
    share, rest = (
        np.where(varies, s / np.where(varies, std_error, 1), 0) for s in (between, within)
    )
    df = np.where(share > 0, (m - 1) / np.maximum(share, 1e-75) ** 4, np.inf)
    if np.isfinite(df_complete):
        most = (df_complete + 1) / (df_complete + 3) * df_complete
        observed = most * np.where(varies, rest, 1) ** 2
        df = np.where(observed > 0, 1 / (1 / df + 1 / np.maximum(observed, 1e-300)), 0.0)
        df = np.maximum(df, 1e-3)  # scipy needs positive ones
    return df
