"""Criteria that compare codes with those of the training data, and the likelihood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skae._schema import Check, array, persistent, positive
from skae._validation import check_finite_result
from skae.base import BaseAutoencoder
from skae.data import Batch, DataSource, subsample_evenly
from skae.hyperparameters import POSITIVE_INT
from skae.outlier._criterion import Criterion, apply
from skae.training import AutoencoderModule

CODE_RESOLUTION = 1e-3  # relative to the spread of the codes
SAME_CODE, OTHER_CODE = 1e-3, 1e-2  # distances relative to the spread of the codes
COVARIANCE_RIDGE = 1e-6  # relative to the mean variance of the codes
NEGLIGIBLE_DISTANCE = 1e-2  # squared Mahalanobis distance per component


class CodeCriterion(Criterion):
    """Base of the distances of a code from the training codes."""

    def score(self, model: BaseAutoencoder, source: DataSource) -> NDArray:
        distance = self._distance()

        def of_batch(fitted: Any, module: AutoencoderModule, batch: Batch) -> Tensor:
            codes = fitted._encode(module, batch).cpu().double().numpy()
            with np.errstate(over="ignore", invalid="ignore"):
                return torch.from_numpy(distance(codes))

        return apply(model, of_batch, source)

    def _distance(self) -> Callable[[NDArray], NDArray]:
        """Return the function that gives the score of each code."""
        raise NotImplementedError


@persistent
class MahalanobisDistance(CodeCriterion):
    """Squared Mahalanobis distance of the code from the training codes, per component.

    Attributes
    ----------
    location_ : ndarray of shape (n_components,)
    precision_ : ndarray of shape (n_components, n_components)
    """

    name = "mahalanobis"
    _fitted_schema: ClassVar[dict[str, Check]] = {
        "location_": array("f", "n_components_", finite=True),
        "precision_": array("f", "n_components_", "n_components_", finite=True),
    }

    def _floor(self, model: BaseAutoencoder) -> float:
        return NEGLIGIBLE_DISTANCE

    def _learn(self, model: BaseAutoencoder, source: DataSource, weight: NDArray) -> None:
        index = np.flatnonzero(weight > 0)
        codes = _codes(model, source.take(index))
        share = weight[index] / weight.sum()
        self.location_ = share @ codes
        covariance = ((codes - self.location_).T * share) @ (codes - self.location_)
        variance = np.trace(covariance) / len(covariance)
        covariance += COVARIANCE_RIDGE * (variance or 1.0) * np.eye(len(covariance))
        self.precision_ = np.linalg.inv(covariance)

    def _distance(self) -> Callable[[NDArray], NDArray]:
        def distance(codes: NDArray) -> NDArray:
            residual = codes - self.location_
            return ((residual @ self.precision_) * residual).sum(1) / residual.shape[1]

        return distance


@persistent
class NeighborDistance(CodeCriterion):
    """Mean distance of the code to the nearest training codes.

    A training sample is its own nearest neighbor, so one code at the same place is ignored. Whether
    a code is at the same place changes gradually between two distances, so that rounding makes
    no difference.

    Parameters
    ----------
    n_neighbors : int, default=5
        Number of nearest codes.
    max_codes : int, default=8192
        Number of training codes that are kept, at most.

    Attributes
    ----------
    codes_ : ndarray of shape (n_codes, n_components)
        Training codes less their mean.
    location_ : ndarray of shape (n_components,)
        Their mean: distances of codes far from zero would be rounded.
    spread_ : float
        Root of the summed variances of the codes.
    """

    name = "neighbors"
    _parameter_constraints: ClassVar[dict[str, list]] = {
        "n_neighbors": [POSITIVE_INT],
        "max_codes": [POSITIVE_INT],
    }
    _fitted_schema: ClassVar[dict[str, Check]] = {
        "codes_": array("f", None, "n_components_", finite=True),
        "location_": array("f", "n_components_", finite=True),
        "spread_": positive,
    }

    def __init__(self, n_neighbors: int = 5, max_codes: int = 8192):
        self.n_neighbors = n_neighbors
        self.max_codes = max_codes

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "codes_" in state and len(state["codes_"]) < 2:
            raise ValueError(f"{cls.__name__} holds fewer than two codes")

    def _floor(self, model: BaseAutoencoder) -> float:
        return CODE_RESOLUTION * self.spread_

    def _learn(self, model: BaseAutoencoder, source: DataSource, weight: NDArray) -> None:
        index = subsample_evenly(np.flatnonzero(weight > 0), self.max_codes)
        codes = _codes(model, source.take(index))
        self.location_ = codes.mean(axis=0)
        self.codes_ = codes - self.location_
        self.spread_ = float(np.sqrt(codes.var(axis=0).sum()) or 1.0)

    def _distance(self) -> Callable[[NDArray], NDArray]:
        from sklearn.neighbors import NearestNeighbors  # slow, and few need it

        k = min(self.n_neighbors, len(self.codes_) - 1)
        search = NearestNeighbors(n_neighbors=k + 1).fit(self.codes_)

        def distance(codes: NDArray) -> NDArray:
            codes = codes - self.location_
            finite = np.isfinite(codes).all(axis=1)
            nearest = np.full((len(codes), k + 1), np.inf)
            if finite.any():
                nearest[finite] = search.kneighbors(codes[finite])[0]
            relative = np.clip(nearest[:, 0] / self.spread_, SAME_CODE, OTHER_CODE)
            same = np.log(OTHER_CODE / relative) / np.log(OTHER_CODE / SAME_CODE)
            without_first, without_last = nearest[:, 1:].mean(1), nearest[:, :-1].mean(1)
            return np.where(finite, same * without_first + (1 - same) * without_last, np.inf)

        return distance


@persistent
class NegativeLogLikelihood(Criterion):
    """Minus the bound on the log-likelihood, in nats, of a `VariationalAutoencoder`."""

    name = "likelihood"

    def _floor(self, model: BaseAutoencoder) -> float:
        return -np.inf

    def score(self, model: BaseAutoencoder, source: DataSource) -> NDArray:
        model._check_domain(source)
        return apply(model, lambda fitted, module, batch: -fitted._score(module, batch), source)


def _codes(model: BaseAutoencoder, source: DataSource) -> NDArray:
    """Return the codes of training samples."""
    codes = apply(model, lambda fitted, module, batch: fitted._encode(module, batch), source)
    return check_finite_result(codes, "X")
