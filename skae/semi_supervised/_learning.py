"""From a fitted autoencoder and labels to an encoder and an output layer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skae.base import BaseAutoencoder
from skae.data import DataSource
from skae.semi_supervised._fine_tuning import FineTuning, Learned
from skae.semi_supervised._heads import LinearHead, Standardization, folds
from skae.semi_supervised._spreading import NeighborGraph
from skae.semi_supervised._tasks import Task
from skae.semi_supervised._teacher import Labels, choose_penalty, choose_shares
from skae.training import TrainingPlan

LABELED_STEPS, MIN_LABELED_EPOCHS = 500, 5  # of training on the labelled samples
ALL_STEPS, MIN_EPOCHS = 2000, 1  # of training on all samples
FASTER = 2.0  # the learning rate of that training, relative to the other


@dataclass(frozen=True)
class Learning:
    """Learning from the labels of some samples.

    Attributes
    ----------
    task : type of Task
    estimator : BaseAutoencoder
        The fitted autoencoder, which stays as it is.
    source : DataSource of shape (n, d)
    weight : ndarray of shape (n,)
        Above 0.
    labels : Labels
    plan : callable
        Returns the plan of a training, given the number of samples, of gradient steps and the
        minimum number of epochs.
    step : callable
        Context of a step of the fit, given its name and number of tasks.
    layer_decay : float
    random_state : RandomState
    """

    task: type[Task]
    estimator: BaseAutoencoder
    source: DataSource
    weight: NDArray
    labels: Labels
    plan: Callable[[int, int, int], TrainingPlan]
    step: Callable[..., AbstractContextManager[Callable[[str], None]]]
    layer_decay: float
    random_state: np.random.RandomState

    def learn(self, fine_tune: str, n_neighbors: int | None) -> Learned:
        """Learn as the hyperparameters of the same names describe."""
        codes = encode(self.estimator, self.source)
        standardization = Standardization.of(codes, self.weight)
        Z, task, labels = standardization.apply(codes), self.task, self.labels
        tuning = FineTuning(self.estimator, task, standardization, self.layer_decay)
        tests = list(folds(labels.groups, self.random_state))
        with self.step("linear model"):
            C, linear = choose_penalty(task, Z, labels, tests)
            head = labels.fit_head(task, Z, C)
        if fine_tune == "head":
            return Learned(self.estimator, head.of_codes(standardization))
        with self.step("labelled samples", n_tasks=None) as done:
            tuned = self._tune(tuning, head, labels, done)
        if fine_tune == "all":
            return tuned
        with self.step("cross-validation", n_tasks=None) as done:
            graph = None if n_neighbors is None else NeighborGraph(codes, n_neighbors)
            by_tuned, by_spread = self._held_out(tuning, Z, C, graph, tests, done)
            held_out = labels[np.concatenate([np.flatnonzero(t) for t in tests])] if tests else None
            choice = choose_shares(task, held_out, linear, by_tuned, by_spread)
        with self.step("all samples", n_tasks=None) as done:
            spread = None if graph is None else labels.spread(task, graph)
            predicted = self._predictions(tuned, self.source)
            targets = choice.mix(task, task.predictions(head.outputs(Z)), predicted, spread)
            targets[labels.index] = labels.targets
            weight = self.weight.copy()
            weight[labels.index] = labels.weight
            plan = self.plan(len(targets), ALL_STEPS, MIN_EPOCHS)
            plan = replace(plan, learning_rate=FASTER * plan.learning_rate)
            # Targets of all samples are no few: all layers may follow them.
            student = replace(tuning, layer_decay=1.0)
            learned = student.train(head, self.source, weight, targets, plan, done)
        return replace(learned, choice=choice)

    def _tune(
        self, tuning: FineTuning, head: LinearHead, labels: Labels, done: Callable[[str], None]
    ) -> Learned:
        """Fine-tune on labelled samples."""
        plan = self.plan(len(labels.index), LABELED_STEPS, MIN_LABELED_EPOCHS)
        rows = self.source.take(labels.index)
        return tuning.train(head, rows, labels.weight, labels.targets, plan, done)

    def _predictions(self, learned: Learned, source: DataSource) -> NDArray:
        return self.task.predictions(learned.head.outputs(encode(learned.encoder, source)))

    def _held_out(
        self,
        tuning: FineTuning,
        Z: NDArray,
        C: float,
        graph: NeighborGraph | None,
        tests: list[NDArray],
        done: Callable[[str], None],
    ) -> tuple[NDArray, NDArray | None]:
        """Return what fine-tuning predicts for held-out samples, and what is spread to them."""
        by_tuned, by_spread = [np.empty((0, self.labels.targets.shape[1]))], []
        for test in tests:
            kept, index = self.labels[~test], self.labels.index[test]
            tuned = self._tune(tuning, kept.fit_head(self.task, Z, C), kept, done)
            by_tuned.append(self._predictions(tuned, self.source.take(index)))
            if graph is not None:
                by_spread.append(kept.spread(self.task, graph)[index])
        return np.concatenate(by_tuned), np.concatenate(by_spread) if by_spread else None


def encode(estimator: BaseAutoencoder, source: DataSource) -> NDArray:
    """Return the codes of samples, in float64."""
    codes = estimator._apply(lambda fitted, module, batch: fitted._encode(module, batch), source)
    return codes.astype(np.float64)
