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

from skae import AutoencoderImputer, PooledEstimator, make_missing, pool_estimates
from skae.impute._conditional_gaussian import MIN_RIDGE


@pytest.fixture(autouse=True)
def quick(monkeypatch, request):
    """Leave the network away, which many small tables have no time for, or train it little."""
    budget = AutoencoderImputer._budget._replace(n_network_steps=60)
    if "with_network" not in request.fixturenames:
        # The Gaussian alone, with a single ridge.
        budget = budget._replace(min_network_rows=10**9, n_folds=1, ridges=(MIN_RIDGE,))
    monkeypatch.setattr(AutoencoderImputer, "_budget", budget)


@pytest.fixture
def with_network():
    """Ask `quick` for it."""


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
    fitted = PooledEstimator(
        KNeighborsRegressor(), n_imputations=3, bootstrap=False, random_state=0
    ).fit(X, y)
    pairs = by_hand(KNeighborsRegressor(), X, y, X[:50], 3, y[:, None])
    expected = np.mean([model.predict(rows) for model, rows in pairs], axis=0)
    np.testing.assert_allclose(fitted.predict(X[:50]), expected)
    assert len(fitted.estimators_) == 3


def test_classifiers_average_probabilities_and_decisions(classes):
    X, y = classes
    fitted = PooledEstimator(LogisticRegression(), bootstrap=False, random_state=0).fit(X, y)
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
    fitted = PooledEstimator(RidgeClassifier(), bootstrap=False, random_state=0).fit(X, y)
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
    gradient = optimize.approx_fprime(at, minus_log_posterior, 1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-2)

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
    fitted = PooledEstimator(Ridge(1.0), bootstrap=False, random_state=0).fit(X, y)
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
        PooledEstimator(Lasso(0.1), variance=lambda m, X, y: np.ones(2), random_state=0).fit(X, y)


# -------------------------------------------------------------------------------- what it is for


def coverage(n_tables, n, mechanism, n_imputations, **parameters):
    """Return how often intervals hold the true and the complete table's coefficients, (3, 4).

    Last, how often the intervals by the variance between tables alone hold the complete table's,
    which is all that the holes leave open of these.
    """
    inside = []
    for seed in range(n_tables):
        X, y = table(np.random.default_rng(seed), n)
        holed = make_missing(X, mechanism, 0.3, random_state=seed)
        fitted = PooledEstimator(
            LinearRegression(), n_imputations=n_imputations, random_state=seed, **parameters
        ).fit(holed, y)
        model = LinearRegression().fit(X, y)
        complete = np.r_[model.coef_, model.intercept_]
        q = [np.r_[m.coef_, m.intercept_] for m in fitted.estimators_]
        pooled, between = fitted.pool_coefficients(), pool_estimates(q, np.zeros_like(q))
        cases = ((pooled, [1, -2, 0.5, 3]), (pooled, complete), (between, complete))
        inside.append([(p.low < value) & (value < p.high) for p, value in cases])
    return np.mean(inside, axis=0)


def is_nominal(share, n):
    """Return whether shares of 0.95 are within binomial error of it, for each coefficient."""
    low, high = stats.binom.ppf([0.001, 0.999], n, 0.95) / n
    return (share >= low) & (share <= high)


def test_intervals_hold_the_coefficients_at_the_nominal_rate():
    true, complete, by_holes = coverage(60, 150, "mcar", 5)
    assert is_nominal(true, 60).all()
    assert is_nominal(by_holes, 60).all()
    assert complete.mean() > 0.95


def test_what_coverage_needs():
    # A slope of what has holes is too small if they are filled without looking at the target.
    assert not is_nominal(coverage(40, 300, "mcar", 5, with_target=False)[0], 40).all()
    # One imputer for all tables is too sure of what it has learned.
    assert coverage(40, 150, "mcar", 20, bootstrap=False)[2].mean() < 0.9


def compared(load, model, measure, seeds=4, n_imputations=5):
    """Return the mean measure of a model of rows with holes, pooled and by one imputation."""
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X)[:, :10]
    results = []
    for seed in range(seeds):
        holed = make_missing(X, fraction=0.3, random_state=seed)
        train, test, y_train, y_test = train_test_split(holed, y, random_state=seed)
        pooled = PooledEstimator(model, n_imputations=n_imputations, random_state=seed)
        pooled.fit(train, y_train)
        imputer = AutoencoderImputer(random_state=seed).fit(train)
        model.fit(imputer.transform(train), y_train)
        results.append(
            [measure(pooled, test, y_test), measure(model, imputer.transform(test), y_test)]
        )
    return np.mean(results, axis=0)


def negative_log_loss(model, X, y):
    return -log_loss(y, model.predict_proba(X))


@pytest.mark.parametrize(
    "model", [DecisionTreeRegressor(min_samples_leaf=10, random_state=0), KNeighborsRegressor()]
)
def test_regressions_are_better_than_of_one_imputation(model):
    pooled, single = compared(load_diabetes, model, lambda m, X, y: m.score(X, y))
    assert pooled > single + 0.02


@pytest.mark.usefixtures("with_network")
def test_probabilities_are_better_than_of_one_imputation():
    model = DecisionTreeClassifier(min_samples_leaf=10, random_state=0)
    pooled, single = compared(load_breast_cancer, model, negative_log_loss, seeds=2)
    assert pooled > single + 0.1


def test_linear_models_lose_nothing():
    # To fill with means is best for them, and draws come near it as their number grows: of eight
    # seeds, R2 is 0.352 with 20 draws, and 0.362.
    model = LinearRegression()
    pooled, single = compared(load_diabetes, model, lambda m, X, y: m.score(X, y), 4, 10)
    assert pooled > single - 0.02


# ------------------------------------------------------------------------------------- company


@pytest.mark.parametrize("bootstrap", [True, False])
def test_answers_are_the_same_each_time_and_after_a_pickle(regression, bootstrap):
    X, y = regression
    model = PooledEstimator(Ridge(), bootstrap=bootstrap, n_imputations=2, random_state=0)
    first, second = clone(model).fit(X, y), clone(model).fit(X, y)
    answer = first.predict(X)
    np.testing.assert_array_equal(first.predict(X), answer)
    np.testing.assert_array_equal(second.predict(X), answer)
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(again.predict(X), answer)
    for one, other in zip(again.pool_coefficients(), first.pool_coefficients(), strict=True):
        np.testing.assert_array_equal(one, other)
    first.set_params(estimator=KNeighborsRegressor(), n_imputations=9, with_target=False)
    np.testing.assert_array_equal(first.predict(X), answer)


def test_rows_depend_on_others_only_by_their_place(regression):
    X, y = regression
    fitted = PooledEstimator(Ridge(), n_imputations=2, random_state=0).fit(X, y)
    np.testing.assert_allclose(fitted.predict(X[:20]), fitted.predict(X)[:20])
    complete = ~np.isnan(X).any(axis=1)
    np.testing.assert_allclose(fitted.predict(X[complete]), fitted.predict(X)[complete])


def test_rows_are_alone_if_the_imputer_draws_so(regression):
    X, y = regression
    fitted = PooledEstimator(Ridge(), Draws(), bootstrap=False, random_state=0).fit(X, y)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(fitted.predict(X[order]), fitted.predict(X)[order])


def test_one_seed_reaches_every_part(regression):
    X, y = regression
    inner = make_pipeline(StandardScaler(), RandomForestRegressor(3))
    fitted = PooledEstimator(inner, n_imputations=2, random_state=0).fit(X, y)
    seeds = {m[-1].random_state for m in fitted.estimators_}
    seeds |= {imputer.random_state for imputer in fitted.imputers_}
    assert len(seeds) == 1
    assert isinstance(seeds.pop(), int)
    left = PooledEstimator(Ridge(), AutoencoderImputer(random_state=7), n_imputations=2).fit(X, y)
    assert left.imputers_[0].random_state == 7
    assert left.estimators_[0].random_state is None


@pytest.mark.parametrize("model", [KNeighborsClassifier(), KNeighborsRegressor(), SVC()])
def test_tags_and_methods_are_the_estimators(model, classes):
    X, y = classes
    pooled = PooledEstimator(model, n_imputations=2, random_state=0)
    assert is_classifier(pooled) == is_classifier(model)
    assert is_regressor(pooled) == is_regressor(model)
    assert get_tags(pooled).input_tags.allow_nan
    for fitted in (pooled, pooled.fit(X, np.unique(y, return_inverse=True)[1])):
        for method in ("predict_proba", "decision_function"):
            assert hasattr(fitted, method) == hasattr(model, method)
    assert not hasattr(pooled, "coef_")
    assert hasattr(pooled, "classes_") == is_classifier(model)


def test_grid_search_and_pipeline(classes):
    X, y = classes
    pipeline = make_pipeline(
        StandardScaler(), PooledEstimator(LogisticRegression(), n_imputations=2, random_state=0)
    )
    search = GridSearchCV(
        pipeline,
        {
            "pooledestimator__estimator__C": [1e-4, 1.0],
            "pooledestimator__imputer": [AutoencoderImputer(max_iter=2)],
            "pooledestimator__imputer__clip": [True, False],
        },
        cv=2,
    ).fit(X, y)
    assert search.best_params_["pooledestimator__estimator__C"] == 1.0
    assert search.score(X, y) > 0.6
    assert search.predict_proba(X).shape == (200, 3)


@pytest.mark.parametrize("names", [["a", "b", "target0"], [0, 1, 2]])
def test_frames_stay_frames_if_the_imputer_leaves_them(regression, names):
    X, y = regression
    frame = pd.DataFrame(X, columns=names, index=np.arange(200) * 3)
    fitted = PooledEstimator(LinearRegression(), Draws(), bootstrap=False, random_state=0)
    fitted.fit(frame, pd.Series(y, index=frame.index))
    plain = clone(fitted).fit(X, y)
    np.testing.assert_allclose(fitted.predict(frame), plain.predict(X))
    if all(isinstance(name, str) for name in names):
        assert fitted.feature_names_in_.tolist() == names
        assert fitted.estimators_[0].feature_names_in_.tolist() == names


def test_several_targets_of_a_regressor(regression):
    X, y = regression
    both = np.c_[y, -2 * y]
    fitted = PooledEstimator(LinearRegression(), n_imputations=2, random_state=0).fit(X, both)
    answer = fitted.predict(X)
    np.testing.assert_allclose(answer[:, 1], -2 * answer[:, 0])
    assert fitted.coef_.shape == (2, 3)


def test_a_target_is_not_taken_for_a_hole(rng):
    X, y = table(rng)
    y = (y > 3).astype(int)
    X = np.where(rng.uniform(size=X.shape) < 0.2, 0, X)
    sentinel = PooledEstimator(
        LogisticRegression(), AutoencoderImputer(missing_values=0), random_state=0
    ).fit(X, y)
    usual = PooledEstimator(LogisticRegression(), random_state=0)
    usual.fit(np.where(X == 0, np.nan, X), y)
    np.testing.assert_allclose(sentinel.coef_, usual.coef_, rtol=1e-3)


def test_weights_count(regression):
    X, y = regression
    weight = np.repeat([1.0, 0.0], 100)
    model = PooledEstimator(Ridge(), n_imputations=2, random_state=0)
    fitted = clone(model).fit(X, y, sample_weight=weight)
    spoilt = np.where(weight > 0, y, 1e3)
    np.testing.assert_allclose(
        clone(model).fit(X, spoilt, sample_weight=weight).coef_, fitted.coef_
    )
    assert not np.allclose(clone(model).fit(X, spoilt).coef_, fitted.coef_)
    score = fitted.score(X, y, sample_weight=weight)
    assert score == pytest.approx(r2_score(y[:100], fitted.predict(X)[:100]))
    bare = PooledEstimator(Ridge(), Draws(), bootstrap=False, random_state=0)
    bare.fit(X, y, sample_weight=weight)


class Metadata(Ridge):
    """Remembers what it was given."""

    def fit(self, X, y, sample_weight=None, told=None):
        """Fit."""
        self.given_ = (sample_weight, told)
        return super().fit(X, y, sample_weight=sample_weight)


def test_metadata_is_routed(regression):
    X, y = regression
    weight = np.repeat([1.0, 3], 100)
    with sklearn.config_context(enable_metadata_routing=True):
        inner = Metadata().set_fit_request(sample_weight=False, told=True)
        fitted = PooledEstimator(inner, n_imputations=2, random_state=0)
        fitted.fit(X, y, sample_weight=weight, told="so")
        assert fitted.estimators_[0].given_ == (None, "so")
        fitted.estimator.set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler(), fitted)
        pipeline[0].set_fit_request(sample_weight=False)
        pipeline.fit(X, y, sample_weight=weight)
        np.testing.assert_array_equal(pipeline[-1].estimators_[0].given_[0], weight)
    with pytest.raises((ValueError, TypeError), match="told"):
        PooledEstimator(Metadata()).fit(X, y, told="so")


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"imputer": SimpleImputer()}, "'imputer' .* implementing 'fit' and 'sample' or None"),
        ({"estimator": StandardScaler()}, "'estimator' .* implementing 'fit' and 'predict'"),
        ({"estimator": KMeans()}, "needs a classifier or a regressor, .*; got a KMeans"),
        ({"imputer": Draws()}, "a Draws takes no sample_weight; set bootstrap=False"),
        ({"n_imputations": 0}, "'n_imputations' .* must be an int"),
    ],
)
def test_parameters(regression, parameters, match):
    model = PooledEstimator(Ridge()).set_params(**parameters)
    with pytest.raises((TypeError, ValueError), match=match):
        model.fit(*regression)
    assert not [name for name in vars(model) if name.endswith("_")]


def test_bad_tables(regression):
    X, y = regression
    model = PooledEstimator(Ridge(), n_imputations=2, random_state=0)
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        model.fit(X, None)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        model.fit(X, np.where(y > 5, np.nan, y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y[:9])
    with pytest.raises(ValueError, match=r"Column 1 of X holds infinity \(row 3\)"):
        model.fit(np.where(np.arange(600).reshape(200, 3) == 10, np.inf, X), y)
    fitted = model.fit(X, y)
    answer = fitted.predict(X)
    with pytest.raises(ValueError, match="X has 2 features, but PooledEstimator is expecting 3"):
        fitted.predict(X[:, :2])
    with pytest.raises(TypeError, match="KNeighborsRegressor takes none; leave it out"):
        fitted.set_params(estimator=KNeighborsRegressor()).fit(X, y, sample_weight=np.ones(200))
    np.testing.assert_array_equal(fitted.predict(X), answer)
    with pytest.raises(ValueError, match="use sklearn.multioutput around"):
        PooledEstimator(KNeighborsClassifier()).fit(X, np.c_[y, y] > 3)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        PooledEstimator(KNeighborsClassifier()).fit(X, y)


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (Lasso(), "a Lasso .*: it is no LinearRegression, Ridge or LogisticRegression. Fit with"),
        (KNeighborsRegressor(), "of a KNeighborsRegressor .*: it has no coef_.*pool_estimates"),
        (Ridge(positive=True), "at a bound"),
        (LogisticRegression(), "more than two classes"),
        (LogisticRegression(l1_ratio=0.5, solver="saga", tol=0.1), "two classes|L1 penalty"),
    ],
)
def test_standard_errors_that_are_not_known(classes, model, match):
    X, y = classes
    fitted = PooledEstimator(model, n_imputations=2, random_state=0)
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
def test_standard_errors_of_two_classes_that_are_not_known(rng, model, match):
    X, y = table(rng)
    with pytest.raises(ValueError, match=match):
        PooledEstimator(model, n_imputations=2, random_state=0).fit(X, y > 3).pool_coefficients()


def test_coefficients_that_are_not_determined(rng):
    X, y = table(rng)
    twice = PooledEstimator(LinearRegression()).fit(np.c_[X, X[:, 0]], y)
    with pytest.raises(ValueError, match="depend on each other linearly"):
        twice.pool_coefficients()
    few = PooledEstimator(LinearRegression()).fit(X[:4], y[:4])
    with pytest.raises(ValueError, match="no more rows than coefficients"):
        few.pool_coefficients()
    with pytest.raises(ValueError, match="two tables or more"):
        PooledEstimator(Ridge(), n_imputations=1).fit(X, y).pool_coefficients()


@pytest.mark.parametrize("power", [-300, 300])
def test_standard_errors_have_the_units_of_the_target(rng, power):
    X = rng.normal(size=(30, 2))
    y = X @ [1, -1] + rng.normal(size=30)

    def errors(y, X=X):
        pooled = PooledEstimator(LinearRegression(), AutoencoderImputer(max_iter=1), random_state=0)
        return pooled.fit(X, y)

    plain, scaled = errors(y), errors(np.ldexp(y, power))
    np.testing.assert_allclose(
        scaled.pool_coefficients().std_error,
        np.ldexp(plain.pool_coefficients().std_error, power),
        rtol=1e-9,
    )
    assert scaled.score(X, np.ldexp(y, power)) == pytest.approx(plain.score(X, y))


def test_standard_errors_that_overflow_do_not_end_the_fit(rng):
    X = rng.normal(size=(30, 2))
    model = PooledEstimator(Ridge(), AutoencoderImputer(max_iter=1), random_state=0)
    model.fit(X, 1e200 * rng.normal(size=30))
    with pytest.raises(ValueError, match="their squares leave the range of float64"):
        model.pool_coefficients()
    assert np.isfinite(model.predict(X)).all()


def test_variances_of_ones_own_must_be_numbers(rng):
    X, y = rng.normal(size=(30, 2)), rng.normal(size=30)
    imputer = AutoencoderImputer(max_iter=1)
    for answer, sentence in (
        ([np.nan, 1, 1], "result of variance contains NaN"),
        ("ab", "could not convert"),
    ):
        model = PooledEstimator(LinearRegression(), imputer, variance=lambda *_, a=answer: a)
        with pytest.raises(ValueError, match=sentence):
            model.fit(X, y)
        assert not hasattr(model, "estimators_")
