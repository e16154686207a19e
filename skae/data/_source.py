"""Input data in memory, in memory maps, or sparse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.sparsefuncs import min_max_axis
from sklearn.utils.validation import validate_data

from skae._numeric_input import (
    as_numeric,
    check_names,
    infinity_in,
    is_half,
    is_in_parts,
    is_plain,
)
from skae._validation import binary_exponents, check_array, rescale_weights
from skae.data._chunks import concatenate_chunks, gen_chunks
from skae.data._group import ALONE, Group
from skae.data._shards import Shards

FLOATS = [np.float64, np.float32]


class DataSource:
    """Samples that are read as dense arrays at each access.

    Parameters
    ----------
    X : ndarray, csr_array or Shards of shape (n, d)
        Validated data; what is read in place is not copied, whatever its dtype.
    in_place : bool
        Whether X is a memory map, or in several arrays.
    index : ndarray of int or None
        Indices of the rows of X; if None, all rows.
    """

    def __init__(self, X: Any, in_place: bool = False, index: NDArray | None = None):
        if sparse.issparse(X) and not X.has_canonical_format:
            X = X.copy()  # leaves the input unchanged
            X.sum_duplicates()
        self.X = X
        self.in_place = in_place
        self.index = index
        self.shape = (X.shape[0] if index is None else len(index), X.shape[1])
        is_single = X.dtype == np.float32 or is_half(X.dtype)
        self.dtype = np.dtype(np.float32 if is_single else np.float64)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def sparse(self) -> bool:
        """Whether X is sparse."""
        return sparse.issparse(self.X)

    @property
    def out_of_core(self) -> bool:
        """Whether samples are read batch by batch."""
        return self.in_place or self.sparse

    def gen_chunks(self) -> Iterator[slice]:
        """Generate slices of rows of at most a few million cells each."""
        return gen_chunks(*self.shape)

    def __getitem__(self, index: slice | NDArray) -> NDArray:
        """Return rows as a dense array, in the dtype of the source."""
        rows = self.X[index if self.index is None else self.index[index]]
        return np.asarray(rows.toarray() if self.sparse else rows, dtype=self.dtype)

    def columns(self, index: slice) -> NDArray:
        """Return columns as a dense array, in the dtype of the source."""
        columns = self.X[:, index] if self.index is None else self.X[self.index, index]
        return np.asarray(columns.toarray() if self.sparse else columns, dtype=self.dtype)

    def has_missing(self) -> bool:
        """Return whether any value is missing."""
        if self.sparse:
            return bool(np.isnan(self.matrix().data).any())
        return any(np.isnan(self[chunk]).any() for chunk in self.gen_chunks())

    def empty_rows(self) -> NDArray:
        """Return a mask of the rows whose values are all missing, (n,)."""
        if self.sparse and not self.has_missing():
            return np.zeros(len(self), dtype=bool)
        return concatenate_chunks(
            len(self), (np.isnan(self[chunk]).all(axis=1) for chunk in self.gen_chunks())
        )

    def ranges(self) -> tuple[NDArray, NDArray]:
        """Return the minimum and maximum of each column, NaN without observed values."""
        if self.sparse:
            return min_max_axis(self.matrix(), axis=0, ignore_nan=True)
        bounds = [
            (np.fmin.reduce(x), np.fmax.reduce(x)) for x in map(self.__getitem__, self.gen_chunks())
        ]
        lows, highs = zip(*bounds, strict=True)
        return np.fmin.reduce(lows), np.fmax.reduce(highs)

    def matrix(self) -> Any:
        """Return the rows of a sparse source as a sparse matrix."""
        return self.X if self.index is None else self.X[self.index]

    def take(self, index: NDArray) -> DataSource:
        """Return a source of some of the rows; a copy of them if they are in memory."""
        if self.out_of_core:
            index = index if self.index is None else self.index[index]
            return DataSource(self.X, self.in_place, index)
        return DataSource(self.X[index])


def check_n_samples(n_rows: int, at_least: int = 2) -> None:
    """Raise ValueError if there are too few samples to train on."""
    if n_rows < at_least:
        raise ValueError(
            f"X has n_samples = {n_rows} with a weight above 0 and an observed value, while a "
            f"minimum of {at_least} is required; pass more samples."
        )


def usable_weight(source: DataSource, weight: NDArray) -> NDArray:
    """Return the weight of each sample, 0 for those that training does not use."""
    weight = weight * ~source.empty_rows()
    # Relative to the largest, smaller weights are 0 in the precision of training.
    weight[weight <= np.finfo(np.float32).tiny * weight.max()] = 0
    return weight


def drop_empty_rows(
    source: DataSource, weight: NDArray, at_least: int = 2, group: Group = ALONE
) -> tuple[DataSource, NDArray]:
    """Drop rows of weight 0 or without observed values, and scale weights into (0, 1).

    The processes of a group each hold a part of the samples.
    """
    weight = _rescaled(weight, group)
    # Relative to the largest, smaller weights underflow in the precision of training.
    keep = np.flatnonzero((weight > np.finfo(np.float32).tiny) & ~source.empty_rows())
    check_n_samples(int(group.sum(torch.tensor(len(keep)))), at_least)
    if not int(-group.maximum(torch.tensor(-len(keep)))):
        raise ValueError(
            "A process holds no sample with a weight above 0 and an observed value; divide the "
            "samples among the processes in another way."
        )
    if len(keep) < len(source):
        source, weight = source.take(keep), weight[keep]
    return source, _rescaled(weight, group)


def _rescaled(weight: NDArray, group: Group) -> NDArray:
    if group.size == 1:
        return rescale_weights(weight)
    largest = group.maximum(torch.tensor([weight.max(initial=0.0)]))
    return np.ldexp(weight, -binary_exponents(largest.numpy()))


@np.errstate(invalid="ignore")  # scikit-learn sums the values, also infinities of both signs
def read_source(
    estimator: BaseEstimator,
    X: Any,
    *,
    reset: bool,
    at_least: int = 1,
    sparse_too: bool = True,
) -> DataSource:
    """Validate input data for an estimator, with specific error messages."""
    if isinstance(X, Shards) or is_in_parts(X):
        shards = X if isinstance(X, Shards) else Shards(X)
        return _read_shards(estimator, shards, reset=reset, at_least=at_least)
    # A conversion would copy the whole file; rows are converted when they are read.
    in_place = isinstance(X, np.memmap) and is_plain(X)
    X = X if in_place else as_numeric(X)
    half = in_place and is_half(X.dtype)  # scikit-learn would need a mask of all values
    try:
        validated = validate_data(
            estimator,
            X,
            reset=reset,
            accept_sparse="csr" if sparse_too else False,
            dtype=None if in_place else FLOATS,
            order=None if in_place else "C",
            ensure_all_finite=False if half else "allow-nan",
            ensure_min_samples=at_least,
        )
    except ValueError as error:
        if sentence := infinity_in(X):
            raise ValueError(sentence) from error
        check_names(X)
        raise
    if half:
        _check_no_infinity(X, "X")
    # Other estimators are fitted to it in turn: a memory map stays one.
    return DataSource(X if in_place else validated, in_place)


def _read_shards(
    estimator: BaseEstimator, shards: Shards, *, reset: bool, at_least: int
) -> DataSource:
    """Validate a table in several arrays for an estimator."""
    validate_data(estimator, X=shards, reset=reset, skip_check_array=True)
    check_array(
        shards[:at_least],
        dtype=None,
        ensure_all_finite=False,
        ensure_min_samples=at_least,
        estimator=estimator,
    )
    for i, array in enumerate(shards.arrays):
        _check_no_infinity(array, f"X[{i}]")
    return DataSource(shards, in_place=True)


def _check_no_infinity(array: NDArray, name: str) -> None:
    """Raise ValueError if an array that is read in place contains infinity."""
    for chunk in gen_chunks(*array.shape) if array.dtype.kind not in "biu" else ():
        if np.isinf(array[chunk]).any():
            raise ValueError(infinity_in(array, name))
