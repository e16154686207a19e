"""Codes of samples, and what codes are decoded to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from skae._validation import check_count
from skae.autoencoders import VariationalAutoencoder
from skae.displays._base import Display, check_decodes, divided, last_step, name_of
from skae.displays._images import as_images, image_shape_of
from skae.displays._latent_drawing import (
    Colors,
    check_targets,
    draw_grid,
    draw_histogram,
    draw_pairs,
    draw_points,
    write_legend,
)
from skae.displays._rows import as_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CENTRAL = 0.9  # fraction of the codes, or of the prior, that the grid covers in each direction
PANEL = 1.9  # inches


class LatentDisplay(Display):
    """Codes of samples, by class or by a continuous target, and images decoded from a grid.

    Two components are a scatter plot, one is a histogram, and more are pairs: scatter plots below a
    diagonal of histograms. Use `from_estimator` to create one.

    Parameters
    ----------
    codes : array-like of shape (n_samples, n_components)
        Codes.
    y : array-like of shape (n_samples,), default=None
        Classes or continuous values, which determine the colours. Numbers of more than 20 different
        values are continuous.
    grid_values : array-like of shape (2, n), default=None
        Values of each of two components, in a grid.
    grid_images : array-like of shape (n * n, n_features), default=None
        Decoded points of the grid: image i * n + j is of value j of the first component and of
        value i of the second one.
    image_shape : tuple of int, default=None
        (height, width) or (height, width, n_channels) of decoded images.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        Figure that contains them.
    scatters_ : list of matplotlib PathCollection
        Scatter plots, in the order of the lower triangle, row by row.
    histograms_ : list of matplotlib artists
        Bars of each histogram, or of each class in it.
    grid_image_ : matplotlib AxesImage or None
        Decoded grid.
    legend_ : matplotlib Legend or None
        Colours of the classes.
    colorbar_ : matplotlib Colorbar or None
        Colours of a continuous y.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import Autoencoder
    >>> from skae.displays import LatentDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> autoencoder = Autoencoder(2, max_iter=5, random_state=0).fit(X)
    >>> display = LatentDisplay.from_estimator(autoencoder, X, y)
    >>> display.scatters_[0].get_offsets().shape
    (1797, 2)
    """

    def __init__(
        self,
        codes: ArrayLike,
        y: ArrayLike | None = None,
        *,
        grid_values: ArrayLike | None = None,
        grid_images: ArrayLike | None = None,
        image_shape: tuple[int, ...] | None = None,
    ):
        self.codes = codes
        self.y = y
        self.grid_values = grid_values
        self.grid_images = grid_images
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        grid: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the codes of samples.

        Parameters
        ----------
        estimator : object
            A fitted autoencoder, a decomposition such as PCA, or a pipeline that ends in one.
        X : array-like of shape (n_samples, n_features)
            Input samples.
        y : array-like of shape (n_samples,), default=None
            Classes or continuous values, which determine the colours. Numbers of more than 20
            different values are continuous.
        grid : int, default=None
            Number of values of each of two components in a grid of decoded images. They are
            quantiles of the prior for `VariationalAutoencoder`, otherwise evenly spaced between the
            5th and the 95th percentile of the codes. If None, there is no grid.
        image_shape : tuple of int, default=None
            (height, width) or (height, width, n_channels) of rows that are images. If None, that of
            the architecture of the estimator.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of `plot`.

        Returns
        -------
        display : LatentDisplay
            The display.

        Raises
        ------
        TypeError
            If the estimator has no ``transform``, or if there is a grid and a step of it has no
            ``inverse_transform``.
        ValueError
            If `y` has another length than X, or if there is a grid without images or of other than
            two components.
        """
        last = last_step(estimator)
        if not hasattr(last, "transform"):
            raise TypeError(
                f"{name_of(estimator)} has no method 'transform'; pass an autoencoder, PCA or a "
                "pipeline that ends in one."
            )
        codes = as_rows(estimator.transform(X), "transform(X)")
        targets = check_targets(y, len(codes))
        if grid is None:
            return cls(codes, targets, image_shape=image_shape).plot(ax, **kwargs)
        check_count(grid, "grid")
        shape = image_shape_of(estimator, image_shape)
        if codes.shape[1] != 2 or shape is None:
            raise ValueError(
                f"grid={grid} needs two components and images; {name_of(estimator)} has "
                f"{codes.shape[1]}, and image_shape is {shape}. Pass grid=None or image_shape."
            )
        check_decodes(estimator)
        values = _grid_values(last, codes, grid)
        plane = np.stack(np.meshgrid(*values), axis=-1).reshape(-1, 2)
        images = as_rows(estimator.inverse_transform(plane), "inverse_transform")
        display = cls(
            codes, targets, grid_values=values, grid_images=images, image_shape=tuple(shape)
        )
        return display.plot(ax, **kwargs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        scatter: bool = True,
        max_components: int = 4,
        cmap: Any = None,
        image_cmap: Any = "gray",
        **kwargs: Any,
    ) -> Self:
        """Draw the codes, and the decoded grid if there is one.

        One or two components are drawn on `ax` itself. Pairs, and a grid beside codes, are drawn on
        new axes in its place, which replace those of a former display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        scatter : bool, default=True
            Whether to draw the codes beside the grid; otherwise the grid alone.
        max_components : int, default=4
            Number of components that are drawn, the first ones.
        cmap : str or matplotlib Colormap, default=None
            Colour map of y. If None, "tab10" or "tab20" for classes, "viridis" otherwise.
        image_cmap : str or matplotlib Colormap, default="gray"
            Colour map of images of one channel.
        **kwargs : dict
            Parameters of matplotlib's ``scatter``.

        Returns
        -------
        self : LatentDisplay
            The display.
        """
        check_count(max_components, "max_components")
        codes = as_rows(self.codes, "codes")
        targets = check_targets(self.y, len(codes))
        codes = codes[:, :max_components]
        images = self._images()  # before a figure is made
        ax = self._set_axes(ax, _figure_size(codes.shape[1], images is not None, scatter))
        colors = Colors.of(targets, cmap)
        size = np.clip(2e4 / len(codes), 4, 30) / (2 if codes.shape[1] > 2 else 1)
        style = {"s": size, "linewidths": 0} | kwargs
        self.scatters_: list[Any] = []
        self.histograms_: list[Any] = []
        self.grid_image_ = self.legend_ = self.colorbar_ = None
        if images is not None:
            plane = ax
            if scatter:
                ax, plane = divided(ax, 1, 2).ravel()
            self.grid_image_ = draw_grid(plane, images, np.asarray(self.grid_values), image_cmap)
        if images is None or scatter:
            self._draw_codes(ax, codes, colors, style)
        return self

    def _images(self) -> NDArray | None:
        if self.grid_images is None:
            return None
        return as_images(self.grid_images, self.image_shape or ())

    def _draw_codes(self, ax: Axes, codes: NDArray, colors: Colors, style: dict[str, Any]) -> None:
        n_components = codes.shape[1]
        if n_components > 2:
            cells = divided(ax, n_components, n_components)
            self.scatters_, self.histograms_ = draw_pairs(cells, codes, colors, style)
            ax = cells[0, -1]
        elif n_components == 2:
            self.scatters_ = [draw_points(ax, codes[:, 0], codes[:, 1], colors, style)]
            ax.set(xlabel="component 0", ylabel="component 1")
        elif colors.is_continuous:
            self.scatters_ = [draw_points(ax, codes[:, 0], colors.values, colors, style)]
            ax.set(xlabel="component 0", ylabel="y")
            return
        else:
            self.histograms_ = [draw_histogram(ax, codes[:, 0], colors)]
            ax.set(xlabel="component 0", ylabel="number of samples")
        self.legend_, self.colorbar_ = write_legend(
            ax, colors, self.scatters_, is_empty=n_components > 2
        )


def _figure_size(n_components: int, has_grid: bool, scatter: bool) -> tuple[float, float]:
    """Return inches."""
    if n_components > 2:
        return PANEL * n_components, PANEL * n_components
    if has_grid:
        return (11.0, 5.0) if scatter else (5.6, 5.4)
    return 5.6, 4.4


def _grid_values(last: Any, codes: NDArray, n: int) -> NDArray:
    """Return values of two components, (2, n)."""
    shares = (1 + np.linspace(-CENTRAL, CENTRAL, n)) / 2 if n > 1 else np.array([0.5])
    if isinstance(last, VariationalAutoencoder):
        return np.stack([norm.ppf(shares)] * 2)
    low, high = np.quantile(codes, [(1 - CENTRAL) / 2, (1 + CENTRAL) / 2], axis=0)
    return np.stack([low + (high - low) * t for t in np.linspace(0, 1, n)], axis=1)
