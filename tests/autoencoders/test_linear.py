import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import subspace_angles
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import scale

import skae
from skae import LinearAutoencoder
from skae.inspection import jacobian

RNG = np.random.default_rng(0)
TABLES = {
    "plain": RNG.normal(size=(100, 6)) * [9, 5, 3, 2, 1, 0.5],
    "tiny": RNG.normal(size=(100, 6)) * [9, 5, 3, 2, 1, 0.5] * 1e-100,
    "wide": RNG.normal(size=(20, 50)) * np.geomspace(1, 1e-2, 50),
    "constant column": np.column_stack([RNG.normal(size=(50, 4)) * [4, 3, 2, 1], np.full(50, 0.1)]),
    "one column": RNG.normal(size=(40, 1)),
    "rank 3": RNG.normal(size=(60, 3)) @ RNG.normal(size=(3, 7)),
}


@pytest.fixture(scope="module")
def digits():
    X = load_digits().data
    return X[:1300], X[1300:]


def assert_is_pca(linear, pca, rtol):
    np.testing.assert_allclose(linear.components_, pca.components_, atol=rtol)
    np.testing.assert_allclose(linear.mean_, pca.mean_, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(linear.explained_variance_, pca.explained_variance_, rtol=rtol)
    np.testing.assert_allclose(
        linear.explained_variance_ratio_, pca.explained_variance_ratio_, rtol=rtol
    )


def assert_codes_are_projections(linear, X):
    W = linear.components_
    projected = (X - linear.mean_) @ W.T
    np.testing.assert_allclose(linear.transform(X), projected, atol=1e-4 * linear.scale_)
    np.testing.assert_allclose(W @ W.T, np.eye(len(W)), atol=1e-6)


@pytest.mark.full
@pytest.mark.parametrize(
    ("k", "max_iter"), [(8, 1000), pytest.param(32, 2000, marks=pytest.mark.full)]
)
def test_training_finds_the_principal_subspace(digits, k, max_iter):
    train, test = digits[0][:400], digits[1]
    linear = LinearAutoencoder(k, init="random", max_iter=max_iter, random_state=0).fit(train)
    pca = PCA(k).fit(train)
    assert subspace_angles(linear.components_.T, pca.components_.T).max() < 1e-3
    error = np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2)
    assert -linear.score(test) == pytest.approx(error, rel=1e-4)
    assert linear.n_iter_ > 1
    assert linear.loss_curve_[0] > linear.loss_curve_[-1]
    assert_codes_are_projections(linear, train)


@pytest.mark.parametrize("k", [1, 8, 64])
def test_from_pca_it_is_there_at_once(digits, k):
    train, test = digits
    linear, pca = LinearAutoencoder(k).fit(train), PCA(k).fit(train)
    rank = np.linalg.matrix_rank(train - train.mean(axis=0))
    assert linear.n_iter_ == 1
    if k < rank:
        assert_is_pca(linear, pca, 1e-5)
    assert_codes_are_projections(linear, train)
    np.testing.assert_allclose(
        linear.reconstruct(test), pca.inverse_transform(pca.transform(test)), atol=1e-3
    )


@pytest.mark.parametrize("init", ["pca", "random"])
def test_reports_what_pca_does(init):
    X = scale(load_wine().data)
    linear = LinearAutoencoder(3, init=init, max_iter=1000, random_state=0).fit(X)
    assert_is_pca(linear, PCA(3).fit(X), 1e-5)


def test_reports_what_pca_does_where_columns_differ_in_scale():
    X = load_wine().data
    assert_is_pca(LinearAutoencoder(3).fit(X), PCA(3).fit(X), 1e-5)


def test_weights_are_repetitions(digits):
    train, _ = digits
    weight = np.random.default_rng(0).integers(0, 4, len(train))
    linear = LinearAutoencoder(8).fit(train, sample_weight=weight)
    repeated = LinearAutoencoder(8).fit(np.repeat(train, weight, axis=0))
    np.testing.assert_allclose(linear.components_, repeated.components_, atol=1e-6)
    np.testing.assert_allclose(linear.mean_, repeated.mean_)


def test_with_missing_values_training_improves_on_the_pca_of_filled_rows(digits):
    train, test = digits
    rng = np.random.default_rng(0)
    X_missing, test_missing = (
        np.where(rng.random(X.shape) < 0.3, np.nan, X) for X in (train, test)
    )
    linear = LinearAutoencoder(8, max_iter=100, random_state=0).fit(X_missing)
    filled = np.where(np.isnan(X_missing), np.nanmean(X_missing, axis=0), X_missing)
    at_start = LinearAutoencoder(8).fit(filled)
    assert linear.n_iter_ > 1
    assert linear.score(X_missing) > at_start.score(X_missing)
    assert linear.score(test_missing) > at_start.score(test_missing)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("name", TABLES)
def test_is_pca_in_every_attribute_and_its_dtype(name, k, dtype):
    X = TABLES[name]
    k = min(k, X.shape[1])
    X = X.astype(dtype) if name != "tiny" else X
    pca, linear = PCA(k, svd_solver="full").fit(X), LinearAutoencoder(k).fit(X)
    fitted = [a for a in vars(pca) if a.endswith("_") and not a.startswith("_")]
    assert {"singular_values_", "noise_variance_", "n_samples_"} < set(fitted)
    rtol = 1e-6 if X.dtype == np.float64 else 1e-3
    for attribute in fitted:
        expected, value = (np.asarray(getattr(model, attribute)) for model in (pca, linear))
        if expected.ndim:
            assert value.dtype == X.dtype
        # What is left out of three dimensions of three is rounding.
        rounding = 1e-6 if attribute == "noise_variance_" else 0
        atol = rounding * pca.explained_variance_[0] + rtol * np.abs(expected).max()
        np.testing.assert_allclose(value, expected, rtol=0, atol=atol)
    codes = linear.transform(X)
    assert codes.dtype == X.dtype
    np.testing.assert_allclose(codes, pca.transform(X), atol=rtol * np.abs(codes).max())
    np.testing.assert_array_equal(clone(linear).fit_transform(X), codes)
    assert linear.get_feature_names_out().tolist() == [f"linearautoencoder{j}" for j in range(k)]


@pytest.mark.parametrize("name", ["plain", "wide", "rank 3"])
def test_every_code_is_a_projection_also_beyond_the_rank(name):
    X = TABLES[name]
    linear = LinearAutoencoder(min(X.shape)).fit(X)
    new = RNG.normal(size=(9, X.shape[1]))
    W = linear.components_
    np.testing.assert_allclose(W @ W.T, np.eye(len(W)), atol=1e-12)
    np.testing.assert_allclose(linear.transform(new), (new - linear.mean_) @ W.T, atol=1e-12)
    assert linear.noise_variance_ == 0


def test_codes_are_in_the_units_of_the_table(tmp_path):
    X = TABLES["plain"]
    linear = LinearAutoencoder(2).fit(X)
    codes = linear.transform(X)
    np.testing.assert_allclose(codes.var(0, ddof=1), linear.explained_variance_)
    np.testing.assert_allclose(LinearAutoencoder(2).fit_transform(3 * X + 7), 3 * codes)
    np.testing.assert_allclose(
        linear.inverse_transform(codes), codes @ linear.components_ + linear.mean_
    )
    np.testing.assert_allclose(
        jacobian(linear, X[:3]), np.tile(linear.components_, (3, 1, 1)), atol=1e-12
    )
    skae.save(linear, tmp_path / "linear.skae")
    np.testing.assert_array_equal(skae.load(tmp_path / "linear.skae").transform(X), codes)


def test_trained_codes_are_in_the_units_of_the_table_too():
    X = TABLES["plain"] * 50
    X = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    linear = LinearAutoencoder(2, max_iter=50, random_state=0).fit(X)
    codes = linear.transform(X)
    np.testing.assert_allclose(codes.var(0, ddof=1), linear.explained_variance_, rtol=0.2)
    np.testing.assert_allclose(linear.inverse_transform(codes), linear.reconstruct(X))


def test_variances_of_weighted_rows_with_missing_values():
    X = np.where(RNG.random((80, 6)) < 0.1, np.nan, TABLES["plain"][:80])
    weight = RNG.random(80)
    linear = LinearAutoencoder(2, max_iter=1, random_state=0).fit(X, sample_weight=weight)
    filled = np.where(np.isnan(X), 0, X - linear.mean_)
    second_moments = (filled.T * weight) @ filled / weight.sum() * 80 / 79
    W = linear.components_
    np.testing.assert_allclose(
        linear.explained_variance_, np.diag(W @ second_moments @ W.T), rtol=1e-9
    )
    left_out = np.trace(second_moments) - linear.explained_variance_.sum()
    assert linear.noise_variance_ == pytest.approx(left_out / 4)
    assert linear.n_samples_ == 80
    np.testing.assert_allclose(
        linear.singular_values_, np.sqrt(79 * linear.explained_variance_), rtol=1e-12
    )


def test_rows_without_weight_or_value_do_not_count():
    X = np.vstack([TABLES["plain"], np.full(6, np.nan), np.ones(6)])
    linear = LinearAutoencoder(2).fit(X, sample_weight=[1] * 101 + [0])
    assert linear.n_samples_ == 100
    expected = PCA(2).fit(TABLES["plain"]).noise_variance_
    assert linear.noise_variance_ == pytest.approx(expected)


def test_a_stream_reports_all_its_rows(rng):
    X = rng.normal(size=(2000, 3)) @ rng.normal(size=(3, 8)) + 0.1 * rng.normal(size=(2000, 8))
    linear = LinearAutoencoder(3, learning_rate=1e-4, random_state=0)
    for chunk in np.split(X, 10):
        linear.partial_fit(chunk)
    pca = PCA(3).fit(X)
    assert linear.n_samples_ == 2000
    for attribute in ("singular_values_", "noise_variance_", "explained_variance_"):
        np.testing.assert_allclose(getattr(linear, attribute), getattr(pca, attribute), rtol=0.05)
    variance = linear.transform(X).var(0, ddof=1)
    np.testing.assert_allclose(variance, linear.explained_variance_, rtol=0.05)


@pytest.mark.parametrize("in_csr", [False, True])
def test_bfloat16_trains_in_the_default_dtype(in_csr):
    X = TABLES["plain"]
    table = sparse.csr_array(X) if in_csr else X
    linear = LinearAutoencoder(2, precision="bf16").fit(table)
    np.testing.assert_allclose(linear.components_, PCA(2).fit(X).components_, atol=1e-5)
