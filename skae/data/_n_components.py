"""How many components a parameter asks for: a number, a share of the variance, or an estimate."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from skae._sklearn import _infer_dimension
from skae.data._dataset import InMemoryDataset, RowDataset
from skae.data._moments import covariance_of
from skae.data._principal_axes import EXACT_UP_TO, truncated_svd

FEW = 64  # components of a truncated decomposition that are tried first


def resolve_n_components(asked: Any, rows: RowDataset, auto: Callable[[int], int]) -> int:
    """Return the number of components that a parameter stands for.

    Parameters
    ----------
    asked : int, float, None, 'auto' or 'mle'
        The parameter.
    rows : RowDataset
        Conditioned; missing values count as the mean.
    auto : callable
        What 'auto' stands for, of the number of features.

    Returns
    -------
    n_components : int
        At least 1; unless a number is asked for, at most the smaller side of the rows.

    Raises
    ------
    ValueError
        If the rows do not determine it.
    """
    smaller = min(len(rows), rows.n_features)
    if asked is None:
        return smaller
    if isinstance(asked, Integral):
        return int(asked)
    if asked == "auto":
        return auto(rows.n_features)
    if asked == "mle":
        return _by_likelihood(rows)
    return min(_by_share(float(asked), rows), smaller)


def _by_likelihood(rows: RowDataset) -> int:
    """Return Minka's estimate."""
    n, d = len(rows), rows.n_features
    if n < d or d > EXACT_UP_TO:
        raise ValueError(
            f"n_components='mle' needs at least as many rows as columns, and at most {EXACT_UP_TO} "
            f"columns; X has {n} rows and {d} columns. Give a number or a share of the variance."
        )
    try:
        # One column has no candidate below its number, for which scikit-learn returns 0.
        return max(1, int(_infer_dimension(_variances(rows) * n / (n - 1), n)))
    except ValueError as error:  # the logarithm of a difference that is 0
        raise ValueError(
            "n_components='mle' is not defined where principal components of X have the same "
            "variance; give a number or a share of the variance."
        ) from error


def _by_share(share: float, rows: RowDataset) -> int:
    """Return the least number of principal components that explain more than a share."""
    if rows.n_features <= EXACT_UP_TO or isinstance(rows, InMemoryDataset):
        variances = _variances(rows)
        return _n_above(share, variances / variances.sum())
    smaller = min(len(rows), rows.n_features)
    weight = rows.weight.double() / rows.weight.double().mean()
    total = sum(
        float(weight[chunk] @ rows.values(chunk)[0].double().square().sum(1))
        for chunk in rows.gen_chunks()
    )
    most = min(smaller - 1, EXACT_UP_TO)
    k = min(FEW, most)
    while True:
        # A seed of its own: the number must not depend on the estimator's.
        s, _ = truncated_svd(rows, k, np.random.RandomState(0))
        n = _n_above(share, s**2 / total)
        if n <= k or k == smaller - 1:
            return n
        if k == most:
            raise ValueError(
                f"n_components={share} takes more than {most} components, too many to be counted "
                f"where X is sparse or in a file and has more than {EXACT_UP_TO} columns; give a "
                "lower share or a number."
            )
        k = min(4 * k, most)


def _n_above(share: float, ratios: NDArray) -> int:
    return int(np.searchsorted(np.cumsum(ratios), share, side="right")) + 1


def _variances(rows: RowDataset) -> NDArray:
    """Return the variances of the principal components, by decreasing size, up to a factor."""
    if isinstance(rows, InMemoryDataset) and rows.n_features > EXACT_UP_TO:
        x = rows.x * rows.weight.sqrt()[:, None]
        squares = (x @ x.T if len(x) < x.shape[1] else x.T @ x).double()
    else:
        squares = covariance_of(rows)
    return linalg.eigvalsh(squares.numpy())[::-1].clip(0)
