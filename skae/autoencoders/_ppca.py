"""Probabilistic PCA, the start of the variational autoencoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skae.data import RowDataset
from skae.training import AutoencoderModule

FLOOR = 1e-6  # of the noise variance, relative to the mean variance of the columns
UNSCALED_COLUMNS = 64  # with more columns, the inputs of the encoder are scaled down


def input_gain(n_features: int) -> float:
    """Return the factor by which the inputs of the encoder are multiplied.

    A step of Adam changes all weights by about the same amount, and thus the output of a unit in
    proportion to the sum of its inputs. With many columns, this is too much, given the noise of a
    bound estimated from one draw.
    """
    return min(1.0, math.sqrt(UNSCALED_COLUMNS / n_features))


def start_at_ppca(
    module: AutoencoderModule, rows: RowDataset, noise: Tensor | None
) -> tuple[Tensor, Tensor]:
    r"""Turn a start at PCA into one at probabilistic PCA (Tipping and Bishop 1999).

    With axes :math:`v_i`, variances :math:`\lambda_i` and noise :math:`\sigma^2`, the mean of the
    remaining variances: :math:`W_i = \sqrt{\lambda_i - \sigma^2}\, v_i`, posterior mean
    :math:`W_i^\top x / \lambda_i` and variance :math:`\sigma^2 / \lambda_i`. At least one direction
    remains for the noise.

    Parameters
    ----------
    module : AutoencoderModule
        Module at PCA; changed in place.
    rows : RowDataset
    noise : Tensor or None
        :math:`\sigma^2`; estimated if None.

    Returns
    -------
    noise : Tensor of shape ()
    log_variance : Tensor of shape (k,)
        Log variance of the posterior.
    """
    axes = module.output_axes.detach().double()  # (d, k)
    d, k = axes.shape
    weight = rows.weight.double() / rows.total_weight
    variance, total = torch.zeros(k, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for chunk in rows.gen_chunks():
        x = rows.values(chunk)[0].double()
        variance += weight[chunk] @ (x @ axes).square()
        total += weight[chunk] @ x.square().sum(1)
    variance, total = rows.sum(variance), rows.sum(total)
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
