"""Conversion of user input to numbers: masks, missing values, times and text."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from numbers import Rational
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from skae._dataframes import to_pandas

LARGE = 2**53  # up to here, float64 represents every integer
TIMES = (date, time, timedelta, np.datetime64, np.timedelta64, pd.Period, type(pd.NaT))
TEXT = (str, bytes)
EXACT: tuple[Any, ...] = (Rational, Decimal)
COMPLEX = (complex, np.complexfloating)


def as_table(X: Any, name: str = "X") -> Any:
    """Return an array-like as an array with masked cells missing, a DataFrame as one of pandas.

    Sparse matrices are returned unchanged, and so are inputs that scikit-learn refuses.
    """
    X = to_pandas(X)
    if is_in_parts(X):
        raise ValueError(
            f"{name} is a {type(X).__name__} of 2-D arrays, the parts of a table, which is not "
            f"accepted here; pass one array, such as numpy.concatenate({name})."
        )
    if isinstance(X, (list, tuple)):
        try:
            # Converted to objects, arrays of times would become integers.
            rows = [list(row) if _is_of_times(row) else row for row in X]
            table: Any = np.ma.array(rows, dtype=object)
        except ValueError:
            return X
        if table.ndim == 1 and any(isinstance(row, (list, tuple, np.ndarray)) for row in X):
            return X  # rows differ in length
        X = table
    elif hasattr(X, "__array__") and not isinstance(X, (np.ndarray, pd.DataFrame, pd.Series)):
        X = _as_array(X, name)
    if not isinstance(X, np.ndarray):
        return X
    if X.dtype.kind == "V" and not is_half(X.dtype):
        raise ValueError(
            f"{name} is a structured array; pass pandas.DataFrame({name}), or plain numbers."
            if X.dtype.names
            else f"{name} has dtype {X.dtype}, which is not of numbers; if they are bfloat16, as "
            f"numpy.save writes them, pass {name}.view(ml_dtypes.bfloat16)."
        )
    masked = np.ma.getmask(X)  # one value if there is no mask: X may be larger than memory
    X = np.ma.getdata(X) if isinstance(X, np.ma.MaskedArray) else X
    if X.dtype.kind == "O":
        masked = masked | np.asarray(_is_masked(X), dtype=bool)
    if not np.any(masked):
        return X
    X = X.astype(X.dtype if X.dtype.kind in "fmM" else object)
    X[masked] = {"f": np.nan, "O": None}.get(X.dtype.kind, "NaT")
    return X


def _as_array(X: Any, name: str) -> NDArray:
    try:
        return np.asarray(X)
    except TypeError as error:
        raise TypeError(
            f"{name} is a {type(X).__name__} that cannot be converted to an array of numpy "
            f"({error}); convert it, for example to float32 in main memory."
        ) from error


def is_in_parts(X: Any) -> bool:
    """Return whether X is a list of 2-D arrays, or of other tables, not of rows."""
    parts = X if isinstance(X, (list, tuple)) else ()
    return any(getattr(part, "ndim", None) == 2 for part in parts)


def is_half(dtype: np.dtype) -> bool:
    """Return whether a dtype is float16, or the bfloat16 of the package ml_dtypes."""
    return dtype.itemsize == 2 and (dtype.kind == "f" or dtype.name == "bfloat16")


def is_plain(X: Any) -> bool:
    """Return whether X is an array or a memory map of numbers, none of which can be masked."""
    return type(X) in (np.ndarray, np.memmap) and (X.dtype.kind in "biuf" or is_half(X.dtype))


def _is_of_times(row: Any) -> bool:
    return getattr(getattr(row, "dtype", None), "kind", "O") in "mM" and np.ndim(row) > 0


_is_masked = np.frompyfunc(lambda value: value is np.ma.masked, 1, 1)


def as_numeric(X: Any, name: str = "X") -> Any:
    """Return X with numeric values only, and NaN for missing values.

    Parameters
    ----------
    X : {array-like, sparse matrix, DataFrame}
        Masked cells, None, NA and NaT are missing values.
    name : str
        Name of X in messages.

    Returns
    -------
    X : {ndarray, sparse matrix, DataFrame}
        X itself if it is numeric, in float32 if it is an array in half precision; scikit-learn
        validates it.

    Raises
    ------
    TypeError, ValueError
        If a column contains anything else; the message names it and suggests a remedy.
    """
    X = as_table(X, name)
    if isinstance(X, np.ndarray) and is_half(X.dtype):
        return X.astype(np.float32)
    if isinstance(X, pd.DataFrame):
        if all(map(_is_numeric, X.dtypes)):
            return X
        converted = {
            j: column if _is_numeric(column.dtype) else _converted(column, where)
            for j, (where, column) in enumerate(columns_of(X, name))
        }
        return pd.DataFrame(converted, index=X.index).set_axis(X.columns, axis=1)
    if isinstance(X, pd.Series):
        return X if _is_numeric(X.dtype) else _converted(X, name)
    if sparse.issparse(X) and X.dtype.kind == "c":
        raise _wrong(1j, name)
    if not isinstance(X, np.ndarray) or _is_numeric(X.dtype):
        return X
    columns = [_converted(column, where) for where, column in columns_of(X, name)]
    return np.stack(columns, axis=-1).reshape(X.shape) if columns else X


def targets(y: Any) -> Any:
    """Return targets; raise for times, complex numbers, and masked or missing values."""
    table = as_table(y, "y")
    table = np.asarray(table) if isinstance(table, pd.Series) else table
    for where, column in columns_of(table, "y"):
        check_kind(column, where)
        if column.dtype.kind == "O" and pd.isna(column).any():
            raise ValueError(f"{where} contains NaN, or another missing value; drop those rows.")
    return table if isinstance(y, np.ma.MaskedArray) else y


def columns_of(X: Any, name: str = "X") -> Iterator[tuple[str, Any]]:
    """Yield (description, column) for each column of a table."""
    if isinstance(X, pd.DataFrame):
        for j, label in enumerate(X.columns):
            yield f"Column {str(label)!r} of {name}", X.iloc[:, j]
    elif sparse.issparse(X):
        columns = X.tocsc()
        for j in range(X.shape[1]):
            yield f"Column {j} of {name}", columns[:, [j]].toarray().ravel()
    elif isinstance(X, np.ndarray) and X.ndim == 2:
        for j in range(X.shape[1]):
            yield f"Column {j} of {name}", X[:, j]
    elif isinstance(X, np.ndarray) and X.ndim == 1:
        yield name, X


def _is_numeric(dtype: Any) -> bool:
    """Return whether scikit-learn accepts a dtype as numeric without conversion."""
    if isinstance(dtype, pd.SparseDtype):
        dtype = dtype.subtype
    return pd.api.types.is_numeric_dtype(dtype) and dtype.kind in "biuf"


def _converted(column: Any, where: str) -> NDArray:
    """Return a column in float64, with NaN for missing values, or raise."""
    check_kind(column, where)
    values = np.asarray(column, dtype=object)
    observed = ~np.asarray(pd.isna(values), dtype=bool)
    result = np.full(len(values), np.nan)
    try:
        result[observed] = values[observed].astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        for value in values[observed]:
            _check_number(value, where)
        raise
    return result


def check_kind(column: Any, where: str) -> None:
    """Raise for times, which would become numbers in an arbitrary unit, and complex numbers.

    Parameters
    ----------
    column : {ndarray, Series} of one dimension
    where : str
        Description of the column in messages.
    """
    kinds: tuple[Any, ...] = (*TIMES, *COMPLEX)
    if column.dtype.kind in "mMc":
        kinds = (object,)
    elif column.dtype.kind != "O":
        return
    for value in column:
        if isinstance(value, kinds) and not pd.isna(value):
            raise _wrong(value, where)
    if kinds == (object,) and len(column):  # NaT alone
        raise _wrong(next(iter(column)), where)


def _check_number(value: Any, where: str) -> None:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise _wrong(value, where, error) from error


def _wrong(value: Any, where: str, error: Exception | None = None) -> Exception:
    """Return the error for a value that is not a number, with a remedy."""
    if isinstance(value, TIMES):
        return TypeError(
            f"{where} holds times, such as {value}; convert it to a number, such as of days, or "
            "drop it."
        )
    if isinstance(value, COMPLEX):
        return ValueError(
            f"Complex data not supported: {where} holds complex numbers, such as {value}; pass "
            "their real and imaginary parts as two columns."
        )
    if isinstance(value, TEXT):
        return ValueError(
            f"{where} holds text, such as {value[:]!r}; encode it, for instance with "
            "sklearn.preprocessing.OneHotEncoder, or drop it."
        )
    kind = TypeError if isinstance(error, TypeError) else ValueError
    shown = " ".join(reprlib.repr(value).split())
    return kind(
        f"{where} holds a value that is not a number: {shown} ({error}); convert or drop it."
    )


def check_names(X: Any) -> None:
    """Raise ValueError for duplicate column names, which scikit-learn does not check."""
    if isinstance(X, pd.DataFrame) and not X.columns.is_unique:
        name = X.columns[X.columns.duplicated()][0]
        raise ValueError(f"X has several columns named {str(name)!r}; rename or drop them.")


def infinity_in(X: Any, name: str = "X") -> str | None:
    """Return a message about the first column that contains infinity, if any."""
    for where, column in columns_of(X, name):
        rows = np.flatnonzero(np.isinf(np.asarray(column, dtype=np.float64)))
        if len(rows):
            return (
                f"{where} holds infinity (row {rows[0]}); replace it by NaN, which marks a missing "
                "value, or drop the row."
            )
    return None


def check_restorable(X: Any, missing: Any) -> None:
    """Raise ValueError if float64 cannot represent all values of a table exactly.

    Parameters
    ----------
    X : object
        Output of `as_table`.
    missing : object
        Marker of missing values, which float64 need not represent.

    Raises
    ------
    ValueError
        If X contains text, or numbers that float64 cannot represent.
    """
    for where, column in columns_of(X):
        values = np.asarray(column)
        if text := next(filter(_is_text, values if values.dtype.kind in "USO" else ()), None):
            remedy = (
                "but fit saw numbers; convert it, for instance with pandas.to_numeric"
                if isinstance(X, pd.DataFrame)
                else "which is accepted in a pandas DataFrame only; pass one, or drop the column"
            )
            raise ValueError(f"{where} holds text, such as {text[:]!r}, {remedy}.")
        for value in values[_may_round(values)].tolist():
            if not _is_exact(value) and value != missing:
                raise ValueError(
                    f"{where} holds {value}, which float64 cannot represent, so that it would not "
                    f"stay unchanged; {_remedy(value)}, or drop the column."
                )


def _is_text(value: Any) -> bool:
    return isinstance(value, TEXT)


def _may_round(values: NDArray) -> NDArray:
    """Return which values float64 may not represent exactly."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "O":
        return np.array([isinstance(v, EXACT) and v == v and abs(v) > LARGE for v in values], bool)
    if kind in "iu" and size == 8:
        return (values > LARGE) | (values < -LARGE if kind == "i" else False)
    if kind == "f" and size > 8:
        with np.errstate(over="ignore"):
            return np.isfinite(values) & (values != values.astype(np.float64))
    return np.zeros(len(values), dtype=bool)


def _is_exact(value: Any) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def _remedy(value: Any) -> str:
    if not isinstance(value, int):
        return "convert it to float64"
    dtype = "'Int64'" if -(2**63) <= value < 2**63 else "object"
    return f"pass a pandas DataFrame in which its dtype is {dtype}"
