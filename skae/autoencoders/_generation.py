"""Samples of a model with a density, and paths between its codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skae._validation import check_count, check_finite_result, check_fits, random_state_of
from skae.autoencoders._interpolation import check_ends, check_path, code_path
from skae.base import BaseAutoencoder
from skae.data import DataSource

LARGEST_COUNT = 9e18  # mean of a Poisson distribution that numpy draws from


class GenerativeAutoencoder(BaseAutoencoder):
    """The methods of a model with a prior on its codes and a likelihood."""

    noise_variance_: float | NDArray

    def sample(
        self, n_samples: int = 1, random_state: Any = None, *, noise: bool = True
    ) -> NDArray:
        """Draw samples from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of samples.
        random_state : int, RandomState instance or None, default=None
            Determines the draws. Pass an int for reproducible output.
        noise : bool, default=True
            Whether to draw x given z; otherwise its mean is returned.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            In the units of the training samples; zeros and ones for a Bernoulli likelihood, counts
            for a Poisson likelihood.

        Raises
        ------
        ValueError
            If ``n_samples`` is not a positive integer, or if the result exceeds the memory.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        check_fits((n_samples, max(self.n_features_in_, self.n_components_)), "n_samples")
        rng = random_state_of(random_state)
        mean = self.inverse_transform(rng.normal(size=(n_samples, self.n_components_)))
        return check_finite_result(self._with_noise(mean, rng), "the draws") if noise else mean

    def _with_noise(self, mean: NDArray, rng: np.random.RandomState) -> NDArray:
        likelihood = self._fit_params["likelihood"]
        if likelihood == "bernoulli":
            return (rng.uniform(size=mean.shape) < mean).astype(mean.dtype)
        if likelihood == "poisson":
            if mean.max() > LARGEST_COUNT:
                raise ValueError(
                    f"Counts with a mean of {mean.max():.3g} cannot be drawn, only up to "
                    f"{LARGEST_COUNT:.3g}; set noise=False for the mean."
                )
            return rng.poisson(mean).astype(mean.dtype)
        with np.errstate(over="ignore"):
            drawn = mean + np.sqrt(self.noise_variance_) * rng.normal(size=mean.shape)
            return drawn.astype(mean.dtype)

    def interpolate(
        self, a: ArrayLike, b: ArrayLike, n_points: int = 10, method: str = "linear"
    ) -> NDArray:
        """Decode evenly spaced codes between the codes of two samples.

        Parameters
        ----------
        a, b : array-like of shape (n_features,)
            Samples. NaN marks a missing value.
        n_points : int, default=10
            Number of codes, both ends included; at least 2.
        method : {'linear', 'spherical'}, default='linear'
            Along a line, or along an arc around the origin, where the prior has its mass.

        Returns
        -------
        X : ndarray of shape (n_points, n_features)
            Reconstructions from that of `a` to that of `b`; float32 if both are.

        Raises
        ------
        ValueError
            If `a` and `b` are not two samples of ``n_features_in_`` values, if `n_points` is less
            than 2, if the method is unknown, or if the codes are opposite and the arc between them
            is not unique.
        """
        check_is_fitted(self)
        ends = check_ends(a, b, self.n_features_in_)
        check_path(n_points, method)
        check_fits((n_points, max(self.n_features_in_, self.n_components_)), "n_points")
        start, end = self._apply(
            lambda fitted, module, batch: fitted._encode(module, batch), DataSource(ends)
        )
        return self.inverse_transform(code_path(start, end, n_points, method))
