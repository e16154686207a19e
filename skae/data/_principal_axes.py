"""Leading principal axes of conditioned samples."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, eigsh, svds
from sklearn.utils.extmath import randomized_svd, svd_flip

from skae.data._chunks import concatenate_chunks
from skae.data._dataset import InMemoryDataset, LazyDataset, RowDataset
from skae.data._divided import DividedRows
from skae.data._moments import covariance_of

EXACT_UP_TO = 2048  # rows or columns; a truncated decomposition is used beyond


def principal_axes(
    rows: RowDataset, n_components: int, random_state: np.random.RandomState
) -> NDArray:
    """Return leading principal axes, with missing values replaced by the mean.

    Parameters
    ----------
    rows : RowDataset
        Conditioned, thus centred up to rounding.
    n_components : int
    random_state : RandomState
        Used by the truncated decomposition only.

    Returns
    -------
    axes : ndarray of shape (k, d)
        Orthonormal, in order of decreasing variance, the entry of largest absolute value positive;
        k is the smaller of `n_components` and the rank.
    """
    n, d = rows.n_samples, rows.n_features
    n_components = min(n_components, n, d)
    if d <= EXACT_UP_TO:
        covariance = covariance_of(rows).numpy()
        variances, axes = linalg.eigh(covariance, subset_by_index=[d - n_components, d - 1])
        variances, axes = variances[::-1], axes.T[::-1]
        noise = variances[0] * np.finfo(variances.dtype).eps * d
    else:
        s, axes = truncated_svd(rows, n_components, random_state)
        variances = s.astype(np.float64) ** 2
        # The error of a singular value is a small multiple of the rounding of the largest one.
        noise = variances[0] * (8 * torch.finfo(rows.dtype).eps) ** 2
        if isinstance(rows, DividedRows):  # whose squares are decomposed
            noise = max(noise, variances[0] * np.finfo(variances.dtype).eps * d)
    _, axes = svd_flip(None, axes[variances > noise], u_based_decision=False)
    return axes.astype(np.float64)


def truncated_svd(
    rows: RowDataset, n_components: int, random_state: np.random.RandomState
) -> tuple[NDArray, NDArray]:
    """Return the leading singular values and right singular vectors of weighted samples."""
    n, d = len(rows), rows.n_features
    if isinstance(rows, DividedRows):
        return _divided_svd(rows, n_components, random_state)
    root = (rows.weight / rows.weight.mean()).sqrt()
    if isinstance(rows, InMemoryDataset):
        x = (rows.x * root[:, None]).numpy()
        if n <= EXACT_UP_TO:
            _, s, axes = linalg.svd(x, full_matrices=False)
        else:
            _, s, axes = randomized_svd(x, n_components, n_iter=7, random_state=random_state)
        return s[:n_components], axes[:n_components]
    if n_components >= min(n, d):
        raise ValueError(
            f"A start at PCA needs n_components below {min(n, d)}, the smaller side of X, if X is "
            f"sparse or in a file and has more than {EXACT_UP_TO} columns; got {n_components}."
        )
    operator = _operator(cast(LazyDataset, rows), root.double().numpy())
    start = random_state.uniform(-1, 1, size=min(n, d))
    _, s, axes = svds(operator, k=n_components, v0=start)
    return s[::-1], axes[::-1]


def _divided_svd(
    rows: DividedRows, n_components: int, random_state: np.random.RandomState
) -> tuple[NDArray, NDArray]:
    """Return the same for samples that are divided: from the eigenvectors of their squares."""
    d = rows.n_features
    if n_components >= d:
        raise ValueError(
            f"A start at PCA needs n_components below the {d} columns of X, if samples are divided "
            f"among processes and have more than {EXACT_UP_TO} columns; got {n_components}."
        )
    weight = rows.weight.double() / (rows.total_weight / rows.n_samples)

    def product(v: NDArray) -> NDArray:
        total = torch.zeros(d, dtype=torch.float64)
        for chunk in rows.gen_chunks():
            x = rows.values(chunk)[0].double()
            total += (weight[chunk] * (x @ torch.from_numpy(v.ravel()))) @ x
        return rows.sum(total).numpy()

    squares = LinearOperator((d, d), matvec=product, dtype=np.float64)
    found, vectors = eigsh(squares, k=n_components, v0=random_state.uniform(-1, 1, size=d))
    return np.sqrt(found[::-1].clip(0)), vectors.T[::-1]


def _operator(rows: LazyDataset, root: NDArray) -> LinearOperator:
    """Return the linear operator of weighted samples, which are read chunk by chunk."""
    source, conditioning = rows.source, rows.conditioning
    shape = (len(rows), rows.n_features)
    if source.sparse and rows.complete:
        # Shifting X would make it dense, so the shift is applied to the product.
        X, shift, scale = source.matrix(), conditioning.shift, conditioning.scale
        return LinearOperator(
            shape,
            matvec=lambda v: root * (X @ v.ravel() - shift @ v.ravel()) / scale,
            rmatvec=lambda u: (X.T @ (root * u.ravel()) - shift * (root @ u.ravel())) / scale,
            dtype=np.float64,
        )

    def weighted(chunk: slice) -> NDArray:
        return rows.values(chunk)[0].double().numpy() * root[chunk, None]

    return LinearOperator(
        shape,
        matvec=lambda v: concatenate_chunks(
            len(rows), (weighted(c) @ v.ravel() for c in rows.gen_chunks())
        ),
        rmatvec=lambda u: sum(weighted(c).T @ u.ravel()[c] for c in rows.gen_chunks()),
        dtype=np.float64,
    )
