"""Thresholds of outlier scores, which ties and rounding do not cross."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OUTSIDE = 1.5  # interquartile ranges beyond the upper quartile (Tukey 1977)
TIE_TOLERANCE = 1e-5  # relative difference of scores that count as equal
MARGIN = 1e-2  # relative, by which a threshold may exceed the limit, to keep away from scores
SHARE_ROUNDING = 1e-9  # of shares that are sums of weights
MAX_LOG_FENCE = np.log(np.finfo(np.float64).max) - 5


class RankedScores:
    """Outlier scores of weighted samples, in ascending order.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Higher is more abnormal. Scores that differ by less than `TIE_TOLERANCE` are ties, which no
        threshold divides.
    weight : ndarray of shape (n,)
        Positive.
    """

    def __init__(self, scores: NDArray, weight: NDArray):
        order = np.argsort(scores, kind="stable")
        self.scores = scores[order]
        self.share = weight[order].cumsum() / weight.sum()  # of the samples up to each

    def quantile(self, q: float) -> float:
        """Return the lowest score that at least this share of the samples does not exceed."""
        index = int(np.searchsorted(self.share, q - SHARE_ROUNDING))
        return float(self.scores[min(index, len(self.scores) - 1)])

    def fence(self, whisker: float, logarithmic: bool) -> float:
        """Return Tukey's fence: `whisker` interquartile ranges above the upper quartile."""
        low, high = self.quantile(0.25), self.quantile(0.75)
        if not logarithmic:
            return high + whisker * (high - low)
        log = np.log(high) + whisker * (np.log(high) - np.log(low))
        return float(max(high, np.exp(min(log, MAX_LOG_FENCE))))

    def exceeded_by(self, share: float) -> float:
        """Return the score that this share of the samples exceeds, as nearly as ties allow."""
        score = self.quantile(1 - share)
        slack = TIE_TOLERANCE * abs(score)
        start = np.searchsorted(self.scores, score - slack)
        end = np.searchsorted(self.scores, score + slack, side="right") - 1
        without_ties = 1 - self.share[end]
        with_ties = 1 - (self.share[start - 1] if start else 0.0)
        # Without ties, shares are rounded down to whole samples.
        closer = end > start and with_ties - share < share - without_ties - SHARE_ROUNDING
        return float(self.scores[start - 1 if closer else end])

    def separating(self, limit: float) -> float:
        """Return the middle between the scores around a limit, or `MARGIN` above it if lower."""
        index = np.searchsorted(self.scores, limit + TIE_TOLERANCE * abs(limit), side="right")
        above = self.scores[index] if index < len(self.scores) else np.inf
        below = self.scores[index - 1] if index else limit
        return float(np.clip(below / 2 + above / 2, limit, limit + MARGIN * abs(limit)))
