import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import optimize, stats
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
)
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import get_tags

import skae
from skae import AutoencoderImputer, PooledEstimator, make_missing, pool_estimates


class GaussianDraws(BaseEstimator):
    """Imputer that draws from a multivariate normal distribution, fitted by EM."""

    def __init__(self, random_state=None, n_iter=15):
        self.random_state = random_state
        self.n_iter = n_iter

    def fit(self, X, y=None, sample_weight=None):
        """Estimate mean and covariance."""
        X = np.asarray(X, dtype=float)
        w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
        self.mean_, self.covariance_ = np.nanmean(X, axis=0), np.diag(np.nanvar(X, axis=0))
        for _ in range(self.n_iter):
            expected, covariance = self._conditional(X)
            self.mean_ = np.average(expected, axis=0, weights=w)
            residual = expected - self.mean_
            squares = residual[:, :, None] * residual[:, None] + covariance
            self.covariance_ = np.average(squares, axis=0, weights=w)
            self.covariance_ *= 1 + 1e-9 * np.eye(X.shape[1])  # features may be collinear
        return self

    def _conditional(self, X):
        """Return the mean and covariance of each sample, given its observed values."""
        observed = ~np.isnan(X)
        both = observed[:, :, None] & observed[:, None]
        between = np.where(observed[:, :, None], self.covariance_, 0)
        gain = np.linalg.solve(np.where(both, self.covariance_, np.eye(X.shape[1])), between)
        residual = np.where(observed, X - self.mean_, 0)
        expected = self.mean_ + (residual[:, None] @ gain)[:, 0]
        return np.where(observed, X, expected), self.covariance_ - between.mT @ gain

    def transform(self, X):
        """Fill missing values with their expectation."""
        return self._conditional(np.asarray(X, dtype=float))[0]

    def sample(self, X, n_imputations=5, random_state=None):
        """Draw completed tables."""
        X = np.asarray(X, dtype=float)
        rng = np.random.default_rng(random_state)
        expected, covariance = self._conditional(X)
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0))[:, None]
        noise = rng.normal(size=(n_imputations, *X.shape, 1))
        return [np.where(np.isnan(X), expected + (root @ z)[..., 0], X) for z in noise]


# Statistical claims are also tested with the imputer that users have by default.
IMPUTERS = [
    pytest.param(GaussianDraws(), id="Gaussian"),
    pytest.param(AutoencoderImputer(max_iter=10), id="autoencoder", marks=pytest.mark.full),
]


def pooled(model, imputer=None, **parameters):
    """Return a PooledEstimator with a fast imputer and a seed."""
    parameters = {"random_state": 0, **parameters}
    return PooledEstimator(model, imputer or GaussianDraws(), **parameters)


def table(rng, n=200, noise=1.0):
    X = rng.normal(size=(n, 3)) @ [[1, 0.5, 0.2], [0, 1, 0.3], [0, 0, 1]]
    return X, X @ [1, -2, 0.5] + 3 + noise * rng.normal(size=n)


@pytest.fixture
def regression(rng):
    X, y = table(rng)
    return make_missing(X, fraction=0.2, random_state=0), y


@pytest.fixture
def classes(rng):
    X, y = table(rng)
    return make_missing(X, fraction=0.2, random_state=0), np.array(["no", "so", "yes"])[
        np.digitize(y, [1, 5])
    ]


class Draws(BaseEstimator):
    """Imputer that draws from the training values of a column, and returns DataFrames."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X):
        """Keep the training data."""
        self.values_ = np.asarray(X, dtype=float)
        return self

    def sample(self, X, n_imputations=5, random_state=None):
        """Draw completed tables."""
        values = np.asarray(X, dtype=float)
        tables = []
        for i in range(n_imputations):
            # One seed for all samples, whose draws do not depend on other samples.
            some = np.random.default_rng([random_state, i]).integers(len(self.values_))
            filled = np.where(
                np.isnan(self.values_[some]), np.nanmean(self.values_, 0), self.values_[some]
            )
            completed = np.where(np.isnan(values), filled, values)
            if hasattr(X, "iloc"):
                completed = pd.DataFrame(completed, index=X.index, columns=X.columns)
            tables.append(completed)
        return tables


# --------------------------------------------------------------------------------- mathematics


def by_hand(model, X, y, new, n_imputations, encoded):
    """Return each estimator and its completed new samples, from the seeds of `PooledEstimator`."""
    rng = np.random.RandomState(0)
    seed, for_fit, for_new = rng.randint(np.iinfo(np.int32).max, size=3)
    imputer = GaussianDraws(random_state=seed).fit(np.c_[X, encoded])
    drawn = imputer.sample(np.c_[X, encoded], n_imputations, for_fit)
    unknown = np.full((len(new), encoded.shape[1]), np.nan)
    drawn_new = imputer.sample(np.c_[new, unknown], n_imputations, for_new)
    d = X.shape[1]
    return [
        (clone(model).fit(t[:, :d], y), n[:, :d]) for t, n in zip(drawn, drawn_new, strict=True)
    ]


def test_regressors_are_averaged(regression):
    X, y = regression
    fitted = pooled(KNeighborsRegressor(), n_imputations=3, bootstrap=False).fit(X, y)
    pairs = by_hand(KNeighborsRegressor(), X, y, X[:50], 3, y[:, None])
    expected = np.mean([model.predict(rows) for model, rows in pairs], axis=0)
    np.testing.assert_allclose(fitted.predict(X[:50]), expected)
    assert len(fitted.estimators_) == 3


def test_classifiers_average_probabilities_and_decisions(classes):
    X, y = classes
    fitted = pooled(LogisticRegression(), bootstrap=False).fit(X, y)
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
    fitted = pooled(RidgeClassifier(), bootstrap=False).fit(X, y)
    assert not hasattr(fitted, "predict_proba")
    encoded = (y[:, None] == ["so", "yes"]).astype(float)
    votes = [m.predict(rows) for m, rows in by_hand(RidgeClassifier(), X, y, X, 5, encoded)]
    counts = np.array([np.sum(np.array(votes) == label, axis=0) for label in fitted.classes_])
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[counts.argmax(0)])
    assert (counts.max(0) < 5).any()


def test_without_missing_values_it_equals_the_estimator(rng):
    X, y = table(rng)
    forest = RandomForestClassifier(5, random_state=0)
    fitted = pooled(forest, n_imputations=2, random_state=3).fit(X, y > 3)
    alone = clone(forest).set_params(random_state=fitted.estimators_[0].random_state)
    np.testing.assert_allclose(
        fitted.predict_proba(X), alone.fit(X, y > 3).predict_proba(X), atol=1e-15
    )
    linear = pooled(LinearRegression()).fit(X, y)
    beta = LinearRegression().fit(X, y)
    np.testing.assert_allclose(linear.coef_, beta.coef_)
    estimate = linear.pool_coefficients().estimate
    np.testing.assert_allclose(estimate, np.r_[beta.coef_, beta.intercept_])


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
    result = pooled(model).fit(X, y).pool_coefficients()
    std_error, df = least_squares(X, y, alpha, intercept)
    np.testing.assert_allclose(result.std_error, std_error, rtol=1e-6)
    np.testing.assert_allclose(result.df, (df + 1) / (df + 3) * df)
    assert alpha or df == pytest.approx(40 - 3 - intercept)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("C", [np.inf, 0.1])
def test_standard_errors_of_logistic_regression_are_those_of_a_numeric_hessian(rng, C, intercept):
    X, y = table(rng, 150, noise=3.0)
    X, y = X + intercept, y > 3
    model = LogisticRegression(C=C, fit_intercept=intercept, tol=1e-10, max_iter=1000)
    fitted = pooled(model).fit(X, y)

    def minus_log_posterior(theta):
        z = X @ theta[:3] + (theta[3] if intercept else 0)
        return np.logaddexp(0, np.where(y, -z, z)).sum() + theta[:3] @ theta[:3] / (2 * C)

    at = fitted.coef_[0]
    if intercept:
        at = np.r_[at, fitted.intercept_]
    gradient = optimize.approx_fprime(at, minus_log_posterior, 1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-2)

    def second(i, j, h=1e-3):
        steps = np.eye(len(at)) * h
        signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
        total = [a * b * minus_log_posterior(at + a * steps[i] + b * steps[j]) for a, b in signs]
        return sum(total) / (4 * h * h)

    hessian = np.array([[second(i, j) for j in range(len(at))] for i in range(len(at))])
    result = fitted.pool_coefficients()
    assert result.estimate.shape == (1, len(at))
    expected = np.sqrt(np.diag(np.linalg.inv(hessian)))
    np.testing.assert_allclose(result.std_error[0], expected, rtol=1e-3)


@pytest.mark.parametrize("model", [LinearRegression(), Ridge(3.0), LogisticRegression(C=0.5)])
def test_integer_weights_equal_repetitions(rng, model):
    X, y = table(rng, 60)
    y = y > 3 if is_classifier(model) else y
    weight = rng.integers(0, 4, size=60)
    weighted = pooled(model).fit(X, y, sample_weight=weight)
    repeated = pooled(model).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    for one, other in zip(weighted.pool_coefficients(), repeated.pool_coefficients(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


def test_coefficients_are_pooled_by_rubins_rules(regression):
    X, y = regression
    fitted = pooled(Ridge(1.0), bootstrap=False).fit(X, y)
    rng = np.random.RandomState(0)
    seed, for_fit, _ = rng.randint(np.iinfo(np.int32).max, size=3)
    imputer = GaussianDraws(random_state=seed).fit(np.c_[X, y])
    errors, dfs = zip(
        *(least_squares(t[:, :3], y, 1.0) for t in imputer.sample(np.c_[X, y], 5, for_fit)),
        strict=True,
    )
    q = [np.r_[m.coef_, m.intercept_] for m in fitted.estimators_]
    expected = pool_estimates(q, np.square(errors), np.mean(dfs), coverage=0.8)
    result = fitted.pool_coefficients(coverage=0.8)
    for one, other in zip(result, expected, strict=True):
        np.testing.assert_allclose(one, other)
    np.testing.assert_allclose(fitted.coef_, np.mean(q, axis=0)[:3])
    np.testing.assert_allclose(fitted.intercept_, np.mean(q, axis=0)[3])


def test_coef_variance_is_a_function(regression):
    X, y = regression

    def variance(model, X, y, sample_weight=None):
        scale = 1.0 if sample_weight is None else sample_weight.mean()
        return np.full_like(model.coef_, scale)

    fitted = pooled(Lasso(0.1), coef_variance=variance).fit(X, y)
    result = fitted.pool_coefficients()
    q = np.array([m.coef_ for m in fitted.estimators_])
    np.testing.assert_allclose(result.std_error, np.sqrt(1 + 1.2 * q.var(0, ddof=1)))
    weighted = clone(fitted).fit(X, y, sample_weight=np.full(200, 4.0))
    assert (weighted.pool_coefficients().std_error > 2).all()
    with_intercept = pooled(
        LogisticRegression(), coef_variance=lambda m, X, y: np.ones((1, 4))
    ).fit(X, y > 3)
    np.testing.assert_allclose(
        with_intercept.pool_coefficients().estimate,
        [np.r_[with_intercept.coef_[0], with_intercept.intercept_]],
    )
    with pytest.raises(ValueError, match=r"shape, \(3,\), or longer by one .*; got \(2,\)"):
        pooled(Lasso(0.1), coef_variance=lambda m, X, y: np.ones(2)).fit(X, y)


# ----------------------------------------------------------------------- statistical quality


def coverage(n_tables, n, imputer, n_imputations=5, **parameters):
    """Return the coverage of intervals for the true and the complete data's coefficients, (3, 4).

    Last, the coverage of the complete data's coefficients by intervals from the variance between
    tables alone, which is their whole uncertainty.
    """
    inside = []
    for seed in range(n_tables):
        X, y = table(np.random.default_rng(seed), n)
        X_missing = make_missing(X, fraction=0.3, random_state=seed)
        parameters |= {"n_imputations": n_imputations, "random_state": seed}
        fitted = pooled(LinearRegression(), imputer, **parameters).fit(X_missing, y)
        model = LinearRegression().fit(X, y)
        complete = np.r_[model.coef_, model.intercept_]
        q = [np.r_[m.coef_, m.intercept_] for m in fitted.estimators_]
        rubin, between = fitted.pool_coefficients(), pool_estimates(q, np.zeros_like(q))
        cases = ((rubin, [1, -2, 0.5, 3]), (rubin, complete), (between, complete))
        inside.append([(p.low < value) & (value < p.high) for p, value in cases])
    return np.mean(inside, axis=0)


def is_nominal(share, n):
    """Return whether shares of 0.95 are within binomial error of it, for each coefficient."""
    low, high = stats.binom.ppf([0.001, 0.999], n, 0.95) / n
    return (share >= low) & (share <= high)


@pytest.mark.full
@pytest.mark.parametrize("imputer", IMPUTERS)
def test_intervals_have_their_nominal_coverage(imputer):
    n = 40 if isinstance(imputer, GaussianDraws) else 20
    true, complete, between = coverage(n, 150, imputer)
    assert is_nominal(true, n).all()
    assert is_nominal(between, n).all()
    assert complete.mean() > 0.95


@pytest.mark.full
@pytest.mark.parametrize("imputer", IMPUTERS)
def test_coverage_needs_the_target_and_the_bootstrap(imputer):
    # Without the target, slopes of features with missing values are biased.
    n = 20
    assert not is_nominal(coverage(n, 300, imputer, with_target=False)[0], n).all()
    # One imputer for all tables ignores the uncertainty of its parameters.
    assert coverage(n, 150, imputer, n_imputations=10, bootstrap=False)[2].mean() < 0.9


def compared(load, model, metric, imputer, seeds=4, n_imputations=5):
    """Return the mean score of a model after multiple and after single imputation."""
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X)[:, :6]
    results = []
    for seed in range(seeds):
        X_missing = make_missing(X, fraction=0.3, random_state=seed)
        train, test, y_train, y_test = train_test_split(X_missing, y, random_state=seed)
        multiple = pooled(model, imputer, n_imputations=n_imputations, random_state=seed)
        multiple.fit(train, y_train)
        single = clone(imputer).set_params(random_state=seed).fit(train)
        model.fit(single.transform(train), y_train)
        results.append(
            [metric(multiple, test, y_test), metric(model, single.transform(test), y_test)]
        )
    return np.mean(results, axis=0)


def negative_log_loss(model, X, y):
    return -log_loss(y, model.predict_proba(X))


def r2(model, X, y):
    return model.score(X, y)


@pytest.mark.parametrize("imputer", IMPUTERS)
@pytest.mark.parametrize(
    "model", [DecisionTreeRegressor(min_samples_leaf=10, random_state=0), KNeighborsRegressor()]
)
def test_regressors_are_better_than_after_single_imputation(model, imputer):
    multiple, single = compared(load_diabetes, model, r2, imputer)
    assert multiple > single + 0.02


@pytest.mark.parametrize("imputer", IMPUTERS)
def test_probabilities_are_better_than_after_single_imputation(imputer):
    model = DecisionTreeClassifier(min_samples_leaf=10, random_state=0)
    multiple, single = compared(load_breast_cancer, model, negative_log_loss, imputer, seeds=2)
    assert multiple > single + 0.1


@pytest.mark.parametrize("imputer", IMPUTERS)
def test_linear_models_are_as_good_as_after_single_imputation(imputer):
    # The expectation is the best imputation for them; draws approach it as their number grows.
    multiple, single = compared(load_diabetes, LinearRegression(), r2, imputer, 4, 10)
    assert multiple > single - 0.02


# ------------------------------------------------------------------------ inside other tools


@pytest.mark.parametrize("bootstrap", [True, False])
def test_predictions_are_deterministic_and_survive_pickling(regression, bootstrap):
    X, y = regression
    model = pooled(Ridge(), bootstrap=bootstrap, n_imputations=2)
    first, second = clone(model).fit(X, y), clone(model).fit(X, y)
    expected = first.predict(X)
    np.testing.assert_array_equal(first.predict(X), expected)
    np.testing.assert_array_equal(second.predict(X), expected)
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(again.predict(X), expected)
    for one, other in zip(again.pool_coefficients(), first.pool_coefficients(), strict=True):
        np.testing.assert_array_equal(one, other)
    first.set_params(estimator=KNeighborsRegressor(), n_imputations=9, with_target=False)
    np.testing.assert_array_equal(first.predict(X), expected)


def test_predictions_depend_on_other_samples_only_by_the_position(regression):
    X, y = regression
    imputer = AutoencoderImputer(max_iter=1)
    fitted = pooled(Ridge(), imputer, n_imputations=2).fit(X, y)
    np.testing.assert_allclose(fitted.predict(X[:20]), fitted.predict(X)[:20])
    complete = ~np.isnan(X).any(axis=1)
    np.testing.assert_allclose(fitted.predict(X[complete]), fitted.predict(X)[complete])


def test_predictions_do_not_depend_on_other_samples_if_draws_do_not(regression):
    X, y = regression
    fitted = pooled(Ridge(), Draws(), bootstrap=False).fit(X, y)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(fitted.predict(X[order]), fitted.predict(X)[order])


def test_several_default_imputers_are_fitted_for_fewer_steps(regression):
    X, y = regression[:2]
    two = {"n_imputations": 2, "random_state": 0}
    several = PooledEstimator(LinearRegression(), **two).fit(X, y)
    one = PooledEstimator(LinearRegression(), bootstrap=False, **two).fit(X, y)
    given = PooledEstimator(LinearRegression(), AutoencoderImputer(), **two).fit(X, y)
    n_steps = [fitted.imputers_[0].estimator_._n_steps for fitted in (several, one, given)]
    assert n_steps[0] < n_steps[1] == n_steps[2]


def test_one_seed_reaches_every_part(regression):
    X, y = regression
    inner = make_pipeline(StandardScaler(), RandomForestRegressor(3))
    fitted = pooled(inner, n_imputations=2).fit(X, y)
    seeds = {m[-1].random_state for m in fitted.estimators_}
    seeds |= {imputer.random_state for imputer in fitted.imputers_}
    assert len(seeds) == 1
    assert isinstance(seeds.pop(), int)
    unseeded = pooled(Ridge(), GaussianDraws(7), n_imputations=2, random_state=None).fit(X, y)
    assert unseeded.imputers_[0].random_state == 7
    assert unseeded.estimators_[0].random_state is None


@pytest.mark.parametrize("model", [KNeighborsClassifier(), KNeighborsRegressor(), SVC()])
def test_tags_and_methods_are_the_estimators(model, classes):
    X, y = classes
    multiple = pooled(model, n_imputations=2)
    assert is_classifier(multiple) == is_classifier(model)
    assert is_regressor(multiple) == is_regressor(model)
    assert get_tags(multiple).input_tags.allow_nan
    for fitted in (multiple, multiple.fit(X, np.unique(y, return_inverse=True)[1])):
        for method in ("predict_proba", "decision_function"):
            assert hasattr(fitted, method) == hasattr(model, method)
    assert not hasattr(multiple, "coef_")
    assert hasattr(multiple, "classes_") == is_classifier(model)


def test_grid_search_and_pipeline(classes):
    X, y = classes[0][:100], classes[1][:100]
    pipeline = make_pipeline(StandardScaler(), pooled(LogisticRegression(), n_imputations=2))
    search = GridSearchCV(
        pipeline,
        {
            "pooledestimator__estimator__C": [1e-4, 1.0],
            "pooledestimator__imputer": [GaussianDraws()],
            "pooledestimator__imputer__n_iter": [5, 15],
        },
        cv=2,
    ).fit(X, y)
    assert search.best_params_["pooledestimator__estimator__C"] == 1.0
    assert search.score(X, y) > 0.6
    assert search.predict_proba(X).shape == (100, 3)


@pytest.mark.parametrize("names", [["a", "b", "target0"], [0, 1, 2]])
def test_dataframes_stay_dataframes_if_the_imputer_returns_them(regression, names):
    X, y = regression
    frame = pd.DataFrame(X, columns=names, index=np.arange(200) * 3)
    fitted = pooled(LinearRegression(), Draws(), bootstrap=False)
    fitted.fit(frame, pd.Series(y, index=frame.index))
    plain = clone(fitted).fit(X, y)
    np.testing.assert_allclose(fitted.predict(frame), plain.predict(X))
    if all(isinstance(name, str) for name in names):
        assert fitted.feature_names_in_.tolist() == names
        assert fitted.estimators_[0].feature_names_in_.tolist() == names


def test_several_targets_of_a_regressor(regression):
    X, y = regression
    both = np.c_[y, -2 * y]
    fitted = pooled(LinearRegression(), n_imputations=2).fit(X, both)
    expected = fitted.predict(X)
    np.testing.assert_allclose(expected[:, 1], -2 * expected[:, 0])
    assert fitted.coef_.shape == (2, 3)


def test_targets_that_equal_the_marker_of_missing_values_are_not_missing(rng):
    X, y = table(rng)
    y = (y > 3).astype(int)
    X = np.where(rng.uniform(size=X.shape) < 0.2, 0, X)
    imputers = [AutoencoderImputer(max_iter=1, missing_values=m) for m in (0, np.nan)]
    marked, plain = (pooled(LogisticRegression(), i, n_imputations=2) for i in imputers)
    marked.fit(X, y)
    plain.fit(np.where(X == 0, np.nan, X), y)
    np.testing.assert_allclose(marked.coef_, plain.coef_, rtol=1e-3)


def test_samples_with_weight_zero_are_ignored(regression):
    X, y = regression
    weight = np.repeat([1.0, 0.0], 100)
    model = pooled(Ridge(), n_imputations=2)
    fitted = clone(model).fit(X, y, sample_weight=weight)
    corrupted = np.where(weight > 0, y, 1e3)
    np.testing.assert_allclose(
        clone(model).fit(X, corrupted, sample_weight=weight).coef_, fitted.coef_
    )
    assert not np.allclose(clone(model).fit(X, corrupted).coef_, fitted.coef_)
    score = fitted.score(X, y, sample_weight=weight)
    assert score == pytest.approx(r2_score(y[:100], fitted.predict(X)[:100]))
    pooled(Ridge(), Draws(), bootstrap=False).fit(X, y, sample_weight=weight)


class Metadata(Ridge):
    """Keeps the metadata that it receives."""

    def fit(self, X, y, sample_weight=None, tag=None):
        """Fit."""
        self.given_ = (sample_weight, tag)
        return super().fit(X, y, sample_weight=sample_weight)


def test_metadata_is_routed(regression):
    X, y = regression
    weight = np.repeat([1.0, 3], 100)
    with sklearn.config_context(enable_metadata_routing=True):
        inner = Metadata().set_fit_request(sample_weight=False, tag=True)
        imputer = GaussianDraws().set_fit_request(sample_weight=True)
        fitted = pooled(inner, imputer, n_imputations=2)
        fitted.fit(X, y, sample_weight=weight, tag="a")
        assert fitted.estimators_[0].given_ == (None, "a")
        fitted.estimator.set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler(), fitted)
        pipeline[0].set_fit_request(sample_weight=False)
        pipeline.fit(X, y, sample_weight=weight)
        np.testing.assert_array_equal(pipeline[-1].estimators_[0].given_[0], weight)
    with pytest.raises((ValueError, TypeError), match="tag"):
        pooled(Metadata()).fit(X, y, tag="a")


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"imputer": SimpleImputer()}, "'imputer' .* implementing 'fit' and 'sample' or None"),
        ({"estimator": StandardScaler()}, "'estimator' .* implementing 'fit' and 'predict'"),
        ({"estimator": KMeans()}, "needs a classifier or a regressor, .*; got a KMeans"),
        ({"imputer": Draws()}, "Draws.fit does not accept sample_weight; set bootstrap=False"),
        ({"n_imputations": 0}, "'n_imputations' .* must be an int"),
    ],
)
def test_parameters(regression, parameters, match):
    model = pooled(Ridge()).set_params(**parameters)
    with pytest.raises((TypeError, ValueError), match=match):
        model.fit(*regression)
    assert not [name for name in vars(model) if name.endswith("_")]


def test_the_default_imputer_is_an_autoencoder_imputer(rng):
    X, y = table(rng, 30)
    X_missing = make_missing(X, fraction=0.2, random_state=0)
    fitted = PooledEstimator(Ridge(), n_imputations=2, random_state=0).fit(X_missing, y)
    assert all(isinstance(imputer, AutoencoderImputer) for imputer in fitted.imputers_)


def test_files_cannot_hold_estimators_of_other_libraries(tmp_path, regression):
    fitted = pooled(Ridge(), AutoencoderImputer(max_iter=1), n_imputations=2).fit(*regression)
    with pytest.raises(TypeError, match="PooledEstimator.estimator is a Ridge; use skops.io.dump"):
        skae.save(fitted, tmp_path / "model")


def test_bad_tables(regression):
    X, y = regression
    model = pooled(Ridge(), n_imputations=2)
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        model.fit(X, None)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        model.fit(X, np.where(y > 5, np.nan, y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y[:9])
    with pytest.raises(ValueError, match=r"Column 1 of X holds infinity \(row 3\)"):
        model.fit(np.where(np.arange(600).reshape(200, 3) == 10, np.inf, X), y)
    fitted = model.fit(X, y)
    expected = fitted.predict(X)
    with pytest.raises(ValueError, match="X has 2 features, but PooledEstimator is expecting 3"):
        fitted.predict(X[:, :2])
    with pytest.raises(TypeError, match=r"Regressor\.fit does not accept it; leave it out"):
        fitted.set_params(estimator=KNeighborsRegressor()).fit(X, y, sample_weight=np.ones(200))
    np.testing.assert_array_equal(fitted.predict(X), expected)
    with pytest.raises(ValueError, match="use sklearn.multioutput around"):
        pooled(KNeighborsClassifier()).fit(X, np.c_[y, y] > 3)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        pooled(KNeighborsClassifier()).fit(X, y)


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (
            Lasso(),
            "a Lasso .*: it is not a LinearRegression, Ridge or .*Fit with",
        ),
        (KNeighborsRegressor(), "of a KNeighborsRegressor .*: it has no coef_.*pool_estimates"),
        (Ridge(positive=True), "constrains the coefficients"),
        (LogisticRegression(), "more than two classes"),
        (LogisticRegression(l1_ratio=0.5, solver="saga", tol=0.1), "two classes|L1 penalty"),
    ],
)
def test_standard_errors_that_are_not_available(classes, model, match):
    X, y = classes
    fitted = pooled(model, n_imputations=2)
    fitted.fit(X, np.unique(y, return_inverse=True)[1])
    with pytest.raises(ValueError, match=match):
        fitted.pool_coefficients()


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (LogisticRegression(l1_ratio=0.5, solver="saga", tol=0.1), "L1 penalty"),
        (LogisticRegression(class_weight="balanced"), "class_weight"),
        (LogisticRegression(solver="liblinear"), "penalises the intercept"),
    ],
)
def test_standard_errors_of_two_classes_that_are_not_available(rng, model, match):
    X, y = table(rng)
    with pytest.raises(ValueError, match=match):
        pooled(model, n_imputations=2).fit(X, y > 3).pool_coefficients()


def test_coefficients_that_are_not_determined(rng):
    X, y = table(rng)
    twice = pooled(LinearRegression()).fit(np.c_[X, X[:, 0]], y)
    with pytest.raises(ValueError, match="features are linearly dependent"):
        twice.pool_coefficients()
    few = pooled(LinearRegression()).fit(X[:4], y[:4])
    with pytest.raises(ValueError, match="no more samples than coefficients"):
        few.pool_coefficients()
    with pytest.raises(ValueError, match="two tables or more"):
        pooled(Ridge(), n_imputations=1).fit(X, y).pool_coefficients()


@pytest.mark.parametrize("power", [-300, 300])
def test_standard_errors_have_the_units_of_the_target(rng, power):
    X = rng.normal(size=(30, 2))
    y = X @ [1, -1] + rng.normal(size=30)

    def errors(y, X=X):
        imputer = AutoencoderImputer(max_iter=1)
        return pooled(LinearRegression(), imputer, n_imputations=2).fit(X, y)

    plain, scaled = errors(y), errors(np.ldexp(y, power))
    np.testing.assert_allclose(
        scaled.pool_coefficients().std_error,
        np.ldexp(plain.pool_coefficients().std_error, power),
        rtol=1e-9,
    )
    assert scaled.score(X, np.ldexp(y, power)) == pytest.approx(plain.score(X, y))


def test_standard_errors_that_overflow_do_not_end_the_fit(rng):
    X = rng.normal(size=(30, 2))
    model = pooled(Ridge(), AutoencoderImputer(max_iter=1), n_imputations=2)
    model.fit(X, 1e200 * rng.normal(size=30))
    with pytest.raises(ValueError, match="their squares overflow float64"):
        model.pool_coefficients()
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("name", ["coef_", "intercept_"])
def test_coefficients_that_overflow_are_refused(name):
    X = np.array([[0.0], [1.0]]) if name == "coef_" else np.array([[5.0], [5.5], [7.0]])
    model = pooled(LinearRegression(), AutoencoderImputer(max_iter=1), n_imputations=2)
    with pytest.raises(ValueError, match=f"{name} of the fitted LinearRegression is not finite"):
        model.fit(X, np.array([1.7e308, -1.7e308, 0.0])[: len(X)])
    assert not hasattr(model, "estimators_")


def test_coef_variance_must_return_numbers(rng):
    X, y = rng.normal(size=(30, 2)), rng.normal(size=30)
    for result, sentence in (
        ([np.nan, 1, 1], "result of coef_variance contains NaN"),
        ("ab", "could not convert"),
    ):
        model = pooled(LinearRegression(), coef_variance=lambda *_, r=result: r)
        with pytest.raises(ValueError, match=sentence):
            model.fit(X, y)
        assert not hasattr(model, "estimators_")
