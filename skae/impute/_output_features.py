"""Columns that the imputer returns, and the indicator of missing values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.impute import MissingIndicator
from sklearn.utils.validation import check_is_fitted

from skae._sklearn import _check_feature_names_in
from skae.tables import ColumnGroups

DETERMINED_ERROR = 0.05  # standard deviations, above which values stay in the range


class OutputFeaturesMixin:
    """What a fitted imputer returns."""

    n_features_in_: int
    indicator_features_: NDArray | None
    keep_empty_features: bool
    clip: bool
    _table: Any
    _scaler: Any
    _completion: Any
    _residuals: Any

    @property
    def _groups(self) -> ColumnGroups:
        """Groups of the encoded columns that have a value."""
        return self._table.groups.select(self._scaler.kept)

    @property
    def _kept_columns(self) -> NDArray:
        """Mask of the columns that `transform` returns."""
        kept = self._scaler.kept[self._table.groups.starts]
        return np.ones_like(kept) if self.keep_empty_features else kept

    @property
    def _indicator_indices(self) -> NDArray:
        features = self.indicator_features_
        return np.empty(0, dtype=int) if features is None else features

    @property
    def indicator_(self) -> MissingIndicator | None:
        """The indicator of the columns that had missing values in ``fit``, if it is added."""
        if self.indicator_features_ is None:
            return None
        row, placeholder = np.zeros((1, self.n_features_in_)), self._table.placeholder
        is_missing = np.isin(np.arange(row.size), self.indicator_features_)
        row[0] = np.where(is_missing, placeholder, placeholder == 0)
        names = getattr(self, "feature_names_in_", None)
        table = row if names is None else pd.DataFrame(row, columns=names)
        return MissingIndicator(missing_values=placeholder, error_on_new=False).fit(table)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray:
        """Get output feature names.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the input columns. If None, those of ``fit`` are used.

        Returns
        -------
        names : ndarray of str
            Names of the columns that ``transform`` returns; those of the indicator start with
            ``missingindicator_``.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        indicators = [f"missingindicator_{name}" for name in names[self._indicator_indices]]
        return np.concatenate([names[self._kept_columns], np.array(indicators, dtype=object)])

    def _in_units(self, filled: NDArray, limits: tuple[NDArray, NDArray]) -> NDArray:
        """Return standardised columns in their units, clipped, and rounded if integers."""
        values = self._scaler.inverse_transform(filled, *limits)
        return np.where(self._table.is_integer[self._scaler.kept], np.rint(values), values)

    def _limits(self, Z: NDArray) -> tuple[NDArray, NDArray]:
        """Return the smallest and largest values that may be imputed, (n, d) each.

        A value that is determined by the others of its row may leave the range of its column, at
        most by its width. That excess shrinks to 0 as half the width of the interval that holds
        90 % of the errors grows to `DETERMINED_ERROR`.
        """
        if not self.clip:
            return np.full(Z.shape, -np.inf), np.full(Z.shape, np.inf)
        kept = self._scaler.kept
        low, high = self._scaler.data_min_[kept], self._scaler.data_max_[kept]
        lower, upper = self._residuals.at((0.05, 0.95))
        error = self._completion.std(Z) * (upper - lower) / 2
        excess = np.maximum(1 - error / DETERMINED_ERROR, 0)
        with np.errstate(over="ignore"):
            excess = excess * high - excess * low
            return low - excess, high + excess
