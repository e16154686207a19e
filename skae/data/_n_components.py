"""Resolution of the ``n_components`` parameter."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg

from skae._sklearn import _infer_dimension
from skae.data._dataset import InMemoryDataset, RowDataset
from skae.data._moments import covariance_of
from skae.data._principal_axes import EXACT_UP_TO, truncated_svd

INITIAL_COMPONENTS = 64  # of a truncated decomposition, increased until they are enough


def resolve_n_components(value: Any, rows: RowDataset, auto: Callable[[int], int]) -> int:
    """Return the number of components that a value of the parameter stands for.

    Parameters
    ----------
    value : int, float, None, 'auto' or 'mle'
        Value of the parameter.
    rows : RowDataset
        Conditioned samples; missing values are replaced by the mean.
    auto : callable
        Function of the number of features that returns the number for 'auto'.

    Returns
    -------
    n_components : int
        At least 1; unless the value is an int or 'auto', at most the smaller of the numbers of
        samples and features.

    Raises
    ------
    ValueError
        If the samples do not determine it.
    """
    smaller = min(rows.n_samples, rows.n_features)
    if value is None:
        return smaller
    if isinstance(value, Integral):
        return int(value)
    if value == "auto":
        return auto(rows.n_features)
    if value == "mle":
        return _by_likelihood(rows)
    return min(_by_fraction(float(value), rows), smaller)


def _by_likelihood(rows: RowDataset) -> int:
    """Return Minka's maximum likelihood estimate."""
    n, d = rows.n_samples, rows.n_features
    if n < d or d > EXACT_UP_TO:
        raise ValueError(
            f"n_components='mle' needs at least as many rows as columns, and at most {EXACT_UP_TO} "
            f"columns; X has {n} rows and {d} columns. Set a number or a fraction of the variance."
        )
    try:
        # With one column there are no candidates, for which scikit-learn returns 0.
        return max(1, int(_infer_dimension(_variances(rows) * n / (n - 1), n)))
    except ValueError as error:  # logarithm of a difference of 0
        raise ValueError(
            "n_components='mle' is not defined where principal components of X have the same "
            "variance; set a number or a fraction of the variance."
        ) from error


def _by_fraction(fraction: float, rows: RowDataset) -> int:
    """Return the least number of principal components that explain more than a fraction."""
    if rows.n_features <= EXACT_UP_TO or isinstance(rows, InMemoryDataset):
        variances = _variances(rows)
        return _n_above(fraction, variances / variances.sum())
    smaller = min(rows.n_samples, rows.n_features)
    weight = rows.weight.double() / (rows.total_weight / rows.n_samples)
    squares = torch.zeros((), dtype=torch.float64)
    for chunk in rows.gen_chunks():
        squares += weight[chunk] @ rows.values(chunk)[0].double().square().sum(1)
    total = float(rows.sum(squares))
    most = min(smaller - 1, EXACT_UP_TO)
    k = min(INITIAL_COMPONENTS, most)
    while True:
        # A fixed seed: the number must not depend on that of the estimator.
        s, _ = truncated_svd(rows, k, np.random.RandomState(0))
        n = _n_above(fraction, s**2 / total)
        if n <= k or k == smaller - 1:
            return n
        if k == most:
            raise ValueError(
                f"n_components={fraction} takes more than {most} components, too many to compute "
                f"if X is sparse or in a file and has more than {EXACT_UP_TO} columns; set a lower "
                "fraction or a number."
            )
        k = min(4 * k, most)


def _n_above(fraction: float, ratios: NDArray) -> int:
    return int(np.searchsorted(np.cumsum(ratios), fraction, side="right")) + 1


def _variances(rows: RowDataset) -> NDArray:
    """Return the variances of the principal components, in decreasing order, up to a factor."""
    if isinstance(rows, InMemoryDataset) and rows.n_features > EXACT_UP_TO:
        x = rows.x * rows.weight.sqrt()[:, None]
        squares = (x @ x.T if len(x) < x.shape[1] else x.T @ x).double()
    else:
        squares = covariance_of(rows)
    return linalg.eigvalsh(squares.numpy())[::-1].clip(0)
