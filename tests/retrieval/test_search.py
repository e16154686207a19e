"""Search by codes: exact neighbors, graphs, storage and what is refused."""

import os
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier, KNeighborsTransformer, NearestNeighbors
from sklearn.pipeline import make_pipeline

import skae
from skae import Autoencoder, AutoencoderSearch, LinearAutoencoder, QuantizedAutoencoder
from skae.retrieval import _hamming, _search

X, Y = load_digits(return_X_y=True)
X = X / 16
STORED, NEW = X[:300], X[300:360]
SHORT = {"max_iter": 2, "early_stopping": False, "random_state": 0}


def bits(n_bits=12, **kwargs):
    """Codes of few bits, so that many distances are equal."""
    return AutoencoderSearch(QuantizedAutoencoder(n_bits, **SHORT), **kwargs)


def floats(**kwargs):
    return AutoencoderSearch(Autoencoder(5, **SHORT), **kwargs)


SEARCHES = {
    "bits": bits,
    "floats": floats,
    "levels": lambda **kwargs: AutoencoderSearch(
        QuantizedAutoencoder(4, levels=5, **SHORT), **kwargs
    ),
}


@pytest.fixture(scope="module", params=SEARCHES)
def search(request):
    return SEARCHES[request.param]().fit(STORED)


@pytest.fixture(scope="module")
def binary():
    return bits().fit(STORED)


def brute_force(distances, k, own=False):
    """Return the k nearest by sorting all distances; of equal ones, the lower index is first."""
    distances = distances.astype(np.float64)
    if own:
        np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), order


def hamming(A, B):
    return (A[:, None] != B[None]).sum(axis=2)


# ------------------------------------------------------------------------------------- Hamming


@pytest.mark.parametrize("n_bits", [1, 7, 8, 12, 64, 65, 192, 200, 300])
@pytest.mark.parametrize("chunk", [2**16, 37])
@pytest.mark.parametrize("n_groups", [256, 4])
def test_packed_codes_give_the_neighbors_of_brute_force(monkeypatch, n_bits, chunk, n_groups):
    monkeypatch.setattr(_hamming, "MAX_CHUNK_CODES", chunk)
    monkeypatch.setattr(_hamming, "N_GROUPS", n_groups)
    rng = np.random.default_rng(n_bits)
    centers = rng.choice([-1.0, 1.0], size=(5, n_bits))
    codes = centers[rng.integers(5, size=150)] * rng.choice([-1, 1, 1, 1], size=(150, n_bits))
    codes[:2] = [[-1.0], [1.0]]  # as far from each other as possible
    queries = codes[:40]
    stored, packed = _hamming.pack(codes), _hamming.pack(queries)
    assert stored.shape == (150, -(-n_bits // 8))
    exact = hamming(queries, codes)
    for k in (1, 3, 149):
        for found, wanted in zip(
            _hamming.kneighbors(stored, packed, k), brute_force(exact, k), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)
        for found, wanted in zip(
            _hamming.kneighbors(stored, stored, k, exclude_self=True),
            brute_force(hamming(codes, codes), k, own=True),
            strict=True,
        ):
            np.testing.assert_array_equal(found, wanted)
    for radius in (0, 2, n_bits, np.inf):
        distances, indices = _hamming.radius_neighbors(stored, packed, radius)
        for i in range(len(queries)):
            within = np.flatnonzero(exact[i] <= radius)
            order = within[np.argsort(exact[i, within], kind="stable")]
            np.testing.assert_array_equal(indices[i], order)
            np.testing.assert_array_equal(distances[i], exact[i, order])
        own = _hamming.radius_neighbors(stored, packed, radius, exclude_self=True)[1]
        assert all(i not in found for i, found in enumerate(own))
        assert [len(a) - 1 for a in indices] == list(map(len, own))


def test_all_equal_codes_are_in_order_of_index():
    stored = np.zeros((70_000, 4), dtype=np.uint8)
    distances, indices = _hamming.kneighbors(stored, stored[:2], 5, exclude_self=True)
    np.testing.assert_array_equal(indices, [[1, 2, 3, 4, 5], [0, 2, 3, 4, 5]])
    assert not distances.any()


def test_distances_are_numbers_of_bits_that_differ(binary):
    codes = binary.estimator_.transform
    assert binary.codes_.dtype == np.uint8
    assert binary.codes_.shape == (300, 2)
    np.testing.assert_array_equal(binary.encode(NEW), np.packbits(codes(NEW) > 0, axis=1))
    distances, indices = binary.kneighbors(NEW, 7)
    assert (distances.dtype, indices.dtype) == (np.float64, np.intp)
    wanted = brute_force(hamming(codes(NEW), codes(STORED)), 7)
    np.testing.assert_array_equal(distances, wanted[0])
    np.testing.assert_array_equal(indices, wanted[1])


# ------------------------------------------------------------------------- as in scikit-learn


def test_other_codes_are_searched_by_nearest_neighbors():
    model = floats().fit(STORED)
    theirs = NearestNeighbors().fit(model.estimator_.transform(STORED))
    queries = model.estimator_.transform(NEW)
    for ours, wanted in (
        (model.kneighbors(NEW, 4), theirs.kneighbors(queries, 4)),
        (model.kneighbors(), theirs.kneighbors()),
    ):
        np.testing.assert_array_equal(ours[0], wanted[0])
        np.testing.assert_array_equal(ours[1], wanted[1])
    ours = model.radius_neighbors(NEW, 0.5)
    wanted = theirs.radius_neighbors(queries, 0.5, sort_results=True)
    for i in range(len(NEW)):
        np.testing.assert_array_equal(ours[0][i], wanted[0][i])
        np.testing.assert_array_equal(ours[1][i], wanted[1][i])


@pytest.mark.parametrize("mode", ["distance", "connectivity"])
def test_graphs_are_those_of_scikit_learn(mode):
    """On Euclidean distances, which have no ties: of the same codes."""
    model = floats(mode=mode, n_neighbors=3).fit(STORED)
    codes, queries = model.codes_, model.encode(NEW)
    theirs = KNeighborsTransformer(mode=mode, n_neighbors=3).fit(codes)
    for ours, wanted in (
        (model.transform(NEW), theirs.transform(queries)),
        (clone(model).fit_transform(STORED), theirs.fit_transform(codes)),
        (model.kneighbors_graph(mode=mode), theirs.kneighbors_graph(mode=mode)),
        (model.kneighbors_graph(NEW, 2, mode), theirs.kneighbors_graph(queries, 2, mode)),
        (
            model.radius_neighbors_graph(NEW, 0.4, mode),
            NearestNeighbors().fit(codes).radius_neighbors_graph(queries, 0.4, mode, True),
        ),
    ):
        assert type(ours) is type(wanted)
        assert ours.shape == wanted.shape
        assert ours.nnz == wanted.nnz
        np.testing.assert_allclose(ours.toarray(), wanted.toarray())
    np.testing.assert_array_equal(model.get_feature_names_out()[:1], ["autoencodersearch0"])
    assert len(model.get_feature_names_out()) == 300


def test_graph_of_bits_is_the_one_of_their_distances(binary):
    distances, indices = binary.kneighbors(NEW, 6)
    graph = binary.transform(NEW)  # n_neighbors + 1
    assert graph.nnz == distances.size  # zeros are stored
    np.testing.assert_array_equal(graph.indices.reshape(-1, 6), indices)
    np.testing.assert_array_equal(graph.data.reshape(-1, 6), distances)
    radius = binary.radius_neighbors_graph(NEW, 2, "distance")
    np.testing.assert_array_equal(
        np.diff(radius.indptr),
        list(map(len, binary.radius_neighbors(NEW, 2, return_distance=False))),
    )


def test_it_stands_before_a_classifier_of_distances():
    search = AutoencoderSearch(QuantizedAutoencoder(32, **SHORT), n_neighbors=5)
    pipeline = make_pipeline(search, KNeighborsClassifier(5, metric="precomputed"))
    pipeline.fit(X[:1000], Y[:1000])
    assert pipeline.score(X[1000:], Y[1000:]) > 0.75
    indices = pipeline[0].kneighbors(X[1000:], return_distance=False)
    votes = [np.bincount(near, minlength=10).argmax() for near in Y[indices]]
    np.testing.assert_array_equal(pipeline.predict(X[1000:]), votes)


def test_stored_samples_are_not_their_own_neighbors(search):
    distances, indices = search.kneighbors(n_neighbors=299)
    assert distances.shape == (300, 299)
    assert not (indices == np.arange(300)[:, None]).any()
    assert (np.sort(indices, axis=1) == [np.delete(np.arange(300), i) for i in range(300)]).all()
    assert (np.diff(distances, axis=1) >= 0).all()
    for i, found in enumerate(search.radius_neighbors(radius=0.3, return_distance=False)):
        assert i not in found


def test_neighbors_of_a_query_do_not_depend_on_the_others(search):
    distances, indices = search.kneighbors(NEW)
    alone = [search.kneighbors(row[None]) for row in NEW[:10]]
    np.testing.assert_allclose(np.concatenate([d for d, _ in alone]), distances[:10], atol=1e-6)
    np.testing.assert_array_equal(np.concatenate([i for _, i in alone]), indices[:10])


# ------------------------------------------------------------------------------------- storage


def test_adding_is_storing_the_codes_of_all(search):
    codes = search.encode(X[:400])
    added = pickle.loads(pickle.dumps(search)).add(X[300:350]).add(X[350:400])
    np.testing.assert_allclose(added.codes_, codes, rtol=1e-12)
    assert added.n_samples_fit_ == 400
    assert added.transform(NEW).shape == (60, 400)
    np.testing.assert_allclose(added.kneighbors(X[300:400], 1)[0], 0, atol=1e-6)
    assert search.n_samples_fit_ == 300


@pytest.mark.parametrize("rerank", [None, 20])
@pytest.mark.parametrize("kind", ["bits", "floats"])
def test_in_files_as_in_memory(tmp_path, monkeypatch, kind, rerank):
    monkeypatch.setattr("skae.data._chunks.MAX_CHUNK_ROWS", 70)
    incomplete = np.where(np.arange(64) == np.arange(300)[:, None] % 70, np.nan, STORED)
    in_memory = SEARCHES[kind](rerank=rerank).fit(incomplete).add(NEW)
    mapped = SEARCHES[kind](rerank=rerank, memmap_dir=tmp_path).fit(incomplete)
    before = mapped.kneighbors(NEW)
    first = pickle.loads(pickle.dumps(mapped))
    mapped.add(NEW)
    np.testing.assert_allclose(first.kneighbors(NEW), before, atol=1e-5)
    files = ["codes.npy"] + ["rows.npy"] * (rerank is not None)
    assert sorted(os.listdir(tmp_path)) == files
    assert isinstance(mapped.codes_, np.memmap)
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), mapped.codes_)
    np.testing.assert_allclose(mapped.codes_, in_memory.codes_, atol=1e-6)
    for ours, wanted in zip(mapped.kneighbors(NEW), in_memory.kneighbors(NEW), strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-5)
    skae.save(mapped, tmp_path / "model")
    for again in (skae.load(tmp_path / "model"), pickle.loads(pickle.dumps(mapped))):
        assert type(again.codes_) is np.ndarray
        np.testing.assert_array_equal(again.codes_, mapped.codes_)
        np.testing.assert_allclose(again.kneighbors(NEW), mapped.kneighbors(NEW), atol=1e-5)
        assert isinstance(again.add(NEW).codes_, np.memmap)


def test_another_fit_into_the_same_folder_leaves_what_was_mapped(tmp_path):
    first = bits(memmap_dir=str(tmp_path)).fit(STORED)
    codes = np.array(first.codes_)
    bits(20, memmap_dir=str(tmp_path)).fit(NEW)
    np.testing.assert_array_equal(first.codes_, codes)


@pytest.mark.parametrize("folder", ["none", "", "a\0b"])
def test_a_folder_that_is_not_there_is_refused(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    model = bits(memmap_dir=folder)
    with pytest.raises(ValueError, match=r"memmap_dir=.* is not a directory; create it or"):
        model.fit(STORED)
    assert not os.listdir(tmp_path)
    assert not hasattr(model, "codes_")


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_add_changes_nothing(tmp_path, monkeypatch, error):
    model = bits(memmap_dir=tmp_path, rerank=10).fit(STORED)
    before, content = vars(model).copy(), (tmp_path / "codes.npy").read_bytes()

    def interrupted(*args):
        raise error

    monkeypatch.setattr(AutoencoderSearch, "_rows_of", interrupted)
    with pytest.raises(error):
        model.add(NEW)
    assert vars(model) == before
    assert (tmp_path / "codes.npy").read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == ["codes.npy", "rows.npy"]


def test_a_fit_that_fails_changes_nothing(binary):
    model = pickle.loads(pickle.dumps(binary))
    before = vars(model).copy()
    for wrong, message in ((np.inf, "holds infinity"), (1.0, "no column that varies|constant")):
        with pytest.raises(ValueError, match=message):
            model.fit(np.full((20, 64), wrong))
        assert vars(model) == before


# ------------------------------------------------------------------------------------ re-ranking


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("own", [False, True])
def test_reranking_is_brute_force_over_the_nearest_codes(monkeypatch, dtype, own):
    monkeypatch.setattr("skae.retrieval._neighbors.MAX_CHUNK_SIZE", 5000)
    stored = STORED.astype(dtype)
    stored[::7, 3] = np.nan
    queries = stored if own else np.where(np.arange(64) == 5, np.nan, NEW).astype(dtype)
    model = bits(rerank=30).fit(stored)
    assert model.rows_.dtype == dtype
    distances, indices = model.kneighbors(None if own else queries, 4)
    by_code = model.set_params(rerank=None).kneighbors(None if own else queries, 30)[1]
    model.set_params(rerank=30)
    filled, rows = (
        np.where(np.isnan(A), model.estimator_.reconstruct(A), A).astype(float)
        for A in (stored, queries)
    )
    np.testing.assert_allclose(model.rows_, filled, rtol=1e-6)
    for i, row in enumerate(rows):
        exact = np.sqrt(((filled[by_code[i]] - row) ** 2).sum(axis=1))
        order = np.argsort(exact, kind="stable")[:4]
        np.testing.assert_array_equal(indices[i], by_code[i][order])
        np.testing.assert_allclose(distances[i], exact[order], rtol=1e-6)


def test_more_candidates_than_samples_are_all_samples():
    model = bits(rerank=1000).fit(STORED)
    theirs = NearestNeighbors(algorithm="brute").fit(STORED)
    np.testing.assert_allclose(model.kneighbors(NEW)[0], theirs.kneighbors(NEW)[0])


# ----------------------------------------------------------------------------- input and refusals


def test_default_codes_are_bits_that_find_the_same_digit():
    search = AutoencoderSearch(random_state=0).fit(X[:800])
    again = AutoencoderSearch(random_state=0).fit(X[:800])
    np.testing.assert_array_equal(search.codes_, again.codes_)
    assert search.codes_.shape == (800, 4)
    for name, value in _search.DEFAULTS.items():
        assert getattr(search.estimator_, name) == value
    assert (Y[search.kneighbors(X[1500:])[1]] == Y[1500:, None]).mean() > 0.8


def test_documentation_names_the_default():
    assert ", ".join(f"{k}={v}" for k, v in _search.DEFAULTS.items()) in AutoencoderSearch.__doc__


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
@pytest.mark.parametrize("shape", [(40, 1), (40, 3), (2, 3)])
def test_more_bits_than_columns(shape):
    table = np.random.default_rng(0).normal(size=shape)
    search = AutoencoderSearch(AutoencoderSearch()._estimator().set_params(max_iter=2))
    assert search.fit(table).codes_.shape == (shape[0], 4)
    assert search.kneighbors(table, 2)[1].shape == (shape[0], 2)


@pytest.mark.parametrize("kind", SEARCHES)
def test_kinds_of_input_agree(kind):
    model = SEARCHES[kind]().fit(STORED)
    indices = model.kneighbors(NEW)[1]
    for table in (sparse.csr_array(NEW), NEW.tolist(), pd.DataFrame(NEW), np.asfortranarray(NEW)):
        np.testing.assert_array_equal(model.kneighbors(table)[1], indices)
    single = clone(model).fit(STORED.astype(np.float32))
    if kind != "bits":
        assert single.codes_.dtype == single.encode(NEW).dtype == np.float32
    assert (single.kneighbors(NEW.astype(np.float32))[1] == indices).mean() > 0.95


def test_missing_values_are_accepted_and_infinity_is_not(search):
    incomplete = np.where(np.arange(64) % 9 == 0, np.nan, NEW)
    assert np.isfinite(search.kneighbors(incomplete)[0]).all()
    assert search.kneighbors(np.full((1, 64), np.nan))[1].shape == (1, 5)
    wrong = NEW.copy()
    wrong[3, 2] = np.inf
    for call in (search.kneighbors, search.radius_neighbors, search.transform, search.add):
        with pytest.raises(ValueError, match="Column 2 of X holds infinity"):
            call(wrong)


def test_names_of_columns_are_checked():
    frame = pd.DataFrame(STORED, columns=[f"p{i}" for i in range(64)])
    model = bits().fit(frame)
    assert model.feature_names_in_[1] == "p1"
    for call in (model.kneighbors, model.add, model.encode):
        with pytest.raises(ValueError, match="feature names should match"):
            call(frame.rename(columns={"p1": "other"}))


def test_weights_are_those_of_the_training(binary):
    weight = np.r_[np.ones(200), np.zeros(100)]
    model = bits().fit(STORED, sample_weight=weight)
    assert model.n_samples_fit_ == 300
    np.testing.assert_array_equal(model.codes_[:200], bits().fit(STORED[:200]).codes_)


def test_weights_are_routed_to_the_autoencoder():
    weight = np.r_[np.ones(200), np.zeros(100)]
    wanted = bits().fit(STORED, sample_weight=weight).codes_
    with config_context(enable_metadata_routing=True):
        inner = QuantizedAutoencoder(12, **SHORT).set_fit_request(sample_weight=True)
        model = AutoencoderSearch(inner).fit(STORED, sample_weight=weight)
        assert AutoencoderSearch()._estimator().get_metadata_routing().fit.requests == {
            "sample_weight": True
        }
    np.testing.assert_array_equal(model.codes_, wanted)
    with pytest.raises(ValueError, match="Passing extra keyword arguments"):
        bits().fit(STORED, other=weight)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.kneighbors(NEW, 301), "only 300 of the n_samples = 300 stored samples can"),
        (lambda m: m.kneighbors(None, 300), "n_neighbors=300, but only 299 of the"),
        (lambda m: m.kneighbors(NEW, 0), "n_neighbors must be a positive integer; got 0"),
        (lambda m: m.kneighbors(NEW, 2.5), "n_neighbors must be a positive integer; got 2.5"),
        (lambda m: m.radius_neighbors(NEW, -1), "radius must be a number of at least 0; got -1"),
        (lambda m: m.radius_neighbors(NEW, np.nan), "radius must be a number of at least 0"),
        (lambda m: m.radius_neighbors(NEW, "a"), "radius must be a number of at least 0"),
        (lambda m: m.kneighbors_graph(NEW, mode="none"), "mode must be 'connectivity' or 'dist"),
        (lambda m: m.add(NEW[:, :9]), "X has 9 features, but AutoencoderSearch is expecting 64"),
        (lambda m: m.set_params(rerank=9).kneighbors(NEW), "needs the stored samples, but fit had"),
        (lambda m: m.set_params(rerank=3).kneighbors(NEW), "n_neighbors=5 is more than rerank=3"),
        (lambda m: m.set_params(n_bits=0).fit(NEW), "The 'n_bits' parameter of AutoencoderSearch"),
        (lambda m: m.set_params(rerank=0).fit(NEW), "The 'rerank' parameter of AutoencoderSearch"),
        (lambda m: m.fit(NEW[:1]), "minimum of 2 is required"),
        (lambda m: clone(m).kneighbors(NEW), "is not fitted yet"),
        (lambda m: clone(m).add(NEW), "is not fitted yet"),
        (lambda m: clone(m).transform(NEW), "is not fitted yet"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(binary, call, message):
    model = pickle.loads(pickle.dumps(binary))
    with pytest.raises(ValueError, match=message):
        call(model)
    np.testing.assert_array_equal(model.codes_, binary.codes_)


def test_samples_whose_distances_overflow_are_refused():
    search = AutoencoderSearch(LinearAutoencoder(1), n_neighbors=1).fit(np.array([[0.0], [1.0]]))
    for ask in (search.kneighbors, search.add):
        with pytest.raises(ValueError, match="Row 1 of X is so far .* that its result overflows"):
            ask(np.array([[0.5], [-1e300]]))
    np.testing.assert_array_equal(search.kneighbors()[1], [[1], [0]])


def test_forged_codes_are_refused(binary, tmp_path):
    for name, value in (
        ("codes_", binary.codes_[:, :1]),
        ("codes_", binary.codes_ | 1),
        ("codes_", binary.codes_[:0]),
        ("codes_", binary.codes_.astype(float)),
        ("codes_", binary.codes_.astype(np.uint16)),
        ("rows_", STORED[:5]),
        ("rows_", STORED.astype(np.float16)),
        ("estimator_", LinearAutoencoder(2)),
        ("estimator_", LinearAutoencoder(2).fit(STORED)),
    ):
        model = pickle.loads(pickle.dumps(binary))
        setattr(model, name, value)
        with pytest.raises(ValueError, match="cannot be written by skae.save"):
            skae.save(model, tmp_path / "model")
