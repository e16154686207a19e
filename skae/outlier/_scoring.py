"""What a fitted detector predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skae._validation import check_finite_result
from skae.data import DataSource, read_source
from skae.outlier._criterion import Criterion
from skae.outlier._scorer import Scorer
from skae.tables import TableEncoder


class ScoringMixin:
    """Scores, predictions and feature contributions of a fitted detector."""

    estimator_: Any
    offset_: float
    _criteria: tuple[Criterion, ...]
    _weights: NDArray
    _floor: float
    _encoder: TableEncoder | None

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Return minus the outlier score of each sample; lower is more abnormal.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
            If several criteria are combined, their mean over the training data is -1. 0 for a
            sample without any observed feature.

        Raises
        ------
        ValueError
            If a score overflows, because a sample is far from the training data.
        """
        check_is_fitted(self)
        return -self._outlier_scores(self._read(X))

    def decision_function(self, X: ArrayLike) -> NDArray:
        """Return the scores relative to the threshold; negative for outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
            ``score_samples(X) - offset_``.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray:
        """Predict whether samples are outliers (-1) or inliers (1).

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        is_inlier : ndarray of shape (n_samples,), int
            -1 for outliers, 1 for inliers.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def feature_contributions(self, X: ArrayLike) -> NDArray:
        """Return how much each feature contributes to the outlier score of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        contributions : ndarray of shape (n_samples, n_features), float64
            Higher is more abnormal; 0 for a missing value. Rows sum to ``-score_samples(X)`` for
            "reconstruction", "standardized", "denoising", "tails" and combinations of these. In
            other combinations, the parts of "neighbors" (a third of "auto") and "mahalanobis"
            belong to no feature, and are left out.

        Raises
        ------
        ValueError
            If no criterion is a sum over features.
        """
        check_is_fitted(self)
        source = self._read(X)
        if not any(criterion.additive for criterion in self._criteria):
            names = tuple(criterion.name for criterion in self._criteria)
            raise ValueError(
                f"method={names} is not a sum over features; feature_contributions needs "
                "'auto', 'reconstruction', 'standardized', 'denoising' or 'tails'."
            )
        terms = self._scorer.per_feature(source)
        if self._encoder is not None:
            terms = self._encoder._groups.sum(terms)
        return check_finite_result(terms, "X")

    def _read(self, X: ArrayLike, *, reset: bool = False, at_least: int = 1) -> DataSource:
        """Return samples as numbers, encoded if they are a table of mixed columns."""
        if self._encoder is None:
            return read_source(self, X, reset=reset, at_least=at_least)
        return DataSource(self._encoder._encode(X, self, reset=reset))

    def _outlier_scores(self, source: DataSource) -> NDArray:
        return check_finite_result(self._scorer(source), "X")

    @property
    def n_iter_(self) -> int:
        return self.estimator_.n_iter_

    @property
    def _scorer(self) -> Scorer:
        return Scorer(self.estimator_, self._criteria, self._weights, self._floor)
