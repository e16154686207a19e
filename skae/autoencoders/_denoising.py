from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skae._schema import persistent
from skae._training_parameters import N_COMPONENTS, N_COMPONENTS_DOC
from skae._validation import check_count
from skae.autoencoders._autoencoder import Autoencoder
from skae.autoencoders._corruption import NOISES, ColumnStatistics
from skae.autoencoders._linear_denoiser import best_linear
from skae.data import EXACT_UP_TO, Batch, RowDataset, covariance_of, statistics_of
from skae.hyperparameters import NON_NEGATIVE, hyperparameters, one_of, param
from skae.training import AutoencoderModule, LayerSizes


@persistent
@hyperparameters
class DenoisingAutoencoder(Autoencoder):
    r"""Autoencoder that learns to remove noise.

    .. math:: \min \sum_i w_i \frac{1}{d} \lVert r(\tilde x_i) - x_i \rVert^2,
              \qquad r(x) = g(f(x) + A x) + B (f(x) + A x) + c

    with x centred and divided by the root of the mean variance of its columns, and
    :math:`\tilde x` a copy that is corrupted anew at each step:

    * ``"gaussian"`` adds :math:`\sigma\, N(0, 1)` to each cell;
    * ``"masking"`` replaces a fraction of the cells by the mean of the column;
    * ``"salt_and_pepper"`` replaces them by the minimum or maximum of the column (of all of X with
      ``per_feature=False``);
    * ``"swap"`` replaces them by the value of the column in another sample.

    Training uses corrupted samples only; ``transform`` and ``reconstruct`` do not corrupt samples.
    With a squared error, training starts at the best *linear* denoiser of rank ``n_components`` (at
    PCA if there are more than 2,048 columns). A later epoch is kept only if it is significantly
    better on validation samples.

    For Gaussian noise and a code as wide as the input, r(x) - x points to where the density is
    higher: :math:`\nabla \log p_\sigma(x) = (r(x) - x) / \sigma^2`, where :math:`p_\sigma` is the
    density of the data smoothed by the noise (`score_field`).

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    Warns
    -----
    AutoencoderWarning
        If no epoch was better than the best linear denoiser; if the fit was interrupted.

    See Also
    --------
    ContractiveAutoencoder : Codes that are insensitive to noise, by a penalty.
    Autoencoder : The same networks, trained without noise.

    References
    ----------
    Vincent, P., Larochelle, H., Lajoie, I., Bengio, Y. and Manzagol, P.-A. (2010). "Stacked
    denoising autoencoders". Journal of Machine Learning Research 11, 3371-3408.

    Alain, G. and Bengio, Y. (2014). "What regularized auto-encoders learn from the
    data-generating distribution". Journal of Machine Learning Research 15, 3743-3773.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skae import DenoisingAutoencoder
    >>> X = load_digits().data
    >>> noisy = X + np.random.default_rng(0).normal(scale=4, size=X.shape)
    >>> denoiser = DenoisingAutoencoder(noise_level=4, per_feature=False, random_state=0)
    >>> denoiser.set_params(max_iter=20).fit(X[:1300]).reconstruct(noisy[1300:]).shape
    (497, 64)
    """

    n_components: Any = param(
        *N_COMPONENTS,
        one_of("auto"),
        default="auto",
        kw_only=False,
        doc=f"{N_COMPONENTS_DOC}\n'auto' is the number of features: the noise, not a narrow code, "
        "prevents the\nidentity from being a solution.",
    )
    noise: str = param(
        one_of(*NOISES), default="gaussian", doc="Noise that corrupts training samples, see above."
    )
    noise_level: float | Sequence[float] = param(
        NON_NEGATIVE,
        "array-like",
        default=0.3,
        doc="""
        Standard deviation of gaussian noise, or fraction of the cells that other noises replace.
        Two numbers are a range: each sample is corrupted at a level drawn from it uniformly, the
        level is an input of the encoder, and ``transform`` uses the lower end.""",
    )
    per_feature: bool = param(
        "boolean",
        default=True,
        doc="""
        Whether the level of gaussian noise is in standard deviations of each column, and the
        extremes of "salt_and_pepper" are those of each column; otherwise the level is in the units
        of X, and the extremes are those of all of X, as for images.""",
    )

    _init_name = "the best linear denoiser"
    _frozen_params = ("per_feature",)

    def _levels(self) -> tuple[float, float]:
        """Return the ends of the range of noise levels."""
        given: Any = self.noise_level
        given = given.tolist() if isinstance(given, np.ndarray) else given
        ends: list[Any] = [given, given] if isinstance(given, Real) else list(given)
        most = 1 if NOISES[self.noise].level_is_fraction else np.inf
        if not (
            len(ends) == 2
            and all(isinstance(e, Real) for e in ends)
            and 0 <= ends[0] <= ends[1] <= most
            and ends[1] < np.inf
        ):
            kind = "a fraction in [0, 1]" if most == 1 else "a number of at least 0"
            raise ValueError(
                f"noise_level of {self.noise} noise must be {kind}, or two such numbers, the lower "
                f"first; got {given!r}."
            )
        return ends[0], ends[1]

    def _sees_level(self) -> bool:
        low, high = self._levels()
        return low < high

    def _auto_n_components(self, n_features: int) -> int:
        return n_features

    def _layer_sizes(self, n_features: int) -> LayerSizes:
        n_inputs = n_features + self._sees_level()
        return LayerSizes({**super()._layer_sizes(n_features), "n_inputs": n_inputs})

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        low, high = self._levels()
        if high == 0:
            super()._before_fit(module, rows)
        variance, low_values, high_values = statistics_of(rows)
        std = variance.sqrt()
        if not self.per_feature:
            std = torch.full_like(std, 1 / float(module.scale))
            means = (module.shift / module.scale).to(std)
            low_values = (low_values + means).min() - means
            high_values = (high_values + means).max() - means
        columns = ColumnStatistics(std, variance, low_values, high_values)
        for name, value in columns._asdict().items():
            module.register_buffer(f"column_{name}", value.to(module.shift))
        if not self._starts_from_pca() or high == 0 or rows.n_features > EXACT_UP_TO:
            return
        encoder, decoder, bias = best_linear(
            NOISES[self.noise],
            (low + high) / 2,
            columns,
            covariance_of(rows),
            module.output_axes.shape[1],
        )
        with torch.no_grad():
            rank = len(encoder)
            module.input_axes[:rank, : rows.n_features] = encoder.to(module.shift)
            module.output_axes[:] = 0
            module.output_axes[:, :rank] = decoder.to(module.shift)
            module.output_bias.add_(bias.to(module.shift))

    def _added_tensors(self, layer_sizes: LayerSizes) -> dict[str, Tensor]:
        each = torch.empty(layer_sizes["n_outputs"], device="meta")
        return {f"column_{name}": each for name in ColumnStatistics._fields}

    def _corrupt(self, module: AutoencoderModule, batch: Batch) -> Batch:
        low, high = self._levels()
        level = low * torch.ones_like(batch.x[:, :1])
        if low < high:
            level = level + (high - low) * batch.random.uniform(*level.shape)
        names = ColumnStatistics._fields
        columns = ColumnStatistics(*(getattr(module, f"column_{name}") for name in names))
        x = NOISES[self.noise].apply(batch, level, columns)
        if batch.observed is not None:
            x = x * batch.observed
        return batch._replace(x=x, context=level)

    def _inputs(self, batch: Batch) -> Tensor:
        low, high = self._levels()
        if low == high:
            return batch.x
        level = low * torch.ones_like(batch.x[:, :1]) if batch.context is None else batch.context
        return torch.cat([batch.x, level], dim=1)

    def score_field(self, X: ArrayLike, noise_level: float | None = None) -> NDArray:
        r"""Return the gradient of the log density of the data, smoothed by the noise.

        .. math:: \nabla \log p_\sigma(x) \approx (r(x) - x) / \sigma^2

        where :math:`p_\sigma` is the density of the training data with noise :math:`N(0, \sigma^2)`
        added, per column. It is exact for the optimal denoiser, which needs a code that is wide
        enough not to lose information. If the fit has a range of levels, the error of the network
        is about the same at each of them. Since it is divided by the square of the level, it may
        exceed the gradient at the lower end of a wide range: use one level instead.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.
        noise_level : float or None, default=None
            Noise level, within the range of the fit. If None, that of the fit, which must not be a
            range.

        Returns
        -------
        gradient : ndarray of shape (n_samples, n_features)
            Gradients in inverse units of X, in X's dtype. They are 0 for missing values, and for
            constant columns if the noise is in standard deviations.

        Raises
        ------
        ValueError
            If the noise is not gaussian or the loss not the squared error; if the level is 0 or
            outside of the range of the fit; if it is None and the fit has a range.

        References
        ----------
        Alain, G. and Bengio, Y. (2014). "What regularized auto-encoders learn from the
        data-generating distribution". Journal of Machine Learning Research 15, 3743-3773.
        """
        check_is_fitted(self)
        fit = self._with_fit_params()
        low, high = fit._levels()
        level = low if noise_level is None and low == high else noise_level
        if fit.noise != "gaussian" or fit.loss != "squared_error":
            raise ValueError(
                "score_field needs gaussian noise and the squared error, but this "
                f"DenoisingAutoencoder was fitted with noise={fit.noise!r} and "
                f"loss={fit.loss!r}."
            )
        if not (isinstance(level, Real) and level > 0 and low <= level <= high):
            raise ValueError(
                f"score_field needs a noise_level above 0 within that of the fit, between {low:g} "
                f"and {high:g}; got {level!r}."
            )

        def gradient(fitted: Self, module: AutoencoderModule, batch: Batch) -> Tensor:
            at_level = batch._replace(context=torch.full_like(batch.x[:, :1], float(level)))
            sigma = float(level) * module.get_buffer("column_std")
            residual = fitted._reconstruct(module, at_level) - batch.x
            residual = residual if batch.observed is None else residual * batch.observed
            return torch.where(sigma > 0, residual / sigma / sigma, 0) / module.scale

        return self._apply(gradient, X)

    def project(self, X: ArrayLike, n_steps: int = 10) -> NDArray:
        """Move samples to regions of higher density by repeated reconstruction.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value; the first step imputes it.
        n_steps : int, default=10
            Number of reconstructions.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
            Samples in X's units and dtype.

        Raises
        ------
        ValueError
            If ``n_steps`` is not a positive integer.
        """
        check_count(n_steps, "n_steps")

        def walk(fitted: Self, module: AutoencoderModule, batch: Batch) -> Tensor:
            for _ in range(n_steps):
                x_hat = fitted._reconstruct(module, batch)
                if not module.loss.power:
                    x_hat = (x_hat - module.shift) / module.scale
                batch = batch._replace(x=x_hat, observed=None)
            return x_hat if module.loss.power else x_hat * module.scale + module.shift

        return self._apply(walk, X, in_units=True)
