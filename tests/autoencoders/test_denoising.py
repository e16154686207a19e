import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression

from skae import MLP, Autoencoder, DenoisingAutoencoder
from skae.autoencoders._corruption import NOISES, ColumnStatistics
from skae.autoencoders._linear_denoiser import best_linear
from skae.data import Batch, Random
from tests.tables import curve

PLAIN = {"early_stopping": False, "random_state": 0, "max_iter": 5}
ALL = sorted(NOISES)


def columns_of(x):
    return ColumnStatistics(x.std(0, correction=0), x.var(0, correction=0), x.amin(0), x.amax(0))


@pytest.fixture
def table(rng):
    mixing = rng.normal(size=(5, 5))
    x = torch.from_numpy(rng.gamma(2.0, size=(20000, 5)) @ mixing)
    return x - x.mean(0)


def corrupted(noise, x, level):
    weight = torch.ones(len(x), dtype=x.dtype)
    batch = Batch(x, None, weight, torch.ones(()), random=Random(0, x))
    return NOISES[noise].apply(batch, torch.full_like(x[:, :1], level), columns_of(x))


@pytest.mark.parametrize("noise", ALL)
def test_moments_are_those_of_corrupted_rows(table, noise):
    kept, mean, variance = NOISES[noise].moments(0.3, columns_of(table))
    y = corrupted(noise, table, 0.3)
    scale = table.std(0)
    assert ((y.mean(0) - mean).abs() < 0.03 * (scale + mean.abs())).all()
    torch.testing.assert_close(y.var(0), variance, rtol=0.04, atol=0)
    cross = (table * y).mean(0) / table.square().mean(0)
    torch.testing.assert_close(cross, torch.full_like(cross, kept), rtol=0.06, atol=0)


@pytest.mark.parametrize("noise", ALL)
def test_level_is_the_share_of_cells_or_the_deviation(table, noise):
    y = corrupted(noise, table, 0.2)
    if noise == "gaussian":
        torch.testing.assert_close((y - table).std(0), 0.2 * table.std(0), rtol=0.03, atol=0)
    else:
        assert float((y != table).double().mean()) == pytest.approx(0.2, rel=0.03)
    if noise == "masking":
        assert (y[y != table] == 0).all()
    if noise == "salt_and_pepper":
        assert ((y == table) | (y == table.amin(0)) | (y == table.amax(0))).all()
    if noise == "swap":
        assert all(torch.isin(y[:, j], table[:, j]).all() for j in range(5))


@pytest.mark.parametrize("noise", ALL)
def test_start_is_the_best_linear_denoiser(table, noise):
    covariance = table.T @ table / len(table)
    y = corrupted(noise, table, 0.3)
    encoder, decoder, bias = best_linear(NOISES[noise], 0.3, columns_of(table), covariance, 5)
    ours = (y @ encoder.T @ decoder.T + bias - table).square().mean()
    regression = LinearRegression().fit(y, table)
    best = np.mean((regression.predict(y) - table.numpy()) ** 2)
    assert float(ours) == pytest.approx(best, rel=0.01)
    errors = []
    for k in (1, 3):
        encoder, decoder, bias = best_linear(NOISES[noise], 0.3, columns_of(table), covariance, k)
        assert encoder.shape == (k, 5)
        errors.append(float((y @ encoder.T @ decoder.T + bias - table).square().mean()))
    assert errors[0] > errors[1] > float(ours)


@pytest.mark.parametrize("noise", ALL)
def test_the_fit_starts_there(sheet, noise):
    """At a vanishing learning rate, the fit is the linear map that regression would find."""
    still = PLAIN | {"max_iter": 1, "learning_rate": 1e-12}
    model = DenoisingAutoencoder(noise=noise, **still).fit(sheet)
    x = torch.from_numpy((sheet - model.mean_) / model.scale_).repeat(100, 1)
    y = corrupted(noise, x, 0.3).numpy() * model.scale_ + model.mean_
    X = np.tile(sheet, (100, 1))
    best = np.mean((LinearRegression().fit(y, X).predict(y) - X) ** 2)
    assert np.mean((model.reconstruct(y) - X) ** 2) == pytest.approx(best, rel=0.02)


def test_extremes_are_those_of_all_columns_or_of_each(rng):
    X = rng.random((50, 4)) + np.array([0, 1, 2, 3])
    X[:, 1] = 1.5
    for per_feature, low, high in [(True, X.min(0), X.max(0)), (False, X.min(), X.max())]:
        model = DenoisingAutoencoder(noise="salt_and_pepper", per_feature=per_feature, **PLAIN)
        module = model.fit(X).module_
        for extreme, values in [(module.column_low, low), (module.column_high, high)]:
            found = extreme.numpy() * model.scale_ + model.mean_
            np.testing.assert_allclose(found, np.broadcast_to(values, 4), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("noise", ALL)
@pytest.mark.parametrize("init", ["auto", "random"])
def test_without_noise_it_is_the_plain_autoencoder(sheet, noise, init):
    model = DenoisingAutoencoder(2, noise=noise, noise_level=0, init=init, **PLAIN).fit(sheet)
    plain = Autoencoder(2, init=init, **PLAIN).fit(sheet)
    np.testing.assert_allclose(model.loss_curve_, plain.loss_curve_, rtol=1e-6)


@pytest.mark.parametrize("noise", ALL)
def test_it_removes_noise_that_it_was_trained_on(rng, noise):
    X = curve(rng, n=1500)
    model = DenoisingAutoencoder(noise=noise, max_iter=30, random_state=0).fit(X[:1000])
    x = torch.from_numpy((X[1000:] - model.mean_) / model.scale_)
    y = corrupted(noise, x, 0.3).numpy() * model.scale_ + model.mean_
    cleaned = model.reconstruct(y)
    linear = LinearRegression().fit(y, X[1000:]).predict(y)
    assert np.mean((cleaned - X[1000:]) ** 2) < 0.6 * np.mean((y - X[1000:]) ** 2)
    assert np.mean((cleaned - X[1000:]) ** 2) < 0.9 * np.mean((linear - X[1000:]) ** 2)


def gaussian_table(rng, n=4000):
    mixing = rng.normal(size=(4, 4))
    mean = np.array([3.0, -1.0, 10.0, 0.0])
    return rng.normal(size=(n, 4)) @ mixing.T + mean, mean, mixing @ mixing.T


@pytest.mark.parametrize(
    ("init", "max_iter", "per_feature"),
    [("auto", 5, False), ("auto", 5, True), ("random", 20, True)],
)
@pytest.mark.filterwarnings("ignore:No epoch of DenoisingAutoencoder had")
def test_score_field_is_that_of_a_normal_distribution(rng, init, max_iter, per_feature):
    X, mean, S = gaussian_table(rng)
    level = 0.5
    model = DenoisingAutoencoder(
        noise_level=level,
        per_feature=per_feature,
        init=init,
        early_stopping="auto" if init == "auto" else False,
        max_iter=max_iter,
        random_state=0,
    ).fit(X)
    sigma = level * (np.sqrt(np.diag(S)) if per_feature else np.ones(4))
    expected = -(X - mean) @ np.linalg.inv(S + np.diag(sigma**2))
    got = model.score_field(X)
    assert np.linalg.norm(got - expected) < 0.1 * np.linalg.norm(expected)


def test_score_field_at_each_level_of_a_range(rng):
    X, mean, S = gaussian_table(rng)
    model = DenoisingAutoencoder(
        noise_level=(0.3, 1.5),
        per_feature=False,
        early_stopping=False,
        max_iter=20,
        random_state=0,
    ).fit(X)
    for level in (0.8, 1.5):
        expected = -(X - mean) @ np.linalg.inv(S + level**2 * np.eye(4))
        got = model.score_field(X, noise_level=level)
        assert np.linalg.norm(got - expected) < 0.15 * np.linalg.norm(expected)
    with pytest.raises(ValueError, match="between 0.3 and 1.5; got None"):
        model.score_field(X)


def test_score_field_is_zero_where_nothing_is_known(sheet):
    X = sheet.copy()
    X[:, 0] = 5.0
    model = DenoisingAutoencoder(**PLAIN).fit(X)
    X[0, 2] = np.nan
    field = model.score_field(X)
    assert field[0, 2] == 0
    assert (field[:, 0] == 0).all()
    assert (field[1:, 1:] != 0).all()


def test_walk_ends_nearer_to_the_rows(rng):
    X = curve(rng, n=1000, noise=0.01)
    model = DenoisingAutoencoder(noise_level=0.2, max_iter=30, random_state=0).fit(X)
    off = X + 0.1 * rng.normal(size=X.shape)

    def distance(rows):
        return np.abs(rows[:, 2] - rows[:, 0] ** 2).mean()

    walked = model.project(off, n_steps=10)
    assert distance(walked) < 0.5 * distance(off)
    np.testing.assert_allclose(model.project(off, n_steps=1), model.reconstruct(off))
    twice = model.reconstruct(model.reconstruct(off))
    np.testing.assert_allclose(model.project(off, n_steps=2), twice, atol=1e-9)


def test_walk_in_the_units_of_another_loss():
    X = load_digits().data[:300] / 16
    model = DenoisingAutoencoder(noise="masking", loss="log_loss", **PLAIN).fit(X)
    twice = model.reconstruct(model.reconstruct(X))
    np.testing.assert_allclose(model.project(X, n_steps=2), twice, atol=1e-9)


def test_a_range_tells_the_network_its_level(sheet):
    model = DenoisingAutoencoder(noise_level=(0.1, 1.0), **PLAIN | {"max_iter": 60}).fit(sheet)
    assert model.module_.encoder[0].in_features == 7
    near, far = (model.score_field(sheet, noise_level=s) * s**2 for s in (0.1, 1.0))
    assert np.abs(far).mean() > 1.3 * np.abs(near).mean()
    assert DenoisingAutoencoder(**PLAIN).fit(sheet).module_.encoder[0].in_features == 6


def test_missing_cells_stay_missing(sheet, rng):
    x = torch.from_numpy(sheet)
    observed = torch.from_numpy((rng.random(sheet.shape) > 0.3).astype(float))
    for noise in ALL:
        model = DenoisingAutoencoder(noise=noise, noise_level=0.9, **PLAIN).fit(sheet)
        weight = torch.ones(len(x)).double()
        batch = Batch(x * observed, observed, weight, torch.ones(()), random=Random(0, x))
        out = model._corrupt(model._module_in(np.dtype(np.float64)), batch)
        assert (out.x[observed == 0] == 0).all()
        assert (out.x[observed == 1] != batch.x[observed == 1]).double().mean() > 0.5


def test_swap_draws_rows_by_weight(rng):
    x = torch.from_numpy(rng.normal(size=(4, 3)))
    weight = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    batch = Batch(x, None, weight, torch.ones(()), random=Random(0, x))
    y = NOISES["swap"].replacement(batch, columns_of(x))
    torch.testing.assert_close(y, x[:1].expand(4, 3))


def test_swap_leaves_a_cell_where_the_value_of_the_other_row_is_missing(rng):
    x = torch.from_numpy(rng.normal(size=(60, 3)))
    observed = torch.from_numpy((rng.random((60, 3)) > 0.5).astype(float))
    weight = torch.ones(60).double()
    batch = Batch(x * observed, observed, weight, torch.ones(()), random=Random(0, x))
    y = NOISES["swap"].replacement(batch, columns_of(x))
    for j in range(3):
        known = observed[:, j] > 0
        assert set(y[known, j].tolist()) <= set(x[known, j].tolist())
        assert 0.2 < float((y[known, j] == x[known, j]).double().mean()) < 0.8


def test_a_level_may_be_an_array(sheet):
    level = np.array(0.3)
    model = DenoisingAutoencoder(noise_level=level, **PLAIN).fit(sheet)
    plain = DenoisingAutoencoder(noise_level=0.3, **PLAIN).fit(sheet)
    np.testing.assert_array_equal(model.transform(sheet), plain.transform(sheet))


def test_the_units_of_the_noise_stay(sheet):
    model = DenoisingAutoencoder(**PLAIN).fit(sheet).set_params(per_feature=False)
    with pytest.raises(ValueError, match="resumes a fit with per_feature=True"):
        model.partial_fit(sheet)


def test_codes_do_not_depend_on_the_units(sheet):
    X = sheet.astype(np.float32)
    plain = DenoisingAutoencoder(2, **PLAIN).fit(X).transform(X)
    scaled = DenoisingAutoencoder(2, **PLAIN).fit(4 * X).transform(4 * X)
    np.testing.assert_allclose(plain, scaled, atol=1e-4)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"noise": "rain"}, "The 'noise' parameter .* among .*'gaussian'"),
        ({"noise": "masking", "noise_level": 1.5}, r"fraction in \[0, 1\].* got 1.5"),
        ({"noise_level": (0.5, 0.1)}, r"the lower first; got \(0.5, 0.1\)"),
        ({"noise_level": (0.1, 0.2, 0.3)}, "or two such numbers"),
        ({"noise_level": (0.0, np.inf)}, "noise_level of gaussian noise must be a number"),
    ],
)
def test_bad_noise_is_named(sheet, parameters, message):
    with pytest.raises(ValueError, match=message):
        DenoisingAutoencoder(**parameters).fit(sheet)


def test_score_field_refuses_what_it_cannot_know(sheet):
    masked = DenoisingAutoencoder(noise="masking", **PLAIN).fit(sheet)
    with pytest.raises(ValueError, match="score_field needs gaussian noise .* noise='masking'"):
        masked.score_field(sheet)
    other = DenoisingAutoencoder(loss="absolute_error", **PLAIN).fit(sheet)
    with pytest.raises(ValueError, match="loss='absolute_error'"):
        other.score_field(sheet)
    model = DenoisingAutoencoder(**PLAIN).fit(sheet)
    with pytest.raises(ValueError, match=r"between 0.3 and 0.3; got 0.5"):
        model.score_field(sheet, noise_level=0.5)
    with pytest.raises(ValueError, match="n_steps must be a positive integer; got 0"):
        model.project(sheet, n_steps=0)
    clean = DenoisingAutoencoder(noise_level=0, **PLAIN).fit(sheet)
    with pytest.raises(ValueError, match="a noise_level above 0"):
        clean.score_field(sheet)


def test_other_architectures(sheet):
    model = DenoisingAutoencoder(3, architecture=MLP((8,)), noise_level=(0, 0.5), **PLAIN)
    assert model.fit_transform(sheet).shape == (400, 3)
