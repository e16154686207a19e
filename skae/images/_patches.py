"""Overlapping patches of an image, and an image as the average of its patches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.feature_extraction.image import extract_patches_2d

from skae.data import MAX_CHUNK_SIZE, gen_slices

Size = tuple[int, int]


def sample_patches(
    image: NDArray, size: Size, max_patches: int, random_state: np.random.RandomState
) -> NDArray:
    """Return patches of an image at random positions, or all if there are not more.

    Parameters
    ----------
    image : ndarray of shape (height, width, n_channels)
    size : (int, int)
        Height and width of the patches.
    max_patches : int
    random_state : RandomState

    Returns
    -------
    patches : ndarray of shape (n_patches, patch_height * patch_width * n_channels)
    """
    height, width, n_channels = image.shape
    n_all = (height - size[0] + 1) * (width - size[1] + 1)
    # Patches of the numbers of the pixels: scikit-learn refuses missing values.
    numbers = extract_patches_2d(
        np.arange(height * width).reshape(height, width),
        size,
        max_patches=max_patches if max_patches < n_all else None,
        random_state=random_state,
    )
    return image.reshape(-1, n_channels)[numbers].reshape(len(numbers), -1)


def augmented(
    patches: NDArray, size: Size, contrast: float, random_state: np.random.RandomState
) -> NDArray:
    """Return patches that are flipped, turned and of another contrast, at random.

    Parameters
    ----------
    patches : ndarray of shape (n_patches, patch_height * patch_width * n_channels)
    size : (int, int)
    contrast : float
        Each patch is multiplied by a number whose logarithm is uniform between that of this number
        and of its inverse.
    random_state : RandomState
    """
    n = len(patches)
    images = patches.reshape(n, *size, -1)
    for axis in (1, 2):
        flipped = random_state.rand(n) < 0.5
        images = np.where(flipped[:, None, None, None], np.flip(images, axis), images)
    if size[0] == size[1]:
        turned = random_state.rand(n) < 0.5
        images = np.where(turned[:, None, None, None], images.swapaxes(1, 2), images)
    factors = contrast ** random_state.uniform(-1, 1, size=(n, 1)).astype(patches.dtype)
    return images.reshape(n, -1) * factors


def positions(length: int, size: int, stride: int) -> NDArray:
    """Return where patches begin along an axis; the last one ends at the border."""
    last = length - size
    return np.unique(np.append(np.arange(0, last + 1, stride), last))


def average_of_patches(
    image: NDArray, size: Size, stride: Size, function: Callable[[NDArray], NDArray]
) -> NDArray:
    """Apply a function to overlapping patches and average the results at each pixel.

    Parameters
    ----------
    image : ndarray of shape (height, width, n_channels)
    size, stride : (int, int)
        Height and width of the patches, and the steps between them.
    function : callable
        From patches of shape (n_patches, patch_height * patch_width * n_channels) to as many.

    Returns
    -------
    result : ndarray of shape (height, width, n_channels)
        In float64.
    """
    starts = [positions(n, p, s) for n, p, s in zip(image.shape, size, stride, strict=False)]
    windows = sliding_window_view(image, size, axis=(0, 1))
    total, count = np.zeros(image.shape), np.zeros((*image.shape[:2], 1))
    n_features = size[0] * size[1] * image.shape[2]
    at_once = max(1, MAX_CHUNK_SIZE // (n_features * len(starts[1])))
    for chunk in gen_slices(len(starts[0]), at_once):
        rows, columns = starts[0][chunk], starts[1]
        patches = np.moveaxis(windows[np.ix_(rows, columns)], 2, -1)
        result = function(patches.reshape(-1, n_features)).reshape(patches.shape)
        for i, j in np.ndindex(*size):
            pixels = np.ix_(rows + i, columns + j)
            total[pixels] += result[:, :, i, j]
            count[pixels] += 1
    return total / count
