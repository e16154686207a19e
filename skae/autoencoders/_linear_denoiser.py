"""The best that a linear map can do about noise: reduced-rank regression."""

from __future__ import annotations

import torch
from torch import Tensor

from skae.autoencoders._corruption import Columns, Noise


def best_linear(
    noise: Noise, level: float, columns: Columns, covariance: Tensor, k: int
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return the linear map through k dimensions that undoes a noise best.

    With :math:`C` the covariance of clean and spoilt rows and :math:`G` that of spoilt ones, the
    best map is :math:`M = C G^{-1}`, and the best of rank k is :math:`V V^\top M`, with
    :math:`V` the leading eigenvectors of :math:`C G^{-1} C^\top` (reduced-rank regression). A share
    q of each cell survives on average, so that :math:`C = q S`, and :math:`G = q^2 S` off its
    diagonal.

    Parameters
    ----------
    noise : Noise
    level : float
    columns : Columns
    covariance : Tensor of shape (d, d)
        S.
    k : int

    Returns
    -------
    encoder : Tensor of shape (r, d)
        :math:`V^\top M`; r is k or the rank, if that is less.
    decoder : Tensor of shape (d, r)
        V.
    bias : Tensor of shape (d,)
        To be added, for noises that move the mean.
    """
    kept, mean, variance = noise.moments(level, columns)
    spoilt = kept**2 * covariance
    spoilt.diagonal().copy_(variance)
    cross = kept * covariance
    best = torch.linalg.pinv(spoilt, hermitian=True, rtol=1e-9) @ cross  # M'
    values, vectors = torch.linalg.eigh(best.T @ cross.T)
    leading = values.flip(0)[:k] > values.max() * 1e-12
    decoder = vectors.flip(1)[:, :k][:, leading]
    encoder = decoder.T @ best.T
    return encoder, decoder, -decoder @ (encoder @ mean)
