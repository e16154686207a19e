from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from skae._validation import check_share
from skae.outlier._threshold import SAME


class ConformalMixin:
    """P-values of scores, by those of rows that were not trained on."""

    calibration_scores_: NDArray
    score_samples: Any
    _floor: float

    def p_values(self, X: ArrayLike, X_calibration: ArrayLike | None = None) -> NDArray:
        r"""Return how probable a score as low as a row's is among rows like the training rows.

        .. math:: p(x) = \frac{1 + \#\{i : s(x_i) \le s(x)\}}{1 + n}

        over n rows that the autoencoder was not trained on (split conformal). If they and x come
        from one distribution, :math:`P(p \le t) \le t`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN is a value that is missing.
        X_calibration : array-like of shape (n_calibration, n_features), default=None
            Normal rows that were not trained on. None is the rows held out in ``fit``.

        Returns
        -------
        p : ndarray of shape (n_samples,)
            At least 1 / (n + 1).

        Raises
        ------
        ValueError
            If there are no rows to calibrate by.
        """
        scores = self.score_samples(X)
        if X_calibration is not None:
            known = np.sort(self.score_samples(X_calibration))
        else:
            known = self.calibration_scores_
        if not len(known):
            raise ValueError(
                "There are no rows to calibrate by; pass X_calibration, or fit with a "
                "calibration_fraction above 0."
            )
        # Equal rows may differ by rounding, and must count as equal.
        scores, known = np.minimum(scores, -self._floor), np.minimum(known, -self._floor)
        n_lower = np.searchsorted(known, scores + SAME * np.abs(scores), side="right")
        return (1 + n_lower) / (1 + len(known))

    def select_outliers(
        self, X: ArrayLike, fdr: float = 0.1, X_calibration: ArrayLike | None = None
    ) -> NDArray:
        """Select outliers, of whom no more than a share is normal on average.

        By Benjamini and Hochberg's procedure on ``p_values``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN is a value that is missing.
        fdr : float, default=0.1
            False discovery rate: the expected share of normal rows among those selected.
        X_calibration : array-like of shape (n_calibration, n_features), default=None
            Normal rows that were not trained on. None is the rows held out in ``fit``.

        Returns
        -------
        selected : ndarray of shape (n_samples,) of bool
            Which rows are selected.

        Raises
        ------
        ValueError
            If ``fdr`` is not between 0 and 1, or there are no rows to calibrate by.
        """
        check_share(fdr, "fdr")
        return false_discovery_control(self.p_values(X, X_calibration)) <= fdr
