"""The code of a masked autoencoder: principal components of its mean tokens."""

from __future__ import annotations

import torch
from torch import Tensor

NEGLIGIBLE = 1e-10  # variance of a component, relative to the largest


def products(pooled: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Return the sums of weighted products of [1, pooled] and [1, pooled, x], in float64."""
    pooled, x, weight = pooled.double(), x.double(), weight.double()[:, None]
    one = torch.ones_like(weight)
    left = torch.cat([one, pooled], dim=1)
    return (weight * left).T @ torch.cat([left, x], dim=1)


def principal_code(sums: Tensor, n_components: int) -> tuple[Tensor, ...]:
    """Return the map to principal components of the mean tokens, and the best map back to rows.

    Parameters
    ----------
    sums : Tensor of shape (1 + width, 1 + width + n_features)
        Sum of `products` over all rows.
    n_components : int

    Returns
    -------
    weight, bias : Tensor of shape (n_components, width) and (n_components,)
        Of the code. Its components are uncorrelated; all of them together would have a mean
        variance of 1.
    decoder_weight, decoder_bias : Tensor of shape (n_features, n_components) and (n_features,)
        Of the least-squares linear map of the code to the row.
    """
    width = len(sums) - 1
    sums = sums.double()
    moments = sums / sums[0, 0]
    means = moments[0, 1:]
    covariance = moments[1:, 1:] - means[:width, None] * means
    variances, axes = torch.linalg.eigh(covariance[:, :width])
    variances, axes = variances.flip(0)[:n_components], axes.flip(1)[:, :n_components]
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # as in PCA
    mean_variance = covariance.diagonal().mean()
    scale = mean_variance.clamp_min(torch.finfo(torch.float32).tiny).rsqrt()
    seen = variances > NEGLIGIBLE * variances[0]
    inverse = torch.where(seen, 1 / torch.where(seen, variances, 1), 0)
    weight = scale * axes.T
    decoder = (covariance[:, width:].T @ axes) * inverse / scale
    return weight, -weight @ means[:width], decoder, means[width:]
