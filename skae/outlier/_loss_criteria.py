"""Criteria that compare samples with their reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skae._schema import Check, array, persistent
from skae.autoencoders import DenoisingAutoencoder, standard_draws
from skae.base import BaseAutoencoder
from skae.data import Batch, DataSource, subsample_evenly
from skae.outlier._criterion import Criterion, apply
from skae.training import AutoencoderModule

NOISE_LEVELS = (0.1, 1.0)  # lowest and highest, in standard deviations of each feature
N_NOISE_LEVELS = 5
N_NOISE_DRAWS = 4
MAX_SAMPLES_FOR_MEAN_LOSS = 1024
MIN_ERROR = 1e-3  # of a reconstruction, in conditioned units; below, it is rounding
NEGLIGIBLE_LOSS = 1e-2  # relative to the mean loss
TINY = np.finfo(np.float64).tiny


class LossCriterion(Criterion):
    r"""Mean over the variables of the reconstruction loss, at one or several levels of noise.

    .. math:: s(x) = \frac{1}{|o|} \sum_{v \in o} \sum_{j \in v}
              \frac1L \sum_l f_{lj} \ell_{lj}(x)

    over the observed variables o and the features j that encode them, with :math:`\ell_{lj}` the
    loss of feature j in conditioned units, averaged over fixed draws of Gaussian noise of level l,
    and factors f.

    Attributes
    ----------
    levels_ : ndarray of shape (L,)
        Levels of noise; 0 is none.
    noise_std_ : ndarray of shape (n_features,)
        Standard deviation of the noise of level 1, in conditioned units.
    factors_ : ndarray of shape (L, n_features)
    """

    additive = True
    _fitted_schema: ClassVar[dict[str, Check]] = {
        "levels_": array("f", None, finite=True),
        "noise_std_": array("f", "n_features_in_", finite=True),
        "factors_": array("f", None, "n_features_in_", finite=True),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "levels_" in state and not len(state["levels_"]) == len(state["factors_"]) > 0:
            raise ValueError(f"the factors of {cls.__name__} are not of as many levels of noise")

    def _floor(self, model: BaseAutoencoder) -> float:
        return NEGLIGIBLE_LOSS

    def _learn(self, model: BaseAutoencoder, source: DataSource, weight: NDArray) -> None:
        self.levels_, self.noise_std_ = self._noise(model, source, weight)
        self.factors_ = self._factors(model, source, weight)

    def _noise(
        self, model: BaseAutoencoder, source: DataSource, weight: NDArray
    ) -> tuple[NDArray, NDArray]:
        """Return the levels of noise and its standard deviations."""
        return np.zeros(1), np.zeros(source.shape[1])

    def _factors(self, model: BaseAutoencoder, source: DataSource, weight: NDArray) -> NDArray:
        """Return what losses are multiplied by."""
        raise NotImplementedError

    def score(self, model: BaseAutoencoder, source: DataSource) -> NDArray:
        model._check_domain(source)
        return apply(model, lambda *arguments: self._terms(*arguments).sum(1), source)

    def per_feature(self, model: BaseAutoencoder, source: DataSource) -> NDArray:
        model._check_domain(source)
        return apply(model, self._terms, source)

    def _terms(self, fitted: Any, module: AutoencoderModule, batch: Batch) -> Tensor:
        losses = _losses(fitted, module, batch, levels=self.levels_, std=self.noise_std_)
        losses *= torch.as_tensor(self.factors_).to(losses)
        observed = torch.ones_like(batch.x) if batch.observed is None else batch.observed
        starts = torch.as_tensor(self._groups.starts, device=observed.device)
        return losses.mean(1) / observed[:, starts].sum(1, keepdim=True).clamp(min=1)


@persistent
class ReconstructionLoss(LossCriterion):
    """Mean reconstruction loss, in the units of X."""

    name = "reconstruction"

    def _floor(self, model: BaseAutoencoder) -> float:
        return NEGLIGIBLE_LOSS * _min_loss(model) * model.scale_**model.module_.loss.power

    def _factors(self, model: BaseAutoencoder, source: DataSource, weight: NDArray) -> NDArray:
        return np.full((1, source.shape[1]), float(model.scale_**model.module_.loss.power))


@persistent
class StandardizedLoss(LossCriterion):
    """Mean reconstruction loss, relative to the mean loss of each variable in training."""

    name = "standardized"

    def _factors(self, model: BaseAutoencoder, source: DataSource, weight: NDArray) -> NDArray:
        return 1 / self._mean_losses(model, source, weight)[1]

    def _mean_losses(
        self, model: BaseAutoencoder, source: DataSource, weight: NDArray
    ) -> tuple[NDArray, NDArray]:
        """Return the mean loss of variables at each level, (L, 1), and by variable, (L, d)."""
        losses = partial(_losses, levels=self.levels_, std=self.noise_std_)
        total = np.zeros((len(self.levels_), source.shape[1]))
        n_observed = np.zeros(source.shape[1])
        index = subsample_evenly(np.flatnonzero(weight > 0), MAX_SAMPLES_FOR_MEAN_LOSS)
        samples = source.take(index)
        for chunk in samples.gen_chunks():
            X, w = samples[chunk], weight[index[chunk]]
            total += np.tensordot(w, apply(model, losses, DataSource(X)), axes=1)
            n_observed += w @ ~np.isnan(X)
        groups = self._groups
        total, n_observed = groups.sum(total), n_observed[groups.starts]
        # A feature that is reconstructed without error would dominate the score.
        least = _min_loss(model)
        per_level = np.maximum((total.sum(1) / n_observed.sum())[:, None], least)
        per_variable = np.maximum(total / np.maximum(n_observed, TINY), least)
        return per_level, groups.spread(per_variable)


@persistent
class DenoisingLoss(StandardizedLoss):
    """Mean loss after denoising, at several levels of noise.

    Half of it relative to the mean loss at the level, half to that of the variable at the level.
    """

    name = "denoising"

    def _noise(
        self, model: BaseAutoencoder, source: DataSource, weight: NDArray
    ) -> tuple[NDArray, NDArray]:
        """Return the noise of a Gaussian denoiser's training, else levels in `NOISE_LEVELS`."""
        low, high = NOISE_LEVELS
        if isinstance(model, DenoisingAutoencoder) and model.noise == "gaussian":
            low, high = np.broadcast_to(np.asarray(model.noise_level, dtype=np.float64), 2)
            std = model.module_.get_buffer("column_std").double().cpu().numpy()
        else:
            std = _conditioned_std(model, source, weight)
        if low == high:
            return np.array([high]), std
        return np.geomspace(max(low, high / 100), high, N_NOISE_LEVELS), std

    def _factors(self, model: BaseAutoencoder, source: DataSource, weight: NDArray) -> NDArray:
        per_level, per_feature = self._mean_losses(model, source, weight)
        return 0.5 / per_feature + 0.5 / per_level


def _losses(
    fitted: Any, module: AutoencoderModule, batch: Batch, *, levels: NDArray, std: NDArray
) -> Tensor:
    """Return the loss of each value at each level of noise, (n, L, d), averaged over draws.

    In conditioned units, and 0 for missing values. The draws are the same for every sample.
    """
    draws = torch.as_tensor(std).to(batch.x) * standard_draws(N_NOISE_DRAWS, batch.x, paired=True)

    def at(level: float) -> Tensor:
        noise = level * draws if level and std.any() else torch.zeros_like(draws[:1])
        total = torch.zeros_like(batch.x)
        for epsilon in noise:
            x = batch.x + (epsilon if batch.observed is None else epsilon * batch.observed)
            seen = torch.full_like(x[:, :1], level) if level else None
            z = fitted._encode(module, batch._replace(x=x, context=seen))
            total += module.cell_loss(module.decode(z), batch)
        return total / len(noise)

    return torch.stack([at(level) for level in levels.tolist()], dim=1)


def _conditioned_std(model: BaseAutoencoder, source: DataSource, weight: NDArray) -> NDArray:
    """Return the root mean square of each feature in conditioned units."""
    total, n_observed = np.zeros((2, source.shape[1]))
    for chunk in source.gen_chunks():
        x = (source[chunk] - model.mean_) / model.scale_
        total += weight[chunk] @ np.nan_to_num(x**2)
        n_observed += weight[chunk] @ ~np.isnan(x)
    return np.sqrt(total / np.maximum(n_observed, TINY))


def _min_loss(model: BaseAutoencoder) -> float:
    """Return the loss of a value, in conditioned units, that is no more than rounding."""
    return MIN_ERROR ** (model.module_.loss.power or 2)
