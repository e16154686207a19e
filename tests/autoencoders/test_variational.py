import copy

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits, load_sample_image
from sklearn.decomposition import PCA
from torch.distributions import Normal, kl_divergence

from skae import MLP, AutoencoderWarning, VariationalAutoencoder
from skae.autoencoders._gaussian import kl_from_normal, log_mixture, standard_draws
from skae.autoencoders._interpolation import _arc
from skae.data import Batch, Random
from skae.training import total_of

PLAIN = {"early_stopping": False, "random_state": 0, "max_iter": 5}
STILL = PLAIN | {"max_iter": 1, "learning_rate": 1e-12}
LINEAR = {"architecture": MLP(hidden_layer_sizes=())}


def patches(name):
    image = load_sample_image(name).astype(float)
    corners = [(i, j) for i in range(0, 400, 10) for j in range(0, 600, 10)]
    return np.array([image[i : i + 4, j : j + 4].ravel() for i, j in corners])


@pytest.fixture(scope="module")
def digits():
    return load_digits().data


REAL = {
    "digits": lambda: load_digits().data,
    "china": lambda: patches("china.jpg"),
    "flower": lambda: patches("flower.jpg"),
}


def test_kl_and_its_gradient_are_the_closed_form(rng):
    mean, log_variance = (torch.from_numpy(rng.normal(size=(5, 3))).requires_grad_() for _ in "ab")
    kl = kl_from_normal(mean, log_variance)
    kl.sum().backward()
    m, v = mean.detach(), log_variance.detach()
    torch.testing.assert_close(kl, kl_divergence(Normal(m, (v / 2).exp()), Normal(0.0, 1.0)))
    torch.testing.assert_close(mean.grad, m)
    torch.testing.assert_close(log_variance.grad, (v.exp() - 1) / 2)
    assert mean.grad.abs().min() > 0
    assert log_variance.grad.abs().min() > 0


@pytest.mark.full
@pytest.mark.parametrize(
    ("k", "name"),
    [
        (1, "digits"),
        pytest.param(20, "digits", marks=pytest.mark.full),
        (5, "china"),
        pytest.param(1, "flower", marks=pytest.mark.full),
        pytest.param(20, "flower", marks=pytest.mark.full),
    ],
)
def test_it_starts_as_probabilistic_pca(name, k):
    X = REAL[name]()
    vae, pca = VariationalAutoencoder(k, **STILL).fit(X), PCA(k).fit(X)
    assert vae.score(X) == pytest.approx(pca.score(X), abs=1e-3 * X.shape[1])
    np.testing.assert_allclose(vae.score_samples(X), pca.score_samples(X), rtol=0.02, atol=1)
    assert vae.noise_variance_ == pytest.approx(pca.noise_variance_, rel=1e-2)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:No epoch of VariationalAutoencoder had")
@pytest.mark.parametrize(
    ("name", "init"),
    [
        pytest.param("digits", "random", marks=pytest.mark.full),
        pytest.param("china", "random", marks=pytest.mark.full),
        pytest.param("flower", "random", marks=pytest.mark.full),
        ("flower", "pca"),
    ],
)
def test_a_linear_one_becomes_probabilistic_pca(name, init):
    X = REAL[name]()
    vae = VariationalAutoencoder(4, init=init, **LINEAR, random_state=0).fit(X)
    assert vae.n_iter_ > 10
    assert vae.score(X) == pytest.approx(PCA(4).fit(X).score(X), abs=0.01 * X.shape[1])


def test_a_linear_one_becomes_probabilistic_pca_soon_at_a_high_learning_rate(digits):
    steps = {"learning_rate": 0.02, "batch_size": 64, "max_iter": 30}
    vae = VariationalAutoencoder(4, init="random", **LINEAR, **steps, random_state=0).fit(digits)
    assert vae.score(digits) == pytest.approx(PCA(4).fit(digits).score(digits), abs=0.01 * 64)


def test_rows_of_more_columns_start_there_too():
    """Beyond 64 columns, the encoder sees rows at another scale."""
    image = load_sample_image("china.jpg").astype(float)
    corners = [(i, j) for i in range(0, 300, 8) for j in range(0, 600, 20)]
    X = np.array([image[i : i + 6, j : j + 6].ravel() for i, j in corners])
    vae, pca = VariationalAutoencoder(5, **STILL).fit(X), PCA(5).fit(X)
    assert X.shape[1] == 108
    assert vae.score(X) == pytest.approx(pca.score(X), abs=1e-3 * 108)


def exact_score(vae, X):
    """Return log p(x) of a linear decoder by the formula of a normal distribution."""
    k, d = vae.n_components_, X.shape[1]
    origin = vae.inverse_transform(np.zeros((1, k)))
    W = (vae.inverse_transform(np.eye(k)) - origin).T
    S = W @ W.T + vae.noise_variance_ * np.eye(d)
    return stats.multivariate_normal(origin[0], S, allow_singular=True).logpdf(X)


@pytest.mark.full
def test_bounds_rise_with_the_draws_and_stay_under_the_exact_value(digits):
    """A linear decoder whose encoder is not yet good: there is a gap to close."""
    digits = digits[:600]
    hasty = PLAIN | LINEAR | {"init": "random", "max_iter": 3}
    vae = VariationalAutoencoder(4, **hasty).fit(digits)
    exact = exact_score(vae, digits)
    bounds = [vae.score_samples(digits)]
    for n in (1, 10, 100, 1000):
        vae = VariationalAutoencoder(4, **hasty, n_importance_draws=n).fit(digits)
        bounds.append(vae.score_samples(digits))
    means = [b.mean() for b in bounds]
    assert means[1] < means[2] < means[3] < means[4]
    assert means[0] < means[4]
    error = (exact - bounds[-1]).std() / np.sqrt(len(digits))
    assert means[-1] <= exact.mean() + 3 * error
    assert exact.mean() - means[-1] < 0.5 * (exact.mean() - means[0])
    assert means[0] <= exact.mean()


@pytest.mark.full
def test_at_probabilistic_pca_both_bounds_are_tight(digits):
    for parameters in ({}, {"n_importance_draws": 50}):
        vae = VariationalAutoencoder(4, **STILL, **parameters).fit(digits)
        assert vae.score(digits) == pytest.approx(exact_score(vae, digits).mean(), abs=0.05)


def test_objective_is_minus_the_bound_per_feature(digits):
    """Many draws of the objective average to the bound of score_samples, in nats per feature."""
    vae = VariationalAutoencoder(3, **PLAIN).fit(digits).set_params(n_draws=400)
    module = vae._module_in(np.dtype(np.float64))
    x = torch.from_numpy((digits[:20] - vae.mean_) / vae.scale_)
    batch = Batch(x, None, torch.ones(20), torch.ones(()), random=Random(0, x))
    with torch.no_grad():
        loss = total_of(vae._objective(module, batch))
    bound = -64 * (loss.numpy() + np.log(vae.scale_))
    np.testing.assert_allclose(bound, vae.score_samples(digits[:20]), atol=0.5)


@pytest.mark.parametrize("n_draws", [2, 5])
def test_importance_objective(digits, n_draws):
    parameters = {"n_draws": n_draws, "n_importance_draws": n_draws}
    vae = VariationalAutoencoder(3, objective="iwae", **parameters, **PLAIN).fit(digits)
    module = vae._module_in(np.dtype(np.float64))
    x = torch.from_numpy((digits - vae.mean_) / vae.scale_)
    batch = Batch(x, None, torch.ones(len(x)), torch.ones(()), random=Random(0, x))
    with torch.no_grad():
        loss = total_of(vae._objective(module, batch))
    bound = -64 * (loss.mean() + np.log(vae.scale_))
    assert float(bound) == pytest.approx(vae.score(digits), abs=1.5)


def test_beta_free_bits_and_warm_up_weigh_the_divergence(digits):
    x = None
    losses = {}
    for name, parameters in {
        "none": {"beta": 0.0},
        "plain": {},
        "double": {"beta": 2.0},
        "rising": {"warm_up": 0.5},
        "free": {"free_bits": 100.0},
    }.items():
        vae = VariationalAutoencoder(3, **parameters, **STILL).fit(digits)
        x = torch.from_numpy((digits[:50] - vae.mean_) / vae.scale_).float()
        for progress in (0.25, 1.0):
            batch = Batch(x, None, torch.ones(50), torch.tensor(progress), random=Random(0, x))
            with torch.no_grad():
                losses[name, progress] = total_of(vae._objective(vae.module_, batch)).mean()
    kl = losses["plain", 1.0] - losses["none", 1.0]
    assert kl > 0
    torch.testing.assert_close(losses["double", 1.0] - losses["plain", 1.0], kl)
    torch.testing.assert_close(losses["rising", 0.25] - losses["none", 1.0], kl / 2)
    torch.testing.assert_close(losses["rising", 1.0], losses["plain", 1.0])
    torch.testing.assert_close(losses["free", 1.0] - losses["none", 1.0], torch.tensor(300 / 64))


def test_no_warm_up_may_be_an_integer(rng):
    X = rng.normal(size=(40, 3))
    one, other = (
        VariationalAutoencoder(2, warm_up=zero, init="random", max_iter=2, random_state=0)
        .fit(X)
        .score(X)
        for zero in (0, 0.0)
    )
    assert one == other


def test_no_epoch_of_the_warm_up_is_the_best(digits):
    vae = VariationalAutoencoder(3, warm_up=0.5, max_iter=10, init="random", random_state=0)
    vae.fit(digits)
    assert vae.best_epoch_ > 5


@pytest.mark.full
def test_units_of_the_score(digits):
    """Of c * X + b, the density is that of X over c to the number of features."""
    vae = VariationalAutoencoder(3, **STILL)
    at_one = vae.fit(digits).score(digits)
    assert vae.fit(10 * digits + 3).score(10 * digits + 3) == pytest.approx(
        at_one - 64 * np.log(10), rel=1e-4
    )


def test_only_observed_cells_are_scored(digits):
    vae = VariationalAutoencoder(3, **STILL).fit(digits)
    X_missing = digits[:3].copy()
    X_missing[0, :32] = np.nan
    X_missing[1] = np.nan
    scores = vae.score_samples(X_missing)
    assert scores[1] == 0
    assert scores[2] == pytest.approx(vae.score_samples(digits[2:3])[0])
    assert scores[0] > vae.score_samples(digits[:1])[0]


@pytest.mark.full
@pytest.mark.parametrize("variance", ["shared", "feature", 4.0])
def test_variances(digits, variance):
    vae = VariationalAutoencoder(8, variance=variance, max_iter=15, random_state=0).fit(digits)
    left = ((vae.reconstruct(digits) - digits) ** 2).mean(0)
    if variance == 4.0:
        assert vae.noise_variance_ == pytest.approx(4.0)
    elif variance == "shared":
        assert vae.noise_variance_ == pytest.approx(left.mean(), rel=0.3)
    else:
        assert (
            np.corrcoef(np.log(left[left > 1]), np.log(vae.noise_variance_[left > 1]))[0, 1] > 0.9
        )


@pytest.mark.full
def test_variance_has_a_floor(rng):
    X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6))
    vae = VariationalAutoencoder(2, **PLAIN | {"max_iter": 60, "learning_rate": 1e-2}).fit(X)
    assert 1e-6 * vae.scale_**2 <= vae.noise_variance_ < 1e-2 * vae.scale_**2
    assert np.isfinite(vae.score(X))


@pytest.mark.full
@pytest.mark.parametrize(
    "likelihood", [pytest.param("bernoulli", marks=pytest.mark.full), "poisson"]
)
def test_other_likelihoods_are_probabilities(likelihood):
    """Of a model without a code, the bound is the log probability, as computed by scipy."""
    rng = np.random.default_rng(0)
    X = (rng.random((300, 4)) < 0.3) if likelihood == "bernoulli" else rng.poisson(3.0, (300, 4))
    vae = VariationalAutoencoder(1, likelihood=likelihood, beta=20.0, **PLAIN | {"max_iter": 50})
    with pytest.warns(AutoencoderWarning, match="posterior has collapsed"):
        vae.fit(X)
    mean = vae.reconstruct(X)
    known = stats.bernoulli if likelihood == "bernoulli" else stats.poisson
    expected = known(mean).logpmf(X).sum(1)
    np.testing.assert_allclose(vae.score_samples(X), expected, atol=0.3)
    drawn = vae.sample(500, random_state=0)
    assert set(np.unique(drawn)) <= set(range(30))
    np.testing.assert_allclose(drawn.mean(0), X.mean(0), atol=0.4)


def test_samples_have_the_moments_of_the_model(digits):
    vae = VariationalAutoencoder(8, **STILL).fit(digits)
    X = vae.sample(20000, random_state=0)
    np.testing.assert_allclose(X.mean(0), digits.mean(0), atol=0.15)
    np.testing.assert_allclose(np.cov(X.T), PCA(8).fit(digits).get_covariance(), atol=0.9)
    assert np.array_equal(vae.sample(3, random_state=1), vae.sample(3, random_state=1))
    assert not np.array_equal(vae.sample(3), vae.sample(3))
    clean = vae.sample(2000, random_state=0, noise=False)
    assert np.linalg.matrix_rank(clean - clean.mean(0), tol=1e-3) == 8


def test_posterior_is_that_of_probabilistic_pca(digits):
    vae, pca = VariationalAutoencoder(4, **STILL).fit(digits), PCA(4).fit(digits)
    mean, std = vae.posterior(digits)
    assert np.array_equal(mean, vae.transform(digits))
    expected = np.sqrt(pca.noise_variance_ / pca.explained_variance_)
    np.testing.assert_allclose(std, np.broadcast_to(expected, std.shape), rtol=1e-2)
    scale = np.sqrt(pca.explained_variance_ - pca.noise_variance_) / pca.explained_variance_
    np.testing.assert_allclose(mean, pca.transform(digits) * scale, atol=1e-2)
    kl = kl_from_normal(torch.from_numpy(mean), torch.from_numpy(2 * np.log(std))).mean(0)
    np.testing.assert_allclose(vae.kl_, kl, rtol=1e-4)


# --------------------------------------------------------------------- given what is observed


def test_the_density_of_a_mixture(rng):
    z, mean, log_variance = (torch.from_numpy(rng.normal(size=(4, 3, 2))) for _ in "abc")
    each = Normal(mean, (log_variance / 2).exp()).log_prob(z[:, None]).sum(-1)  # (L, L, n)
    expected = each.logsumexp(1)
    found = log_mixture(z, mean, log_variance) - np.log(2 * np.pi)
    torch.testing.assert_close(found, expected)


@pytest.fixture(scope="module")
def plane():
    """Return a model of rows near a plane, incomplete rows, and the distribution of these."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3)) @ rng.normal(size=(3, 6)) + 0.3 * rng.normal(size=(3000, 6)) + 5
    vae, pca = VariationalAutoencoder(3, **LINEAR, **STILL).fit(X), PCA(3).fit(X)
    X_missing = np.where(rng.random((200, 6)) < 0.3, np.nan, X[:200])
    X_missing[0] = np.nan
    S, mean, std = pca.get_covariance(), X_missing.copy(), np.zeros_like(X_missing)
    for i, row in enumerate(X_missing):
        h, o = np.flatnonzero(np.isnan(row)), np.flatnonzero(~np.isnan(row))
        gain = S[np.ix_(h, o)] @ np.linalg.inv(S[np.ix_(o, o)])
        mean[i, h] = pca.mean_[h] + gain @ (row[o] - pca.mean_[o])
        std[i, h] = np.sqrt(np.diag(S[np.ix_(h, h)] - gain @ S[np.ix_(o, h)]))
    return vae, X_missing, mean, std


def test_missing_values_are_filled_by_the_conditional_mean(plane):
    vae, X_missing, mean, std = plane
    missing = np.isnan(X_missing)
    filled = vae.conditional_mean(X_missing)
    np.testing.assert_array_equal(filled[~missing], X_missing[~missing])
    residual = (filled - mean)[missing] / std[missing]
    assert np.sqrt((residual**2).mean()) < 0.3
    by_one = (vae.reconstruct(X_missing) - mean)[missing] / std[missing]
    assert (residual**2).mean() < 0.1 * (by_one**2).mean()
    alone = np.vstack([vae.conditional_mean(row[None]) for row in X_missing[:5]])
    np.testing.assert_allclose(filled[:5], alone, rtol=1e-4)
    complete = np.where(missing, mean, X_missing)
    np.testing.assert_array_equal(vae.conditional_mean(complete), complete)


def test_draws_have_the_conditional_moments(plane):
    vae, X_missing, mean, std = plane
    missing = np.isnan(X_missing)
    draws = vae.conditional_sample(X_missing, 100, random_state=0)
    assert draws.shape == (100, 200, 6)
    np.testing.assert_array_equal(draws[7][~missing], X_missing[~missing])
    residual = ((draws - mean) / np.where(missing, std, 1))[:, missing]
    assert abs(residual.mean()) < 0.03
    assert residual.std() == pytest.approx(1, abs=0.05)
    assert (np.abs(residual) < 1.645).mean() == pytest.approx(0.9, abs=0.03)
    again = vae.conditional_sample(X_missing, 100, random_state=0)
    np.testing.assert_array_equal(draws, again)
    assert (vae.conditional_sample(X_missing, 2, random_state=1) != draws[:2])[:, missing].all()
    quiet = vae.conditional_sample(X_missing, 100, random_state=0, noise=False)
    assert quiet[:, missing].var(0).mean() < draws[:, missing].var(0).mean() - 0.8 * 0.3**2


@pytest.mark.full
@pytest.mark.parametrize(
    "likelihood", ["bernoulli", pytest.param("poisson", marks=pytest.mark.full)]
)
def test_missing_counts_and_probabilities(likelihood):
    rng = np.random.default_rng(0)
    rate = np.exp(rng.normal(size=(300, 1)) + np.zeros(5))
    X = (
        (rate > rng.exponential(size=rate.shape))
        if likelihood == "bernoulli"
        else rng.poisson(rate)
    )
    vae = VariationalAutoencoder(1, likelihood=likelihood, max_iter=30, random_state=0)
    vae.fit(X.astype(float))
    X_missing = X.astype(float)
    X_missing[:, 0] = np.nan
    filled = vae.conditional_mean(X_missing)[:, 0]
    assert np.corrcoef(filled, X[:, 1:].mean(1))[0, 1] > 0.8
    draws = vae.conditional_sample(X_missing, 50, random_state=0)[:, :, 0]
    assert (draws == np.rint(draws)).all()
    assert draws.min() >= 0
    np.testing.assert_allclose(draws.mean(), filled.mean(), rtol=0.1)


def test_interpolation(digits):
    vae = VariationalAutoencoder(4, **PLAIN).fit(digits)
    Z = vae.transform(digits[:2])
    path = vae.interpolate(digits[0], digits[1], 5)
    np.testing.assert_allclose(path[[0, -1]], vae.inverse_transform(Z), atol=1e-6)
    np.testing.assert_allclose(path[2], vae.inverse_transform(Z.mean(0)[None])[0], atol=1e-6)
    curved = vae.interpolate(digits[0], digits[1], 5, method="spherical")
    np.testing.assert_allclose(curved[[0, -1]], path[[0, -1]], atol=1e-6)
    assert not np.allclose(curved[2], path[2])


@pytest.mark.parametrize("method", ["linear", "spherical"])
def test_a_walk_has_the_dtype_of_its_ends(digits, method):
    vae = VariationalAutoencoder(3, **STILL).fit(digits)
    for dtype in (np.float32, np.float64):
        assert vae.interpolate(*digits[:2].astype(dtype), 3, method=method).dtype == dtype


def test_arc_keeps_the_length():
    points = _arc(np.array([2.0, 0, 0]), np.array([0, 2.0, 0]), np.linspace(0, 1, 7)[:, None])
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 2)
    np.testing.assert_allclose(np.diff(np.arctan2(points[:, 1], points[:, 0])), np.pi / 12)
    same = np.array([1.0, 2.0])
    np.testing.assert_allclose(_arc(same, 3 * same, np.array([[0.5]])), [2 * same])
    with pytest.raises(ValueError, match="opposite codes is not unique"):
        _arc(same, -same, np.array([[0.5]]))


def test_draws_are_in_opposite_pairs():
    draws = standard_draws(64, torch.zeros(1, 3, dtype=torch.float64), paired=True)[:, 0]
    assert len(draws) == 64
    torch.testing.assert_close(draws.mean(0), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(draws.square().mean(0), torch.ones(3, dtype=torch.float64))


def test_a_collapsed_posterior_warns(digits):
    vae = VariationalAutoencoder(3, beta=1000.0, init="random", **PLAIN | {"max_iter": 10})
    with pytest.warns(AutoencoderWarning, match=r"has collapsed.*beta.*warm_up.*free_bits"):
        vae.fit(digits)
    assert vae.n_active_ == 0
    assert VariationalAutoencoder(3, **PLAIN).fit(digits).n_active_ == 3


def test_weights_are_repetitions_in_a_batch(digits):
    for parameters in ({}, {"free_bits": 1.5}):
        vae = VariationalAutoencoder(3, **parameters, **PLAIN).fit(digits)
        vae._posterior = lambda module, h: (
            h[:, :3],
            torch.full_like(h[:, 3:], -30.0),
        )  # without noise
        x = torch.from_numpy((digits[:20] - vae.mean_) / vae.scale_).float()
        count = torch.tensor([1, 2, 3, 1] * 5)
        one = torch.ones(())
        again = x.repeat_interleave(count, 0)
        draws = Random(0, x)
        weighted, repeated = (
            total_of(vae._objective(vae.module_, Batch(rows, None, weight, one, random=draws)))
            for rows, weight in ((x, count.float()), (again, torch.ones(len(again))))
        )
        torch.testing.assert_close(
            weighted @ count.float() / count.sum(), repeated.mean(), rtol=1e-4, atol=1e-5
        )


def test_outliers_have_scores(digits):
    vae = VariationalAutoencoder(3, **PLAIN).fit(digits)
    scores = vae.score_samples(np.vstack([digits[:1], 1e3 * digits[:1], -1e4 * digits[:1]]))
    assert np.isfinite(scores).all()
    assert scores[0] > scores[1] > scores[2]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"likelihood": "bernoulli"}, r"'bernoulli' needs values in \[0, 1\].*'gaussian'"),
        ({"likelihood": "student"}, "The 'likelihood' parameter"),
        ({"objective": "iwae"}, "set n_draws to at least 2.*got n_draws=1"),
        ({"variance": 1e-50}, "variance=1e-50 is .* times the mean variance of the columns"),
        ({"objective": "iwae", "beta": 2.0}, "without beta, free_bits and warm_up.*got beta=2.0"),
        ({"objective": "iwae", "warm_up": 0.3}, "got.*warm_up=0.3"),
        ({"likelihood": "poisson", "init": "pca"}, "got likelihood='poisson'"),
        ({"likelihood": "poisson"}, "'poisson' needs values of at least 0"),
        ({"variance": -1.0}, "The 'variance' parameter"),
    ],
)
def test_bad_parameters_are_named(sheet, parameters, message):
    X = sheet if parameters.get("init") is None else np.abs(sheet)
    with pytest.raises(ValueError, match=message):
        VariationalAutoencoder(**parameters).fit(X)


@pytest.mark.filterwarnings("ignore:The posterior has collapsed")
def test_negative_counts_are_refused_when_scored(sheet):
    X = np.abs(sheet).round(1)
    vae = VariationalAutoencoder(likelihood="poisson", **PLAIN).fit(X)
    with pytest.raises(ValueError, match="likelihood='poisson' needs values of at least 0"):
        vae.score_samples(-X)


@pytest.mark.parametrize("init", ["auto", "random"])
def test_a_variance_far_from_that_of_the_rows_is_no_divergence(rng, init):
    X = 100 * rng.normal(size=(200, 6))
    vae = VariationalAutoencoder(2, variance=1.0, init=init, **PLAIN).fit(X)
    assert vae.noise_variance_ == pytest.approx(1)
    assert np.isfinite(vae.score(X))


def test_what_a_resumed_fit_cannot_change(sheet):
    vae = VariationalAutoencoder(2, max_iter=2, random_state=0).fit(sheet)
    with pytest.raises(
        ValueError, match="resumes a fit with variance='shared'.*variance=2.0 is set"
    ):
        copy.deepcopy(vae).set_params(variance=2.0).partial_fit(sheet)
    with pytest.raises(ValueError, match="a bound without beta"):
        copy.deepcopy(vae).set_params(objective="iwae", n_draws=5, beta=2.0).partial_fit(sheet)
    assert vae.partial_fit(sheet).n_iter_ == 3


def test_a_stream_is_trained_at_the_full_weight(digits):
    """The progress of a stream is not known, so that there is no warm-up."""
    late, none = (
        VariationalAutoencoder(3, warm_up=warm_up, random_state=0).partial_fit(digits)
        for warm_up in (0.9, 0.0)
    )
    np.testing.assert_array_equal(late.loss_curve_, none.loss_curve_)


def test_bad_arguments_are_named(digits):
    vae = VariationalAutoencoder(3, **STILL).fit(digits)
    with pytest.raises(ValueError, match="n_samples must be a positive integer; got 0"):
        vae.sample(0)
    for a, b in ((digits[0, :5], digits[1, :5]), (digits[0, :5], digits[1]), (1.0, 2.0)):
        with pytest.raises(ValueError, match="two samples of 64 values"):
            vae.interpolate(a, b)
    with pytest.raises(ValueError, match="Input [ab] contains infinity"):
        vae.interpolate(digits[0], np.full(64, np.inf))
    with pytest.raises(ValueError, match="n_points must be an integer of at least 2; got 1"):
        vae.interpolate(digits[0], digits[1], 1)
    with pytest.raises(ValueError, match="'linear' or 'spherical'; got 'wavy'"):
        vae.interpolate(digits[0], digits[1], method="wavy")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_far_away_are_refused_and_draws_have_the_rows_dtype(sheet, dtype):
    vae = VariationalAutoencoder(2, max_iter=2, early_stopping=False, random_state=0).fit(sheet)
    X = sheet[:3].astype(dtype)
    X[:, 0] = np.nan
    assert vae.conditional_sample(X, 2, random_state=0).dtype == dtype
    X[1, 1] = np.finfo(dtype).max
    for ask in (vae.conditional_sample, vae.conditional_mean, vae.posterior):
        with pytest.raises(ValueError, match="is so far from the training rows"):
            ask(X)
    with pytest.raises(ValueError, match="exceeds the memory; lower n_"):
        vae.sample(10**30)
    with pytest.raises(ValueError, match="exceeds the memory; lower n_"):
        vae.interpolate(sheet[0], sheet[1], 10**30)
