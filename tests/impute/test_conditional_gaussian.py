import numpy as np
import pytest
import torch

from skae.impute import _conditional_gaussian
from skae.impute._conditional_gaussian import (
    MIN_RIDGE,
    RIDGES,
    ConditionalGaussian,
    _path,
    fit_gaussian,
    fit_shrunk,
    patterns_of,
    unique_rows,
)


@pytest.fixture
def gaussian(rng):
    A = rng.normal(size=(5, 5))
    return ConditionalGaussian.of(torch.tensor(rng.normal(size=5)), torch.tensor(A @ A.T))


@pytest.fixture
def rows(rng, gaussian):
    return rng.multivariate_normal(gaussian.mean.numpy(), gaussian.covariance.numpy(), size=2000)


def tensors(X, missing):
    return torch.tensor(np.where(missing, 0, X)), torch.tensor(~missing)


def test_missing_values_get_the_conditional_mean_and_covariance(gaussian, rows):
    X, missing = rows[:32], np.array([[bool(i >> j & 1) for j in range(5)] for i in range(32)])
    mean, covariance = gaussian.mean.numpy(), gaussian.covariance.numpy()
    x, observed = tensors(X, missing)
    filled, variance = gaussian.fill(x, observed), gaussian.variance(observed)
    for i, h in enumerate(missing):
        weights = covariance[np.ix_(h, ~h)] @ np.linalg.inv(covariance[np.ix_(~h, ~h)])
        expected = mean[h] + weights @ (X[i] - mean)[~h]
        np.testing.assert_allclose(filled[i, h], expected, rtol=1e-8)
        np.testing.assert_array_equal(filled[i, ~h], X[i, ~h])
        rest = covariance[np.ix_(h, h)] - weights @ covariance[np.ix_(~h, h)]
        np.testing.assert_allclose(variance[i, h], rest.diagonal(), rtol=1e-7)
        assert not variance[i, ~h].any()
        for pattern in patterns_of(observed[i : i + 1]):
            np.testing.assert_array_equal(pattern.columns[0], np.flatnonzero(h))
            found = pattern.covariance(pattern.root(gaussian.precision))[0]
            np.testing.assert_allclose(found, rest, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("max_cells", [60, 10**6])
def test_each_set_of_missing_columns_is_solved_once(gaussian, rows, rng, max_cells, monkeypatch):
    monkeypatch.setattr(_conditional_gaussian, "MAX_SOLVED_CELLS", max_cells)
    x, observed = tensors(rows[:200], rng.uniform(size=(200, 5)) < 0.5)
    filled, variance = gaussian.fill(x, observed), gaussian.variance(observed)
    patterns = patterns_of(observed, max_cells)
    assert sum(len(pattern.columns) for pattern in patterns) == 31  # all but the empty one
    assert sorted(torch.cat([pattern.rows for pattern in patterns]).tolist()) == (
        np.flatnonzero((observed == 0).any(1)).tolist()
    )
    for pattern in patterns:
        root = pattern.root(gaussian.precision)
        assert root.numel() <= max_cells
        by_row = list(pattern.each_row(root))
        assert sum(len(own.rows) for own, _ in by_row) == len(pattern.rows)
        for own, own_root in by_row:
            diagonal = own.covariance(own_root).diagonal(dim1=1, dim2=2)
            torch.testing.assert_close(diagonal, variance[own.rows].gather(1, own.columns))
    one_by_one = [gaussian.fill(x[i : i + 1], observed[i : i + 1])[0] for i in range(200)]
    torch.testing.assert_close(torch.stack(one_by_one), filled)


@pytest.mark.parametrize("n_columns", [1, 7, 64, 65, 200])
def test_unique_rows(n_columns, rng):
    mask = rng.uniform(size=(300, n_columns)) < 0.5
    mask[150:] = mask[rng.integers(150, size=150)]
    sets, which = unique_rows(mask)
    np.testing.assert_array_equal(sets[which], mask)
    assert len(sets) == len(np.unique(mask, axis=0))


def test_complete_rows_give_their_weighted_moments(rows, rng):
    weight = rng.uniform(size=len(rows))
    fitted = fit_gaussian(*tensors(rows, np.zeros_like(rows, bool)), torch.tensor(weight))
    np.testing.assert_allclose(fitted.mean, np.average(rows, axis=0, weights=weight))
    expected = np.cov(rows.T, aweights=weight, ddof=0)
    expected += MIN_RIDGE * np.diag(np.diag(expected))
    np.testing.assert_allclose(fitted.covariance, expected, rtol=1e-9)


def test_em_finds_the_moments_behind_missing_values(gaussian, rows, rng):
    # Missing where the first column is large, so that the means of what is left are biased.
    missing = np.zeros_like(rows, bool)
    missing[:, 1:3] = (rows[:, :1] > gaussian.mean[0].item()) & (rng.uniform(size=(2000, 2)) < 0.8)
    fitted = fit_gaussian(*tensors(rows, missing), torch.ones(len(rows)))
    std = rows.std(0)
    naive = np.nanmean(np.where(missing, np.nan, rows), axis=0)
    error = (fitted.mean.numpy() - rows.mean(0)) / std
    assert np.abs(error).max() < 0.05 < np.abs((naive - rows.mean(0)) / std).max()
    np.testing.assert_allclose(
        fitted.covariance.numpy() / np.outer(std, std),
        np.cov(rows.T) / np.outer(std, std),
        atol=0.08,
    )


def test_each_iteration_of_em_increases_the_likelihood(rows, rng):
    missing = rng.uniform(size=rows.shape) < 0.4
    likelihoods = []
    for n in (1, 2, 4, 8, 16):
        mean, covariance, _ = fit_gaussian(
            *tensors(rows, missing), torch.ones(len(rows)), ridges=(), max_iter=n
        )
        total = 0.0
        for x, h in zip(rows[:300], missing[:300], strict=True):
            error, o = torch.tensor(x - mean.numpy())[~h], np.ix_(~h, ~h)
            part = covariance[o]
            total -= float(torch.logdet(part) + error @ torch.linalg.solve(part, error))
        likelihoods.append(total)
    assert (np.diff(likelihoods) > -1).all()
    assert likelihoods[-1] > likelihoods[0] + 10


def test_tables_of_low_rank_are_completed_exactly_from_fewer_rows_than_columns(rng):
    table = rng.uniform(size=(70, 5)) @ rng.uniform(size=(5, 70))
    x, observed = tensors(table, rng.uniform(size=table.shape) < 0.25)
    fitted = fit_gaussian(x[:35], observed[:35], torch.ones(35))
    error = (fitted.fill(x[35:], observed[35:]) - torch.tensor(table[35:]))[observed[35:] == 0]
    assert error.square().mean().sqrt() < 2e-3 * table.std()


@pytest.mark.full
def test_the_ridge_is_chosen_by_validation_rows(rng):
    def chosen(table, n_folds):
        table = (table - table.mean(0)) / table.std(0)
        x, observed = tensors(table, rng.uniform(size=table.shape) < 0.2)
        index = torch.arange(40)
        folds = [(index[index % 4 != i], index[index % 4 == i]) for i in range(n_folds)]
        generator = torch.Generator().manual_seed(0)
        found = fit_shrunk(x, observed, torch.ones(40), folds, generator)
        rows = folds[0][0] if n_folds == 1 else index
        gaussians = list(_path(x[rows], observed[rows], torch.ones(len(rows)), RIDGES))
        error = [float((g.covariance - found.covariance).abs().max()) for g in gaussians]
        assert min(error) < 1e-9
        return RIDGES[int(np.argmin(error))]

    z = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 30))
    for n_folds in (1, 4):
        assert chosen(z, n_folds) <= 1e-4
        assert chosen(z + rng.normal(size=z.shape), n_folds) >= 0.1


def test_duplicate_and_constant_columns(rows, rng):
    X = np.c_[rows, rows[:, :1] * 2, np.full(len(rows), 3.0)]
    missing = rng.uniform(size=X.shape) < 0.3
    x, observed = tensors(X, missing)
    fitted = fit_gaussian(x, observed, torch.ones(len(X)))
    filled = fitted.fill(x, observed).numpy()
    assert np.isfinite(filled).all()
    copied = missing[:, 5] & ~missing[:, 0]
    np.testing.assert_allclose(filled[copied, 5], X[copied, 5], atol=0.02 * X[:, 5].std())
    np.testing.assert_allclose(filled[:, 6], 3, atol=1e-6)


def test_a_column_without_values_predicts_nothing(rows):
    missing = np.zeros_like(rows, bool)
    missing[:, 2] = True
    x, observed = tensors(rows, missing)
    fitted = fit_gaussian(x, observed, torch.ones(len(rows)))
    np.testing.assert_allclose(fitted.fill(x, observed)[:, 2], 0, atol=1e-9)
    np.testing.assert_allclose(fitted.mean[[0, 1, 3, 4]], rows.mean(0)[[0, 1, 3, 4]])
