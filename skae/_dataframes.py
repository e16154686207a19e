"""DataFrames of other libraries, such as polars: as DataFrames of pandas, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse


def _narwhals_frame(X: Any) -> Any:
    """Return narwhals's view of a DataFrame of another library than pandas, else None."""
    if isinstance(X, (np.ndarray, list, tuple, pd.DataFrame, pd.Series)) or sparse.issparse(X):
        return None
    import narwhals.stable.v2 as nw  # a dependency of scikit-learn

    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        raise TypeError(
            f"X is a {type(X).__name__}, which holds no values yet; pass the DataFrame that its "
            "collect() or compute() returns."
        )
    return frame if isinstance(frame, nw.DataFrame) else None


def to_pandas(X: Any) -> Any:
    """Return a DataFrame of another library as one of pandas, anything else as it is."""
    if (frame := _narwhals_frame(X)) is None:
        return X
    return pd.DataFrame({name: _pandas_column(frame[name]) for name in frame.columns})


def _pandas_column(series: Any) -> Any:
    """Return a column in a dtype of pandas that holds its values and what is missing.

    The libraries' own conversions need pyarrow, or make floats of integers.
    """
    import narwhals.stable.v2 as nw

    dtype = series.dtype
    if dtype.is_float():
        return series.to_numpy()
    values, missing = series.to_list(), series.is_null().to_numpy()
    if dtype.is_integer() and hasattr(pd, f"{dtype}Dtype"):  # not of 128 bits
        known = np.array([value or 0 for value in values], dtype=str(dtype).lower())
        return pd.arrays.IntegerArray(known, missing.copy())
    if dtype == nw.Boolean:
        return pd.arrays.BooleanArray(np.array(values, dtype=bool), missing.copy())
    if isinstance(dtype, nw.Enum):
        return pd.Categorical(values, categories=list(dtype.categories))
    return pd.Series(values, dtype=object)


def in_library_of(X: Any, frame: pd.DataFrame) -> Any:
    """Return a DataFrame of pandas in the library of X, with X's dtypes where they still fit.

    Parameters
    ----------
    X : DataFrame
        Of any library; what `frame` was made from.
    frame : DataFrame of pandas
        Columns of ``to_pandas(X)`` with values filled in, and perhaps others.
    """
    if (original := _narwhals_frame(X)) is None:
        return frame
    import narwhals.stable.v2 as nw

    schema, library = original.schema, {"backend": original.implementation}
    before = to_pandas(original.head(0).to_native()).dtypes
    columns = []
    for name, column in frame.items():
        kept = name in schema and column.dtype == before[name] and schema[name] != nw.Unknown
        values = column.astype(object).where(column.notna(), None).tolist()
        columns.append(nw.new_series(name, values, schema[name] if kept else None, **library))
    return original.select(*columns).to_native()


def with_missing(X: Any, missing: NDArray) -> Any:
    """Return a DataFrame of any library with some cells missing, the others as they are."""
    if (frame := _narwhals_frame(X)) is None:
        return X.mask(missing)
    import narwhals.stable.v2 as nw

    library = {"backend": frame.implementation}
    columns = []
    for name, hidden in zip(frame.columns, missing.T.tolist(), strict=True):
        other = f"not {name}"
        mask = nw.new_series(other, hidden, nw.Boolean, **library)
        seen = nw.when(~nw.col(other)).then(nw.col(name))  # null otherwise
        columns.append(frame.select(name).with_columns(mask).select(seen.alias(name))[name])
    return frame.select(*columns).to_native()
