"""Collections of dask: arrays and DataFrames whose rows are in parts."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
from dask import is_dask_collection
from distributed import Client, Future, wait


def as_rows(X: Any) -> Any:
    """Return a two-dimensional collection of which each part holds whole rows.

    Raises
    ------
    TypeError
        If X is not a dask array or DataFrame.
    ValueError
        If it does not have two dimensions.
    """
    if not (is_dask_collection(X) and hasattr(type(X), "ndim") and hasattr(type(X), "to_delayed")):
        raise TypeError(
            f"X must be a dask array or DataFrame; got a {type(X).__name__}. Use the method of the "
            "estimator, or dask.array.from_array(X)."
        )
    if X.ndim != 2:
        raise ValueError(f"X must have two dimensions; got {X.ndim}.")
    return X.rechunk({1: -1}) if isinstance(X, da.Array) else X


def parts_of(client: Client, X: Any, sample_weight: Any) -> tuple[list[Future], list[int]]:
    """Compute the parts of X, each with its weights or None; return them and their lengths.

    A part stays on the worker that holds or computes its rows.
    """
    rows = client.compute(np.ravel(X.to_delayed()).tolist())
    weights: list[Any] = [None] * len(rows)
    if is_dask_collection(sample_weight):
        weights = client.compute(_divided_weights(X, sample_weight, len(rows)))
    elif sample_weight is not None:
        sample_weight = np.atleast_1d(sample_weight)
        _check_length(len(sample_weight), X.shape[0] if isinstance(X, da.Array) else np.nan)
    sizes = client.gather(client.map(n_rows, rows, pure=False))
    if isinstance(sample_weight, np.ndarray):
        _check_length(len(sample_weight), sum(sizes))
        weights = np.split(sample_weight, np.cumsum(sizes)[:-1])
    elif weights[0] is not None:
        _check_parts(client.gather(client.map(n_rows, weights, pure=False)), sizes)
    parts = client.map(_pair, rows, weights, pure=False)
    wait(parts)
    return parts, sizes


def n_rows(part: Any) -> int:
    """Return the number of rows of a part."""
    return int(part.shape[0])


def _divided_weights(X: Any, sample_weight: Any, n_parts: int) -> list[Any]:
    """Return a collection of weights as delayed parts, one for each part of X."""
    if isinstance(X, da.Array) and isinstance(sample_weight, da.Array):
        lengths = sample_weight.shape[0], X.shape[0]
        _check_length(*lengths)
        if not np.isnan(lengths).any():
            sample_weight = sample_weight.rechunk((X.chunks[0],))
    weights = np.ravel(sample_weight.to_delayed()).tolist()
    if len(weights) != n_parts:
        raise ValueError(
            f"sample_weight must be divided as X is; got {len(weights)} parts, while X has "
            f"{n_parts}."
        )
    return weights


def _check_length(n_weights: float, n_rows: float) -> None:
    if not np.isnan([n_weights, n_rows]).any() and n_weights != n_rows:
        raise ValueError(
            f"sample_weight has {n_weights} entries, while X has {n_rows} samples; pass one for "
            "each."
        )


def _check_parts(n_weights: list[int], sizes: list[int]) -> None:
    """Raise ValueError unless each part of the weights has the length of that of X."""
    _check_length(sum(n_weights), sum(sizes))
    if n_weights != sizes:
        raise ValueError(
            f"sample_weight must be divided as X is; got parts of {n_weights} entries, while X has "
            f"parts of {sizes}."
        )


def _pair(x: Any, weight: Any) -> tuple[Any, Any]:
    return x, weight
