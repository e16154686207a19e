"""Values so far from all others of their column that they are treated as missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WILD = 50  # times the distance of all but a few values from the median
ENOUGH_VALUES = 10  # of a column, for some to be left out


def plausible(X: NDArray, holes: NDArray) -> NDArray:
    """Return the bounds, (2, d), beyond which a value is treated as missing.

    Of the distances to a column's median, the largest is left out, and one more of every fifty;
    bounds are `WILD` times the largest of those that remain, 0 excepted.
    """
    bounds = np.zeros((2, X.shape[1]))
    for j in np.flatnonzero(~holes.all(axis=0)):
        x = X[~holes[:, j], j] / 4.0  # against overflow
        median = np.median(x)
        distances = np.sort(np.abs(x - median))
        n_left_out = 1 + len(x) // 50 if len(x) >= ENOUGH_VALUES else 0
        typical = distances[-1 - n_left_out] or distances[-1]
        with np.errstate(over="ignore"):
            bounds[:, j] = 4 * (median - WILD * typical), 4 * (median + WILD * typical)
    return bounds
