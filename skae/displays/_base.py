"""What the displays share: axes, pipelines and the reconstruction of any estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skae._sklearn import check_matplotlib_support

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = "_skae_panels"  # attribute of divided axes


class Display:
    """Base of the displays: axes, and the names of the estimators.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture; set by ``plot``.
    figure_ : matplotlib Figure
        Figure that contains them.
    """

    ax_: Axes
    figure_: Figure

    def _set_axes(self, ax: Axes | None, figsize: tuple[float, float] | None = None) -> Axes:
        """Set and return the axes to draw on, new ones if `ax` is None."""
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        if ax is None:
            ax = plt.subplots(figsize=figsize, layout="constrained")[1]
        self.ax_, self.figure_ = ax, ax.figure.figure
        return ax


def divided(ax: Axes, n_rows: int, n_columns: int, **ratios: Any) -> NDArray:
    """Return new axes, (n_rows, n_columns), in the place of `ax`, which becomes invisible.

    Those of a former call with the same `ax` are removed.

    Parameters
    ----------
    ax : matplotlib Axes
    n_rows, n_columns : int
    **ratios : dict
        ``width_ratios``, ``height_ratios``, ``wspace`` and ``hspace`` of matplotlib's grids.
    """
    from matplotlib.gridspec import GridSpecFromSubplotSpec

    place = ax.get_subplotspec()
    if place is None:
        raise ValueError(
            "ax was not made by subplots, so that it cannot be divided; pass an axes of "
            "matplotlib.pyplot.subplots, or ax=None."
        )
    ax.set_axis_off()
    _remove_panels(ax)
    grid = GridSpecFromSubplotSpec(n_rows, n_columns, subplot_spec=place, **ratios)
    figure = cast("Figure", ax.figure)
    cells = [figure.add_subplot(grid[i]) for i in range(n_rows * n_columns)]
    setattr(ax, PANELS, cells)
    return np.array(cells, dtype=object).reshape(n_rows, n_columns)


def _remove_panels(ax: Axes) -> None:
    for panel in getattr(ax, PANELS, ()):
        _remove_panels(panel)
        panel.remove()


def last_step(estimator: Any) -> Any:
    """Return an estimator, or the last step of a pipeline, checked to be fitted."""
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    check_is_fitted(last)
    return last


def before_last_step(estimator: Any, X: ArrayLike) -> Any:
    """Return what the last step of a pipeline is given for X; X where there is no pipeline."""
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        return estimator[:-1].transform(X)
    return X


def undo_steps(estimator: Any, X: ArrayLike) -> NDArray:
    """Return rows as they are before the first step of a pipeline, from those of the last step."""
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        check_decodes(estimator[:-1])
        X = estimator[:-1].inverse_transform(X)
    return np.asarray(X)


def n_samples_of(X: Any) -> int:
    """Return the number of samples of an array, a sparse matrix, a DataFrame or a list."""
    return X.shape[0] if hasattr(X, "shape") else len(X)


def position_of(index: int, X: Any) -> int:
    """Return the position of a sample of X, given from either end."""
    n = n_samples_of(X)
    if not isinstance(index, Integral):
        raise TypeError(f"index must be an integer; got {index!r}.")
    if not -n <= index < n:
        raise IndexError(f"X has no sample {index}: it has {n} samples.")
    return index % n


def reconstruct(estimator: Any, X: ArrayLike) -> NDArray:
    """Return the reconstruction of X by an autoencoder, a pipeline or a linear decomposition."""
    if hasattr(estimator, "reconstruct"):
        return np.asarray(estimator.reconstruct(X))
    check_decodes(estimator)
    return np.asarray(estimator.inverse_transform(estimator.transform(X)))


def check_decodes(estimator: Any) -> None:
    """Raise TypeError if an estimator, or a step, lacks ``transform`` or ``inverse_transform``."""
    steps = [estimator]
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if step not in (None, "passthrough")]
    for step in steps:
        for name in ("transform", "inverse_transform"):
            if not hasattr(step, name):
                raise TypeError(
                    f"{type(step).__name__} has no method {name!r}, so that there is no "
                    "reconstruction to show; pass an autoencoder, PCA or a pipeline of steps that "
                    "have both."
                )


def name_of(estimator: Any) -> str:
    """Return the name of the class of an estimator, or of the last step of a pipeline."""
    return type(estimator[-1] if isinstance(estimator, Pipeline) else estimator).__name__


def in_brackets(name: str | None) -> str:
    """Return what a label has behind it for the name of an estimator, nothing for None."""
    return f" ({name})" if name else ""


def check_are_estimators(estimators: Any) -> None:
    """Raise an error if these are not several estimators."""
    if hasattr(estimators, "fit"):  # a pipeline is also a sequence of its steps
        raise TypeError(
            f"estimators is a single {type(estimators).__name__}; pass it to from_estimator, or in "
            "a list."
        )
    if not estimators:
        raise ValueError("estimators is empty; pass at least one fitted estimator.")


def named(estimators: Any) -> dict[str, Any]:
    """Return estimators by name, given a mapping or a sequence of them.

    Estimators of a sequence are named by their classes, and numbered if a class occurs twice.
    """
    check_are_estimators(estimators)
    if isinstance(estimators, Mapping):
        return dict(estimators)
    names = [name_of(estimator) for estimator in estimators]
    result: dict[str, Any] = {}
    for name, estimator in zip(names, estimators, strict=True):
        n_before = sum(key.split(" ")[0] == name for key in result)
        result[name if names.count(name) == 1 else f"{name} {n_before + 1}"] = estimator
    return result


def lines_of(estimators: Mapping[str, Any] | Sequence[Any]) -> dict[str, list[Any]]:
    """Return the estimators of each line: of one class in a sequence, of one name in a mapping."""
    check_are_estimators(estimators)
    lines: dict[str, list[Any]] = {}
    if isinstance(estimators, Mapping):
        for name, member in estimators.items():
            lines[name] = list(member) if isinstance(member, (list, tuple)) else [member]
    else:
        for estimator in estimators:
            lines.setdefault(name_of(estimator), []).append(estimator)
    if not all(lines.values()):
        raise ValueError("estimators is empty; pass at least one fitted estimator.")
    return lines
