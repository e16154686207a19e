"""Holes made on purpose, by the mechanisms that statistics tells apart."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from skae._dataframes import with_missing
from skae._numeric_input import as_table, check_restorable
from skae._validation import random_state_of

MECHANISMS = ("mcar", "mar", "mnar", "monotone")
STRENGTH = 1.5  # log odds of a hole per standard deviation of what it depends on
MOST = 0.999  # share of the cells that may be missing


def make_missing(
    X: Any, mechanism: str = "mcar", fraction: float = 0.2, random_state: Any = None
) -> Any:
    r"""Return a copy of a table with holes.

    Parameters
    ----------
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        The table; cells that are missing stay so.
    mechanism : {'mcar', 'mar', 'mnar', 'monotone'}, default='mcar'
        What a hole depends on:

        * 'mcar' (missing completely at random): on nothing;
        * 'mar' (missing at random): on columns that stay complete, half of them, drawn at random.
          The log odds of a hole in another column are linear in a random combination of theirs;
        * 'mnar' (missing not at random): on the value itself: the larger, the rather;
        * 'monotone': rows end, at any column alike, and are missing from there on; the first
          column stays complete.

        Values count by their ranks: numbers, times and ordered categories by their order, others
        by the alphabet. In 'mar' and 'mnar', one standard deviation multiplies the odds by 4.5.
    fraction : float, default=0.2
        Expected share of missing cells, among those that the mechanism may take: all, or for
        'mar' those of the columns that do not stay complete.
    random_state : int, RandomState instance or None, default=None
        Seed of what is drawn.

    Returns
    -------
    X_holed : ndarray or DataFrame
        The table with NaN, or in columns of a DataFrame that cannot hold it what pandas takes for
        it, in its holes. Integers of an array become float64, and its text objects.

    Raises
    ------
    ValueError
        If the mechanism or the fraction is not one of these, or is not possible with so few
        columns, or there are no rows, or integers would change as they become float64.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import make_missing
    >>> X = make_missing(np.ones((1000, 3)), "monotone", 0.5, random_state=0)
    >>> np.isnan(X).mean(axis=0).round(1)
    array([0. , 0.6, 0.8])
    """
    if not (isinstance(mechanism, str) and mechanism in MECHANISMS):
        raise ValueError(f"mechanism must be one of {MECHANISMS}; got {mechanism!r}.")
    if not (isinstance(fraction, Real) and 0 < float(fraction) <= MOST):
        raise ValueError(f"fraction must be above 0 and at most {MOST}; got {fraction!r}.")
    table = as_table(X)
    if not isinstance(table, pd.DataFrame):
        may_infer = isinstance(X, (list, tuple, np.ma.MaskedArray))
        table = _writable(np.asarray(table), may_infer)
    least = 2 if mechanism in ("mar", "monotone") else 1
    if table.ndim != 2 or len(table) < 1 or table.shape[1] < least:
        columns = "two columns" if least == 2 else "a column"
        raise ValueError(
            f"{mechanism} holes need a table of a row and {columns} or more; got shape "
            f"{table.shape}."
        )
    frame = pd.DataFrame(table)
    holes = _MAKERS[mechanism](frame, float(fraction), random_state_of(random_state))
    if isinstance(table, pd.DataFrame):
        whole = [isinstance(dtype, np.dtype) and dtype.kind in "iu" for dtype in table.dtypes]
        check_restorable(table.iloc[:, np.flatnonzero(whole & holes.any(axis=0))], np.nan)
        return with_missing(X, holes)
    table[holes] = "NaT" if table.dtype.kind in "mM" else np.nan
    return table


def _writable(values: NDArray, may_infer: bool) -> NDArray:
    """Return a copy that can hold NaN; objects of a list may have a dtype of their own."""
    if values.dtype.kind == "O" and may_infer:
        missing = pd.isna(values)
        kind = pd.api.types.infer_dtype(values[~missing])
        if kind in ("boolean", "integer", "floating", "mixed-integer-float"):
            check_restorable(values, np.nan)
            return np.where(missing, np.nan, values).astype(np.float64)
        values = pd.DataFrame(values).infer_objects().to_numpy()
    if values.dtype.kind in "biu":
        check_restorable(values, np.nan)
        return values.astype(np.float64)
    if values.dtype.kind in "US":
        return values.astype(object)
    return values.astype(values.dtype.newbyteorder("="))


def _mcar(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    return rng.uniform(size=table.shape) < fraction


def _mar(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    z, d = _scores(table), table.shape[1]
    order = rng.permutation(d)
    complete, others = order[: d // 2], order[d // 2 :]
    mixed = z[:, complete] @ rng.normal(size=(len(complete), len(others)))
    holes = np.zeros(table.shape, dtype=bool)
    holes[:, others] = rng.uniform(size=mixed.shape) < _chances(_standard(mixed), fraction)
    return holes


def _mnar(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    return rng.uniform(size=table.shape) < _chances(_scores(table), fraction)


def _monotone(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    n, d = table.shape
    went_on = np.arange(d)

    def excess(end: float) -> float:
        return float(np.mean(1 - (1 - end) ** went_on)) - fraction

    if fraction >= 1 - 1 / d:
        raise ValueError(
            f"monotone holes leave the first of {d} columns, so fraction must be below "
            f"{1 - 1 / d:.3g}; got {fraction}."
        )
    # Beside the precision of the root, a smaller chance is none.
    first = rng.geometric(max(brentq(excess, 0, 1), np.finfo(float).eps), size=n)
    return went_on >= first[:, None]


def _scores(table: pd.DataFrame) -> NDArray:
    """Return the ranks of each column, standardised; what is missing at the middle."""
    z = np.zeros(table.shape)
    for j in range(table.shape[1]):
        column = table.iloc[:, j]
        known = column.notna().to_numpy(dtype=bool)
        if known.any():
            ranks = _ranks(column[known].infer_objects())
            z[known, j] = _standard(ranks[:, None])[:, 0]
    return z


def _ranks(column: pd.Series) -> NDArray:
    """Return the ranks of the values of a column without missing ones."""
    if isinstance(column.dtype, pd.CategoricalDtype) and not column.cat.ordered:
        column = column.astype(str)
    try:
        ranks = column.rank()
    except (TypeError, NotImplementedError):  # values without an order
        ranks = column.astype(str).rank()
    return ranks.to_numpy(dtype=np.float64)


def _standard(values: NDArray) -> NDArray:
    std = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(std > 0, std, 1)


def _chances(z: NDArray, fraction: float) -> NDArray:
    """Return chances that grow with z and have a mean of `fraction` in each column."""
    reach = STRENGTH * np.abs(z).max() + abs(logit(fraction)) + 1
    probabilities = np.empty_like(z)
    for j, column in enumerate(z.T):

        def excess(shift: float, column: NDArray = column) -> float:
            return float(expit(shift + STRENGTH * column).mean()) - fraction

        probabilities[:, j] = expit(brentq(excess, -reach, reach) + STRENGTH * column)
    return probabilities


_MAKERS = {"mcar": _mcar, "mar": _mar, "mnar": _mnar, "monotone": _monotone}
