"""The ways to complete standardised rows with missing values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from skae._schema import Check, array, instance, persistent
from skae._sklearn_types import BaseEstimator
from skae.autoencoders import VariationalAutoencoder
from skae.base import BaseAutoencoder
from skae.data import gen_chunks, subsample_evenly
from skae.impute._conditional_gaussian import ConditionalGaussian, probabilities
from skae.impute._nearest_rows import NearestRows, n_stored_rows
from skae.impute._network import N_PARTS, ImputationNetwork
from skae.impute._residuals import (
    ResidualQuantiles,
    conditional_std,
    draw_categories,
    draw_imputations,
    masked_tensors,
)
from skae.tables import ColumnGroups, is_grouping

N_RECONSTRUCTIONS = 5  # of the row with its previously filled values
N_INTERVAL_DRAWS = 200


class Completion(BaseEstimator):
    """Base of the fitted ways to complete rows; a subclass estimates the missing values.

    Uncertainty is that of a Gaussian, scaled by the quantiles of the residuals of `complete`.
    """

    model: BaseAutoencoder | None = None
    gaussian: ConditionalGaussian
    groups: ColumnGroups

    def complete(self, Z: NDArray) -> NDArray:
        """Return rows with the missing values filled, categories by their probabilities."""
        filled = Z.copy()
        incomplete = np.flatnonzero(np.isnan(Z).any(axis=1))
        for chunk in gen_chunks(len(incomplete), max(1, Z.shape[1])):
            rows = Z[incomplete[chunk]]
            filled[incomplete[chunk]] = np.where(np.isnan(rows), self._estimate(rows), rows)
        return filled

    def _estimate(self, Z: NDArray) -> NDArray:
        """Return estimates of the missing values of rows, (n, d)."""
        raise NotImplementedError

    def std(self, Z: NDArray) -> NDArray:
        """Return the Gaussian's conditional standard deviations of the missing values, (n, d)."""
        return conditional_std(self.gaussian, Z)

    def variance(self, Z: NDArray) -> NDArray:
        """Return their squares."""
        return self.std(Z) ** 2

    def draw(
        self, Z: NDArray, n: int, residuals: ResidualQuantiles, rng: np.random.RandomState
    ) -> Iterator[NDArray]:
        """Yield n times the rows with the missing values drawn at random."""
        filled, gaussian = self.complete(Z), self.gaussian
        for _ in range(n):
            yield draw_imputations(gaussian, Z, filled, residuals, self.groups, rng)

    def interval(self, Z: NDArray, coverage: float, residuals: ResidualQuantiles) -> NDArray:
        """Return the ends of prediction intervals of the missing values, (2, n, d)."""
        ends = residuals.at([(1 - coverage) / 2, (1 + coverage) / 2])
        return self.complete(Z) + self.std(Z) * ends[:, None]

    def store_rows(self, Z: NDArray, weight: NDArray) -> None:
        """Use rows that were held out, too, from now on."""

    def at_random(self) -> Completion:
        """Return the completion of values that are missing at random."""
        return self


@persistent
class GaussianCompletion(Completion):
    """Complete rows by the conditional mean of a Gaussian.

    Parameters
    ----------
    mean : ndarray of shape (d,)
    covariance : ndarray of shape (d, d)
        Moments of the Gaussian.
    group_start : ndarray of shape (d,)
        See `ColumnGroups`.
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {
        "mean": array("f", None, finite=True),
        "covariance": array("f", None, None, finite=True),
        "group_start": lambda value, _: is_grouping(value, np.size(value)),
    }

    def __init__(self, mean: NDArray, covariance: NDArray, group_start: NDArray):
        self.mean = mean
        self.covariance = covariance
        self.group_start = group_start

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where attributes in a file do not belong together."""
        mean, covariance, d = state["mean"], state["covariance"], len(state["group_start"])
        if not (
            mean.dtype == covariance.dtype == np.float64
            and mean.shape == (d,)
            and covariance.shape == (d, d)
        ):
            raise ValueError("its parts are not of the shape of its columns")
        try:
            np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            raise ValueError("its covariance is that of no Gaussian") from None

    @property
    def gaussian(self) -> ConditionalGaussian:  # type: ignore[override]
        return ConditionalGaussian.of(torch.tensor(self.mean), torch.tensor(self.covariance))

    @property
    def groups(self) -> ColumnGroups:  # type: ignore[override]
        return ColumnGroups(self.group_start)

    def _estimate(self, Z: NDArray) -> NDArray:
        return self._with_probabilities(self.gaussian.fill(*masked_tensors(Z)).numpy())

    def _with_probabilities(self, filled: NDArray) -> NDArray:
        """Return filled rows with probabilities for categories."""
        if not (grouped := self.groups.is_grouped).any():
            return filled
        frequency = np.maximum(self.mean, np.finfo(np.float64).tiny)
        given = (
            torch.from_numpy(a) for a in (filled.astype(np.float64), frequency, self.group_start)
        )
        return np.where(grouped, probabilities(*given).numpy(), filled)


class ModelCompletion(GaussianCompletion):
    """Base of the completions by an autoencoder.

    Parameters
    ----------
    mean, covariance, group_start : ndarray
        As in `GaussianCompletion`.
    model : BaseAutoencoder
        Fitted to standardised rows, or to several parts of them.
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {"model": instance(BaseAutoencoder)}
    n_parts: ClassVar[int] = 1  # of the rows that the model is fitted to, of as many columns each

    def __init__(
        self, mean: NDArray, covariance: NDArray, group_start: NDArray, model: BaseAutoencoder
    ):
        super().__init__(mean, covariance, group_start)
        self.model: Any = model

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        super()._check_state(state)
        n_features = cls.n_parts * len(state["mean"])
        if getattr(state["model"], "mean_", np.empty(0)).shape != (n_features,):
            raise ValueError("its parts are not of the shape of its columns")


@persistent
class NetworkCompletion(ModelCompletion):
    """Complete rows by the imputation network."""

    _fitted_schema: ClassVar[dict[str, Check]] = {"model": instance(ImputationNetwork)}

    n_parts = N_PARTS

    def _estimate(self, Z: NDArray) -> NDArray:
        filled = self.gaussian.fill(*masked_tensors(Z)).numpy()
        return self.model.complete(filled, ~np.isnan(Z))


@persistent
class ReconstructionCompletion(ModelCompletion):
    """Complete rows by an autoencoder's reconstruction, then of the rows as completed."""

    def _estimate(self, Z: NDArray) -> NDArray:
        filled = self.model.reconstruct(Z)
        for _ in range(N_RECONSTRUCTIONS):
            filled = self.model.reconstruct(np.where(np.isnan(Z), filled, Z))
        return self._with_probabilities(filled)


@persistent
class ConditionalCompletion(ModelCompletion):
    """Complete rows by the conditional distribution of a variational autoencoder."""

    _fitted_schema: ClassVar[dict[str, Check]] = {"model": instance(VariationalAutoencoder)}

    def _estimate(self, Z: NDArray) -> NDArray:
        return self._with_probabilities(self.model.conditional_mean(Z))

    def draw(
        self, Z: NDArray, n: int, residuals: ResidualQuantiles, rng: np.random.RandomState
    ) -> Iterator[NDArray]:
        for table in self.model.conditional_sample(Z, n, rng, noise=False):
            means, noise = self._with_probabilities(table), np.sqrt(self.model.noise_variance_)
            drawn = means + noise * rng.normal(size=Z.shape)
            yield np.where(np.isnan(Z), draw_categories(means, drawn, self.groups, rng), Z)

    def interval(self, Z: NDArray, coverage: float, residuals: ResidualQuantiles) -> NDArray:
        draws = self.draw(Z, N_INTERVAL_DRAWS, residuals, np.random.RandomState(0))
        return np.quantile(list(draws), [(1 - coverage) / 2, (1 + coverage) / 2], axis=0)


class CorrectedCompletion(Completion):
    """Base of the completions that correct the estimates of another one, `completion`."""

    completion: Completion

    @property
    def model(self) -> BaseAutoencoder | None:  # type: ignore[override]
        return self.completion.model

    @property
    def gaussian(self) -> ConditionalGaussian:  # type: ignore[override]
        return self.completion.gaussian

    @property
    def groups(self) -> ColumnGroups:  # type: ignore[override]
        return self.completion.groups


@persistent
class NearestRowsCompletion(CorrectedCompletion):
    """Another completion, corrected by the nearest rows.

    Parameters
    ----------
    completion : NetworkCompletion
    neighbors : NearestRows
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {
        "completion": instance(NetworkCompletion),
        "neighbors": instance(NearestRows),
    }

    def __init__(self, completion: NetworkCompletion, neighbors: NearestRows):
        self.completion = completion
        self.neighbors = neighbors

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where attributes in a file do not belong together."""
        stored = vars(state["neighbors"]).get("group_start_")
        if not np.array_equal(stored, state["completion"].group_start):
            raise ValueError("its parts are not of the shape of its columns")

    def _estimate(self, Z: NDArray) -> NDArray:
        filled = self.completion.complete(Z)
        return self.neighbors.correct(filled, np.isnan(Z), self.variance(Z))

    def store_rows(self, Z: NDArray, weight: NDArray) -> None:
        some = subsample_evenly(np.arange(len(Z)), n_stored_rows(Z.shape[1]))
        self.neighbors.store(self.complete(Z[some]), ~np.isnan(Z[some]), weight[some])


@persistent
class SelfMaskedCompletion(CorrectedCompletion):
    r"""Another completion, for values that are missing with a probability that depends on them.

    Estimates are shifted by :math:`b_j v_j`, see `self_masking_slopes`.

    Parameters
    ----------
    completion : Completion
    slopes : ndarray of shape (d,)
        Slopes b of the log odds of a missing value.
    relative_variance : ndarray of shape (d,)
        Variance of a missing value given the observed ones, relative to that in the Gaussian.
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {
        "completion": instance(Completion),
        "slopes": array("f", None, finite=True),
        "relative_variance": array("f", None, finite=True),
    }

    def __init__(self, completion: Completion, slopes: NDArray, relative_variance: NDArray):
        self.completion = completion
        self.slopes = slopes
        self.relative_variance = relative_variance

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where attributes in a file do not belong together."""
        shape = np.shape(state["completion"].groups.group_start)
        if not shape == state["slopes"].shape == state["relative_variance"].shape:
            raise ValueError("its parts are not of the shape of its columns")

    def _estimate(self, Z: NDArray) -> NDArray:
        return self.completion.complete(Z) + self._shift(Z)

    def draw(
        self, Z: NDArray, n: int, residuals: ResidualQuantiles, rng: np.random.RandomState
    ) -> Iterator[NDArray]:
        shift = self._shift(Z)
        for drawn in self.completion.draw(Z, n, residuals, rng):
            yield drawn + shift

    def interval(self, Z: NDArray, coverage: float, residuals: ResidualQuantiles) -> NDArray:
        return self.completion.interval(Z, coverage, residuals) + self._shift(Z)

    def _shift(self, Z: NDArray) -> NDArray:
        return np.where(np.isnan(Z), self.slopes * self.relative_variance * self.variance(Z), 0.0)

    def at_random(self) -> Completion:
        return self.completion


def completion_by(
    model: BaseAutoencoder, gaussian: GaussianCompletion
) -> ReconstructionCompletion | ConditionalCompletion:
    """Return the completion by a fitted autoencoder of the user's."""
    kind = (
        ConditionalCompletion
        if isinstance(model, VariationalAutoencoder)
        else ReconstructionCompletion
    )
    return kind(gaussian.mean, gaussian.covariance, gaussian.group_start, model)
