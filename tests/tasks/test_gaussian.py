import numpy as np
import pytest
import torch

from skae.tasks._gaussian import RIDGE, Gaussian, fit_gaussian


@pytest.fixture
def gaussian(rng):
    A = rng.normal(size=(5, 5))
    return Gaussian(torch.tensor(rng.normal(size=5)), torch.tensor(A @ A.T))


@pytest.fixture
def rows(rng, gaussian):
    return rng.multivariate_normal(gaussian.mean.numpy(), gaussian.covariance.numpy(), size=2000)


def tensors(X, holes):
    return torch.tensor(np.where(holes, 0, X)), torch.tensor(~holes)


def test_holes_get_the_conditional_mean_and_covariance(gaussian, rows, rng):
    X, holes = rows[:32], np.array([[bool(i >> j & 1) for j in range(5)] for i in range(32)])
    mean, covariance = gaussian.mean.numpy(), gaussian.covariance.numpy()
    x, observed = tensors(X, holes)
    filled, left = gaussian.conditional(x, observed)
    np.testing.assert_allclose(gaussian.fill(x, observed), filled, rtol=1e-9)
    for i, h in enumerate(holes):
        weights = covariance[np.ix_(h, ~h)] @ np.linalg.inv(covariance[np.ix_(~h, ~h)])
        expected = mean[h] + weights @ (X[i] - mean)[~h]
        np.testing.assert_allclose(filled[i, h], expected, rtol=1e-8)
        rest = covariance[np.ix_(h, h)] - weights @ covariance[np.ix_(~h, h)]
        np.testing.assert_allclose(left[i][np.ix_(h, h)], rest, rtol=1e-7, atol=1e-10)
        np.testing.assert_array_equal(filled[i, ~h], X[i, ~h])
        assert not left[i, ~h].any()


def test_complete_rows_give_their_weighted_moments(rows, rng):
    weight = rng.uniform(size=len(rows))
    fitted = fit_gaussian(*tensors(rows, np.zeros_like(rows, bool)), torch.tensor(weight))
    np.testing.assert_allclose(fitted.mean, np.average(rows, axis=0, weights=weight))
    expected = np.cov(rows.T, aweights=weight, ddof=0)
    expected += RIDGE * np.diag(np.diag(expected))
    np.testing.assert_allclose(fitted.covariance, expected, rtol=1e-9)


def test_em_finds_the_moments_behind_holes(gaussian, rows, rng):
    # Missing where the first column is large, so that the means of what is left are biased.
    holes = np.zeros_like(rows, bool)
    holes[:, 1:3] = (rows[:, :1] > gaussian.mean[0].item()) & (rng.uniform(size=(2000, 2)) < 0.8)
    fitted = fit_gaussian(*tensors(rows, holes), torch.ones(len(rows)))
    std = rows.std(0)
    naive = np.nanmean(np.where(holes, np.nan, rows), axis=0)
    error = (fitted.mean.numpy() - rows.mean(0)) / std
    assert np.abs(error).max() < 0.05 < np.abs((naive - rows.mean(0)) / std).max()
    np.testing.assert_allclose(
        fitted.covariance.numpy() / np.outer(std, std),
        np.cov(rows.T) / np.outer(std, std),
        atol=0.08,
    )


def test_each_round_of_em_makes_the_observed_cells_more_likely(rows, rng, monkeypatch):
    from skae.tasks import _gaussian

    holes = rng.uniform(size=rows.shape) < 0.4
    likelihoods = []
    for n in (1, 2, 4, 8, 16):
        monkeypatch.setattr(_gaussian, "MAX_ITER", n)
        mean, covariance = fit_gaussian(*tensors(rows, holes), torch.ones(len(rows)))
        total = 0.0
        for x, h in zip(rows[:300], holes[:300], strict=True):
            away, o = torch.tensor(x - mean.numpy())[~h], np.ix_(~h, ~h)
            part = covariance[o]
            total -= float(torch.logdet(part) + away @ torch.linalg.solve(part, away))
        likelihoods.append(total)
    assert (np.diff(likelihoods) > -1).all()
    assert likelihoods[-1] > likelihoods[0] + 10


def test_columns_that_are_copies_or_constant_are_no_trouble(rows, rng):
    X = np.c_[rows, rows[:, :1] * 2, np.full(len(rows), 3.0)]
    holes = rng.uniform(size=X.shape) < 0.3
    x, observed = tensors(X, holes)
    fitted = fit_gaussian(x, observed, torch.ones(len(X)))
    filled = fitted.fill(x, observed).numpy()
    assert np.isfinite(filled).all()
    copied = holes[:, 5] & ~holes[:, 0]
    np.testing.assert_allclose(filled[copied, 5], X[copied, 5], atol=0.02 * X[:, 5].std())
    np.testing.assert_allclose(filled[:, 6], 3, atol=1e-6)


def test_a_column_of_holes_says_nothing(rows):
    holes = np.zeros_like(rows, bool)
    holes[:, 2] = True
    x, observed = tensors(rows, holes)
    fitted = fit_gaussian(x, observed, torch.ones(len(rows)))
    np.testing.assert_allclose(fitted.fill(x, observed)[:, 2], 0, atol=1e-9)
    np.testing.assert_allclose(fitted.mean[[0, 1, 3, 4]], rows.mean(0)[[0, 1, 3, 4]])


def test_rows_with_the_same_holes_are_filled_as_each_by_itself(gaussian, rng):
    x = torch.from_numpy(rng.normal(size=(20, 5)))
    observed = torch.from_numpy((rng.random((3, 5)) > 0.4).astype(float))[torch.arange(20) % 3]
    together, left = gaussian.conditional(x, observed)
    torch.testing.assert_close(gaussian.fill(x, observed), together)
    for i in range(20):
        alone, own = gaussian.conditional(x[i : i + 1], observed[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)
        torch.testing.assert_close(left[i : i + 1], own)
