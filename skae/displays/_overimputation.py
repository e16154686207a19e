"""Observed values that were masked, against their estimates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae._sklearn import _check_feature_names_in
from skae._validation import check_count
from skae.data import subsample_evenly
from skae.displays._base import Display, before_last_step, divided, last_step, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_COLUMNS = 4  # panels in a row
MAX_TITLE = 24  # characters


class OverimputationDisplay(Display):
    """Masked values against their estimates, with prediction intervals.

    Points on the diagonal are imputed exactly. Intervals that do not contain the true value have
    another colour, and the title has the coverage, the share of those that do. Use `from_estimator`
    to create one.

    Parameters
    ----------
    truth : array-like of shape (n_cells,)
        Values that were masked.
    estimate : array-like of shape (n_cells,)
        Imputed values.
    low, high : array-like of shape (n_cells,)
        Ends of the prediction intervals.
    column : array-like of str of shape (n_cells,)
        Name of the column of each value. Panels have the order in which names occur first.
    mean, scale : array-like of shape (n_cells,)
        Mean and standard deviation of that column in training, for the standard units.
    coverage : float, default=None
        Nominal coverage of the intervals.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture. With ``per_column``, a panel per column divides it, and another such
        picture on the same axes replaces this one.
    figure_ : matplotlib Figure
        Figure that contains them.
    axes_ : dict of str to matplotlib Axes
        Axes by column with ``per_column``; otherwise, ``ax_`` under the name "all".
    points_ : dict of str to matplotlib Line2D
        Points (truth, estimate), by the keys of ``axes_``.
    covering_intervals_, other_intervals_ : dict of str to matplotlib LineCollection
        Intervals that contain the truth, and those that do not.
    coverage_ : float
        Share of the intervals that contain the truth.

    See Also
    --------
    skae.AutoencoderImputer.over_impute : Errors by column.
    skae.AutoencoderImputer.over_impute_cells : The values and their estimates.

    References
    ----------
    Honaker, J., King, G. and Blackwell, M. (2011). "Amelia II: a program for missing data". Journal
    of Statistical Software 45(7).

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skae import AutoencoderImputer
    >>> from skae.displays import OverimputationDisplay
    >>> X = load_wine(as_frame=True).data
    >>> imputer = AutoencoderImputer(max_iter=1, random_state=0).fit(X[::2])
    >>> display = OverimputationDisplay.from_estimator(imputer, X[1::2], random_state=0)
    >>> display.ax_.get_xlabel()
    'true value (standard units)'
    """

    def __init__(
        self,
        truth: ArrayLike,
        *,
        estimate: ArrayLike,
        low: ArrayLike,
        high: ArrayLike,
        column: ArrayLike,
        mean: ArrayLike,
        scale: ArrayLike,
        coverage: float | None = None,
    ):
        self.truth = truth
        self.estimate = estimate
        self.low = low
        self.high = high
        self.column = column
        self.mean = mean
        self.scale = scale
        self.coverage = coverage

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        fraction: float = 0.1,
        coverage: float = 0.9,
        random_state: Any = None,
        columns: str | Sequence[str] | None = None,
        per_column: bool = False,
        max_cells: int | None = 500,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Mask observed values, impute them, and plot both.

        Parameters
        ----------
        estimator : object
            A fitted `AutoencoderImputer`, or a pipeline that ends in one.
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Input samples, which should not be in the training data. NaN marks a missing value.
            Columns of categories are left out.
        fraction : float, default=0.1
            Fraction of the observed values that are masked at random.
        coverage : float, default=0.9
            Nominal coverage of the prediction intervals.
        random_state : int, RandomState instance or None, default=None
            Seed of the mask.
        columns : str or sequence of str, default=None
            Names of the columns to draw. If None, all.
        per_column : bool, default=False
            Whether to draw a panel per column, in the units of X, or all columns together, in
            standard deviations from their means.
        max_cells : int or None, default=500
            Largest number of values to draw on one axes, evenly spaced among all; None for all.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of matplotlib's ``plot``, for the points.

        Returns
        -------
        display : OverimputationDisplay
            The display.

        Raises
        ------
        TypeError
            If the estimator does not evaluate itself by masked values.
        ValueError
            If `fraction` or `coverage` is not between 0 and 1, if `columns` has an unknown name, or
            if no number was masked.
        """
        imputer = last_step(estimator)
        if not hasattr(imputer, "over_impute_cells"):
            raise TypeError(
                f"{name_of(estimator)} has no over_impute_cells; pass a fitted AutoencoderImputer, "
                "or a pipeline that ends in one."
            )
        X = before_last_step(estimator, X)
        cells = imputer.over_impute_cells(X, fraction, coverage, random_state)
        index = {name: j for j, name in enumerate(_check_feature_names_in(imputer))}
        cells = cells.sort_values("column", key=lambda names: names.map(index), kind="stable")
        j = cells["column"].map(index).to_numpy()
        display = cls(
            cells["truth"].to_numpy(),
            **{name: cells[name].to_numpy() for name in ("estimate", "low", "high", "column")},
            mean=imputer.mean_[j],
            scale=imputer.scale_[j],
            coverage=coverage,
        )
        return display.plot(
            ax, columns=columns, per_column=per_column, max_cells=max_cells, **kwargs
        )

    def plot(
        self,
        ax: Axes | None = None,
        *,
        columns: str | Sequence[str] | None = None,
        per_column: bool = False,
        max_cells: int | None = 500,
        **kwargs: Any,
    ) -> Self:
        """Draw the values.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created. With `per_column`, they must have
            been made by matplotlib's ``subplots``.
        columns : str or sequence of str, default=None
            Names of the columns to draw. If None, all.
        per_column : bool, default=False
            Whether to draw a panel per column, in the units of X, or all columns together, in
            standard deviations from their means.
        max_cells : int or None, default=500
            Largest number of values to draw on one axes, evenly spaced among all; None for all.
        **kwargs : dict
            Parameters of matplotlib's ``plot``, for the points.

        Returns
        -------
        self : OverimputationDisplay
            The display.

        Raises
        ------
        ValueError
            If `columns` is empty or has an unknown name, if there is no value to draw, or if
            `max_cells` is not a positive integer.
        """
        names, limit = self._chosen(columns), self._limit(max_cells)
        of = np.asarray(self.column)
        shown = np.isin(of, names)
        panels = {name: of == name for name in names} if per_column else {"all": shown}
        n_columns = min(len(panels), MAX_COLUMNS)
        n_rows = -(-len(panels) // n_columns)
        size = (0.6 + 2.6 * n_columns, 0.8 + 2.4 * n_rows) if per_column else (5.6, 5.2)
        ax = self._set_axes(ax, size)
        self.axes_ = {"all": ax}
        if per_column:
            cells = divided(ax, n_rows, n_columns).ravel()
            for cell in cells[len(panels) :]:
                cell.set_axis_off()
            self.axes_ = dict(zip(panels, cells, strict=False))
        self.points_: dict[str, Any] = {}
        self.covering_intervals_: dict[str, Any] = {}
        self.other_intervals_: dict[str, Any] = {}
        for key, mask in panels.items():
            cells = subsample_evenly(np.flatnonzero(mask), limit)
            self._draw(key, cells, per_column, kwargs)
            if per_column:
                title = f"{shortened(key)}\ncoverage {self._coverage_of(mask):.0%}"
                self.axes_[key].set_title(title, fontsize="medium")
        unit = "" if per_column else " (standard units)"
        for number, axes in enumerate(self.axes_.values()):
            if number + n_columns >= len(panels):
                axes.set_xlabel(f"true value{unit}")
            if number % n_columns == 0:
                axes.set_ylabel(f"imputed value{unit}")
        self.coverage_ = self._coverage_of(shown)
        if not per_column:
            nominal = "" if self.coverage is None else f" (nominal {self.coverage:.0%})"
            ax.set_title(f"coverage of {shown.sum()} values: {self.coverage_:.1%}{nominal}")
            ax.legend()
        return self

    def _coverage_of(self, mask: NDArray) -> float:
        low, truth, high = (np.asarray(a)[mask] for a in (self.low, self.truth, self.high))
        return float(((low <= truth) & (truth <= high)).mean())

    def _limit(self, max_cells: int | None) -> int:
        if max_cells is None:
            return len(np.asarray(self.column))
        check_count(max_cells, "max_cells")
        return max_cells

    def _chosen(self, columns: str | Sequence[str] | None) -> list[str]:
        known = list(dict.fromkeys(np.asarray(self.column).tolist()))
        if not known:
            raise ValueError(
                "No number was masked; pass more samples or a larger fraction, and an X with "
                "columns of numbers."
            )
        if columns is None:
            return known
        chosen = [columns] if isinstance(columns, str) else list(columns)
        if not chosen:
            raise ValueError("columns is empty; pass names of columns, or None for all.")
        if unknown := [name for name in chosen if name not in known]:
            raise ValueError(f"columns has {unknown[0]!r}, but values of {known} were masked.")
        return chosen

    def _draw(self, key: str, cells: NDArray, per_column: bool, kwargs: dict[str, Any]) -> None:
        ax = self.axes_[key]
        arrays = (self.truth, self.estimate, self.low, self.high)
        truth, estimate, low, high = (np.asarray(a, dtype=np.float64)[cells] for a in arrays)
        is_covered = (low <= truth) & (truth <= high)
        if not per_column:
            mean, scale = (np.asarray(a)[cells] for a in (self.mean, self.scale))
            truth, estimate, low, high = ((a - mean) / scale for a in (truth, estimate, low, high))

        def intervals(mask: NDArray, color: str, label: str) -> Any:
            ends = truth[mask], low[mask], high[mask]
            return ax.vlines(*ends, color=color, alpha=0.6, linewidth=1, label=label)

        self.covering_intervals_[key] = intervals(is_covered, "C0", "interval with the true value")
        self.other_intervals_[key] = intervals(~is_covered, "C1", "interval without it")
        style: dict[str, Any] = {
            "color": "black",
            "marker": "o",
            "markersize": 2.5,
            "linestyle": "none",
        }
        (self.points_[key],) = ax.plot(truth, estimate, **style | kwargs)
        ax.axline((truth.mean(), truth.mean()), slope=1, color="0.4", linestyle="--", linewidth=1)


def shortened(name: str) -> str:
    """Return a name with an ellipsis for its end if it is long."""
    return name if len(name) <= MAX_TITLE else name[: MAX_TITLE - 1] + "…"
