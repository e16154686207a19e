"""What the columns of a DataFrame hold: numbers, or booleans, text and categories."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NUMBERS = ("floating", "integer")
LABELS = ("boolean", "string", "categorical")


def is_mixed(X: Any) -> bool:
    """Whether X is a DataFrame with a column whose dtype is not a numeric one of numpy."""
    return isinstance(X, pd.DataFrame) and not all(
        isinstance(dtype, pd.SparseDtype) or (isinstance(dtype, np.dtype) and dtype.kind in "iufc")
        for dtype in X.dtypes
    )


def has_labels(X: Any) -> bool:
    """Whether X is a DataFrame with a column of booleans, text or categories."""
    return isinstance(X, pd.DataFrame) and any(
        not isinstance(column.dtype, pd.SparseDtype)
        and pd.api.types.infer_dtype(column, skipna=True) in LABELS
        for _, column in X.items()
    )


def known_cells(column: pd.Series, missing: Any) -> NDArray:
    """Return the mask of known values: not NaN, None or NA, nor the placeholder of these."""
    known = column.notna().to_numpy(dtype=bool, copy=True)
    # 0 and 1 are not False and True.
    if pd.isna(missing) or column.dtype.kind == "b":
        return known
    dtype = getattr(column.dtype, "numpy_dtype", column.dtype)
    if not (isinstance(dtype, np.dtype) and dtype.kind in "iuf"):
        known[known] = [
            not (value == missing and _is_truth(value) == _is_truth(missing))
            for value in column[known].astype(object)
        ]
    elif isinstance(missing, Real) and not _is_truth(missing):
        placeholder = dtype.type(missing) if dtype.kind == "f" else missing
        known[known] = column[known].to_numpy(dtype=dtype) != placeholder
    return known


def _is_truth(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


def kind_of(column: pd.Series, known: NDArray) -> str:
    """Return the kind of a column's values: one of `NUMBERS` or `LABELS`, or 'empty'."""
    if str(column.dtype) == "null[pyarrow]":
        return "empty"
    kind = pd.api.types.infer_dtype(column[known], skipna=True)
    kind = "floating" if kind == "mixed-integer-float" else kind
    if kind in (*NUMBERS, *LABELS, "empty") and not isinstance(column.dtype, pd.SparseDtype):
        return kind
    raise TypeError(
        f"Column {str(column.name)!r} of X holds {types_of(column[known])}, which is not "
        "supported; convert it to numbers, text or categories, or drop it."
    )


def types_of(column: pd.Series) -> str:
    """Return the names of the types of a column's values."""
    names = (
        {type(value).__name__ for value in column}
        if pd.api.types.is_object_dtype(column)
        else set()
    )
    return " and ".join(sorted(names)) or str(column.dtype)


def codes_of(column: pd.Series, levels: list) -> NDArray:
    """Return the index of each value among the levels, -1 if it is none of them."""
    return pd.Index(levels, dtype=object).get_indexer(column.astype(object).to_numpy())
