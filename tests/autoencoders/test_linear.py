import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import scale

from skae import LinearAutoencoder


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
    projected = (X - linear.mean_) @ W.T / linear.scale_
    np.testing.assert_allclose(linear.transform(X), projected, atol=1e-4)
    np.testing.assert_allclose(W @ W.T, np.eye(len(W)), atol=1e-6)


@pytest.mark.parametrize(("k", "max_iter"), [(8, 1000), (32, 2000)])
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


def test_with_holes_training_improves_on_the_pca_of_filled_rows(digits):
    train, test = digits
    rng = np.random.default_rng(0)
    holed, holed_test = (np.where(rng.random(X.shape) < 0.3, np.nan, X) for X in (train, test))
    linear = LinearAutoencoder(8, max_iter=100, random_state=0).fit(holed)
    filled = np.where(np.isnan(holed), np.nanmean(holed, axis=0), holed)
    at_start = LinearAutoencoder(8).fit(filled)
    assert linear.n_iter_ > 1
    assert linear.score(holed) > at_start.score(holed)
    assert linear.score(holed_test) > at_start.score(holed_test)
