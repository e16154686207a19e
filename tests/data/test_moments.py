import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from skae.data import (
    Conditioning,
    DataSource,
    Moments,
    RowDataset,
    _chunks,
    _principal_axes,
    principal_axes,
)


@pytest.fixture
def table(rng):
    return rng.normal(size=(500, 4)) @ rng.normal(size=(4, 6)) + rng.normal(size=(500, 6))


def test_weighted_moments_of_observed_cells(table, rng, monkeypatch):
    monkeypatch.setattr(_chunks, "MAX_CHUNK_SIZE", 100)
    weight = rng.random(500)
    table[rng.random(table.shape) < 0.2] = np.nan
    moments = Moments.of(DataSource(table + 1e6), weight)
    for j in range(6):
        seen = ~np.isnan(table[:, j])
        x, w = table[seen, j], weight[seen]
        mean = np.average(x, weights=w)
        assert moments.mean[j] - 1e6 == pytest.approx(mean, abs=1e-9)
        assert moments.variance[j] == pytest.approx(np.average((x - mean) ** 2, weights=w))
        assert (moments.low[j] - 1e6, moments.high[j] - 1e6) == pytest.approx((x.min(), x.max()))


def test_constant_and_blank_columns_do_not_vary():
    X = np.column_stack([np.full(1000, 0.1), np.full(1000, np.nan), np.arange(1000.0)])
    moments = Moments.of(DataSource(X), np.ones(1000))
    assert moments.variance[:2].tolist() == [0, 0]
    assert moments.mean[:2].tolist() == [0.1, 0]
    scale = moments.conditioning().scale
    assert scale == pytest.approx(np.sqrt(np.var(np.arange(1000)) / 2))


def rows_of(X, weight=None):
    weight = np.ones(len(X)) if weight is None else weight
    mean = np.average(X, axis=0, weights=weight)
    return RowDataset.of(
        DataSource(X), weight, Conditioning(mean, 1.0), torch.float32, complete=True
    )


@pytest.mark.parametrize("exact_up_to", [2048, 100, 5])
@pytest.mark.parametrize("spread", [1, 1e-4])
def test_axes_are_principal_components(table, exact_up_to, spread, monkeypatch):
    """By covariance, by decomposition of few rows, and by the truncated one."""
    monkeypatch.setattr(_principal_axes, "EXACT_UP_TO", exact_up_to)
    X = np.tile(table, (1, 20)) * np.geomspace(1, spread, 120)
    X = X[:90] if exact_up_to == 100 else X
    axes = principal_axes(rows_of(X), 5, np.random.RandomState(0))
    np.testing.assert_allclose(axes, PCA(5).fit(X).components_, atol=2e-3)


def test_axes_of_weighted_rows_are_those_of_repeated_ones(table, rng):
    weight = rng.integers(1, 5, 500)
    axes = principal_axes(rows_of(table, weight), 3, np.random.RandomState(0))
    np.testing.assert_allclose(axes, PCA(3).fit(np.repeat(table, weight, 0)).components_, atol=1e-5)


@pytest.mark.parametrize("exact_up_to", [2048, 60, 4])
def test_no_more_axes_than_the_rank(rng, exact_up_to, monkeypatch):
    monkeypatch.setattr(_principal_axes, "EXACT_UP_TO", exact_up_to)
    X = (rng.normal(size=(50, 2)) * [1, 1e-3]) @ rng.normal(size=(2, 70))
    X = X[:, :30] if exact_up_to == 4 else X
    assert principal_axes(rows_of(X), 9, np.random.RandomState(0)).shape == (2, X.shape[1])
