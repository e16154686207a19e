"""P-values of outlier scores by calibration samples (split conformal)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from skae._validation import check_share
from skae.outlier._scoring import ScoringMixin
from skae.outlier._threshold import TIE_TOLERANCE


def conformal_p_values(scores: NDArray, calibration_scores: NDArray) -> NDArray:
    """Return the share of the calibration samples whose score is at most a sample's.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Lower is more abnormal.
    calibration_scores : ndarray of shape (n_calibration,)
        In ascending order.

    Returns
    -------
    p : ndarray of shape (n_samples,)
        At least 1 / (n_calibration + 1): the sample itself counts, too.
    """
    # Equal samples may differ by rounding, and must count as ties.
    bound = scores + TIE_TOLERANCE * np.abs(scores)
    n_lower = np.searchsorted(calibration_scores, bound, side="right")
    return (1 + n_lower) / (1 + len(calibration_scores))


class ConformalMixin(ScoringMixin):
    """P-values of the scores of a detector, and a selection of outliers by them."""

    calibration_scores_: NDArray

    def p_values(self, X: ArrayLike, X_calibration: ArrayLike | None = None) -> NDArray:
        r"""Return the probability of a score as low as a sample's among normal samples.

        .. math:: p(x) = \frac{1 + \#\{i : s(x_i) \le s(x)\}}{1 + n}

        over n calibration samples that were not trained on (split conformal). If they and x come
        from one distribution, :math:`P(p \le t) \le t`.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.
        X_calibration : {array-like, DataFrame} of shape (n_calibration, n_features), default=None
            Normal samples that were not trained on. If None, those held out in ``fit``.

        Returns
        -------
        p : ndarray of shape (n_samples,)
            At least 1 / (n + 1).

        Raises
        ------
        ValueError
            If there are no calibration samples.
        """
        scores = self.score_samples(X)
        if X_calibration is not None:
            calibration_scores = np.sort(self.score_samples(X_calibration))
        else:
            calibration_scores = self.calibration_scores_
        if not len(calibration_scores):
            raise ValueError(
                "There are no calibration samples; pass X_calibration, or fit with a "
                "calibration_fraction above 0."
            )
        best = -self._floor
        return conformal_p_values(np.minimum(scores, best), np.minimum(calibration_scores, best))

    def select_outliers(
        self, X: ArrayLike, fdr: float = 0.1, X_calibration: ArrayLike | None = None
    ) -> NDArray:
        """Select outliers at a false discovery rate.

        By the procedure of Benjamini and Hochberg on ``p_values``.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.
        fdr : float, default=0.1
            False discovery rate: the expected share of normal samples among those selected.
        X_calibration : {array-like, DataFrame} of shape (n_calibration, n_features), default=None
            Normal samples that were not trained on. If None, those held out in ``fit``.

        Returns
        -------
        selected : ndarray of shape (n_samples,) of bool
            Which samples are selected.

        Raises
        ------
        ValueError
            If ``fdr`` is not between 0 and 1, or there are no calibration samples.
        """
        check_share(fdr, "fdr")
        return false_discovery_control(self.p_values(X, X_calibration)) <= fdr
