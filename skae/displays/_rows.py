"""Rows of a table that are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from skae._numeric_input import as_numeric
from skae._validation import check_count


def as_numbers(X: Any, name: str = "X") -> Any:
    """Return a table of numbers, or raise ValueError."""
    try:
        return as_numeric(X, name)
    except ValueError as error:
        raise ValueError(
            f"{str(error).rstrip('.')}. For a pipeline that does so, pass its last step and the "
            "input of that: pipeline[-1] and pipeline[:-1].transform(X)."
        ) from error


def first_rows(X: Any, n_samples: int) -> Any:
    """Return the first rows of a table, as a DataFrame if it is one."""
    check_count(n_samples, "n_samples")
    X = as_numbers(X)
    if isinstance(X, pd.DataFrame):
        return X.iloc[:n_samples]
    return (X.tocsr() if sparse.issparse(X) else np.asarray(X))[:n_samples]


def as_rows(X: Any, name: str = "X") -> NDArray:
    """Return a table as an array of shape (n, n_features) in float64."""
    X = as_numbers(X, name)
    rows = np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(
            f"{name} has shape {rows.shape}; pass an array of shape (n_samples, n_features)."
        )
    return rows


def check_mask(mask: ArrayLike, X: Any) -> NDArray:
    """Return a mask of the shape of X, or raise ValueError."""
    hidden, shape = np.asarray(mask), X.shape if hasattr(X, "shape") else np.shape(X)
    if hidden.dtype != bool or hidden.shape not in (shape, shape[1:]):
        raise ValueError(
            f"mask must be boolean, of shape {shape[1:]} or {shape}; got {hidden.dtype} of shape "
            f"{hidden.shape}."
        )
    return np.broadcast_to(hidden, shape)


def without_cells(X: Any, mask: NDArray) -> Any:
    """Return X with NaN where the mask is True."""
    if isinstance(X, pd.DataFrame):
        return X.astype(np.float64).mask(mask)
    return np.where(mask, np.nan, as_rows(X))


def moments(x: NDArray) -> tuple[NDArray, NDArray]:
    """Return the mean and the standard deviation of each feature, 0 and 1 where there is none."""
    observed = ~np.isnan(x)
    n = np.maximum(observed.sum(axis=0), 1)
    center = np.where(observed, x, 0).sum(axis=0) / n
    scale = np.sqrt((np.where(observed, x - center, 0) ** 2).sum(axis=0) / n)
    return center, np.where(scale > 0, scale, 1)
