"""Targets as further columns of a table, which an imputer sees next to the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import column_or_1d, get_tags
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_consistent_length

from skae._numeric_input import targets
from skae._validation import binary_exponents, check_array

MAX_EXPONENT = 50  # binary, up to which squares stay well inside float32's range


def check_target(pooled: Any, X: Any, y: Any) -> NDArray:
    """Return the targets of a `PooledEstimator`, validated."""
    y = check_array(targets(y), ensure_2d=False, dtype=None, input_name="y", estimator=pooled)
    check_consistent_length(X, y)
    if not get_tags(pooled).target_tags.multi_output:
        if y.ndim == 2 and y.shape[1] > 1:
            raise ValueError(
                f"y should be a 1d array, but has {y.shape[1]} columns; for several targets, "
                "use sklearn.multioutput around the PooledEstimator."
            )
        y = column_or_1d(y, warn=True)
    if is_classifier(pooled.estimator):
        kind = type_of_target(y, input_name="y")
        if kind not in ("binary", "multiclass"):
            raise ValueError(f"Unknown label type: {kind}; a classifier needs classes in y.")
    return y


def encode_target(estimator: Any, y: NDArray) -> NDArray:
    """Return targets as columns of numbers, (n, k).

    Targets of a regressor are as they are, or in other units if their squares would overflow or
    vanish; the classes of a classifier are indicators, of all but the first class.

    Raises
    ------
    TypeError
        If the estimator is neither a classifier nor a regressor.
    """
    if is_classifier(estimator):
        return (y[:, None] == np.unique(y)[1:]).astype(np.float64)
    if is_regressor(estimator):
        values = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        power = binary_exponents(values, axis=0)
        return np.ldexp(values, np.where(np.abs(power) > MAX_EXPONENT, -power, 0))
    raise TypeError(
        "PooledEstimator needs a classifier or a regressor, whose outputs have a mean; got a "
        f"{type(estimator).__name__}."
    )


@dataclass(frozen=True)
class TargetColumns:
    """The last columns of the tables that an imputer completes.

    Parameters
    ----------
    n_columns : int
        Their number, possibly 0.
    missing_values : object
        What marks a missing value for the imputer; NaN always does.
    """

    n_columns: int
    missing_values: Any = np.nan

    def append(self, X: Any, values: NDArray) -> Any:
        """Return X with the encoded targets of its samples."""
        missing = self.missing_values
        if isinstance(missing, (int, float)) and (values == missing).any():
            values = values - values.min() + missing + 1
        if not self.n_columns:
            return X
        if not hasattr(X, "iloc"):
            return np.column_stack([X, values.astype(X.dtype)])
        names: list[Any] = [f"target{j}" for j in range(self.n_columns)]
        if not all(isinstance(name, str) for name in X.columns):
            # Names that are not all strings are ignored.
            X = X.set_axis(range(X.shape[1]), axis=1)
            names = list(range(X.shape[1], X.shape[1] + len(names)))
        while set(names) & set(X.columns):
            names = [f"_{name}" for name in names]
        return pd.concat([X, pd.DataFrame(values, index=X.index, columns=names)], axis=1)

    def append_unknown(self, X: Any) -> Any:
        """Return X with missing targets."""
        return self.append(X, np.full((len(X), self.n_columns), np.nan))

    def drop(self, table: Any) -> Any:
        """Return a completed table without the targets."""
        if not hasattr(table, "iloc"):
            table = np.asarray(table)
        columns = slice(None, table.shape[1] - self.n_columns)
        return table.iloc[:, columns] if hasattr(table, "iloc") else table[:, columns]
