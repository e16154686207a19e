"""Normal distributions: KL divergence, fixed draws, importance-weighted bound, mixture."""

from __future__ import annotations

from functools import lru_cache

import torch
from numpy.typing import NDArray
from torch import Tensor

N_DRAWS = 64  # default number of draws


def kl_from_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Return :math:`\tfrac12 (\mu^2 + \sigma^2 - 1 - \log \sigma^2)`, elementwise.

    The KL divergence of :math:`N(\mu, \sigma^2)` from :math:`N(0, 1)`.
    """
    return 0.5 * (mean.square() + log_variance.expm1() - log_variance)


def standard_draws(n: int, like: Tensor, *, paired: bool = False) -> Tensor:
    """Return n draws from N(0, I), (n, 1, k), the same at each call.

    If paired, they come in opposite pairs, and each component has a variance of exactly 1.
    """
    return torch.tensor(_standard_draws(n, like.shape[1], paired))[:, None].to(like)


@lru_cache(maxsize=4)
def _standard_draws(n: int, k: int, paired: bool) -> NDArray:
    """Return the draws of `standard_draws`, (n, k), as constants where a graph is traced."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(n // 2 if paired else n, k, generator=generator, dtype=torch.float64)
    if paired:
        draws /= draws.square().mean(0).sqrt()
        draws = torch.cat([draws, -draws])
    return draws.numpy()


def importance_bound(nll: Tensor, z: Tensor, epsilon: Tensor, log_variance: Tensor) -> Tensor:
    """Return the log of the sum over draws of p(x, z) / q(z | x), (n,).

    Parameters
    ----------
    nll : Tensor of shape (L, n)
        -log p(x | z).
    z, epsilon : Tensor of shape (L, n, k) or, for epsilon, (L, 1, k)
        Draws of q(z | x), and the standard normal draws from which they are computed.
    log_variance : Tensor of shape (n, k)
        Log variance of q(z | x).
    """
    prior_to_posterior = 0.5 * (epsilon.square() - z.square() + log_variance).sum(-1)
    return (prior_to_posterior - nll).logsumexp(0)


def log_mixture(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the log of a sum of normal densities at points of each sample, (L, n), in float64.

    The result is up to a constant. Points, means and log variances are of shape (L, n, k): as many
    normal distributions as points. Squared distances are expanded into products, (n, L, L), to
    avoid an array of differences, (n, L, L, k).
    """
    z, mean, log_variance = (t.double().transpose(0, 1) for t in (z, mean, log_variance))
    precision = (-log_variance).exp()
    squared = z.square() @ precision.mT - 2 * z @ (mean * precision).mT
    constant = (mean.square() * precision + log_variance).sum(-1)
    return (-0.5 * (squared + constant[:, None])).logsumexp(-1).T
