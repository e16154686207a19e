"""The Gaussian of a table with holes, and what it says about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skae.training import CELLS

RIDGE = 1e-6  # of the covariance, relative to each column's variance
TOLERANCE = 1e-3  # of means and covariances, in standard deviations, for EM to end
MAX_ITER = 50
LEAST = 0.01  # of a category's chance, relative to its mean


class Gaussian(NamedTuple):
    """Mean and covariance, in float64."""

    mean: Tensor  # (d,)
    covariance: Tensor  # (d, d)

    def fill(self, x: Tensor, observed: Tensor) -> Tensor:
        r"""Return rows with the conditional mean in their holes, (n, d), in float64.

        .. math:: \hat x_h = \mu_h + \Sigma_{ho} \Sigma_{oo}^{-1} (x_o - \mu_o)

        Rows are solved as one batch: the columns that one misses are replaced, in
        :math:`\Sigma_{oo}`, by those of the identity.
        """
        x, observed = x.double(), observed.double()
        away = (x - self.mean) * observed
        parts = [
            torch.cholesky_solve(away[piece, :, None], self._roots(observed[piece]))[:, :, 0]
            for piece in at_once(*x.shape)
        ]
        solved = torch.cat([*parts, away[:0]])
        return torch.where(observed > 0, x, self.mean + (solved * observed) @ self.covariance)

    def conditional(self, x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return filled rows, and the covariance of their holes, (n, d, d), 0 elsewhere.

        .. math:: \Sigma_{hh} - \Sigma_{ho} \Sigma_{oo}^{-1} \Sigma_{oh}
        """
        x, observed = x.double(), observed.double()
        pairs = observed[:, :, None] * observed[:, None, :]
        inverse = torch.cholesky_inverse(self._roots(observed)) * pairs
        solved = (inverse @ ((x - self.mean) * observed)[:, :, None])[:, :, 0]
        filled = torch.where(observed > 0, x, self.mean + solved @ self.covariance)
        left = self.covariance - self.covariance @ inverse @ self.covariance
        return filled, left * ((1 - observed)[:, :, None] * (1 - observed)[:, None, :])

    def _roots(self, observed: Tensor) -> Tensor:
        """Return the Cholesky factor for each row's holes, found once per pattern of holes."""
        seen, which = observed, None
        if observed.numel():
            patterns, index = observed.unique(dim=0, return_inverse=True)
            if 2 * len(patterns) < len(observed):  # else copies cost more than they save
                seen, which = patterns, index
        pairs = seen[:, :, None] * seen[:, None, :]
        matrices = pairs * self.covariance + torch.diag_embed(1 - seen)
        roots = torch.linalg.cholesky_ex(matrices)[0]
        return roots if which is None else roots[which]


def chances(filled: Tensor, mean: Tensor, leader: Tensor) -> Tensor:
    """Return the chances of categories that conditional means of their columns amount to, (n, d).

    A mean may leave [0, 1]. Columns are of one group, and their chances add up to 1, if they have
    the same leader.
    """
    likely = torch.maximum(filled, LEAST * mean)
    total = torch.zeros_like(likely).index_add(1, leader, likely)
    return likely / total[:, leader]


def at_once(n_rows: int, n_features: int) -> Iterator[slice]:
    """Cut rows into pieces whose matrices have a few million cells."""
    size = max(1, CELLS // max(1, n_features) ** 2)
    return (slice(start, start + size) for start in range(0, n_rows, size))


def fit_gaussian(x: Tensor, observed: Tensor, weight: Tensor) -> Gaussian:
    r"""Return the Gaussian that makes the observed cells most likely, by EM.

    Each round fills the holes by their conditional means; the mean and covariance of the filled
    rows, plus the mean conditional covariance of the holes, are the next. A ridge keeps the
    covariance regular.

    Parameters
    ----------
    x, observed : Tensor of shape (n, d)
        Rows, and 1 where a value is known.
    weight : Tensor of shape (n,)
    """
    x, observed = x.double(), observed.double()
    share = weight.double() / weight.double().sum()
    known = share[:, None] * observed
    # A column of holes alone stays at 0, and foretells nothing.
    total = known.sum(0).clamp_min(torch.finfo(torch.float64).tiny)
    mean = (known * x).sum(0) / total
    variance = (known * (x - mean) ** 2).sum(0) / total
    # A column that does not vary foretells nothing, and is foretold by its mean.
    typical = variance.mean() if variance.any() else torch.ones_like(variance[0])
    variance = variance.clamp_min(RIDGE * typical)
    ridge = RIDGE * torch.diag(variance)
    gaussian = Gaussian(mean, torch.diag(variance))
    for _ in range(MAX_ITER):
        new_mean, second = torch.zeros_like(mean), torch.zeros_like(ridge)
        for piece in at_once(*x.shape):
            filled, left = gaussian.conditional(x[piece], observed[piece])
            w = share[piece]
            # About the former mean, against cancellation.
            away = filled - gaussian.mean
            new_mean += w @ away
            second += (away * w[:, None]).T @ away + torch.tensordot(w, left, dims=1)
        new = Gaussian(gaussian.mean + new_mean, second - torch.outer(new_mean, new_mean) + ridge)
        std = variance.sqrt()
        moved = max(
            float((new_mean.abs() / std).max()),
            float(((new.covariance - gaussian.covariance).abs() / torch.outer(std, std)).max()),
        )
        gaussian = new
        if moved < TOLERANCE:
            break
    return gaussian
