import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA

from skae import Autoencoder, LinearAutoencoder
from skae.data import DataSource, _chunks, _principal_axes, drop_empty_rows, read_source

MODELS = pytest.mark.parametrize(
    "model",
    [
        LinearAutoencoder(2, random_state=0),
        Autoencoder(2, max_iter=3, random_state=0, early_stopping=False),
        Autoencoder(2, max_iter=3, random_state=0, early_stopping=True, tol=0.1),
        Autoencoder(2, max_iter=2, loss="poisson", early_stopping=False, random_state=0),
    ],
    ids=["linear", "deep", "held out", "poisson"],
)


@pytest.fixture
def counts(rng):
    return rng.poisson(rng.gamma(0.3, size=(300, 1)) * rng.gamma(1, size=(1, 8))).astype(float)


def in_file(X, path, order="C"):
    file = np.memmap(path, dtype=X.dtype, mode="w+", shape=X.shape, order=order)
    file[:] = X
    file.flush()
    return np.memmap(path, dtype=X.dtype, mode="r", shape=X.shape, order=order)


def same(a, b, X, Y):
    for method in ("transform", "reconstruct", "score_samples"):
        np.testing.assert_allclose(getattr(a, method)(X), getattr(b, method)(Y), atol=1e-4)


@pytest.mark.filterwarnings("ignore:No epoch:skae.AutoencoderWarning")
@MODELS
@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix, sparse.csc_array])
def test_sparse_rows_are_dense_rows(model, counts, kind):
    dense = model.fit(counts)
    codes = dense.transform(counts)
    assert np.allclose(dense.transform(kind(counts)), codes)
    again = type(model)(**model.get_params()).fit(kind(counts))
    same(dense, again, counts, kind(counts))


def test_reading_a_file_takes_no_memory_for_each_value(tmp_path):
    X = np.memmap(tmp_path / "X", dtype="f4", mode="w+", shape=(10_000, 500))
    model = LinearAutoencoder(2).fit(np.eye(500, dtype="f4"))
    tracemalloc.start()
    source = read_source(model, X, reset=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.size / 10  # a mask of the values is one byte for each
    assert source.out_of_core


@pytest.mark.filterwarnings("ignore:No epoch:skae.AutoencoderWarning")
@MODELS
@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_in_a_file_are_rows_in_memory(model, counts, dtype, order, tmp_path):
    X = counts.astype(dtype)
    file = in_file(X, tmp_path / "table", order)
    dense = model.fit(X)
    again = type(model)(**model.get_params()).fit(file)
    same(dense, again, X, file)


def test_a_file_with_missing_values(counts, tmp_path, rng):
    X = np.where(rng.random(counts.shape) < 0.2, np.nan, counts)
    X[7] = np.nan
    weight = rng.integers(0, 3, len(X)).astype(float)
    model = Autoencoder(2, max_iter=3, random_state=0, early_stopping=False)
    dense = model.fit(X, sample_weight=weight)
    for table in (in_file(X, tmp_path / "table"), sparse.csr_array(X)):
        again = type(model)(**model.get_params()).fit(table, sample_weight=weight)
        same(dense, again, X, table)


def test_rows_that_stay_are_never_read_at_once(counts, tmp_path, monkeypatch):
    monkeypatch.setattr(_chunks, "MAX_CHUNK_ROWS", 50)
    read = []
    original = DataSource.__getitem__

    def noting(self, which):
        rows = original(self, which)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(DataSource, "__getitem__", noting)
    model = Autoencoder(2, max_iter=2, early_stopping=False, batch_size=20)
    for table in (in_file(counts, tmp_path / "table"), sparse.csr_array(counts)):
        model.fit(table).score(table)
        assert max(read) <= 50
        assert not isinstance(table, sparse.csr_array) or max(read) <= 50


@pytest.mark.parametrize("has_missing", [False, True])
def test_axes_of_wide_rows_that_stay(rng, monkeypatch, has_missing, tmp_path):
    monkeypatch.setattr(_principal_axes, "EXACT_UP_TO", 10)
    X = sparse.random_array((200, 40), density=0.2, random_state=rng).toarray() * np.geomspace(
        1, 0.1, 40
    )
    if has_missing:
        X[3, 4] = np.nan
    filled = np.where(np.isnan(X), np.nanmean(X, axis=0), X)
    exact = PCA(3, svd_solver="full").fit(filled).components_
    for table in (sparse.csr_array(X), in_file(X, tmp_path / "table")):
        start = LinearAutoencoder(3, max_iter=1, learning_rate=1e-12, random_state=0).fit(table)
        signs = np.sign((start.components_ * exact).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(signs * start.components_, exact, atol=1e-5)
    with pytest.raises(ValueError, match="needs n_components below 40, the smaller side of X"):
        LinearAutoencoder(40).fit(sparse.csr_array(X))


def test_infinity_in_a_sparse_matrix_is_named(counts):
    counts[5, 2] = np.inf
    with pytest.raises(ValueError, match=r"Column 2 of X holds infinity \(row 5\)"):
        LinearAutoencoder(2).fit(sparse.csr_array(counts))


def test_known_rows_of_a_table_that_stays_are_an_index(counts):
    table, weight = drop_empty_rows(DataSource(sparse.csr_array(counts)), np.arange(300.0))
    assert table.X.shape == (300, 8)
    assert table.shape == (299, 8)
    np.testing.assert_array_equal(table[np.array([0, 5])], counts[[1, 6]])
    assert weight.max() < 1


@MODELS
def test_entries_of_a_sparse_matrix_that_share_a_cell_add_up(model, counts):
    once = sparse.csr_array(counts)
    halves = sparse.csr_array(
        (np.repeat(once.data / 2, 2), np.repeat(once.indices, 2), 2 * once.indptr), once.shape
    )
    model = clone(model).set_params(early_stopping=False)
    expected = clone(model).fit(once)
    model.fit(halves)
    assert halves.nnz == 2 * once.nnz, "the matrix given is not changed"
    np.testing.assert_array_equal(model.mean_, expected.mean_)
    np.testing.assert_array_equal(model.transform(halves), expected.transform(once))
