"""From a fitted autoencoder and labels to an encoder and an output layer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from skae.base import BaseAutoencoder
from skae.data import DataSource, RowDataset, principal_axes
from skae.semi_supervised._fine_tuning import FineTuning, Learned
from skae.semi_supervised._heads import Standardization, folds
from skae.semi_supervised._spreading import NeighborGraph
from skae.semi_supervised._tasks import Task
from skae.semi_supervised._teacher import Choice, Labels, choose_penalty, choose_shares
from skae.training import TrainingPlan, budget

LABELED_STEPS, MIN_LABELED_EPOCHS = 500, 5  # of training on the labelled samples
ALL_STEPS, MIN_EPOCHS = 2000, 1  # of training on all samples
VALIDATION_FRACTION = 0.1
MAX_DIMENSIONS = 50  # of the space in which nearest rows are searched
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
        tuning = FineTuning(task, standardization, self.layer_decay)
        tests = list(folds(labels.groups, self.random_state))
        with self.step("linear model"):
            C, linear = choose_penalty(task, Z, labels, tests)
            head = self._linear(labels, standardization, Z, C)
        if fine_tune == "head":
            return head
        with self.step("labelled samples", n_tasks=None) as done:
            tuned = self._tune(tuning, head, labels, done)
        if fine_tune == "all":
            return tuned
        with self.step("cross-validation", n_tasks=None) as done:
            graphs = [] if n_neighbors is None else self._graphs(codes, n_neighbors)
            by_tuned, by_spread = self._held_out(tuning, Z, C, graphs, tests, done)
            held_out = labels[np.concatenate([np.flatnonzero(t) for t in tests])] if tests else None
            choice = choose_shares(task, held_out, linear, by_tuned, by_spread)
        with self.step("all samples", n_tasks=None) as done:
            spread = labels.spread(task, graphs[choice.graph]) if choice.spread else None
            by_head, by_tuned = (self._predictions(m, self.source) for m in (head, tuned))
            targets = choice.mix(task, by_head, by_tuned, spread)
            start = tuned if choice.tuned >= choice.linear else head
            return self._learn_from_all(tuning, start, targets, choice, done)

    def _graphs(self, codes: NDArray, n_neighbors: int) -> list[NeighborGraph]:
        """Return the graphs that labels are spread over: of nearest codes and of nearest rows."""
        rows = principal_components(self.estimator, self.source, self.weight)
        return [NeighborGraph(points, n_neighbors) for points in (codes, rows)]

    def _linear(
        self, labels: Labels, standardization: Standardization, Z: NDArray, C: float
    ) -> Learned:
        head = labels.fit_head(self.task, Z, C)
        return Learned(self.estimator, head.of_codes(standardization))

    def _tune(
        self, tuning: FineTuning, head: Learned, labels: Labels, done: Callable[[str], None]
    ) -> Learned:
        """Fine-tune on labelled samples."""
        plan = self.plan(len(labels.index), LABELED_STEPS, MIN_LABELED_EPOCHS)
        rows = self.source.take(labels.index)
        return tuning.train(head, rows, labels.weight, labels.targets, plan, done)

    def _learn_from_all(
        self,
        tuning: FineTuning,
        start: Learned,
        targets: NDArray,
        choice: Choice,
        done: Callable[[str], None],
    ) -> Learned:
        """Train on all samples, and keep the epoch that predicts held-out targets best.

        That is the start, unless a later epoch is better by a standard error.
        """
        targets[self.labels.index] = self.labels.targets
        weight = self.weight.copy()
        weight[self.labels.index] = self.labels.weight
        n = len(targets)
        n_held_out = 0
        if n >= budget.MIN_EARLY_STOPPING_SAMPLES:
            n_held_out = budget.n_held_out(n, VALIDATION_FRACTION)
        plan = self.plan(n - n_held_out, ALL_STEPS, MIN_EPOCHS)
        plan = replace(
            plan,
            learning_rate=FASTER * plan.learning_rate,
            held_out=self.random_state.permutation(n)[:n_held_out],
            patience=budget.patience(plan.max_epochs),
            n_errors=1.0,
        )
        # Targets of all samples are not few: all layers may follow them.
        student = replace(tuning, layer_decay=1.0)
        learned = student.train(start, self.source, weight, targets, plan, done)
        return replace(learned, choice=choice)

    def _predictions(self, learned: Learned, source: DataSource) -> NDArray:
        return self.task.predictions(learned.head.outputs(encode(learned.encoder, source)))

    def _held_out(
        self,
        tuning: FineTuning,
        Z: NDArray,
        C: float,
        graphs: list[NeighborGraph],
        tests: list[NDArray],
        done: Callable[[str], None],
    ) -> tuple[NDArray, list[NDArray]]:
        """Return what fine-tuning predicts for held-out samples, and what each graph does."""
        by_tuned = [np.empty((0, self.labels.targets.shape[1]))]
        by_spread: list[list[NDArray]] = [[] for _ in graphs]
        for test in tests:
            kept, index = self.labels[~test], self.labels.index[test]
            head = self._linear(kept, tuning.standardization, Z, C)
            tuned = self._tune(tuning, head, kept, done)
            by_tuned.append(self._predictions(tuned, self.source.take(index)))
            for graph, predicted in zip(graphs, by_spread, strict=True):
                predicted.append(kept.spread(self.task, graph)[index])
        return np.concatenate(by_tuned), [np.concatenate(p) for p in by_spread if p]


def principal_components(
    estimator: BaseAutoencoder, source: DataSource, weight: NDArray
) -> NDArray:
    """Return samples in the autoencoder's units, in float64; wide ones by principal components."""
    complete = not source.has_missing()
    dtype = estimator.module_.output_bias.dtype
    rows = RowDataset.of(source, weight, estimator._conditioning, dtype, complete)
    if rows.n_features <= MAX_DIMENSIONS:
        return rows[slice(None)].x.double().numpy()
    axes = torch.from_numpy(principal_axes(rows, MAX_DIMENSIONS, np.random.RandomState(0)).T)
    projected = [rows[chunk].x @ axes.to(dtype) for chunk in rows.gen_chunks()]
    return torch.cat(projected).double().numpy()


def encode(estimator: BaseAutoencoder, source: DataSource) -> NDArray:
    """Return the codes of samples, in float64."""
    codes = estimator._apply(lambda fitted, module, batch: fitted._encode(module, batch), source)
    return codes.astype(np.float64)
