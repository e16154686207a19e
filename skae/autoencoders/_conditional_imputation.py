"""Imputation and sampling of missing values by a model with a density."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skae._validation import check_count, check_finite_result, check_fits, random_state_of
from skae.autoencoders._gaussian import N_DRAWS, log_mixture
from skae.base import BaseAutoencoder
from skae.data import MAX_CHUNK_SIZE, Batch, DataSource, gen_slices
from skae.training import AutoencoderModule

MAX_STANDARD_DEVIATIONS = 1e3  # of intermediate values in Gibbs sweeps
N_SWEEPS = 20  # of Gibbs sampling, before the draws that are used


class ConditionalImputation(BaseAutoencoder):
    """The methods of a model with a density that fill missing values, given the observed ones."""

    likelihood: str
    n_importance_draws: int | None

    @abstractmethod
    def _posterior(self, module: AutoencoderModule, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of q(z | x), (n, k) each."""

    @abstractmethod
    def _nll(self, module: AutoencoderModule, z: Tensor, batch: Batch) -> Tensor:
        """Return -log p(x | z) of each sample over its observed cells, (..., n)."""

    @abstractmethod
    def _noise(self, module: AutoencoderModule) -> Tensor:
        """Return the variance of x given z, in conditioned units, (), (1,) or (d,)."""

    @abstractmethod
    def _with_noise(self, mean: NDArray, rng: np.random.RandomState) -> NDArray:
        """Draw samples given their means."""

    def conditional_mean(self, X: ArrayLike) -> NDArray:
        r"""Fill missing values by their conditional mean given the observed values.

        .. math:: E[x_m | x_o] \approx \sum_l \frac{w_l}{\sum_i w_i} E[x_m | z_l], \qquad
                  w_l = \frac{p(x_o | z_l) p(z_l)}{\frac{1}{L} \sum_i q(z_l | x_o, x_m^i)},
                  \quad z_l \sim q(z | x_o, x_m^l)

        over L = ``n_importance_draws`` draws, 64 if it is None, the same for every sample. For half
        of them, the missing values :math:`x_m^l` are the mean of the training samples, as in
        training. For the other half, they are drawn from p(x | z), and z from q(z | x), in twenty
        sweeps of Gibbs sampling, since q is not trained on missing values if the training samples
        had none.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        X_filled : ndarray of shape (n_samples, n_features)
            The samples; observed values are unchanged.

        References
        ----------
        Mattei, P.-A. and Frellsen, J. (2019). "MIWAE: deep generative modelling and imputation of
        incomplete data sets". International Conference on Machine Learning, 4413-4423.

        Rezende, D. J., Mohamed, S. and Wierstra, D. (2014). "Stochastic backpropagation and
        approximate inference in deep generative models", appendix F. International Conference on
        Machine Learning, 1278-1286.
        """

        def mean(fitted: Self, module: AutoencoderModule, batch: Batch) -> Tensor:
            generator = torch.Generator().manual_seed(0)
            z, weight = fitted._posterior_draws(module, batch, generator, same_draws=True)
            return torch.einsum("ln,lnd->nd", weight, fitted._decode(module, z))

        return self._filled(self._fitted_source(X), mean)

    def conditional_sample(
        self, X: ArrayLike, n_samples: int = 1, random_state: Any = None, *, noise: bool = True
    ) -> NDArray:
        """Draw missing values from their distribution given the observed values.

        Of as many draws of z as `conditional_mean` uses, one is selected by its weight, and the
        missing values are drawn from p(x | z) (importance resampling).

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Input samples. NaN marks a missing value.
        n_samples : int, default=1
            Number of draws for each row.
        random_state : int, RandomState instance or None, default=None
            Determines the draws. Pass an int for reproducible output.
        noise : bool, default=True
            Whether to draw x given z; otherwise its mean is returned.

        Returns
        -------
        X_drawn : ndarray of shape (n_samples, n_rows, n_features)
            The samples; observed values are unchanged.

        Raises
        ------
        ValueError
            If ``n_samples`` is not a positive integer, or if the result exceeds the memory.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        source = self._fitted_source(X)
        check_fits((n_samples, *source.shape), "n_samples")
        rng = random_state_of(random_state)
        generator = torch.Generator().manual_seed(rng.randint(np.iinfo(np.int32).max))

        def resampled(fitted: Self, module: AutoencoderModule, batch: Batch) -> Tensor:
            z, weight = fitted._posterior_draws(module, batch, generator, same_draws=False)
            # multinomial refuses NaN, which z then passes on to the check of the result.
            is_nan = weight.isnan()
            z = torch.where(is_nan[..., None], torch.nan, z)
            weight = weight.nan_to_num(1.0).T.cpu()
            kept = torch.multinomial(weight, n_samples, True, generator=generator)
            z = z.take_along_dim(kept.T[:, :, None].to(z.device), dim=0)
            return fitted._decode(module, z).transpose(0, 1)  # (n, n_samples, d)

        return self._filled(source, resampled, rng if noise else None)

    def _filled(
        self,
        source: DataSource,
        function: Callable[[Any, AutoencoderModule, Batch], Tensor],
        rng: np.random.RandomState | None = None,
    ) -> NDArray:
        """Return samples with a function's results in place of missing values, (..., n, d)."""
        n_draws = cast(Self, self._with_fit_params())._n_posterior_draws
        size = max(1, MAX_CHUNK_SIZE // (n_draws * self.n_features_in_))

        def in_parts(fitted: Any, module: AutoencoderModule, batch: Batch) -> Tensor:
            parts = []
            for rows in gen_slices(len(batch.x), size):
                observed = None if batch.observed is None else batch.observed[rows]
                part = batch._replace(x=batch.x[rows], observed=observed)
                parts.append(function(fitted, module, part))
            return torch.cat(parts)

        filled = self._apply(in_parts, source, in_units=True)
        if filled.ndim == 3:
            filled = filled.swapaxes(0, 1)
        if rng is not None:
            filled = check_finite_result(self._with_noise(filled, rng), "the draws")
        X = source[:]
        return np.where(np.isnan(X), filled, X)

    @property
    def _n_posterior_draws(self) -> int:
        return self.n_importance_draws or N_DRAWS

    def _posterior_draws(
        self,
        module: AutoencoderModule,
        batch: Batch,
        generator: torch.Generator,
        *,
        same_draws: bool,
    ) -> tuple[Tensor, Tensor]:
        """Return draws of z given the observed values, (L, n, k), and their weights, (L, n).

        `same_draws` uses the same standard normal draws for all samples.
        """
        n, observed = len(batch.x), batch.observed
        n_draws = self._n_posterior_draws

        def normal(n_draws: int, size: int) -> Tensor:
            shape = (n_draws, 1 if same_draws else n, size)
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(batch.x)

        def posterior(x: Tensor) -> tuple[Tensor, Tensor]:
            rows = batch._replace(x=x.flatten(0, 1), observed=None)
            moments = self._posterior(module, module.encode(self._inputs(rows)))
            mean, log_variance = (a.unflatten(0, (-1, n)) for a in moments)
            return mean, log_variance

        def draws(mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            z = mean + (0.5 * log_variance).exp() * normal(*mean.shape[::2])
            return z, mean, log_variance

        at_mean = draws(*(a.expand(n_draws, -1, -1) for a in posterior(batch.x[None])))
        half = n_draws // 2 if observed is not None else 0
        swept = [a[:half] for a in at_mean]
        for _ in range(N_SWEEPS if half else 0):
            x = self._decode(module, swept[0])
            if self.likelihood == "gaussian":
                x = x + self._noise(module).sqrt() * normal(half, x.shape[-1])
            else:
                x = (x - module.shift) / module.scale
            x = x.clamp(-MAX_STANDARD_DEVIATIONS, MAX_STANDARD_DEVIATIONS)
            x = torch.where(cast(Tensor, observed) > 0, batch.x, x)
            swept = list(draws(*posterior(x)))
        # Sweeps may diverge; the other half of the draws cannot.
        z, mean, log_variance = (
            torch.cat([s, m[half:]]) for s, m in zip(swept, at_mean, strict=True)
        )
        log_weight = -0.5 * z.double().square().sum(-1) - self._nll(module, z, batch)
        return z, (log_weight - log_mixture(z, mean, log_variance)).softmax(0).to(z)
