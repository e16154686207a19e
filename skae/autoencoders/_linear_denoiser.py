"""The best linear denoiser, by reduced-rank regression."""

from __future__ import annotations

import torch
from torch import Tensor

from skae.autoencoders._corruption import ColumnStatistics, Noise


def best_linear(
    noise: Noise, level: float, columns: ColumnStatistics, covariance: Tensor, k: int
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return the best linear denoiser of rank k.

    With :math:`C` the covariance between clean and corrupted samples and :math:`G` that of
    corrupted samples, the best linear map is :math:`M = C G^{-1}`, and the best one of rank k is
    :math:`V V^\top M`, where :math:`V` are the leading eigenvectors of :math:`C G^{-1} C^\top`
    (reduced-rank regression). With q the coefficient of clean values in corrupted ones,
    :math:`C = q S`, and :math:`G = q^2 S` except on the diagonal.

    Parameters
    ----------
    noise : Noise
    level : float
    columns : ColumnStatistics
    covariance : Tensor of shape (d, d)
        Covariance S of clean samples.
    k : int

    Returns
    -------
    encoder : Tensor of shape (r, d)
        :math:`V^\top M`; r is the smaller of k and the rank.
    decoder : Tensor of shape (d, r)
        :math:`V`.
    bias : Tensor of shape (d,)
        Bias of the output, for noises that change the mean.
    """
    kept, mean, variance = noise.moments(level, columns)
    corrupted = kept**2 * covariance
    corrupted.diagonal().copy_(variance)
    cross = kept * covariance
    best = torch.linalg.pinv(corrupted, hermitian=True, rtol=1e-9) @ cross  # M'
    values, vectors = torch.linalg.eigh(best.T @ cross.T)
    leading = values.flip(0)[:k] > values.max() * 1e-12
    decoder = vectors.flip(1)[:, :k][:, leading]
    encoder = decoder.T @ best.T
    return encoder, decoder, -decoder @ (encoder @ mean)
