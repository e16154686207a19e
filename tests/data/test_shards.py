"""Tables in several files, and files in half precision, are the same as one array in memory."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import skae
from skae import Autoencoder, KSparseAutoencoder, LinearAutoencoder
from skae.data import _chunks, read_source
from skae.data._shards import Shards
from tests.data.test_source import in_file

ml_dtypes = pytest.importorskip("ml_dtypes")
PLAIN = {"random_state": 0, "max_iter": 3}
MODELS = [
    LinearAutoencoder(2, random_state=0),
    Autoencoder(2, early_stopping=False, **PLAIN),
    Autoencoder(2, early_stopping=True, tol=0.1, **PLAIN),
    Autoencoder(2, loss="poisson", early_stopping=False, **PLAIN),
    KSparseAutoencoder(12, n_nonzero_coefs=2, sparse_output=True, **PLAIN),
    skae.VariationalAutoencoder(2, **PLAIN),
    skae.DenoisingAutoencoder(2, noise="swap", **PLAIN),
]
DTYPES = ["f8", "f2", "i2", ml_dtypes.bfloat16]
pytestmark = pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")


@pytest.fixture
def counts(rng):
    return rng.poisson(rng.gamma(0.3, size=(300, 1)) * rng.gamma(1, size=(1, 8))).astype(float)


def in_files(X, folder):
    """Return the rows of X in memory maps, one of them of one row and one of none."""
    bounds = [0, 90, 90, 91, len(X)]
    parts = [X[a:b] for a, b in pairwise(bounds)]
    return [
        in_file(part, folder / f"{i}") if len(part) else part[:0] for i, part in enumerate(parts)
    ]


def assert_equal(ours, theirs, X, Y):
    """Check that two fits have equal bits, also in what they return for equal samples."""
    assert ours.loss_curve_ == theirs.loss_curve_
    assert ours.validation_loss_curve_ == theirs.validation_loss_curve_
    for a, b in zip(ours.module_.parameters(), theirs.module_.parameters(), strict=True):
        assert torch.equal(a, b)
    assert ours.score(X) == theirs.score(Y)
    for method in ("transform", "reconstruct", "score_samples"):
        results = getattr(ours, method)(X), getattr(theirs, method)(Y)
        a, b = (r.toarray() if hasattr(r, "toarray") else r for r in results)
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("model", "dtype"), [(m, "f4") for m in MODELS] + [(MODELS[2], dtype) for dtype in DTYPES]
)
def test_shards_are_one_file(model, counts, dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(_chunks, "MAX_CHUNK_ROWS", 70)  # chunks across shards, and within them
    X = counts.astype(dtype)
    one = in_file(X, tmp_path / "one")
    shards = in_files(X, tmp_path)
    weight = np.arange(len(X)) % 3
    expected = clone(model).fit(one, sample_weight=weight)
    for table in (shards, tuple(shards), [np.array(shard) for shard in shards]):
        assert_equal(clone(model).fit(table, sample_weight=weight), expected, table, one)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_computed_in_float32(counts, dtype, tmp_path):
    X = counts.astype(dtype)
    single = X.astype(np.float32)
    missing = np.array(X)
    missing[5, 3] = np.nan
    model = MODELS[1]
    expected = clone(model).fit(in_file(single, tmp_path / "single"))
    ours = clone(model).fit(in_file(X, tmp_path / "half"))
    assert_equal(ours, expected, X, single)
    assert ours.mean_.dtype == ours.transform(X).dtype == np.float32
    in_memory = clone(model).fit(X)
    assert_equal(in_memory, clone(model).fit(single), in_file(X, tmp_path / "again"), single)
    assert np.array_equal(ours.transform(missing), ours.transform(missing.astype(np.float32)))
    missing[7, 2] = np.inf
    for table in (missing, in_file(missing, tmp_path / "missing")):
        with pytest.raises(ValueError, match=r"Column 2 of X holds infinity \(row 7\)"):
            ours.transform(table)


def test_missing_values_in_shards(counts, tmp_path, rng):
    X = np.where(rng.random(counts.shape) < 0.2, np.nan, counts)
    X[90] = np.nan  # the only row of its shard
    one, shards = in_file(X, tmp_path / "one"), in_files(X, tmp_path)
    model = MODELS[2]
    assert_equal(clone(model).fit(shards), clone(model).fit(one), shards, one)
    masked = [np.ma.masked_invalid(X[:100]), np.ma.masked_invalid(X[100:])]
    assert_equal(clone(model).fit(masked), clone(model).fit(one), masked, one)
    integers = np.ma.array(counts.astype(int), mask=counts > 2)
    table = [integers[:100], integers[100:].filled(0)]
    expected = np.r_[integers[:100].astype(float).filled(np.nan), integers[100:].filled(0)]
    fitted = clone(model).fit(in_file(expected, tmp_path / "integers"))
    assert_equal(clone(model).fit(table), fitted, table, expected)


def test_wide_shards(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(skae.data._principal_axes, "EXACT_UP_TO", 10)
    X = rng.normal(size=(120, 40))
    model = LinearAutoencoder(3, random_state=0)
    one, shards = in_file(X, tmp_path / "one"), in_files(X, tmp_path)
    assert_equal(clone(model).fit(shards), clone(model).fit(one), shards, one)


def test_chunks_of_a_stream_and_resumed_fits(counts, tmp_path):
    one, shards = in_file(counts, tmp_path / "one"), in_files(counts, tmp_path)
    for fits in (
        [Autoencoder(2, **PLAIN).partial_fit(X).partial_fit(X) for X in (shards, one)],
        [Autoencoder(2, warm_start=True, **PLAIN).fit(X).fit(X) for X in (shards, one)],
        [Autoencoder(2, checkpoint=tmp_path / "point", **PLAIN).fit(X) for X in (shards, one)],
    ):
        assert_equal(*fits, shards, one)


@pytest.mark.parametrize("dtype", ["f4", "f2", ml_dtypes.bfloat16])
def test_reading_shards_takes_no_memory_for_each_value(tmp_path, dtype):
    shape, size = (20_000, 500), 40_000_000
    model = LinearAutoencoder(2).fit(np.eye(500, dtype="f4"))
    files = [np.memmap(tmp_path / str(i), dtype=dtype, mode="w+", shape=shape) for i in range(4)]
    for X in (files, files[0]):
        tracemalloc.start()
        source = read_source(model, X, reset=False)
        source[np.arange(0, len(source), 1000)]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # A chunk in float32 and a mask of it.
        assert peak < 6 * _chunks.MAX_CHUNK_SIZE < size
        assert source.out_of_core


def test_rows_and_columns_of_shards(rng):
    X = rng.normal(size=(20, 5))
    shards = Shards([X[:0], X[:7], X[7:7], X[7:8], X[8:], X[:0]])
    assert (shards.shape, shards.dtype, len(shards)) == (X.shape, X.dtype, 20)
    indices = [slice(None), slice(2, 5), slice(3, 15), slice(7, 8), slice(18, 99), slice(20, 30)]
    indices += [np.array([19, 0, 7, 7, 8]), np.empty(0, int), np.arange(20)]
    for rows in indices:
        assert np.array_equal(shards[rows], X[rows])
        for columns in (slice(None), slice(1, 3), slice(4, 9)):
            assert np.array_equal(shards[rows, columns], X[rows, columns])
    assert np.shares_memory(shards[2:5], X)


def test_rows_in_a_list_are_a_table(counts):
    model = Autoencoder(2, early_stopping=False, **PLAIN)
    expected = clone(model).fit(counts).transform(counts)
    for rows in (counts.tolist(), list(counts), tuple(map(tuple, counts))):
        assert np.array_equal(clone(model).fit(rows).transform(rows), expected)


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        ([np.ones((3, 5))], r"X\[1\] has 5 columns, but X\[0\] has 8; the parts of a table"),
        ([np.ones((3, 8), "f4")], r"X\[1\] has dtype float32, but X\[0\] has float64; .* convert"),
        ([np.ones((3, 8)), np.ones(8)], r"X\[2\] is an array of shape \(8,\), but the parts"),
        ([np.ones((3, 8, 1))], r"X\[1\] is an array of shape \(3, 8, 1\), but the parts"),
        ([[[1.0] * 8]], r"X\[1\] is a list, but the parts of a table .* must all be 2-D arrays"),
        ([sparse.csr_array(np.eye(8))], r"X\[1\] is a csr_array, but the parts of a table"),
        ([pd.DataFrame(np.eye(8))], r"X\[1\] is a DataFrame, but the parts of a table"),
        ([np.full((2, 8), np.inf)], r"Column 0 of X\[1\] holds infinity \(row 0\); replace it"),
    ],
)
def test_what_is_no_table_is_refused(counts, others, sentence):
    model = Autoencoder(2, **PLAIN)
    with pytest.raises(ValueError, match=sentence):
        model.fit([counts, *others])
    assert not hasattr(model, "module_")
    with pytest.raises(ValueError, match=sentence):
        model.fit(counts).score_samples((counts, *others))


def test_sentences_of_scikit_learn(counts):
    model = Autoencoder(2, **PLAIN)
    for empty in ([], ()):
        with pytest.raises(ValueError, match="Expected 2D array, got 1D array instead"):
            model.fit(empty)
    with pytest.raises(ValueError, match=r"Found array with 1 sample\(s\).* a minimum of 2 is req"):
        model.fit([counts[:0], counts[:1]])
    with pytest.raises(ValueError, match=r"Found array with 0 feature\(s\)"):
        model.fit([counts[:, :0]])
    with pytest.raises(ValueError, match="Found array with dim 3"):
        model.fit(np.ones((2, 3, 4)))
    text = [np.array([["1", "red"]])]
    with pytest.raises(ValueError, match=r"Column 1 of X\[0\] holds text, such as 'red'; encode"):
        model.fit(text)
    model.fit(counts)
    with pytest.raises(ValueError, match="X has 3 features, but Autoencoder is expecting 8"):
        model.transform([counts[:, :3]])
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        model.transform([counts[:0]])


@pytest.mark.parametrize("kind", [sparse.csr_array, pd.DataFrame, torch.from_numpy])
def test_lists_of_other_tables_are_refused(kind, counts):
    parts = [kind(part) for part in np.split(counts, 2)]
    name = type(parts[0]).__name__
    with pytest.raises(ValueError, match=rf"X\[0\] is a {name}, but the parts of a table"):
        LinearAutoencoder(1).fit(parts)
    with pytest.raises(ValueError, match=rf"X\[0\] is a {name}, but the parts of a table"):
        LinearAutoencoder(1).fit(counts).transform(parts)


def test_other_estimators(counts, tmp_path):
    """Those that read rows in place take shards, others say that they do not."""
    shards, y = in_files(counts, tmp_path), np.arange(len(counts)) % 2
    small = Autoencoder(2, **PLAIN)
    for make in (
        lambda X: skae.AutoencoderOutlierDetector(small, random_state=0).fit(X).score_samples(X),
        lambda X: skae.AutoencoderClassifier(small, random_state=0).fit(X, y).predict_proba(X),
        lambda X: skae.AutoencoderSearch(small, random_state=0).fit(X).kneighbors(X)[0],
    ):
        one = in_file(counts, tmp_path / "one")
        assert np.array_equal(make(shards), make(one))
    for other in (skae.AutoencoderImputer(small), skae.AutoencoderCompressor(small)):
        with pytest.raises(
            ValueError, match=r"X is a list of 2-D arrays, the parts of a table, wh"
        ):
            other.fit(shards)
    with pytest.raises(ValueError, match=r"Z is a tuple of 2-D arrays.* numpy.concatenate\(Z\)"):
        small.fit(counts).inverse_transform((np.ones((3, 2)),))


def test_inner_fits_read_a_file_in_place(counts, tmp_path):
    seen = []

    class Seen(Autoencoder):
        def _after_fit(self, module, rows):
            seen.append(type(rows).__name__)

    for X in (in_file(counts, tmp_path / "one"), in_files(counts, tmp_path)):
        skae.AutoencoderOutlierDetector(Seen(2, **PLAIN), random_state=0).fit(X)
    assert set(seen) == {"LazyDataset"}


def test_scikit_learn_around_shards(counts, tmp_path):
    shards = in_files(counts, tmp_path)
    model = Autoencoder(2, early_stopping=False, **PLAIN)
    frame = clone(model).set_output(transform="pandas").fit_transform(shards)
    assert frame.shape == (300, 2)
    assert list(frame.columns) == ["autoencoder0", "autoencoder1"]
    # Functions that split X split the list: whole shards are held out.
    search = GridSearchCV(model, {"n_components": [1, 2]}, cv=2).fit([counts[:150], counts[150:]])
    expected = clone(model).set_params(n_components=2).fit(counts[150:]).score(counts[:150])
    scores = search.cv_results_["split0_test_score"]
    np.testing.assert_allclose(scores[1], expected, rtol=1e-4)
    codes = clone(model).fit(shards).transform(shards)
    LogisticRegression().fit(codes, np.arange(300) % 2)


def test_tensors_that_numpy_does_not_have_are_refused():
    with pytest.raises(TypeError, match="X is a Tensor that cannot be converted .* to float32"):
        Autoencoder(2).fit(torch.zeros((3, 2), dtype=torch.bfloat16))


def test_bfloat16_that_numpy_saved(counts, tmp_path):
    X = counts.astype(ml_dtypes.bfloat16)
    np.save(tmp_path / "X", X)
    loaded = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = MODELS[1]
    for table, name in ((loaded, "X"), ([loaded, loaded], r"X\[0\]")):
        with pytest.raises(ValueError, match=rf"{name} has dt.* {name}.view\(ml_dtypes.bfloat16\)"):
            clone(model).fit(table)
    table = loaded.view(ml_dtypes.bfloat16)
    one = in_file(X.astype("f4"), tmp_path / "one")
    assert_equal(clone(model).fit(table), clone(model).fit(one), table, one)
