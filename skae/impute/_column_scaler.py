"""Columns of an encoded table, standardised and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from skae._schema import Check, array, persistent
from skae._sklearn_types import BaseEstimator
from skae.impute._plausible_range import plausible_range
from skae.tables import mean_and_std

MAX_STANDARDIZED = 1e12  # standard deviations; squares of larger values overflow


@persistent
class ColumnScaler(BaseEstimator):
    """Standardise the observed, plausible values of each column.

    Columns without any are left out. Columns of categories, of 0 and 1, are not scaled.

    Attributes
    ----------
    bounds_ : ndarray of shape (2, d)
        Range of plausible values of each column.
    mean_, scale_, data_min_, data_max_ : ndarray of shape (d,)
        Statistics of the plausible values of each column, NaN where there are none.
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {
        "bounds_": array("f", 2, None),
        "mean_": array("f", None),
        "scale_": array("f", None),
        "data_min_": array("f", None),
        "data_max_": array("f", None),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "mean_" not in state:
            return
        columns = [state[name] for name in ("mean_", "scale_", "data_min_", "data_max_")]
        empty = np.isnan(columns[0])
        if any(
            column.shape != empty.shape or (np.isnan(column) != empty).any() for column in columns
        ):
            raise ValueError("its means and scales do not belong together")
        if state["bounds_"].shape[1] != len(empty) or not (state["scale_"][~empty] > 0).all():
            raise ValueError("its means and scales do not belong together")

    def fit(self, X: NDArray, missing: NDArray, weight: NDArray, is_category: NDArray) -> Self:
        """Learn the range, mean and standard deviation of each column."""
        self.bounds_ = plausible_range(X, missing)
        statistics = np.full((4, X.shape[1]), np.nan)
        self.mean_, self.scale_, self.data_min_, self.data_max_ = statistics
        known = self.known(X, missing)
        for j in np.flatnonzero(known.any(axis=0)):
            x, w = X[known[:, j], j].astype(np.float64), weight[known[:, j]]
            self.data_min_[j], self.data_max_[j] = x.min(), x.max()
            self.mean_[j], std = mean_and_std(x, w)
            self.scale_[j] = std or 1.0
        categories = is_category & self.kept
        self.mean_[categories], self.scale_[categories] = 0.0, 1.0  # means stay probabilities
        return self

    @property
    def kept(self) -> NDArray:
        """Mask of the columns with a known value."""
        return ~np.isnan(self.mean_)

    @property
    def varies(self) -> NDArray:
        """Mask, of the columns kept, of those with several values."""
        return (self.data_min_ < self.data_max_)[self.kept]

    def known(self, X: NDArray, missing: NDArray) -> NDArray:
        """Return the mask of the observed, plausible values, (n, d)."""
        low, high = self.bounds_
        return ~missing & (low <= X) & (high >= X)

    def transform(self, X: NDArray, missing: NDArray) -> NDArray:
        """Return the columns kept, standardised, in float64; NaN where nothing is known."""
        kept = self.kept
        Z = np.where(self.known(X, missing)[:, kept], X[:, kept].astype(np.float64), np.nan)
        with np.errstate(over="ignore"):
            Z = (Z - self.mean_[kept]) / self.scale_[kept]
            return np.clip(Z, -MAX_STANDARDIZED, MAX_STANDARDIZED)

    def inverse_transform(self, Z: NDArray, low: NDArray, high: NDArray) -> NDArray:
        """Return standardised columns in their units, clipped to [low, high]."""
        with np.errstate(over="ignore"):
            return np.clip(Z * self.scale_[self.kept] + self.mean_[self.kept], low, high)
