"""The variables of a table, of which each is encoded by one or several columns."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae._dataframes import to_pandas
from skae.tables import ColumnGroups, TableEncoder, has_labels


class Variables(NamedTuple):
    """What the columns of samples stand for.

    Attributes
    ----------
    groups : ColumnGroups
        Columns of the same variable.
    thresholds : ndarray of shape (d,)
        Value of the indicator of a category above which a sample is of it; NaN for numbers.
    """

    groups: ColumnGroups
    thresholds: NDArray

    @classmethod
    def of(cls, encoder: TableEncoder | None, n_features: int) -> Variables:
        """Return the variables of encoded tables, or numbers if there is no encoder."""
        if encoder is None:
            return cls(ColumnGroups(np.arange(n_features)), np.full(n_features, np.nan))
        return cls(encoder._groups, encoder._thresholds)


def encoder_for(X: Any, sample_weight: ArrayLike | None) -> TableEncoder | None:
    """Return an encoder fitted to a DataFrame with booleans, text or categories, else None."""
    frame = to_pandas(X)
    if not (has_labels(frame) and len(frame)):
        return None
    return TableEncoder(handle_unknown="ignore").fit(frame, sample_weight=sample_weight)


def check_encoder(encoder: TableEncoder | None, n_variables: int, n_features: int) -> None:
    """Raise ValueError if an autoencoder is not fitted to what an encoder returns."""
    if encoder is not None and not hasattr(encoder, "mean_"):
        raise ValueError("its encoder is not fitted")
    known = encoder is None or encoder.n_features_in_ == n_variables
    if not known or n_features != (n_variables if encoder is None else len(encoder.mean_)):
        raise ValueError("its autoencoder is not fitted to as many features")
