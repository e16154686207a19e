import numpy as np
import pytest
import torch

from skae import Autoencoder
from skae.data import Batches, Conditioning, DataSource, InMemoryDataset, RowDataset


@pytest.fixture
def incomplete(rng):
    X = rng.normal(5, 3, size=(10_000, 3))
    X[rng.random(X.shape) < 0.1] = np.nan
    return X


def test_conditioning_and_back(incomplete):
    conditioning = Conditioning(np.nanmean(incomplete, axis=0), 3.0)
    x, observed = conditioning.apply(incomplete, torch.float64)
    seen = ~np.isnan(incomplete)
    np.testing.assert_array_equal(observed, seen)
    np.testing.assert_array_equal(x.numpy()[~seen], 0)
    np.testing.assert_allclose(conditioning.undo(x.numpy())[seen], incomplete[seen])
    assert np.isnan(incomplete).any(), "the table given is not changed"
    full = np.nan_to_num(incomplete)
    assert conditioning.apply(full, torch.float32)[1] is None


def test_conditions_in_the_precision_of_x_and_then_casts():
    X = 1e8 + np.arange(4.0)[:, None]
    x, _ = Conditioning(np.array([1e8]), 1.0).apply(X, torch.float32)
    assert x[:, 0].tolist() == [0, 1, 2, 3]


def test_rows_in_chunks_are_rows_at_once(incomplete):
    conditioning = Conditioning(np.zeros(3), 2.0)
    rows = RowDataset.of(
        DataSource(incomplete),
        np.ones(len(incomplete)),
        conditioning,
        torch.float32,
        complete=False,
    )
    x, observed = conditioning.apply(incomplete, torch.float32)
    assert torch.equal(rows.x, x)
    assert torch.equal(rows.observed, observed)


def test_each_row_once_an_epoch_in_an_order_of_its_own():
    rows = InMemoryDataset(torch.arange(10.0)[:, None], None, torch.arange(10.0))
    generator = torch.Generator().manual_seed(0)
    batches = Batches(rows, 4, generator)
    epochs = [[b.x[:, 0].tolist() for b in batches] for _ in range(2)]
    assert [len(b) for b in epochs[0]] == [4, 4, 2]
    assert len(batches) == 3
    flat = [[x for batch in epoch for x in batch] for epoch in epochs]
    assert flat[0] != flat[1]
    assert sorted(flat[0]) == sorted(flat[1]) == list(range(10))
    assert [b.weight.tolist() for b in Batches(rows, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("loading", [{}, {"num_workers": 0}])
def test_rows_that_torchs_loader_reads_stay_where_they_are(loading):
    """The device 'meta' stands for a GPU; workers cannot read rows that are on one."""
    rows = InMemoryDataset(torch.zeros(6, 3), torch.ones(6, 3), torch.ones(6))
    batches = Batches(rows, 4, torch.Generator().manual_seed(0), **loading).to("meta")
    assert batches.rows.weight.device.type == ("cpu" if loading else "meta")
    assert batches.rows.x.device == batches.rows.observed.device == batches.rows.weight.device
    seen = list(batches)
    assert [len(batch.x) for batch in seen] == [4, 2]
    for batch in seen:
        assert {t.device.type for t in batch if isinstance(t, torch.Tensor)} == {"meta"}
        assert batch.progress is batches.progress


def test_torchs_loader_gives_the_same_batches(sheet):
    model = Autoencoder(2, max_iter=2, early_stopping=False, random_state=0)
    codes = model.fit_transform(sheet)
    loaded = model.set_params(net_params={"iterator_train__num_workers": 1}).fit_transform(sheet)
    assert np.array_equal(loaded, codes)
