"""Collections of dask: arrays and DataFrames whose rows are in parts."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
from dask import delayed, is_dask_collection


def as_rows(X: Any) -> Any:
    """Return a two-dimensional collection of which each part holds whole rows.

    Raises
    ------
    TypeError
        If X is not a dask array or DataFrame.
    ValueError
        If it does not have two dimensions.
    """
    if not (is_dask_collection(X) and hasattr(X, "ndim")):
        raise TypeError(
            f"X must be a dask array or DataFrame; got a {type(X).__name__}. Use the method of the "
            "estimator, or dask.array.from_array(X)."
        )
    if X.ndim != 2:
        raise ValueError(f"X must have two dimensions; got {X.ndim}.")
    return X.rechunk({1: -1}) if isinstance(X, da.Array) else X


def parts_of(X: Any, sample_weight: Any) -> list[Any]:
    """Return the parts of X, each with its weights or None, as delayed pairs."""
    rows = np.ravel(X.to_delayed()).tolist()
    if sample_weight is None:
        weights: list[Any] = [None] * len(rows)
    elif is_dask_collection(sample_weight):
        if isinstance(X, da.Array) and isinstance(sample_weight, da.Array):
            _check_length(sample_weight.shape[0], X.shape[0])
            sample_weight = sample_weight.rechunk((X.chunks[0],))
        weights = np.ravel(sample_weight.to_delayed()).tolist()
        if len(weights) != len(rows):
            raise ValueError(
                f"sample_weight must be divided as X is; got {len(weights)} parts, while X has "
                f"{len(rows)}."
            )
    else:
        sizes = _sizes(X)
        sample_weight = np.asarray(sample_weight)
        _check_length(len(sample_weight), sum(sizes))
        weights = np.split(sample_weight, np.cumsum(sizes)[:-1])
    pair = delayed(_pair, pure=False)
    return [pair(x, w) for x, w in zip(rows, weights, strict=True)]


def _sizes(X: Any) -> list[int]:
    """Return the numbers of rows of the parts."""
    if isinstance(X, da.Array) and not np.isnan(X.shape[0]):
        return list(X.chunks[0])
    return [int(n) for n in delayed([delayed(len)(p) for p in np.ravel(X.to_delayed())]).compute()]


def _check_length(n_weights: float, n_rows: float) -> None:
    if not np.isnan([n_weights, n_rows]).any() and n_weights != n_rows:
        raise ValueError(
            f"sample_weight has {n_weights} entries, while X has {n_rows} samples; pass one for "
            "each."
        )


def _pair(x: Any, weight: Any) -> tuple[Any, Any]:
    return x, weight
