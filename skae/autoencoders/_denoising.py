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
from skae.autoencoders._corruption import NOISES, Columns
from skae.autoencoders._linear_denoiser import best_linear
from skae.data import EXACT_UP_TO, Batch, RowDataset, covariance_of, statistics_of
from skae.hyperparameters import NON_NEGATIVE, hyperparameters, one_of, param
from skae.training import AutoencoderModule, LayerSizes


@persistent
@hyperparameters
class DenoisingAutoencoder(Autoencoder):
    r"""Autoencoder that learns to undo noise.

    .. math:: \min \sum_i w_i \frac{1}{d} \lVert r(\tilde x_i) - x_i \rVert^2,
              \qquad r(x) = g(f(x) + A x) + B (f(x) + A x) + c

    with x centred and divided by the root of its columns' mean variance, and :math:`\tilde x` a
    newly spoilt copy at each step:

    * ``"gaussian"`` adds :math:`\sigma\, N(0, 1)` to each cell;
    * ``"masking"`` puts the column's mean in a share of the cells;
    * ``"salt_and_pepper"`` puts the column's least or largest training value;
    * ``"swap"`` puts the value that the column has in another row.

    Only spoilt rows are seen in training; ``transform`` and ``reconstruct`` see rows as they are.
    With a squared error, training starts at the best *linear* denoiser through ``n_components``
    dimensions (at PCA if there are more than 2,048 columns), and leaves it only for an epoch that
    does better on rows held out.

    For Gaussian noise and a code as wide as the rows, r(x) - x is the way to where rows are denser:
    :math:`\nabla \log p_\sigma(x) = (r(x) - x) / \sigma^2`, with :math:`p_\sigma` the density of
    the rows smoothed by the noise (`score_field`).

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
    ContractiveAutoencoder : Insensitive codes by a penalty.
    Autoencoder : Without noise.

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
        doc=f"{N_COMPONENTS_DOC}\n'auto' is the number of features: noise, not a narrow code, is "
        "what keeps the rows from being\ncopied.",
    )
    noise: str = param(
        one_of(*NOISES), default="gaussian", doc="How training rows are spoilt, see the list above."
    )
    noise_level: float | Sequence[float] = param(
        NON_NEGATIVE,
        "array-like",
        default=0.3,
        doc="""
        Standard deviation of gaussian noise, or share of the cells that other noises replace. Two
        numbers are the ends of a range: each row is spoilt at a level drawn from it, the network is
        told the level, and rows that are encoded count as spoilt at the lower end.""",
    )
    per_feature: bool = param(
        "boolean",
        default=True,
        doc="""
        Whether the level of gaussian noise counts in standard deviations of each column; else in
        the units of X.""",
    )

    _init_name = "the best linear denoiser"
    _frozen_params = ("per_feature",)

    def _levels(self) -> tuple[float, float]:
        """Return the ends of the range of noise levels."""
        given: Any = self.noise_level
        given = given.tolist() if isinstance(given, np.ndarray) else given
        ends = [given, given] if isinstance(given, Real) else list(given)
        most = 1 if NOISES[self.noise].share else np.inf
        if not (
            len(ends) == 2
            and all(isinstance(e, Real) for e in ends)
            and 0 <= float(ends[0]) <= float(ends[1]) <= most
            and np.isfinite(float(ends[1]))
        ):
            kind = "a share in [0, 1]" if most == 1 else "a number of at least 0"
            raise ValueError(
                f"noise_level of {self.noise} noise must be {kind}, or two such numbers, the lower "
                f"first; got {given!r}."
            )
        return float(ends[0]), float(ends[1])

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
        variance, least, largest = statistics_of(rows)
        std = variance.sqrt()
        if not self.per_feature:
            std = torch.full_like(std, 1 / float(module.scale))
        columns = Columns(std, variance, least, largest)
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

    def _added_tensors(self, widths: LayerSizes) -> dict[str, Tensor]:
        each = torch.empty(widths["n_outputs"], device="meta")
        return {f"column_{name}": each for name in Columns._fields}

    def _corrupt(self, module: AutoencoderModule, batch: Batch) -> Batch:
        low, high = self._levels()
        level = torch.full_like(batch.x[:, :1], low)
        if low < high:
            level = level + (high - low) * batch.random.uniform(*level.shape)
        columns = Columns(*(getattr(module, f"column_{name}") for name in Columns._fields))
        x = NOISES[self.noise].apply(batch, level, columns)
        if batch.observed is not None:
            x = x * batch.observed
        return batch._replace(x=x, context=level)

    def _inputs(self, batch: Batch) -> Tensor:
        low, high = self._levels()
        if low == high:
            return batch.x
        level = torch.full_like(batch.x[:, :1], low) if batch.context is None else batch.context
        return torch.cat([batch.x, level], dim=1)

    def score_field(self, X: ArrayLike, noise_level: float | None = None) -> NDArray:
        r"""Return the gradient of the log density of the rows, smoothed by the noise.

        .. math:: \nabla \log p_\sigma(x) \approx (r(x) - x) / \sigma^2

        where :math:`p_\sigma` is the density of the training rows with noise
        :math:`N(0, \sigma^2)` added, per column. Exact for the best of all denoisers; it needs a
        code wide enough not to lose anything. Of a range of levels, the network errs by about as
        much at each, which this divides by the level's square: at the lower end of a wide range
        that may be more than the gradient. Fit the level that matters.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN is a value that is missing.
        noise_level : float, default=None
            The level, within the range of the fit; None is that of the fit, if it is one.

        Returns
        -------
        gradient : ndarray of shape (n_samples, n_features)
            In inverse units of X and X's dtype; 0 where a value is missing, and in columns that
            were constant where the noise counts in standard deviations.

        Raises
        ------
        ValueError
            If the noise is not gaussian, the loss not the squared error, the level 0 or outside
            the range of the fit, or left out where that is a range.

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
                f"score_field needs a noise_level above 0 that the fit has seen, between {low:g} "
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
        """Walk from rows to where rows are dense, by reconstructing again and again.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN is a value that is missing, and is filled by the first step.
        n_steps : int, default=10
            How often to reconstruct.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
            In X's units and dtype.

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
