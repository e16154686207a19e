"""Queries beside the samples that a search found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae._sklearn import _safe_indexing
from skae.displays._base import (
    Display,
    before_last_step,
    last_step,
    n_samples_of,
    undo_steps,
)
from skae.displays._images import as_images, image_shape_of_rows
from skae.displays._retrieval_drawing import (
    Found,
    draw_images,
    draw_tables,
    size_of_images,
    size_of_tables,
)
from skae.displays._rows import as_rows, first_rows, moments

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class RetrievalDisplay(Display):
    """Queries and their nearest stored samples, as images or as lines over the features.

    With labels, the colour shows whether a neighbor has the label of the query. Missing values of
    images are yellow. Use `from_estimator` to create one.

    Parameters
    ----------
    X : array-like of shape (n_queries, n_features)
        Queries.
    neighbors : array-like of shape (n_queries, n_neighbors, n_features)
        Nearest stored samples of each query.
    distances : array-like of shape (n_queries, n_neighbors)
        Their distances.
    y : array-like of shape (n_queries,), default=None
        Labels of the queries.
    y_neighbors : array-like of shape (n_queries, n_neighbors), default=None
        Labels of the neighbors.
    image_shape : tuple of int, default=None
        (height, width) or (height, width, n_channels) of rows that are images. If None, rows are
        drawn as lines.
    feature_names : array-like of str of shape (n_features,), default=None
        Labels of the features.
    center, scale : array-like of shape (n_features,), default=None
        Lines show values minus `center`, divided by `scale`. If None, values as they are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        Figure that contains them.
    image_ : matplotlib AxesImage or None
        Queries and neighbors, if they are images.
    missing_image_ : matplotlib AxesImage or None
        Missing values.
    texts_ : list of list of matplotlib Text
        What is written above each image: of each query and its neighbors.
    frames_ : list of list of matplotlib Rectangle
        Frames of the neighbors of each query, if there are labels.
    axes_ : ndarray of matplotlib Axes of shape (n_queries,), or None
        Axes of the lines, if rows are not images.
    query_lines_ : list of matplotlib Line2D
        Queries.
    neighbor_lines_ : list of list of matplotlib Line2D
        Neighbors of each query, the nearest first.
    legend_ : matplotlib Legend or None
        What the colours mean.
    agreement_ : float or None
        Fraction of the neighbors that have the label of their query; None without labels.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderSearch, LinearAutoencoder
    >>> from skae.displays import RetrievalDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> search = AutoencoderSearch(LinearAutoencoder(8)).fit(X[:1500])
    >>> display = RetrievalDisplay.from_estimator(
    ...     search, X[1500:], X_stored=X[:1500], y=y[1500:], y_stored=y[:1500], image_shape=(8, 8)
    ... )
    >>> [text.get_text() for text in display.texts_[0]][:1], display.agreement_ > 0.8
    (['query: 1'], True)
    """

    def __init__(
        self,
        X: ArrayLike,
        neighbors: ArrayLike,
        distances: ArrayLike,
        *,
        y: ArrayLike | None = None,
        y_neighbors: ArrayLike | None = None,
        image_shape: tuple[int, ...] | None = None,
        feature_names: ArrayLike | None = None,
        center: ArrayLike | None = None,
        scale: ArrayLike | None = None,
    ):
        self.X = X
        self.neighbors = neighbors
        self.distances = distances
        self.y = y
        self.y_neighbors = y_neighbors
        self.image_shape = image_shape
        self.feature_names = feature_names
        self.center = center
        self.scale = scale

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        X_stored: ArrayLike | None = None,
        y: ArrayLike | None = None,
        y_stored: ArrayLike | None = None,
        image_shape: tuple[int, ...] | None = None,
        n_samples: int = 5,
        n_neighbors: int = 6,
        standardize: bool = True,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot queries and the samples that a fitted search finds for them.

        Parameters
        ----------
        estimator : object
            A fitted `skae.AutoencoderSearch`, another estimator with ``kneighbors`` such as
            `sklearn.neighbors.NearestNeighbors`, or a pipeline that ends in one.
        X : array-like of shape (n_queries, n_features)
            Queries.
        X_stored : array-like of shape (n_stored, n_features), default=None
            The stored samples, in their order. If None, those that an `skae.AutoencoderSearch` with
            ``rerank`` holds.
        y, y_stored : array-like of shape (n_queries,) and (n_stored,), default=None
            Labels of the queries and of the stored samples.
        image_shape : tuple of int, default=None
            (height, width) or (height, width, n_channels) of rows that are images. If None, that of
            the architecture of the autoencoder; without one, rows are drawn as lines.
        n_samples : int, default=5
            Number of queries to draw: the first ones of X.
        n_neighbors : int, default=6
            Number of neighbors of each query.
        standardize : bool, default=True
            Whether lines show values minus the mean of each feature of X, divided by its standard
            deviation.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of `plot`.

        Returns
        -------
        display : RetrievalDisplay
            The display.

        Raises
        ------
        TypeError
            If the estimator has no ``kneighbors``.
        ValueError
            If there are no stored samples or not as many as are stored, if only one of `y` and
            `y_stored` is given, or if rows are no images of that shape.
        """
        search = last_step(estimator)
        if not hasattr(search, "kneighbors"):
            raise TypeError(
                f"{type(search).__name__} has no method 'kneighbors'; pass an AutoencoderSearch, "
                "NearestNeighbors or a pipeline that ends in one."
            )
        shown = first_rows(X, n_samples)
        distances, indices = search.kneighbors(before_last_step(estimator, shown), n_neighbors)
        found = _stored_rows(estimator, search, X_stored, indices)
        rows = as_rows(shown)
        model = getattr(search, "estimator_", search)
        shape = image_shape_of_rows(model, image_shape, rows.shape[1])
        center, scale = moments(as_rows(X)) if standardize and shape is None else (None, None)
        names = [str(name) for name in shown.columns] if hasattr(shown, "columns") else None
        labels, labels_found = _labels(search, X, y, y_stored, indices)
        display = cls(
            rows,
            found,
            distances,
            y=labels,
            y_neighbors=labels_found,
            image_shape=shape,
            feature_names=names,
            center=center,
            scale=scale,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, *, cmap: Any = "gray") -> Self:
        """Draw the queries and their neighbors.

        Images are drawn on `ax` itself, over what is there. Lines are drawn on new axes in its
        place, which replace those of a former display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        cmap : str or matplotlib Colormap, default="gray"
            Colour map of images of one channel.

        Returns
        -------
        self : RetrievalDisplay
            The display.

        Raises
        ------
        ValueError
            If arrays are not of shapes that belong together, or rows are no images of that shape.
        """
        found = self._found()
        self.agreement_ = None if found.agrees is None else float(found.agrees.mean())
        self.image_ = self.missing_image_ = self.axes_ = None
        self.texts_: list[list[Any]] = []
        self.frames_: list[list[Any]] = []
        self.query_lines_: list[Any] = []
        self.neighbor_lines_: list[list[Any]] = []
        if self.image_shape is not None:
            as_images(found.x, self.image_shape)  # before a figure is made
            ax = self._set_axes(ax, size_of_images(found, self.image_shape))
            self.image_, self.missing_image_, self.texts_, self.frames_, self.legend_ = draw_images(
                ax, found, self.image_shape, cmap
            )
        else:
            ax = self._set_axes(ax, size_of_tables(found))
            unit = "value" if self.scale is None else "standardised"
            self.axes_, self.query_lines_, self.neighbor_lines_, self.legend_ = draw_tables(
                ax, found, self.feature_names, unit
            )
        return self

    def _found(self) -> Found:
        """Return what is drawn, in the units that are drawn."""
        center = 0.0 if self.center is None else np.asarray(self.center)
        scale = 1.0 if self.scale is None else np.asarray(self.scale)
        x, distances = as_rows(self.X), as_rows(self.distances, "distances")
        neighbors = np.asarray(self.neighbors, dtype=np.float64)
        n, k = distances.shape
        if not distances.size:
            raise ValueError("There are no neighbors to draw; pass at least one of each query.")
        if len(x) != n or neighbors.shape != (n, k, x.shape[1]):
            raise ValueError(
                f"X has shape {x.shape}, neighbors {neighbors.shape} and distances "
                f"{distances.shape}; pass (n_queries, n_features), (n_queries, n_neighbors, "
                "n_features) and (n_queries, n_neighbors)."
            )
        if (self.y is None) != (self.y_neighbors is None):
            raise ValueError("Only one of y and y_neighbors is given; pass both or none.")
        found = Found((x - center) / scale, (neighbors - center) / scale, distances)
        if self.y is not None:
            found.y, found.y_neighbors = np.asarray(self.y), np.asarray(self.y_neighbors)
            if found.y.shape != (n,) or found.y_neighbors.shape != (n, k):
                raise ValueError(
                    f"y has shape {found.y.shape} and y_neighbors {found.y_neighbors.shape}; pass "
                    f"labels of shapes {(n,)} and {(n, k)}."
                )
        return found


def _stored_rows(estimator: Any, search: Any, X_stored: Any, indices: NDArray) -> NDArray:
    """Return the stored samples of these indices, (n_queries, n_neighbors, n_features)."""
    if X_stored is not None:
        _check_length(search, X_stored, "X_stored")
        rows = as_rows(_safe_indexing(X_stored, indices.ravel()), "X_stored")
    elif getattr(search, "rows_", None) is not None:
        rows = undo_steps(estimator, search.rows_[indices.ravel()])
    else:
        raise ValueError(
            f"This {type(search).__name__} does not hold the samples that it was fitted to; pass "
            "them as X_stored."
        )
    return rows.reshape(*indices.shape, -1)


def _labels(search: Any, X: Any, y: Any, y_stored: Any, indices: NDArray) -> tuple[Any, Any]:
    """Return the labels of the queries and of their neighbors, or None for both."""
    if (y is None) != (y_stored is None):
        raise ValueError("Only one of y and y_stored is given; pass both or none.")
    if y is None:
        return None, None
    if len(y) != n_samples_of(X):
        raise ValueError(f"y has {len(y)} labels, but X has {n_samples_of(X)} samples.")
    _check_length(search, y_stored, "y_stored")
    return np.asarray(y)[: len(indices)], np.asarray(y_stored)[indices]


def _check_length(search: Any, stored: Any, name: str) -> None:
    """Raise ValueError if there is not one entry for each stored sample."""
    if n_samples_of(stored) != search.n_samples_fit_:
        raise ValueError(
            f"{name} has {n_samples_of(stored)} samples, but {search.n_samples_fit_} are stored; "
            "pass all that were given to fit and add, in their order."
        )
