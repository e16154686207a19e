"""The autoencoder whose rounded codes take few bits."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from skae._schema import persistent
from skae._validation import check_array
from skae.autoencoders import Autoencoder
from skae.data import Batch, RowDataset
from skae.hyperparameters import POSITIVE, hyperparameters, param
from skae.training import AutoencoderModule, LayerSizes

MAX_CODE = 2.0**53  # up to here, float64 represents every integer
MIN_SPREAD = 0.05  # scale of the distribution of a code at the start, in steps of the rounding


@persistent
@hyperparameters
class RateDistortionAutoencoder(Autoencoder):
    r"""Autoencoder of integer codes that minimises the distortion plus the weighted rate.

    With f the encoder, g the decoder, u uniform on (-1/2, 1/2) in each component, d features, and
    a logistic distribution with cumulative function :math:`P_j` for each component,

    .. math:: \min \; \mathbb{E} \left[ \frac1d \sum_j \ell(\hat x_j, x_j)
        - \frac{\lambda}{d} \sum_j \log_2 \left( P_j(z_j + \tfrac12) - P_j(z_j - \tfrac12) \right)
        \right], \qquad z = f(x) + u, \quad \hat x = g(z),

    in conditioned units. After training, z is f(x) rounded. Training starts at principal
    components in steps of :math:`\sqrt{6 \lambda / \ln 2}`, the best steps where they are small.

    Parameters
    ----------
    {parameters}

    References
    ----------
    Ballé, J., Laparra, V. and Simoncelli, E. P. (2017). "End-to-end optimized image compression".
    International Conference on Learning Representations.
    """

    rate_weight: float = param(
        POSITIVE, default=0.01, doc="Weight of the bits per feature against the loss per feature."
    )

    _init_name = "principal components in equal steps"

    def codes_to_indices(self, Z: ArrayLike) -> NDArray:
        """Return codes, (n, k), as integers."""
        check_is_fitted(self)
        codes = check_array(Z, dtype=np.float64, input_name="Z")
        if (np.abs(codes) > MAX_CODE).any():
            raise ValueError(
                "X has values that are too far from the training samples to be compressed; "
                "remove them, or fit to samples of their range."
            )
        indices = np.rint(codes)
        if (np.abs(indices - codes) > 1e-2).any():
            raise ValueError("Z has codes that are no integers; pass what transform returns.")
        return indices.astype(np.int64)

    def indices_to_codes(self, indices: NDArray) -> NDArray:
        """Return integers, (n, k), as codes."""
        return indices.astype(np.float64)

    def _code(self, module: AutoencoderModule, h: Tensor) -> Tensor:
        return h.round()

    def _sample(self, module: AutoencoderModule, batch: Batch, h: Tensor) -> Tensor:
        if not module.training:
            return self._code(module, h)
        return h + batch.random.uniform(*h.shape) - 0.5

    def _objective(self, module: AutoencoderModule, batch: Batch) -> dict[str, Tensor]:
        z = self._sample(module, batch, module.encode(self._inputs(batch)))
        loss = module.reconstruction_loss(module.decode(z), batch)
        location = cast(Tensor, module.code_location)
        rate = n_bits(z, location, cast(Tensor, module.code_log_scale)).sum(1)
        return {"reconstruction": loss, "rate": rate * (self.rate_weight / batch.x.shape[1])}

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        with torch.no_grad():
            if self._starts_from_pca():
                step = math.sqrt(6 * self.rate_weight / math.log(2))
                module.input_axes.div_(step)
                module.output_axes.mul_(step)
            total, squares = torch.zeros(2, self.n_components_).double()
            for chunk, h in self._encoded(module, rows):
                weight = rows.weight[chunk].double()
                total += weight @ h.double()
                squares += weight @ h.double().square()
            mean = total / rows.weight.double().sum()
            variance = squares / rows.weight.double().sum() - mean.square()
            scale = (variance.clamp(min=0).sqrt() * (math.sqrt(3) / math.pi)).clamp(min=MIN_SPREAD)
        module.code_location = nn.Parameter((mean / scale).to(module.shift))
        module.code_log_scale = nn.Parameter(scale.log().to(module.shift))

    def _added_tensors(self, layer_sizes: LayerSizes) -> dict[str, Tensor]:
        k = layer_sizes["n_components"]
        names = ("code_location", "code_log_scale")
        return {name: nn.Parameter(torch.empty(k, device="meta")) for name in names}


def n_bits(z: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
    """Return minus the binary logarithm of the probability of (z - 1/2, z + 1/2), (n, k).

    Logistic distributions have the means ``location * exp(log_scale)``, (k,).
    """
    width = (-log_scale).exp()  # of the interval, relative to the scale
    middle = z * width - location
    above, below = middle + width / 2, width / 2 - middle
    log_p = F.logsigmoid(above) + F.logsigmoid(below) + (-torch.expm1(-width)).log()
    return log_p / -math.log(2)
