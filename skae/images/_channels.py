"""Channels of colour images, rotated to luminance and differences of colour."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct


def channel_axes(n_channels: int) -> NDArray:
    """Return the orthonormal discrete cosine transform of channels, (n_channels, n_channels).

    The first row is the luminance, the others are differences of channels; for three channels these
    are the opponent colours (1, 0, -1) and (1, -2, 1), of norm 1.
    """
    return dct(np.eye(n_channels), axis=0, norm="ortho")


def luminance(image: NDArray) -> NDArray:
    """Return the first of the rotated channels of an image, (height, width, 1)."""
    return image @ channel_axes(image.shape[2])[:1].T.astype(image.dtype)


def by_rotated_channel(image: NDArray, function: Callable[[NDArray], NDArray]) -> NDArray:
    """Apply a function to each rotated channel, and rotate the results back.

    Parameters
    ----------
    image : ndarray of shape (height, width, n_channels)
        A pixel of which one channel is NaN is NaN in all rotated channels.
    function : callable
        From an array of shape (height, width, 1) to another.

    Returns
    -------
    result : ndarray of shape (height, width, n_channels)
    """
    axes = channel_axes(image.shape[2])
    rotated = image @ axes.T.astype(image.dtype)
    results = [function(rotated[..., i : i + 1]) for i in range(len(axes))]
    return np.concatenate(results, axis=2) @ axes
