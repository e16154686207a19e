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
from skae.outlier import _criteria
from skae.outlier._threshold import RankedScores

pytestmark = pytest.mark.as_usual

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


# ------------------------------------------------------------------------------------- measures


def test_reconstruction_is_the_mean_squared_error(rows):
    fitted = detector("reconstruction").fit(rows)
    away = fitted.estimator_.reconstruct(rows) - rows
    np.testing.assert_allclose(fitted.score_samples(rows), -(away**2).mean(1))
    np.testing.assert_allclose(fitted.feature_contributions(rows), away**2 / 5)


def test_standardized_divides_by_the_mean_error_of_each_column(rows):
    fitted = detector("standardized").fit(rows[:150])
    away = (fitted.estimator_.reconstruct(rows) - rows) ** 2
    np.testing.assert_allclose(
        fitted.score_samples(rows), -(away / away[:150].mean(0)).mean(1), rtol=1e-6
    )
    assert np.isclose(fitted.score_samples(rows[:150]).mean(), -1)


def test_denoising_is_the_mean_error_over_levels_and_draws(rows):
    fitted = detector("denoising").fit(rows)
    model = fitted.estimator_
    draws = standard_draws(_criteria.N_DRAWS, torch.zeros(1, 5).double(), paired=True)[:, 0]
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
    model = clone(QUICK).set_params(noise_level=noise_level)
    fitted = detector("denoising", model).fit(rows)
    np.testing.assert_allclose(fitted._states[0]["levels"], levels)


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
    away = codes - codes.mean(0)
    expected = ((away @ np.linalg.inv(np.cov(codes.T, ddof=0))) * away).sum(1) / 2
    np.testing.assert_allclose(fitted.score_samples(rows), -expected, rtol=1e-4)


def test_neighbors_is_the_mean_distance_to_the_nearest_codes_but_ones_own(rows):
    fitted = detector("neighbors", n_neighbors=3, contamination=0.1).fit(rows[:150])
    codes = fitted.estimator_.transform(rows)
    search = NearestNeighbors(n_neighbors=3).fit(codes[:150])
    np.testing.assert_allclose(
        fitted.score_samples(rows[150:]), -search.kneighbors(codes[150:])[0].mean(1)
    )
    in_training = search.kneighbors()[0].mean(1)
    assert np.mean(in_training > -fitted.offset_) == 0.1


def test_neighbors_among_many_rows_are_looked_for_among_some(rng, monkeypatch):
    X = rng.normal(size=(500, 3))
    monkeypatch.setattr(_criteria, "N_CODES", 100)
    fitted = detector("neighbors").fit(X)
    assert len(fitted._states[0]["codes"]) == 100
    assert roc_auc_score(np.repeat([1, 0], 100), fitted.score_samples(np.r_[X[:100], X[:100] * 3]))


def test_likelihood_is_the_bound(rows):
    vae = skae.VariationalAutoencoder(2, max_iter=5, early_stopping=False)
    fitted = detector("likelihood", vae).fit(rows)
    np.testing.assert_allclose(fitted.score_samples(rows), fitted.estimator_.score_samples(rows))
    assert isinstance(detector("likelihood", None)._estimator(), skae.VariationalAutoencoder)


def test_auto_is_a_combination(rows):
    auto = detector().fit(rows)
    named = detector(("denoising", "tails", "neighbors")).fit(rows)
    np.testing.assert_array_equal(auto.score_samples(rows), named.score_samples(rows))


@pytest.mark.parametrize(("n", "epochs"), [(100, 250), (4096, 62), (1_000_000, 10)])
def test_default_autoencoder_takes_two_thousand_steps(n, epochs):
    assert AutoencoderOutlierDetector()._estimator(n).max_iter == epochs


def test_a_combination_is_the_mean_of_its_parts_over_their_training_means(rows):
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
def test_a_row_is_scored_as_it_is_alone(rows, method, estimator):
    fitted = detector(method, estimator).fit(rows)
    alone = [fitted.score_samples(row[None])[0] for row in rows[:7]]
    np.testing.assert_allclose(fitted.score_samples(rows)[:7], alone, rtol=1e-7)
    assert fitted.score_samples(rows.astype(np.float32)).dtype == np.float64


@pytest.mark.parametrize("method", [*ADDITIVE, ("denoising", "tails")], ids=str)
def test_contributions_sum_to_the_score_and_holes_contribute_nothing(rows, method):
    holed = rows.copy()
    holed[::3, 1] = holed[5] = np.nan
    fitted = detector(method, QUICK).fit(rows)
    contributions = fitted.feature_contributions(holed)
    np.testing.assert_allclose(contributions.sum(1), -fitted.score_samples(holed), rtol=1e-9)
    assert (contributions[np.isnan(holed)] == 0).all()
    assert (contributions >= 0).all()


def test_contributions_of_a_part_that_is_no_sum_are_left_out(rows):
    both = detector(("tails", "neighbors")).fit(rows)
    tails = detector("tails").fit(rows)
    share = tails.feature_contributions(rows)
    np.testing.assert_allclose(both.feature_contributions(rows), share / share.sum(1).mean() / 2)
    with pytest.raises(ValueError, match="no sum over columns"):
        detector("neighbors").fit(rows).feature_contributions(rows)


def test_the_column_that_is_wrong_contributes_most(rows):
    fitted = detector("auto", QUICK).fit(rows)
    wrong = rows[:20].copy()
    wrong[:, 3] += 6
    assert (fitted.feature_contributions(wrong).argmax(1) == 3).all()


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_row_with_nothing_observed_scores_zero(rows, method):
    holed = np.r_[rows, np.full((3, 5), np.nan)]
    fitted = detector(method, contamination=0.1).fit(holed)
    assert (fitted.score_samples(holed)[-3:] == 0).all()
    assert not fitted.support_[-3:].any()
    without = detector(method, contamination=0.1).fit(rows)
    np.testing.assert_allclose(fitted.score_samples(rows), without.score_samples(rows))
    assert fitted.offset_ == pytest.approx(without.offset_)


@pytest.mark.parametrize("method", [*METHODS, "likelihood"], ids=str)
def test_rows_with_holes_are_trained_on_and_scored(rows, rng, method):
    """Holes everywhere blur what belongs together; anomalies still stand out."""
    wrong = rows[:40].copy()
    wrong[:, 3] += 6
    holed, wrong = (np.where(rng.random(X.shape) < 0.2, np.nan, X) for X in (rows, wrong))
    wrong[:, 3] = rows[:40, 3] + 6
    estimator = VAE if method == "likelihood" else QUICK
    fitted = detector(method, estimator).fit(holed)
    score = fitted.score_samples(np.r_[holed, wrong])
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
def test_contamination_is_the_share_that_is_called_outliers(rows, share):
    fitted = detector(contamination=share)
    assert (fitted.fit_predict(rows) == -1).mean() == share


def test_contamination_auto_tells_what_stands_out(rows, rng):
    planted = np.r_[rows, rng.normal(scale=4, size=(10, 5))]
    outlying = detector(estimator=QUICK, trim="auto").fit_predict(planted) == -1
    assert outlying[200:].mean() >= 0.9
    assert outlying[:200].mean() < 0.05


@pytest.mark.parametrize("n_far", [0, 30])
def test_contamination_auto_is_the_fence_of_tukey_or_the_worst_hundredth(rows, rng, n_far):
    far = np.r_[rows, rng.normal(scale=9, size=(n_far, 5))]
    fitted = detector("reconstruction").fit(far)
    log = np.sort(np.log(-fitted.score_samples(far)))
    low, high = np.quantile(log, [0.25, 0.75], method="inverted_cdf")
    fence = high + 1.5 * (high - low)
    # In the middle between the rows on both sides, or a hundredth above.
    assert min(fence, log[-3]) < np.log(-fitted.offset_) < min(fence, log[-3]) + 0.01
    assert (fence < log[-3]) == (n_far > 0)


def test_trim_leaves_out_what_stands_out(rows, rng):
    planted = np.r_[rows, rng.normal(scale=20, size=(20, 5))]
    for trim, share in (("auto", None), (0.1, 0.1)):
        fitted = detector(estimator=QUICK, trim=trim).fit(planted)
        assert (~fitted.support_[200:]).mean() >= 0.9
        if share:
            assert (~fitted.support_).mean() == pytest.approx(share)
    assert detector(estimator=QUICK).fit(planted).support_.all()
    weight = np.repeat([1.0, 0], [200, 20])
    assert detector(estimator=QUICK).fit(planted, sample_weight=weight).support_.sum() == 200


def test_weight_zero_is_absence(rows):
    weight = np.repeat([1.0, 0], [150, 50])
    for method in METHODS:
        one = detector(method, contamination=0.1).fit(rows, sample_weight=weight)
        other = detector(method, contamination=0.1).fit(rows[:150])
        np.testing.assert_allclose(
            one.decision_function(rows), other.decision_function(rows), rtol=1e-5, atol=1e-8
        )


def test_weights_are_repetitions_where_the_autoencoder_says_so(rows):
    weight = np.arange(len(rows)) % 3 + 1.0
    for method in ("reconstruction", "standardized", "denoising", "mahalanobis"):
        one = detector(method, contamination=0.1).fit(rows, sample_weight=weight)
        other = detector(method, contamination=0.1).fit(rows.repeat(weight.astype(int), axis=0))
        np.testing.assert_allclose(one.score_samples(rows), other.score_samples(rows), rtol=1e-5)
        assert one.offset_ == pytest.approx(other.offset_, rel=1e-5)


def test_parameters_set_after_the_fit_change_nothing(rows):
    fitted = detector(estimator=QUICK).fit(rows)
    before = fitted.decision_function(rows)
    fitted.set_params(method="likelihood", n_neighbors=1, contamination=0.5, estimator=LINEAR)
    np.testing.assert_array_equal(fitted.decision_function(rows), before)


def test_a_failed_fit_leaves_the_detector_as_it_was(rows):
    fitted = detector().fit(rows)
    before = fitted.score_samples(rows)
    with pytest.raises(ValueError, match="infinity"):
        fitted.fit(np.full_like(rows, np.inf))
    np.testing.assert_array_equal(fitted.score_samples(rows), before)


def test_the_same_seed_is_the_same_detector_and_the_users_estimator_is_left_alone(rows):
    mine = clone(QUICK)
    one, other = (detector(estimator=mine).fit(rows).score_samples(rows) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert mine.random_state is None
    seeded = clone(QUICK).set_params(random_state=3)
    kept = detector(estimator=seeded, random_state=None).fit(rows)
    assert kept.estimator_.random_state == 3


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_sparse_rows_and_files_score_as_dense_ones(rows, method, tmp_path):
    rows = np.where(rows > 0.5, rows, 0)
    dense = detector(method, QUICK).fit(rows).score_samples(rows)
    csr = detector(method, QUICK).fit(sparse.csr_array(rows))
    np.testing.assert_allclose(csr.score_samples(sparse.csr_array(rows)), dense, rtol=1e-5)
    file = np.memmap(tmp_path / "rows", dtype=rows.dtype, mode="w+", shape=rows.shape)
    file[:] = rows
    read = detector(method, QUICK).fit(file)
    np.testing.assert_allclose(read.score_samples(file), dense, rtol=1e-5)


def test_files(rows, tmp_path):
    fitted = detector(estimator=QUICK, calibration_fraction=0.2).fit(rows)
    skae.save(fitted, tmp_path / "detector.skae")
    for again in (pickle.loads(pickle.dumps(fitted)), skae.load(tmp_path / "detector.skae")):
        np.testing.assert_array_equal(again.decision_function(rows), fitted.decision_function(rows))
        np.testing.assert_array_equal(again.p_values(rows), fitted.p_values(rows))


# ------------------------------------------------------------------------------------- verdicts

VARYING = {
    "rare events": lambda rng: np.where(rng.random((300, 6)) < 0.985, 0, rng.random((300, 6))),
    "one other row": lambda rng: np.r_[np.full((49, 3), 0.1), [[5.0, 1, 2]]],
    "two distinct rows": lambda rng: np.repeat([[0.3, 1, 2], [1, 1, 0.7]], [20, 5], axis=0),
    "one-hot": lambda rng: np.eye(4)[rng.choice(4, p=[0.7, 0.24, 0.04, 0.02], size=200)],
    "one column varies": lambda rng: np.c_[np.full((100, 2), 0.7), rng.normal(size=100)],
    "wild value": lambda rng: np.r_[rng.normal(size=(100, 3)), [[0, 1e12, 0]]],
}


@pytest.mark.parametrize("name", VARYING)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_every_table_that_varies_is_fitted(rng, name):
    X = VARYING[name](rng)
    fitted = detector(estimator=QUICK, trim="auto").fit(X)
    assert np.isfinite(fitted.score_samples(X)).all()
    outlying = fitted.predict(X) == -1
    _, group, count = np.unique(X, axis=0, return_inverse=True, return_counts=True)
    assert not outlying[count[group.ravel()] > len(X) / 2].any()
    if name in ("rare events", "one other row", "wild value"):
        assert outlying[np.abs(X).sum(axis=1).argmax()]


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_verdicts_do_not_depend_on_rounding_copies_or_company(rows, method, contamination):
    fitted = detector(method, contamination=contamination).fit(rows)
    verdict = fitted.predict(rows)
    for rounded in (rows.astype(np.float32), rows.round(6)):
        assert np.sum(fitted.predict(rounded) != verdict) <= 1  # at the threshold itself
        np.testing.assert_allclose(
            fitted.score_samples(rounded), fitted.score_samples(rows), rtol=1e-3
        )
    np.testing.assert_array_equal(fitted.predict(rows.repeat(3, axis=0))[::3], verdict)
    np.testing.assert_array_equal([fitted.predict(row[None])[0] for row in rows[:20]], verdict[:20])


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_most_rows_being_identical_are_inliers(rng, method):
    X = np.tile(rng.normal(size=4), (300, 1))
    X[::10] += rng.normal(size=(30, 4))
    same = np.arange(300) % 10 > 0
    for contamination in ("auto", 0.1, 0.3):
        fitted = detector(method, QUICK, contamination=contamination).fit(X)
        for given in (X, X.astype(np.float32)):
            assert (fitted.predict(given)[same] == 1).all()
    assert (fitted.predict(X)[~same] == -1).any()


def test_rows_of_weight_zero_may_be_anything(rows):
    wild = np.r_[rows, np.full((1, 5), 1e200)]
    weight = np.r_[np.ones(200), 0]
    one = detector().fit(wild, sample_weight=weight)
    np.testing.assert_allclose(one.score_samples(rows), detector().fit(rows).score_samples(rows))


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("value", [1e12, 1e100, 1e200, 1e308])
def test_every_magnitude_is_scored_or_refused(rows, value):
    fitted = detector(estimator=QUICK).fit(rows)
    far = rows[:3].copy()
    far[1, 2] = value
    for question in (
        fitted.score_samples,
        fitted.decision_function,
        fitted.feature_contributions,
        lambda X: fitted.p_values(X, rows),
        lambda X: fitted.select_outliers(X, X_calibration=rows),
    ):
        if value <= 1e100:
            assert np.isfinite(question(far)).all()
        else:
            with pytest.raises(ValueError, match="Row 1 of X is so far from the training rows"):
                question(far)


def test_tails_are_continuous_and_frequent_values_are_usual(rng):
    X = np.where(rng.random((2000, 2)) < 0.9, 0.1, rng.normal(size=(2000, 2)))
    fitted = detector("tails", LinearAutoencoder(1)).fit(X)
    usual = np.array([[0.1, 0.1], [np.float32(0.1), 0.1 + 1e-9]])
    np.testing.assert_allclose(fitted.score_samples(usual), 0, atol=1e-3)
    x = np.linspace(-0.1, 0.3, 400_001)
    steps = np.diff(fitted.score_samples(np.c_[x, np.full_like(x, 0.1)]))
    assert np.abs(steps).max() < 0.05


def test_shares_of_training_rows_are_as_near_as_ties_allow():
    one_to_ten = RankedScores(np.arange(1.0, 11), np.ones(10))
    assert one_to_ten.exceeded_by(0.2) == 8
    assert one_to_ten.exceeded_by(0.29) == 8  # single rows: never more than asked for
    tied = RankedScores(np.r_[np.ones(5), 2, 3 * (1 + 1e-9 * np.arange(4))], np.ones(10))
    assert tied.exceeded_by(0.3) == 2  # all four ties, for none would be further off
    assert tied.exceeded_by(0.1) == tied.scores[-1]
    assert tied.exceeded_by(0.5) == 1
    weighted = RankedScores(np.array([1.0, 3, 2]), np.array([6.0, 1, 3]))
    assert weighted.exceeded_by(0.1) == 2
    assert weighted.quantile(0.5) == 1
    assert weighted.quantile(0.75) == 2


def test_thresholds_lie_clear_of_scores():
    scores = RankedScores(np.array([1.0, 2, 2.000001, 2.002, 50]), np.ones(5))
    assert scores.separating(2.0) == pytest.approx(2.0010005)
    assert scores.separating(2.002) == pytest.approx(2.002 * 1.01)
    assert scores.separating(1.5) == pytest.approx(1.5)  # nothing is near


def test_equal_scores_of_zero_are_equally_usual(rows):
    fitted = detector("neighbors").fit(np.repeat(rows[:20], 10, axis=0))
    np.testing.assert_array_equal(fitted.p_values(rows[:5], rows[:20]), np.ones(5))


# ------------------------------------------------------------------------------------- conformal


@pytest.mark.parametrize("load", [load_wine, load_digits])
def test_p_values_are_valid(load, rng):
    X = load().data
    order = rng.permutation(len(X))
    fitted = detector("standardized").fit(X[order[: len(X) // 2]])
    rest = X[order[len(X) // 2 :]]
    p = []
    for _ in range(500):
        chosen = rng.permutation(len(rest))[:41]
        p.append(fitted.p_values(rest[chosen[:1]], rest[chosen[1:]])[0])
    for t in (0.05, 0.1, 0.2, 0.5):
        # Far beyond chance only where P(p <= t) > t.
        assert stats.binomtest(int(np.sum(np.array(p) <= t)), 500, t, "greater").pvalue > 1e-3
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_rows_held_out_are_calibrated_by(rows):
    fitted = detector("standardized", calibration_fraction=0.25, contamination=0.1).fit(rows)
    assert len(fitted.calibration_scores_) == 50
    assert fitted.support_.sum() == 150
    held_out = fitted.score_samples(rows[~fitted.support_])
    np.testing.assert_allclose(fitted.calibration_scores_, np.sort(held_out))
    p = fitted.p_values(rows[:20])
    count = (fitted.calibration_scores_ <= fitted.score_samples(rows[:20])[:, None]).sum(1)
    np.testing.assert_allclose(p, (1 + count) / 51)
    np.testing.assert_array_equal(p, fitted.p_values(rows[:20], rows[~fitted.support_]))


def test_equal_rows_are_not_less_usual_than_each_other(rows):
    fitted = detector("auto", QUICK).fit(rows)
    same = rows[:1].repeat(99, axis=0)
    np.testing.assert_array_equal(fitted.p_values(rows[:1], same), [1.0])
    np.testing.assert_array_equal(fitted.p_values(same, rows[:1]), np.ones(99))


def test_selection_holds_its_false_discovery_rate(rng):
    def draw(n, scale=1.0):
        z = rng.normal(size=(n, 2))
        return np.c_[z, z.sum(1)] + 0.1 * scale * rng.normal(size=(n, 3))

    fitted = detector("standardized", LinearAutoencoder(2)).fit(draw(300))
    false, power = [], []
    for _ in range(200):
        X = np.r_[draw(90), draw(10, scale=6)]
        selected = fitted.select_outliers(X, fdr=0.2, X_calibration=draw(200))
        false.append(selected[:90].sum() / max(1, selected.sum()))
        power.append(selected[90:].mean())
    assert np.mean(false) < 0.2 + 3 * np.std(false) / np.sqrt(len(false))
    assert np.mean(power) > 0.5


# ------------------------------------------------------------------------------------- company


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
    """Remembers what it was given."""

    def fit(self, X, y=None, sample_weight=None, told=None):
        """Fit."""
        self.given_ = (sample_weight, told)
        return super().fit(X, y, sample_weight=sample_weight)


def test_metadata_is_routed(rows):
    with sklearn.config_context(enable_metadata_routing=True):
        inner = Metadata(2).set_fit_request(sample_weight=False, told=True)
        weight = np.repeat([1.0, 3], [100, 100])
        fitted = detector("reconstruction", inner).set_fit_request(sample_weight=True)
        fitted.fit(rows, sample_weight=weight, told="so")
        np.testing.assert_array_equal(fitted.estimator_.given_[0], np.ones(200))
        assert fitted.estimator_.given_[1] == "so"
        fitted.estimator.set_fit_request(sample_weight=True)
        fitted.fit(rows, sample_weight=weight)
        np.testing.assert_array_equal(fitted.estimator_.given_[0], weight)
        pipeline = make_pipeline(StandardScaler(), fitted)
        pipeline[0].set_fit_request(sample_weight=False)
        pipeline.fit(rows, sample_weight=weight)
        np.testing.assert_array_equal(pipeline[-1].estimator_.given_[0], weight)
    with pytest.raises((ValueError, TypeError), match="told"):
        detector("reconstruction", Metadata(2)).fit(rows, told="so")


def test_a_wrapper_that_sets_and_copies_finds_what_it_needs(rows):
    # As conformal wrappers do: copy, seed, fit on numpy, decision_function on numpy.
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
        ({"calibration_fraction": 0.001}, "of 200 rows is none; raise it"),
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


def test_bad_questions(rows):
    fitted = detector().fit(rows)
    with pytest.raises(ValueError, match="no rows to calibrate by; pass X_calibration"):
        fitted.p_values(rows)
    with pytest.raises(ValueError, match="fdr must be between 0 and 1"):
        fitted.select_outliers(rows, fdr=1.5, X_calibration=rows)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        detector().predict(rows)


@pytest.mark.parametrize("method", ["reconstruction", "auto"])
def test_values_that_the_loss_is_not_defined_for_are_refused(rng, method):
    X = (rng.random((60, 4)) < 0.5).astype(float)
    model = skae.Autoencoder(2, loss="log_loss", max_iter=3, early_stopping=False)
    fitted = detector(method, model).fit(X)
    assert np.isfinite(fitted.score_samples(X)).all()
    with pytest.raises(ValueError, match=r"loss='log_loss' needs values in \[0, 1\]"):
        fitted.score_samples(X * 2)


def test_a_checkpoint_is_the_last_fits(rows, tmp_path):
    model = clone(QUICK).set_params(checkpoint=tmp_path / "fit")
    once, again = (detector(estimator=model, trim="auto").fit(rows) for _ in range(2))
    np.testing.assert_array_equal(once.score_samples(rows), again.score_samples(rows))


def test_two_rows_are_enough(rng):
    X = rng.normal(size=(2, 3))
    fitted = AutoencoderOutlierDetector(random_state=0).fit(X)
    assert np.isfinite(fitted.score_samples(X)).all()
