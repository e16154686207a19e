"""Samples beside their reconstructions."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae.displays._base import (
    Display,
    before_last_step,
    last_step,
    name_of,
    named,
    reconstruct,
    undo_steps,
)
from skae.displays._images import as_images, image_shape_of_rows
from skae.displays._reconstruction_drawing import (
    Comparison,
    draw_images,
    draw_tables,
    size_of_images,
    size_of_tables,
)
from skae.displays._rows import as_rows, check_mask, first_rows, moments, without_cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ReconstructionDisplay(Display):
    """Samples, their reconstructions and the residuals, as images or as lines over the features.

    Missing values, and cells that were hidden by a mask, are yellow. Use `from_estimator` or
    `from_estimators` to create one.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples. NaN marks a missing value.
    reconstructions : dict of str to array-like of shape (n_samples, n_features)
        Their reconstructions by each estimator.
    image_shape : tuple of int, default=None
        (height, width) or (height, width, n_channels) of rows that are images. If None, rows are
        drawn as lines.
    mask : array-like of bool of shape (n_features,) or (n_samples, n_features), default=None
        Cells that were hidden.
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
    relative_errors_ : dict of str to float
        Norm of the residuals divided by that of the samples, in the units that are drawn: over the
        hidden cells if there are any, over all observed cells otherwise.
    image_ : matplotlib AxesImage or None
        Samples and reconstructions, if they are images.
    residual_image_ : matplotlib AxesImage or None
        Residuals: samples minus reconstructions, the mean over the channels.
    hidden_image_ : matplotlib AxesImage or None
        Missing and hidden cells.
    sample_lines_ : list of matplotlib Line2D
        Samples, if they are not images; one element for each.
    reconstruction_lines_ : dict of str to list of matplotlib Line2D
        Reconstructions by each estimator.
    residual_bars_ : dict of str to list of matplotlib BarContainer
        Residuals.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae import Autoencoder
    >>> from skae.displays import ReconstructionDisplay
    >>> X = load_digits().data
    >>> models = [PCA(8).fit(X), Autoencoder(8, max_iter=5, random_state=0).fit(X)]
    >>> display = ReconstructionDisplay.from_estimators(models, X, image_shape=(8, 8))
    >>> [label.get_text().split()[0] for label in display.ax_.get_yticklabels()]
    ['original', 'PCA', 'residual', 'Autoencoder', 'residual']
    """

    def __init__(
        self,
        X: ArrayLike,
        reconstructions: Mapping[str, ArrayLike],
        *,
        image_shape: tuple[int, ...] | None = None,
        mask: ArrayLike | None = None,
        feature_names: ArrayLike | None = None,
        center: ArrayLike | None = None,
        scale: ArrayLike | None = None,
    ):
        self.X = X
        self.reconstructions = reconstructions
        self.image_shape = image_shape
        self.mask = mask
        self.feature_names = feature_names
        self.center = center
        self.scale = scale

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        image_shape: tuple[int, ...] | None = None,
        n_samples: int = 8,
        mask: ArrayLike | None = None,
        standardize: bool = True,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot samples and their reconstructions by a fitted estimator.

        Parameters
        ----------
        estimator : object
            A fitted autoencoder, a decomposition such as PCA, or a pipeline that ends in one.
        X : array-like of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.
        image_shape : tuple of int, default=None
            (height, width) or (height, width, n_channels) of rows that are images. If None, that of
            the architecture of the estimator; without one, rows are drawn as lines.
        n_samples : int, default=8
            Number of samples to draw: the first ones of X.
        mask : array-like of bool of shape (n_features,) or like X, default=None
            Cells to hide. It is given to ``reconstruct`` of `MaskedAutoencoder`; for others, these
            cells are missing values.
        standardize : bool, default=True
            Whether lines show values minus the mean of each feature of X, divided by its standard
            deviation.
        name : str, default=None
            Name for the label. If None, that of the class.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of `plot`.

        Returns
        -------
        display : ReconstructionDisplay
            The display.
        """
        return cls.from_estimators(
            {name or name_of(estimator): estimator},
            X,
            image_shape=image_shape,
            n_samples=n_samples,
            mask=mask,
            standardize=standardize,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any] | Sequence[Any],
        X: ArrayLike,
        *,
        image_shape: tuple[int, ...] | None = None,
        n_samples: int = 8,
        mask: ArrayLike | None = None,
        standardize: bool = True,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot samples and their reconstructions by several fitted estimators.

        Parameters
        ----------
        estimators : dict of str to object, or sequence of objects
            Fitted autoencoders, decompositions such as PCA, or pipelines that end in one.
        X : array-like of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.
        image_shape : tuple of int, default=None
            (height, width) or (height, width, n_channels) of rows that are images. If None, that of
            the architecture of the first estimator; without one, rows are drawn as lines.
        n_samples : int, default=8
            Number of samples to draw: the first ones of X.
        mask : array-like of bool of shape (n_features,) or like X, default=None
            Cells to hide. It is given to ``reconstruct`` of `MaskedAutoencoder`; for others, these
            cells are missing values.
        standardize : bool, default=True
            Whether lines show values minus the mean of each feature of X, divided by its standard
            deviation.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of `plot`.

        Returns
        -------
        display : ReconstructionDisplay
            The display.

        Raises
        ------
        ValueError
            If the mask is not boolean or has another shape, if rows are no images of that shape, or
            if there are no estimators.
        TypeError
            If an estimator, or a step of a pipeline, has no ``transform`` or no
            ``inverse_transform``.
        """
        estimators = named(estimators)
        hidden = None if mask is None else check_mask(mask, X)[:n_samples]
        shown = first_rows(X, n_samples)
        rows = as_rows(shown)
        reconstructions = {
            name: as_rows(_reconstruct(estimator, shown, hidden), "reconstruction")
            for name, estimator in estimators.items()
        }
        shapes = [image_shape_of_rows(e, image_shape, rows.shape[1]) for e in estimators.values()]
        shape = next((shape for shape in shapes if shape is not None), None)
        center, scale = moments(as_rows(X)) if standardize and shape is None else (None, None)
        names = [str(name) for name in shown.columns] if hasattr(shown, "columns") else None
        display = cls(
            rows,
            reconstructions,
            image_shape=shape,
            mask=hidden,
            feature_names=names,
            center=center,
            scale=scale,
        )
        return display.plot(ax, **kwargs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        residuals: bool = True,
        cmap: Any = "gray",
        residual_cmap: Any = "RdBu_r",
    ) -> Self:
        """Draw the samples, their reconstructions and the residuals.

        Images are drawn on `ax` itself, over what is there. Lines are drawn on new axes in its
        place, which replace those of a former display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        residuals : bool, default=True
            Whether to draw samples minus reconstructions.
        cmap : str or matplotlib Colormap, default="gray"
            Colour map of images of one channel.
        residual_cmap : str or matplotlib Colormap, default="RdBu_r"
            Diverging colour map of the residuals of images.

        Returns
        -------
        self : ReconstructionDisplay
            The display.

        Raises
        ------
        ValueError
            If there are no reconstructions, if one of them or the mask has another shape than X, or
            if rows are no images of that shape.
        """
        rows = self._comparison()
        self.relative_errors_ = rows.errors
        self.image_ = self.residual_image_ = self.hidden_image_ = None
        self.sample_lines_: list[Any] = []
        self.reconstruction_lines_: dict[str, list[Any]] = {}
        self.residual_bars_: dict[str, list[Any]] = {}
        if self.image_shape is not None:
            as_images(rows.x, self.image_shape)  # before a figure is made
            ax = self._set_axes(ax, size_of_images(rows, self.image_shape, residuals))
            self.image_, self.residual_image_, self.hidden_image_ = draw_images(
                ax, rows, self.image_shape, residuals, cmap, residual_cmap
            )
        else:
            ax = self._set_axes(ax, size_of_tables(rows, residuals))
            unit = "value" if self.scale is None else "standardised"
            self.sample_lines_, self.reconstruction_lines_, self.residual_bars_ = draw_tables(
                ax, rows, self.feature_names, unit, residuals
            )
        return self

    def _comparison(self) -> Comparison:
        """Return what is drawn, in the units that are drawn."""
        center = 0.0 if self.center is None else np.asarray(self.center)
        scale = 1.0 if self.scale is None else np.asarray(self.scale)
        x = (as_rows(self.X) - center) / scale
        hidden = np.zeros(x.shape, dtype=bool) if self.mask is None else check_mask(self.mask, x)
        if not self.reconstructions:
            raise ValueError("reconstructions is empty; pass at least one.")
        x_hat = {
            name: (as_rows(values, f"reconstructions[{name!r}]") - center) / scale
            for name, values in self.reconstructions.items()
        }
        for name, values in x_hat.items():
            if values.shape != x.shape:
                raise ValueError(
                    f"reconstructions[{name!r}] has shape {values.shape}, but X has shape "
                    f"{x.shape}; pass a reconstruction of each sample."
                )
        return Comparison(x, x_hat, hidden)


def _reconstruct(estimator: Any, X: Any, mask: NDArray | None) -> Any:
    """Return the reconstruction of X with cells of a mask hidden."""
    if mask is None:
        return reconstruct(estimator, X)
    X = without_cells(X, mask)
    last = last_step(estimator)
    method = getattr(last, "reconstruct", None)
    if method is None or "mask" not in inspect.signature(method).parameters:
        return reconstruct(estimator, X)
    return undo_steps(estimator, method(before_last_step(estimator, X), mask))
