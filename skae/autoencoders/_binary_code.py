"""The linear code that a quantised autoencoder starts from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from skae.data import RowDataset
from skae.training import AutoencoderModule

N_ITER = 50  # of the rotation, as in the source
MAX_ROWS = 20_000  # that rotation and scales are learned from
RIDGE = 1e-4  # relative to the mean square of a component


def rotation_to_signs(V: Tensor, weight: Tensor) -> Tensor:
    r"""Return the rotation R whose signs lose least, (k, k): iterative quantisation.

    .. math:: \min_{R, B} \sum_i w_i \lVert b_i - R^\top v_i \rVert^2, \qquad b_i \in \{-1, 1\}^k,
              \quad R^\top R = I,

    in turn for B, the signs of V R, and for R, by a singular value decomposition.

    Parameters
    ----------
    V : Tensor of shape (n, k)
        Principal components of samples.
    weight : Tensor of shape (n,)
        Weights of the samples.

    References
    ----------
    Gong, Y. and Lazebnik, S. (2011). "Iterative quantization: a procrustean approach to learning
    binary codes". Conference on Computer Vision and Pattern Recognition.
    """
    V, weight = V.double(), weight.double()
    R = torch.linalg.qr(torch.randn(V.shape[1], V.shape[1], dtype=V.dtype)).Q
    for _ in range(N_ITER):
        B = torch.where(V @ R >= 0, 1.0, -1.0).to(V)
        U, _, Wh = torch.linalg.svd((weight * V.T) @ B)
        R = U @ Wh
    return R


def least_squares_decoder(
    model: Any, module: AutoencoderModule, rows: RowDataset
) -> tuple[Tensor, Tensor]:
    """Return the weights, (d, k), and the bias, (d,), of the best linear decoder of the code."""
    k, d = module.output_axes.shape[1], rows.n_features
    gram, cross = torch.zeros(k + 1, k + 1).double(), torch.zeros(k + 1, d).double()
    for chunk in rows.gen_chunks():
        batch = rows[chunk]
        z = model._encode(module, batch).double()
        z = torch.cat([z, torch.ones_like(z[:, :1])], dim=1)
        weighted = batch.weight[:, None].double() * z
        gram += weighted.T @ z
        cross += weighted.T @ batch.x.double()
    gram, cross = rows.sum(gram), rows.sum(cross)
    gram.diagonal()[:k] += RIDGE * gram.diagonal()[:k].mean()
    solution = torch.linalg.solve(gram, cross)
    return solution[:k].T, solution[k]
