"""What the estimators of several completed tables predict together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from skae._dataframes import to_pandas
from skae._numeric_input import check_names
from skae._validation import (
    binary_exponents,
    check_array,
    check_finite_result,
    random_state_of,
    weighted_mean,
)
from skae.data import read_source
from skae.multiple_imputation._target_columns import TargetColumns


def _inner_has(name: str) -> Callable[[Any], bool]:
    """Return the check that the estimator has a method, which raises its own AttributeError."""

    def has(pooled: Any) -> bool:
        getattr(pooled._inner, name)
        return True

    return has


class PredictionMixin:
    """Predictions of a fitted `PooledEstimator`."""

    imputers_: list[Any]
    estimators_: list[Any]
    classes_: Any
    _inner: Any
    _seed: int
    _target_columns: TargetColumns

    def predict(self, X: ArrayLike) -> NDArray:
        """Predict by the mean over the completions of X, or by majority vote.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predicted values, or labels.
        """
        check_is_fitted(self)
        if not is_classifier(self._inner):
            return self._mean("predict", X)
        if hasattr(self, "predict_proba"):
            return self.classes_[self.predict_proba(X).argmax(axis=1)]
        votes = np.array([labels[:, None] == self.classes_ for labels in self._each("predict", X)])
        return self.classes_[votes.sum(axis=0).argmax(axis=1)]

    @available_if(_inner_has("predict_proba"))
    def predict_proba(self, X: ArrayLike) -> NDArray:
        """Return the mean of the class probabilities over the completions of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return self._mean("predict_proba", X)

    @available_if(_inner_has("decision_function"))
    def decision_function(self, X: ArrayLike) -> NDArray:
        """Return the mean of the decision functions over the completions of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            As the estimator returns them.
        """
        return self._mean("decision_function", X)

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy of a classifier, or the R2 of a regressor.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Per-sample weights. If None, all samples are weighted equally.

        Returns
        -------
        score : float
            Higher is better.
        """
        predicted = self.predict(X)
        if is_classifier(self._inner):
            return accuracy_score(y, predicted, sample_weight=sample_weight)
        truth: NDArray = check_array(
            y, dtype=np.float64, ensure_2d=False, input_name="y", estimator=self
        )
        power = binary_exponents(truth, axis=0)  # R2 has no units; squares may overflow
        with np.errstate(over="ignore", invalid="ignore"):
            score = r2_score(
                np.ldexp(truth, -power), np.ldexp(predicted, -power), sample_weight=sample_weight
            )
        if not np.isfinite(score) and len(truth) > 1:
            raise ValueError(
                "Predictions are so far from y, compared with how much y varies, that R2 overflows "
                "float64; check the units of X and y."
            )
        return score

    def _mean(self, method: str, X: ArrayLike) -> NDArray:
        with np.errstate(over="ignore", invalid="ignore"):  # the result is checked
            outputs = np.array(self._each(method, X))
            return check_finite_result(
                weighted_mean(outputs if outputs.dtype.kind == "f" else outputs.astype(float)), "X"
            )

    def _each(self, method: str, X: ArrayLike) -> list[NDArray]:
        """Return each estimator's output for its own completion of X."""
        check_is_fitted(self)
        table = self._target_columns.append_unknown(self._read(X))
        tables = self._drawn(table, len(self.estimators_), self._seed)
        return [
            getattr(model, method)(completed)
            for model, completed in zip(self.estimators_, tables, strict=True)
        ]

    def _drawn(self, table: Any, n_imputations: int, seed: int) -> list[Any]:
        """Return completed tables, without the target columns."""
        if len(self.imputers_) == 1:
            tables = self.imputers_[0].sample(table, n_imputations, random_state=seed)
        else:
            seeds = random_state_of(seed).randint(np.iinfo(np.int32).max, size=n_imputations)
            tables = [
                imputer.sample(table, 1, random_state=int(own))[0]
                for imputer, own in zip(self.imputers_, seeds, strict=True)
            ]
        return [self._target_columns.drop(tables[i]) for i in range(n_imputations)]

    def _read(self, X: Any, **y: Any) -> Any:
        """Return X as an array; a DataFrame as it is, which the imputer validates."""
        X = to_pandas(X)
        if isinstance(X, pd.DataFrame):
            check_names(X)
            validated = validate_data(self, X, **y, reset=bool(y), skip_check_array=True)
            return validated[0] if y else validated
        if y:
            validate_data(self, X, **y, skip_check_array=True)
        return read_source(self, X, reset=bool(y), sparse_too=False)[:]
