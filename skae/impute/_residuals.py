"""How far filled values are from the truth, learned from cells that were hidden on purpose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from skae.impute._conditional_gaussian import Gaussian, Missing
from skae.impute._table_encoder import blocks

LEVELS = np.linspace(0, 1, 201)  # of the quantiles that are kept
HIDE = 0.1  # share of the observed cells that are hidden
CELLS = 5000  # that are hidden in all, about
MOST = 50  # times that the rows are gone through, at most
ENOUGH = 100  # hidden cells of a column for it to have quantiles of its own
TINY = 1e-12  # of a variance, relative to 1


def tensors(Z: NDArray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows with 0 in their holes, and which cells are observed."""
    z = torch.from_numpy(Z)
    return z.nan_to_num(), (~z.isnan()).double()


def hide(Z: NDArray, share: float, group_start: NDArray, rng: np.random.RandomState) -> NDArray:
    """Choose observed cells to hide, (n, d); columns with the same leader are hidden together."""
    return ~np.isnan(Z) & (rng.uniform(size=Z.shape)[:, group_start] < share)


def errors(
    fill: Callable[[NDArray], NDArray],
    gaussian: Gaussian,
    Z: NDArray,
    group_start: NDArray,
    rng: np.random.RandomState,
) -> NDArray:
    r"""Return quantiles of the errors of each column, (d, L), relative to the Gaussian's.

    Observed cells are hidden, filled, and the errors divided by the conditional standard
    deviation, :math:`\sqrt{(\Sigma_{hh} - \Sigma_{ho} \Sigma_{oo}^{-1} \Sigma_{oh})_{jj}}`, which
    tells how much more uncertain a cell is the more is missing beside it. Those of categories,
    columns with the same leader, count for nothing.
    """
    d = Z.shape[1]
    n_hidden = max(1, HIDE * (~np.isnan(Z)).sum())
    Z = np.tile(Z, (int(np.clip(np.ceil(CELLS / n_hidden), 1, MOST)), 1))
    hidden = hide(Z, HIDE, group_start, rng)
    rows = np.where(hidden, np.nan, Z)
    away = (Z - fill(rows)) / conditional_std(gaussian, rows)
    columns = [away[hidden[:, j], j] for j in range(d)]
    numbers = np.bincount(group_start, minlength=d) == 1
    together = np.concatenate([[], *(columns[j] for j in np.flatnonzero(numbers))])
    if not len(together):
        return np.zeros((d, len(LEVELS)))
    return np.array([np.quantile(c if len(c) >= ENOUGH else together, LEVELS) for c in columns])


def conditional_std(gaussian: Gaussian, Z: NDArray) -> NDArray:
    """Return the conditional standard deviation of each hole, (n, d), 1 where there is none."""
    observed = tensors(Z)[1]
    variance = gaussian.variance(observed).clamp_min(TINY)
    return np.where(observed > 0, 1.0, variance.sqrt())


def draw(
    gaussian: Gaussian,
    Z: NDArray,
    filled: NDArray,
    quantiles: NDArray,
    group_start: NDArray,
    rng: np.random.RandomState,
) -> NDArray:
    """Return filled rows with an error for each hole, (n, d), and categories by their chances.

    Errors of a column have its quantiles; what is drawn for a row belongs together as the Gaussian
    says.
    """
    observed, result = tensors(Z)[1], filled.copy()
    normal = torch.from_numpy(rng.normal(size=Z.shape))
    for part in gaussian.solve(observed):
        rows, covariance = part.rows.numpy(), part.covariance()
        std = covariance.diagonal(dim1=1, dim2=2).clamp_min(TINY).sqrt()
        correlation = covariance / (std[:, :, None] * std[:, None, :])
        # L^-T of normal numbers has the inverse of L L^T, the precision, as its covariance.
        z = normal[part.rows].gather(1, part.columns)[:, :, None]
        z = torch.linalg.solve_triangular(part.root.mT, z, upper=True)[:, :, 0] / std
        together, deviation = np.zeros((2, len(rows), Z.shape[1]))
        np.put_along_axis(together, part.columns.numpy(), (z * part.missing).numpy(), axis=1)
        np.put_along_axis(deviation, part.columns.numpy(), (std * part.missing).numpy(), axis=1)
        chance = ndtr(together)
        for columns in blocks(group_start):
            j = columns.start
            if columns.stop - j == 1:
                result[rows, j] += np.interp(chance[:, j], LEVELS, quantiles[j]) * deviation[:, j]
                continue
            index, where = _places(part, columns)
            some = rows[index]
            result[some, columns] = pick(
                filled[some, columns],
                torch.from_numpy(together[index, columns]),
                correlation[index[:, None, None], where[:, :, None], where[:, None, :]],
            )
    return np.where(np.isnan(Z), result, Z)


def _places(part: Missing, columns: slice) -> tuple[NDArray, NDArray]:
    """Return which rows miss these columns, (n,), and where theirs stand, (n, k)."""
    first = ((part.columns == columns.start) & (part.missing > 0)).int()
    index = np.flatnonzero(first.any(dim=1))
    return index, first[index].argmax(dim=1)[:, None].numpy() + np.arange(
        columns.stop - columns.start
    )


def pick(probabilities: NDArray, normal: torch.Tensor, correlation: torch.Tensor) -> NDArray:
    """Return 1 for the category of each row and 0 for others, (n, k), drawn by their chances.

    One category after the other is taken or left, by its normal number less what those before it
    tell of it, so that the chances are exact, whatever the numbers belong together with.
    """
    root = torch.linalg.cholesky_ex(correlation[:, :-1, :-1])[0]
    own = torch.linalg.solve_triangular(root, normal[:, :-1, None], upper=False)[:, :, 0]
    level = ndtr(-own.numpy())
    before = np.cumsum(probabilities, axis=1) - probabilities
    share = probabilities / np.maximum(1 - before, np.maximum(probabilities, TINY))
    taken = np.column_stack([level < share[:, :-1], np.ones(len(probabilities), dtype=bool)])
    return np.eye(probabilities.shape[1])[taken.argmax(axis=1)]


def picked(
    probabilities: NDArray, drawn: NDArray, group_start: NDArray, rng: np.random.RandomState
) -> NDArray:
    """Return drawn rows with categories by their chances, each row and variable on its own."""
    result = drawn.copy()
    for columns in blocks(group_start):
        if (k := columns.stop - columns.start) > 1:
            normal, identity = torch.from_numpy(rng.normal(size=(len(drawn), k))), torch.eye(k)
            independent = identity.double().expand(len(drawn), k, k)
            result[:, columns] = pick(probabilities[:, columns], normal, independent)
    return result
