"""What the holes of rows may hold, by a model with a density."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

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

FAR = 1e3  # standard deviations that a hole may be filled with on the way
SWEEPS = 20  # of filling holes by draws, before those that count


class Conditional(BaseAutoencoder):
    """The part of `VariationalAutoencoder` that fills holes, given what is observed in a row."""

    likelihood: str
    _noise: Callable[[AutoencoderModule], Tensor]
    _with_noise: Callable[[NDArray, np.random.RandomState], NDArray]
    _posterior: Callable[[AutoencoderModule, Tensor], tuple[Tensor, Tensor]]
    _nll: Callable[[AutoencoderModule, Tensor, Batch], Tensor]

    def conditional_mean(self, X: ArrayLike) -> NDArray:
        r"""Fill holes by their mean given what is observed.

        .. math:: E[x_h | x_o] \approx \sum_l \frac{w_l}{\sum_i w_i} E[x_h | z_l], \qquad
                  w_l = \frac{p(x_o | z_l) p(z_l)}{\frac{1}{L} \sum_i q(z_l | x_o, x_h^i)},
                  \quad z_l \sim q(z | x_o, x_h^l)

        over L = ``n_importance_draws`` draws, 64 if it is None, the same for every row. For half of
        them, :math:`x_h^l` is the mean of the training rows, as in training. For the others it is
        what z decodes to, with noise, and z is drawn anew, twenty times over, since q knows
        nothing of holes if the training rows had none.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN is a hole.

        Returns
        -------
        X_filled : ndarray of shape (n_samples, n_features)
            The rows, observed cells as they are.

        References
        ----------
        Mattei, P.-A. and Frellsen, J. (2019). "MIWAE: deep generative modelling and imputation of
        incomplete data sets". International Conference on Machine Learning, 4413-4423.

        Rezende, D. J., Mohamed, S. and Wierstra, D. (2014). "Stochastic backpropagation and
        approximate inference in deep generative models", appendix F. International Conference on
        Machine Learning, 1278-1286.
        """
        check_is_fitted(self)
        fitted = self._with_fit_params()

        def mean(module: AutoencoderModule, batch: Batch) -> Tensor:
            generator = torch.Generator().manual_seed(0)
            z, share = fitted._given(module, batch, generator, alike=True)
            return torch.einsum("ln,lnd->nd", share, fitted._decode(module, z))

        return self._filled(self._fitted_table(X), mean)

    def conditional_sample(
        self, X: ArrayLike, n_samples: int = 1, random_state: Any = None, *, noise: bool = True
    ) -> NDArray:
        """Draw what holes may hold, given what is observed.

        Of as many draws of z as `conditional_mean` makes, one is kept by its weight, and the holes
        are drawn from x given z (importance resampling).

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows; NaN is a hole.
        n_samples : int, default=1
            How many times each row is drawn.
        random_state : int, RandomState instance or None, default=None
            Determines the draws; None draws anew at each call.
        noise : bool, default=True
            Whether to draw x given z; else its mean is returned.

        Returns
        -------
        X_drawn : ndarray of shape (n_samples, n_rows, n_features)
            The rows, observed cells as they are.

        Raises
        ------
        ValueError
            If ``n_samples`` is not a positive integer, or asks for more than the memory holds.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        table = self._fitted_table(X)
        check_fits((n_samples, *table.shape), "n_samples")
        fitted, rng = self._with_fit_params(), random_state_of(random_state)
        generator = torch.Generator().manual_seed(rng.randint(np.iinfo(np.int32).max))

        def resampled(module: AutoencoderModule, batch: Batch) -> Tensor:
            z, share = fitted._given(module, batch, generator, alike=False)
            # multinomial refuses the shares of rows that overflow; their z says so.
            share, z = share.nan_to_num(1.0), torch.where(share.isnan()[..., None], torch.nan, z)
            kept = torch.multinomial(share.T.cpu(), n_samples, True, generator=generator)
            z = z.take_along_dim(kept.T[:, :, None].to(z.device), dim=0)
            return fitted._decode(module, z).transpose(0, 1)  # (n, n_samples, d)

        return self._filled(table, resampled, rng if noise else None)

    def _filled(
        self,
        table: DataSource,
        function: Callable[[AutoencoderModule, Batch], Tensor],
        rng: np.random.RandomState | None = None,
    ) -> NDArray:
        """Return rows with a function's answers in their holes, (..., n, d)."""
        at_once = max(1, MAX_CHUNK_SIZE // (self._n_given * self.n_features_in_))

        def answer(module: AutoencoderModule, batch: Batch) -> Tensor:
            parts = []
            for chunk in gen_slices(len(batch.x), at_once):
                seen = None if batch.observed is None else batch.observed[chunk]
                some = batch._replace(x=batch.x[chunk], observed=seen)
                parts.append(function(module, some))
            return torch.cat(parts)

        filled = check_finite_result(self._in_units(self._map(table, answer)), "X")
        if filled.ndim == 3:
            filled = filled.swapaxes(0, 1)
        if rng is not None:
            filled = check_finite_result(self._with_noise(filled, rng), "the draws")
        rows = table[:]
        return np.where(np.isnan(rows), filled, rows)

    @property
    def _n_given(self) -> int:
        return cast(Any, self._with_fit_params()).n_importance_draws or N_DRAWS

    def _given(
        self, module: AutoencoderModule, batch: Batch, generator: torch.Generator, *, alike: bool
    ) -> tuple[Tensor, Tensor]:
        """Return draws of z given what is observed, (L, n, k), and their shares, (L, n)."""
        n, seen = len(batch.x), batch.observed

        def normal(n_draws: int, width: int) -> Tensor:
            shape = (n_draws, 1 if alike else n, width)
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(batch.x)

        def posterior(x: Tensor) -> tuple[Tensor, Tensor]:
            rows = batch._replace(x=x.flatten(0, 1), observed=None)
            answer = self._posterior(module, module.encode(self._inputs(rows)))
            mean, log_variance = (a.unflatten(0, (-1, n)) for a in answer)
            return mean, log_variance

        def draws(mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            z = mean + (0.5 * log_variance).exp() * normal(*mean.shape[::2])
            return z, mean, log_variance

        blind = draws(*(a.expand(self._n_given, -1, -1) for a in posterior(batch.x[None])))
        half = self._n_given // 2 if seen is not None else 0
        moved = [a[:half] for a in blind]
        for _ in range(SWEEPS if half else 0):
            x = self._decode(module, moved[0])
            if self.likelihood == "gaussian":
                x = x + self._noise(module).sqrt() * normal(half, x.shape[-1])
            else:
                x = (x - module.shift) / module.scale
            x = torch.where(cast(Tensor, seen) > 0, batch.x, x.clamp(-FAR, FAR))
            moved = list(draws(*posterior(x)))
        # Fills may run away by their own consequences; the other half of the draws stays.
        z, mean, log_variance = (
            torch.cat([m, b[half:]]) for m, b in zip(moved, blind, strict=True)
        )
        weight = -0.5 * z.double().square().sum(-1) - self._nll(module, z, batch)
        return z, (weight - log_mixture(z, mean, log_variance)).softmax(0).to(z)
