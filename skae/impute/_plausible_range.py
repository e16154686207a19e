"""Values so far from all others of their column that they are treated as missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_RELATIVE_DISTANCE = 50  # to the median, relative to that of all but a few values
MIN_VALUES_TO_TRIM = 10


def plausible_range(X: NDArray, missing: NDArray) -> NDArray:
    """Return the bounds, (2, d), beyond which a value is treated as missing.

    The largest distance to the median of a column is left out, and one more of every fifty. The
    bounds are `MAX_RELATIVE_DISTANCE` times the largest of the other distances that is not 0.
    """
    bounds = np.zeros((2, X.shape[1]))
    for j in np.flatnonzero(~missing.all(axis=0)):
        x = X[~missing[:, j], j] / 4.0  # against overflow
        median = np.median(x)
        distances = np.sort(np.abs(x - median))
        n_left_out = 1 + len(x) // 50 if len(x) >= MIN_VALUES_TO_TRIM else 0
        typical = distances[-1 - n_left_out] or distances[-1]
        with np.errstate(over="ignore"):
            reach = MAX_RELATIVE_DISTANCE * typical
            bounds[:, j] = 4 * (median - reach), 4 * (median + reach)
    return bounds
