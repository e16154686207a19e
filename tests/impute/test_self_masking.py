"""Values that are missing with a probability that depends on them."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

import skae
from skae import AutoencoderImputer, VariationalAutoencoder, make_missing
from skae.impute._amputation import MECHANISMS
from skae.impute._completion import GaussianCompletion, SelfMaskedCompletion
from skae.impute._self_masking import SLOPES, _gains, self_masking_slopes
from skae.tables import ColumnGroups

D = 6
COVARIANCE = 0.6 * np.eye(D) + 0.4
KNOWN = GaussianCompletion(np.zeros(D), COVARIANCE, np.arange(D))


@pytest.fixture(name="Z")
def rows(rng):
    return rng.multivariate_normal(np.zeros(D), COVARIANCE, size=2000)


def self_masked(Z, slopes, rng, intercept=-1.0):
    return np.where(rng.uniform(size=Z.shape) < expit(intercept + Z * slopes), np.nan, Z)


def slopes_of(Z, groups=None, completion=KNOWN):
    groups = np.arange(D) if groups is None else groups
    rng = np.random.RandomState(0)
    return self_masking_slopes(completion.complete, Z, ColumnGroups(groups), rng)


@pytest.mark.parametrize("slope", [-1.0, 0.8, 1.5])
def test_one_slope_of_all_columns_is_found(Z, slope, rng):
    found = slopes_of(self_masked(Z, slope, rng))
    assert len(set(found)) == 1
    # Predictions are of observed values, so they are biased, but slopes hardly are.
    np.testing.assert_allclose(found, slope, atol=0.25)


def test_columns_have_slopes_of_their_own(Z, rng):
    slopes = np.array([1.2, -1.2, 0, 0, 0, 0])
    found = slopes_of(self_masked(Z, slopes, rng))
    np.testing.assert_allclose(found, slopes, atol=0.5)
    assert (found[2:] == 0).all()


# Not those whose missing values depend on which other values are missing.
AT_RANDOM = [m for m in MECHANISMS if "mnar" not in m and m not in ("mar_block", "mar_sequential")]


@pytest.mark.parametrize("mechanism", AT_RANDOM)
@pytest.mark.parametrize("seed", range(2))
def test_values_that_are_missing_at_random_have_no_slope(Z, mechanism, seed):
    assert not slopes_of(make_missing(Z, mechanism, 0.3, random_state=seed)).any()


def test_categories_and_columns_with_few_missing_values_have_no_slope(Z, rng):
    missing = self_masked(Z, 1.5, rng)
    missing[:, 0] = Z[:, 0]
    missing[:5, 0] = np.nan
    missing[:, 5] = np.where(np.isnan(missing[:, 4]), np.nan, Z[:, 5])
    found = slopes_of(missing, np.array([0, 1, 2, 3, 4, 4]))
    assert (found[[0, 4, 5]] == 0).all()
    assert (found[1:4] > 0).all()


def test_gains_are_those_of_a_logistic_regression_if_predictions_are_exact(rng):
    m = rng.normal(size=500)
    r = (rng.uniform(size=500) < expit(0.5 + m)).astype(float)
    gains = _gains(m, r) + SLOPES**2 / 2  # without the prior
    model = LogisticRegression(C=np.inf).fit(m[:, None], r)
    log_p = model.predict_log_proba(m[:, None])[np.arange(500), r.astype(int)].sum()
    null = np.log(np.where(r == 1, r.mean(), 1 - r.mean())).sum()
    np.testing.assert_allclose(gains.max(), log_p - null, atol=0.2)
    np.testing.assert_allclose(SLOPES[gains.argmax()], model.coef_[0, 0], atol=0.1)
    np.testing.assert_allclose(gains[len(SLOPES) // 2], 0, atol=1e-9)


def test_the_shift_is_the_mean_of_the_tilted_gaussian(rng):
    """With odds exp(a + b x), missing values have the density of observed ones times exp(b x)."""
    x = rng.normal(size=400_000)
    r = rng.uniform(size=len(x)) < expit(-1 + 0.5 * x)
    observed, missing = x[~r], x[r]
    weight = np.exp(0.5 * observed)
    np.testing.assert_allclose(np.average(observed, weights=weight), missing.mean(), atol=0.01)
    one = GaussianCompletion(
        np.array([observed.mean()]), np.array([[observed.var()]]), np.arange(1)
    )
    shifted = SelfMaskedCompletion(one, np.array([0.5]), np.ones(1))
    found = shifted.complete(np.array([[np.nan]]))
    np.testing.assert_allclose(found, missing.mean(), atol=0.02)


def incomplete(rng, mechanism, fraction=0.3):
    z = rng.normal(size=(1000, 2))
    table = z @ rng.normal(size=(2, 5)) + 0.7 * rng.normal(size=(1000, 5))
    return table, make_missing(table, mechanism, fraction, random_state=0)


@pytest.mark.filterwarnings("ignore:No epoch of Variational:skae.AutoencoderWarning")
@pytest.mark.parametrize(
    "estimator",
    [None, pytest.param(VariationalAutoencoder(2, max_iter=5), marks=pytest.mark.full)],
)
def test_the_imputer_corrects_self_masked_values(rng, estimator, tmp_path):
    table, X = incomplete(rng, "mnar")
    missing = np.isnan(X)
    imputers = {
        mechanism: AutoencoderImputer(
            estimator, mechanism=mechanism, max_iter=20, random_state=0
        ).fit(X)
        for mechanism in ("auto", "mar")
    }
    filled = {name: imputer.transform(X) for name, imputer in imputers.items()}
    error = {name: np.square(f - table)[missing].mean() for name, f in filled.items()}
    assert error["auto"] < 0.9 * error["mar"]
    assert (filled["auto"] >= filled["mar"]).all()
    auto, mar = imputers["auto"], imputers["mar"]
    draws = [imputer.sample(X, 20, random_state=0)[:, missing] for imputer in (auto, mar)]
    assert draws[0].mean() > draws[1].mean()
    report = [imputer.over_impute(X, random_state=0) for imputer in (auto, mar)]
    np.testing.assert_array_equal(*report)
    skae.save(auto, tmp_path / "imputer")
    np.testing.assert_allclose(skae.load(tmp_path / "imputer").transform(X), filled["auto"])


def test_values_missing_at_random_are_imputed_as_such(rng):
    X = incomplete(rng, "mcar")[1]
    filled = [
        AutoencoderImputer(mechanism=mechanism, max_iter=5, random_state=0).fit_transform(X)
        for mechanism in ("auto", "mar")
    ]
    np.testing.assert_array_equal(*filled)
