"""Paths between pairs of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae._validation import as_dense
from skae.displays._base import (
    Display,
    before_last_step,
    check_decodes,
    divided,
    last_step,
    name_of,
    undo_steps,
)
from skae.displays._images import (
    as_images,
    colors_in,
    figure_size,
    gap_of,
    image_shape_of_rows,
    label_rows,
    mosaic,
    show,
    value_range,
)
from skae.displays._rows import as_numbers, as_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METHODS = ("linear", "spherical")


class InterpolationDisplay(Display):
    """Paths between pairs of samples: decoded codes that are evenly spaced between theirs.

    Each strip begins with the first sample of a pair and ends with the second; between them are
    the reconstructions of both, and of what lies between. Use `from_estimator` to create one. Lines
    are in the units of X: for features of different units, draw the last step of a pipeline.

    Parameters
    ----------
    paths : dict of str to array-like of shape (n_pairs, n_steps, n_features)
        Decoded points of each method.
    X_start, X_end : array-like of shape (n_pairs, n_features)
        Samples of each pair.
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
        Strips, if rows are images.
    lines_ : dict of str to list of list of matplotlib Line2D
        Points of the path of each pair by each method, if rows are not images.

    See Also
    --------
    SampleDisplay : Samples of a generative model.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import VariationalAutoencoder
    >>> from skae.displays import InterpolationDisplay
    >>> X = load_digits().data
    >>> vae = VariationalAutoencoder(8, max_iter=50, random_state=0).fit(X)
    >>> display = InterpolationDisplay.from_estimator(vae, X[:2], X[2:4], image_shape=(8, 8))
    >>> display.paths["spherical"].shape
    (2, 8, 64)
    """

    def __init__(
        self,
        paths: Mapping[str, ArrayLike],
        X_start: ArrayLike,
        X_end: ArrayLike,
        *,
        image_shape: tuple[int, ...] | None = None,
    ):
        self.paths = paths
        self.X_start = X_start
        self.X_end = X_end
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X_start: ArrayLike,
        X_end: ArrayLike,
        *,
        n_steps: int = 8,
        method: str | Sequence[str] | None = None,
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot paths between pairs of samples.

        Parameters
        ----------
        estimator : object
            A fitted autoencoder, a decomposition such as PCA, or a pipeline that ends in one. Its
            ``interpolate`` is used if it has one, as `VariationalAutoencoder` does.
        X_start, X_end : array-like of shape (n_pairs, n_features) or (n_features,)
            Samples of each pair.
        n_steps : int, default=8
            Number of codes of a path, both ends included; at least 2.
        method : {"linear", "spherical"} or a sequence of them, default=None
            Along a line between the codes, or along an arc around the origin, which needs
            ``interpolate``. If None, those that the estimator has; for one component, the line.
        image_shape : tuple of int, default=None
            (height, width) or (height, width, n_channels) of rows that are images. If None, that of
            the architecture of the estimator; without one, rows are drawn as lines.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of `plot`.

        Returns
        -------
        display : InterpolationDisplay
            The display.

        Raises
        ------
        ValueError
            If there are not as many starts as ends, if a method is unknown or not available, or if
            `n_steps` is less than 2.
        TypeError
            If the estimator has no ``transform`` or no ``inverse_transform``.
        """
        check_decodes(estimator)
        if not isinstance(n_steps, Integral) or n_steps < 2:
            raise ValueError(f"n_steps must be an integer of at least 2; got {n_steps!r}.")
        methods = _check_methods(estimator, method)
        ends = [_pair_rows(X, name) for X, name in ((X_start, "X_start"), (X_end, "X_end"))]
        start, end = (as_rows(X) for X in ends)
        if start.shape != end.shape:
            raise ValueError(
                f"X_start has shape {start.shape}, but X_end has shape {end.shape}; pass as many "
                "ends as starts, with the same features."
            )
        paths = {name: _path(estimator, *ends, int(n_steps), name) for name in methods}
        shape = image_shape_of_rows(estimator, image_shape, start.shape[1])
        return cls(paths, start, end, image_shape=shape).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, *, cmap: Any = None) -> Self:
        """Draw the paths.

        Images are drawn on `ax` itself, over what is there. Lines are drawn on new axes in its
        place, which replace those of a former display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        cmap : str or matplotlib Colormap, default=None
            Colour map of images of one channel, or of lines by their place on the path. If None,
            "gray" or "viridis".

        Returns
        -------
        self : InterpolationDisplay
            The display.
        """
        start, end = (np.asarray(X, dtype=np.float64) for X in (self.X_start, self.X_end))
        paths = {name: np.asarray(path, dtype=np.float64) for name, path in self.paths.items()}
        self.image_ = None
        self.lines_: dict[str, list[Any]] = {name: [] for name in paths}
        if self.image_shape is not None:
            strips = [
                np.vstack([start[i], path[i], end[i]])
                for i in range(len(start))
                for path in paths.values()
            ]
            images = as_images(np.concatenate(strips), self.image_shape)
            n_columns = len(strips[0])
            ax = self._set_axes(ax, figure_size(len(strips), n_columns, self.image_shape, 1.0))
            limits = value_range(as_images(np.vstack([start, end]), self.image_shape))
            labels = list(paths) * len(start)
            self.image_ = _draw_strips(ax, images, n_columns, labels, limits, cmap)
        else:
            size = (max(3 * len(start), 5) + 0.8, 2.4 * len(paths) + 0.8)
            self._draw_lines(self._set_axes(ax, size), start, end, paths, cmap)
        return self

    def _draw_lines(
        self, ax: Axes, start: NDArray, end: NDArray, paths: dict[str, NDArray], cmap: Any
    ) -> None:
        from matplotlib import colormaps

        legend, below = divided(ax, 2, 1, height_ratios=(1, 8 * len(paths))).ravel()
        panels = divided(below, len(paths), len(start))
        color = colormaps.get_cmap(cmap or "viridis")
        features = np.arange(start.shape[1])
        handles: list[Any] = []
        for row, (name, path) in zip(panels, paths.items(), strict=True):
            for i, panel in enumerate(row):
                t = np.linspace(0, 1, path.shape[1])
                lines = [
                    panel.plot(features, x, color=color(s))[0]
                    for s, x in zip(t, path[i], strict=True)
                ]
                points = [
                    panel.plot(features, x[i], marker, color="black", markersize=4)[0]
                    for x, marker in ((start, "o"), (end, "x"))
                ]
                self.lines_[name].append(lines)
                handles = [points[0], lines[0], lines[-1], points[1]]
            row[0].set_ylabel(name)
        for i, panel in enumerate(panels[0]):
            panel.set_title(f"pair {i}", fontsize="medium")
        for panel in panels[-1]:
            panel.set_xlabel("feature")
        legend.set_axis_off()
        labels = ["start", "decoded, t = 0", "decoded, t = 1", "end"]
        legend.legend(handles, labels, loc="center", ncols=4, frameon=False)


def _draw_strips(
    ax: Axes,
    images: NDArray,
    n_columns: int,
    labels: list[str],
    limits: tuple[float, float],
    cmap: Any,
) -> Any:
    """Draw a row of images for each label."""
    gap = gap_of(images.shape[1:])
    picture = mosaic(colors_in(images, limits), n_columns, gap)
    image = show(ax, picture, vmin=limits[0], vmax=limits[1], cmap=cmap or "gray")
    label_rows(ax, labels, images.shape[1] + gap)
    step = images.shape[2] + gap
    names = {0: "start", 1: "t = 0", n_columns - 2: "t = 1", n_columns - 1: "end"}
    ax.set_xticks([(i + 0.5) * step - 1 for i in names], list(names.values()))
    ax.tick_params(axis="x", length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    return image


def _check_methods(estimator: Any, method: str | Sequence[str] | None) -> list[str]:
    """Return the methods, checked to be available."""
    last = last_step(estimator)
    available = METHODS if hasattr(last, "interpolate") else METHODS[:1]
    if method is None:
        is_line = getattr(last, "n_components_", None) == 1  # no arc joins opposite signs
        return list(METHODS[:1] if is_line else available)
    methods = [method] if isinstance(method, str) else method
    for name in methods:
        if name not in METHODS:
            raise ValueError(f"method must be 'linear' or 'spherical'; got {name!r}.")
        if name not in available:
            raise ValueError(
                f"method={name!r} needs an estimator with a method 'interpolate', such as "
                f"VariationalAutoencoder; {name_of(estimator)} has none, pass method='linear'."
            )
    if not methods:
        raise ValueError("method is empty; pass 'linear', 'spherical' or both.")
    return list(methods)


def _pair_rows(X: Any, name: str) -> Any:
    """Return samples as a table, given one or several."""
    X = as_numbers(X, name)
    if np.ndim(X) != 1:
        return X
    return X.to_frame().T if hasattr(X, "to_frame") else np.reshape(X, (1, -1))


def _path(estimator: Any, X_start: Any, X_end: Any, n_steps: int, method: str) -> NDArray:
    """Return decoded points between samples, (n_pairs, n_steps, n_features)."""
    last = last_step(estimator)
    if hasattr(last, "interpolate"):
        a, b = (as_rows(before_last_step(estimator, X)) for X in (X_start, X_end))
        pairs = zip(a, b, strict=True)
        paths = [last.interpolate(*pair, n_points=n_steps, method=method) for pair in pairs]
        decoded = undo_steps(estimator, np.concatenate(paths))
    else:
        a, b = (as_dense(estimator.transform(X))[:, None] for X in (X_start, X_end))
        t = np.linspace(0, 1, n_steps)[:, None]
        codes = (1 - t) * a + t * b  # (n_pairs, n_steps, k)
        decoded = np.asarray(estimator.inverse_transform(codes.reshape(-1, codes.shape[2])))
    return decoded.reshape(len(a), n_steps, -1)
