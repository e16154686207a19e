from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from skae._schema import persistent
from skae.architectures import MLP, without_fused_kernel
from skae.autoencoders._autoencoder import Autoencoder
from skae.autoencoders._deep import warn_free_scale
from skae.data import Batch, Random, RowDataset
from skae.hyperparameters import NON_NEGATIVE, hyperparameters, param
from skae.training import AutoencoderModule

MAX_EXACT_DIMENSION = 4  # columns or rows of the Jacobian; estimated beyond


def with_squared_jacobian(
    f: Callable[[Tensor], Tensor], x: Tensor, n_code: int, random: Random
) -> tuple[Tensor, Tensor]:
    r"""Return f(x), (n, k), and :math:`\lVert \partial f / \partial x \rVert_F^2`, (n,).

    If the smaller of d and k is at most `MAX_EXACT_DIMENSION`, it is exact, from the columns of the
    Jacobian by forward mode or from its rows by reverse mode. Otherwise, it is the unbiased
    estimate :math:`\lVert v^\top J \rVert^2` or :math:`\lVert J v \rVert^2` with random signs v.

    Parameters
    ----------
    f : callable
        Maps samples (n, d) to codes (n, k), independently of each other.
    x : Tensor of shape (n, d)
    n_code : int
        k.
    random : Random
        Draws the signs.
    """
    n, d = x.shape
    width = min(d, n_code)
    exact = width <= MAX_EXACT_DIMENSION
    if exact:
        units = torch.eye(width, dtype=x.dtype, device=x.device)[:, None].expand(width, n, width)
    else:
        signs = random.signs(n, width)
    result: Any
    if d > n_code:
        result = vjp(f, x)
        h, vjp_of = result
        products = vmap(lambda v: vjp_of(v)[0])(units) if exact else vjp_of(signs)[0][None]
    elif exact:
        # Random layers, such as dropout, must draw the same numbers for each column.
        result = vmap(lambda v: jvp(f, (x,), (v,)), randomness="same")(units)
        h, products = result[0][0], result[1]
    else:
        result = jvp(f, (x,), (signs,))
        h, products = result[0], result[1][None]
    return h, products.square().sum((0, 2))


@persistent
@hyperparameters
class ContractiveAutoencoder(Autoencoder):
    r"""Autoencoder whose code is insensitive to directions in which the data do not vary.

    .. math:: \min \sum_i w_i \frac{1}{d} \Bigl( \lVert \hat x_i - x_i \rVert^2
              + \alpha \Bigl\lVert \frac{\partial z_i}{\partial x_i} \Bigr\rVert_F^2 \Bigr)

    with x centred and divided by the root of the mean variance of its columns,
    :math:`z = f(x) + A x` and :math:`\hat x = g(z) + A^\top z + c`. The decoder has the transposed
    weights of the encoder, so that a small code and a large decoder cannot avoid the penalty.

    The penalty is exact if the code or the input has at most 4 dimensions. Otherwise, it is an
    unbiased estimate from one random direction per sample and step (Hutchinson), at the cost of
    about one more pass through the encoder.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    Warns
    -----
    AutoencoderWarning
        If no epoch was better than PCA by this objective; if the fit was interrupted; if the
        decoder has separate weights, with which the code may shrink at no cost.

    See Also
    --------
    DenoisingAutoencoder : Contracts towards the data by learning to remove noise.
    skae.inspection.jacobian : The derivative that the penalty keeps small.

    References
    ----------
    Rifai, S., Vincent, P., Muller, X., Glorot, X. and Bengio, Y. (2011). "Contractive
    auto-encoders: explicit invariance during feature extraction". International Conference on
    Machine Learning.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import ContractiveAutoencoder
    >>> X = load_digits().data
    >>> contractive = ContractiveAutoencoder(16, max_iter=5, random_state=0).fit(X)
    >>> contractive.transform(X).shape
    (1797, 16)
    """

    alpha: float = param(
        NON_NEGATIVE,
        default=0.5,
        doc="""
        Weight of the penalty. It is roughly the variance, relative to the mean variance of the
        columns, below which the code ignores a direction.""",
    )
    tied: bool = param(
        "boolean",
        default=True,
        doc="""
        Whether the decoder has the transposed weights of the encoder: those of the linear shortcut
        and of the default architecture. Other architectures have their own parameter for this.""",
    )

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        self._before_resume(module, rows)
        own = [p for n, p in module.named_parameters() if n.startswith("decoder") and p.ndim > 1]
        if self.alpha > 0 and own:
            warn_free_scale("tied=True, and an architecture that has it too: MLP(tied=True)")
        if self.alpha == 0:
            super()._before_fit(module, rows)

    def _before_resume(self, module: AutoencoderModule, rows: RowDataset) -> None:
        with warnings.catch_warnings():  # the first use of forward mode in torch warns
            warnings.simplefilter("ignore")
            jvp(torch.sin, (module.scale,), (module.scale,))

    def _tied(self) -> bool:
        return self.tied and self.linear_shortcut

    def _default_architecture(self, **flat: Any) -> Any:
        return MLP(tied=self.tied, **flat)

    def _objective(self, module: AutoencoderModule, batch: Batch) -> dict[str, Tensor]:
        if not self.alpha:
            return super()._objective(module, batch)
        x = self._inputs(self._corrupt(module, batch))
        with without_fused_kernel(module):
            h, squared = with_squared_jacobian(module.encode, x, self.n_components_, batch.random)
        error = module.reconstruction_loss(module.decode(self._sample(module, batch, h)), batch)
        return {"reconstruction": error, "penalty": self.alpha / batch.x.shape[1] * squared}
