"""Paths between the codes of two samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae._numeric_input import as_numeric
from skae._validation import check_array, check_finite_result
from skae.data import FLOATS


def check_ends(a: ArrayLike, b: ArrayLike, n_features: int) -> NDArray:
    """Return two samples as an array of shape (2, n_features), or raise ValueError."""
    first, last = (
        check_array(
            as_numeric(np.ma.asanyarray(row), name),
            dtype=FLOATS,
            ensure_all_finite="allow-nan",
            ensure_2d=False,
            allow_nd=True,
            ensure_min_samples=0,
            ensure_min_features=0,
            input_name=name,
        )
        for name, row in (("a", a), ("b", b))
    )
    if not first.shape == last.shape == (n_features,):
        raise ValueError(
            f"interpolate needs two samples of {n_features} values; got shapes {first.shape} and "
            f"{last.shape}."
        )
    return np.stack([first, last])


def check_path(n_points: Any, method: Any) -> None:
    """Raise ValueError where a number of points or a method is not valid."""
    if not (isinstance(n_points, (int, np.integer)) and n_points >= 2):
        raise ValueError(f"n_points must be an integer of at least 2; got {n_points!r}.")
    if not (isinstance(method, str) and method in ("linear", "spherical")):
        raise ValueError(f"method must be 'linear' or 'spherical'; got {method!r}.")


def code_path(start: NDArray, end: NDArray, n_points: int, method: str) -> NDArray:
    """Return evenly spaced points from one code to another, (n_points, k)."""
    t = np.linspace(0, 1, n_points, dtype=start.dtype)[:, None]
    if method == "linear":
        return (1 - t) * start + t * end
    return check_finite_result(_arc(start, end, t), "the arc")


def _arc(start: NDArray, end: NDArray, t: NDArray) -> NDArray:
    """Return points on the arc from one vector to another (slerp)."""
    angle = np.arccos(np.clip(_direction(start) @ _direction(end), -1, 1))
    if np.pi - angle < 1e-6:
        raise ValueError("The arc between opposite codes is not unique; use method='linear'.")
    if angle < 1e-6:
        return (1 - t) * start + t * end
    with np.errstate(over="ignore"):
        return np.sin((1 - t) * angle) / np.sin(angle) * start + (
            np.sin(t * angle) / np.sin(angle) * end
        )


def _direction(vector: NDArray) -> NDArray:
    """Return a vector divided by its length; a zero vector stays."""
    largest = np.abs(vector).max()
    scaled = vector / largest if largest > 0 else vector
    return scaled / max(np.linalg.norm(scaled), 1)
