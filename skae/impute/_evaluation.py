from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skae._sklearn import _check_feature_names_in
from skae._validation import check_share, random_state_of
from skae.autoencoders import VariationalAutoencoder
from skae.impute._residuals import LEVELS, conditional_std, hide
from skae.impute._table_encoder import blocks

ENOUGH_DRAWS = 200  # for the ends of an interval


class OverImputeMixin:
    """What an imputer makes of cells that are hidden from it on purpose."""

    def over_impute(
        self: Any,
        X: ArrayLike,
        fraction: float = 0.1,
        coverage: float = 0.9,
        random_state: Any = None,
    ) -> pd.DataFrame:
        """Hide observed cells, fill them, and compare.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows that were not trained on; of those that were, errors come out smaller.
        fraction : float, default=0.1
            Share of the observed cells that are hidden, by chance.
        coverage : float, default=0.9
            Chance that an interval of the draws' distribution should hold the truth.
        random_state : int, RandomState instance or None, default=None
            Seed of what is hidden.

        Returns
        -------
        report : DataFrame
            A row per column that had a value in ``fit``: ``n_cells`` hidden, ``rmse`` of the
            filled values in units of X, ``rmse_of_means`` of the training mean instead, and
            ``coverage``, the share of cells that their intervals hold. NaN where none was hidden.
            If categories may be among the columns, these are NaN for them, and ``accuracy`` is the
            share of cells filled right, ``accuracy_of_modes`` by the most frequent category.

        Raises
        ------
        ValueError
            If ``fraction`` or ``coverage`` is not between 0 and 1.
        """
        check_is_fitted(self)
        for name, value in (("fraction", fraction), ("coverage", coverage)):
            check_share(value, name)
        table, holes = self._read(X, reset=False)
        kept, group_start = self._kept, self._group_start
        Z = self._standardized(table, holes)
        # Its own draws: `make_missing` with the same seed has left the others.
        own = random_state_of(random_state).randint(np.iinfo(np.int32).max)
        hidden = hide(Z, fraction, group_start, np.random.RandomState(own))
        rows = np.where(hidden, np.nan, Z)
        limits = self._limits(rows)
        filled, (means, scales) = self._in_units(self._fill(rows), limits), self._units[:2, kept]
        low, high = (self._in_units(end, limits) for end in self._interval(rows, coverage))
        n_cells = hidden.sum(axis=0)

        def mean(values: NDArray) -> NDArray:
            total = np.where(hidden, values, 0).sum(axis=0)
            return np.where(n_cells > 0, total / np.maximum(n_cells, 1), np.nan)

        truth = np.where(hidden, table[:, kept], 0)
        report = {
            "n_cells": n_cells,
            "rmse": np.sqrt(mean(((filled - truth) / scales) ** 2)) * scales,
            "rmse_of_means": np.sqrt(mean(((means - truth) / scales) ** 2)) * scales,
            "coverage": mean((low <= truth) & (truth <= high)),
        }
        if self._columns is not None:
            labels = self._columns.labels[kept]
            right = np.zeros(Z.shape)
            for columns in blocks(group_start):
                likely = columns.start + filled[:, columns].argmax(axis=1)
                right[:, columns.start] = truth[np.arange(len(Z)), likely]
            for name in ("rmse", "rmse_of_means", "coverage"):
                report[name] = np.where(labels, np.nan, report[name])
            report["accuracy"] = np.where(labels, mean(right), np.nan)
            report["accuracy_of_modes"] = np.where(labels, mean(truth), np.nan)  # modes lead
        names = _check_feature_names_in(self)[self._kept[self._first]]
        return pd.DataFrame(report).iloc[np.unique(group_start)].set_axis(names)

    def _interval(self: Any, Z: NDArray, coverage: float) -> NDArray:
        """Return ends that should hold the truth of each hole with a chance, (2, n, d)."""
        ends = [(1 - coverage) / 2, (1 + coverage) / 2]
        if isinstance(self.estimator_, VariationalAutoencoder):
            draws = self._draws(Z, ENOUGH_DRAWS, np.random.RandomState(0))
            return np.quantile(list(draws), ends, axis=0)
        away = np.array([[np.interp(end, LEVELS, q) for q in self._quantiles] for end in ends])
        return self._fill(Z) + conditional_std(self._gaussian, Z) * away[:, None]
