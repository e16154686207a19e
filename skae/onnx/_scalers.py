"""Inverse transforms of scalers and imputers as affine maps of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from skae.impute import AutoencoderImputer


class Affine(NamedTuple):
    """The map ``factor * x + offset`` of each column, (n_features,)."""

    factor: NDArray
    offset: NDArray

    def then(self, other: Affine) -> Affine:
        """Return the map that applies another one to the result."""
        return Affine(other.factor * self.factor, other.factor * self.offset + other.offset)


def inverse_of(steps: Sequence[Any], n_features: int) -> Affine:
    """Return the inverse transform of fitted steps, from the last to the first.

    That of an imputer is the identity: it leaves the units as they are.

    Parameters
    ----------
    steps : sequence of estimator
        In the order of the pipeline.
    n_features : int
        Number of columns that the steps return.

    Raises
    ------
    ValueError
        If a step is no scaler with an affine inverse, and no imputer.
    """
    inverse = Affine(np.ones(n_features), np.zeros(n_features))
    for step in reversed(steps):
        inverse = inverse.then(_inverse_of_one(step, n_features))
    return inverse


def _inverse_of_one(step: Any, n_features: int) -> Affine:
    ones, zeros = np.ones(n_features), np.zeros(n_features)
    if isinstance(step, StandardScaler):
        offset = step.mean_ if step.with_mean else zeros
        return Affine(ones if step.scale_ is None else step.scale_, offset)
    if isinstance(step, RobustScaler):
        offset = step.center_ if step.with_centering else zeros
        return Affine(step.scale_ if step.with_scaling else ones, offset)
    if isinstance(step, MinMaxScaler):
        return Affine(1 / step.scale_, -step.min_ / step.scale_)
    if isinstance(step, MaxAbsScaler):
        return Affine(step.scale_, zeros)
    if isinstance(step, AutoencoderImputer | SimpleImputer) and _keeps_columns(step):
        return Affine(ones, zeros)
    raise ValueError(
        "A reconstruction in the units of the pipeline needs the inverse of each step before the "
        "autoencoder, which to_onnx has for StandardScaler, MinMaxScaler, RobustScaler, "
        "MaxAbsScaler and imputers that return the columns they are given, not for this "
        f"{type(step).__name__}; leave 'reconstruction' out of outputs."
    )


def _keeps_columns(imputer: Any) -> bool:
    """Whether an imputer returns the columns that it is given."""
    n_out = len(imputer.get_feature_names_out())
    return not imputer.add_indicator and n_out == imputer.n_features_in_
