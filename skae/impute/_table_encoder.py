"""Tables of mixed columns: numbers, booleans and categories as floats, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skae._numeric_input import infinity_in
from skae._schema import Check, array, instance, integer, persistent, sequence
from skae._sklearn_types import BaseEstimator

MOST = 50  # categories of a column that are told apart, the most frequent
NUMBERS = ("floating", "integer")
LABELS = ("boolean", "string", "categorical")


def is_mixed(X: Any) -> bool:
    """Tell whether X is a DataFrame with a column whose dtype is no number of numpy's."""
    return isinstance(X, pd.DataFrame) and not all(
        isinstance(dtype, pd.SparseDtype) or (isinstance(dtype, np.dtype) and dtype.kind in "iufc")
        for dtype in X.dtypes
    )


@persistent
class Columns(BaseEstimator):
    """What each column of a DataFrame is, and the DataFrame as an array.

    A number is one column of the array. Categories, of which booleans are two, are one column
    each, the most frequent first: 1 where the category is that of the row, 0 elsewhere. All of
    them are NaN where nothing is known. A category that is not among the most frequent, or that
    only the dtype declares, is a row of zeros.

    Attributes
    ----------
    kinds_, dtypes_ : list of str
        What `kind_of` says of each column, and its dtype.
    levels_ : list of list
        Categories of each column, in their order; none of a number.
    shown_ : list of list of int
        Which of them have a column in the array, the most frequent first.
    declared_ : list
        Of a column of category dtype, that of its categories, and whether they are ordered.
    first_ : ndarray of shape (n_columns,)
        Where each column starts in the array.
    group_start_ : ndarray of shape (n_encoded,)
        For each column of the array, where the DataFrame's column that it belongs to starts.
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {
        "kinds_": sequence(lambda value, _: value in (*NUMBERS, *LABELS, "empty"), list),
        "dtypes_": sequence(lambda value, _: _is_dtype(value), list),
        "levels_": sequence(instance(list), list),
        "shown_": sequence(sequence(integer(), list), list),
        "declared_": sequence(lambda value, _: value is None or _is_declared(value), list),
        "first_": array("i", None),
        "group_start_": array("i", None),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "kinds_" not in state:
            return
        levels, shown = state["levels_"], state["shown_"]
        n = len(state["kinds_"])
        lists = ("dtypes_", "levels_", "shown_", "declared_")
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

    def fit(self, frame: pd.DataFrame, weight: NDArray, missing: Any) -> Self:
        """Learn what the columns of a DataFrame of weighted rows are."""
        self.kinds_, self.dtypes_ = [], []
        self.levels_: list[list] = []
        self.shown_: list[list[int]] = []
        self.declared_: list[tuple[str, bool] | None] = []
        for _, column in frame.items():
            known = known_cells(column, missing)
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
            order = np.argsort(-counts, kind="stable")[:MOST]
            self.kinds_.append(kind)
            self.dtypes_.append(str(dtype))
            self.levels_.append(levels)
            self.shown_.append(order[counts[order] > np.finfo(np.float32).tiny].tolist())
            self.declared_.append(declared)
        widths = [max(1, len(shown)) for shown in self.shown_]
        self.first_ = np.cumsum([0, *widths[:-1]])
        self.group_start_ = np.repeat(self.first_, widths)
        return self

    @property
    def labels(self) -> NDArray:
        """Which columns of the array stand for categories, or for nothing known."""
        return self._of_array([kind not in NUMBERS for kind in self.kinds_])

    @property
    def whole(self) -> NDArray:
        """Which columns of the array are integers."""
        return self._of_array([kind == "integer" for kind in self.kinds_])

    def _of_array(self, values: list[bool]) -> NDArray:
        return np.repeat(values, np.diff(np.append(self.first_, len(self.group_start_))))

    def encode(self, frame: pd.DataFrame, missing: Any) -> NDArray:
        """Return a DataFrame of such columns as an array, (n, n_encoded)."""
        encoded = np.full((len(frame), len(self.group_start_)), np.nan)
        for j, (name, column) in enumerate(frame.items()):
            known, first, shown = known_cells(column, missing), self.first_[j], self.shown_[j]
            if self.kinds_[j] in NUMBERS:
                encoded[known, first] = self._numbers(str(name), column, known)
            elif not shown:  # nothing was known of it in fit
                encoded[known, first] = 0
            elif known.any():
                kind_of(column, known)
                codes = codes_of(column[known], self.levels_[j])
                if (codes < 0).any():
                    unseen = column[known][codes < 0].astype(object).iloc[0]
                    raise ValueError(
                        f"Column {str(name)!r} of X holds {unseen!r}, a category that fit did not "
                        "see; replace it by a missing value, or fit to rows that hold it."
                    )
                encoded[known, first : first + len(shown)] = codes[:, None] == shown
        return encoded

    def _numbers(self, name: str, column: pd.Series, known: NDArray) -> NDArray:
        kind = kind_of(column, known)
        if known.any() and kind not in NUMBERS:
            raise TypeError(
                f"Column {name!r} of X holds {_types(column[known])}, but held numbers in fit; "
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

    def decode(
        self, frame: pd.DataFrame, encoded: NDArray, holes: NDArray, kept: NDArray
    ) -> pd.DataFrame:
        """Return some columns of a DataFrame with their holes filled.

        Parameters
        ----------
        frame : DataFrame of shape (n, n_columns)
        encoded : ndarray of shape (n, n_encoded)
            What to fill with; of categories, the one with the largest value.
        holes : ndarray of shape (n, n_encoded)
            Where.
        kept : ndarray of shape (n_columns,)
            Which columns to return. Of categories none of which is known, holes stay.
        """
        columns = [frame.iloc[:, :0]]
        for j in np.flatnonzero(kept).tolist():
            first, shown = self.first_[j], self.shown_[j]
            rows = np.flatnonzero(holes[:, first])
            column = frame.iloc[:, j]
            if self.kinds_[j] in NUMBERS:
                columns.append(self._filled(j, column, rows, encoded[rows, first]))
            elif shown:
                likely = encoded[rows, first : first + len(shown)].argmax(axis=1)
                levels = [self.levels_[j][shown[k]] for k in likely]
                columns.append(self._filled(j, column, rows, levels))
            else:
                columns.append(column)
        result = pd.concat(columns, axis=1)
        result.columns = frame.columns[kept]
        return result

    def _filled(self, j: int, column: pd.Series, rows: NDArray, values: Any) -> pd.Series:
        """Return a column with values in some rows: in its dtype, or else in that of fit."""
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
            number = int if self.kinds_[j] == "integer" else float
            return pd.array([number(value) for value in values], dtype=dtype)
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
    """Whether there is a dtype of columns of that name."""
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


def blocks(group_start: NDArray) -> Iterator[slice]:
    """Yield the columns that belong together, as a slice each."""
    firsts, sizes = np.unique(group_start, return_counts=True)
    return (slice(int(j), int(j + size)) for j, size in zip(firsts, sizes, strict=True))


def is_grouping(group_start: Any, length: int) -> bool:
    """Whether an array tells the first column of the group that each column belongs to."""
    if not array("iu", length)(group_start, {}):
        return False
    starts = group_start == np.arange(length)
    return np.array_equal(group_start, np.maximum.accumulate(np.where(starts, group_start, 0)))


def known_cells(column: pd.Series, missing: Any) -> NDArray:
    """Tell which cells of a column are known: not NaN, None or NA, nor what stands for it."""
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
        stands = dtype.type(missing) if dtype.kind == "f" else missing
        known[known] = column[known].to_numpy(dtype=dtype) != stands
    return known


def _is_truth(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


def kind_of(column: pd.Series, known: NDArray) -> str:
    """Return what a column holds: one of `NUMBERS`, of `LABELS`, or nothing, 'empty'."""
    if str(column.dtype) == "null[pyarrow]":
        return "empty"
    kind = pd.api.types.infer_dtype(column[known], skipna=True)
    kind = "floating" if kind == "mixed-integer-float" else kind
    if kind in (*NUMBERS, *LABELS, "empty") and not isinstance(column.dtype, pd.SparseDtype):
        return kind
    raise TypeError(
        f"Column {str(column.name)!r} of X holds {_types(column[known])}, which cannot be filled; "
        "convert it to numbers, text or categories, or drop it."
    )


def _types(column: pd.Series) -> str:
    """Return the names of the types of a column's values."""
    names = (
        {type(value).__name__ for value in column}
        if pd.api.types.is_object_dtype(column)
        else set()
    )
    return " and ".join(sorted(names)) or str(column.dtype)


def codes_of(column: pd.Series, levels: list) -> NDArray:
    """Return which of the levels each cell is, -1 where none."""
    return pd.Index(levels, dtype=object).get_indexer(column.astype(object).to_numpy())
