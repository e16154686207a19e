"""Normal distributions: their divergence, fixed draws, and probabilistic principal components."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skae.training import AutoencoderModule, Rows

FLOOR = 1e-6  # of the noise variance, in units of the columns' mean variance
NARROW = 64  # columns up to which the encoder sees rows as they are
N_DRAWS = 64  # where no number is given


def kl_from_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Return :math:`\tfrac12 (\mu^2 + \sigma^2 - 1 - \log \sigma^2)`, elementwise.

    The divergence of :math:`N(\mu, \sigma^2)` from :math:`N(0, 1)`.
    """
    return 0.5 * (mean.square() + log_variance.expm1() - log_variance)


def input_gain(n_features: int) -> float:
    """Return what the encoder's input is multiplied by.

    A step of Adam moves every weight alike, and with it a unit's answer by as much as its inputs
    sum to: on wide rows, too much for the noise of a bound by one draw.
    """
    return min(1.0, math.sqrt(NARROW / n_features))


def start_at_ppca(
    module: AutoencoderModule, rows: Rows, noise: Tensor | None
) -> tuple[Tensor, Tensor]:
    r"""Turn a start at PCA into one at probabilistic PCA (Tipping and Bishop 1999).

    With axes :math:`v_i`, variances :math:`\lambda_i` and noise :math:`\sigma^2`, the mean of
    those that are left out: :math:`W_i = \sqrt{\lambda_i - \sigma^2}\, v_i`, posterior mean
    :math:`W_i^\top x / \lambda_i` and variance :math:`\sigma^2 / \lambda_i`. At least one
    direction is left to the noise.

    Parameters
    ----------
    module : AutoencoderModule
        At PCA.
    rows : Rows
    noise : Tensor or None
        :math:`\sigma^2`, if it is given.

    Returns
    -------
    noise : Tensor of shape ()
    log_variance : Tensor of shape (k,)
        Of the posterior.
    """
    axes = module.output_axes.detach().double()  # (d, k)
    d, k = axes.shape
    weight = rows.weight.double() / rows.weight.double().sum()
    variance, total = torch.zeros(k, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for piece in rows.pieces():
        x = rows.values(piece)[0].double()
        variance += weight[piece] @ (x @ axes).square()
        total += weight[piece] @ x.square().sum(1)
    rank = int((axes != 0).any(0).sum())
    q = min(k, rank if rank < d and total - variance.sum() > 1e-9 * total else rank - 1)
    if noise is None:
        noise = ((total - variance[:q].sum()) / (d - q)).clamp_min(2 * FLOOR)
    kept = torch.where(torch.arange(k) < q, variance, 0).clamp_min(noise)
    amplitude = (kept - noise).sqrt()
    with torch.no_grad():
        module.output_axes.mul_(amplitude.to(module.shift))
        to_mean = amplitude / kept / input_gain(d)
        module.input_axes[:q].mul_(to_mean[:q, None].to(module.shift))
        module.input_axes[k:] = 0
    return noise, (noise / kept).log()


def standard_draws(n: int, like: Tensor, *, paired: bool = False) -> Tensor:
    """Return n draws from N(0, I), (n, 1, k), the same at each call.

    Paired, they are in opposite pairs, each component with variance 1 exactly.
    """
    generator = torch.Generator().manual_seed(0)
    k = like.shape[1]
    draws = torch.randn(n // 2 if paired else n, k, generator=generator, dtype=torch.float64)
    if paired:
        draws /= draws.square().mean(0).sqrt()
        draws = torch.cat([draws, -draws])
    return draws[:, None].to(like)


def log_mixture(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the log of a sum of normal densities at points of each row, (L, n), in float64.

    But for a constant. Points, means and log variances are (L, n, k): as many normal distributions
    as points. Squares are of products, (n, L, L), not of differences, (n, L, L, k).
    """
    z, mean, log_variance = (t.double().transpose(0, 1) for t in (z, mean, log_variance))
    precision = (-log_variance).exp()
    squared = z.square() @ precision.mT - 2 * z @ (mean * precision).mT
    constant = (mean.square() * precision + log_variance).sum(-1)
    return (-0.5 * (squared + constant[:, None])).logsumexp(-1).T


def arc(start: NDArray, end: NDArray, t: NDArray) -> NDArray:
    """Return points on the arc from one vector to another (slerp)."""
    angle = np.arccos(np.clip(_direction(start) @ _direction(end), -1, 1))
    if np.pi - angle < 1e-6:
        raise ValueError(
            "There is no one arc between codes that are opposite; use method='linear'."
        )
    if angle < 1e-6:
        return (1 - t) * start + t * end
    with np.errstate(over="ignore"):
        return np.sin((1 - t) * angle) / np.sin(angle) * start + (
            np.sin(t * angle) / np.sin(angle) * end
        )


def _direction(vector: NDArray) -> NDArray:
    """Return a vector of length 1, or 0 if that is what it is."""
    largest = np.abs(vector).max()
    scaled = vector / largest if largest > 0 else vector
    return scaled / max(np.linalg.norm(scaled), 1)
