"""What classification and regression do differently."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from skae.semi_supervised._heads import LinearHead, logistic_regression, ridge_regression, softmax
from skae.semi_supervised._spreading import NeighborGraph

MIN_PROBABILITY = 1e-3  # of a class, by spread labels
POWERS = (1, 2, 4, 8)  # of spread labels, which are too even


class Task(ABC):
    """A kind of targets, which are arrays of shape (n, n_outputs)."""

    n_readings = 1  # of spread targets
    tuned_share = 0.5  # of fine-tuning in an average with a linear model, unless others are better

    @staticmethod
    @abstractmethod
    def fit_head(Z: NDArray, targets: NDArray, weight: NDArray, C: float) -> LinearHead:
        """Fit a linear model to standardised codes."""

    @staticmethod
    @abstractmethod
    def predictions(outputs: NDArray) -> NDArray:
        """Return the predictions of linear outputs."""

    @staticmethod
    @abstractmethod
    def error(targets: NDArray, predictions: NDArray) -> NDArray:
        """Return the error of each prediction, (n,)."""

    @staticmethod
    @abstractmethod
    def objective(output: Tensor, target: Tensor) -> Tensor:
        """Return the error of each linear output, (n,), for targets that are predictions."""

    @staticmethod
    @abstractmethod
    def spread(graph: NeighborGraph, index: NDArray, targets: NDArray, weight: NDArray) -> NDArray:
        """Spread the targets of some samples over a graph."""

    @staticmethod
    def read(spread: NDArray, reading: int) -> NDArray:
        """Return the predictions that spread targets stand for, by one of several readings."""
        return spread


class Classification(Task):
    """Targets are probabilities of classes."""

    n_readings = len(POWERS)

    fit_head = staticmethod(logistic_regression)
    predictions = staticmethod(softmax)

    @staticmethod
    def error(targets: NDArray, predictions: NDArray) -> NDArray:
        p = (targets * predictions).sum(axis=1)
        return -np.log(np.maximum(p, MIN_PROBABILITY))

    @staticmethod
    def objective(output: Tensor, target: Tensor) -> Tensor:
        return -(target * F.log_softmax(output, 1)).sum(1)

    @staticmethod
    def spread(graph: NeighborGraph, index: NDArray, targets: NDArray, weight: NDArray) -> NDArray:
        spread = np.maximum(graph.spread(index, targets * weight[:, None]), 0)
        highest = spread.max(axis=1, keepdims=True)
        # Samples that no label reaches may be of any class.
        return np.divide(spread, highest, out=np.ones_like(spread), where=highest > 0)

    @staticmethod
    def read(spread: NDArray, reading: int) -> NDArray:
        p = spread ** POWERS[reading]
        p /= p.sum(axis=1, keepdims=True)
        return (1 - MIN_PROBABILITY * p.shape[1]) * p + MIN_PROBABILITY


class Regression(Task):
    """Targets are numbers, standardised."""

    tuned_share = 0.0  # training on few targets fits their noise, which no probability bounds

    fit_head = staticmethod(ridge_regression)

    @staticmethod
    def predictions(outputs: NDArray) -> NDArray:
        return outputs

    @staticmethod
    def error(targets: NDArray, predictions: NDArray) -> NDArray:
        return ((targets - predictions) ** 2).mean(axis=1)

    @staticmethod
    def objective(output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().mean(1)

    @staticmethod
    def spread(graph: NeighborGraph, index: NDArray, targets: NDArray, weight: NDArray) -> NDArray:
        values = np.column_stack([targets, np.ones(len(targets))]) * weight[:, None]
        spread = graph.spread(index, values)
        mass = spread[:, -1:]
        # Samples that no target reaches are at the mean, 0.
        return np.divide(spread[:, :-1], mass, out=np.zeros_like(spread[:, :-1]), where=mass > 0)
