"""The outlier score of one sample, as a sum over features."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.pipeline import Pipeline

from skae._sklearn import _check_feature_names_in, _safe_indexing
from skae._validation import check_count
from skae.displays._base import Display, before_last_step, last_step, name_of, position_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROUNDING = 1e-6  # of the score


class ContributionDisplay(Display):
    """Contributions of the features to the outlier score of one sample.

    Each bar starts where the one above it ends, so that the last one ends at the score. Use
    `from_estimator` to create one.

    Parameters
    ----------
    contributions : array-like of shape (n_features,)
        Contribution of each feature to the outlier score.
    score : float, default=None
        Outlier score: the sum of the contributions, and of a part that belongs to no feature, the
        distance of the code from those of the training data. If None, there is no such part.
    threshold : float, default=None
        Score above which samples are predicted as outliers.
    feature_names : sequence of str of length n_features, default=None
        Names of the features. If None, "x0", "x1" and so on.
    feature_values : sequence of length n_features, default=None
        Values of the sample for the labels.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        Figure that contains them.
    bars_ : matplotlib BarContainer
        The bars, from top to bottom.
    labels_ : list of str
        Their labels.
    threshold_line_ : matplotlib Line2D or None
        The threshold.

    See Also
    --------
    OutlierScoreDisplay : The scores of many samples.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skae import AutoencoderOutlierDetector
    >>> from skae.displays import ContributionDisplay
    >>> X = load_wine(as_frame=True).data
    >>> detector = AutoencoderOutlierDetector(max_iter=5, random_state=0)
    >>> detector = make_pipeline(StandardScaler(), detector).fit(X)
    >>> display = ContributionDisplay.from_estimator(detector, X, index=121, max_features=3)
    >>> display.labels_[0]
    'flavanoids = 5.08'
    """

    def __init__(
        self,
        contributions: ArrayLike,
        *,
        score: float | None = None,
        threshold: float | None = None,
        feature_names: Sequence[str] | None = None,
        feature_values: Sequence[Any] | None = None,
    ):
        self.contributions = contributions
        self.score = score
        self.threshold = threshold
        self.feature_names = feature_names
        self.feature_values = feature_values

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        index: int = 0,
        *,
        max_features: int = 10,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the contributions to the score of one sample.

        Parameters
        ----------
        estimator : object
            A fitted `AutoencoderOutlierDetector`, or a pipeline that ends in one.
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Input samples.
        index : int, default=0
            Position of the sample in X; negative from the end.
        max_features : int, default=10
            Number of the features with the largest contributions to show; the others are summed.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of matplotlib's ``barh``.

        Returns
        -------
        display : ContributionDisplay
            The display.

        Raises
        ------
        TypeError
            If the estimator has no contributions.
        ValueError
            If no criterion of the detector is a sum over features.
        IndexError
            If X has no such sample.
        """
        detector = last_step(estimator)
        if not hasattr(detector, "feature_contributions"):
            raise TypeError(
                f"{name_of(estimator)} has no feature_contributions; pass a fitted "
                "AutoencoderOutlierDetector, or a pipeline that ends in one."
            )
        row = _safe_indexing(X, [position_of(index, X)])
        given = before_last_step(estimator, row)
        names, values = _names_and_values(estimator, row, given)
        display = cls(
            detector.feature_contributions(given)[0],
            score=-float(detector.score_samples(given)[0]),
            threshold=-float(detector.offset_),
            feature_names=names,
            feature_values=values,
        )
        return display.plot(ax, max_features=max_features, **kwargs)

    def plot(self, ax: Axes | None = None, *, max_features: int = 10, **kwargs: Any) -> Self:
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        max_features : int, default=10
            Number of the features with the largest contributions to show; the others are summed.
        **kwargs : dict
            Parameters of matplotlib's ``barh``.

        Returns
        -------
        self : ContributionDisplay
            The display.

        Raises
        ------
        ValueError
            If `max_features` is not a positive integer, or if there are not as many names or values
            as contributions.
        """
        check_count(max_features, "max_features")
        labels, widths, n_shown = self._parts(max_features)
        ends = np.cumsum(widths)
        ax = self._set_axes(ax, figsize=(6.4, 1.5 + 0.32 * len(widths)))
        colors = ["C0" if i < n_shown else "0.65" for i in range(len(widths))]
        self.labels_ = labels
        style = {"color": colors} | kwargs
        self.bars_ = ax.barh(np.arange(len(widths)), widths, left=ends - widths, **style)
        ax.vlines(
            ends[:-1], np.arange(len(ends) - 1), np.arange(1, len(ends)), color="0.5", linewidth=0.7
        )
        self.threshold_line_ = None
        if self.threshold is not None:
            label = f"threshold {self.threshold:.3g}"
            self.threshold_line_ = ax.axvline(
                self.threshold, color="black", linestyle="--", linewidth=1, label=label
            )
            ax.legend()
        ax.set(yticks=np.arange(len(widths)), yticklabels=labels, xlabel="sum of contributions")
        ax.set(ylim=(len(widths) - 0.4, -0.6), title=f"outlier score {ends[-1]:.3g}")
        return self

    def _parts(self, max_features: int) -> tuple[list[str], NDArray, int]:
        """Return labels and widths of the bars, and how many of them are features."""
        contributions = np.asarray(self.contributions, dtype=np.float64)
        names = self.feature_names
        names = [f"x{j}" for j in range(len(contributions))] if names is None else list(names)
        labels = [str(name) for name in names]
        for given, what in ((labels, "feature_names"), (self.feature_values, "feature_values")):
            if given is not None and len(given) != len(contributions):
                raise ValueError(
                    f"{what} has {len(given)} elements, but there are {len(contributions)} "
                    "contributions; pass one for each."
                )
        if self.feature_values is not None:
            pairs = zip(labels, self.feature_values, strict=True)
            labels = [f"{name} = {_formatted(value)}" for name, value in pairs]
        order = np.argsort(-contributions, kind="stable")
        shown, others = order[:max_features], order[max_features:]
        parts = [(labels[j], contributions[j]) for j in shown]
        if len(others):
            plural = "s" if len(others) > 1 else ""
            parts.append((f"{len(others)} other feature{plural}", contributions[others].sum()))
        rest = 0.0 if self.score is None else self.score - contributions.sum()
        if self.score is not None and abs(rest) > ROUNDING * abs(self.score):
            parts.append(("distance of the code", rest))
        return [label for label, _ in parts], np.array([width for _, width in parts]), len(shown)


def _names_and_values(estimator: Any, row: Any, given: Any) -> tuple[list[str], list[Any]]:
    """Return names and values of the features that the last step is given.

    Values are those of X if the steps before keep the features, as scalers do.
    """
    first = estimator[0] if isinstance(estimator, Pipeline) else estimator
    names = list(row.columns if hasattr(row, "columns") else _check_feature_names_in(first))
    values, given_values = _values(row), _values(given)
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        try:
            after = list(estimator[:-1].get_feature_names_out(names))
        except AttributeError:  # a step without names; the number of features may tell
            same = len(values) == len(given_values)
            after = names if same else [f"x{j}" for j in range(len(given_values))]
        if after != names:
            return after, given_values
    return names, values


def _values(row: Any) -> list[Any]:
    row = row.toarray() if issparse(row) else row
    return np.asarray(row, dtype=object)[0].tolist()


def _formatted(value: Any) -> str:
    if pd.isna(value):
        return "missing"
    return f"{value:.4g}" if isinstance(value, Real) and not isinstance(value, bool) else str(value)
