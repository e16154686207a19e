from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from skae import _schema as schema
from skae._sklearn import Interval
from skae._warnings import warn
from skae.autoencoders._conditional_imputation import ConditionalImputation
from skae.autoencoders._deep import DeepAutoencoder
from skae.autoencoders._gaussian import N_DRAWS, importance_bound, kl_from_normal, standard_draws
from skae.autoencoders._generation import GenerativeAutoencoder
from skae.autoencoders._ppca import FLOOR, input_gain, start_at_ppca
from skae.data import MAX_CHUNK_SIZE, Batch, RowDataset
from skae.hyperparameters import (
    NON_NEGATIVE,
    POSITIVE,
    POSITIVE_INT,
    hyperparameters,
    one_of,
    param,
)
from skae.losses import LIKELIHOOD_NAMES, LIKELIHOODS, Loss
from skae.training import AutoencoderModule, LayerSizes

LOG_VARIANCES = (
    -30.0,
    10.0,
)  # range of the posterior's log variance, to avoid overflow far from the data
ACTIVE_KL = 0.01  # nats; mean KL divergence above which a component is active
LOG_2_PI = math.log(2 * math.pi)


@schema.persistent
@hyperparameters
class VariationalAutoencoder(GenerativeAutoencoder, ConditionalImputation, DeepAutoencoder):
    r"""Probabilistic autoencoder: a density model that scores, samples and interpolates.

    The model is :math:`z \sim N(0, I)`, :math:`x \sim p(x | z)` with mean
    :math:`\text{link}(g(z) + B z + c)`. The encoder returns the mean and the log variance of a
    Gaussian :math:`q(z | x)`, and training maximises the evidence lower bound

    .. math:: \log p(x) \ge \frac{1}{L} \sum_{l=1}^{L} \log p(x | z_l)
              - \beta \sum_j \text{KL}(q(z_j | x) \,\|\, N(0, 1)),
              \qquad z_l = \mu(x) + \sigma(x) \odot \epsilon_l, \quad \epsilon_l \sim N(0, I),

    or, with ``objective="iwae"``, the tighter
    :math:`\log \frac{1}{L} \sum_l p(x | z_l) p(z_l) / q(z_l | x)`. Missing values are ignored. With
    a Gaussian likelihood, training starts at probabilistic PCA, for which the bound is exact. A
    later epoch is kept only if its bound on validation samples is significantly better.

    ``transform`` returns the posterior mean, ``inverse_transform`` the mean of x given z.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    noise_variance_ : float or ndarray of shape (n_features,)
        Variance of x given z, in squared units of X; for a Gaussian likelihood only.
    kl_ : ndarray of shape (n_components,)
        Mean KL divergence from the prior of each latent component over the training set (of the
        last call), in nats.
    n_active_ : int
        Number of latent components with a mean KL divergence of more than 0.01 nats.
    {attributes}

    Warns
    -----
    AutoencoderWarning
        If the posterior has collapsed, so that no component of the code depends on the sample; if
        no epoch was better than probabilistic PCA; if the fit was interrupted.

    See Also
    --------
    Autoencoder : Autoencoder without a density.
    sklearn.decomposition.PCA : Probabilistic PCA, the linear case, by ``score_samples``.

    Notes
    -----
    The loss curves are in nats per feature; for a Gaussian likelihood, x is in conditioned units.
    The variance of a Gaussian likelihood is at least 1e-6 times the mean variance of the columns.
    With d > 64 columns, the inputs of the encoder are divided by the root of d / 64; otherwise, the
    effect of its training steps would increase with d. A Bernoulli likelihood accepts any values in
    [0, 1], a Poisson likelihood any non-negative values.

    References
    ----------
    Kingma, D. P. and Welling, M. (2014). "Auto-encoding variational Bayes". International
    Conference on Learning Representations.

    Burda, Y., Grosse, R. and Salakhutdinov, R. (2016). "Importance weighted autoencoders".
    International Conference on Learning Representations.

    Tipping, M. E. and Bishop, C. M. (1999). "Probabilistic principal component analysis". Journal
    of the Royal Statistical Society B 61(3), 611-622.

    Higgins, I. et al. (2017). "beta-VAE". International Conference on Learning Representations.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import VariationalAutoencoder
    >>> X = load_digits().data
    >>> vae = VariationalAutoencoder(8, max_iter=50, random_state=0).fit(X)
    >>> vae.transform(X).shape
    (1797, 8)
    >>> vae.sample(3, random_state=0).shape
    (3, 64)
    >>> vae.interpolate(X[0], X[1], 5).shape
    (5, 64)
    """

    likelihood: str = param(
        LIKELIHOOD_NAMES,
        default="gaussian",
        doc="""
        Distribution of x given z: 'gaussian'; 'bernoulli' for values in [0, 1]; 'poisson' for
        counts.""",
    )
    variance: float | str = param(
        POSITIVE,
        one_of("shared", "feature"),
        default="shared",
        doc="""
        Variance of a Gaussian likelihood: 'shared' learns one value, 'feature' one per column; a
        number is a fixed variance in squared units of X.""",
    )
    beta: float = param(
        NON_NEGATIVE, default=1.0, doc="Weight of the KL divergence in training. It is 1 in scores."
    )
    warm_up: float = param(
        Interval(Real, 0, 1, closed="left"),
        default=0.0,
        doc="""
        Fraction of the training over which ``beta`` increases linearly from 0. Epochs within it are
        no candidates for the best epoch. The validation loss, and ``partial_fit``, use the full
        ``beta``.""",
    )
    free_bits: float = param(
        NON_NEGATIVE,
        default=0.0,
        doc="""
        KL divergence (in nats, batch mean) per latent component below which no penalty applies.""",
    )
    n_draws: int = param(
        POSITIVE_INT,
        default=1,
        doc="Number L of draws per sample and step; at least 2 for ``objective='iwae'``.",
    )
    objective: str = param(
        one_of("elbo", "iwae"), default="elbo", doc="Bound that training maximises."
    )
    n_importance_draws: int | None = param(
        POSITIVE_INT,
        None,
        default=None,
        doc="""
        Number of importance-weighted draws in ``score_samples``. If None, it returns the evidence
        lower bound, estimated by 64 draws in opposite pairs.""",
    )

    _init_name = "probabilistic PCA"
    _loss_parameter = "likelihood"
    _frozen_params = ("variance",)

    # ---------------------------------------------------------------------------- the model

    def _loss(self) -> Loss:
        return LIKELIHOODS[self.likelihood]

    def _warm_up(self) -> float:
        return self.warm_up

    def _inputs(self, batch: Batch) -> Tensor:
        return batch.x * input_gain(batch.x.shape[1])

    def _layer_sizes(self, n_features: int) -> LayerSizes:
        sizes = super()._layer_sizes(n_features)
        return LayerSizes({**sizes, "n_code": 2 * sizes["n_components"]})

    def _check(self) -> None:
        if self.objective == "iwae" and (self.beta != 1 or self.free_bits or self.warm_up):
            raise ValueError(
                "objective='iwae' is a bound without beta, free_bits and warm_up; got "
                f"beta={self.beta}, free_bits={self.free_bits} and warm_up={self.warm_up}. Set "
                "them to 1, 0 and 0, or objective='elbo'."
            )
        if self.objective == "iwae" and self.n_draws < 2:
            raise ValueError(
                "objective='iwae' weights several draws by importance; set n_draws to at least "
                f"2, for example to 50; got n_draws={self.n_draws}."
            )

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        noise: Tensor | None = None
        if self.likelihood == "gaussian" and not isinstance(self.variance, str):
            noise = torch.tensor(self.variance, dtype=torch.float64) / module.scale.double() ** 2
            if not FLOOR <= noise <= 1 / FLOOR**2:
                raise ValueError(
                    f"variance={self.variance} is {float(noise):.3g} times the mean variance of "
                    f"the columns; set it between {FLOOR:g} and {1 / FLOOR**2:g} times that, or "
                    "variance='shared', which learns it."
                )
            module.register_buffer("given_noise", noise.to(module.shift))
        log_variance = torch.zeros(self.n_components_)
        if self._starts_from_pca():
            noise, log_variance = start_at_ppca(module, rows, noise)
        module.posterior_bias = nn.Parameter(log_variance.to(module.shift))
        if self.likelihood == "gaussian" and isinstance(self.variance, str):
            # The floor is added to the learned value.
            learned = torch.ones(()) if noise is None else (noise - FLOOR).clamp_min(FLOOR)
            n = rows.n_features if self.variance == "feature" else 1
            module.log_noise = nn.Parameter(learned.log().to(module.shift).repeat(n))

    def _added_tensors(self, layer_sizes: LayerSizes) -> dict[str, Tensor]:
        bias = nn.Parameter(torch.empty(layer_sizes["n_components"], device="meta"))
        added: dict[str, Tensor] = {"posterior_bias": bias}
        if self.likelihood != "gaussian":
            return added
        if not isinstance(self.variance, str):
            return added | {"given_noise": torch.empty((), device="meta")}
        n = layer_sizes["n_outputs"] if self.variance == "feature" else 1
        return added | {"log_noise": nn.Parameter(torch.empty(n, device="meta"))}

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        super()._check_state(state)
        if "_weights" in state and state["_fit_params"]["likelihood"] == "gaussian":
            noise = schema.either(schema.positive, schema.array("f", "n_features_in_"))
            schema.check_values("a fitted Gaussian", {"noise_variance_": noise}, state)

    def _noise(self, module: AutoencoderModule) -> Tensor:
        if isinstance(self.variance, str):
            return cast(Tensor, module.log_noise).exp() + FLOOR
        return module.get_buffer("given_noise")

    def _posterior(self, module: AutoencoderModule, h: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = h.chunk(2, dim=1)
        log_variance = log_variance + cast(Tensor, module.posterior_bias)
        return mean, log_variance.clamp(*LOG_VARIANCES)

    def _code(self, module: AutoencoderModule, h: Tensor) -> Tensor:
        return h[:, : h.shape[1] // 2]

    def _nll(self, module: AutoencoderModule, z: Tensor, batch: Batch) -> Tensor:
        output = module.decode(z)
        if self.likelihood == "gaussian":
            noise = self._noise(module)
            error = module.loss.cell(output, batch.x.expand_as(output))
            cell = 0.5 * (error / noise + noise.log() + LOG_2_PI)
        else:
            x = torch.addcmul(module.shift, batch.x, module.scale)
            cell = module.loss.nll(output, x.expand_as(output))
        return (cell if batch.observed is None else cell * batch.observed).sum(-1)

    # ------------------------------------------------------------------------------- training

    def _objective(self, module: AutoencoderModule, batch: Batch) -> dict[str, Tensor]:
        mean, log_variance = self._posterior(module, module.encode(self._inputs(batch)))
        epsilon = batch.random.normal(self.n_draws, *mean.shape)
        z, d = mean + (0.5 * log_variance).exp() * epsilon, batch.x.shape[1]
        nll = self._nll(module, z, batch)
        if self.objective == "iwae":
            bound = importance_bound(nll, z, epsilon, log_variance)
            return {"bound": (math.log(self.n_draws) - bound) / d}
        kl = kl_from_normal(mean, log_variance)
        if self.free_bits:
            average = batch.mean(kl)
            kl = average.clamp_min(self.free_bits).expand_as(kl)
        beta: float | Tensor = self.beta
        if self.warm_up:
            beta = beta * (batch.progress / self.warm_up).clamp_max(1)
        return {"reconstruction": nll.mean(0) / d, "divergence": beta * kl.sum(1) / d}

    def _after_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        kl = torch.zeros(self.n_components_, dtype=torch.float64)
        for chunk, h in self._encoded(module, rows):
            kl += rows.weight[chunk].double() @ kl_from_normal(*self._posterior(module, h)).double()
        self.kl_ = (rows.sum(kl) / rows.total_weight).numpy()
        self.n_active_ = int((self.kl_ > ACTIVE_KL).sum())
        if self.likelihood == "gaussian":
            noise = self._noise(module).double().numpy() * self.scale_**2
            self.noise_variance_ = noise if noise.size > 1 else float(noise.item())
        if self.n_active_ == 0:
            warn(
                "The posterior has collapsed: no component of the code depends on the sample. "
                "Lower beta, set warm_up=0.3 or free_bits=0.1, for example, or use init='pca'."
            )

    # ---------------------------------------------------------------------- what is learned

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Return a lower bound on the log likelihood of each sample; higher is better.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Lower bound on log p(x) in nats, summed over the observed cells of each sample, in X's
            units (a density for a Gaussian likelihood); 0 for a sample without an observed value.
            The evidence lower bound, or the importance-weighted one of ``n_importance_draws``
            draws, by the same draws for every sample.
        """
        return super().score_samples(X)

    def _score(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        mean, log_variance = self._posterior(module, module.encode(self._inputs(batch)))
        paired = self.n_importance_draws is None
        draws = standard_draws(self.n_importance_draws or N_DRAWS, mean, paired=paired)
        std, parts = (0.5 * log_variance).exp(), []
        chunks: Sequence[Tensor] = [draws]
        if not torch.compiler.is_exporting():  # to a graph for any number of samples
            chunks = draws.split(max(1, MAX_CHUNK_SIZE // batch.x.numel()))
        for epsilon in chunks:
            z = mean + std * epsilon
            nll = self._nll(module, z, batch)
            parts.append(nll.sum(0) if paired else importance_bound(nll, z, epsilon, log_variance))
        if paired:
            bound = -sum(parts) / len(draws) - kl_from_normal(mean, log_variance).sum(1)
        else:
            bound = torch.stack(parts).logsumexp(0) - math.log(len(draws))
        observed = torch.ones_like(batch.x) if batch.observed is None else batch.observed
        if self.likelihood == "gaussian":
            bound = bound - observed.sum(1) * module.scale.log()
        return torch.where(observed.any(1), bound, 0)

    def posterior(self, X: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return the mean and standard deviation of q(z | x) for each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        mean : ndarray of shape (n_samples, n_components)
            What ``transform`` returns.
        std : ndarray of shape (n_samples, n_components)
            Standard deviation of each component.
        """

        def both(fitted: Self, module: AutoencoderModule, batch: Batch) -> Tensor:
            h = module.encode(fitted._inputs(batch))
            mean, log_variance = fitted._posterior(module, h)
            return torch.cat([mean, (0.5 * log_variance).exp()], dim=1)

        mean, std = np.split(self._apply(both, X), 2, axis=1)
        return mean, std
