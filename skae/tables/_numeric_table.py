"""Numeric arrays, and DataFrames of numbers, as arrays of floats."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skae._numeric_input import as_table, check_restorable
from skae._schema import Check, integer, persistent
from skae._sklearn import MissingValues
from skae._sklearn_types import BaseEstimator
from skae._validation import check_sample_weight, rescale_weights
from skae.data import read_source
from skae.tables._column_groups import ColumnGroups


class EncodedTable(NamedTuple):
    """A table as an array.

    Attributes
    ----------
    given : {array-like, DataFrame}
        The table as it was passed.
    frame : {array-like, DataFrame}
        The same, as a DataFrame of pandas if it was one of another library.
    X : ndarray of shape (n, d)
        The encoded columns.
    missing : ndarray of shape (n, d)
        Mask of the missing values.
    """

    given: Any
    frame: Any
    X: NDArray
    missing: NDArray


def positive_weights(sample_weight: ArrayLike | None, n: int) -> tuple[NDArray, NDArray]:
    """Return the mask of the samples with a positive weight, and their weights."""
    weight = rescale_weights(check_sample_weight(sample_weight, n))
    some = weight > np.finfo(np.float32).tiny
    return some, weight[some]


@persistent
class NumericTable(BaseEstimator):
    """Encoder of arrays, and of DataFrames of numpy's numbers.

    Parameters
    ----------
    missing_values : object
        Placeholder of a missing value, in addition to NaN.

    Attributes
    ----------
    n_columns_ : int
        Number of columns.
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {"n_columns_": integer(1)}
    _parameter_constraints: ClassVar[dict[str, list]] = {"missing_values": [MissingValues()]}
    measures = ("n_cells", "rmse", "rmse_of_means", "coverage")  # of `over_impute`

    def __init__(self, missing_values: Any):
        self.missing_values = missing_values

    def fit(
        self, given: Any, estimator: Any, sample_weight: ArrayLike | None
    ) -> tuple[EncodedTable, NDArray]:
        """Learn from a table; return its samples with a positive weight, and these weights."""
        table = self.encode(given, estimator, reset=True)
        self.n_columns_ = table.X.shape[1]
        some, weight = positive_weights(sample_weight, len(table.X))
        return table._replace(X=table.X[some], missing=table.missing[some]), weight

    @property
    def groups(self) -> ColumnGroups:
        """Groups of the encoded columns."""
        return ColumnGroups(np.arange(self.n_columns_))

    @property
    def is_category(self) -> NDArray:
        """Mask of the encoded columns that stand for categories."""
        return np.zeros(self.n_columns_, dtype=bool)

    is_integer = is_category

    @property
    def placeholder(self) -> Any:
        """Number that stands for a missing value in a numeric row."""
        return self.missing_values if isinstance(self.missing_values, Real) else np.nan

    def encode(self, given: Any, estimator: Any, *, reset: bool = False) -> EncodedTable:
        """Validate and encode a table, as `estimator` got it."""
        frame = as_table(given)
        check_restorable(frame, self.missing_values)
        X = read_source(estimator, frame, reset=reset, sparse_too=False)[:]
        missing = np.isnan(X)
        if not pd.isna(self.missing_values):
            missing |= self.missing_values == X
        return EncodedTable(given, frame, X, missing)

    def decode(self, table: EncodedTable, values: NDArray, kept: NDArray) -> Any:
        """Return the columns kept, with values, (n, d), in place of missing ones."""
        return np.where(table.missing, values, table.X)[:, kept]

    def append(self, filled: Any, indicators: NDArray, names: NDArray) -> Any:
        """Return a decoded table with the columns of an indicator."""
        return np.hstack([filled, indicators.astype(filled.dtype)])

    def in_library_of(self, given: Any, filled: Any) -> Any:
        """Return a decoded table in the library of the one that was passed."""
        return filled

    def combine(self, given: Any, tables: list) -> Any:
        """Return several decoded tables at once."""
        return np.array(tables)
