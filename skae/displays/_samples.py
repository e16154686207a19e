"""Samples that a generative model draws."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skae._validation import check_count
from skae.displays._base import Display, last_step, name_of, undo_steps
from skae.displays._images import (
    as_images,
    colors_in,
    figure_size,
    gap_of,
    image_shape_of_rows,
    mosaic,
    show,
    value_range,
)
from skae.displays._rows import as_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TAILS = 0.01  # fraction of the values that are drawn as black, and as white


class SampleDisplay(Display):
    """Samples drawn from a generative model, as images or as lines over the features.

    Use `from_estimator` to create one, or pass samples of any origin. Lines are in the units of X:
    for features of different units, draw samples of the last step of a pipeline.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples.
    image_shape : tuple of int, default=None
        (height, width) or (height, width, n_channels) of rows that are images. If None, rows are
        drawn as lines.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        Figure that contains them.
    image_ : matplotlib AxesImage or None
        Samples, if they are images.
    lines_ : list of matplotlib Line2D
        Samples, if they are not images.

    See Also
    --------
    InterpolationDisplay : Paths between samples.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import VariationalAutoencoder
    >>> from skae.displays import SampleDisplay
    >>> X = load_digits().data
    >>> vae = VariationalAutoencoder(8, max_iter=50, random_state=0).fit(X)
    >>> display = SampleDisplay.from_estimator(vae, image_shape=(8, 8), random_state=0)
    >>> display.X.shape
    (16, 64)
    """

    def __init__(self, X: ArrayLike, *, image_shape: tuple[int, ...] | None = None):
        self.X = X
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        n_samples: int = 16,
        image_shape: tuple[int, ...] | None = None,
        noise: bool = False,
        random_state: Any = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot samples of a fitted generative model.

        Parameters
        ----------
        estimator : object
            A fitted estimator with a method ``sample``, such as `VariationalAutoencoder`, or a
            pipeline that ends in one.
        n_samples : int, default=16
            Number of samples.
        image_shape : tuple of int, default=None
            (height, width) or (height, width, n_channels) of rows that are images. If None, that of
            the architecture of the estimator; without one, rows are drawn as lines.
        noise : bool, default=False
            Whether to draw x given z; otherwise, its mean is drawn. Not used if ``sample`` has no
            such parameter.
        random_state : int, RandomState instance or None, default=None
            Determines the samples. Pass an int for reproducible output.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of `plot`.

        Returns
        -------
        display : SampleDisplay
            The display.

        Raises
        ------
        TypeError
            If the estimator has no ``sample``, or a ``sample`` without the `random_state` given.
        ValueError
            If `n_samples` is not a positive integer, or if rows are no images of that shape.
        """
        check_count(n_samples, "n_samples")
        X = as_rows(undo_steps(estimator, _drawn(estimator, n_samples, noise, random_state)))
        shape = image_shape_of_rows(estimator, image_shape, X.shape[1])
        return cls(X, image_shape=shape).plot(ax, **kwargs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        n_columns: int | None = None,
        cmap: Any = "gray",
        **kwargs: Any,
    ) -> Self:
        """Draw the samples, over what is on `ax`.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        n_columns : int, default=None
            Number of images side by side. If None, there are about as many as one below the other.
        cmap : str or matplotlib Colormap, default="gray"
            Colour map of images of one channel.
        **kwargs : dict
            Parameters of matplotlib's ``imshow`` for images, of ``plot`` for lines.

        Returns
        -------
        self : SampleDisplay
            The display.
        """
        rows = as_rows(self.X)
        self.image_, self.lines_ = None, []
        if self.image_shape is None:
            ax = self._set_axes(ax)
            style: dict[str, Any] = {"linewidth": 0.9, "alpha": 0.7} | kwargs
            self.lines_ = ax.plot(np.arange(rows.shape[1]), rows.T, **style)
            ax.set(xlabel="feature", ylabel="value")
            return self
        images = as_images(rows, self.image_shape)
        if n_columns is None:
            n_columns = math.ceil(math.sqrt(len(images)))
        check_count(n_columns, "n_columns")
        limits = value_range(images, TAILS)
        n_columns = min(n_columns, len(images))
        size = figure_size(-(-len(images) // n_columns), n_columns, self.image_shape, 0.2)
        ax = self._set_axes(ax, size)
        picture = mosaic(colors_in(images, limits), n_columns, gap_of(self.image_shape))
        style = {"vmin": limits[0], "vmax": limits[1], "cmap": cmap} | kwargs
        self.image_ = show(ax, picture, **style)
        return self


def _drawn(estimator: Any, n_samples: int, noise: bool, random_state: Any) -> Any:
    """Return samples of the last step of a pipeline."""
    last = last_step(estimator)
    if not hasattr(last, "sample"):
        raise TypeError(
            f"{name_of(estimator)} has no method 'sample'; pass VariationalAutoencoder or another "
            "generative model, or a pipeline that ends in one."
        )
    params = {} if random_state is None else {"random_state": random_state}
    known = inspect.signature(last.sample).parameters
    if params.keys() - known.keys():
        raise TypeError(
            f"{type(last).__name__}.sample has no random_state; pass random_state=None here, and a "
            "seed to the estimator."
        )
    if "noise" in known:
        params["noise"] = noise
    drawn = last.sample(n_samples, **params)
    return drawn[0] if isinstance(drawn, tuple) else drawn  # a mixture returns labels, too
