"""Training samples that are probably outliers are found and excluded."""

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import nan_euclidean_distances

from skae import AutoencoderOutlierDetector, LinearAutoencoder
from skae.data import DataSource
from skae.outlier import _trimming
from skae.outlier._trimming import Distances, probable_outliers

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
    in_file = DataSource(np.load(tmp_path / "X.npy", mmap_mode="r"), in_file=True)
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
