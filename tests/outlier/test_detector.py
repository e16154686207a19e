import pickle

import numpy as np
import pytest
import sklearn
import torch
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import (
    AutoencoderOutlierDetector,
    DenoisingAutoencoder,
    LinearAutoencoder,
    VariationalAutoencoder,
)
from skae.autoencoders._gaussian import standard_draws
from skae.data import DataSource
from skae.outlier import _scorer
from skae.outlier._code_criteria import NeighborDistance
from skae.outlier._conformal import conformal_p_values
from skae.outlier._denoiser import default_training
from skae.outlier._loss_criteria import N_NOISE_DRAWS, DenoisingLoss
from skae.outlier._threshold import RankedScores

LINEAR = LinearAutoencoder(2)
VAE = VariationalAutoencoder(2, max_iter=5, early_stopping=False)
QUICK = DenoisingAutoencoder(noise_level=(0.1, 1.0), max_iter=5, early_stopping=False)
ADDITIVE = ["reconstruction", "standardized", "denoising", "tails"]
METHODS = [*ADDITIVE, "mahalanobis", "neighbors", "auto", ("standardized", "neighbors")]


@pytest.fixture
def rows(rng):
    """Three of five columns are free."""
    z = rng.normal(size=(200, 3))
    return np.c_[z, z[:, 0] + z[:, 1], z[:, 1] - z[:, 2]] + 0.1 * rng.normal(size=(200, 5))


def detector(method="auto", estimator=LINEAR, **params):
    params = {"trim": 0.0, "random_state": 0} | params
    return AutoencoderOutlierDetector(estimator, method=method, **params)


# ------------------------------------------------------------------------------------- criteria


def test_reconstruction_is_the_mean_squared_error(rows):
    fitted = detector("reconstruction").fit(rows)
    residual = fitted.estimator_.reconstruct(rows) - rows
    np.testing.assert_allclose(fitted.score_samples(rows), -(residual**2).mean(1))
    np.testing.assert_allclose(fitted.feature_contributions(rows), residual**2 / 5)


def test_standardized_divides_by_the_mean_error_of_each_column(rows):
    fitted = detector("standardized").fit(rows[:150])
    residual = (fitted.estimator_.reconstruct(rows) - rows) ** 2
    np.testing.assert_allclose(
        fitted.score_samples(rows), -(residual / residual[:150].mean(0)).mean(1), rtol=1e-6
    )
    assert np.isclose(fitted.score_samples(rows[:150]).mean(), -1)


def test_denoising_is_the_mean_error_over_levels_and_draws(rows):
    fitted = detector("denoising").fit(rows)
    model = fitted.estimator_
    draws = standard_draws(N_NOISE_DRAWS, torch.zeros(1, 5).double(), paired=True)[:, 0]
    expected = np.zeros(len(rows))
    for level in np.geomspace(0.1, 1, 5):
        noisy = [rows + level * rows.std(0) * epsilon.numpy() for epsilon in draws]
        cells = np.mean([(model.reconstruct(x) - rows) ** 2 for x in noisy], axis=0)
        expected += (cells * (0.5 / cells.mean() + 0.5 / cells.mean(0))).mean(1) / 5
    np.testing.assert_allclose(fitted.score_samples(rows), -expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("noise_level", "levels"),
    [((0.2, 0.8), np.geomspace(0.2, 0.8, 5)), (0.3, [0.3]), ((0.0, 1.0), np.geomspace(0.01, 1, 5))],
)
def test_levels_are_those_of_the_denoiser(rows, noise_level, levels):
    model = clone(QUICK).set_params(noise_level=noise_level).fit(rows)
    criterion = DenoisingLoss().fit(model, DataSource(rows), np.ones(len(rows)))
    np.testing.assert_allclose(criterion.levels_, levels)


def test_tails_are_two_sided_p_values():
    X = np.arange(1.0, 101)[:, None] * [1, -1]
    fitted = detector("tails", LinearAutoencoder(1)).fit(X)
    rows = np.array([[1.0, -50], [100, -50], [50, -50], [200, -50], [2.5, -50], [0.25, -50]])
    p = np.array([2 * 0.01, 2 * 0.01, 1, 0.01, 2 * 0.025, 2 * 0.01 - 1.5 * 0.01])
    p = p.clip(0.01)
    np.testing.assert_allclose(fitted.score_samples(rows), np.log(p) / 2)


def test_tails_of_many_rows_are_close_to_those_of_the_distribution(rng):
    X = rng.permutation(stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000))[:, None] * [1, 2]
    fitted = detector("tails", LinearAutoencoder(1)).fit(X)
    x = np.linspace(-3, 3, 61)
    expected = -np.log(2 * stats.norm.sf(np.abs(x)))
    got = fitted.feature_contributions(np.c_[x, 2 * x])[:, 0] * 2
    np.testing.assert_allclose(got, expected, atol=0.1)


def test_tails_follow_weights():
    X = np.array([[0.0], [1], [2], [3]])
    weight = np.array([1.0, 5, 3, 1])
    weighted = detector("tails", LinearAutoencoder(1)).fit(X, sample_weight=weight)
    repeated = detector("tails", LinearAutoencoder(1)).fit(X.repeat(weight.astype(int), axis=0))
    inside = [[0.0], [0.5], [1], [2], [3]]
    np.testing.assert_allclose(weighted.score_samples(inside), repeated.score_samples(inside))


def test_mahalanobis_is_the_distance_of_the_code(rows):
    fitted = detector("mahalanobis").fit(rows)
    codes = fitted.estimator_.transform(rows)
    residual = codes - codes.mean(0)
    expected = ((residual @ np.linalg.inv(np.cov(codes.T, ddof=0))) * residual).sum(1) / 2
    np.testing.assert_allclose(fitted.score_samples(rows), -expected, rtol=1e-4)


def test_neighbors_is_the_mean_distance_to_the_nearest_codes_of_other_samples(rows):
    fitted = detector("neighbors", n_neighbors=3, contamination=0.1).fit(rows[:150])
    codes = fitted.estimator_.transform(rows)
    search = NearestNeighbors(n_neighbors=3).fit(codes[:150])
    np.testing.assert_allclose(
        fitted.score_samples(rows[150:]), -search.kneighbors(codes[150:])[0].mean(1)
    )
    in_training = search.kneighbors()[0].mean(1)
    assert np.mean(in_training > -fitted.offset_) == 0.1


def test_neighbors_are_searched_in_a_subsample_of_large_training_sets(rng):
    X = rng.normal(size=(500, 3))
    model = LinearAutoencoder(2).fit(X)
    criterion = NeighborDistance(max_codes=100).fit(model, DataSource(X), np.ones(500))
    assert len(criterion.codes_) == 100
    inliers, outliers = (criterion.score(model, DataSource(scale * X)) for scale in (1, 3))
    assert roc_auc_score(np.repeat([0, 1], 500), np.r_[inliers, outliers]) > 0.7


def test_likelihood_is_the_bound(rows):
    vae = skae.VariationalAutoencoder(2, max_iter=5, early_stopping=False)
    fitted = detector("likelihood", vae).fit(rows)
    np.testing.assert_allclose(fitted.score_samples(rows), fitted.estimator_.score_samples(rows))


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")  # two epochs are too few
def test_the_default_autoencoder_for_likelihood_is_variational(rows):
    fitted = detector("likelihood", None, max_iter=2).fit(rows)
    assert isinstance(fitted.estimator_, VariationalAutoencoder)
    assert fitted.estimator_.max_iter == 2


def test_auto_is_a_combination(rows):
    auto = detector().fit(rows)
    named = detector(("denoising", "tails", "neighbors")).fit(rows)
    np.testing.assert_array_equal(auto.score_samples(rows), named.score_samples(rows))


@pytest.mark.parametrize(
    ("n", "epochs", "learning_rate"),
    [
        (2, 200, 5e-3 * np.sqrt(10)),
        (100, 33, 5e-3 * np.sqrt(10)),
        (500, 47, 5e-3 * np.sqrt(8 / 3)),
        (4096, 62, 5e-3),
        (1_000_000, 3, 5e-3),
    ],
)
def test_steps_of_the_default_autoencoder_grow_with_the_samples(n, epochs, learning_rate):
    assert default_training(n) == (epochs, pytest.approx(learning_rate))
    model = detector(estimator=None)._estimator(n)
    assert model.max_iter == epochs
    assert model.learning_rate == pytest.approx(learning_rate)


def test_thresholds_of_many_samples_are_those_of_some(rows, monkeypatch):
    monkeypatch.setattr(_scorer, "MAX_SCORED", 20)
    some = np.linspace(0, len(rows) - 1, 20).astype(int)
    model = detector(contamination=0.2, trim=0).fit(rows)
    assert (model.predict(rows[some]) == -1).sum() == 4
    assert -model.score_samples(rows[some]).mean() == pytest.approx(1)
    assert len(model.support_) == len(rows)


def test_max_iter_is_that_of_the_default_autoencoder(rows):
    assert detector(estimator=None, max_iter=2).fit(rows).n_iter_ == 2
    assert detector(estimator=QUICK, max_iter=2).fit(rows).n_iter_ == 5


def test_a_combination_is_the_mean_of_criteria_relative_to_their_training_means(rows):
    train, test = rows[:150], rows[150:]
    parts = []
    for method in ("standardized", "mahalanobis"):
        alone = detector(method).fit(train)
        parts.append(alone.score_samples(test) / -alone.score_samples(train).mean())
    both = detector(("standardized", "mahalanobis")).fit(train)
    np.testing.assert_allclose(both.score_samples(test), np.mean(parts, axis=0), rtol=1e-6)


# ------------------------------------------------------------------------------------- promises


@pytest.mark.parametrize("estimator", [LINEAR, QUICK], ids=["linear", "denoising"])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_scores_do_not_depend_on_the_other_samples_of_the_call(rows, method, estimator):
    fitted = detector(method, estimator).fit(rows)
    alone = [fitted.score_samples(row[None])[0] for row in rows[:7]]
    np.testing.assert_allclose(fitted.score_samples(rows)[:7], alone, rtol=1e-7)
    assert fitted.score_samples(rows.astype(np.float32)).dtype == np.float64


@pytest.mark.parametrize("method", [*ADDITIVE, ("denoising", "tails")], ids=str)
def test_contributions_sum_to_the_score_and_are_zero_for_missing_values(rows, method):
    X_missing = rows.copy()
    X_missing[::3, 1] = X_missing[5] = np.nan
    fitted = detector(method, QUICK).fit(rows)
    contributions = fitted.feature_contributions(X_missing)
    np.testing.assert_allclose(contributions.sum(1), -fitted.score_samples(X_missing), rtol=1e-9)
    assert (contributions[np.isnan(X_missing)] == 0).all()
    assert (contributions >= 0).all()


def test_contributions_leave_out_criteria_that_are_not_sums(rows):
    both = detector(("tails", "neighbors")).fit(rows)
    tails = detector("tails").fit(rows)
    share = tails.feature_contributions(rows)
    np.testing.assert_allclose(both.feature_contributions(rows), share / share.sum(1).mean() / 2)
    with pytest.raises(ValueError, match="not a sum over features"):
        detector("neighbors").fit(rows).feature_contributions(rows)


def test_the_abnormal_feature_contributes_most(rows):
    fitted = detector("auto", QUICK).fit(rows)
    wrong = rows[:20].copy()
    wrong[:, 3] += 6
    assert (fitted.feature_contributions(wrong).argmax(1) == 3).all()


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_sample_without_observed_features_scores_zero(rows, method):
    X_missing = np.r_[rows, np.full((3, 5), np.nan)]
    fitted = detector(method, contamination=0.1).fit(X_missing)
    assert (fitted.score_samples(X_missing)[-3:] == 0).all()
    assert not fitted.support_[-3:].any()
    without = detector(method, contamination=0.1).fit(rows)
    np.testing.assert_allclose(fitted.score_samples(rows), without.score_samples(rows))
    assert fitted.offset_ == pytest.approx(without.offset_)


@pytest.mark.parametrize("method", [*METHODS, "likelihood"], ids=str)
def test_samples_with_missing_values_are_trained_on_and_scored(rows, rng, method):
    wrong = rows[:40].copy()
    wrong[:, 3] += 6
    X_missing, wrong = (np.where(rng.random(X.shape) < 0.2, np.nan, X) for X in (rows, wrong))
    wrong[:, 3] = rows[:40, 3] + 6
    estimator = VAE if method == "likelihood" else QUICK
    fitted = detector(method, estimator).fit(X_missing)
    score = fitted.score_samples(np.r_[X_missing, wrong])
    assert np.isfinite(score).all()
    assert roc_auc_score(np.r_[np.ones(200), np.zeros(40)], score) > 0.8


@pytest.mark.parametrize("method", ["standardized", "denoising", "tails", "auto"])
def test_a_column_that_was_constant_and_varies_is_an_outlier(rows, method):
    constant = np.c_[rows, np.ones(len(rows))]
    fitted = detector(method, QUICK, trim="auto").fit(constant)
    changed = constant.copy()
    changed[:, 5] = 1.5
    assert (fitted.score_samples(changed) < fitted.score_samples(constant)).all()
    if method != "tails":
        assert fitted.score_samples(changed).max() < fitted.score_samples(constant).min()
        assert (fitted.predict(changed) == -1).all()


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_contamination_is_the_fraction_predicted_as_outliers(rows, share):
    fitted = detector(contamination=share)
    assert (fitted.fit_predict(rows) == -1).mean() == share


def test_contamination_auto_finds_outliers(rows, rng):
    planted = np.r_[rows, rng.normal(scale=4, size=(10, 5))]
    outlying = detector(estimator=QUICK, trim="auto").fit_predict(planted) == -1
    assert outlying[200:].mean() >= 0.9
    assert outlying[:200].mean() < 0.05


@pytest.mark.parametrize("n_far", [0, 30])
def test_contamination_auto_is_tukeys_fence_or_the_highest_percent(rows, rng, n_far):
    far = np.r_[rows, rng.normal(scale=9, size=(n_far, 5))]
    fitted = detector("reconstruction").fit(far)
    log = np.sort(np.log(-fitted.score_samples(far)))
    low, high = np.quantile(log, [0.25, 0.75], method="inverted_cdf")
    fence = high + 1.5 * (high - low)
    # In the middle between the samples on both sides, or 1 % above.
    assert min(fence, log[-3]) < np.log(-fitted.offset_) < min(fence, log[-3]) + 0.01
    assert (fence < log[-3]) == (n_far > 0)


def test_trim_excludes_outliers_from_training(rows, rng):
    planted = np.r_[rows, rng.normal(scale=20, size=(20, 5))]
    for trim, share in (("auto", None), (0.1, 0.1)):
        fitted = detector(estimator=QUICK, trim=trim).fit(planted)
        assert (~fitted.support_[200:]).mean() >= 0.9
        if share:
            assert (~fitted.support_).mean() == pytest.approx(share)
    assert detector(estimator=QUICK).fit(planted).support_.all()
    weight = np.repeat([1.0, 0], [200, 20])
    assert detector(estimator=QUICK).fit(planted, sample_weight=weight).support_.sum() == 200


def test_samples_with_weight_zero_are_ignored(rows):
    weight = np.repeat([1.0, 0], [150, 50])
    for method in METHODS:
        one = detector(method, contamination=0.1).fit(rows, sample_weight=weight)
        other = detector(method, contamination=0.1).fit(rows[:150])
        np.testing.assert_allclose(
            one.decision_function(rows), other.decision_function(rows), rtol=1e-5, atol=1e-8
        )


def test_integer_weights_equal_repetitions_with_a_linear_autoencoder(rows):
    weight = np.arange(len(rows)) % 3 + 1.0
    for method in ("reconstruction", "standardized", "denoising", "mahalanobis"):
        one = detector(method, contamination=0.1).fit(rows, sample_weight=weight)
        other = detector(method, contamination=0.1).fit(rows.repeat(weight.astype(int), axis=0))
        np.testing.assert_allclose(one.score_samples(rows), other.score_samples(rows), rtol=1e-5)
        assert one.offset_ == pytest.approx(other.offset_, rel=1e-5)


def test_parameters_set_after_fit_have_no_effect(rows):
    fitted = detector(estimator=QUICK).fit(rows)
    before = fitted.decision_function(rows)
    fitted.set_params(method="likelihood", n_neighbors=1, contamination=0.5, estimator=LINEAR)
    np.testing.assert_array_equal(fitted.decision_function(rows), before)


def test_a_failed_fit_does_not_change_the_detector(rows):
    fitted = detector().fit(rows)
    before = fitted.score_samples(rows)
    with pytest.raises(ValueError, match="infinity"):
        fitted.fit(np.full_like(rows, np.inf))
    np.testing.assert_array_equal(fitted.score_samples(rows), before)


def test_fits_are_deterministic_and_do_not_change_the_given_estimator(rows):
    mine = clone(QUICK)
    one, other = (detector(estimator=mine).fit(rows).score_samples(rows) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert mine.random_state is None
    seeded = clone(QUICK).set_params(random_state=3)
    kept = detector(estimator=seeded, random_state=None).fit(rows)
    assert kept.estimator_.random_state == 3


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_sparse_and_memory_mapped_samples_score_as_dense_ones(rows, method, tmp_path):
    rows = np.where(rows > 0.5, rows, 0)
    dense = detector(method, QUICK).fit(rows).score_samples(rows)
    csr = detector(method, QUICK).fit(sparse.csr_array(rows))
    np.testing.assert_allclose(csr.score_samples(sparse.csr_array(rows)), dense, rtol=1e-5)
    file = np.memmap(tmp_path / "rows", dtype=rows.dtype, mode="w+", shape=rows.shape)
    file[:] = rows
    mapped = detector(method, QUICK).fit(file)
    np.testing.assert_allclose(mapped.score_samples(file), dense, rtol=1e-5)


def test_files(rows, tmp_path):
    fitted = detector(estimator=QUICK, calibration_fraction=0.2).fit(rows)
    skae.save(fitted, tmp_path / "detector.skae")
    for again in (pickle.loads(pickle.dumps(fitted)), skae.load(tmp_path / "detector.skae")):
        np.testing.assert_array_equal(again.decision_function(rows), fitted.decision_function(rows))
        np.testing.assert_array_equal(again.p_values(rows), fitted.p_values(rows))


# ---------------------------------------------------------------------------------- predictions

VARYING = {
    "rare events": lambda rng: np.where(rng.random((300, 6)) < 0.985, 0, rng.random((300, 6))),
    "one other row": lambda rng: np.r_[np.full((49, 3), 0.1), [[5.0, 1, 2]]],
    "two distinct rows": lambda rng: np.repeat([[0.3, 1, 2], [1, 1, 0.7]], [20, 5], axis=0),
    "one-hot": lambda rng: np.eye(4)[rng.choice(4, p=[0.7, 0.24, 0.04, 0.02], size=200)],
    "one column varies": lambda rng: np.c_[np.full((100, 2), 0.7), rng.normal(size=100)],
    "implausible value": lambda rng: np.r_[rng.normal(size=(100, 3)), [[0, 1e12, 0]]],
}


@pytest.mark.parametrize("name", VARYING)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_every_table_with_variation_is_fitted(rng, name):
    X = VARYING[name](rng)
    fitted = detector(estimator=QUICK, trim="auto").fit(X)
    assert np.isfinite(fitted.score_samples(X)).all()
    outlying = fitted.predict(X) == -1
    _, group, count = np.unique(X, axis=0, return_inverse=True, return_counts=True)
    assert not outlying[count[group.ravel()] > len(X) / 2].any()
    if name in ("rare events", "one other row", "implausible value"):
        assert outlying[np.abs(X).sum(axis=1).argmax()]


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_predictions_do_not_depend_on_rounding_copies_or_other_samples(rows, method, contamination):
    fitted = detector(method, contamination=contamination).fit(rows)
    predicted = fitted.predict(rows)
    for rounded in (rows.astype(np.float32), rows.round(6)):
        assert np.sum(fitted.predict(rounded) != predicted) <= 1  # at the threshold itself
        np.testing.assert_allclose(
            fitted.score_samples(rounded), fitted.score_samples(rows), rtol=1e-3
        )
    np.testing.assert_array_equal(fitted.predict(rows.repeat(3, axis=0))[::3], predicted)
    np.testing.assert_array_equal(
        [fitted.predict(row[None])[0] for row in rows[:20]], predicted[:20]
    )


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_identical_samples_in_the_majority_are_inliers(rng, method):
    X = np.tile(rng.normal(size=4), (300, 1))
    X[::10] += rng.normal(size=(30, 4))
    same = np.arange(300) % 10 > 0
    for contamination in ("auto", 0.3):
        fitted = detector(method, QUICK, contamination=contamination).fit(X)
        for given in (X, X.astype(np.float32)):
            assert (fitted.predict(given)[same] == 1).all()
    assert (fitted.predict(X)[~same] == -1).any()


def test_samples_with_weight_zero_may_be_implausible(rows):
    implausible = np.r_[rows, np.full((1, 5), 1e200)]
    weight = np.r_[np.ones(200), 0]
    one = detector().fit(implausible, sample_weight=weight)
    np.testing.assert_allclose(one.score_samples(rows), detector().fit(rows).score_samples(rows))


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("value", [1e12, 1e100, 1e200, 1e308])
def test_every_magnitude_is_scored_or_refused(rows, value):
    fitted = detector(estimator=QUICK).fit(rows)
    far = rows[:3].copy()
    far[1, 2] = value
    for method in (
        fitted.score_samples,
        fitted.decision_function,
        fitted.feature_contributions,
        lambda X: fitted.p_values(X, rows),
        lambda X: fitted.select_outliers(X, X_calibration=rows),
    ):
        if value <= 1e100:
            assert np.isfinite(method(far)).all()
        else:
            with pytest.raises(ValueError, match="Row 1 of X is so far from the training rows"):
                method(far)


def test_tails_are_continuous_and_frequent_values_are_normal(rng):
    X = np.where(rng.random((2000, 2)) < 0.9, 0.1, rng.normal(size=(2000, 2)))
    fitted = detector("tails", LinearAutoencoder(1)).fit(X)
    frequent = np.array([[0.1, 0.1], [np.float32(0.1), 0.1 + 1e-9]])
    np.testing.assert_allclose(fitted.score_samples(frequent), 0, atol=1e-3)
    x = np.linspace(-0.1, 0.3, 400_001)
    steps = np.diff(fitted.score_samples(np.c_[x, np.full_like(x, 0.1)]))
    assert np.abs(steps).max() < 0.05


def test_fractions_of_training_samples_are_met_as_nearly_as_ties_allow():
    one_to_ten = RankedScores(np.arange(1.0, 11), np.ones(10))
    assert one_to_ten.exceeded_by(0.2) == 8
    assert one_to_ten.exceeded_by(0.29) == 8  # single samples: never more than the fraction
    tied = RankedScores(np.r_[np.ones(5), 2, 3 * (1 + 1e-9 * np.arange(4))], np.ones(10))
    assert tied.exceeded_by(0.3) == 2  # all four ties: none would be further from the fraction
    assert tied.exceeded_by(0.1) == tied.scores[-1]
    assert tied.exceeded_by(0.5) == 1
    weighted = RankedScores(np.array([1.0, 3, 2]), np.array([6.0, 1, 3]))
    assert weighted.exceeded_by(0.1) == 2
    assert weighted.quantile(0.5) == 1
    assert weighted.quantile(0.75) == 2


def test_thresholds_keep_away_from_scores():
    scores = RankedScores(np.array([1.0, 2, 2.000001, 2.002, 50]), np.ones(5))
    assert scores.separating(2.0) == pytest.approx(2.0010005)
    assert scores.separating(2.002) == pytest.approx(2.002 * 1.01)
    assert scores.separating(1.5) == pytest.approx(1.5)  # nothing is near


def test_scores_at_the_floor_are_ties(rows):
    fitted = detector("neighbors").fit(np.repeat(rows[:20], 10, axis=0))
    np.testing.assert_array_equal(fitted.p_values(rows[:5], rows[:20]), np.ones(5))


# ------------------------------------------------------------------------------------- conformal


@pytest.mark.parametrize("load", [load_wine, load_digits])
def test_p_values_are_valid(load, rng):
    X = load().data
    order = rng.permutation(len(X))
    fitted = detector("standardized").fit(X[order[: len(X) // 2]])
    scores = fitted.score_samples(X[order[len(X) // 2 :]])
    p = []
    for _ in range(500):
        chosen = scores[rng.permutation(len(scores))[:41]]
        p.append(conformal_p_values(chosen[:1], np.sort(chosen[1:]))[0])
    for t in (0.05, 0.1, 0.2, 0.5):
        # Far beyond chance only where P(p <= t) > t.
        assert stats.binomtest(int(np.sum(np.array(p) <= t)), 500, t, "greater").pvalue > 1e-3
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_held_out_samples_calibrate_p_values(rows):
    fitted = detector("standardized", calibration_fraction=0.25, contamination=0.1).fit(rows)
    assert len(fitted.calibration_scores_) == 50
    assert fitted.support_.sum() == 150
    held_out = fitted.score_samples(rows[~fitted.support_])
    np.testing.assert_allclose(fitted.calibration_scores_, np.sort(held_out))
    p = fitted.p_values(rows[:20])
    count = (fitted.calibration_scores_ <= fitted.score_samples(rows[:20])[:, None]).sum(1)
    np.testing.assert_allclose(p, (1 + count) / 51)
    np.testing.assert_array_equal(p, fitted.p_values(rows[:20], rows[~fitted.support_]))


def test_equal_samples_are_ties(rows):
    fitted = detector("auto", QUICK).fit(rows)
    same = rows[:1].repeat(99, axis=0)
    np.testing.assert_array_equal(fitted.p_values(rows[:1], same), [1.0])
    np.testing.assert_array_equal(fitted.p_values(same, rows[:1]), np.ones(99))


def test_selection_controls_the_false_discovery_rate(rng):
    def draw(n, scale=1.0):
        z = rng.normal(size=(n, 2))
        return np.c_[z, z.sum(1)] + 0.1 * scale * rng.normal(size=(n, 3))

    fitted = detector("standardized", LinearAutoencoder(2)).fit(draw(300))
    false, power = [], []
    for _ in range(100):
        X = np.r_[draw(90), draw(10, scale=6)]
        selected = fitted.select_outliers(X, fdr=0.2, X_calibration=draw(200))
        false.append(selected[:90].sum() / max(1, selected.sum()))
        power.append(selected[90:].mean())
    assert np.mean(false) < 0.2 + 3 * np.std(false) / np.sqrt(len(false))
    assert np.mean(power) > 0.5


# ------------------------------------------------------------------------ inside other tools


def test_grid_search_by_a_labelled_scorer(rows, rng):
    X = np.r_[rows, rng.normal(scale=2, size=(20, 5))]
    y = np.repeat([1, -1], [200, 20])
    order = rng.permutation(220)
    search = GridSearchCV(
        detector("reconstruction"), {"estimator__n_components": [1, 3]}, scoring="roc_auc", cv=3
    ).fit(X[order], y[order])
    assert search.best_params_ == {"estimator__n_components": 3}
    assert search.best_score_ > 0.9


def test_after_a_scaler(rows):
    units = rows * [1, 1000, 1, 0.001, 1]
    pipeline = make_pipeline(StandardScaler(), detector("reconstruction")).fit(units)
    alone = detector("reconstruction").fit(StandardScaler().fit_transform(rows))
    np.testing.assert_allclose(
        pipeline.score_samples(units),
        alone.score_samples(StandardScaler().fit_transform(rows)),
        rtol=1e-4,
    )


class Metadata(LinearAutoencoder):
    """Keeps the metadata that it receives."""

    def fit(self, X, y=None, sample_weight=None, tag=None):
        """Fit."""
        self.given_ = (sample_weight, tag)
        return super().fit(X, y, sample_weight=sample_weight)


def test_metadata_is_routed(rows):
    with sklearn.config_context(enable_metadata_routing=True):
        inner = Metadata(2).set_fit_request(sample_weight=False, tag=True)
        weight = np.repeat([1.0, 3], [100, 100])
        fitted = detector("reconstruction", inner).set_fit_request(sample_weight=True)
        fitted.fit(rows, sample_weight=weight, tag="a")
        np.testing.assert_array_equal(fitted.estimator_.given_[0], np.ones(200))
        assert fitted.estimator_.given_[1] == "a"
        fitted.estimator.set_fit_request(sample_weight=True)
        fitted.fit(rows, sample_weight=weight)
        np.testing.assert_array_equal(fitted.estimator_.given_[0], weight)
        pipeline = make_pipeline(StandardScaler(), fitted)
        pipeline[0].set_fit_request(sample_weight=False)
        pipeline.fit(rows, sample_weight=weight)
        np.testing.assert_array_equal(pipeline[-1].estimator_.given_[0], weight)
    with pytest.raises((ValueError, TypeError), match="tag"):
        detector("reconstruction", Metadata(2)).fit(rows, tag="a")


def test_conformal_wrappers_can_clone_seed_fit_and_score(rows):
    mine = detector("reconstruction")
    copies = [clone(mine).set_params(random_state=seed) for seed in (1, 2)]
    for copied in copies:
        scores = copied.fit(np.asarray(rows)).decision_function(np.asarray(rows))
        assert scores.shape == (200,)
        assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("strategy", "options"), [("Split", {"n_calib": 0.3}), ("CrossValidation", {"k": 5})]
)
def test_inside_nonconform(rows, rng, strategy, options):
    nonconform = pytest.importorskip("nonconform")
    wrong = rows[:30].copy()
    wrong[:, 3] += 6
    wrapped = nonconform.ConformalDetector(
        detector=detector("reconstruction"),
        strategy=getattr(nonconform, strategy)(**options),
        score_polarity="higher_is_normal",
        seed=0,
    ).fit(rows[:150])
    p = wrapped.compute_p_values(np.r_[rows[150:], wrong])
    assert (p[50:] < 0.05).all()
    assert np.mean(p[:50] < 0.05) < 0.2


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"method": "likelihood"}, "needs a VariationalAutoencoder, but estimator is a Linear"),
        ({"method": "distance"}, "The 'method' parameter"),
        ({"method": ("tails", "distance")}, "method must be 'auto', one of"),
        ({"method": ()}, "method must be 'auto', one of"),
        ({"method": ("tails", "tails")}, "several different"),
        ({"method": ("tails", "likelihood")}, "does not combine"),
        ({"contamination": 0.0}, "The 'contamination' parameter"),
        ({"contamination": 0.6}, "The 'contamination' parameter"),
        ({"trim": 0.7}, "The 'trim' parameter"),
        ({"estimator": StandardScaler()}, "The 'estimator' parameter"),
        ({"n_neighbors": 0}, "The 'n_neighbors' parameter"),
        ({"calibration_fraction": 0.001}, "of 200 samples is none; raise it"),
        ({"calibration_fraction": 1.0}, "The 'calibration_fraction' parameter"),
    ],
)
def test_bad_parameters(rows, params, sentence):
    with pytest.raises(ValueError, match=sentence):
        detector().set_params(**params).fit(rows)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (np.zeros((1, 3)), "minimum of 2 is required"),
        (np.ones((9, 3)), "X is constant"),
        (np.array([[1.0, np.inf], [0, 1]]), "Column 1 of X holds infinity"),
        (np.full((9, 3), np.nan), "minimum of 2 is required"),
    ],
    ids=["one row", "all equal", "infinity", "nothing observed"],
)
def test_bad_tables(bad, sentence):
    with pytest.raises(ValueError, match=sentence):
        AutoencoderOutlierDetector().fit(bad)


@pytest.mark.parametrize(
    "zeros", [{"trim": 0, "calibration_fraction": 0}, {"trim": np.float32(0.1)}], ids=str
)
def test_real_parameters_are_any_real_numbers(rows, zeros):
    assert detector(estimator=LINEAR, **zeros).fit(rows).offset_ < 0


def test_invalid_calls(rows):
    fitted = detector().fit(rows)
    with pytest.raises(ValueError, match="no calibration samples; pass X_calibration"):
        fitted.p_values(rows)
    with pytest.raises(ValueError, match="fdr must be between 0 and 1"):
        fitted.select_outliers(rows, fdr=1.5, X_calibration=rows)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        detector().predict(rows)


@pytest.mark.parametrize("method", ["reconstruction", "auto"])
def test_values_outside_the_domain_of_the_loss_are_refused(rng, method):
    X = (rng.random((60, 4)) < 0.5).astype(float)
    model = skae.Autoencoder(2, loss="log_loss", max_iter=3, early_stopping=False)
    fitted = detector(method, model).fit(X)
    assert np.isfinite(fitted.score_samples(X)).all()
    with pytest.raises(ValueError, match=r"loss='log_loss' needs values in \[0, 1\]"):
        fitted.score_samples(X * 2)


def test_only_the_last_fit_is_checkpointed(rows, tmp_path):
    model = clone(QUICK).set_params(checkpoint=tmp_path / "fit")
    once, again = (detector(estimator=model, trim="auto").fit(rows) for _ in range(2))
    np.testing.assert_array_equal(once.score_samples(rows), again.score_samples(rows))


def test_overflow_in_training_is_reported_with_the_row_number(rows):
    X = np.r_[1e-30 * rows, 1e140 * np.eye(5)]  # one component does not reconstruct these
    weight = np.r_[np.zeros(9), np.ones(196)]
    with pytest.raises(ValueError, match="Row 200 of X is so far from the training rows"):
        detector("standardized", LinearAutoencoder(1), trim="auto").fit(X, sample_weight=weight)


def test_two_samples_are_enough(rng):
    X = rng.normal(size=(2, 3))
    fitted = AutoencoderOutlierDetector(max_iter=5, random_state=0).fit(X)
    assert np.isfinite(fitted.score_samples(X)).all()
