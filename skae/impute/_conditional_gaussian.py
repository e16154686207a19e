"""The Gaussian of a table with missing values, and what it says about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

RIDGES = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)  # relative to each column's variance
RIDGE = RIDGES[-1]
TOLERANCE = 1e-4  # of means and covariances, in standard deviations, for EM to end
MAX_ITER = 50  # rounds of EM for a ridge
N_MASKS = 8  # patterns of hidden cells that a ridge is judged by
MASKED = 0.2  # share of the observed cells that one hides
SLACK = 1e-3  # of the error, by which one may exceed that of the best
PATIENCE = 2  # ridges in a row that are no better, after which no smaller one is tried
LEAST = 0.01  # of a category's chance, relative to its mean
PIECE = 2**18  # cells of the matrices that are solved at once


class Missing(NamedTuple):
    """Rows with similar numbers of missing values, and the solution of each."""

    rows: Tensor  # (n,) which ones
    columns: Tensor  # (n, m) that are missing, in their order, and others to fill up
    missing: Tensor  # (n, m), 1 where a column is missing, 0 where it fills up
    root: Tensor  # (n, m, m), Cholesky factor of the precision of what is missing

    def covariance(self) -> Tensor:
        """Return the conditional covariance of what is missing, (n, m, m)."""
        both = self.missing[:, :, None] * self.missing[:, None, :]
        return torch.cholesky_inverse(self.root) * both

    def fill(self, filled: Tensor, pull: Tensor) -> None:
        """Put the conditional mean in place of the mean, where values are missing."""
        b = pull[self.rows].gather(1, self.columns) * self.missing
        away = torch.cholesky_solve(b[:, :, None], self.root)[:, :, 0]
        filled[self.rows] = filled[self.rows].scatter_add(1, self.columns, -away)


class Gaussian(NamedTuple):
    """Mean, covariance and its inverse, in float64."""

    mean: Tensor  # (d,)
    covariance: Tensor  # (d, d)
    precision: Tensor  # (d, d)

    @classmethod
    def of(cls, mean: Tensor, covariance: Tensor) -> Self:
        """Return the Gaussian of this mean and regular covariance."""
        return cls(mean, covariance, torch.cholesky_inverse(torch.linalg.cholesky(covariance)))

    def fill(self, x: Tensor, observed: Tensor) -> Tensor:
        r"""Return rows with the conditional mean of their missing values, (n, d), in float64.

        With the precision :math:`P = \Sigma^{-1}`, whose block of what is missing is usually far
        smaller than that of what is observed,

        .. math:: \mu_h + \Sigma_{ho} \Sigma_{oo}^{-1} (x_o - \mu_o)
                  = \mu_h - P_{hh}^{-1} P_{ho} (x_o - \mu_o).
        """
        x, observed = x.double(), observed.double()
        filled, pull = self._unsolved(x, observed)
        for part in self.solve(observed):
            part.fill(filled, pull)
        return filled

    def _unsolved(self, x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows with the mean in place of missing values, and P (x_o - mu_o), (n, d) each."""
        pull = ((x - self.mean) * observed) @ self.precision
        return torch.where(observed > 0, x, self.mean), pull

    def variance(self, observed: Tensor) -> Tensor:
        """Return the conditional variance of what is missing, (n, d), 0 elsewhere."""
        result = torch.zeros(observed.shape, dtype=torch.float64)
        for part in self.solve(observed.double()):
            diagonal = part.covariance().diagonal(dim1=1, dim2=2)
            result[part.rows] = result[part.rows].scatter(1, part.columns, diagonal)
        return result

    def solve(self, observed: Tensor) -> Iterator[Missing]:
        """Solve rows with missing values, those with similar numbers of them at once."""
        counts = (observed == 0).sum(1)
        order = counts.argsort(stable=True)
        order = order[counts[order] > 0]
        start = 0
        while start < len(order):
            most = int(counts[order[start]])
            # The last of the rows that fit sets the width of the matrices.
            size = max(1, PIECE // most**2)
            while True:
                rows = order[start : start + size]
                most = int(counts[rows[-1]])
                if len(rows) * most**2 <= PIECE or size == 1:
                    break
                size = max(1, min(size - 1, PIECE // most**2))
            start += size
            seen = observed[rows]
            columns = seen.argsort(dim=1, stable=True)[:, :most]
            missing = 1 - seen.gather(1, columns)
            block = self.precision[columns[:, :, None], columns[:, None, :]]
            block = block * (missing[:, :, None] * missing[:, None, :])
            root = torch.linalg.cholesky(block + torch.diag_embed(1 - missing))
            yield Missing(rows, columns, missing, root)


def probabilities(filled: Tensor, mean: Tensor, group_start: Tensor) -> Tensor:
    """Return the chances of categories that conditional means of their columns amount to, (n, d).

    A mean may leave [0, 1]. Columns are of one group, and their chances add up to 1, if they have
    the same leader.
    """
    likely = torch.maximum(filled, LEAST * mean)
    total = torch.zeros_like(likely).index_add(1, group_start, likely)
    return likely / total[:, group_start]


def fit_gaussian(x: Tensor, observed: Tensor, weight: Tensor, ridge: float = RIDGE) -> Gaussian:
    r"""Return the Gaussian that makes the observed cells most likely, given a ridge, by EM.

    Each round fills the missing values by their conditional means; the mean and covariance of the
    filled rows, plus the mean conditional covariance of the missing values, are the next. The
    ridge, a share of each column's variance, is added to the covariance. It comes down to its
    value in steps, each from the result of the one before: with few rows, EM that starts with a
    small one stays at whatever it filled first.

    Parameters
    ----------
    x, observed : Tensor of shape (n, d)
        Rows, and 1 where a value is known.
    weight : Tensor of shape (n,)
    ridge : float
    """
    *_, gaussian = _path(x, observed, weight, [r for r in RIDGES if r > ridge] + [ridge])
    return gaussian


def fit_shrunk(
    x: Tensor,
    observed: Tensor,
    weight: Tensor,
    folds: Sequence[tuple[Tensor, Tensor]],
    generator: torch.Generator,
    tick: Callable[[str], None] = lambda name: None,
) -> Gaussian:
    """Return the Gaussian with the least ridge of those that fill hidden cells of other rows best.

    Parameters
    ----------
    x, observed : Tensor of shape (n, d)
        Rows, and 1 where a value is known.
    weight : Tensor of shape (n,)
    folds : sequence of (Tensor of int, Tensor of int)
        Which rows to fit to and which to judge by. Of one, the Gaussian of its rows is returned,
        of several that of all rows.
    generator : torch.Generator
        Hides cells.
    tick : callable
        Called after each ridge.
    """
    errors = torch.full((len(folds), len(RIDGES)), torch.inf, dtype=torch.float64)
    found = {}
    for fold, (kept, others) in enumerate(folds):
        judge = _judge(x[others], observed[others], weight[others], generator)
        path = _path(x[kept], observed[kept], weight[kept], RIDGES)
        for i, gaussian in enumerate(path):
            errors[fold, i], found[i] = judge(gaussian), gaussian
            tick("ridge")
            if i - int(errors[fold].argmin()) >= PATIENCE and len(folds) == 1:
                break
    total = errors.sum(0)
    # Cells that nothing determines make up the sum; those that are determined want the least.
    good = (total <= (1 + SLACK) * total.min()).nonzero()
    best = int(good[-1]) if folds else len(RIDGES) - 1
    return found[best] if len(folds) == 1 else fit_gaussian(x, observed, weight, RIDGES[best])


def _judge(
    x: Tensor, observed: Tensor, weight: Tensor, generator: torch.Generator
) -> Callable[[Gaussian], float]:
    """Return a function that gives the squared error of hidden cells."""
    x, known, weight = (torch.cat([a.double()] * N_MASKS) for a in (x, observed, weight))
    seen = known * (torch.rand(x.shape, generator=generator) >= MASKED)
    hidden = (known - seen) * weight[:, None]
    return lambda gaussian: float(((gaussian.fill(x, seen) - x).square() * hidden).sum())


def _path(
    x: Tensor, observed: Tensor, weight: Tensor, ridges: Sequence[float]
) -> Iterator[Gaussian]:
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
    variance = variance.clamp_min(RIDGE * typical)
    std = variance.sqrt()
    gaussian = Gaussian.of(mean, torch.diag(variance))
    for ridge in ridges:
        for _ in range(MAX_ITER):
            before, gaussian = gaussian, _em_round(gaussian, x, observed, share, ridge * variance)
            moved = (gaussian.mean - before.mean).abs() / std
            turned = (gaussian.covariance - before.covariance).abs() / torch.outer(std, std)
            if max(float(moved.max()), float(turned.max())) < TOLERANCE:
                break
        yield gaussian


def _em_round(
    gaussian: Gaussian, x: Tensor, observed: Tensor, share: Tensor, ridge: Tensor
) -> Gaussian:
    d = x.shape[1]
    filled, pull = gaussian._unsolved(x, observed)
    second = torch.diag(ridge)
    for part in gaussian.solve(observed):
        part.fill(filled, pull)
        left = part.covariance() * share[part.rows, None, None]
        cells = part.columns[:, :, None] * d + part.columns[:, None, :]
        second.view(-1).index_add_(0, cells.flatten(), left.flatten())
    # About the former mean, against cancellation.
    away = filled - gaussian.mean
    second += (away * share[:, None]).T @ away
    shift = share @ away
    return Gaussian.of(gaussian.mean + shift, second - torch.outer(shift, shift))
