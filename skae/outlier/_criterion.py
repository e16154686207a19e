"""What an outlier is measured by: the base of the criteria."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skae._schema import Check, array, integer, number
from skae._sklearn_types import BaseEstimator
from skae.base import BaseAutoencoder
from skae.data import DataSource
from skae.outlier._variables import Variables
from skae.tables import ColumnGroups, is_grouping
from skae.training import device_of


class Criterion(BaseEstimator):
    """Base: a score that is higher for samples that deviate from the training data.

    Attributes
    ----------
    n_features_in_, n_components_ : int
        Those of the autoencoder.
    group_start_ : ndarray of shape (n_features_in_,)
        First column of the variable that each column encodes.
    thresholds_ : ndarray of shape (n_features_in_,)
        See `Variables`.
    floor_ : float
        Scores below it differ by no more than rounding.
    """

    name: ClassVar[str]
    additive: ClassVar[bool] = False  # whether a score is a sum over features
    _fitted_schema: ClassVar[dict[str, Check]] = {
        "n_features_in_": integer(1),
        "n_components_": integer(1),
        "group_start_": lambda value, state: is_grouping(value, state.get("n_features_in_", 0)),
        "thresholds_": array("f", "n_features_in_"),
        "floor_": number,
    }

    def fit(
        self,
        model: BaseAutoencoder,
        source: DataSource,
        weight: NDArray,
        variables: Variables | None = None,
    ) -> Self:
        """Learn what is usual from the samples whose weight is positive.

        Parameters
        ----------
        model : BaseAutoencoder
            Fitted.
        source : DataSource of shape (n_samples, n_features)
            Training data.
        weight : ndarray of shape (n_samples,)
            Samples with weight 0 are ignored.
        variables : Variables or None
            What the columns of the samples stand for; numbers if None.
        """
        self.n_features_in_, self.n_components_ = model.n_features_in_, model.n_components_
        groups, self.thresholds_ = variables or Variables.of(None, self.n_features_in_)
        self.group_start_ = groups.group_start
        self._learn(model, source, weight)
        self.floor_ = self._floor(model)
        return self

    @property
    def _groups(self) -> ColumnGroups:
        return ColumnGroups(self.group_start_)

    def _learn(self, model: BaseAutoencoder, source: DataSource, weight: NDArray) -> None:
        """Set the fitted attributes of the criterion."""

    def _floor(self, model: BaseAutoencoder) -> float:
        """Return the score below which differences are no more than rounding."""
        raise NotImplementedError

    def score(self, model: BaseAutoencoder, source: DataSource) -> NDArray:
        """Return the score of each sample, (n,); not finite where it overflows."""
        raise NotImplementedError

    def per_feature(self, model: BaseAutoencoder, source: DataSource) -> NDArray:
        """Return the terms of an additive score, (n, d); 0 for missing values."""
        raise NotImplementedError


def apply(model: BaseAutoencoder, function: Callable[..., Tensor], source: DataSource) -> NDArray:
    """Return ``function(fitted, module, batch)`` in float64; infinity where it overflows.

    Samples are read as float64, so that rounding them to float32 hardly changes their scores.
    Overflow is not refused here: a source may be a part of X, whose rows have other numbers in X.
    """
    if device_of(model.device).type != "mps":
        source = copy.copy(source)
        source.dtype = np.dtype(np.float64)

    def capped(fitted: Any, module: Any, batch: Any) -> Tensor:
        result = function(fitted, module, batch)
        return result.nan_to_num(torch.finfo(result.dtype).max)

    result = model._apply(capped, source)
    overflows = np.abs(result) == np.finfo(result.dtype).max
    result = result.astype(np.float64, copy=False)
    result[overflows] = np.inf
    return result
