"""The user's rows, wherever they are: in memory, in a file, or sparse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.sparsefuncs import min_max_axis
from sklearn.utils.validation import validate_data

from skae._numeric_input import check_names, infinity_in, numbers
from skae._validation import below_one, slices

CELLS = 2**22  # of a table that are looked at together
FLOATS = [np.float64, np.float32]
PIECE = 4096  # rows that are looked at together, at most


def pieces(n_rows: int, n_features: int) -> Iterator[slice]:
    """Cut the rows of a table into pieces of a few million cells."""
    return slices(n_rows, min(PIECE, max(1, CELLS // n_features)))


def joined(n_rows: int, answers: Iterable[NDArray]) -> NDArray:
    """Join the answers for consecutive pieces of rows.

    Each is copied and let go: small answers that are kept between large pieces would keep the
    memory of those from being used again, until it is as large as the table.
    """
    whole, start = np.empty(0), 0
    for answer in answers:
        if not start:
            whole = np.empty((n_rows, *answer.shape[1:]), dtype=answer.dtype)
        whole[start : start + len(answer)] = answer
        start += len(answer)
    return whole


def evenly(index: NDArray, n: int) -> NDArray:
    """Return n of the indices at most, evenly spaced."""
    return index if len(index) <= n else index[np.linspace(0, len(index) - 1, n).astype(int)]


class Table:
    """Rows that are read as dense arrays, when they are asked for.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n, d)
        Validated; a memory map stays in its file, whatever its dtype.
    in_file : bool
        Whether X is a memory map.
    index : ndarray of int or None
        Rows of X that the table has; None is all.
    """

    def __init__(self, X: Any, in_file: bool = False, index: NDArray | None = None):
        if sparse.issparse(X) and not X.has_canonical_format:
            X = X.copy()  # the user's stays as it is
            X.sum_duplicates()
        self.X = X
        self.in_file = in_file
        self.index = index
        self.shape = (X.shape[0] if index is None else len(index), X.shape[1])
        self.dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def sparse(self) -> bool:
        """Whether X is sparse."""
        return sparse.issparse(self.X)

    @property
    def stays(self) -> bool:
        """Whether rows stay where they are, to be read a batch at a time."""
        return self.in_file or self.sparse

    def pieces(self) -> Iterator[slice]:
        """Cut the rows into pieces of a few million cells."""
        return pieces(*self.shape)

    def __getitem__(self, which: slice | NDArray) -> NDArray:
        """Return rows, dense, in the table's dtype."""
        rows = self.X[which if self.index is None else self.index[which]]
        return np.asarray(rows.toarray() if self.sparse else rows, dtype=self.dtype)

    def columns(self, which: slice) -> NDArray:
        """Return columns, dense, in the table's dtype."""
        columns = self.X[:, which] if self.index is None else self.X[self.index, which]
        return np.asarray(columns.toarray() if self.sparse else columns, dtype=self.dtype)

    def has_holes(self) -> bool:
        """Tell whether a value is missing."""
        if self.sparse:
            return bool(np.isnan(self.matrix().data).any())
        return any(np.isnan(self[piece]).any() for piece in self.pieces())

    def blank_rows(self) -> NDArray:
        """Tell for each row whether all its values are missing."""
        if self.sparse and not self.has_holes():
            return np.zeros(len(self), dtype=bool)
        return joined(len(self), (np.isnan(self[piece]).all(axis=1) for piece in self.pieces()))

    def ranges(self) -> tuple[NDArray, NDArray]:
        """Return the least and the largest value of each column, NaN where there is none."""
        if self.sparse:
            return min_max_axis(self.matrix(), axis=0, ignore_nan=True)
        bounds = [
            (np.fmin.reduce(x), np.fmax.reduce(x)) for x in map(self.__getitem__, self.pieces())
        ]
        lows, highs = zip(*bounds, strict=True)
        return np.fmin.reduce(lows), np.fmax.reduce(highs)

    def matrix(self) -> Any:
        """Return the rows of a sparse table, sparse."""
        return self.X if self.index is None else self.X[self.index]

    def take(self, which: NDArray) -> Table:
        """Return a table of some of the rows; of those in memory, a copy."""
        if self.stays:
            index = which if self.index is None else self.index[which]
            return Table(self.X, self.in_file, index)
        return Table(self.X[which])


def check_known(n_rows: int, at_least: int = 2) -> None:
    """Raise ValueError where too few rows can be learned from."""
    if n_rows < at_least:
        raise ValueError(
            f"X has n_samples = {n_rows} with a weight above 0 and an observed value, while a "
            f"minimum of {at_least} is required; pass more rows."
        )


def known_rows(table: Table, weight: NDArray, at_least: int = 2) -> tuple[Table, NDArray]:
    """Drop rows of weight 0 or with nothing observed, and bring weights into (0, 1)."""
    weight = below_one(weight)
    # Beside the largest, less than this is nothing in the precision of training.
    keep = np.flatnonzero((weight > np.finfo(np.float32).tiny) & ~table.blank_rows())
    check_known(len(keep), at_least)
    if len(keep) < len(table):
        table, weight = table.take(keep), weight[keep]
    return table, below_one(weight)


@np.errstate(invalid="ignore")  # scikit-learn sums what it checks, infinities of both signs, too
def read_table(
    estimator: BaseEstimator,
    X: ArrayLike,
    *,
    reset: bool,
    at_least: int = 1,
    sparse_too: bool = True,
) -> Table:
    """Validate a user's rows for an estimator, with sentences about what is wrong with them."""
    X = numbers(X)
    # A conversion would copy a whole file; rows of one are converted when they are read.
    in_file = isinstance(X, np.memmap) and X.dtype.kind in "biuf"
    try:
        validated = validate_data(
            estimator,
            X,
            reset=reset,
            accept_sparse="csr" if sparse_too else False,
            dtype=None if in_file else FLOATS,
            order=None if in_file else "C",
            ensure_all_finite="allow-nan",
            ensure_min_samples=at_least,
        )
    except ValueError as error:
        if sentence := infinity_in(X):
            raise ValueError(sentence) from error
        check_names(X)
        raise
    return Table(validated, in_file)
