"""Probabilistic principal components, from which the variational autoencoder starts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skae.data import RowDataset
from skae.training import AutoencoderModule

FLOOR = 1e-6  # of the noise variance, in units of the columns' mean variance
NARROW = 64  # columns up to which the encoder sees rows as they are


def input_gain(n_features: int) -> float:
    """Return what the encoder's input is multiplied by.

    A step of Adam moves every weight alike, and with it a unit's answer by as much as its inputs
    sum to: on wide rows, too much for the noise of a bound by one draw.
    """
    return min(1.0, math.sqrt(NARROW / n_features))


def start_at_ppca(
    module: AutoencoderModule, rows: RowDataset, noise: Tensor | None
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
    rows : RowDataset
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
    for chunk in rows.gen_chunks():
        x = rows.values(chunk)[0].double()
        variance += weight[chunk] @ (x @ axes).square()
        total += weight[chunk] @ x.square().sum(1)
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
