from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.func import jacrev, vmap

from skae._validation import check_count, check_finite_result
from skae.base import BaseAutoencoder
from skae.data import Batch
from skae.training import AutoencoderModule

CELLS = 2**24  # of the Jacobians that are computed together


def jacobian(estimator: BaseAutoencoder, X: ArrayLike) -> NDArray:
    r"""Return how the code of each row changes with each of its values.

    Parameters
    ----------
    estimator : autoencoder
        Fitted.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows; NaN is a value that is missing.

    Returns
    -------
    J : ndarray of shape (n_samples, n_components, n_features)
        :math:`\partial z_i / \partial x_j`, the derivative of ``transform``, in inverse units of X
        and X's dtype; 0 where a value is missing.

    Raises
    ------
    TypeError
        If the estimator is not an autoencoder of skae.

    See Also
    --------
    tangent_basis : Its leading directions.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skae import Autoencoder
    >>> from skae.inspection import jacobian
    >>> X = load_iris().data
    >>> model = Autoencoder(2, max_iter=9, early_stopping=False, random_state=0).fit(X)
    >>> jacobian(model, X).shape
    (150, 2, 4)
    """
    J = _map(estimator, X, lambda J: J)
    with np.errstate(over="ignore"):
        return check_finite_result(J / estimator.scale_, "X")


def tangent_basis(estimator: BaseAutoencoder, X: ArrayLike, n_directions: int) -> NDArray:
    """Return the directions in which the code of each row changes most.

    The leading right singular vectors of the Jacobian: for an autoencoder that contracts, the
    directions in which rows vary around here.

    Parameters
    ----------
    estimator : autoencoder
        Fitted.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows; NaN is a value that is missing.
    n_directions : int
        How many, at most as many as there are components and features.

    Returns
    -------
    basis : ndarray of shape (n_samples, n_directions, n_features)
        Orthonormal rows, the most sensitive first, the largest entry of each positive.

    Raises
    ------
    ValueError
        If there are not so many directions.
    TypeError
        If the estimator is not an autoencoder of skae.

    References
    ----------
    Rifai, S., Dauphin, Y., Vincent, P., Bengio, Y. and Muller, X. (2011). "The manifold tangent
    classifier". Advances in Neural Information Processing Systems 24.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skae import ContractiveAutoencoder
    >>> from skae.inspection import tangent_basis
    >>> X = load_iris().data
    >>> model = ContractiveAutoencoder(2, max_iter=30, early_stopping=False, random_state=0).fit(X)
    >>> tangent_basis(model, X, 1).shape
    (150, 1, 4)
    """
    check_count(n_directions, "n_directions")

    def leading(J: Tensor) -> Tensor:
        most = min(J.shape[1:])
        if not 1 <= n_directions <= most:
            raise ValueError(
                f"n_directions must be between 1 and {most}, the smaller of components and "
                f"features; got {n_directions}."
            )
        basis = torch.linalg.svd(_scaled(J), full_matrices=False).Vh[:, :n_directions]
        largest = basis.gather(2, basis.abs().argmax(2, keepdim=True))
        return basis * largest.sign()

    return _map(estimator, X, leading)


def intrinsic_dimension(estimator: BaseAutoencoder, X: ArrayLike) -> NDArray:
    r"""Return in how many directions the reconstruction follows each row.

    With singular values :math:`s_i` of the Jacobian of ``reconstruct``,

    .. math:: \Bigl( \sum_i s_i^2 \Bigr)^2 \Big/ \sum_i s_i^4,

    which is m if m of them are equal and the others 0. Of principal components it is their number;
    of a denoising or contractive autoencoder, the dimension of the surface that rows are drawn to.

    Parameters
    ----------
    estimator : autoencoder
        Fitted.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows; NaN is a value that is missing.

    Returns
    -------
    dimension : ndarray of shape (n_samples,)
        Between 1 and the number of components; 0 where nothing is followed.

    Raises
    ------
    TypeError
        If the estimator is not an autoencoder of skae.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skae import LinearAutoencoder
    >>> from skae.inspection import intrinsic_dimension
    >>> X = load_iris().data
    >>> intrinsic_dimension(LinearAutoencoder(3).fit(X), X[:2]).round(3)
    array([3., 3.])
    """

    def participation(J: Tensor, D: Tensor) -> Tensor:
        # Of D J through the code: D = Q R and J' = Q S leave the singular values of R S'.
        R = torch.linalg.qr(_scaled(D), mode="r").R
        S = torch.linalg.qr(_scaled(J).mT, mode="r").R
        s = torch.linalg.svdvals(_scaled(R @ S.mT))
        squares = (s / s[:, :1]).square()  # NaN where nothing is followed
        return (squares.sum(1).square() / squares.square().sum(1)).nan_to_num()

    return _map(estimator, X, participation, with_decoder=True)


def _scaled(matrices: Tensor) -> Tensor:
    """Divide each matrix by its largest entry, so that squares neither overflow nor vanish."""
    largest = matrices.abs().amax((1, 2), keepdim=True)
    return matrices / torch.where(largest > 0, largest, 1)


def _map(
    estimator: BaseAutoencoder,
    X: ArrayLike,
    answer: Callable[..., Tensor],
    *,
    with_decoder: bool = False,
) -> NDArray:
    """Answer for the Jacobians of encoder and decoder, in conditioned units, at each row."""
    if not isinstance(estimator, BaseAutoencoder):
        raise TypeError(
            f"skae.inspection knows skae's autoencoders; got a {type(estimator).__name__}. Of a "
            "pipeline, pass its last step, and the rows as that step sees them."
        )

    def at(fitted: Any, module: AutoencoderModule, batch: Batch) -> Tensor:
        def encode(x: Tensor) -> Tensor:
            row = batch._replace(x=x[None], observed=None)
            return fitted._encode(module, row)[0]

        def decode(z: Tensor) -> Tensor:
            return fitted._decode(module, z[None])[0]

        n, d = batch.x.shape
        at_once = max(1, CELLS // (d * estimator.n_components_))
        answers = []
        for i in range(0, n, at_once):
            x = batch.x[i : i + at_once]
            jacobians = [vmap(jacrev(encode))(x)]
            if batch.observed is not None:
                jacobians[0] = jacobians[0] * batch.observed[i : i + at_once, None]
            if with_decoder:
                z = fitted._encode(module, batch._replace(x=x, observed=None))
                jacobians.append(vmap(jacrev(decode))(z))
            answers.append(_of_finite(answer, jacobians))
        return torch.cat(answers)

    return estimator._apply(at, X)


def _of_finite(answer: Callable[..., Tensor], jacobians: list[Tensor]) -> Tensor:
    """Answer for rows with finite Jacobians, NaN for others, which decompositions refuse."""
    known = torch.stack([J.isfinite().flatten(1).all(1) for J in jacobians]).all(0)
    result = answer(*(torch.where(known[:, None, None], J, 0) for J in jacobians))
    return torch.where(known.view(-1, *[1] * (result.ndim - 1)), result, torch.nan)
