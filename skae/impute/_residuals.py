"""Errors of filled values, learned from values that were masked on purpose, and draws from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from skae._schema import Check, array, persistent
from skae._sklearn_types import BaseEstimator
from skae.impute._conditional_gaussian import ConditionalGaussian, Pattern, patterns_of
from skae.tables import ColumnGroups

QUANTILE_LEVELS = np.linspace(0, 1, 201)
MASKED_FRACTION = 0.1  # of the observed values
N_MASKED_VALUES = 5000  # in all, about
MIN_COLUMN_RESIDUALS = 100  # for a column to have quantiles of its own
MIN_VARIANCE = 1e-12  # relative to 1


def masked_tensors(Z: NDArray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows with 0 in place of missing values, and the mask of observed values."""
    z = torch.from_numpy(Z)
    return z.nan_to_num(), (~z.isnan()).double()


def random_mask(
    Z: NDArray, fraction: float, groups: ColumnGroups, rng: np.random.RandomState
) -> NDArray:
    """Choose observed values to hide, (n, d); columns of a group are hidden together."""
    return ~np.isnan(Z) & (rng.uniform(size=Z.shape)[:, groups.group_start] < fraction)


@persistent
class ResidualQuantiles(BaseEstimator):
    r"""Quantiles of the errors of filled values, relative to the Gaussian's standard deviation.

    Observed values are masked and filled, and their errors are divided by the conditional standard
    deviation, :math:`\sqrt{(\Sigma_{hh} - \Sigma_{ho} \Sigma_{oo}^{-1} \Sigma_{oh})_{jj}}`, which
    grows with the number of missing values in the row. Columns of categories are ignored.

    Parameters
    ----------
    quantiles : ndarray of shape (d, n_levels)
        Quantiles of each column at `QUANTILE_LEVELS`.
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {
        "quantiles": array("f", None, len(QUANTILE_LEVELS), finite=True)
    }

    def __init__(self, quantiles: NDArray):
        self.quantiles = quantiles

    @classmethod
    def zero(cls, n_columns: int) -> Self:
        """Return the quantiles of errors that are all 0."""
        return cls(np.zeros((n_columns, len(QUANTILE_LEVELS))))

    @classmethod
    def fit(
        cls,
        complete: Callable[[NDArray], NDArray],
        gaussian: ConditionalGaussian,
        Z: NDArray,
        groups: ColumnGroups,
        rng: np.random.RandomState,
        max_repeats: int = 50,
    ) -> Self:
        """Learn the quantiles from rows that `complete` was not learned from."""
        n_masked = max(1, MASKED_FRACTION * (~np.isnan(Z)).sum())
        n_repeats = int(np.clip(np.ceil(N_MASKED_VALUES / n_masked), 1, max_repeats))
        Z = np.tile(Z, (n_repeats, 1))
        masked = random_mask(Z, MASKED_FRACTION, groups, rng)
        rows = np.where(masked, np.nan, Z)
        residuals = (Z - complete(rows)) / conditional_std(gaussian, rows)
        columns = [residuals[masked[:, j], j] for j in range(Z.shape[1])]
        pooled = np.concatenate([[], *(columns[j] for j in np.flatnonzero(~groups.is_grouped))])
        if not len(pooled):
            return cls.zero(Z.shape[1])
        return cls(
            np.array(
                [
                    np.quantile(c if len(c) >= MIN_COLUMN_RESIDUALS else pooled, QUANTILE_LEVELS)
                    for c in columns
                ]
            )
        )

    def at(self, levels: Sequence[float]) -> NDArray:
        """Return the quantiles at some levels, (n_levels, d)."""
        each = self.quantiles
        return np.array([[np.interp(p, QUANTILE_LEVELS, q) for q in each] for p in levels])


def conditional_std(gaussian: ConditionalGaussian, Z: NDArray) -> NDArray:
    """Return the conditional standard deviation of each missing value, (n, d), 1 elsewhere."""
    observed = masked_tensors(Z)[1]
    variance = gaussian.variance(observed).clamp_min(MIN_VARIANCE)
    return np.where(observed > 0, 1.0, variance.sqrt())


def draw_imputations(
    gaussian: ConditionalGaussian,
    Z: NDArray,
    filled: NDArray,
    residuals: ResidualQuantiles,
    groups: ColumnGroups,
    rng: np.random.RandomState,
) -> NDArray:
    """Return filled rows plus a random error for each missing value, (n, d).

    Errors of a column follow its quantiles, and those of a row are dependent as in the Gaussian.
    Categories are drawn by the probabilities in `filled`.
    """
    observed, result = masked_tensors(Z)[1], filled.copy()
    normal = torch.from_numpy(rng.normal(size=Z.shape))
    for part, root in _rows_of(gaussian, observed):
        rows, covariance = part.rows.numpy(), part.covariance(root)
        std = covariance.diagonal(dim1=1, dim2=2).clamp_min(MIN_VARIANCE).sqrt()
        correlation = covariance / (std[:, :, None] * std[:, None, :])
        # L^-T of normal numbers has the inverse of L L^T, the precision, as its covariance.
        z = normal[part.rows].gather(1, part.columns)[:, :, None]
        z = torch.linalg.solve_triangular(root.mT, z, upper=True)[:, :, 0] / std
        correlated, deviation = np.zeros((2, len(rows), Z.shape[1]))
        np.put_along_axis(correlated, part.columns.numpy(), (z * part.missing).numpy(), axis=1)
        np.put_along_axis(deviation, part.columns.numpy(), (std * part.missing).numpy(), axis=1)
        level = ndtr(correlated)
        for columns in groups.slices():
            j = columns.start
            if columns.stop - j == 1:
                quantile = np.interp(level[:, j], QUANTILE_LEVELS, residuals.quantiles[j])
                result[rows, j] += quantile * deviation[:, j]
                continue
            index, where = _positions(part, columns)
            some = rows[index]
            result[some, columns] = draw_category(
                filled[some, columns],
                torch.from_numpy(correlated[index, columns]),
                correlation[index[:, None, None], where[:, :, None], where[:, None, :]],
            )
    return np.where(np.isnan(Z), result, Z)


def _rows_of(
    gaussian: ConditionalGaussian, observed: torch.Tensor
) -> Iterator[tuple[Pattern, torch.Tensor]]:
    """Yield parts in which each row has a set of columns and a Cholesky factor of its own."""
    for pattern in patterns_of(observed):
        yield from pattern.each_row(pattern.root(gaussian.precision))


def _positions(part: Pattern, columns: slice) -> tuple[NDArray, NDArray]:
    """Return the rows that miss some columns, (n,), and the positions of these, (n, k)."""
    first = ((part.columns == columns.start) & (part.missing > 0)).int()
    index = np.flatnonzero(first.any(dim=1))
    return index, first[index].argmax(dim=1)[:, None].numpy() + np.arange(
        columns.stop - columns.start
    )


def draw_category(
    probabilities: NDArray, normal: torch.Tensor, correlation: torch.Tensor
) -> NDArray:
    """Draw one category per row, by its probability; return indicators, (n, k).

    Categories are accepted or rejected one after the other. Each decision uses the part of the
    category's normal number that is independent of the previous ones, so that the probabilities
    are exact for any correlation.
    """
    root = torch.linalg.cholesky_ex(correlation[:, :-1, :-1])[0]
    own = torch.linalg.solve_triangular(root, normal[:, :-1, None], upper=False)[:, :, 0]
    level = ndtr(-own.numpy())
    before = np.cumsum(probabilities, axis=1) - probabilities
    share = probabilities / np.maximum(1 - before, np.maximum(probabilities, MIN_VARIANCE))
    taken = np.column_stack([level < share[:, :-1], np.ones(len(probabilities), dtype=bool)])
    return np.eye(probabilities.shape[1])[taken.argmax(axis=1)]


def draw_categories(
    probabilities: NDArray, drawn: NDArray, groups: ColumnGroups, rng: np.random.RandomState
) -> NDArray:
    """Return drawn rows with categories drawn independently, by their probabilities."""
    result = drawn.copy()
    for columns in groups.slices():
        if (k := columns.stop - columns.start) > 1:
            normal, identity = torch.from_numpy(rng.normal(size=(len(drawn), k))), torch.eye(k)
            independent = identity.double().expand(len(drawn), k, k)
            result[:, columns] = draw_category(probabilities[:, columns], normal, independent)
    return result
