"""Gaussian with missing values: EM, conditional means and covariances."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RIDGES = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)  # relative to each column's variance
MIN_RIDGE = RIDGES[-1]
EM_TOLERANCE = 1e-4  # change of means and covariances, in standard deviations, at which EM ends
MAX_EM_ITER = 15  # iterations of EM for a ridge
N_RIDGE_MASKS = 8  # masks of each validation row that a ridge is chosen by
MASKED_FRACTION = 0.2  # of the observed values that such a mask hides
RIDGE_SLACK = 1e-3  # relative excess of the smallest validation error that is accepted
RIDGE_PATIENCE = 2  # ridges without improvement, after which no smaller one is tried
MIN_RELATIVE_PROBABILITY = 0.01  # of a category, to its frequency
MAX_SOLVED_CELLS = 2**18  # of the matrices that are solved at once


class Pattern(NamedTuple):
    """Rows whose missing values are in the same columns, for several sets of columns at once.

    Each set is solved once, whatever the number of its rows. Sets have similar sizes; smaller ones
    are filled up by other columns.
    """

    columns: Tensor  # (p, m), in their order
    missing: Tensor  # (p, m), 1 where a column is missing, 0 where it fills up
    rows: Tensor  # (n,), sorted by their sets
    which: Tensor  # (n,), the set of each of these rows

    def root(self, precision: Tensor) -> Tensor:
        """Return the Cholesky factors of the precisions of the missing values, (p, m, m)."""
        block = precision[self.columns[:, :, None], self.columns[:, None, :]]
        block = block * (self.missing[:, :, None] * self.missing[:, None, :])
        return torch.linalg.cholesky(block + torch.diag_embed(1 - self.missing))

    def covariance(self, root: Tensor) -> Tensor:
        """Return the conditional covariances of the missing values, (p, m, m)."""
        both = self.missing[:, :, None] * self.missing[:, None, :]
        return torch.cholesky_inverse(root) * both

    def fill(self, filled: Tensor, weighted: Tensor, root: Tensor) -> None:
        """Put the conditional mean in place of the mean, where values are missing."""
        if len(self.rows) > len(self.columns):
            for part, part_root in self.each_row(root):
                part.fill(filled, weighted, part_root)
            return
        b = weighted[self.rows].gather(1, self.columns) * self.missing
        shift = torch.cholesky_solve(b[:, :, None], root)[:, :, 0]
        filled[self.rows] = filled[self.rows].scatter_add(1, self.columns, -shift)

    def each_row(self, root: Tensor) -> Iterator[tuple[Self, Tensor]]:
        """Yield parts in which each row has a set, and a root, of its own."""
        size = max(1, MAX_SOLVED_CELLS // self.columns.shape[1] ** 2)
        for rows, which in zip(self.rows.split(size), self.which.split(size), strict=True):
            own = torch.arange(len(rows))
            yield type(self)(self.columns[which], self.missing[which], rows, own), root[which]


def patterns_of(observed: Tensor, max_cells: int = MAX_SOLVED_CELLS) -> list[Pattern]:
    """Return the rows with missing values, sets with similar numbers of them together."""
    sets, which = unique_rows(observed.numpy() > 0)
    counts = (~sets).sum(axis=1)
    # Sets in the order of their sizes, and rows in the order of their sets.
    order = np.argsort(counts, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    rows = np.argsort(rank[which], kind="stable")
    ends = np.searchsorted(rank[which][rows], np.arange(len(order) + 1))
    start, patterns = int((counts == 0).sum()), []
    while start < len(order):
        stop = _end_of_similar(counts[order], start, max_cells)
        seen = torch.from_numpy(sets[order[start:stop]])
        columns = seen.to(torch.uint8).argsort(dim=1, stable=True)[:, : int((~seen[-1]).sum())]
        some = rows[ends[start] : ends[stop]]
        patterns.append(
            Pattern(
                columns,
                1 - seen.gather(1, columns).double(),
                torch.from_numpy(some),
                torch.from_numpy(rank[which[some]] - start),
            )
        )
        start = stop
    return patterns


def unique_rows(mask: NDArray) -> tuple[NDArray, NDArray]:
    """Return the different rows of a mask, and the index of each row among them."""
    packed = np.packbits(mask, axis=1)
    n_words = max(1, -(-packed.shape[1] // 8))
    words = np.zeros((len(mask), 8 * n_words), np.uint8)
    words[:, : packed.shape[1]] = packed
    keys = words.view(np.uint64 if n_words == 1 else np.dtype((np.void, 8 * n_words)))[:, 0]
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    return mask[first], which


def _end_of_similar(counts: NDArray, start: int, max_cells: int) -> int:
    """Return the end of a run of sets, in the order of their sizes, that are solved at once.

    The last one sets the width of the matrices.
    """
    size = max(1, max_cells // int(counts[start]) ** 2)
    while True:
        stop = min(start + size, len(counts))
        most = int(counts[stop - 1])
        if size == 1 or (stop - start) * most**2 <= max_cells:
            return stop
        size = max(1, min(size - 1, max_cells // most**2))


class ConditionalGaussian(NamedTuple):
    """Mean, covariance and its inverse, in float64, and the conditional moments they imply."""

    mean: Tensor  # (d,)
    covariance: Tensor  # (d, d)
    precision: Tensor  # (d, d)

    @classmethod
    def of(cls, mean: Tensor, covariance: Tensor) -> Self:
        """Return the Gaussian with this mean and positive definite covariance."""
        return cls(mean, covariance, torch.cholesky_inverse(torch.linalg.cholesky(covariance)))

    def fill(self, x: Tensor, observed: Tensor) -> Tensor:
        r"""Return rows with the conditional mean of their missing values, (n, d), in float64.

        With the precision :math:`P = \Sigma^{-1}`, whose block of the missing values is usually far
        smaller than that of the observed ones,

        .. math:: \mu_h + \Sigma_{ho} \Sigma_{oo}^{-1} (x_o - \mu_o)
                  = \mu_h - P_{hh}^{-1} P_{ho} (x_o - \mu_o).
        """
        x, observed = x.double(), observed.double()
        filled, weighted = self.unsolved(x, observed)
        for pattern in patterns_of(observed):
            pattern.fill(filled, weighted, pattern.root(self.precision))
        return filled

    def unsolved(self, x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows with the mean in place of missing values, and P (x_o - mu_o), (n, d) each."""
        weighted = ((x - self.mean) * observed) @ self.precision
        return torch.where(observed > 0, x, self.mean), weighted

    def variance(self, observed: Tensor) -> Tensor:
        """Return the conditional variance of the missing values, (n, d), 0 elsewhere."""
        result = torch.zeros(observed.shape, dtype=torch.float64)
        for pattern in patterns_of(observed):
            covariance = pattern.covariance(pattern.root(self.precision))
            diagonal = covariance.diagonal(dim1=1, dim2=2)[pattern.which]
            columns = pattern.columns[pattern.which]
            result[pattern.rows] = result[pattern.rows].scatter(1, columns, diagonal)
        return result


def probabilities(filled: Tensor, mean: Tensor, group_start: Tensor) -> Tensor:
    """Return probabilities of categories for the conditional means of their columns, (n, d).

    A conditional mean may leave [0, 1]; probabilities add up to 1 over the columns with the same
    `group_start`.
    """
    likely = torch.maximum(filled, MIN_RELATIVE_PROBABILITY * mean)
    total = torch.zeros_like(likely).index_add(1, group_start, likely)
    return likely / total[:, group_start]


def fit_gaussian(
    x: Tensor,
    observed: Tensor,
    weight: Tensor,
    ridge: float = MIN_RIDGE,
    *,
    ridges: Sequence[float] = RIDGES,
    max_iter: int = MAX_EM_ITER,
) -> ConditionalGaussian:
    """Fit a Gaussian to incomplete rows by penalised maximum likelihood, using EM.

    Each iteration fills the missing values with their conditional means. The mean of the filled
    rows, and their covariance plus the mean conditional covariance of the missing values, are the
    next estimates. The ridge, relative to each column's variance, is added to the covariance. It
    is decreased in steps, each of which starts from the result of the previous one: with few rows,
    EM that starts with a small ridge stays close to its first estimate.

    Parameters
    ----------
    x, observed : Tensor of shape (n, d)
        Rows, and 1 where a value is known.
    weight : Tensor of shape (n,)
        Weights of the rows.
    ridge : float, default=MIN_RIDGE
        The final ridge.
    ridges : sequence of float, default=RIDGES
        Those of them that are larger come first.
    max_iter : int, default=MAX_EM_ITER
        Iterations of EM for each ridge, at most.

    Returns
    -------
    gaussian : ConditionalGaussian
    """
    ridges = [larger for larger in ridges if larger > ridge] + [ridge]
    *_, gaussian = _path(x, observed, weight, ridges, max_iter)
    return gaussian


def fit_shrunk(
    x: Tensor,
    observed: Tensor,
    weight: Tensor,
    folds: Sequence[tuple[Tensor, Tensor]],
    generator: torch.Generator,
    *,
    ridges: Sequence[float] = RIDGES,
    max_iter: int = MAX_EM_ITER,
    tick: Callable[[str], None] = lambda name: None,
) -> ConditionalGaussian:
    """Fit a Gaussian with the ridge that best predicts masked values of validation rows.

    Parameters
    ----------
    x, observed : Tensor of shape (n, d)
        Rows, and 1 where a value is known.
    weight : Tensor of shape (n,)
        Weights of the rows.
    folds : sequence of (Tensor of int, Tensor of int)
        Indices of training and validation rows. With one fold, the Gaussian of its training rows
        is returned, with several that of all rows.
    generator : torch.Generator
        Source of the masks.
    ridges : sequence of float, default=RIDGES
        Candidates, in decreasing order.
    max_iter : int, default=MAX_EM_ITER
        Iterations of EM for each ridge, at most.
    tick : callable
        Called after each ridge.

    Returns
    -------
    gaussian : ConditionalGaussian
    """
    errors = torch.full((len(folds), len(ridges)), torch.inf, dtype=torch.float64)
    found = {}
    for fold, (kept, others) in enumerate(folds):
        error_of = _validation_error(x[others], observed[others], weight[others], generator)
        path = _path(x[kept], observed[kept], weight[kept], ridges, max_iter)
        for i, gaussian in enumerate(path):
            errors[fold, i], found[i] = error_of(gaussian), gaussian
            tick("ridge")
            if i - int(errors[fold].argmin()) >= RIDGE_PATIENCE and len(folds) == 1:
                break
    total = errors.sum(0)
    # Values that nothing determines dominate the sum; those that are determined need the least.
    good = (total <= (1 + RIDGE_SLACK) * total.min()).nonzero()
    best = int(good[-1]) if folds else len(ridges) - 1
    if len(folds) == 1:
        return found[best]
    return fit_gaussian(x, observed, weight, ridges[best], ridges=ridges, max_iter=max_iter)


def _validation_error(
    x: Tensor, observed: Tensor, weight: Tensor, generator: torch.Generator
) -> Callable[[ConditionalGaussian], float]:
    """Return the squared error of masked values of these rows, as a function of the Gaussian."""
    x, known, weight = (torch.cat([a.double()] * N_RIDGE_MASKS) for a in (x, observed, weight))
    seen = known * (torch.rand(x.shape, generator=generator) >= MASKED_FRACTION)
    hidden = (known - seen) * weight[:, None]
    return lambda gaussian: float(((gaussian.fill(x, seen) - x).square() * hidden).sum())


def _path(
    x: Tensor,
    observed: Tensor,
    weight: Tensor,
    ridges: Sequence[float],
    max_iter: int = MAX_EM_ITER,
) -> Iterator[ConditionalGaussian]:
    """Yield the Gaussian for one ridge after the other."""
    x, observed = x.double(), observed.double()
    share = weight.double() / weight.double().sum()
    known = share[:, None] * observed
    # A column without any value stays at 0, and predicts nothing.
    total = known.sum(0).clamp_min(torch.finfo(torch.float64).tiny)
    mean = (known * x).sum(0) / total
    variance = (known * (x - mean) ** 2).sum(0) / total
    # A column that does not vary predicts nothing, and is predicted by its mean.
    typical = variance.mean() if variance.any() else torch.ones_like(variance[0])
    variance = variance.clamp_min(MIN_RIDGE * typical)
    std = variance.sqrt()
    gaussian, patterns = ConditionalGaussian.of(mean, torch.diag(variance)), patterns_of(observed)
    for ridge in ridges:
        for _ in range(max_iter):
            before = gaussian
            gaussian = _em_step(before, x, observed, patterns, share, ridge * variance)
            moved = (gaussian.mean - before.mean).abs() / std
            turned = (gaussian.covariance - before.covariance).abs() / torch.outer(std, std)
            if max(float(moved.max()), float(turned.max())) < EM_TOLERANCE:
                break
        yield gaussian


def _em_step(
    gaussian: ConditionalGaussian,
    x: Tensor,
    observed: Tensor,
    patterns: Sequence[Pattern],
    share: Tensor,
    ridge: Tensor,
) -> ConditionalGaussian:
    d = x.shape[1]
    filled, weighted = gaussian.unsolved(x, observed)
    second = torch.diag(ridge)
    for pattern in patterns:
        root = pattern.root(gaussian.precision)
        pattern.fill(filled, weighted, root)
        total = x.new_zeros(len(root)).index_add(0, pattern.which, share[pattern.rows])
        left = pattern.covariance(root) * total[:, None, None]
        cells = pattern.columns[:, :, None] * d + pattern.columns[:, None, :]
        second.view(-1).index_add_(0, cells.flatten(), left.flatten())
    # About the former mean, against cancellation.
    centred = filled - gaussian.mean
    second += (centred * share[:, None]).T @ centred
    shift = share @ centred
    return ConditionalGaussian.of(gaussian.mean + shift, second - torch.outer(shift, shift))
