"""Derivatives of fitted autoencoders, and what they show of the data."""

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
from skae.data import Batch, gen_slices
from skae.training import AutoencoderModule

MAX_JACOBIAN_SIZE = 2**24  # entries of the Jacobians that are computed together


def jacobian(estimator: BaseAutoencoder, X: ArrayLike) -> NDArray:
    r"""Return the Jacobian of the encoder at each sample.

    Parameters
    ----------
    estimator : autoencoder
        Fitted.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Input samples. NaN marks a missing value.

    Returns
    -------
    J : ndarray of shape (n_samples, n_components, n_features)
        :math:`\partial z_i / \partial x_j`, the derivative of ``transform``, in inverse units of X
        and in X's dtype; 0 for a missing value.

    Raises
    ------
    TypeError
        If the estimator is not an autoencoder of skae.

    See Also
    --------
    tangent_basis : Its leading right singular vectors.

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
    J = _of_jacobians(estimator, X, lambda J: J)
    with np.errstate(over="ignore"):
        return check_finite_result(J / estimator.scale_, "X")


def tangent_basis(estimator: BaseAutoencoder, X: ArrayLike, n_directions: int) -> NDArray:
    """Return the directions in which the code of each sample changes most.

    These are the leading right singular vectors of the Jacobian. For a contractive autoencoder,
    they span the tangent space of the data manifold at the sample.

    Parameters
    ----------
    estimator : autoencoder
        Fitted.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Input samples. NaN marks a missing value.
    n_directions : int
        Number of directions, at most the smaller of the numbers of components and features.

    Returns
    -------
    basis : ndarray of shape (n_samples, n_directions, n_features)
        Orthonormal rows, by descending singular value, the largest entry of each positive.

    Raises
    ------
    ValueError
        If `n_directions` is out of range.
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
        largest = min(J.shape[1:])
        if not 1 <= n_directions <= largest:
            raise ValueError(
                f"n_directions must be between 1 and {largest}, the smaller of components and "
                f"features; got {n_directions}."
            )
        basis = torch.linalg.svd(_scaled(J), full_matrices=False).Vh[:, :n_directions]
        sign = basis.gather(2, basis.abs().argmax(2, keepdim=True)).sign()
        return basis * sign

    return _of_jacobians(estimator, X, leading)


def intrinsic_dimension(estimator: BaseAutoencoder, X: ArrayLike) -> NDArray:
    r"""Return the local dimension of the data manifold at each sample.

    It is the participation ratio of the singular values :math:`s_i` of the Jacobian of
    ``reconstruct``,

    .. math:: \Bigl( \sum_i s_i^2 \Bigr)^2 \Big/ \sum_i s_i^4,

    which is m if m of them are equal and the others 0. For PCA it is the number of components; for
    a denoising or contractive autoencoder, the dimension of the manifold that it has learned.

    Parameters
    ----------
    estimator : autoencoder
        Fitted.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Input samples. NaN marks a missing value.

    Returns
    -------
    dimension : ndarray of shape (n_samples,)
        Between 1 and the number of components; 0 where the reconstruction is constant.

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
        # With QR decompositions of D and J', D J has the singular values of R S'.
        R = torch.linalg.qr(_scaled(D), mode="r").R
        S = torch.linalg.qr(_scaled(J).mT, mode="r").R
        s = torch.linalg.svdvals(_scaled(R @ S.mT))
        squares = (s / s[:, :1]).square()  # NaN where the reconstruction is constant
        return (squares.sum(1).square() / squares.square().sum(1)).nan_to_num()

    return _of_jacobians(estimator, X, participation, with_decoder=True)


def _scaled(matrices: Tensor) -> Tensor:
    """Divide each matrix by its largest entry, so that squares neither overflow nor vanish."""
    largest = matrices.abs().amax((1, 2), keepdim=True)
    return matrices / torch.where(largest > 0, largest, 1)


def _of_jacobians(
    estimator: BaseAutoencoder,
    X: ArrayLike,
    function: Callable[..., Tensor],
    *,
    with_decoder: bool = False,
) -> NDArray:
    """Return a function of the Jacobians of encoder and decoder, in conditioned units.

    They are (n, n_components, n_features) and, `with_decoder`, (n, n_features, n_components).
    """
    if not isinstance(estimator, BaseAutoencoder):
        raise TypeError(
            f"skae.inspection needs an autoencoder of skae; got a {type(estimator).__name__}. For "
            "a pipeline, pass its last step, and X transformed by the steps before."
        )

    def of_batch(fitted: Any, module: AutoencoderModule, batch: Batch) -> Tensor:
        def encode(x: Tensor) -> Tensor:
            return fitted._encode(module, batch._replace(x=x[None], observed=None))[0]

        def decode(z: Tensor) -> Tensor:
            return fitted._decode(module, z[None])[0]

        n, d = batch.x.shape
        results = []
        for chunk in gen_slices(n, max(1, MAX_JACOBIAN_SIZE // (d * estimator.n_components_))):
            x = batch.x[chunk]
            jacobians = [vmap(jacrev(encode))(x)]
            if batch.observed is not None:
                jacobians[0] = jacobians[0] * batch.observed[chunk, None]
            if with_decoder:
                z = fitted._encode(module, batch._replace(x=x, observed=None))
                jacobians.append(vmap(jacrev(decode))(z))
            results.append(_of_finite(function, jacobians))
        return torch.cat(results)

    return estimator._apply(of_batch, X)


def _of_finite(function: Callable[..., Tensor], jacobians: list[Tensor]) -> Tensor:
    """Return a function of finite Jacobians, NaN for others, which decompositions refuse."""
    finite = torch.stack([J.isfinite().flatten(1).all(1) for J in jacobians]).all(0)
    result = function(*(torch.where(finite[:, None, None], J, 0) for J in jacobians))
    return torch.where(finite.view(-1, *[1] * (result.ndim - 1)), result, torch.nan)
