"""Conversion of DataFrames of other libraries, such as polars, to pandas and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

LIBRARIES = ("polars", "pyarrow")  # whose DataFrames can be made from columns


def _narwhals_frame(X: Any) -> Any:
    """Return the narwhals DataFrame of one from a library other than pandas, else None."""
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


def infer_objects(table: Any) -> Any:
    """Return a DataFrame or Series whose objects have a dtype of their own if there is one.

    Before pandas 3.1, integers beyond float64 are an error where dtypes are inferred.
    """
    try:
        return table.infer_objects()
    except OverflowError:
        return table


def to_pandas(X: Any) -> Any:
    """Return a DataFrame of another library as one of pandas, anything else unchanged."""
    if (frame := _narwhals_frame(X)) is None:
        return X
    return pd.DataFrame({name: _pandas_column(frame[name]) for name in frame.columns})


def _pandas_column(series: Any) -> Any:
    """Return a column in a dtype of pandas that represents its values and missing values.

    The conversions of the libraries need pyarrow, or turn integers into floats.
    """
    import narwhals.stable.v2 as nw

    dtype = series.dtype
    if dtype.is_float():
        return series.to_numpy()
    values, missing = series.to_list(), series.is_null().to_numpy()
    if dtype.is_integer() and hasattr(pd, f"{dtype}Dtype"):  # excludes 128 bits
        integers = np.array([value or 0 for value in values], dtype=str(dtype).lower())
        return pd.arrays.IntegerArray(integers, missing.copy())
    if dtype == nw.Boolean:
        return pd.arrays.BooleanArray(np.array(values, dtype=bool), missing.copy())
    if isinstance(dtype, nw.Enum):
        return pd.Categorical(values, categories=list(dtype.categories))
    return pd.Series(values, dtype=object)


def in_library_of(X: Any, frame: pd.DataFrame) -> Any:
    """Return a DataFrame of pandas in the library of X, with X's dtypes where they fit.

    Parameters
    ----------
    X : DataFrame
        DataFrame of any library, from which `frame` was made.
    frame : DataFrame of pandas
        Columns of ``to_pandas(X)`` with imputed values, and possibly further columns.
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


def library_of(X: Any) -> str | None:
    """Return the name of the library of a DataFrame, if it is one of `LIBRARIES`."""
    frame = _narwhals_frame(X)
    name = None if frame is None else str(frame.implementation)
    return name if name in LIBRARIES else None


def in_library(library: str | None, frame: pd.DataFrame) -> Any:
    """Return a DataFrame of pandas in a library, given its name as by `library_of`.

    Numbers, booleans and categories keep their dtypes; other columns are what their values are.
    """
    if library is None:
        return frame
    import narwhals.stable.v2 as nw

    backend: Any = library
    columns = []
    for name, column in frame.items():
        dtype: Any = None
        if isinstance(column.dtype, pd.CategoricalDtype):
            dtype = nw.Enum(column.cat.categories.tolist())
        elif pd.api.types.is_numeric_dtype(column.dtype):  # booleans included
            dtype = getattr(nw, str(column.dtype).capitalize().replace("Uint", "UInt"))
        values = column.astype(object).where(column.notna(), None).tolist()
        columns.append(nw.new_series(str(name), values, dtype, backend=backend))
    return columns[0].to_frame().with_columns(*columns[1:]).to_native()


def with_missing(X: Any, missing: NDArray) -> Any:
    """Return a DataFrame of any library in which some cells are set to missing."""
    if (frame := _narwhals_frame(X)) is None:
        return X.mask(missing)
    import narwhals.stable.v2 as nw

    library = {"backend": frame.implementation}
    columns = []
    for name, is_missing in zip(frame.columns, missing.T.tolist(), strict=True):
        other = f"not {name}"
        mask = nw.new_series(other, is_missing, nw.Boolean, **library)
        kept = nw.when(~nw.col(other)).then(nw.col(name))  # null otherwise
        columns.append(frame.select(name).with_columns(mask).select(kept.alias(name))[name])
    return frame.select(*columns).to_native()
