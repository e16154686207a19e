from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from skae._schema import persistent
from skae.architectures import MLP
from skae.autoencoders._autoencoder import Autoencoder
from skae.autoencoders._deep import warn_free_scale
from skae.data import Batch, Random, RowDataset
from skae.hyperparameters import NON_NEGATIVE, hyperparameters, param
from skae.training import AutoencoderModule

EXACT_UP_TO = 4  # columns or rows of the Jacobian


def with_squared_jacobian(
    f: Callable[[Tensor], Tensor], x: Tensor, n_code: int, random: Random
) -> tuple[Tensor, Tensor]:
    r"""Return f(x), (n, k), and :math:`\lVert \partial f / \partial x \rVert_F^2`, (n,).

    Exact, from its columns by forward mode or from its rows by reverse mode, if the fewer of them
    are at most `EXACT_UP_TO`. Else :math:`\lVert v^\top J \rVert^2` or :math:`\lVert J v \rVert^2`
    with random signs v on the shorter side, whose expectation is the same.

    Parameters
    ----------
    f : callable
        Maps rows (n, d) to codes (n, k), each by itself.
    x : Tensor of shape (n, d)
    n_code : int
        k.
    random : Random
        Draws the signs.
    """
    n, d = x.shape
    width = min(d, n_code)
    exact = width <= EXACT_UP_TO
    if exact:
        units = torch.eye(width, dtype=x.dtype, device=x.device)[:, None].expand(width, n, width)
    else:
        signs = random.signs(n, width)
    answer: Any
    if d > n_code:
        answer = vjp(f, x)
        h, pull = answer
        slopes = vmap(lambda v: pull(v)[0])(units) if exact else pull(signs)[0][None]
    elif exact:
        # Layers that draw, such as dropout, draw the same for each.
        answer = vmap(lambda v: jvp(f, (x,), (v,)), randomness="same")(units)
        h, slopes = answer[0][0], answer[1]
    else:
        answer = jvp(f, (x,), (signs,))
        h, slopes = answer[0], answer[1][None]
    return h, slopes.square().sum((0, 2))


@persistent
@hyperparameters
class ContractiveAutoencoder(Autoencoder):
    r"""Autoencoder whose code changes little where the rows do not go.

    .. math:: \min \sum_i w_i \frac{1}{d} \Bigl( \lVert \hat x_i - x_i \rVert^2
              + \alpha \Bigl\lVert \frac{\partial z_i}{\partial x_i} \Bigr\rVert_F^2 \Bigr)

    with x centred and divided by the root of its columns' mean variance, :math:`z = f(x) + A x`
    and :math:`\hat x = g(z) + A^\top z + c`. The decoder's weights are the encoder's, transposed,
    so that the penalty cannot be met by a small code and a large decoder.

    The penalty is exact where the code or the row has at most 4 entries. Beyond, it is estimated
    without bias from one random direction per row and step (Hutchinson), for the price of about
    one more pass through the encoder.

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
        decoder has weights of its own, by which the code may shrink at no price.

    See Also
    --------
    DenoisingAutoencoder : Contracts towards the rows by learning to undo noise.
    skae.inspection.jacobian : The derivative that is kept small.

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
        Weight of the penalty: about the variance, beside the columns' mean variance of 1, below
        which the code no longer follows a direction.""",
    )
    tied: bool = param(
        "boolean",
        default=True,
        doc="""
        Whether the decoder's weights are the encoder's, transposed: those of the linear shortcut,
        and of the default architecture. One that is given has its own ``tied``.""",
    )

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        self._before_resume(module, rows)
        own = [p for n, p in module.named_parameters() if n.startswith("decoder") and p.ndim > 1]
        if self.alpha > 0 and own:
            warn_free_scale("tied=True, also in an architecture of yours")
        if self.alpha == 0:
            super()._before_fit(module, rows)

    def _before_resume(self, module: AutoencoderModule, rows: RowDataset) -> None:
        with warnings.catch_warnings():  # torch's forward mode warns of itself when first used
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
        h, squared = with_squared_jacobian(module.encode, x, self.n_components_, batch.random)
        error = module.reconstruction_loss(module.decode(self._sample(module, batch, h)), batch)
        return {"reconstruction": error, "penalty": self.alpha / batch.x.shape[1] * squared}
