"""Bad input: sentences that name the column and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE = 4096  # rows that are looked at together


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
    elif isinstance(X, (np.ndarray, list, tuple)):
        array = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object)
        if array.ndim == 2:
            for j in range(array.shape[1]):
                yield str(j), array[:, j]


def known_rows(X: NDArray, weight: NDArray) -> tuple[NDArray, NDArray]:
    """Drop rows of weight 0 or with nothing observed, and bring weights into (0, 1)."""
    blank = np.concatenate([np.isnan(X[piece]).all(axis=1) for piece in slices(len(X), PIECE)])
    keep = (weight > 0) & ~blank
    if keep.sum() < 2:
        raise ValueError(
            f"X has n_samples = {keep.sum()} with a weight above 0 and an observed value, while a "
            "minimum of 2 is required; pass more rows."
        )
    if not keep.all():
        X, weight = X[keep], weight[keep]
    # A power of two changes no bit, so that weights remain repetitions.
    return X, np.ldexp(weight, -np.frexp(weight.max())[1])


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
