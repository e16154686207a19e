from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skae import _schema as schema
from skae._numeric_input import as_numeric
from skae._sklearn import Interval
from skae._validation import (
    check_array,
    check_count,
    check_finite_result,
    check_fits,
    random_state_of,
)
from skae.autoencoders._conditional_imputation import Conditional
from skae.autoencoders._deep import DeepAutoencoder
from skae.autoencoders._gaussian import N_DRAWS, kl_from_normal, standard_draws
from skae.autoencoders._interpolation import arc
from skae.autoencoders._ppca import FLOOR, input_gain, start_at_ppca
from skae.data import FLOATS, MAX_CHUNK_SIZE, Batch, DataSource, RowDataset
from skae.exceptions import AutoencoderWarning
from skae.hyperparameters import (
    NON_NEGATIVE,
    POSITIVE,
    POSITIVE_INT,
    hyperparameters,
    one_of,
    param,
)
from skae.losses import LIKELIHOODS, Loss
from skae.training import AutoencoderModule, LayerSizes

LOG_VARIANCES = (-30.0, 10.0)  # of the posterior: far-away rows must not overflow
ACTIVE = 0.01  # nats: a component whose posterior says less than this says nothing
LARGEST_COUNT = 9e18  # mean of a Poisson distribution that numpy draws from
LOG_2_PI = math.log(2 * math.pi)


@schema.persistent
@hyperparameters
class VariationalAutoencoder(Conditional, DeepAutoencoder):
    r"""Probabilistic autoencoder: a density of the rows, to score, sample and interpolate.

    The model is :math:`z \sim N(0, I)`, :math:`x \sim p(x | z)` with mean
    :math:`\text{link}(g(z) + B z + c)`. The encoder answers the mean and the log variance of a
    Gaussian :math:`q(z | x)`, and training maximises the evidence lower bound

    .. math:: \log p(x) \ge \frac{1}{L} \sum_{l=1}^{L} \log p(x | z_l)
              - \beta \sum_j \text{KL}(q(z_j | x) \,\|\, N(0, 1)),
              \qquad z_l = \mu(x) + \sigma(x) \odot \epsilon_l, \quad \epsilon_l \sim N(0, I),

    or, with ``objective="iwae"``, the tighter
    :math:`\log \frac{1}{L} \sum_l p(x | z_l) p(z_l) / q(z_l | x)`. Only observed cells count.
    With a Gaussian likelihood it starts as probabilistic PCA, for which the bound is exact, and
    leaves it only for an epoch with a better bound on rows held out.

    ``transform`` returns the posterior mean, ``inverse_transform`` the mean of x given z.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    noise_variance_ : float or ndarray of shape (n_features,)
        Variance of x given z, in squared units of X; with a Gaussian likelihood only.
    kl_ : ndarray of shape (n_components,)
        What each component of the code says about a row: the mean over the training rows (of the
        last call) of its divergence from the prior, in nats.
    n_active_ : int
        Components that say more than 0.01 nats.
    {attributes}

    Warns
    -----
    AutoencoderWarning
        If the posterior has collapsed: no component of the code depends on the row; if no epoch
        was better than probabilistic PCA; if the fit was interrupted.

    See Also
    --------
    Autoencoder : Without a distribution.
    sklearn.decomposition.PCA : Its ``score_samples`` is the linear case.

    Notes
    -----
    The loss curves are in nats per feature, for x in conditioned units where the likelihood is
    Gaussian. The variance of a Gaussian likelihood does not fall below 1e-6 times the columns'
    mean variance. The encoder sees rows of more than 64 columns divided by the root of d / 64,
    without which its steps would grow with their width. Rows that a Bernoulli likelihood is asked
    about may be anything in [0, 1], those of a Poisson likelihood anything of at least 0.

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
        one_of(*LIKELIHOODS),
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
        Of a Gaussian likelihood: 'shared' learns one number, 'feature' one per column; a number is
        the variance in squared units of X.""",
    )
    beta: float = param(
        NON_NEGATIVE, default=1.0, doc="Weight of the divergence in training. Scores are at 1."
    )
    warm_up: float = param(
        Interval(Real, 0, 1, closed="left"),
        default=0.0,
        doc="""
        Share of the training over which ``beta`` rises from 0; no epoch of it counts as the best,
        and all epochs are judged at the full ``beta``, by which ``partial_fit`` trains.""",
    )
    free_bits: float = param(
        NON_NEGATIVE,
        default=0.0,
        doc="""
        Nats that each component may say, on average over a batch, at no cost.""",
    )
    n_draws: int = param(
        POSITIVE_INT,
        default=1,
        doc="Draws per row and step, L; at least 2 for 'iwae', which weighs them by importance.",
    )
    objective: str = param(one_of("elbo", "iwae"), default="elbo", doc="What training maximises.")
    n_importance_draws: int | None = param(
        POSITIVE_INT,
        None,
        default=None,
        doc="""
        How ``score_samples`` bounds log p(x): with so many importance-weighted draws; None is the
        evidence lower bound, by 64 draws in opposite pairs.""",
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
        widths = super()._layer_sizes(n_features)
        return LayerSizes({**widths, "n_code": 2 * widths["n_components"]})

    def _check(self) -> None:
        if self.objective == "iwae" and (self.beta != 1 or self.free_bits or self.warm_up):
            raise ValueError(
                "objective='iwae' is a bound of its own, which knows neither beta nor free_bits "
                f"nor warm_up; got beta={self.beta}, free_bits={self.free_bits} and "
                f"warm_up={self.warm_up}. Use 1, 0 and 0, or objective='elbo'."
            )
        if self.objective == "iwae" and self.n_draws < 2:
            raise ValueError(
                "objective='iwae' weighs several draws by importance; set n_draws to 2 or more "
                f"(50, say); got n_draws={self.n_draws}."
            )

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        noise: Tensor | None = None
        if self.likelihood == "gaussian" and not isinstance(self.variance, str):
            noise = torch.tensor(self.variance, dtype=torch.float64) / module.scale.double() ** 2
            if not FLOOR <= noise <= 1 / FLOOR**2:
                raise ValueError(
                    f"variance={self.variance} is {float(noise):.3g} times the columns' mean "
                    f"variance; give one between {FLOOR:g} and {1 / FLOOR**2:g} times it, or "
                    "variance='shared', which learns it."
                )
            module.register_buffer("given_noise", noise.to(module.shift))
        log_variance = torch.zeros(self.n_components_)
        if self._starts_from_pca():
            noise, log_variance = start_at_ppca(module, rows, noise)
        module.posterior_bias = nn.Parameter(log_variance.to(module.shift))
        if self.likelihood == "gaussian" and isinstance(self.variance, str):
            # The floor is added to what is learned.
            learned = torch.ones(()) if noise is None else (noise - FLOOR).clamp_min(FLOOR)
            n = rows.n_features if self.variance == "feature" else 1
            module.log_noise = nn.Parameter(learned.log().to(module.shift).repeat(n))

    def _added_tensors(self, widths: LayerSizes) -> dict[str, Tensor]:
        bias = nn.Parameter(torch.empty(widths["n_components"], device="meta"))
        added: dict[str, Tensor] = {"posterior_bias": bias}
        if self.likelihood != "gaussian":
            return added
        if not isinstance(self.variance, str):
            return added | {"given_noise": torch.empty((), device="meta")}
        n = widths["n_outputs"] if self.variance == "feature" else 1
        return added | {"log_noise": nn.Parameter(torch.empty(n, device="meta"))}

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        super()._check_state(state)
        if "_weights" in state and state["_fit_params"]["likelihood"] == "gaussian":
            noise = schema.either(schema.positive, schema.array("f", "n_features_in_"))
            schema.check_values("a fitted Gaussian", {"noise_variance_": noise}, state)

    def _noise(self, module: AutoencoderModule) -> Tensor:
        """Return the variance of x given z, in conditioned units, (), (1,) or (d,)."""
        if isinstance(self.variance, str):
            return module.get_parameter("log_noise").exp() + FLOOR
        return module.get_buffer("given_noise")

    def _posterior(self, module: AutoencoderModule, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of q(z | x), (n, k) each."""
        mean, log_variance = h.chunk(2, dim=1)
        log_variance = log_variance + module.get_parameter("posterior_bias")
        return mean, log_variance.clamp(*LOG_VARIANCES)

    def _code(self, module: AutoencoderModule, h: Tensor) -> Tensor:
        return h[:, : h.shape[1] // 2]

    def _nll(self, module: AutoencoderModule, z: Tensor, batch: Batch) -> Tensor:
        """Return -log p(x | z) of each row over its observed cells, (..., n), for z (..., n, k)."""
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

    def _objective(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        mean, log_variance = self._posterior(module, module.encode(self._inputs(batch)))
        epsilon = batch.random.normal(self.n_draws, *mean.shape)
        if self.objective == "iwae":
            bound = self._importance_bound(module, batch, mean, log_variance, epsilon)
            return (math.log(self.n_draws) - bound) / batch.x.shape[1]
        z = mean + (0.5 * log_variance).exp() * epsilon
        kl = kl_from_normal(mean, log_variance)
        if self.free_bits:
            average = batch.weight @ kl / batch.weight.sum()
            kl = average.clamp_min(self.free_bits).expand_as(kl)
        beta: float | Tensor = self.beta
        if self.warm_up:
            beta = beta * (batch.progress / self.warm_up).clamp_max(1)
        nll = self._nll(module, z, batch).mean(0)
        return (nll + beta * kl.sum(1)) / batch.x.shape[1]

    def _importance_bound(
        self,
        module: AutoencoderModule,
        batch: Batch,
        mean: Tensor,
        log_variance: Tensor,
        epsilon: Tensor,
    ) -> Tensor:
        """Return log of the sum over draws of p(x, z) / q(z | x), (n,), for epsilon (L, ..., k)."""
        z = mean + (0.5 * log_variance).exp() * epsilon
        prior_to_posterior = 0.5 * (epsilon.square() - z.square() + log_variance).sum(-1)
        return (prior_to_posterior - self._nll(module, z, batch)).logsumexp(0)

    def _after_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        kl = torch.zeros(self.n_components_, dtype=torch.float64)
        for chunk, h in self._encoded(module, rows):
            kl += rows.weight[chunk].double() @ kl_from_normal(*self._posterior(module, h)).double()
        self.kl_ = (kl / rows.weight.double().sum()).numpy()
        self.n_active_ = int((self.kl_ > ACTIVE).sum())
        if self.likelihood == "gaussian":
            noise = self._noise(module).double().numpy() * self.scale_**2
            self.noise_variance_ = noise if noise.size > 1 else float(noise.item())
        if self.n_active_ == 0:
            warnings.warn(
                "The posterior has collapsed: no component of the code depends on the row. Lower "
                "beta, set warm_up (0.3, say) or free_bits (0.1, say), or start from 'pca'.",
                AutoencoderWarning,
                stacklevel=6,
            )

    # ---------------------------------------------------------------------- what is learned

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Bound the log likelihood of each row from below; higher is better.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN is a value that is missing.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Bound on log p(x) in nats, of the observed cells of each row together, for x in its own
            units (a density, with a Gaussian likelihood); 0 for a row with nothing observed. By
            the same draws for every row: the evidence lower bound, or the importance-weighted one
            of ``n_importance_draws`` draws.
        """
        return super().score_samples(X)

    def _score(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        mean, log_variance = self._posterior(module, module.encode(self._inputs(batch)))
        paired = self.n_importance_draws is None
        draws = standard_draws(self.n_importance_draws or N_DRAWS, mean, paired=paired)
        at_once = max(1, MAX_CHUNK_SIZE // batch.x.numel())
        if paired:
            std = (0.5 * log_variance).exp()
            nll = sum(
                self._nll(module, mean + std * epsilon, batch).sum(0)
                for epsilon in draws.split(at_once)
            ) / len(draws)
            bound = -nll - kl_from_normal(mean, log_variance).sum(1)
        else:
            parts = [
                self._importance_bound(module, batch, mean, log_variance, epsilon)
                for epsilon in draws.split(at_once)
            ]
            bound = torch.stack(parts).logsumexp(0) - math.log(len(draws))
        seen = torch.ones_like(batch.x) if batch.observed is None else batch.observed
        if self.likelihood == "gaussian":
            bound = bound - seen.sum(1) * module.scale.log()
        return torch.where(seen.any(1), bound, 0)

    def posterior(self, X: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return the Gaussian that the encoder answers for each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN is a value that is missing.

        Returns
        -------
        mean : ndarray of shape (n_samples, n_components)
            What ``transform`` returns.
        std : ndarray of shape (n_samples, n_components)
            Standard deviation of each component.
        """
        check_is_fitted(self)
        fitted = self._with_fit_params()

        def both(module: AutoencoderModule, batch: Batch) -> Tensor:
            h = module.encode(fitted._inputs(batch))
            mean, log_variance = fitted._posterior(module, h)
            return torch.cat([mean, (0.5 * log_variance).exp()], dim=1)

        mean, std = np.split(
            check_finite_result(self._map(self._fitted_table(X), both), "X"), 2, axis=1
        )
        return mean, std

    def sample(
        self, n_samples: int = 1, random_state: Any = None, *, noise: bool = True
    ) -> NDArray:
        """Draw rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            How many.
        random_state : int, RandomState instance or None, default=None
            Determines the draws; None draws anew at each call.
        noise : bool, default=True
            Whether to draw x given z; else its mean is returned.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            In the units of the training rows; zeros and ones from a Bernoulli likelihood, counts
            from a Poisson likelihood.

        Raises
        ------
        ValueError
            If ``n_samples`` is not a positive integer, or asks for more than the memory holds.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        check_fits((n_samples, max(self.n_features_in_, self.n_components_)), "n_samples")
        rng = random_state_of(random_state)
        mean = self.inverse_transform(rng.normal(size=(n_samples, self.n_components_)))
        return check_finite_result(self._with_noise(mean, rng), "the draws") if noise else mean

    def _with_noise(self, mean: NDArray, rng: np.random.RandomState) -> NDArray:
        """Draw rows given their means."""
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
        self, a: ArrayLike, b: ArrayLike, n: int = 10, method: str = "linear"
    ) -> NDArray:
        """Walk from one row to another through the code.

        Parameters
        ----------
        a, b : array-like of shape (n_features,)
            Rows; NaN is a value that is missing.
        n : int, default=10
            Rows on the way, both ends included; at least 2.
        method : {'linear', 'spherical'}, default='linear'
            Along a line, or along an arc round the origin, where the prior's mass is.

        Returns
        -------
        X : ndarray of shape (n, n_features)
            Decoded codes, evenly spaced from that of `a` to that of `b`; float32 if both are.

        Raises
        ------
        ValueError
            If `a` and `b` are not two rows of the right length, `n` is less than 2, the method
            unknown, or an arc is asked for between opposite codes.
        """
        check_is_fitted(self)
        first, last = (
            check_array(
                as_numeric(np.ma.asanyarray(row), name),
                dtype=FLOATS,
                ensure_all_finite="allow-nan",
                ensure_2d=False,
                allow_nd=True,
                ensure_min_samples=0,
                ensure_min_features=0,
                input_name=name,
            )
            for name, row in (("a", a), ("b", b))
        )
        if not first.shape == last.shape == (self.n_features_in_,):
            raise ValueError(
                f"interpolate needs two rows of {self.n_features_in_} values; got shapes "
                f"{first.shape} and {last.shape}."
            )
        ends = np.stack([first, last])
        if not (isinstance(n, (int, np.integer)) and n >= 2):
            raise ValueError(f"n must be an integer of at least 2; got {n!r}.")
        check_fits((n, max(self.n_features_in_, self.n_components_)), "n")
        if not (isinstance(method, str) and method in ("linear", "spherical")):
            raise ValueError(f"method must be 'linear' or 'spherical'; got {method!r}.")
        start, end = check_finite_result(
            self._map(DataSource(ends), self._with_fit_params()._encode), "a and b"
        )
        t = np.linspace(0, 1, n, dtype=ends.dtype)[:, None]
        if method == "linear":
            path = (1 - t) * start + t * end
        else:
            path = check_finite_result(arc(start, end, t), "the arc")
        return self.inverse_transform(path)
