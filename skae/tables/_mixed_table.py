"""DataFrames of mixed columns as arrays of floats, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from skae._dataframes import in_library_of
from skae._numeric_input import as_table, check_names, infinity_in
from skae._schema import Check, array, instance, integer, persistent, sequence
from skae._sklearn import MissingValues
from skae._sklearn_types import BaseEstimator
from skae.hyperparameters import POSITIVE_INT, one_of
from skae.tables._column_groups import ColumnGroups
from skae.tables._column_kinds import (
    LABELS,
    NUMBERS,
    codes_of,
    is_mixed,
    kind_of,
    known_cells,
    types_of,
)
from skae.tables._numeric_table import EncodedTable, NumericTable, positive_weights

MAX_CATEGORIES = 50  # of a column that are encoded, the most frequent ones
NULLABLE = {"bool": "boolean"} | {
    f"{name}{bits}".lower(): f"{name}{bits}" for name in ("Int", "UInt") for bits in (8, 16, 32, 64)
}
HANDLE_UNKNOWN = one_of("error", "ignore")


def encoding_of(X: Any, missing_values: Any) -> NumericTable | MixedTable:
    """Return the unfitted encoder for a table, as `as_table` returns it."""
    if is_mixed(X) and len(X):
        return MixedTable(missing_values, MAX_CATEGORIES)
    return NumericTable(missing_values)


@persistent
class MixedTable(BaseEstimator):
    """Encoder of DataFrames with columns of numbers, booleans, text and categories.

    A number is one encoded column. Categories, including booleans and text, are one column each,
    the most frequent first: 1 for the category of the row, 0 elsewhere. All of them are NaN if the
    value is missing. A category that is not among the most frequent, or that only the dtype
    declares, is encoded by zeros.

    Parameters
    ----------
    missing_values : object
        Placeholder of a missing value, in addition to NaN, None and NA.
    max_categories : int
        Number of categories of a column that are encoded, at most.
    handle_unknown : {'error', 'ignore'}, default='error'
        Whether a category that was not in ``fit`` is refused, or encoded by zeros.

    Attributes
    ----------
    kinds_, dtypes_ : list of str
        The `kind_of` each column, and its dtype.
    levels_ : list of list
        Categories of each column, in their order; empty for numbers.
    encoded_levels_ : list of list of int
        Indices of the categories with an encoded column, the most frequent first.
    declared_ : list
        For columns of category dtype, the dtype of the categories and whether they are ordered.
    first_ : ndarray of shape (n_columns,)
        First encoded column of each column.
    group_start_ : ndarray of shape (n_encoded,)
        For each encoded column, the first one of the same column, see `ColumnGroups`.
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {
        "kinds_": sequence(lambda value, _: value in (*NUMBERS, *LABELS, "empty"), list),
        "dtypes_": sequence(lambda value, _: _is_dtype(value), list),
        "levels_": sequence(instance(list), list),
        "encoded_levels_": sequence(sequence(integer(), list), list),
        "declared_": sequence(lambda value, _: value is None or _is_declared(value), list),
        "first_": array("i", None),
        "group_start_": array("i", None),
    }
    _parameter_constraints: ClassVar[dict[str, list]] = {
        "missing_values": [MissingValues()],
        "max_categories": [POSITIVE_INT],
        "handle_unknown": [HANDLE_UNKNOWN],
    }
    measures = (*NumericTable.measures, "accuracy", "accuracy_of_modes")  # of `over_impute`
    placeholder = np.nan

    def __init__(self, missing_values: Any, max_categories: int, handle_unknown: str = "error"):
        self.missing_values = missing_values
        self.max_categories = max_categories
        self.handle_unknown = handle_unknown

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "kinds_" not in state:
            return
        levels, shown = state["levels_"], state["encoded_levels_"]
        n = len(state["kinds_"])
        lists = ("dtypes_", "levels_", "encoded_levels_", "declared_")
        widths = [max(1, len(some)) for some in shown]
        first = np.cumsum([0, *widths[:-1]])
        if not (
            all(len(state[name]) == n for name in lists)
            and all(_are_levels(known) for known in levels)
            and all(
                len(set(some)) == len(some) and all(k < len(known) for k in some)
                for known, some in zip(levels, shown, strict=True)
            )
            and np.array_equal(state["first_"], first)
            and np.array_equal(state["group_start_"], np.repeat(first, widths))
        ):
            raise ValueError("the columns of its categories do not belong together")
        table = cls(state["missing_values"], state["max_categories"])
        vars(table).update(state)
        try:
            table.restore(np.array([[0.0], [np.nan]]).repeat(sum(widths), axis=1))
        except (TypeError, ValueError, OverflowError, AttributeError):
            raise ValueError("the dtypes of its columns do not hold their values") from None

    def fit(
        self, given: Any, estimator: Any, sample_weight: ArrayLike | None
    ) -> tuple[EncodedTable, NDArray]:
        """Learn from a table; return its samples with a positive weight, and these weights."""
        frame = as_table(given)
        some, weight = positive_weights(sample_weight, len(frame))
        self._fit_columns(frame[some], weight)
        table = self.encode(frame[some], estimator, reset=True)
        return table._replace(given=given), weight

    def _fit_columns(self, frame: pd.DataFrame, weight: NDArray) -> Self:
        """Learn the kinds and the categories of the columns."""
        self.kinds_, self.dtypes_ = [], []
        self.levels_: list[list] = []
        self.encoded_levels_: list[list[int]] = []
        self.declared_: list[tuple[str, bool] | None] = []
        for _, column in frame.items():
            known = known_cells(column, self.missing_values)
            kind, dtype, declared = kind_of(column, known), column.dtype, None
            levels: list = []
            if isinstance(dtype, pd.CategoricalDtype):
                levels = dtype.categories.tolist()
                declared = (str(dtype.categories.dtype), bool(dtype.ordered))
            elif kind == "boolean":
                levels = [False, True]
            elif kind == "string":
                levels = sorted(set(column[known]))
            counts = np.zeros(len(levels))
            if levels:
                np.add.at(counts, codes_of(column[known], levels), weight[known])
            order = np.argsort(-counts, kind="stable")[: self.max_categories]
            self.kinds_.append(kind)
            self.dtypes_.append(str(dtype))
            self.levels_.append(levels)
            self.encoded_levels_.append(order[counts[order] > np.finfo(np.float32).tiny].tolist())
            self.declared_.append(declared)
        widths = [max(1, len(shown)) for shown in self.encoded_levels_]
        self.first_ = np.cumsum([0, *widths[:-1]])
        self.group_start_ = np.repeat(self.first_, widths)
        return self

    @property
    def groups(self) -> ColumnGroups:
        """Groups of the encoded columns."""
        return ColumnGroups(self.group_start_)

    @property
    def is_category(self) -> NDArray:
        """Mask of the encoded columns that stand for categories, or for nothing known."""
        return self.groups.spread(np.array([kind not in NUMBERS for kind in self.kinds_], bool))

    @property
    def is_integer(self) -> NDArray:
        """Mask of the encoded columns of integers."""
        return self.groups.spread(np.array([kind == "integer" for kind in self.kinds_], bool))

    def encode(self, given: Any, estimator: Any, *, reset: bool = False) -> EncodedTable:
        """Validate and encode a table, as `estimator` got it."""
        frame = as_table(given)
        if not isinstance(frame, pd.DataFrame) and not self.is_category.any():
            return NumericTable(self.missing_values).encode(given, estimator)
        if not isinstance(frame, pd.DataFrame):
            raise TypeError(
                f"{type(estimator).__name__} was fitted to a DataFrame of mixed columns, but got "
                f"{type(frame).__name__}; pass a DataFrame with the same columns."
            )
        check_names(frame)
        validate_data(estimator, frame, reset=reset, skip_check_array=True)
        encoded = self._encode(frame)
        X = check_array(encoded, ensure_all_finite="allow-nan", input_name="X")
        return EncodedTable(given, frame, X, np.isnan(X))

    def _encode(self, frame: pd.DataFrame) -> NDArray:
        """Return a DataFrame of the columns of ``fit`` as an array, (n, n_encoded)."""
        numbers = self.numbers_in(frame)
        encoded = np.full((len(frame), len(self.group_start_)), np.nan)
        for j, first in enumerate(self.first_):
            known, shown = ~np.isnan(numbers[:, j]), self.encoded_levels_[j]
            if self.kinds_[j] in NUMBERS:
                encoded[known, first] = numbers[known, j]
            elif not shown:  # without any known value in fit
                encoded[known, first] = 0
            else:
                encoded[known, first : first + len(shown)] = numbers[known, j, None] == shown
        return encoded

    def numbers_in(self, frame: pd.DataFrame) -> NDArray:
        """Return the numbers of a DataFrame, and the indices of its categories or -1 if unknown."""
        numbers = np.full(frame.shape, np.nan)
        for j, (name, column) in enumerate(frame.items()):
            known = known_cells(column, self.missing_values)
            if self.kinds_[j] in NUMBERS:
                numbers[known, j] = self._numbers(str(name), column, known)
            elif self.encoded_levels_[j] and known.any():
                kind_of(column, known)
                codes = codes_of(column[known], self.levels_[j])
                if self.handle_unknown == "error" and (codes < 0).any():
                    unseen = column[known][codes < 0].astype(object).iloc[0]
                    raise ValueError(
                        f"Column {str(name)!r} of X holds {unseen!r}, a category that fit did not "
                        "see; replace it by a missing value, or fit to rows that hold it."
                    )
                numbers[known, j] = codes
            else:
                numbers[known, j] = -1
        return numbers

    def _numbers(self, name: str, column: pd.Series, known: NDArray) -> NDArray:
        kind = kind_of(column, known)
        if known.any() and kind not in NUMBERS:
            raise TypeError(
                f"Column {name!r} of X holds {types_of(column[known])}, but held numbers in fit; "
                "convert it, for instance with pandas.to_numeric."
            )
        try:
            values = column[known].to_numpy(dtype=np.float64)
        except OverflowError as error:
            raise ValueError(
                f"Column {name!r} of X holds an integer beyond the largest number of float64; "
                "replace it by a missing value, or drop the column."
            ) from error
        if np.isinf(values).any():
            rows = np.zeros((len(column), 1))
            rows[known, 0] = values
            raise ValueError(infinity_in(pd.DataFrame(rows, columns=[name])))
        return values

    def decode(self, table: EncodedTable, values: NDArray, kept: NDArray) -> pd.DataFrame:
        """Return the columns kept, with values, (n, n_encoded), in place of missing ones.

        Of categories, the one with the largest value is taken. Columns of categories none of which
        is known stay as they are.
        """
        frame = table.frame
        columns = [frame.iloc[:, :0]]
        for j in np.flatnonzero(kept).tolist():
            column = frame.iloc[:, j]
            if self.kinds_[j] in NUMBERS or self.encoded_levels_[j]:
                rows = np.flatnonzero(table.missing[:, self.first_[j]])
                column = self._filled(j, column, rows, self._decoded(j, values[rows]))
            columns.append(column)
        result = pd.concat(columns, axis=1)
        result.columns = frame.columns[kept]
        return result

    def restore(self, values: NDArray) -> pd.DataFrame:
        """Return the table that values, (n, n_encoded), stand for, in the dtypes of ``fit``.

        NaN is a missing value, for which integers and booleans get the nullable dtype.
        """
        return self.from_numbers(self.most_likely(values))

    def most_likely(self, values: NDArray) -> NDArray:
        """Return the numbers, and the indices of the categories with the largest values."""
        numbers = np.full((len(values), len(self.kinds_)), np.nan)
        for j, (first, shown) in enumerate(zip(self.first_, self.encoded_levels_, strict=True)):
            own = values[:, self.group_start_ == first]
            if self.kinds_[j] in NUMBERS:
                numbers[:, j] = own[:, 0]
            elif shown:
                known = ~np.isnan(own).any(axis=1)
                numbers[known, j] = np.array(shown)[own[known].argmax(axis=1)]
        return numbers

    def from_numbers(self, numbers: NDArray) -> pd.DataFrame:
        """Return a table in the dtypes of ``fit`` from what `numbers_in` returns."""
        return pd.concat([self._column(j, own) for j, own in enumerate(numbers.T)], axis=1)

    def _column(self, j: int, numbers: NDArray) -> pd.Series:
        missing = np.isnan(numbers)
        dtype = pd.api.types.pandas_dtype(self._dtype(j))
        if missing.any() and isinstance(dtype, np.dtype) and dtype.kind in "biu":
            dtype = pd.api.types.pandas_dtype(NULLABLE[dtype.name])
        known = np.flatnonzero(~missing)
        own: Any = numbers[known]
        values = own if self.kinds_[j] in NUMBERS else [self.levels_[j][int(k)] for k in own]
        column = pd.Series(self._in_dtype(j, values, dtype), index=known, dtype=dtype)
        return column.reindex(range(len(numbers)))

    def _decoded(self, j: int, values: NDArray) -> Any:
        """Return the numbers of a column, or the categories with the largest values."""
        first, shown = self.first_[j], self.encoded_levels_[j]
        if self.kinds_[j] in NUMBERS:
            return values[:, first]
        return [self.levels_[j][shown[k]] for k in values[:, first:][:, : len(shown)].argmax(1)]

    def names(self, columns: NDArray) -> list[str]:
        """Return the names of the encoded columns, given those of the columns."""
        names = []
        for name, levels, shown in zip(columns, self.levels_, self.encoded_levels_, strict=True):
            names += [f"{name}_{levels[k]}" for k in shown] or [str(name)]
        return names

    def append(self, filled: pd.DataFrame, indicators: NDArray, names: NDArray) -> pd.DataFrame:
        """Return a decoded table with the columns of an indicator."""
        if not len(names):
            return filled
        added = pd.DataFrame(indicators, columns=names, index=filled.index)
        return pd.concat([filled, added], axis=1)

    def in_library_of(self, given: Any, filled: pd.DataFrame) -> Any:
        """Return a decoded table in the library of the one that was passed."""
        return in_library_of(given, filled)

    def combine(self, given: Any, tables: list) -> Any:
        """Return several decoded tables at once."""
        return [in_library_of(given, table) for table in tables]

    def _filled(self, j: int, column: pd.Series, rows: NDArray, values: Any) -> pd.Series:
        """Return a column with values in some rows, in its own dtype or else in that of fit."""
        known = np.ones(len(column), dtype=bool)
        known[rows] = False
        kind = kind_of(column, known)
        same = kind == self.kinds_[j] or {kind, self.kinds_[j]} == set(NUMBERS)
        if kind == "categorical":
            same &= set(values) <= set(column.cat.categories)
        filled = column.copy() if same else column.astype(object)
        filled.iloc[rows] = self._in_dtype(j, values, filled.dtype)
        if same:
            return filled
        if levels := self.levels_[j]:  # 1 may stand for True
            filled.iloc[known] = [levels[code] for code in codes_of(column[known], levels)]
        return filled.astype(self._dtype(j))

    def _in_dtype(self, j: int, values: Any, dtype: Any) -> Any:
        if self.kinds_[j] not in NUMBERS:
            return pd.array(values, dtype=dtype)
        if pd.api.types.is_object_dtype(dtype):
            whole = self.kinds_[j] == "integer"
            numbers = [round(float(value)) if whole else float(value) for value in values]
            return pd.array(numbers, dtype=dtype)
        numpy = getattr(dtype, "numpy_dtype", dtype)
        if numpy.kind == "f":
            info = np.finfo(numpy)
            return pd.array(np.clip(values, info.min, info.max), dtype=dtype)
        bounds = np.iinfo(numpy)
        # 2.0 ** 63 is beyond the largest integer, which no float64 is.
        values = np.clip(np.rint(values), bounds.min, np.nextafter(bounds.max + 1.0, 0))
        return pd.array(values.astype(numpy), dtype=dtype)

    def _dtype(self, j: int) -> Any:
        if (declared := self.declared_[j]) is None:
            return self.dtypes_[j]
        dtype, ordered = declared
        return pd.CategoricalDtype(pd.Index(self.levels_[j], dtype=dtype), ordered=ordered)


def _is_dtype(name: Any) -> bool:
    """Whether a value is the name of a dtype of columns."""
    try:
        dtype = pd.api.types.pandas_dtype(name) if isinstance(name, str) else None
    except (TypeError, ValueError, ImportError):
        return False
    plain = isinstance(dtype, np.dtype) and dtype.kind in "biufO"
    return plain or isinstance(dtype, pd.api.extensions.ExtensionDtype)


def _are_levels(values: list) -> bool:
    """Whether values can be the categories of a column."""
    plain = all(isinstance(value, (str, bool, int, float, np.generic)) for value in values)
    return plain and pd.Index(values, dtype=object).is_unique


def _is_declared(value: Any) -> bool:
    """Whether a value is the dtype of categories, and whether they are ordered."""
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and _is_dtype(value[0])
        and isinstance(value[1], bool)
    )
