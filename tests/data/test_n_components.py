"""How many components: numbers, shares of the variance, None, 'auto' and 'mle'."""

import inspect
import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV

from skae import (
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    KSparseAutoencoder,
    LinearAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from skae.data import _n_components, _principal_axes

pytestmark = pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")

SHORT = {"max_iter": 1, "early_stopping": False, "random_state": 0}
VARIANTS = [
    LinearAutoencoder(**SHORT),
    Autoencoder(**SHORT),
    Autoencoder(init="random", linear_shortcut=False, **SHORT),
    Autoencoder(loss="poisson", **SHORT),
    ContractiveAutoencoder(**SHORT),
    VariationalAutoencoder(**SHORT),
    DenoisingAutoencoder(noise_level=(0.1, 0.5), **SHORT),
    SparseAutoencoder(**SHORT),
    KSparseAutoencoder(n_nonzero_coefs=1, **SHORT),
]
EVERY_VARIANT = pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: type(v).__name__)


@pytest.fixture(scope="module")
def wine():
    return load_wine().data


@pytest.mark.full
@pytest.mark.parametrize("asked", [0.5, 0.999, None])
@EVERY_VARIANT
def test_the_number_is_that_of_pca(variant, asked, wine):
    model = clone(variant).set_params(n_components=asked).fit(wine)
    k = PCA(asked).fit(wine).n_components_
    assert type(model.n_components_) is int
    assert model.n_components_ == k
    assert model.n_components is asked
    assert model.transform(wine).shape == (len(wine), k)
    assert len(model.get_feature_names_out()) == k
    assert model.reconstruct(wine).shape == wine.shape
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.transform(wine), model.transform(wine))


@EVERY_VARIANT
def test_a_share_is_the_fit_with_the_number_it_stands_for(variant, wine):
    by_share, by_number = (
        clone(variant).set_params(n_components=k).fit(wine).transform(wine) for k in (0.9999, 3)
    )
    np.testing.assert_array_equal(by_share, by_number)


@EVERY_VARIANT
def test_a_resumed_fit_keeps_its_number(variant, wine, rng):
    narrow = wine.mean(0) + np.abs(rng.normal(size=(50, 1))) * wine.std(0)
    model = clone(variant).set_params(n_components=0.9999, warm_start=True)
    model.partial_fit(wine)
    assert model.partial_fit(narrow).n_components_ == 3
    assert model.fit(narrow).n_components_ == 3
    model.set_params(n_components=3).partial_fit(narrow)
    model.set_params(n_components=0.5)
    assert model.transform(wine).shape[1] == 3
    with pytest.raises(ValueError, match="fit with n_components=3, but n_components=0.5 is set"):
        model.partial_fit(narrow)
    model.set_params(warm_start=False)
    assert model.fit(wine).n_components_ == 1


@pytest.mark.parametrize("n_samples", [5, 60])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99, 1 - 1e-9])
def test_the_share_is_exceeded_by_as_few_as_possible(share, n_samples, rng):
    X = rng.normal(size=(n_samples, 12)) * np.geomspace(1, 0.1, 12)
    model = LinearAutoencoder(share).fit(X)
    ratios = PCA().fit(X).explained_variance_ratio_
    assert ratios[: model.n_components_].sum() > share
    assert ratios[: model.n_components_ - 1].sum() <= share
    assert model.explained_variance_ratio_.sum() > share


def test_a_share_that_is_met_exactly_is_not_exceeded():
    X = np.array([[1.0, 0.0], [-1, 0], [0, 1], [0, -1]])
    assert PCA(0.5).fit(X).n_components_ == LinearAutoencoder(0.5).fit(X).n_components_ == 2


def test_missing_values_count_as_the_mean_and_weights_as_repetitions(wine, rng):
    X = np.where(rng.random(wine.shape) < 0.2, np.nan, wine)
    filled = np.where(np.isnan(X), np.nanmean(X, axis=0), X)
    weight = rng.integers(0, 4, len(X))
    for share in (0.5, 0.9999, 0.999999):
        model = LinearAutoencoder(share, max_iter=1).fit(X)
        assert model.n_components_ == PCA(share).fit(filled).n_components_
        weighted = LinearAutoencoder(share).fit(wine, sample_weight=weight)
        repeated = PCA(share).fit(wine.repeat(weight, axis=0))
        assert weighted.n_components_ == repeated.n_components_


@pytest.fixture
def exact_up_to(monkeypatch):
    def patch(n):
        for module in (_principal_axes, _n_components):
            monkeypatch.setattr(module, "EXACT_UP_TO", n)
        monkeypatch.setattr(_n_components, "INITIAL_COMPONENTS", 3)

    return patch


@pytest.mark.parametrize("kind", ["dense", "sparse", "file"])
@pytest.mark.parametrize("n_samples", [20, 200])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_many_columns(share, n_samples, kind, exact_up_to, rng, tmp_path):
    X = rng.normal(size=(n_samples, 40)) * np.geomspace(1, 0.05, 40)
    table = X
    if kind == "sparse":
        table = sparse.csr_array(X)
    if kind == "file":
        np.save(tmp_path / "X.npy", X)
        table = np.load(tmp_path / "X.npy", mmap_mode="r")
    exact_up_to(35)
    expected = PCA(share, svd_solver="full").fit(X).n_components_
    assert LinearAutoencoder(share, random_state=0).fit(table).n_components_ == expected


def test_too_many_columns(exact_up_to, rng):
    X = rng.normal(size=(50, 40))
    exact_up_to(10)
    model = LinearAutoencoder(0.9)
    with pytest.raises(ValueError, match=r"n_components=0.9 takes more than 10 components, too"):
        model.fit(sparse.csr_array(X))
    assert not hasattr(model, "n_components_")
    with pytest.raises(ValueError, match="needs n_components below 40, the smaller side of X"):
        LinearAutoencoder(None).fit(sparse.csr_array(X))
    with pytest.raises(ValueError, match="n_components='mle' needs .* at most 10 columns; X has"):
        LinearAutoencoder("mle").fit(X)


@pytest.mark.parametrize("scale", [1, 1e-9])
def test_minka_estimates_the_dimension(scale, rng):
    X = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 9)) + 0.1 * rng.normal(size=(500, 9))
    expected = PCA("mle").fit(X).n_components_
    assert LinearAutoencoder("mle").fit(scale * X).n_components_ == expected == 4


def test_minka_needs_rows_and_differences(rng):
    with pytest.raises(ValueError, match="at least as many rows as columns.*X has 5 rows and 9"):
        LinearAutoencoder("mle").fit(rng.normal(size=(5, 9)))
    ties = np.array([[1.0, 0.0], [-1, 0], [0, 1], [0, -1]])
    with pytest.raises(ValueError, match="'mle' is not defined where .* the same variance"):
        LinearAutoencoder("mle").fit(ties)
    assert LinearAutoencoder("mle").fit(rng.normal(size=(9, 1))).n_components_ == 1


@pytest.mark.parametrize("bad", [0, -1, 1.0, 0.0, -0.5, 2.5, np.nan, np.inf, True, "most", [2]])
@EVERY_VARIANT
def test_what_is_no_number_and_no_share_is_refused(variant, bad, wine):
    model = clone(variant).set_params(n_components=bad)
    with pytest.raises(ValueError, match="The 'n_components' parameter of .* must be an int in"):
        model.fit(wine)
    assert not hasattr(model, "n_components_")


def test_booleans_are_no_integers(wine):
    with pytest.raises(ValueError, match="The 'max_iter' parameter"):
        Autoencoder(max_iter=True).fit(wine)


@EVERY_VARIANT
def test_numpy_integers(variant, wine):
    assert clone(variant).set_params(n_components=np.int64(3)).fit(wine).n_components_ == 3


def test_only_the_linear_one_takes_mle(wine):
    for variant in VARIANTS[1:]:
        with pytest.raises(ValueError, match="The 'n_components' parameter"):
            clone(variant).set_params(n_components="mle").fit(wine)


@pytest.mark.parametrize("kind", [LinearAutoencoder, Autoencoder])
def test_search_over_numbers_and_shares(kind, wine):
    search = GridSearchCV(kind(**SHORT), {"n_components": [1, 0.9999, None]}, error_score="raise")
    assert search.fit(wine).best_estimator_.n_components_ == wine.shape[1]


def test_the_seed_does_not_change_what_a_share_stands_for(exact_up_to, rng):
    X = sparse.csr_array(rng.normal(size=(60, 40)))
    exact_up_to(30)
    numbers = {LinearAutoencoder(0.5, random_state=s).fit(X).n_components_ for s in range(3)}
    assert len(numbers) == 1


@EVERY_VARIANT
def test_documented(variant):
    doc = inspect.getdoc(type(variant))
    assert "fraction of the variance: as many components as" in " ".join(doc.split())
