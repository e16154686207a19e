"""How often the units of a code are active, and what they stand for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import check_is_fitted

from skae._sklearn import _safe_indexing
from skae._validation import as_dense, check_count
from skae.displays._base import Display, divided, in_brackets, name_of
from skae.displays._images import (
    from_minus_one_to_one,
    image_shape_of,
    relative_to_largest,
    show,
    signed_mosaic,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DENSE = 0.5  # frequency above which a unit is dense


class ActivationDisplay(Display):
    """Frequency with which the units of a code are active, and their atoms as images.

    A unit is active in a sample if its entry of the code is not 0. Units that are never active are
    dead, and those that are active in more than half of the samples are dense. The atom of a unit
    is the response of ``inverse_transform`` to its entry: the decoder's output for a code of 1 in
    this entry and 0 elsewhere, minus that for a code of 0. For a linear decoder, these are the
    columns of its matrix. Use `from_estimator` to create one.

    Parameters
    ----------
    frequency : array-like of shape (n_components,)
        Fraction of the samples in which each unit is active.
    units : array-like of int of shape (n_atoms,), default=None
        Units whose atoms are given.
    atoms : array-like of shape (n_atoms, n_features), default=None
        Their atoms.
    top_samples : array-like of shape (n_atoms, n_top_samples, n_features), default=None
        The samples in which they are most active, NaN where there are fewer.
    image_shape : tuple (height, width) or (height, width, n_channels), default=None
        Shape of atoms and samples as images. If None, these are not drawn.
    estimator_name : str, default=None
        Name for the legend. If None, it is not in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture. With images, those of the frequencies and of the images divide it, and
        another such picture on the same axes replaces this one.
    figure_ : matplotlib Figure
        Figure that contains them.
    frequency_ax_ : matplotlib Axes
        Axes of the frequencies.
    line_ : matplotlib Line2D
        Frequencies in descending order.
    dead_points_, dense_points_ : matplotlib Line2D
        Markers of the dead and of the dense units.
    image_ax_ : matplotlib Axes or None
        Axes of the images.
    image_ : matplotlib AxesImage or None
        Atoms by descending frequency, each divided by its largest absolute value; with
        `top_samples`, a row per unit: its atom, then the samples.

    See Also
    --------
    PosteriorDisplay : Components of a variational autoencoder.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import KSparseAutoencoder
    >>> from skae.displays import ActivationDisplay
    >>> X = load_digits().data
    >>> sparse = KSparseAutoencoder(64, n_nonzero_coefs=5, max_iter=5, random_state=0).fit(X)
    >>> display = ActivationDisplay.from_estimator(sparse, X, image_shape=(8, 8), n_atoms=16)
    >>> display.atoms.shape
    (16, 64)
    """

    def __init__(
        self,
        frequency: ArrayLike,
        *,
        units: ArrayLike | None = None,
        atoms: ArrayLike | None = None,
        top_samples: ArrayLike | None = None,
        image_shape: tuple[int, ...] | None = None,
        estimator_name: str | None = None,
    ):
        self.frequency = frequency
        self.units = units
        self.atoms = atoms
        self.top_samples = top_samples
        self.image_shape = image_shape
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        image_shape: tuple[int, ...] | None = None,
        n_atoms: int = 32,
        n_top_samples: int = 0,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the activity of the units in samples.

        Parameters
        ----------
        estimator : object
            Anything fitted with ``transform`` and, for atoms, ``inverse_transform``: an
            autoencoder, PCA, or a pipeline, whose atoms are in the units of X.
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Input samples.
        image_shape : tuple (height, width) or (height, width, n_channels), default=None
            Shape of a sample as an image. If None, that of the architecture, if it has one;
            otherwise, only frequencies are drawn.
        n_atoms : int, default=32
            Number of atoms: of the most active units that are not dead.
        n_top_samples : int, default=0
            Number of samples beside each atom: those with the largest positive entries, which
            resemble the atom.
        name : str, default=None
            Name for the legend. Pass one for each estimator if several are drawn on one `ax`.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of matplotlib's ``plot``, for the frequencies.

        Returns
        -------
        display : ActivationDisplay
            The display.

        Raises
        ------
        TypeError
            If the estimator has no ``transform``, or no ``inverse_transform`` to draw atoms by.
        ValueError
            If `image_shape` does not describe the samples, or if `n_atoms` or `n_top_samples` is
            not such a number.
        """
        check_is_fitted(estimator)
        check_count(n_atoms, "n_atoms")
        image_shape = image_shape_of(estimator, image_shape)
        needed = ["transform"] + ["inverse_transform"] * (image_shape is not None)
        if missing := [method for method in needed if not hasattr(estimator, method)]:
            raise TypeError(
                f"{name_of(estimator)} has no method {missing[0]!r}; pass an autoencoder, PCA or "
                "a pipeline that ends in one."
            )
        codes = as_dense(estimator.transform(X))
        frequency = (codes != 0).mean(axis=0)
        units = atoms = top_samples = None
        if image_shape is not None:
            order = np.argsort(-frequency, kind="stable")
            units = order[frequency[order] > 0][:n_atoms]
            atoms = decoder_atoms(estimator, units, codes)
            if n_top_samples != 0:
                check_count(n_top_samples, "n_top_samples")
                top_samples = most_active_samples(X, codes[:, units], n_top_samples)
        display = cls(
            frequency,
            units=units,
            atoms=atoms,
            top_samples=top_samples,
            image_shape=image_shape,
            estimator_name=name,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, *, n_columns: int | None = None, **kwargs: Any) -> Self:
        """Draw the frequencies and, if there are any, the atoms.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created. With images, they must have been
            made by matplotlib's ``subplots``.
        n_columns : int, default=None
            Number of atoms in a row, without top samples. If None, the root of their number.
        **kwargs : dict
            Parameters of matplotlib's ``plot``, for the frequencies.

        Returns
        -------
        self : ActivationDisplay
            The display.

        Raises
        ------
        ValueError
            If `image_shape` does not describe the atoms.
        """
        picture = self._picture(n_columns)
        ax = self._set_axes(ax, figsize=None if picture is None else (9.6, 4.4))
        self.frequency_ax_, self.image_ax_, self.image_ = ax, None, None
        if picture is not None:
            self.frequency_ax_, self.image_ax_ = divided(ax, 1, 2)[0]
            self.image_ = show(self.image_ax_, picture, vmin=-1, vmax=1)
            title = "atoms of the most active units"
            beside = "" if self.top_samples is None else ", and their top samples"
            self.image_ax_.set_title(title + beside)
        self._draw_frequencies(self.frequency_ax_, kwargs)
        return self

    def _draw_frequencies(self, ax: Axes, kwargs: dict[str, Any]) -> None:
        frequency = np.sort(np.asarray(self.frequency, dtype=np.float64))[::-1]
        suffix = in_brackets(self.estimator_name)
        rank = np.arange(1, len(frequency) + 1)
        style = {"label": f"{len(frequency)} units{suffix}"} | kwargs
        (self.line_,) = ax.plot(rank, frequency, **style)

        def mark(which: NDArray, name: str, marker: str) -> Any:
            label = f"{which.sum()} {name}{suffix}"
            style: dict[str, Any] = {
                "color": self.line_.get_color(),
                "marker": marker,
                "linestyle": "none",
            }
            return ax.plot(rank[which], frequency[which], label=label, **style)[0]

        self.dense_points_ = mark(frequency > DENSE, "dense", "o")
        self.dead_points_ = mark(frequency == 0, "dead", "x")
        if (frequency > DENSE).any():
            ax.axhline(DENSE, color="0.6", linestyle=":", linewidth=1, zorder=0)
        largest = ax.dataLim.ymax or 1
        ax.set_ylim(-0.05 * largest, 1.05 * largest)
        ax.set(xlabel="unit, by descending frequency", ylabel="frequency of activity")
        ax.legend()

    def _picture(self, n_columns: int | None) -> NDArray | None:
        if self.atoms is None or self.image_shape is None or not len(np.asarray(self.atoms)):
            return None
        atoms = np.asarray(self.atoms, dtype=np.float64)
        tiles = relative_to_largest(atoms)[:, None]
        if self.top_samples is not None:
            tops = np.asarray(self.top_samples, dtype=np.float64)
            n_columns = 1 + tops.shape[1]
            tiles = np.concatenate([tiles, from_minus_one_to_one(tops)], axis=1)
        tiles = tiles.reshape(-1, atoms.shape[1])
        return signed_mosaic(tiles, self.image_shape, n_columns or math.ceil(math.sqrt(len(tiles))))


def decoder_atoms(estimator: Any, units: NDArray, codes: NDArray) -> NDArray:
    """Return the responses of ``inverse_transform`` to units of the code, (n, n_features)."""
    unit_codes = np.zeros((len(units) + 1, codes.shape[1]), dtype=codes.dtype)
    unit_codes[np.arange(len(units)), units] = 1
    decoded = np.asarray(estimator.inverse_transform(unit_codes))
    return decoded[:-1] - decoded[-1]


def most_active_samples(X: ArrayLike, codes: NDArray, n: int) -> NDArray:
    """Return the samples with the largest entries of each unit, (n_units, n, n_features).

    They are NaN where fewer entries are positive.
    """
    top = np.argsort(-codes, axis=0, kind="stable")[:n].T
    rows = _safe_indexing(X, top.ravel())
    rows = rows.toarray() if issparse(rows) else np.asarray(rows)
    is_positive = np.take_along_axis(codes.T, top, axis=1) > 0
    return np.where(is_positive[:, :, None], rows.reshape(*top.shape, -1), np.nan)
