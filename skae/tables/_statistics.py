"""Weighted statistics of the values of a column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mean_and_std(x: NDArray, weight: NDArray) -> tuple[float, float]:
    """Return the weighted mean and standard deviation of finite values of any magnitude."""
    # About one of them, and in units of their range, against cancellation and overflow.
    low, high = x.min() / 2, x.max() / 2
    width = high - low
    centred = (x / 2 - x[0] / 2) / (width or 1.0)
    mean = np.average(centred, weights=weight)
    std = np.sqrt(np.average((centred - mean) ** 2, weights=weight))
    return float(2 * np.clip(x[0] / 2 + width * mean, low, high)), float(2 * (width * std))
