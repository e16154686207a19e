"""Paths between codes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def arc(start: NDArray, end: NDArray, t: NDArray) -> NDArray:
    """Return points on the arc from one vector to another (slerp)."""
    angle = np.arccos(np.clip(_direction(start) @ _direction(end), -1, 1))
    if np.pi - angle < 1e-6:
        raise ValueError(
            "There is no one arc between codes that are opposite; use method='linear'."
        )
    if angle < 1e-6:
        return (1 - t) * start + t * end
    with np.errstate(over="ignore"):
        return np.sin((1 - t) * angle) / np.sin(angle) * start + (
            np.sin(t * angle) / np.sin(angle) * end
        )


def _direction(vector: NDArray) -> NDArray:
    """Return a vector of length 1, or 0 if that is what it is."""
    largest = np.abs(vector).max()
    scaled = vector / largest if largest > 0 else vector
    return scaled / max(np.linalg.norm(scaled), 1)
