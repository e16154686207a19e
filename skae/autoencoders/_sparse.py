from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from skae._schema import persistent
from skae.architectures import UnitLinear
from skae.autoencoders._autoencoder import Autoencoder
from skae.autoencoders._deep import warn_free_scale
from skae.autoencoders._dictionary import DictionaryAutoencoder, layers_of
from skae.autoencoders._saelens import check_supported
from skae.data import Batch, RowDataset
from skae.hyperparameters import NON_NEGATIVE, POSITIVE, hyperparameters, one_of, param
from skae.training import AutoencoderModule

KL_TARGET = 0.05
ACTIVE = 0.5  # of logistic activations, which are never 0


def bernoulli_kl(rho: float, mean: Tensor) -> Tensor:
    r"""Return :math:`\rho \log(\rho / m) + (1 - \rho) \log((1 - \rho) / (1 - m))`."""
    tiny = torch.finfo(mean.dtype).tiny
    mean = mean.clamp(tiny, 1 - torch.finfo(mean.dtype).eps)
    target = rho * torch.ones_like(mean)
    return target * (target / mean).log() + (1 - target) * ((1 - target) / (1 - mean)).log()


@persistent
@hyperparameters
class SparseAutoencoder(DictionaryAutoencoder):
    r"""Autoencoder with a wide code of which few units are active per sample.

    .. math:: z = \sigma(f(x)), \qquad \hat x = W z + b,
              \qquad \min \sum_i w_i \Bigl( \frac{1}{d} \lVert \hat x_i - x_i \rVert^2
              + \alpha\, \Omega(z_i) \Bigr)

    with x centred and divided by the root of the mean variance of its columns. Each column of
    :math:`W` is normalised to norm 1, so that a small code and a large decoder cannot avoid the
    penalty. :math:`\sigma` is the ReLU, which gives exact zeros. For ``penalty="kl"`` it is the
    logistic function, and the norm is :math:`\sqrt d`, so that a few units with activation 1 can
    reconstruct a sample.
    With :math:`\bar z_j` the weighted mean of unit j in the batch and :math:`\rho` the
    ``target_activation``, :math:`\Omega` is

    ====  ==============================================  ================================
          without a target                                with a target
    ====  ==============================================  ================================
    'l1'  :math:`d^{-1/2} \sum_j z_{ij}`                  :math:`d^{-1/2} \sum_j |\bar z_j - \rho|`
    'l2'  :math:`d^{-1} \sum_j z_{ij}^2`                  :math:`d^{-1} \sum_j (\bar z_j - \rho)^2`
    'kl'  as with :math:`\rho = 0.05`                     :math:`\sum_j D(\rho, \bar z_j)`
    ====  ==============================================  ================================

    where D is the KL divergence between two Bernoulli distributions,
    :math:`\rho \log(\rho / \bar z_j) + (1 - \rho) \log((1 - \rho) / (1 - \bar z_j))`.

    A unit is called active where its activation is not zero; for ``penalty="kl"``, where it is more
    than one half.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    Warns
    -----
    AutoencoderWarning
        If the identity is a solution, as with ``alpha=0``; if the scale of the decoder is not
        constrained, so that the penalty may shrink the code instead of making it sparse; if the fit
        was interrupted.

    See Also
    --------
    KSparseAutoencoder : A fixed number of active units per sample.
    sklearn.decomposition.DictionaryLearning : Sparse codes by optimisation for each sample.

    References
    ----------
    Ng, A. (2011). "Sparse autoencoder". CS294A lecture notes, Stanford University.

    Olshausen, B. A. and Field, D. J. (1996). "Emergence of simple-cell receptive field properties
    by learning a sparse code for natural images". Nature 381, 607-609.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import SparseAutoencoder
    >>> X = load_digits().data
    >>> sparse = SparseAutoencoder(max_iter=20, random_state=0).fit(X)
    >>> Z = sparse.transform(X)
    >>> Z.shape
    (1797, 128)
    >>> bool((Z == 0).mean() > 0.5)
    True
    """

    penalty: str = param(
        one_of("l1", "l2", "kl"),
        default="l1",
        doc="Penalty on the code, see the table above.",
    )
    alpha: float = param(NON_NEGATIVE, default=3e-2, doc="Weight of the penalty.")
    target_activation: float | None = param(
        POSITIVE,
        None,
        default=None,
        doc="""
        Target of the mean activation of each unit; below 1 for 'kl'. If None, the activations
        themselves are penalised; for 'kl', 0.05.""",
    )

    def _default_architecture(self, **flat: Any) -> Any:
        return super()._default_architecture(
            unit_norm="rms" if self.penalty == "kl" else "l2", **flat
        )

    def _target(self) -> float | None:
        if self.penalty != "kl":
            return self.target_activation
        target = KL_TARGET if self.target_activation is None else self.target_activation
        if not target < 1:
            raise ValueError(
                f"penalty='kl' has activations in (0, 1) and a target_activation, but it is "
                f"{target}; choose one below 1, or another penalty."
            )
        return target

    def _check(self) -> None:
        super()._check()
        if self.penalty == "kl" and self.sparse_output:
            raise ValueError(
                "penalty='kl' has activations in (0, 1), none of which is exactly 0, so that a "
                "sparse matrix of them would be larger than an array; set sparse_output=False, or "
                "choose another penalty."
            )

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        super()._before_fit(module, rows)
        if self.alpha == 0:
            Autoencoder._before_fit(self, module, rows)
        target = self._target()
        last = layers_of(module.encoder)[-1]
        if self.penalty == "kl" and isinstance(last, nn.Linear) and target is not None:
            with torch.no_grad():
                last.bias.fill_(math.log(target / (1 - target)))
        held = isinstance(layers_of(module.decoder)[-1], UnitLinear)
        if self.alpha > 0 and not (held and module.decoder_shortcut is None):
            warn_free_scale(
                "an architecture that normalises it, such as MLP(unit_norm='l2'), and "
                "linear_shortcut=False"
            )

    def _code(self, module: AutoencoderModule, h: Tensor) -> Tensor:
        return torch.sigmoid(h) if self.penalty == "kl" else torch.relu(h)

    def _active(self, z: Tensor) -> Tensor:
        return z > ACTIVE if self.penalty == "kl" else super()._active(z)

    def _saelens_activation(self) -> dict[str, Any]:
        check_supported(
            self.penalty != "kl",
            type(self).__name__,
            "choose penalty='l1', or 'l2', whose code is rectified.",
        )
        return {"architecture": "standard"}

    def _penalty(
        self, module: AutoencoderModule, batch: Batch, h: Tensor, output: Tensor
    ) -> Tensor:
        z, target, d = self._code(module, h), self._target(), batch.x.shape[1]
        if target is not None:
            mean = batch.mean(z)
            if self.penalty == "kl":
                return (self.alpha * bernoulli_kl(target, mean).sum()).expand(len(z))
            z = (mean - target).expand_as(z)
        # The norm of the code is of the order of sqrt(d), as that of the samples.
        if self.penalty == "l1":
            return self.alpha / math.sqrt(d) * z.abs().sum(1)
        return self.alpha / d * z.square().sum(1)
