"""Predictions for all samples, by which a student is trained: linear models and spread labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skae.semi_supervised._heads import LinearHead
from skae.semi_supervised._spreading import NeighborGraph
from skae.semi_supervised._tasks import Task

PENALTIES = (1.0, 0.1, 10.0, 0.01, 100.0, 1e-3, 1e3)  # values of C, in the order of preference
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of a prediction in the average


@dataclass(frozen=True)
class Labels:
    """Labelled samples.

    Attributes
    ----------
    index : ndarray of int of shape (n_labeled,)
        Which samples they are.
    targets : ndarray of shape (n_labeled, n_outputs)
    weight : ndarray of shape (n_labeled,)
    groups : ndarray of int of shape (n_labeled,)
        Class of each, or 0 for all.
    """

    index: NDArray
    targets: NDArray
    weight: NDArray
    groups: NDArray

    def __getitem__(self, which: NDArray) -> Labels:
        return Labels(
            self.index[which], self.targets[which], self.weight[which], self.groups[which]
        )

    def fit_head(self, task: type[Task], Z: NDArray, C: float) -> LinearHead:
        """Fit a linear model to the codes of all samples, of which it uses those with a label."""
        return task.fit_head(Z[self.index], self.targets, self.weight, C)

    def spread(self, task: type[Task], graph: NeighborGraph) -> NDArray:
        """Spread the labels to all samples, (n, n_outputs)."""
        return task.spread(graph, self.index, self.targets, self.weight)


@dataclass(frozen=True)
class Choice:
    """What predicts held-out labels best.

    Attributes
    ----------
    tuned, spread : float
        Weights of the fine-tuned encoder and of the spread labels in the average prediction; the
        rest is that of the linear model.
    graph : int
        Number of the graph that labels are spread over.
    reading : int
        How spread labels are read, see `Task.read`.
    """

    tuned: float
    spread: float = 0.0
    graph: int = 0
    reading: int = 0

    @property
    def linear(self) -> float:
        """The weight of the linear model."""
        return 1 - self.tuned - self.spread

    @property
    def by_graph(self) -> tuple[float, float]:
        """The weights of labels that are spread over nearest codes and over nearest samples."""
        return (0.0, self.spread) if self.graph else (self.spread, 0.0)

    def mix(
        self, task: type[Task], linear: NDArray, tuned: NDArray, spread: NDArray | None
    ) -> NDArray:
        """Return the average of the predictions."""
        mixed = self.linear * linear + self.tuned * tuned
        if spread is None or not self.spread:
            return mixed
        return mixed + self.spread * task.read(spread, self.reading)


def choose_penalty(
    task: type[Task], Z: NDArray, labels: Labels, tests: list[NDArray]
) -> tuple[float, NDArray]:
    """Return the best C, and the predictions of held-out samples, fold by fold.

    Parameters
    ----------
    task : type of Task
    Z : ndarray of shape (n, d)
        Standardised codes of all samples.
    labels : Labels
    tests : list of ndarray of bool
        Masks of the labelled samples that are held out in each fold.
    """
    if not tests:
        return PENALTIES[0], np.empty((0, labels.targets.shape[1]))
    predicted = [
        np.concatenate([predict_held_out(task, Z, labels, test, C) for test in tests])
        for C in PENALTIES
    ]
    known = labels[np.concatenate([np.flatnonzero(test) for test in tests])]
    best = first_of_the_best([task.error(known.targets, p) for p in predicted], known.weight)
    return PENALTIES[best], predicted[best]


def predict_held_out(
    task: type[Task], Z: NDArray, labels: Labels, test: NDArray, C: float
) -> NDArray:
    """Return the predictions of a linear model for labelled samples that are held out."""
    head = labels[~test].fit_head(task, Z, C)
    return task.predictions(head.outputs(Z[labels.index[test]]))


def choose_shares(
    task: type[Task],
    labels: Labels | None,
    linear: NDArray,
    tuned: NDArray,
    spread: list[NDArray],
) -> Choice:
    """Choose the weights of an average by the predictions of held-out samples.

    Parameters
    ----------
    task : type of Task
    labels : Labels or None
        Of the held-out samples; None if there are none.
    linear, tuned : ndarray of shape (n, n_outputs)
    spread : list of ndarray of shape (n, n_outputs)
        Labels, spread over each graph; empty if they are not spread.
    """
    if labels is None:
        return Choice(task.tuned_share)
    of_spread = SHARES if spread else (0.0,)
    shares = [(t, s) for s in of_spread for t in SHARES if t + s <= 1]
    shares.sort(key=lambda share: (share[1], abs(share[0] - task.tuned_share)))
    candidates = [
        Choice(t, s, g, r)
        for t, s in shares
        for g in range(len(spread) if s else 1)
        for r in range(task.n_readings if s else 1)
    ]
    mixed = (c.mix(task, linear, tuned, spread[c.graph] if spread else None) for c in candidates)
    errors = [task.error(labels.targets, prediction) for prediction in mixed]
    return candidates[first_of_the_best(errors, labels.weight)]


def first_of_the_best(errors: list[NDArray], weight: NDArray) -> int:
    """Return the first candidate that is worse than the best by at most one standard error.

    Candidates are in the order of preference. The standard error is that of the mean difference
    from the best (Breiman et al. 1984).
    """
    share = weight / weight.sum()
    best = min(errors, key=lambda error: share @ error)
    for i, error in enumerate(errors):
        gap = error - best
        mean = share @ gap
        if mean <= np.sqrt(share**2 @ (gap - mean) ** 2):
            return i
    raise AssertionError("the best candidate is as good as itself")
