"""The code of a masked autoencoder: principal components of its encoded tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from skae.data import InMemoryDataset, principal_axes

MAX_ROWS, MAX_CELLS = 10_000, 2**26  # of the tokens whose principal components are computed
RCOND = 1e-8  # smallest variance of a code that is decoded, relative to the largest


def max_rows(n_cells: int) -> int:
    """Return the number of rows that principal components are computed from."""
    return min(MAX_ROWS, max(1, MAX_CELLS // n_cells))


def principal_code(
    tokens: Tensor, missing: Tensor | None, weight: Tensor, n_components: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the map of encoded tokens to their leading principal components.

    Parameters
    ----------
    tokens : Tensor of shape (n, n_tokens, width)
    missing : Tensor of shape (n, n_tokens) or None
        1 for tokens without an observed cell, else 0.
    weight : Tensor of shape (n,)
    n_components : int

    Returns
    -------
    center : Tensor of shape (n_tokens, width)
        Mean tokens, which replace missing ones.
    axes, bias : Tensor of shape (n_components, n_tokens * width) and (n_components,)
        Of the linear map; the mean variance of the components is 1. It is 0 beyond the rank.
    """
    present = torch.ones_like(tokens[:, :, 0]) if missing is None else 1 - missing
    share = (weight[:, None] * present)[:, :, None]
    center = (share * tokens).sum(0) / share.sum(0).clamp_min(torch.finfo(tokens.dtype).tiny)
    centered = ((tokens - center) * present[:, :, None]).flatten(1)
    rows = InMemoryDataset(centered, None, weight)
    found = principal_axes(rows, n_components, np.random.RandomState(0))
    axes = torch.zeros(n_components, centered.shape[1], dtype=tokens.dtype)
    axes[: len(found)] = torch.from_numpy(found)
    variance = weight @ (centered @ axes.T).square() / weight.sum()
    axes = axes * variance[: max(1, len(found))].mean().clamp_min(RCOND**2).rsqrt()
    return center, axes, -(axes @ center.flatten())


def least_squares(
    chunks: Iterable[tuple[Tensor, Tensor, Tensor]], total: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return weights and bias of the least-squares linear map of codes to rows.

    Parameters
    ----------
    chunks : iterable of (Tensor, Tensor, Tensor)
        Codes (n, k), rows (n, d) and weights (n,).
    total : callable
        Returns the sum of a tensor over the processes that hold the rows.

    Returns
    -------
    weight, bias : Tensor of shape (d, k) and (d,)
        Of the shortest solution.
    """
    products: Tensor | None = None
    for codes, x, weight in chunks:
        left = torch.cat([torch.ones_like(codes[:, :1]), codes], dim=1).double()
        both = torch.cat([left, x.double()], dim=1)
        own = (weight.double()[:, None] * left).T @ both
        products = own if products is None else products + own
    assert products is not None
    products = total(products)
    k = len(products) - 1
    moments = products / products[0, 0]
    covariance = moments[1:, 1:] - moments[1:, :1] * moments[:1, 1:]
    solution = torch.linalg.pinv(covariance[:, :k], rtol=RCOND, hermitian=True) @ covariance[:, k:]
    return solution.T, moments[0, 1 + k :] - moments[0, 1 : 1 + k] @ solution
