import numpy as np
import pytest
import torch

from skae.data import (
    Batches,
    Conditioning,
    DataSource,
    InMemoryDataset,
    NeighborTargets,
    Random,
    RowDataset,
)
from skae.data import _neighbor_targets as module


def rows_of(X, observed=None):
    x = torch.as_tensor(X)
    return InMemoryDataset(x, observed, torch.ones(len(x), dtype=x.dtype))


def search(rows, kept=None, n_neighbors=3, walk_length=1):
    kept = np.arange(len(rows)) if kept is None else kept
    return NeighborTargets.search(rows, kept, n_neighbors, walk_length, np.random.RandomState(0))


def targets_of(data, index, seed=0):
    return data.batch(index, torch.zeros(()), Random(seed, data.weight)).target


@pytest.fixture(name="X")
def samples(rng):
    X = rng.normal(size=(60, 4))
    return X - X.mean(0)


def test_one_step_ends_at_one_of_the_nearest_neighbors(X):
    """Itself included, with equal probabilities."""
    distances = ((X[:, None] - X[None]) ** 2).sum(2)
    nearest = np.argsort(distances, axis=1)[:, :3]
    data = search(rows_of(X))
    ends = np.stack([targets_of(data, slice(None), seed) for seed in range(300)], axis=1)
    for sample, own in zip(ends, nearest, strict=True):
        share = (sample[:, None] == X[own][None]).all(2).mean(0)
        np.testing.assert_allclose(share, 1 / 3, atol=0.12)
        assert share.sum() == pytest.approx(1)


@pytest.mark.parametrize("walk_length", [2, 3])
def test_longer_walks_have_the_powers_of_the_transition_matrix(X, walk_length):
    X = X[:12]
    distances = ((X[:, None] - X[None]) ** 2).sum(2)
    step = np.zeros((12, 12))
    np.put_along_axis(step, np.argsort(distances, axis=1)[:, :3], 1 / 3, axis=1)
    data = search(rows_of(X), walk_length=walk_length)
    ends = np.stack([targets_of(data, slice(None), seed) for seed in range(2000)], axis=1)
    found = (ends[:, :, None] == X[None, None]).all(3).mean(1)
    np.testing.assert_allclose(found, np.linalg.matrix_power(step, walk_length), atol=0.06)


def test_validation_samples_are_no_targets_but_have_some(X):
    kept = np.arange(40)
    data = search(rows_of(X), kept, n_neighbors=5, walk_length=4)
    held_out = data.take(torch.arange(40, 60))
    for seed in range(20):
        for part in (data, held_out):
            ends = targets_of(part, slice(None), seed).numpy()
            assert (ends[:, None] == X[None, :40]).all(2).any(1).all()


def test_walks_stay_in_their_cluster(rng):
    X = rng.normal(size=(100, 3)) + np.repeat([-50, 50], 50)[:, None]
    ends = targets_of(search(rows_of(X), walk_length=20), slice(None)).numpy()
    assert np.array_equal(np.sign(ends[:, 0]), np.repeat([-1, 1], 50))


def test_targets_are_drawn_in_training_only_and_differ_by_step(X):
    data = search(rows_of(X), walk_length=5)
    assert data[torch.arange(5)].target is None
    plain = data[torch.arange(5)]
    assert torch.equal(plain.as_target().x, plain.x)
    batches = Batches(data, 60)
    batches.random = Random(0, data.weight)
    first, second = next(iter(batches)), next(iter(batches))
    assert not torch.equal(first.target, second.target)
    assert torch.equal(first.as_target().x, first.target)
    batches.random = Random(0, data.weight)
    assert torch.equal(next(iter(batches)).target, first.target)
    loaded = Batches(data, 60, num_workers=0)
    loaded.random = Random(0, data.weight)
    assert torch.equal(next(iter(loaded)).target, first.target)


def test_missing_cells_of_targets_are_known(rng, X):
    X[rng.random(X.shape) < 0.2] = np.nan
    conditioning = Conditioning(np.zeros(4), 1.0)
    weight = np.ones(60)
    source = DataSource(X)
    rows = RowDataset.of(source, weight, conditioning, torch.float64, complete=False)
    data = search(rows, walk_length=2)
    batch = data.batch(slice(None), torch.zeros(()), Random(0, data.weight))
    ends = np.where(batch.target_observed.bool(), batch.target, np.nan)
    same = (ends[:, None] == X[None]) | (np.isnan(ends)[:, None] & np.isnan(X)[None])
    assert same.all(2).any(1).all()
    assert torch.equal(batch.as_target().observed, batch.target_observed)


def test_of_many_samples_some_are_targets(X, monkeypatch):
    monkeypatch.setattr(module, "MAX_TARGETS", 10)
    data = search(rows_of(X), n_neighbors=3)
    assert len(data.targets) == 10
    assert data.neighbors.shape == (10, 3)
    ends = targets_of(data, slice(None)).numpy()
    assert len(np.unique(ends, axis=0)) <= 10


def test_fewer_samples_than_neighbors(X):
    assert search(rows_of(X[:2]), n_neighbors=10).first.shape == (2, 2)
