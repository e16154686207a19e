"""Explained variance by the number of components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae._validation import as_dense
from skae.displays._base import (
    Display,
    check_decodes,
    last_step,
    lines_of,
    name_of,
)
from skae.displays._candidates import candidate_lines, score_of
from skae.metrics import explained_variance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer
    from matplotlib.lines import Line2D

METRICS = {"explained_variance": "explained variance", "error": "unexplained variance"}
MAX_SIZES = 64  # truncations of one estimator that are computed


class ExplainedVarianceDisplay(Display):
    """Explained variance, or another score, by the number of components.

    It shows how many components the data need, and where an autoencoder needs fewer than PCA. Use
    `from_estimators`, `from_estimator` or `from_cv_results` to create one.

    Parameters
    ----------
    n_components : dict of str to array-like of shape (n_sizes,)
        Numbers of components of each line.
    scores : dict of str to array-like of shape (n_sizes,)
        Score of each of them.
    std : dict of str to array-like of shape (n_sizes,), default=None
        Half lengths of error bars.
    score_name : str, default="explained variance"
        Label of the vertical axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        Figure that contains them.
    lines_ : dict of str to matplotlib Line2D
        Line of each name.
    errorbars_ : dict of str to matplotlib ErrorbarContainer
        Lines with their error bars; empty without `std`.

    See Also
    --------
    skae.metrics.explained_variance : The score of an estimator.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae import Autoencoder
    >>> from skae.displays import ExplainedVarianceDisplay
    >>> X = load_digits().data
    >>> models = [Autoencoder(k, max_iter=5, random_state=0).fit(X) for k in (2, 4)]
    >>> display = ExplainedVarianceDisplay.from_estimators([PCA(4).fit(X), *models], X)
    >>> display.lines_["PCA"].get_xdata().tolist()
    [1, 2, 3, 4]
    >>> display.lines_["Autoencoder"].get_xdata().tolist()
    [2, 4]
    """

    def __init__(
        self,
        n_components: Mapping[str, ArrayLike],
        scores: Mapping[str, ArrayLike],
        *,
        std: Mapping[str, ArrayLike] | None = None,
        score_name: str = "explained variance",
    ):
        self.n_components = n_components
        self.scores = scores
        self.std = std
        self.score_name = score_name

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any] | Sequence[Any],
        X: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        metric: str = "explained_variance",
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the explained variance of fitted estimators.

        Parameters
        ----------
        estimators : sequence of objects, or dict of str to object or to sequence of objects
            Fitted autoencoders, decompositions such as PCA, or pipelines that end in one. In a
            sequence, those of one class are joined by a line; in a mapping, those of one name.
        X : array-like of shape (n_samples, n_features)
            Input samples, preferably not those of training. NaN marks a missing value.
        sample_weight : array-like of shape (n_samples,), default=None
            Per-sample weights. If None, all samples are weighted equally.
        metric : {"explained_variance", "error"}, default="explained_variance"
            `skae.metrics.explained_variance`, or 1 minus it.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of matplotlib's ``errorbar``.

        Returns
        -------
        display : ExplainedVarianceDisplay
            The display.

        Raises
        ------
        ValueError
            If there are no estimators, if two of one line have the same number of components, or if
            the metric is unknown.
        TypeError
            If an estimator has no ``transform`` or no ``inverse_transform``.

        Notes
        -----
        An estimator with orthonormal ``components_`` (PCA, `LinearAutoencoder`, TruncatedSVD) has
        the curve from one component to all, of at most 64 numbers: its first j components are the
        estimator with ``n_components=j``.
        """
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {sorted(METRICS)}; got {metric!r}.")
        sizes, scores = {}, {}
        for name, members in lines_of(estimators).items():
            curves = [_curve(estimator, X, sample_weight) for estimator in members]
            sizes[name], scores[name] = _joined(curves, name)
            if metric == "error":
                scores[name] = 1 - scores[name]
        return cls(sizes, scores, score_name=METRICS[metric]).plot(ax, **kwargs)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        metric: str = "explained_variance",
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the explained variance of a fitted estimator.

        Parameters
        ----------
        estimator : object
            A fitted autoencoder, a decomposition such as PCA, or a pipeline that ends in one.
        X : array-like of shape (n_samples, n_features)
            Input samples, preferably not those of training. NaN marks a missing value.
        sample_weight : array-like of shape (n_samples,), default=None
            Per-sample weights. If None, all samples are weighted equally.
        metric : {"explained_variance", "error"}, default="explained_variance"
            `skae.metrics.explained_variance`, or 1 minus it.
        name : str, default=None
            Name for the legend. If None, that of the class.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of matplotlib's ``errorbar``.

        Returns
        -------
        display : ExplainedVarianceDisplay
            The display.
        """
        return cls.from_estimators(
            {name or name_of(estimator): estimator},
            X,
            sample_weight=sample_weight,
            metric=metric,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_cv_results(
        cls,
        search: Any,
        param: str | None = None,
        *,
        score: str = "score",
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the scores of a search, with their standard deviations over the folds.

        Parameters
        ----------
        search : object or dict
            A fitted search such as `GridSearchCV`, or its ``cv_results_``. There is a line for each
            combination of the other parameters. If a candidate was evaluated several times, as by
            successive halving, its last scores are drawn.
        param : str, default=None
            Parameter of the horizontal axis. If None, the one that ends in ``n_components``.
        score : str, default="score"
            Score that is drawn: its mean is ``mean_test_<score>``. With several metrics, it is the
            name of one.
        name : str, default=None
            Name for the legend if there is one line. If None, that of the class of the estimator.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of matplotlib's ``errorbar``.

        Returns
        -------
        display : ExplainedVarianceDisplay
            The display. Scores whose name starts with ``neg_`` have the opposite sign: errors.

        Raises
        ------
        ValueError
            If no parameter, or more than one, ends in ``n_components``, if its values are not
            integers, or if there is no such score.
        """
        score_name, mean, std = score_of(search, score)
        lines = candidate_lines(search, param, name)
        sizes = {label: sizes for label, (sizes, _) in lines.items()}
        display = cls(
            sizes,
            {label: mean[rows] for label, (_, rows) in lines.items()},
            std={label: std[rows] for label, (_, rows) in lines.items()},
            score_name=score_name,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of matplotlib's ``errorbar``.

        Returns
        -------
        self : ExplainedVarianceDisplay
            The display.
        """
        ax = self._set_axes(ax)
        from matplotlib.ticker import MaxNLocator

        self.lines_: dict[str, Line2D] = {}
        self.errorbars_: dict[str, ErrorbarContainer] = {}
        style: dict[str, Any] = {"marker": "o", "markersize": 4, "capsize": 3} | kwargs
        for name, sizes in self.n_components.items():
            spread = None if self.std is None else self.std[name]
            bars = ax.errorbar(sizes, self.scores[name], yerr=spread, label=name, **style)
            self.lines_[name] = bars.lines[0]
            if spread is not None:
                self.errorbars_[name] = bars
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(xlabel="number of components", ylabel=self.score_name)
        ax.legend()
        return self


class _Truncated:
    """An estimator with all but its first components set to 0."""

    def __init__(self, estimator: Any, codes: NDArray, size: int):
        self.estimator, self.codes, self.size = estimator, codes, size

    def transform(self, X: ArrayLike) -> NDArray:
        codes = self.codes.copy()
        codes[:, self.size :] = 0
        return codes

    def inverse_transform(self, Z: NDArray) -> NDArray:
        return self.estimator.inverse_transform(Z)


def _curve(estimator: Any, X: ArrayLike, weight: ArrayLike | None) -> tuple[list[int], list[float]]:
    """Return numbers of components and the explained variance of each."""
    check_decodes(estimator)
    codes = as_dense(estimator.transform(X))
    sizes = [codes.shape[1]]
    if _is_truncatable(last_step(estimator)):
        sizes = _up_to(codes.shape[1])
    models = [_Truncated(estimator, codes, j) for j in sizes]
    return sizes, [explained_variance(model, X, sample_weight=weight) for model in models]


def _up_to(size: int) -> list[int]:
    """Return at most `MAX_SIZES` numbers from 1 to `size`, all of them if they are that few."""
    if size <= MAX_SIZES:
        return list(range(1, size + 1))
    return np.unique(np.geomspace(1, size, MAX_SIZES).round().astype(int)).tolist()


def _is_truncatable(last: Any) -> bool:
    """Return whether the first components are those of the same estimator with fewer of them."""
    axes = getattr(last, "components_", None)
    if axes is None or np.ndim(axes) != 2:
        return False
    axes = np.asarray(axes, dtype=np.float64)
    return np.allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-4)


def _joined(curves: list[tuple[list[int], list[float]]], name: str) -> tuple[NDArray, NDArray]:
    """Return the curves of estimators of one line as one, by size."""
    sizes = np.concatenate([sizes for sizes, _ in curves])
    order = np.argsort(sizes, kind="stable")
    sizes, scores = sizes[order], np.concatenate([scores for _, scores in curves])[order]
    if (same := sizes[1:][np.diff(sizes) == 0]).size:
        raise ValueError(
            f"Several estimators of {name!r} have {same[0]} components; pass a mapping with a name "
            "for each line, such as {'small': [...], 'large': [...]}."
        )
    return sizes, scores
