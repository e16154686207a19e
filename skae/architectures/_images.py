"""The shape of images whose pixels are the columns of a table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def resolve_image_shape(image_shape: Any, n_columns: int) -> tuple[int, int, int]:
    """Return (height, width, channels) of images with so many values.

    Parameters
    ----------
    image_shape : sequence of two or three int, or None
        (height, width) or (height, width, channels). If None, a square greyscale image if
        `n_columns` is a square, else one row, which is a signal.
    n_columns : int

    Raises
    ------
    ValueError
        If it does not consist of two or three positive integers whose product is `n_columns`.
    """
    if image_shape is None:
        side = math.isqrt(n_columns)
        return (side, side, 1) if side**2 == n_columns else (1, n_columns, 1)
    given: Any = np.asarray(image_shape)
    if given.shape not in ((2,), (3,)) or given.dtype.kind not in "iu" or (given < 1).any():
        raise ValueError(
            "image_shape must be (height, width) or (height, width, channels), positive integers; "
            f"got {image_shape!r}."
        )
    height, width, channels = (*map(int, given), 1)[:3]
    if height * width * channels != n_columns:
        raise ValueError(
            f"image_shape={tuple(map(int, given))} has {height * width * channels} values, but X "
            f"has {n_columns} columns; channels are the last axis."
        )
    return height, width, channels
