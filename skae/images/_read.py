"""Images as a user gives them, as arrays of floats, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_CHANNELS = (1, 3, 4)  # of one colour image, rather than of a stack of grey ones


def read_images(images: Any) -> tuple[list[NDArray], Callable[[list[NDArray]], Any]]:
    """Return images as floats, and a function that returns results as the images were given.

    Parameters
    ----------
    images : array-like or list of array-like
        One image, a list of images, or an array with the images along its first axis.

    Returns
    -------
    pixels : list of ndarray of shape (height, width, n_channels)
        In float32 or float64; NaN marks a missing value.
    restore : callable
        Takes results of these shapes; returns images of the shapes and dtypes that were given.
    """
    if isinstance(images, (list, tuple)):
        given, several = list(images), True
    else:
        array = images if isinstance(images, np.ma.MaskedArray) else np.asarray(images)
        one = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in N_CHANNELS)
        several = not one and array.ndim in (3, 4)
        given = list(array) if several else [array]
    if not given:
        raise ValueError("There is no image; pass at least one.")
    arrays = [
        _check_image(image, f"Image {i}" if several else "The image")
        for i, image in enumerate(given)
    ]

    def restore(results: list[NDArray]) -> Any:
        restored = [_as(r, a) for r, a in zip(results, arrays, strict=True)]
        if not several:
            return restored[0]
        return restored if isinstance(images, (list, tuple)) else np.stack(restored)

    return [_pixels(array) for array in arrays], restore


def _check_image(image: Any, name: str) -> NDArray:
    array = image if isinstance(image, np.ma.MaskedArray) else np.asarray(image)
    if array.ndim not in (2, 3) or not array.size:
        raise ValueError(
            f"{name} has shape {array.shape}; an image is an array of shape (height, width) or "
            "(height, width, n_channels)."
        )
    if array.dtype.kind != "f" and array.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{name} has dtype {array.dtype}; convert it to uint8, uint16 or floating point."
        )
    if array.dtype.kind == "f" and np.isinf(array).any():
        raise ValueError(f"{name} contains infinity; mark missing pixels by NaN.")
    return array


def _pixels(array: NDArray) -> NDArray:
    """Return an image in floats, with integers divided by the largest value of their dtype."""
    dtype = np.float64 if array.dtype.itemsize > 4 else np.float32
    pixels = np.ma.filled(array.astype(dtype), np.nan)
    if array.dtype.kind == "u":
        pixels /= np.iinfo(array.dtype).max
    return np.atleast_3d(pixels)


def _as(result: NDArray, array: NDArray) -> NDArray:
    """Return a result in the shape and dtype of an image."""
    result = result.reshape(array.shape)
    if array.dtype.kind == "u":
        most = np.iinfo(array.dtype).max
        result = np.rint(result * most).clip(0, most)
    return result.astype(array.dtype)
