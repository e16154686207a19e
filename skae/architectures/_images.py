"""Rows as images: their shape."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import numpy as np


def resolve_image_shape(image_shape: Any, n_columns: int) -> tuple[int, int, int]:
    """Return the height, width and number of channels of the images that rows hold.

    Parameters
    ----------
    image_shape : array-like of two or three int, or None
        Height, width and, if not 1, number of channels. If None, images are square and grey if the
        number of columns allows it; otherwise, they have one row: a signal.
    n_columns : int

    Returns
    -------
    height, width, channels : int

    Raises
    ------
    ValueError
        If these are not two or three positive integers, or their product is not the number of
        columns.
    """
    if image_shape is None:
        side = math.isqrt(n_columns)
        return (side, side, 1) if side**2 == n_columns else (1, n_columns, 1)
    sizes = np.atleast_1d(np.asarray(image_shape, dtype=object)).tolist()
    if len(sizes) not in (2, 3) or not all(
        isinstance(n, Integral) and not isinstance(n, bool) and n > 0 for n in sizes
    ):
        raise ValueError(
            "image_shape must be (height, width) or (height, width, channels), positive integers; "
            f"got {image_shape!r}."
        )
    height, width, channels = (int(n) for n in (*sizes, 1)[:3])
    if height * width * channels != n_columns:
        raise ValueError(
            f"Images of image_shape={tuple(int(n) for n in sizes)} have "
            f"{height * width * channels} values, but there are {n_columns} columns; set "
            "image_shape to the height, width and number of channels of an image."
        )
    return height, width, channels
