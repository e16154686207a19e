"""Bad input: sentences that name the column and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from skae._sklearn import _check_sample_weight


def column_name(j: int, names: NDArray | None) -> str:
    """Return how to speak of a column: by its name if it has one."""
    return str(j) if names is None else repr(str(names[j]))


def what_is_wrong(X: Any) -> str | None:
    """Return a sentence about the first column of a table that is text or infinite, if any."""
    for name, column in _columns(X):
        if np.iscomplexobj(column):
            continue
        try:
            values = np.asarray(column, dtype=np.float64)
        except (TypeError, ValueError):
            text = next((v for v in np.asarray(column, dtype=object) if isinstance(v, str)), None)
            if text is None:
                continue
            return (
                f"Column {name} of X holds text, such as {text!r}; encode it, for instance with "
                "sklearn.preprocessing.OneHotEncoder, or drop it."
            )
        infinite = np.flatnonzero(np.isinf(values))
        if len(infinite):
            return (
                f"Column {name} of X holds infinity (row {infinite[0]}); replace it by NaN, which "
                "stands for a missing value, or drop the row."
            )
    return None


def _columns(X: Any) -> Iterator[tuple[str, Any]]:
    if hasattr(X, "columns") and hasattr(X, "iloc"):
        for j, name in enumerate(X.columns):
            yield repr(str(name)), X.iloc[:, j]
    elif sparse.issparse(X):
        columns = X.tocsc()
        for j in range(X.shape[1]):
            yield str(j), columns[:, [j]].toarray().ravel()
    elif isinstance(X, (np.ndarray, list, tuple)):
        array = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object)
        if array.ndim == 2:
            for j in range(array.shape[1]):
                yield str(j), array[:, j]


def weights(sample_weight: ArrayLike | None, n_rows: int) -> NDArray:
    """Return the weight of each row, in float64."""
    return _check_sample_weight(
        sample_weight, np.empty((n_rows, 1)), dtype=np.float64, ensure_non_negative=True
    )


def finite(result: NDArray, name: str) -> NDArray:
    """Refuse to return anything that is not finite."""
    if not np.isfinite(result).all():
        row = np.flatnonzero(~np.isfinite(result).reshape(len(result), -1).all(axis=1))[0]
        raise ValueError(
            f"Row {row} of {name} is so far from the training rows that its result overflows "
            f"{result.dtype}; remove it or check its units."
        )
    return result


def slices(n_rows: int, size: int) -> Iterator[slice]:
    """Cut ``range(n_rows)`` into pieces of at most `size` rows."""
    return (slice(start, start + size) for start in range(0, n_rows, size))
