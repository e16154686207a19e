"""The criterion that compares each value with the training values of its feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from skae._schema import Check, array, persistent
from skae.base import BaseAutoencoder
from skae.data import MAX_CHUNK_SIZE, DataSource, concatenate_chunks
from skae.outlier._criterion import Criterion

MAX_KNOTS = 256  # of a feature's distribution, not counting those of frequent values
FREQUENT = 1 / 64  # share of the samples that have a value
CONSTANT_MARGIN = 1e-4  # relative distance from a constant at which a value differs from it
SAME_SHARE = 1e-9  # relative difference of shares that are equal but for rounding
NEGLIGIBLE_LOG_P = 1e-3
TINY = np.finfo(np.float64).tiny


@persistent
class TailProbability(Criterion):
    r"""Mean over the variables of minus the log of each value's p-value.

    Those of numbers are two-sided, exact at training values and linear between them. Beyond the
    extremes they fall to the smallest one over the distance between the extreme value and the
    next. That of a category c is the share of the training samples whose category is at most as
    frequent,

    .. math:: p_c = \sum_{c' : q_{c'} \le q_c} q_{c'}

    with :math:`q_c` the share of c; that of a category without an indicator is the same, of all
    of these together, or the smallest possible one if no training sample has such a category.

    Attributes
    ----------
    knots_, share_below_, share_above_ : ndarray of shape (n_features, n_knots)
        Training values of each feature, in rising order and padded by NaN, and the shares of the
        samples up to each and from each on.
    min_p_ : ndarray of shape (n_features,)
        Smallest p-values.
    category_p_ : ndarray of shape (n_features,)
        P-value of the category that a feature indicates, 1 for numbers.
    other_p_ : ndarray of shape (n_features,)
        P-value of a category without an indicator, 1 for numbers.
    """

    name = "tails"
    additive = True
    _fitted_schema: ClassVar[dict[str, Check]] = {
        "knots_": array("f", "n_features_in_", None),
        "share_below_": array("f", "n_features_in_", None),
        "share_above_": array("f", "n_features_in_", None),
        "min_p_": array("f", "n_features_in_", finite=True),
        "category_p_": array("f", "n_features_in_", finite=True),
        "other_p_": array("f", "n_features_in_", finite=True),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "knots_" not in state:
            return
        shape = state["knots_"].shape
        if not shape == state["share_below_"].shape == state["share_above_"].shape:
            raise ValueError(f"the distributions of {cls.__name__} are not of as many values")
        if not all((state[name] > 0).all() for name in ("min_p_", "category_p_", "other_p_")):
            raise ValueError(f"the smallest p-values of {cls.__name__} are not above 0")

    def _floor(self, model: BaseAutoencoder) -> float:
        return NEGLIGIBLE_LOG_P

    def _learn(self, model: BaseAutoencoder, source: DataSource, weight: NDArray) -> None:
        curves = [np.full((3, 1), np.nan)] * source.shape[1]
        self.min_p_ = np.ones(source.shape[1])
        for j, x in _columns(source):
            observed = ~np.isnan(x) & (weight > 0)
            if observed.any() and np.isnan(self.thresholds_[j]):
                w = weight[observed] / weight[observed].sum()
                curves[j], self.min_p_[j] = _distribution(x[observed].astype(float), w), w.min()
        n_knots = max(curve.shape[1] for curve in curves)
        padded = [
            np.pad(curve, ((0, 0), (0, n_knots - curve.shape[1])), constant_values=np.nan)
            for curve in curves
        ]
        self.knots_, self.share_below_, self.share_above_ = np.stack(padded, axis=1)
        self._learn_categories(source, weight)

    def _learn_categories(self, source: DataSource, weight: NDArray) -> None:
        self.category_p_, self.other_p_ = np.ones((2, source.shape[1]))
        for columns in self._groups.slices():
            if np.isnan(self.thresholds_[columns.start]):
                continue
            x = source.columns(columns)
            used = ~np.isnan(x[:, 0]) & (weight > 0)
            if used.any():
                is_of = x[used] > self.thresholds_[columns]
                w = weight[used] / weight[used].sum()
                q = w @ np.column_stack([is_of, ~is_of.any(axis=1)])
                p = [q[q <= share * (1 + SAME_SHARE)].sum() for share in q]
                p = np.clip(p, w.min(), 1)
                self.category_p_[columns], self.other_p_[columns] = p[:-1], p[-1]

    def score(self, model: BaseAutoencoder, source: DataSource) -> NDArray:
        terms = (self._terms(source[chunk]).sum(1) for chunk in source.gen_chunks())
        return concatenate_chunks(len(source), terms)

    def per_feature(self, model: BaseAutoencoder, source: DataSource) -> NDArray:
        terms = (self._terms(source[chunk]) for chunk in source.gen_chunks())
        return concatenate_chunks(len(source), terms)

    def _terms(self, X: NDArray) -> NDArray:
        p = np.ones(X.shape)
        for j, knots in enumerate(self.knots_):
            if n := int((~np.isnan(knots)).sum()):
                below = np.interp(X[:, j], knots[:n], self.share_below_[j, :n])
                above = np.interp(X[:, j], knots[:n], self.share_above_[j, :n])
                p[:, j] = np.clip(2 * np.minimum(below, above), self.min_p_[j], 1)
        groups, observed = self._groups, ~np.isnan(X)
        is_of = self.thresholds_ < X  # nowhere for numbers
        p = np.where(is_of, self.category_p_, p)
        starts = groups.starts
        p[:, starts] *= np.where(groups.sum(is_of), 1, self.other_p_[starts])
        n_observed = np.maximum(observed[:, starts].sum(1, keepdims=True), 1)
        return np.where(observed, -np.log(p), 0) / n_observed


def _distribution(x: NDArray, w: NDArray) -> NDArray:
    """Return values of a feature, the share up to each, and the share from each on, (3, k).

    Values that are equal in float32 count as one. Of many values, those near both ends, frequent
    ones and their neighbors are kept. The first and the last are beyond the extremes.
    """
    mantissa, exponent = np.frexp(x)
    rounded = np.ldexp(mantissa.astype(np.float32).astype(np.float64), exponent)
    values, inverse = np.unique(rounded, return_inverse=True)
    share = np.bincount(inverse, weights=w)
    n = len(values)
    kept = np.arange(n)
    if n > MAX_KNOTS:
        ends = np.geomspace(1, n, MAX_KNOTS // 2).astype(int) - 1
        frequent = np.flatnonzero(share > FREQUENT)
        kept = np.concatenate([ends, n - 1 - ends, frequent - 1, frequent, frequent + 1])
        kept = np.unique(kept.clip(0, n - 1))
    below, above = share.cumsum()[kept], share[::-1].cumsum()[::-1][kept]
    values = values[kept]
    gaps = np.diff(values) if n > 1 else np.maximum(CONSTANT_MARGIN * np.abs(values), TINY)
    return np.stack(
        [
            np.concatenate([[values[0] - gaps[0]], values, [values[-1] + gaps[-1]]]),
            np.concatenate([[0], below, [1]]),
            np.concatenate([[1], above, [0]]),
        ]
    )


def _columns(source: DataSource) -> Iterator[tuple[int, NDArray]]:
    """Yield each column with its number, of which a few at a time are in memory."""
    n, d = source.shape
    for start in range(0, d, step := max(1, MAX_CHUNK_SIZE // n)):
        block = source.columns(slice(start, start + step))
        for j in range(block.shape[1]):
            yield start + j, block[:, j]
