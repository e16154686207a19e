"""Rows of a table as images, side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage


def image_shape_of(estimator: Any, image_shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return a shape (height, width) or (height, width, n_channels).

    If None is given, it is that of the architecture of an estimator, or of the last step of a
    pipeline; None if it has none.
    """
    if image_shape is not None:
        check_image_shape(image_shape)
        return image_shape
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    return getattr(getattr(last, "architecture_", None), "image_shape", None)


def check_image_shape(image_shape: Any) -> None:
    """Raise TypeError if a shape is not a sequence."""
    if not np.iterable(image_shape):
        raise TypeError(
            "image_shape must be (height, width) or (height, width, n_channels); got "
            f"{image_shape!r}."
        )


def image_shape_of_rows(
    estimator: Any, image_shape: tuple[int, ...] | None, n_features: int
) -> tuple[int, ...] | None:
    """Return the shape of `image_shape_of`, but None if that of an architecture does not fit.

    Before the last step of a pipeline, rows may be no images.
    """
    found = image_shape_of(estimator, image_shape)
    fits = found is not None and (image_shape is not None or math.prod(found) == n_features)
    return tuple(found) if found is not None and fits else None


def as_images(X: ArrayLike, image_shape: tuple[int, ...]) -> NDArray:
    """Return rows as images, (n, height, width) or (n, height, width, n_channels).

    Raises
    ------
    ValueError
        If there are no rows, or if they are not of that many values.
    """
    rows = np.asarray(X, dtype=np.float64)
    check_image_shape(image_shape)
    if not rows.size:
        raise ValueError("There are no images to draw; pass at least one sample.")
    rows = rows.reshape(len(rows), -1)
    if len(image_shape) not in (2, 3) or rows.shape[1] != math.prod(image_shape):
        raise ValueError(
            f"image_shape={tuple(image_shape)} does not describe rows of {rows.shape[1]} values; "
            "pass (height, width) or (height, width, n_channels)."
        )
    images = rows.reshape(len(rows), *image_shape)
    return images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images


def from_minus_one_to_one(X: NDArray) -> NDArray:
    """Return values mapped linearly to the range from -1 to 1; NaN stays."""
    if np.isnan(X).all():
        return X
    low, high = np.nanmin(X), np.nanmax(X)
    return 2 * (X - low) / (high - low if high > low else 1) - 1


def mosaic(images: NDArray, n_columns: int, gap: int = 1, row_gap: int | None = None) -> NDArray:
    """Return images in rows of `n_columns`, with NaN between them.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, n_channels)
    n_columns : int
    gap : int, default=1
        Pixels between images.
    row_gap : int, default=None
        Pixels between rows of images; `gap`, if None.

    Returns
    -------
    mosaic : ndarray of shape (height of all, width of all) or the same with n_channels
    """
    n, height, width = images.shape[:3]
    n_rows, row_gap = -(-n // n_columns), gap if row_gap is None else row_gap
    shape = (
        n_rows * (height + row_gap) - row_gap,
        n_columns * (width + gap) - gap,
        *images.shape[3:],
    )
    result = np.full(shape, np.nan)
    for i, image in enumerate(images):
        top, left = (i // n_columns) * (height + row_gap), (i % n_columns) * (width + gap)
        result[top : top + height, left : left + width] = image
    return result


def relative_to_largest(rows: NDArray) -> NDArray:
    """Return rows divided by their largest absolute values, (n, n_features)."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    return rows / np.where(largest > 0, largest, 1)


def signed_mosaic(rows: NDArray, image_shape: tuple[int, ...], n_columns: int) -> NDArray:
    """Return a mosaic of rows with values from -1 to 1; colours are mapped to [0, 1]."""
    images = as_images(rows, image_shape)
    return mosaic((images + 1) / 2 if images.ndim == 4 else images, n_columns)


def show(ax: Axes, picture: NDArray, **kwargs: Any) -> AxesImage:
    """Draw a mosaic without ticks; NaN is transparent, and colours are clipped to [0, 1]."""
    if picture.ndim == 3:
        known = ~np.isnan(picture).any(axis=2, keepdims=True)
        picture = np.concatenate([np.nan_to_num(picture).clip(0, 1), known], axis=2)
    else:
        kwargs = {"cmap": "gray"} | kwargs
    image = ax.imshow(picture, **kwargs)
    ax.set(xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set_visible(False)
    return image


def value_range(images: NDArray, tails: float = 0.0) -> tuple[float, float]:
    """Return the lowest and highest value without tails; (0, 1) for colours that are within it.

    Generated images may have a few extreme values, which a fraction `tails` at each end excludes.
    """
    if np.isnan(images).all():
        return 0.0, 1.0
    low, high = (float(q) for q in np.nanquantile(images, [tails, 1 - tails]))
    if images.ndim == 4 and np.nanmin(images) >= 0 and np.nanmax(images) <= 1:
        return 0.0, 1.0
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def colors_in(images: NDArray, limits: tuple[float, float]) -> NDArray:
    """Return colours with the limits at 0 and 1; gray values unchanged, which imshow scales."""
    if images.ndim < 4:
        return images
    return (images - limits[0]) / (limits[1] - limits[0])


def label_rows(ax: Axes, labels: list[str], size: float) -> None:
    """Write labels at the left of the rows of a mosaic, each of `size` pixels with its gap."""
    ax.set_yticks([(i + 0.5) * size - 1 for i in range(len(labels))], labels)
    ax.tick_params(axis="y", length=0)
    ax.set_anchor("W")  # otherwise, a constrained layout underestimates the width of the labels


def figure_size(
    n_rows: int, n_columns: int, image_shape: tuple[int, ...], margin: float
) -> tuple[float, float]:
    """Return inches for a mosaic with a margin at its left."""
    height, width = n_rows * 0.83, n_columns * 0.83 * image_shape[1] / image_shape[0]
    shrink = min(1.0, 10 / width, 9 / height)
    return width * shrink + margin, height * shrink + 0.4


def gap_of(image_shape: tuple[int, ...]) -> int:
    """Return the number of pixels between images."""
    return max(1, image_shape[0] // 10)
