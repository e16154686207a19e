"""One answer from several completed tables."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


class Pooled(NamedTuple):
    """What `pool_estimates` returns."""

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
    r"""Pool estimates from completed tables by Rubin's rules.

    .. math:: \bar q = \frac{1}{m} \sum_i q_i, \qquad
              T = \frac{1}{m} \sum_i u_i + \left(1 + \frac{1}{m}\right) B, \qquad
              B = \frac{1}{m - 1} \sum_i (q_i - \bar q)^2

    with :math:`q_i` the estimates, such as the coefficients of a regression on each table, and
    :math:`u_i` their squared standard errors. The interval is that of a t distribution, with the
    degrees of freedom of Barnard and Rubin.

    Parameters
    ----------
    estimates : array-like of shape (n_imputations, ...)
        An estimate, or several, from each table.
    variances : array-like of shape (n_imputations, ...)
        Their squared standard errors, as if the table had been complete.
    df_complete : float, default=inf
        Degrees of freedom of the estimate from a complete table, such as rows less coefficients.
    coverage : float, default=0.95
        Chance that the interval should hold the truth.

    Returns
    -------
    pooled : Pooled
        Named tuple of arrays: ``estimate``, ``std_error`` (the root of T), ``df``, and ``low`` and
        ``high``, the ends of the interval.

    Raises
    ------
    ValueError
        If there are fewer than two tables, shapes differ, a variance is negative, anything is not
        finite, or ``df_complete`` is not above 0.

    References
    ----------
    Rubin, D. B. (1987). "Multiple imputation for nonresponse in surveys". Wiley.

    Barnard, J. and Rubin, D. B. (1999). "Small-sample degrees of freedom with multiple
    imputation". Biometrika 86(4), 948-955.

    Examples
    --------
    >>> from skae.tasks import pool_estimates
    >>> pooled = pool_estimates([1.0, 2.0, 3.0], [0.5, 0.5, 0.5])
    >>> float(pooled.estimate), float(pooled.std_error.round(3))
    (2.0, 1.354)
    """
    q, u = np.asarray(estimates, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if q.shape != u.shape or q.ndim < 1 or len(q) < 2:
        raise ValueError(
            "pool_estimates needs estimates and variances from two tables or more, in one shape; "
            f"got shapes {q.shape} and {u.shape}."
        )
    if not (np.isfinite(q).all() and np.isfinite(u).all() and (u >= 0).all()):
        raise ValueError(
            "pool_estimates needs finite estimates, and finite variances of at least 0; look at "
            "the estimator that gave others."
        )
    if not df_complete > 0:
        raise ValueError(f"df_complete must be above 0; got {df_complete!r}.")
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must be between 0 and 1; got {coverage!r}.")
    m = len(q)
    within, between = u.mean(axis=0), (1 + 1 / m) * q.var(axis=0, ddof=1)
    total = within + between
    # Share of the variance that the holes are to blame for.
    share = np.divide(between, total, out=np.zeros_like(total), where=total > 0)
    with np.errstate(divide="ignore"):
        df = np.where(share > 0, (m - 1) / np.maximum(share, 1e-150) ** 2, np.inf)
    if np.isfinite(df_complete):
        observed = (df_complete + 1) / (df_complete + 3) * df_complete * (1 - share)
        df = np.where(observed > 0, 1 / (1 / df + 1 / np.maximum(observed, 1e-300)), 0.0)
        df = np.maximum(df, 1e-3)
    half = stats.t.ppf((1 + coverage) / 2, df) * np.sqrt(total)
    estimate = q.mean(axis=0)
    return Pooled(estimate, np.sqrt(total), df, estimate - half, estimate + half)
