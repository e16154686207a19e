"""The outlier score: a weighted sum of fitted criteria."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skae.base import BaseAutoencoder
from skae.data import DataSource, subsample_evenly
from skae.outlier._criterion import Criterion
from skae.outlier._variables import Variables

MAX_SCORED = 2**16  # training samples whose scores set means and the threshold
TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Scorer:
    """The outlier score of samples by a fitted autoencoder.

    Parameters
    ----------
    model : BaseAutoencoder
        Fitted.
    criteria : tuple of Criterion
        Fitted with it.
    weights : ndarray of shape (n_criteria,)
        Of each criterion in the score.
    floor : float
        Scores below it differ by no more than rounding.
    """

    model: BaseAutoencoder
    criteria: tuple[Criterion, ...]
    weights: NDArray
    floor: float

    def __call__(self, source: DataSource) -> NDArray:
        """Return the score of each sample, (n,), 0 where nothing is observed.

        Higher is more outlying; not finite where it overflows.
        """
        if not len(source):
            return np.empty(0)
        with np.errstate(over="ignore", invalid="ignore"):
            scores = self.weights @ [c.score(self.model, source) for c in self.criteria]
        return np.where(source.empty_rows(), 0, scores)

    def per_feature(self, source: DataSource) -> NDArray:
        """Return the terms of the criteria that are sums over features, (n, d)."""
        total = np.zeros(source.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            for weight, criterion in zip(self.weights, self.criteria, strict=True):
                if criterion.additive:
                    total += weight * criterion.per_feature(self.model, source)
        return total


def fit_scorer(
    model: BaseAutoencoder,
    criteria: Sequence[Criterion],
    source: DataSource,
    weight: NDArray,
    variables: Variables | None = None,
) -> tuple[Scorer, NDArray, NDArray]:
    """Fit criteria to training data, and score it.

    Several criteria are divided by their means over the training data and averaged.

    Parameters
    ----------
    model : BaseAutoencoder
        Fitted.
    criteria : sequence of Criterion
        Unfitted; they are fitted in place.
    source : DataSource of shape (n_samples, n_features)
        Samples with something observed.
    weight : ndarray of shape (n_samples,)
        Samples with weight 0 are scored only.
    variables : Variables or None
        What the columns of the samples stand for; numbers if None.

    Returns
    -------
    scorer : Scorer
    scored : ndarray of int
        Samples that were scored: all, or `MAX_SCORED` evenly spaced ones.
    scores : ndarray
        Theirs.
    """
    for criterion in criteria:
        criterion.fit(model, source, weight, variables)
    floors = np.array([criterion.floor_ for criterion in criteria])
    scored = subsample_evenly(np.arange(len(source)), MAX_SCORED)
    if len(scored) < len(source):
        source, weight = source.take(scored), weight[scored]
    scores = np.array([criterion.score(model, source) for criterion in criteria])
    weights = np.ones(1)
    if len(criteria) > 1:
        used = weight > 0
        means = scores[:, used] @ (weight[used] / weight.sum())
        # A criterion that is 0 in training, but for rounding, would dominate the score.
        weights = 1 / len(criteria) / np.maximum(np.maximum(means, floors), TINY)
    floor = float(weights @ floors)
    scorer = Scorer(model, tuple(criteria), weights, floor)
    return scorer, scored, np.maximum(weights @ scores, floor)
