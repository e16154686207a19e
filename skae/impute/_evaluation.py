"""Evaluation of an imputer by masking observed values."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skae._sklearn import _check_feature_names_in
from skae._validation import check_share, random_state_of
from skae.impute._residuals import random_mask
from skae.tables import ColumnGroups


class MaskedValues(NamedTuple):
    """Observed values that were masked and imputed, (n, d) each, in the units of X.

    Attributes
    ----------
    masked : ndarray of bool
        Which values were masked.
    truth : ndarray
        Observed values; 0 where not masked.
    filled : ndarray
        Imputed values.
    low, high : ndarray
        Ends of the prediction intervals.
    """

    masked: NDArray
    truth: NDArray
    filled: NDArray
    low: NDArray
    high: NDArray


class OverImputeMixin:
    """Evaluation of an imputer by observed values that are masked."""

    def over_impute(
        self: Any,
        X: ArrayLike,
        fraction: float = 0.1,
        coverage: float = 0.9,
        random_state: Any = None,
    ) -> pd.DataFrame:
        """Mask observed values, impute them, and report the errors.

        Values are masked at random, so they are imputed as values that are missing at random,
        whatever the ``mechanism``.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Input samples, which should not be in the training data; errors on the latter are too
            small. NaN marks a missing value.
        fraction : float, default=0.1
            Fraction of the observed values that are masked at random.
        coverage : float, default=0.9
            Nominal coverage of the prediction intervals.
        random_state : int, RandomState instance or None, default=None
            Seed of the mask.

        Returns
        -------
        report : DataFrame
            A row per column that had a value in ``fit``: ``n_cells``, the number of masked values,
            ``rmse`` of the imputed values in the units of X, ``rmse_of_means`` of the training
            means, and ``coverage``, the fraction of values within their prediction intervals. NaN
            if no value was masked. For columns of categories, these are NaN; ``accuracy`` is the
            fraction imputed correctly, ``accuracy_of_modes`` that of the most frequent category.

        Raises
        ------
        ValueError
            If ``fraction`` or ``coverage`` is not between 0 and 1.
        """
        masked, truth, filled, low, high = self._impute_masked(X, fraction, coverage, random_state)
        kept, groups = self._scaler.kept, self._groups
        mean = partial(masked_mean, masked=masked)
        means, scales = self._scaler.mean_[kept], self._scaler.scale_[kept]
        of_numbers = {
            "rmse": np.sqrt(mean(((filled - truth) / scales) ** 2)) * scales,
            "rmse_of_means": np.sqrt(mean(((means - truth) / scales) ** 2)) * scales,
            "coverage": mean((low <= truth) & (truth <= high)),
        }
        # The first column of a group is that of the most frequent category.
        right = is_imputed_right(filled, truth, groups)
        of_categories = {"accuracy": mean(right), "accuracy_of_modes": mean(truth)}
        is_category = self._table.is_category[kept]
        report = {"n_cells": masked.sum(axis=0)}
        report |= {name: np.where(is_category, np.nan, v) for name, v in of_numbers.items()}
        report |= {name: np.where(is_category, v, np.nan) for name, v in of_categories.items()}
        report = {name: report[name] for name in self._table.measures}
        return pd.DataFrame(report).iloc[groups.starts].set_axis(self._names_of_kept())

    def over_impute_cells(
        self: Any,
        X: ArrayLike,
        fraction: float = 0.1,
        coverage: float = 0.9,
        random_state: Any = None,
    ) -> pd.DataFrame:
        """Mask observed values, impute them, and return each with its estimate and interval.

        The values are those that ``over_impute`` reports on, given the same parameters.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Input samples, which should not be in the training data. NaN marks a missing value.
        fraction : float, default=0.1
            Fraction of the observed values that are masked at random.
        coverage : float, default=0.9
            Nominal coverage of the prediction intervals.
        random_state : int, RandomState instance or None, default=None
            Seed of the mask.

        Returns
        -------
        cells : DataFrame
            A row per masked number: ``row``, its row in X, ``column``, the name of its column,
            ``truth``, ``estimate``, and ``low`` and ``high``, the ends of its prediction interval,
            in the units of X. Categories are masked, too, but left out.

        Raises
        ------
        ValueError
            If ``fraction`` or ``coverage`` is not between 0 and 1.
        """
        values = self._impute_masked(X, fraction, coverage, random_state)
        is_number = ~self._table.is_category[self._scaler.kept]
        rows, columns = np.nonzero(values.masked & is_number)
        names = self._names_of_kept()[np.searchsorted(self._groups.starts, columns)]
        arrays = values.truth, values.filled, values.low, values.high
        measures = zip(("truth", "estimate", "low", "high"), arrays, strict=True)
        cells = {name: array[rows, columns] for name, array in measures}
        return pd.DataFrame({"row": rows, "column": names} | cells)

    def _impute_masked(
        self: Any, X: ArrayLike, fraction: float, coverage: float, random_state: Any
    ) -> MaskedValues:
        check_is_fitted(self)
        for name, value in (("fraction", fraction), ("coverage", coverage)):
            check_share(value, name)
        table = self._table.encode(X, self)
        Z = self._scaler.transform(table.X, table.missing)
        # Its own draws, independent of those of `make_missing` with the same seed.
        own = random_state_of(random_state).randint(np.iinfo(np.int32).max)
        masked = random_mask(Z, fraction, self._groups, np.random.RandomState(own))
        rows = np.where(masked, np.nan, Z)
        limits = self._limits(rows)
        completion = self._completion.at_random()
        filled = self._in_units(completion.complete(rows), limits)
        interval = completion.interval(rows, coverage, self._residuals)
        low, high = (self._in_units(end, limits) for end in interval)
        truth = np.where(masked, table.X[:, self._scaler.kept], 0)
        return MaskedValues(masked, truth, filled, low, high)

    def _names_of_kept(self: Any) -> NDArray:
        """Return the names of the columns that had a value in ``fit``."""
        columns = self._scaler.kept[self._table.groups.starts]
        return _check_feature_names_in(self)[columns]


def masked_mean(values: NDArray, masked: NDArray) -> NDArray:
    """Return the mean over the masked values of each column, (d,), NaN without any."""
    n_cells = masked.sum(axis=0)
    total = np.where(masked, values, 0).sum(axis=0)
    return np.where(n_cells > 0, total / np.maximum(n_cells, 1), np.nan)


def is_imputed_right(filled: NDArray, truth: NDArray, groups: ColumnGroups) -> NDArray:
    """Return 1 in the first column of a group where its largest value is the true one, (n, d)."""
    right = np.zeros(filled.shape)
    for columns in groups.slices():
        likely = columns.start + filled[:, columns].argmax(axis=1)
        right[:, columns.start] = truth[np.arange(len(filled)), likely]
    return right
