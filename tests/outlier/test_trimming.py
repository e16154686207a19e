"""Training samples that are probably outliers are found and excluded."""

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import nan_euclidean_distances

from skae import AutoencoderOutlierDetector, LinearAutoencoder
from skae.data import DataSource
from skae.outlier import _trimming
from skae.outlier._trimming import Distances, isolated_groups, probable_outliers

LINEAR = LinearAutoencoder(4, max_iter=2)


def outliers(X, trim="auto"):
    return probable_outliers(DataSource(X), np.ones(X.shape[0]), trim)


def planted(rng, n, spread, d=4):
    """Return 400 samples, the last n of which are a group far from the others."""
    group = 8 + spread * rng.normal(size=(n, d)) / np.sqrt(d)
    return np.r_[rng.normal(size=(400 - n, d)), group]


def remoteness(X, distances):
    """Return the remoteness by its definition, given all distances."""
    random, n = np.random.RandomState(0), len(X)
    drawn = [
        random.choice(n, _trimming.SUBSAMPLE_SIZE, False, np.full(n, 1 / n))
        for _ in range(_trimming.N_SUBSAMPLES)
    ]
    distances = distances + np.where(np.eye(n), np.inf, 0)
    nearest = np.sort([distances[:, index].min(1) for index in drawn], axis=0)
    return nearest[_trimming.N_SUBSAMPLES // 2]


@pytest.mark.parametrize("missing", [False, True])
def test_remoteness_is_the_median_distance_to_the_nearest_of_few(rng, missing):
    X = rng.normal(size=(60, 3)) + 100
    if missing:
        X[rng.random(X.shape) < 0.1] = np.nan
        X = X[~np.isnan(X).all(axis=1)]
    distances = nan_euclidean_distances(X) if missing else cdist(X, X)
    found = Distances(DataSource(X), np.ones(len(X)))
    expected = remoteness(X, np.nan_to_num(distances, nan=np.inf)) / found.scale
    np.testing.assert_allclose(found.remoteness(), expected, rtol=1e-6)


@pytest.mark.parametrize("spread", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("n", [4, 12, 40])
def test_groups_of_outliers_are_found(rng, n, spread):
    found = outliers(planted(rng, n, spread))
    assert found[-n:].mean() > 0.9
    assert found[:-n].mean() < 0.15


def test_few_normal_samples_are_taken_for_outliers(rng):
    for X in (rng.normal(size=(500, 4)), rng.uniform(size=(500, 4)), rng.normal(size=(30, 2))):
        assert outliers(X).mean() < 0.2


def test_a_share_is_that_of_the_most_remote(rng):
    X = planted(rng, 40, 0.2)
    np.testing.assert_array_equal(np.flatnonzero(outliers(X, trim=0.1)), np.arange(360, 400))
    few = np.c_[[0.0, 1.0, 2.0, 9.0]]
    np.testing.assert_array_equal(outliers(few, trim=0.25), [False, False, False, True])
    assert not outliers(few).any()


def test_equal_samples_are_no_outliers(rng):
    assert not outliers(np.zeros((50, 3))).any()
    X = np.repeat(rng.normal(size=(3, 4)), [100, 90, 80], axis=0)
    assert not outliers(X).any()
    assert not outliers(np.eye(3)).any()  # too few to tell


def test_outliers_do_not_depend_on_location_scale_or_storage(rng, tmp_path):
    X = planted(rng, 20, 0.5)
    found = outliers(X)
    for scale in (1e-60, 1e60):
        np.testing.assert_array_equal(outliers(X * scale), found)
    np.testing.assert_array_equal(outliers(X + 1000), found)
    np.testing.assert_array_equal(outliers(sparse.csr_array(X)), found)
    np.save(tmp_path / "X.npy", X)
    in_file = DataSource(np.load(tmp_path / "X.npy", mmap_mode="r"), in_place=True)
    np.testing.assert_array_equal(probable_outliers(in_file, np.ones(len(X)), "auto"), found)


def test_many_samples_are_compared_with_some(rng, monkeypatch):
    X = planted(rng, 20, 0.2)
    monkeypatch.setattr(_trimming, "MAX_REFERENCES", 150)
    found = outliers(X)
    assert found[-20:].mean() > 0.9
    assert found[:-20].mean() < 0.15


def test_detectors_see_groups_in_their_training_data(rng):
    train, test = planted(rng, 20, 0.2), planted(rng, 20, 0.2)
    labels = np.repeat([0, 1], [380, 20])
    aurocs = {}
    for trim in ("auto", 0):
        model = AutoencoderOutlierDetector(LINEAR, method="neighbors", trim=trim).fit(train)
        aurocs[trim] = roc_auc_score(labels, -model.score_samples(test))
    assert aurocs["auto"] > 0.95
    assert aurocs[0] < 0.5


def test_novelty_detection_uses_all_samples_and_one_neighbor(rng):
    X = planted(rng, 20, 0.2)
    model = AutoencoderOutlierDetector(LINEAR, method="neighbors", novelty=True).fit(X)
    assert model.support_.all()
    (criterion,) = model._criteria
    assert criterion.n_neighbors == 1
    chosen = model.set_params(trim=0.05, n_neighbors=3).fit(X)
    assert (~chosen.support_).sum() == 20
    assert chosen._criteria[0].n_neighbors == 3


def between(rng, n, spread, d=5):
    """Return 600 samples, the last n of which are a group between two larger ones."""
    large = np.where(rng.random(600 - n) < 0.5, -6, 6)[:, None] + rng.normal(size=(600 - n, d))
    return np.r_[large, spread * rng.normal(size=(n, d)) / np.sqrt(d)]


@pytest.mark.parametrize("n", [8, 20, 60])
def test_isolated_groups_are_found_between_others(rng, n):
    X = between(rng, n, 0.3)
    found = isolated_groups(Distances(DataSource(X), np.ones(len(X))))
    np.testing.assert_array_equal(np.flatnonzero(found), np.arange(600 - n, 600))
    assert outliers(X)[-n:].all()


@pytest.mark.full
def test_isolated_groups_are_those_of_the_mutual_reachability_graph(rng):
    X = np.r_[between(rng, 20, 0.3), between(rng, 12, 0.1) + 20]
    X = X[rng.permutation(len(X))[:300]]
    found = isolated_groups(Distances(DataSource(X), np.ones(len(X))))
    distance = cdist(X, X)
    core = np.sort(distance, axis=1)[:, 5]
    reach = np.maximum(distance, np.maximum(core[:, None], core))
    np.fill_diagonal(reach, np.inf)
    # A group that is linked at a distance is a component of the graph of smaller distances.
    expected = np.zeros(len(X), dtype=bool)
    for link in np.unique(reach[np.isfinite(reach)])[:20_000:50]:
        _, component = connected_components(reach <= link)
        for group in (component == label for label in np.unique(component)):
            gap = reach[np.ix_(group, ~group)].min() if not group.all() else 0
            if 5 < group.sum() <= 0.15 * len(X) and gap > 2.25 * link:
                expected |= group
    assert expected.any()
    np.testing.assert_array_equal(found, expected)


def test_other_data_have_no_isolated_groups(rng):
    for X in (
        rng.normal(size=(300, 2)),
        rng.uniform(size=(500, 4)),
        rng.lognormal(size=(400, 5)),
        rng.integers(3, size=(300, 3)).astype(float),  # discrete
        np.r_[rng.normal(size=(270, 4)), np.zeros((30, 4))],  # a frequent value
        np.repeat(rng.normal(size=(12, 4)), 10, axis=0) + 1e-2 * rng.normal(size=(120, 4)),
    ):
        assert not isolated_groups(Distances(DataSource(X), np.ones(len(X)))).any()


def test_isolated_groups_of_many_samples_are_searched_among_some(rng, monkeypatch):
    X = between(rng, 60, 0.3)
    monkeypatch.setattr(_trimming, "MAX_LINKED", 200)
    found = isolated_groups(Distances(DataSource(X), np.ones(len(X))))
    np.testing.assert_array_equal(np.flatnonzero(found), np.arange(540, 600))


def test_samples_without_a_common_feature_are_no_isolated_groups(rng):
    X = rng.normal(size=(100, 4))
    X[:10, :2] = X[10:, 2:] = np.nan
    assert not isolated_groups(Distances(DataSource(X), np.ones(len(X)))).any()


@pytest.mark.parametrize("make", [planted, between])
def test_weights_do_not_depend_on_their_scale(rng, make):
    source, weight = DataSource(make(rng, 20, 0.3)), rng.uniform(0.5, 2, size=1000)
    weight = weight[: len(source)]
    for trim in ("auto", 0.1):
        found = probable_outliers(source, weight, trim)
        for scale in (2.0**-20, 2.0**20):
            np.testing.assert_array_equal(probable_outliers(source, scale * weight, trim), found)


def test_weights_are_numbers_of_equal_samples(rng):
    X = planted(rng, 20, 0.5)
    weight = rng.integers(1, 4, size=len(X))
    rows = np.repeat(np.arange(len(X)), weight)
    # Remoteness differs by the draws, and by a copy not being the sample itself.
    weighted = Distances(DataSource(X), weight.astype(float)).remoteness()
    repeated = Distances(DataSource(X[rows]), np.ones(len(rows))).remoteness()
    np.testing.assert_allclose(weighted[rows], repeated, rtol=0.2)
    # A share is one of the weights.
    found = probable_outliers(DataSource(X), weight.astype(float), 0.1)
    assert abs(weight[found].sum() / weight.sum() - 0.1) < 0.01
    assert found[-20:].all()


def test_a_group_is_small_by_its_weight(rng):
    X = between(rng, 20, 0.3)
    for weight_of_group, small in ((1.0, True), (10.0, False)):
        weight = np.r_[np.ones(580), np.full(20, weight_of_group)]
        assert isolated_groups(Distances(DataSource(X), weight)).any() == small


def test_samples_with_weight_zero_are_neither_trimmed_nor_counted(rng):
    X = planted(rng, 20, 0.2)
    weight = np.r_[np.ones(400), np.zeros(300)]
    with_others = np.r_[X, 8 + rng.normal(size=(300, 4))]  # they would make the group large
    params = {"method": "neighbors", "random_state": 0}
    alone = AutoencoderOutlierDetector(LINEAR, **params).fit(X)
    model = AutoencoderOutlierDetector(LINEAR, **params).fit(with_others, sample_weight=weight)
    np.testing.assert_array_equal(model.support_, np.r_[alone.support_, np.zeros(300, bool)])
    assert not model.support_[380:].any()
