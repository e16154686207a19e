"""The histogram of outlier scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae._sklearn import check_matplotlib_support
from skae._validation import check_count
from skae.displays._base import Display, before_last_step, in_brackets, last_step, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

HEAVY_TAIL = 10  # ratio of the largest score to the median above which the axis is logarithmic
ROUNDING = 1e-9  # relative difference of scores that are the same
WIDE = 1000  # ratio of the ends of a logarithmic axis above which only powers of ten are labelled


class OutlierScoreDisplay(Display):
    """Histogram of outlier scores, or of their p-values.

    The scores are minus ``score_samples``, so that outliers are on the right of the threshold. With
    labels, normal samples and outliers have separate histograms, each of which sums to 1. Use
    `from_estimator` to create one.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Outlier scores; higher is more abnormal.
    threshold : float, default=None
        Score above which samples are predicted as outliers.
    is_outlier : array-like of shape (n_samples,) of bool, default=None
        Which samples are known to be outliers.
    p_values : array-like of shape (n_samples,), default=None
        P-values of the scores. If given, their histogram is drawn in place of that of the scores.
    estimator_name : str, default=None
        Name for the legend. If None, it is not in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        Figure that contains them.
    bars_ : dict of str to matplotlib BarContainer
        Bars of the histograms: "all", or "normal" and "outlier", of those that have samples.
    line_ : matplotlib Line2D or None
        The threshold of scores, or the level of uniformly distributed p-values.

    See Also
    --------
    ContributionDisplay : The score of one sample as a sum over features.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.ensemble import IsolationForest
    >>> from skae.displays import OutlierScoreDisplay
    >>> X = load_wine().data
    >>> forest = IsolationForest(random_state=0).fit(X)
    >>> display = OutlierScoreDisplay.from_estimator(forest, X)
    >>> display.ax_.get_xlabel()
    'outlier score'
    """

    def __init__(
        self,
        scores: ArrayLike,
        *,
        threshold: float | None = None,
        is_outlier: ArrayLike | None = None,
        p_values: ArrayLike | None = None,
        estimator_name: str | None = None,
    ):
        self.scores = scores
        self.threshold = threshold
        self.is_outlier = is_outlier
        self.p_values = p_values
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        p_values: bool = False,
        name: str | None = None,
        bins: int = 30,
        log_scale: bool | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the scores of samples by a fitted detector.

        Parameters
        ----------
        estimator : object
            A fitted detector of skae or scikit-learn, with ``score_samples`` and ``offset_``, or a
            pipeline that ends in one.
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Input samples.
        y : array-like of shape (n_samples,), default=None
            Labels: 1 for normal samples and -1 for outliers, as ``predict`` returns; or 0 for
            normal samples and 1 for outliers; or booleans, True for outliers.
        p_values : bool, default=False
            Whether to draw p-values in place of scores; for an `AutoencoderOutlierDetector` with
            a ``calibration_fraction``. Without outliers in X, p-values are uniformly distributed.
        name : str, default=None
            Name for the legend. Pass one for each estimator if several are drawn on one `ax`.
        bins : int, default=30
            Number of intervals.
        log_scale : bool, default=None
            Whether the axis of the scores is logarithmic. If None, it is if all scores are positive
            and the largest one is more than ten times the median.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of matplotlib's ``bar``.

        Returns
        -------
        display : OutlierScoreDisplay
            The display.

        Raises
        ------
        TypeError
            If the estimator has no scores, or no p-values.
        ValueError
            If `y` has another length than X, holds other labels, or 1 alone, or if the detector is
            not calibrated.
        """
        detector = last_step(estimator)
        needed = ("score_samples", "offset_", *["p_values"] * p_values)
        if missing := [method for method in needed if not hasattr(detector, method)]:
            raise TypeError(
                f"{name_of(estimator)} has no {missing[0]}; pass a fitted detector that has, such "
                "as AutoencoderOutlierDetector, or a pipeline that ends in one."
            )
        X = before_last_step(estimator, X)
        display = cls(
            -np.asarray(detector.score_samples(X)),
            threshold=-float(np.squeeze(detector.offset_)),
            is_outlier=None if y is None else outlier_mask(y),
            p_values=detector.p_values(X) if p_values else None,
            estimator_name=name,
        )
        return display.plot(ax, bins=bins, log_scale=log_scale, **kwargs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        bins: int = 30,
        log_scale: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the histograms.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        bins : int, default=30
            Number of intervals.
        log_scale : bool, default=None
            Whether the axis of the scores is logarithmic. If None, it is if all scores are positive
            and the largest one is more than ten times the median.
        **kwargs : dict
            Parameters of matplotlib's ``bar``.

        Returns
        -------
        self : OutlierScoreDisplay
            The display.

        Raises
        ------
        ValueError
            If `bins` is not a positive integer, if `is_outlier` has another length than the scores,
            or if `log_scale` is True, and a score is not positive.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        from matplotlib.ticker import LogLocator, NullFormatter

        check_count(bins, "bins")
        groups = self._groups()
        of_scores = self.p_values is None
        values = np.asarray(self.scores if of_scores else self.p_values, dtype=np.float64)
        logarithmic = of_scores and self._is_logarithmic(values, log_scale)
        edges = self._edges(values, bins, logarithmic)
        ax = self._set_axes(ax)
        self.bars_ = {}
        for group, mask in groups.items():
            heights = np.histogram(values[mask], edges)[0] / mask.sum()
            style: dict[str, Any] = {"alpha": 0.6, "label": self._label(group, mask)} | kwargs
            self.bars_[group] = ax.bar(
                edges[:-1], heights, np.diff(edges), align="edge", linewidth=0, **style
            )
        self.line_ = self._line(ax, values, bins)
        ax.set(xlabel="outlier score" if of_scores else "p-value", ylabel="share of the samples")
        if logarithmic:
            ax.set_xscale("log")
            is_wide = edges[-1] > WIDE * edges[0]
            ax.xaxis.set_major_locator(LogLocator(subs=(1,) if is_wide else (1, 2, 5)))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_formatter(NullFormatter())
        ax.legend()
        return self

    def _line(self, ax: Axes, values: NDArray, bins: int) -> Line2D | None:
        of_one = "all" in self.bars_ and self.estimator_name
        color = self.bars_["all"][0].get_facecolor()[:3] if of_one else "black"
        style: dict[str, Any] = {"color": color, "linestyle": "--", "linewidth": 1.2}
        if self.p_values is not None:
            return ax.axhline(1 / bins, label="uniform distribution", **style)
        if self.threshold is None:
            return None
        suffix, share = in_brackets(self.estimator_name), (values > self.threshold).mean()
        label = f"threshold{suffix}, exceeded by {share:.1%}"
        return ax.axvline(self.threshold, label=label, **style)

    def _is_logarithmic(self, scores: NDArray, log_scale: bool | None) -> bool:
        lowest = min(scores.min(), np.inf if self.threshold is None else self.threshold)
        if log_scale and lowest <= 0:
            raise ValueError(
                f"log_scale=True needs positive scores, but the lowest is {lowest:.3g}; set "
                "log_scale=False."
            )
        if log_scale is None:
            return bool(lowest > 0 and scores.max() > HEAVY_TAIL * np.median(scores))
        return log_scale

    def _edges(self, values: NDArray, bins: int, logarithmic: bool) -> NDArray:
        if self.p_values is not None:
            return np.linspace(0, 1, bins + 1)
        if logarithmic:
            return 10 ** _evenly(np.log10(values), bins)
        return _evenly(values, bins)

    def _groups(self) -> dict[str, NDArray]:
        shape = np.shape(self.scores)
        if self.is_outlier is None:
            return {"all": np.ones(shape, dtype=bool)}
        is_outlier = np.asarray(self.is_outlier, dtype=bool)
        if is_outlier.shape != shape:
            raise ValueError(
                f"The labels have shape {is_outlier.shape}, but the scores have shape {shape}; "
                "pass one label for each sample."
            )
        groups = {"normal": ~is_outlier, "outlier": is_outlier}
        return {name: mask for name, mask in groups.items() if mask.any()}

    def _label(self, group: str, mask: NDArray) -> str:
        names = {"all": "samples", "normal": "normal samples", "outlier": "outliers"}
        return f"{mask.sum()} {names[group]}{in_brackets(self.estimator_name)}"


def _evenly(values: NDArray, bins: int) -> NDArray:
    """Return the edges of intervals; values that differ by rounding alone are in one."""
    low, high = float(values.min()), float(values.max())
    if high - low > ROUNDING * max(abs(low), abs(high)):
        return np.histogram_bin_edges(values, bins)
    return low + (abs(low) or 1) / bins * (np.arange(bins + 1) - bins // 2 - 0.5)


def outlier_mask(y: ArrayLike) -> NDArray:
    """Return which labels are those of outliers: -1 among 1 and -1, 1 among 0 and 1, or True."""
    labels = np.asarray(y)
    if labels.dtype == bool:
        return labels
    values = set(np.unique(labels).tolist())
    if values == {1}:
        raise ValueError(
            "y holds 1 only, which is a normal sample among 1 and -1, and an outlier among 0 and "
            "1; pass booleans, True for outliers."
        )
    if not (values <= {-1, 1} or values <= {0, 1}):
        raise ValueError(
            f"y has the labels {sorted(values)}; pass 1 for normal samples and -1 for outliers, or "
            "0 for normal samples and 1 for outliers."
        )
    return labels == (-1 if -1 in values else 1)
