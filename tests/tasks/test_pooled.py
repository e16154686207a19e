
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
)
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer, PooledEstimator, make_holes, pool_estimates
from skae.tasks import _filler, _imputer


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(_filler, "STEPS", 60)


@pytest.fixture
def gaussian_alone(monkeypatch):
    """Leave the network away, which many small tables have no time for."""
    monkeypatch.setattr(_imputer, "ENOUGH_ROWS", np.inf)


def table(rng, n=200, noise=1.0):
    X = rng.normal(size=(n, 3)) @ [[1, 0.5, 0.2], [0, 1, 0.3], [0, 0, 1]]
    return X, X @ [1, -2, 0.5] + 3 + noise * rng.normal(size=n)


@pytest.fixture
def regression(rng):
    X, y = table(rng)
    return make_holes(X, fraction=0.2, random_state=0), y


@pytest.fixture
def classes(rng):
    X, y = table(rng)
    return make_holes(X, fraction=0.2, random_state=0), np.array(["no", "so", "yes"])[
        np.digitize(y, [1, 5])
    ]


class Draws(BaseEstimator):
    """Imputer that draws from what it saw of a column, for each row alone; a list, if frames."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X):
        """Keep the rows."""
        self.saw_ = np.asarray(X, dtype=float)
        return self

    def sample(self, X, n_imputations=5, random_state=None):
        """Draw."""
        values = np.asarray(X, dtype=float)
        tables = []
        for i in range(n_imputations):
            # One seed for all rows: no row's draw depends on the others.
            some = np.random.default_rng([random_state, i]).integers(len(self.saw_))
            filled = np.where(np.isnan(self.saw_[some]), np.nanmean(self.saw_, 0), self.saw_[some])
            completed = np.where(np.isnan(values), filled, values)
            if hasattr(X, "iloc"):
                completed = pd.DataFrame(completed, index=X.index, columns=X.columns)
            tables.append(completed)
        return tables


# --------------------------------------------------------------------------------- mathematics


def by_hand(model, X, y, new, n_imputations, encoded):
    """Return each estimator and its completed new rows, from the model's own seeds."""
    rng = np.random.RandomState(0)
    seed, for_fit, for_new = rng.randint(np.iinfo(np.int32).max, size=3)
    imputer = AutoencoderImputer(random_state=seed).fit(np.c_[X, encoded])
    drawn = imputer.sample(np.c_[X, encoded], n_imputations, for_fit)
    unknown = np.full((len(new), encoded.shape[1]), np.nan)
    drawn_new = imputer.sample(np.c_[new, unknown], n_imputations, for_new)
    d = X.shape[1]
    return [
        (clone(model).fit(t[:, :d], y), n[:, :d]) for t, n in zip(drawn, drawn_new, strict=True)
    ]


def test_regressors_are_averaged(regression):
    X, y = regression
    fitted = PooledEstimator(KNeighborsRegressor(), n_imputations=3, random_state=0).fit(X, y)
    pairs = by_hand(KNeighborsRegressor(), X, y, X[:50], 3, y[:, None])
    expected = np.mean([model.predict(rows) for model, rows in pairs], axis=0)
    np.testing.assert_allclose(fitted.predict(X[:50]), expected)
    assert len(fitted.estimators_) == 3


def test_classifiers_average_probabilities_and_decisions(classes):
    X, y = classes
    fitted = PooledEstimator(LogisticRegression(), random_state=0).fit(X, y)
    encoded = (y[:, None] == ["so", "yes"]).astype(float)
    pairs = by_hand(LogisticRegression(), X, y, X[:50], 5, encoded)
    p = np.mean([model.predict_proba(rows) for model, rows in pairs], axis=0)
    np.testing.assert_allclose(fitted.predict_proba(X[:50]), p)
    np.testing.assert_array_equal(fitted.predict(X[:50]), fitted.classes_[p.argmax(1)])
    decision = np.mean([model.decision_function(rows) for model, rows in pairs], axis=0)
    np.testing.assert_allclose(fitted.decision_function(X[:50]), decision)
    assert fitted.score(X, y) == np.mean(fitted.predict(X) == y)


def test_classifiers_without_probabilities_vote(classes):
    X, y = classes
    fitted = PooledEstimator(RidgeClassifier(), random_state=0).fit(X, y)
    assert not hasattr(fitted, "predict_proba")
    encoded = (y[:, None] == ["so", "yes"]).astype(float)
    votes = [m.predict(rows) for m, rows in by_hand(RidgeClassifier(), X, y, X, 5, encoded)]
    counts = np.array([np.sum(np.array(votes) == label, axis=0) for label in fitted.classes_])
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[counts.argmax(0)])
    assert (counts.max(0) < 5).any()


def test_without_holes_it_is_the_estimator(rng):
    X, y = table(rng)
    forest = RandomForestClassifier(5, random_state=0)
    fitted = PooledEstimator(forest, n_imputations=2, random_state=3).fit(X, y > 3)
    alone = clone(forest).set_params(random_state=fitted.estimators_[0].random_state)
    np.testing.assert_allclose(
        fitted.predict_proba(X), alone.fit(X, y > 3).predict_proba(X), atol=1e-15
    )
    linear = PooledEstimator(LinearRegression()).fit(X, y)
    pooled, beta = linear.pool_coefficients(), LinearRegression().fit(X, y)
    np.testing.assert_allclose(linear.coef_, beta.coef_)
    np.testing.assert_allclose(pooled.estimate, np.r_[beta.coef_, beta.intercept_])


def least_squares(X, y, alpha=0.0, intercept=True):
    """Return standard errors by the plain formula, and the degrees of freedom."""
    D = np.c_[X, np.ones(len(X))] if intercept else X
    penalty = np.diag([alpha] * X.shape[1] + [0.0] * intercept)
    inverse = np.linalg.inv(D.T @ D + penalty)
    H = D @ inverse @ D.T
    df = np.trace((np.eye(len(X)) - H) @ (np.eye(len(X)) - H))
    left = ((y - H @ y) ** 2).sum()
    return np.sqrt(left / df * np.diag(inverse @ D.T @ D @ inverse)), df


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 20.0])
def test_standard_errors_of_least_squares(rng, alpha, intercept):
    X, y = table(rng, 40)
    X = X * [1, 100, 0.01] + 5 * intercept
    model = Ridge(alpha, fit_intercept=intercept)
    if not alpha:
        model = LinearRegression(fit_intercept=intercept)
    pooled = PooledEstimator(model).fit(X, y).pool_coefficients()
    std_error, df = least_squares(X, y, alpha, intercept)
    np.testing.assert_allclose(pooled.std_error, std_error, rtol=1e-6)
    np.testing.assert_allclose(pooled.df, (df + 1) / (df + 3) * df)
    assert alpha or df == pytest.approx(40 - 3 - intercept)


def test_standard_errors_of_least_squares_are_those_of_simulations(rng):
    X, _ = table(rng, 30)
    fits = [Ridge(5.0).fit(X, X @ [1, -2, 0.5] + e) for e in rng.normal(size=(4000, 30))]
    found = np.std([np.r_[f.coef_, f.intercept_] for f in fits], axis=0)
    # A penalty that is small beside the rows leaves the noise's estimate nearly unbiased.
    y = X @ [1, -2, 0.5] + rng.normal(size=(200, 30))
    known = [PooledEstimator(Ridge(5.0), n_imputations=2).fit(X, row) for row in y[:60]]
    mean = np.sqrt(np.mean([m.pool_coefficients().std_error ** 2 for m in known], axis=0))
    np.testing.assert_allclose(mean, found, rtol=0.1)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("C", [np.inf, 0.1])
def test_standard_errors_of_logistic_regression_are_those_of_a_numeric_hessian(rng, C, intercept):
    X, y = table(rng, 150, noise=3.0)
    X, y = X + intercept, y > 3
    model = LogisticRegression(C=C, fit_intercept=intercept, tol=1e-10, max_iter=1000)
    fitted = PooledEstimator(model).fit(X, y)

    def minus_log_posterior(theta):
        z = X @ theta[:3] + (theta[3] if intercept else 0)
        return np.logaddexp(0, np.where(y, -z, z)).sum() + theta[:3] @ theta[:3] / (2 * C)

    at = fitted.coef_[0]
    if intercept:
        at = np.r_[at, fitted.intercept_]
    gradient = [
        optimize.approx_fprime(at, minus_log_posterior, 1e-6)
    ]  # which is zero where the fit ended
    np.testing.assert_allclose(gradient[0], 0, atol=1e-2)

    def second(i, j, h=1e-3):
        steps = np.eye(len(at)) * h
        signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
        total = [a * b * minus_log_posterior(at + a * steps[i] + b * steps[j]) for a, b in signs]
        return sum(total) / (4 * h * h)

    hessian = np.array([[second(i, j) for j in range(len(at))] for i in range(len(at))])
    pooled = fitted.pool_coefficients()
    assert pooled.estimate.shape == (1, len(at))
    expected = np.sqrt(np.diag(np.linalg.inv(hessian)))
    np.testing.assert_allclose(pooled.std_error[0], expected, rtol=1e-3)


@pytest.mark.parametrize("model", [LinearRegression(), Ridge(3.0), LogisticRegression(C=0.5)])
def test_a_weight_is_as_many_rows(rng, model):
    X, y = table(rng, 60)
    y = y > 3 if is_classifier(model) else y
    weight = rng.integers(0, 4, size=60)
    weighted = PooledEstimator(model).fit(X, y, sample_weight=weight)
    repeated = PooledEstimator(model).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    for one, other in zip(weighted.pool_coefficients(), repeated.pool_coefficients(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


def test_pooled_coefficients_are_rubins(regression):
    X, y = regression
    fitted = PooledEstimator(Ridge(1.0), random_state=0).fit(X, y)
    rng = np.random.RandomState(0)
    seed, for_fit, _ = rng.randint(np.iinfo(np.int32).max, size=3)
    imputer = AutoencoderImputer(random_state=seed).fit(np.c_[X, y])
    errors, dfs = zip(
        *(least_squares(t[:, :3], y, 1.0) for t in imputer.sample(np.c_[X, y], 5, for_fit)),
        strict=True,
    )
    q = [np.r_[m.coef_, m.intercept_] for m in fitted.estimators_]
    expected = pool_estimates(q, np.square(errors), np.mean(dfs), coverage=0.8)
    pooled = fitted.pool_coefficients(coverage=0.8)
    for one, other in zip(pooled, expected, strict=True):
        np.testing.assert_allclose(one, other)
    np.testing.assert_allclose(fitted.coef_, np.mean(q, axis=0)[:3])
    np.testing.assert_allclose(fitted.intercept_, np.mean(q, axis=0)[3])


def test_a_variance_of_ones_own(regression):
    X, y = regression

    def variance(model, X, y, sample_weight=None):
        scale = 1.0 if sample_weight is None else sample_weight.mean()
        return np.full_like(model.coef_, scale)

    fitted = PooledEstimator(Lasso(0.1), variance=variance, random_state=0).fit(X, y)
    pooled = fitted.pool_coefficients()
    q = np.array([m.coef_ for m in fitted.estimators_])
    np.testing.assert_allclose(pooled.std_error, np.sqrt(1 + 1.2 * q.var(0, ddof=1)))
    weighted = clone(fitted).fit(X, y, sample_weight=np.full(200, 4.0))
    assert (weighted.pool_coefficients().std_error > 2).all()
    with_intercept = PooledEstimator(
        LogisticRegression(), variance=lambda m, X, y: np.ones((1, 4)), random_state=0
    ).fit(X, y > 3)
    pooled = with_intercept.pool_coefficients()
    np.testing.assert_allclose(
        pooled.estimate, [np.r_[with_intercept.coef_[0], with_intercept.intercept_]]
    )
    with pytest.raises(ValueError, match=r"shape, \(3,\), or one longer .*; got \(2,\)"):
        PooledEstimator(Lasso(0.1), variance=lambda m, X, y: np.ones(2)).fit(X, y)


# -------------------------------------------------------------------------------- what it is for


def coverage(n_tables, n, imputer, mechanism, n_imputations, with_target=True):
    """Return how often intervals hold true and complete-data coefficients, (2,), of 4 each.

    Of the latter, the interval is that of what the holes add.
    """
    inside = []
    for seed in range(n_tables):
        X, y = table(np.random.default_rng(seed), n)
        holed = make_holes(X, mechanism, 0.3, random_state=seed)
        fitted = PooledEstimator(
            LinearRegression(),
            imputer,
            n_imputations=n_imputations,
            with_target=with_target,
            random_state=seed,
        ).fit(holed, y)
        pooled = fitted.pool_coefficients()
        complete = LinearRegression().fit(X, y)
        complete = np.r_[complete.coef_, complete.intercept_]
        q = [np.r_[m.coef_, m.intercept_] for m in fitted.estimators_]
        added = pool_estimates(q, np.zeros_like(q))
        inside.append(
            [
                (interval.low < value) & (value < interval.high)
                for interval, value in (
                    (pooled, [1, -2, 0.5, 3]),
                    (added, complete),
                    (pooled, complete),
                )
            ]
        )
    return np.mean(inside, axis=(0, 2))


@pytest.mark.usefixtures("gaussian_alone")
def test_intervals_hold_the_coefficients_at_the_nominal_rate():
    true, added, complete = coverage(60, 150, AutoencoderImputer(), "mcar", 10)
    print(true, added, complete)
    # Coefficients of one table are not independent: 60 draws, not 240.
    least = stats.binom.ppf(0.005, 60, 0.95) / 60
    assert true > least
    assert complete > 0.95
    assert added > least
    blind = coverage(60, 150, AutoencoderImputer(), "mcar", 10, with_target=False)
    assert blind[0] < least


@pytest.mark.full
@pytest.mark.parametrize("mechanism", ["mcar", "mar"])
def test_intervals_hold_the_coefficients_at_the_nominal_rate_by_networks(monkeypatch, mechanism):
    monkeypatch.setattr(_filler, "STEPS", 300)
    true, added, complete = coverage(200, 300, AutoencoderImputer(), mechanism, 20)
    print(true, added, complete)
    least = stats.binom.ppf(0.005, 200, 0.95) / 200
    assert true > least
    assert complete > 0.95
    assert added > least


def test_predictions_are_no_worse_than_of_one_imputation():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)[:, :10]
    pooled, single = [], []
    for seed in range(4):
        holed = make_holes(X, fraction=0.4, random_state=seed)
        train, test, y_train, y_test = train_test_split(holed, y, random_state=seed)
        model = LogisticRegression(C=np.inf, max_iter=1000)
        p = PooledEstimator(model, random_state=seed).fit(train, y_train).predict_proba(test)
        pooled.append(log_loss(y_test, p))
        imputer = AutoencoderImputer(random_state=seed).fit(train)
        model.fit(imputer.transform(train), y_train)
        single.append(log_loss(y_test, model.predict_proba(imputer.transform(test))))
    print(pooled, single)
    assert np.mean(pooled) < np.mean(single)


def test_regressions_are_no_worse_than_of_one_imputation():
    X, y = load_diabetes(return_X_y=True)
    pooled, single = [], []
    for seed in range(4):
        holed = make_holes(X, fraction=0.3, random_state=seed)
        train, test, y_train, y_test = train_test_split(holed, y, random_state=seed)
        model = LinearRegression()
        fitted = PooledEstimator(model, n_imputations=10, random_state=seed).fit(train, y_train)
        pooled.append(fitted.score(test, y_test))
        imputer = AutoencoderImputer(random_state=seed).fit(train)
        model.fit(imputer.transform(train), y_train)
        single.append(model.score(imputer.transform(test), y_test))
    print(pooled, single)
    assert np.mean(pooled) > np.mean(single) - 0.02
