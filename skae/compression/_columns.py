"""What is compressed, as numbers: arrays in their dtype, and DataFrames."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skae._dataframes import in_library, to_pandas
from skae._numeric_input import as_numeric, as_table, check_restorable
from skae._schema import Check, array, either, instance, integer, persistent
from skae._sklearn_types import BaseEstimator
from skae.data import read_source
from skae.tables import MixedTable, TableEncoder

EXACT = ("integer", "boolean", "string", "categorical", "empty")  # kinds of columns
DTYPES = ("bool", "float32", "float64", *(f"{k}int{b}" for k in ("", "u") for b in (8, 16, 32, 64)))


def columns_for(X: Any) -> ArrayColumns | FrameColumns:
    """Return the unfitted columns for an array, or for a DataFrame."""
    frame = to_pandas(X)
    return FrameColumns() if isinstance(frame, pd.DataFrame) and frame.size else ArrayColumns()


@persistent
class ArrayColumns(BaseEstimator):
    """The columns of an array.

    Attributes
    ----------
    dtype_ : str
        Name of the dtype of the array.
    n_columns_ : int
        Number of columns.
    unit_ : ndarray of shape (n_columns,) or None
        What the columns are divided by for the autoencoder.
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {
        "dtype_": lambda value, _: value in DTYPES,
        "n_columns_": integer(1),
        "unit_": either(instance(None), array("f", "n_columns_", finite=True)),
    }

    def fit(
        self, X: Any, estimator: Any, sample_weight: ArrayLike | None
    ) -> tuple[NDArray, NDArray]:
        """Learn the dtype of samples, and return what `read` does.

        The estimator's number and names of features are set.
        """
        given = as_table(X)
        dtype = getattr(given, "dtype", np.dtype(np.float64))
        self.dtype_ = dtype.name if dtype.name in DTYPES else "float64"
        source = read_source(estimator, _exact(given), reset=True, at_least=2, sparse_too=False)
        numbers = source[:]
        self.n_columns_ = estimator.n_features_in_
        self.unit_: NDArray | None = None
        if self.is_exact[0]:
            self._check_integers(given, numbers, estimator)
        return numbers, numbers

    def in_units(self, Z: NDArray, unit: NDArray) -> NDArray:
        """Return samples divided by a unit of each column, as `read` does from now on."""
        self.unit_ = unit
        return Z / unit

    @property
    def is_fitted(self) -> bool:
        """Whether the columns are known."""
        return hasattr(self, "n_columns_")

    @property
    def n_encoded(self) -> int:
        """Number of features of the autoencoder."""
        return self.n_columns_

    @property
    def is_exact(self) -> NDArray:
        """Mask of the columns of integers."""
        return np.full(self.n_columns_, self.dtype_ not in ("float32", "float64"))

    def read(self, X: Any, estimator: Any) -> tuple[NDArray, NDArray]:
        """Return samples for the autoencoder, (n, d), and as numbers, (n, n_columns)."""
        given = as_table(X)
        numbers = read_source(estimator, _exact(given), reset=False, sparse_too=False)[:]
        if self.is_exact[0]:
            self._check_integers(given, numbers, estimator)
        return numbers if self.unit_ is None else numbers / self.unit_, numbers

    def _check_integers(self, X: Any, numbers: NDArray, estimator: Any) -> None:
        dtype = getattr(X, "dtype", np.dtype(object))  # a DataFrame or a list may hold integers
        low, high = self._bounds()
        known = numbers[~np.isnan(numbers)]
        whole = dtype.kind in "iubO" and bool((known == np.rint(known)).all())
        if not (whole and (known >= low).all() and (known <= high).all()):
            got = dtype.name if dtype.kind == "f" else "other values"
            raise ValueError(
                f"This {type(estimator).__name__} was fitted to {self.dtype_}, and X must be "
                f"integers from {low:.0f} to {high:.0f}; got {got}."
            )

    def _bounds(self) -> tuple[float, float]:
        if self.dtype_ == "bool":
            return 0, 1
        info = np.iinfo(self.dtype_)
        return info.min, info.max

    def restore(self, X: NDArray) -> NDArray:
        """Return reconstructions as numbers: integers are rounded."""
        numbers = X if self.unit_ is None else X * self.unit_
        if not self.is_exact[0]:
            return numbers
        return np.clip(np.rint(numbers), *self._bounds())

    def check_restorable(self, X: Any) -> None:
        """Raise ValueError where float64 does not represent an integer."""
        if self.is_exact[0]:
            _check_representable(as_table(X))

    @property
    def n_levels(self) -> NDArray:
        """Number of categories of each column; 0, as there are none."""
        return np.zeros(self.n_columns_, int)

    def as_stored(self, numbers: NDArray) -> NDArray:
        """Return numbers as they are after rounding to the dtype of ``fit``, in float64."""
        return self.table(numbers).astype(np.float64)

    def rounding(self, numbers: NDArray) -> NDArray:
        """Return the largest error of rounding such numbers to the dtype, (n_columns,)."""
        single = np.full(self.n_columns_, self.dtype_ == "float32")
        return _spacing(numbers, single)

    def table(self, numbers: NDArray) -> NDArray:
        """Return numbers in the dtype of ``fit``."""
        if not self.is_exact[0]:
            return numbers.astype(self.dtype_)
        low, high = self._bounds()
        # 2.0 ** 63 is beyond the largest integer, which no float64 is.
        return np.clip(numbers, low, np.nextafter(high + 1.0, 0)).astype(self.dtype_)


@persistent
class FrameColumns(BaseEstimator):
    """The columns of a DataFrame.

    Attributes
    ----------
    encoder_ : TableEncoder
        Encodes DataFrames for the autoencoder.
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {"encoder_": instance(TableEncoder)}

    def fit(
        self, X: Any, estimator: Any, sample_weight: ArrayLike | None
    ) -> tuple[NDArray, NDArray]:
        """Learn the columns, and return what `read` does.

        The estimator's number and names of features are set.
        """
        self.encoder_ = TableEncoder().fit(X, sample_weight=sample_weight)
        return self.read(X, estimator, reset=True)

    def in_units(self, Z: NDArray, unit: NDArray) -> NDArray:
        """Return encoded samples as they are: their columns are standardised."""
        return Z

    @property
    def is_fitted(self) -> bool:
        """Whether the columns are known."""
        encoder = getattr(self, "encoder_", None)
        return hasattr(encoder, "mean_") and isinstance(self._mixed, MixedTable)

    @property
    def n_encoded(self) -> int:
        """Number of features of the autoencoder."""
        return len(self.encoder_.mean_)

    @property
    def _mixed(self) -> MixedTable:
        return self.encoder_._table

    @property
    def is_exact(self) -> NDArray:
        """Mask of the columns of integers and categories."""
        return np.array([kind in EXACT for kind in self._mixed.kinds_])

    def check_restorable(self, X: Any) -> None:
        """Raise ValueError where float64 does not represent an integer."""
        frame = as_table(X)
        if isinstance(frame, pd.DataFrame):
            frame = frame.iloc[:, np.flatnonzero(self.n_levels == 0)]
        _check_representable(frame)

    @property
    def n_levels(self) -> NDArray:
        """Number of categories of each column; 0 of numbers."""
        return np.array([len(levels) for levels in self._mixed.levels_])

    def read(self, X: Any, estimator: Any, *, reset: bool = False) -> tuple[NDArray, NDArray]:
        """Return samples for the autoencoder, (n, d), and as numbers, (n, n_columns)."""
        encoded = self.encoder_._encode(X, estimator, reset=reset)
        frame = as_table(X)
        if not isinstance(frame, pd.DataFrame):  # an array in place of columns of numbers
            frame = pd.DataFrame(as_numeric(frame))
        numbers = self._mixed.numbers_in(frame)
        self._check_integers(numbers)
        return encoded, numbers

    def _check_integers(self, numbers: NDArray) -> None:
        for j, (low, high) in self._integer_bounds().items():
            own = numbers[~np.isnan(numbers[:, j]), j]
            wrong = own[(own != np.rint(own)) | (own < low) | (own > high)]
            if len(wrong):
                label = (self.encoder_._labels or ())[j]
                raise ValueError(
                    f"Column {label!r} of X had integers from {low:.0f} to "
                    f"{high:.0f} in fit; got {wrong[0]:.6g}."
                )

    def _integer_bounds(self) -> dict[int, tuple[float, float]]:
        """Return the smallest and largest number of each column of integers."""
        bounds: dict[int, tuple[float, float]] = {}
        for j, (kind, name) in enumerate(zip(self._mixed.kinds_, self._mixed.dtypes_, strict=True)):
            if kind == "integer":
                info = np.iinfo(name.lower() if name.lower() in DTYPES else "int64")
                bounds[j] = info.min, info.max
        return bounds

    def as_stored(self, numbers: NDArray) -> NDArray:
        """Return numbers as they are after rounding to the dtypes of ``fit``, in float64."""
        stored = numbers.copy()
        for j, (low, high) in self._integer_bounds().items():
            stored[:, j] = np.clip(numbers[:, j], low, high)
        stored[:, self._is_single] = numbers[:, self._is_single].astype(np.float32)
        return stored

    @property
    def _is_single(self) -> NDArray:
        return np.array([name.lower() == "float32" for name in self._mixed.dtypes_])

    def rounding(self, numbers: NDArray) -> NDArray:
        """Return the largest error of rounding such numbers to the dtypes, (n_columns,)."""
        return _spacing(numbers, self._is_single)

    def restore(self, X: NDArray) -> NDArray:
        """Return reconstructions as numbers: integers are rounded, categories are indices."""
        numbers = self._mixed.most_likely(X * self.encoder_.scale_ + self.encoder_.mean_)
        exact = self.is_exact
        numbers[:, exact] = np.rint(numbers[:, exact])
        return numbers

    def table(self, numbers: NDArray) -> Any:
        """Return numbers as a DataFrame like that of ``fit``."""
        levels = self.n_levels
        categories = numbers[:, levels > 0]
        if (categories < 0).any() or (categories >= levels[levels > 0]).any():
            raise ValueError("The data stand for categories that fit did not see.")
        frame = self._mixed.from_numbers(numbers)
        frame.columns = pd.Index(self.encoder_._labels)
        return in_library(self.encoder_._library, frame)


def _check_representable(table: Any) -> None:
    try:
        check_restorable(table, np.nan)
    except ValueError as error:
        raise ValueError(
            "X has integers beyond 2**53, which float64 cannot represent, so that max_error cannot "
            "be kept; subtract an offset from such features, or drop them."
        ) from error


def _spacing(numbers: NDArray, single: NDArray) -> NDArray:
    """Return the distance of neighboring numbers at the largest ones, float32 where `single`."""
    largest = np.nan_to_num(np.abs(numbers)).max(axis=0).astype(np.float64)
    in_single = np.spacing(np.where(single, largest, 0).astype(np.float32))
    return np.where(single, in_single, np.spacing(largest))


def _exact(X: Any) -> Any:
    """Return small integers in float32, which takes half of the memory of float64."""
    small = isinstance(X, np.ndarray) and X.dtype.kind in "iub" and X.dtype.itemsize <= 2
    return X.astype(np.float32) if small else X
