"""Moments of the data before training: ranges, means, variances and covariance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.sparsefuncs import mean_variance_axis, min_max_axis

from skae._validation import column_name
from skae.data._chunks import gen_slices
from skae.data._conditioning import Conditioning
from skae.data._dataset import RowDataset
from skae.data._group import ALONE, Group
from skae.data._source import DataSource

BLOCK_CELLS = 2**17


@dataclass(frozen=True)
class Moments:
    """Weighted moments of the observed cells of each column, in float64."""

    low: NDArray  # (d,), NaN where nothing is observed
    high: NDArray
    mean: NDArray  # (d,), 0 where nothing is observed
    variance: NDArray  # (d,), 0 where nothing is observed
    complete: bool  # whether no value is missing

    @classmethod
    @np.errstate(over="ignore", under="ignore", invalid="ignore")
    def of(cls, source: DataSource, weight: NDArray, group: Group = ALONE) -> Moments:
        """Compute them in one pass, centred on the first block against cancellation.

        The processes of a group each hold a part of the samples.
        """
        if source.sparse and group.size == 1:
            return cls._of_sparse(source, weight)
        n_features = source.shape[1]
        low = np.full(n_features, np.inf)
        high = np.full(n_features, -np.inf)
        total, first, second = np.zeros((3, n_features))
        anchor, complete = None, True
        if group.size > 1:
            anchor = _common_anchor(source, group)
        for x, w in _gen_blocks(source, weight):
            observed = ~np.isnan(x)
            all_observed = bool(observed.all())
            complete = complete and all_observed
            if anchor is None:
                anchor = np.where(observed, x, 0).sum(0) / np.maximum(observed.sum(0), 1)
            low = np.fmin(low, np.fmin.reduce(x, axis=0))
            high = np.fmax(high, np.fmax.reduce(x, axis=0))
            centred = x - anchor
            if not all_observed:
                centred[~observed] = 0
            total += w.sum() if all_observed else w @ observed
            first += w @ centred
            second += w @ np.square(centred, out=centred)
        total, first, second = group.sum(torch.from_numpy(np.stack([total, first, second]))).numpy()
        ends = group.maximum(torch.from_numpy(np.append([-low, high], not complete))).numpy()
        low, high, complete = -ends[:n_features], ends[n_features:-1], bool(ends[-1] == 0)
        seen = total > 0
        total = np.where(seen, total, 1)
        shift = first / total
        return cls._checked(low, high, anchor + shift, second / total - shift**2, seen, complete)

    @classmethod
    def _of_sparse(cls, source: DataSource, weight: NDArray) -> Moments:
        X = source.matrix().astype(np.float64)
        mean, variance, total = mean_variance_axis(
            X, axis=0, weights=weight, return_sum_weights=True
        )
        low, high = min_max_axis(X, axis=0, ignore_nan=True)
        return cls._checked(low, high, mean, variance, total > 0, not source.has_missing())

    @classmethod
    def _checked(
        cls,
        low: NDArray,
        high: NDArray,
        mean: NDArray,
        variance: NDArray,
        seen: NDArray,
        complete: bool,
    ) -> Moments:
        # Rounding must not give a constant column a variance.
        varies = seen & (high > low)
        return cls(
            low=np.where(seen, low, np.nan),
            high=np.where(seen, high, np.nan),
            mean=np.where(varies, mean, np.where(seen, low, 0.0)),
            variance=np.where(varies, np.maximum(variance, 0), 0.0),
            complete=complete,
        )

    def check_magnitude(self, dtype: np.dtype, names: NDArray | None) -> None:
        """Raise ValueError if nothing varies, or if squares exceed the range of X's dtype."""
        info = np.finfo(dtype)
        reach = np.fmax(np.abs(self.low), np.abs(self.high))
        j = int(np.nanargmax(reach))
        too_large, too_small = 1e-3 * np.sqrt(float(info.max)), 1e3 * np.sqrt(float(info.tiny))
        if reach[j] > too_large:
            raise ValueError(
                f"Column {column_name(j, names)} of X reaches {reach[j]:.3g}, so large that its "
                f"squares overflow {dtype}; divide X by a constant first."
            )
        spread = np.nanmax(self.high - self.low)
        if spread == 0:
            raise ValueError(
                "X is constant: no column has two different values, so there is nothing to encode; "
                "pass samples that vary."
            )
        if spread < too_small:
            raise ValueError(
                f"The values of X differ by {spread:.3g} at most, so little that their squares "
                f"vanish in {dtype}; multiply X by a constant first."
            )

        if self.variance.max() < 100 * np.finfo(np.float64).eps * spread**2:  # rounding
            raise ValueError(
                "X is constant given sample_weight: the samples that differ have negligible "
                "weight; pass weights that are closer to each other."
            )

    def conditioning(self) -> Conditioning:
        """Return the shift and the scale."""
        seen = ~np.isnan(self.low)
        return Conditioning(self.mean, float(np.sqrt(self.variance[seen].mean())))


def _gen_blocks(source: DataSource, weight: NDArray) -> Iterator[tuple[NDArray, NDArray]]:
    """Generate blocks of rows in float64 that fit into the cache of a CPU, and their weights."""
    size = max(1, BLOCK_CELLS // source.shape[1])
    for chunk in source.gen_chunks():
        rows, own = source[chunk], weight[chunk]
        for block in gen_slices(len(rows), size):
            yield rows[block].astype(np.float64, copy=False), own[block]


def _common_anchor(source: DataSource, group: Group) -> NDArray:
    """Return the mean of the first block of the process of rank 0."""
    x, _ = next(_gen_blocks(source, np.ones(len(source))))
    observed = ~np.isnan(x)
    anchor = np.where(observed, x, 0).sum(0) / np.maximum(observed.sum(0), 1)
    return group.first(torch.from_numpy(anchor)).numpy()


def covariance_of(rows: RowDataset) -> torch.Tensor:
    """Return the weighted covariance, missing values replaced by the mean, in float64."""
    weight = rows.weight.double() / rows.total_weight
    covariance = torch.zeros((rows.n_features,) * 2, dtype=torch.float64)
    for chunk in rows.gen_chunks():
        x = rows.values(chunk)[0].double()
        covariance += (x * weight[chunk, None]).T @ x
    return rows.sum(covariance)


def statistics_of(rows: RowDataset) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return variance, minimum and maximum of the observed values of each column, in float64.

    All three are 0 for a column without observed values.
    """
    total, square = torch.zeros((2, rows.n_features), dtype=torch.float64)
    low = torch.full_like(total, torch.inf)
    high = -low
    for chunk in rows.gen_chunks():
        x, observed = rows.values(chunk)
        mask = torch.ones_like(x) if observed is None else observed
        weight = (rows.weight[chunk, None] * mask).double()
        total += weight.sum(0)
        square += (weight * x.double() ** 2).sum(0)
        low = torch.minimum(low, torch.where(mask > 0, x, torch.inf).amin(0).double())
        high = torch.maximum(high, torch.where(mask > 0, x, -torch.inf).amax(0).double())
    total, square = rows.sum(torch.stack([total, square]))
    low, high = -rows.maximum(-low), rows.maximum(high)
    seen = total > 0
    zero = torch.zeros_like(total)
    return (
        torch.where(seen, square / torch.where(seen, total, 1), zero),
        torch.where(seen, low, zero),
        torch.where(seen, high, zero),
    )
