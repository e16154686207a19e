"""Linear models of codes, which are the output layers that fine-tuning starts from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor, nn

N_FOLDS = 3


@dataclass(frozen=True)
class Standardization:
    """Centring of codes, and division by one number.

    Attributes
    ----------
    mean : ndarray of shape (n_components,)
    scale : float
        Square root of the mean variance: components keep their relative size, by which a penalty
        prefers those that reconstruction needs most.
    """

    mean: NDArray
    scale: float

    @staticmethod
    def of(codes: NDArray, weight: NDArray) -> Standardization:
        """Return the standardization of codes with weights."""
        mean = np.average(codes, axis=0, weights=weight)
        variance = np.average((codes - mean) ** 2, axis=0, weights=weight)
        return Standardization(mean, float(np.sqrt(variance.mean())) or 1.0)

    def apply(self, codes: NDArray) -> NDArray:
        """Return standardised codes."""
        return (codes - self.mean) / self.scale


@dataclass(frozen=True)
class LinearHead:
    """A linear map of codes.

    Attributes
    ----------
    coef : ndarray of shape (n_outputs, n_components)
    intercept : ndarray of shape (n_outputs,)
    """

    coef: NDArray
    intercept: NDArray

    def outputs(self, codes: NDArray) -> NDArray:
        """Return the outputs for codes, (n, n_outputs)."""
        return codes @ self.coef.T + self.intercept

    def of_codes(self, standardization: Standardization) -> LinearHead:
        """Return the same map as one of codes that are not standardised."""
        coef = self.coef / standardization.scale
        return LinearHead(coef, self.intercept - coef @ standardization.mean)

    def of_standardized(self, standardization: Standardization) -> LinearHead:
        """Return the same map of codes as one of standardised codes."""
        intercept = self.intercept + self.coef @ standardization.mean
        return LinearHead(self.coef * standardization.scale, intercept)


class OutputLayer(nn.Module):
    """A linear layer of standardised codes.

    Parameters
    ----------
    head : LinearHead
        Its initial weights, for standardised codes.
    standardization : Standardization
    like : Tensor
        Determines the dtype.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, head: LinearHead, standardization: Standardization, like: Tensor):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(head.coef).to(like))
        self.bias = nn.Parameter(torch.tensor(head.intercept).to(like))
        self.register_buffer("mean", torch.tensor(standardization.mean).to(like))
        self.register_buffer("scale", torch.tensor(standardization.scale).to(like))

    def forward(self, code: Tensor) -> Tensor:
        """Return the outputs for codes."""
        return nn.functional.linear((code - self.mean) / self.scale, self.weight, self.bias)

    def head(self) -> LinearHead:
        """Return the layer as a map of standardised codes."""
        weight, bias = (t.detach().cpu().double().numpy() for t in (self.weight, self.bias))
        return LinearHead(weight, bias)


def folds(groups: NDArray, random_state: np.random.RandomState) -> Iterator[NDArray]:
    """Yield masks of test samples: a share of each group, if others of the group remain.

    Parameters
    ----------
    groups : ndarray of int of shape (n,)
        Class of each sample; 0 for all without classes.
    random_state : RandomState
    """
    fold, start = np.empty(len(groups), dtype=int), 0
    counts = np.bincount(groups)
    for k in np.flatnonzero(counts):
        members = random_state.permutation(np.flatnonzero(groups == k))
        fold[members] = start + np.arange(counts[k])
        start += counts[k]
    n_folds = min(N_FOLDS, int(counts.max()))
    for i in range(n_folds if n_folds > 1 else 0):
        test = fold % n_folds == i
        test &= np.isin(groups, groups[~test])
        if test.any():
            yield test


def logistic_regression(Z: NDArray, targets: NDArray, weight: NDArray, C: float) -> LinearHead:
    """Return a multinomial logistic regression with an L2 penalty.

    Parameters
    ----------
    Z : ndarray of shape (n, d)
        Standardised codes.
    targets : ndarray of shape (n, n_classes)
        1 for the class of each sample. Classes without samples get a probability of 0.
    weight : ndarray of shape (n,)
    C : float
        Inverse of the strength of the penalty.
    """
    y = targets.argmax(axis=1)
    present = np.unique(y)
    coef, intercept = np.zeros((targets.shape[1], Z.shape[1])), np.full(targets.shape[1], -np.inf)
    if len(present) == 1:
        intercept[present] = 0.0
        return LinearHead(coef, intercept)
    with warnings.catch_warnings():
        # Separable classes need no exact optimum.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=C, max_iter=300).fit(Z, y, sample_weight=weight)
    w, b = model.coef_, model.intercept_
    if len(present) == 2:
        w, b = np.concatenate([-w, w]) / 2, np.concatenate([-b, b]) / 2
    coef[present], intercept[present] = w, b
    return LinearHead(coef, intercept)


def ridge_regression(Z: NDArray, targets: NDArray, weight: NDArray, C: float) -> LinearHead:
    """Return a linear regression with an L2 penalty of strength 1 / C."""
    model = Ridge(alpha=1 / C).fit(Z, targets, sample_weight=weight)
    return LinearHead(model.coef_.reshape(targets.shape[1], -1), np.reshape(model.intercept_, -1))


def softmax(outputs: NDArray) -> NDArray:
    """Return the probabilities of the classes for logits, (n, n_classes)."""
    p = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)
