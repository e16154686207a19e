import numpy as np
import pytest
from scipy import stats

from skae import AutoencoderImputer, make_missing, pool_estimates


def test_rubins_rules_by_hand(rng):
    q, u = rng.normal(size=(5, 3)), rng.uniform(size=(5, 3))
    pooled = pool_estimates(q, u, coverage=0.9)
    B = ((q - q.mean(0)) ** 2).sum(0) / 4
    T = u.mean(0) + 1.2 * B
    np.testing.assert_allclose(pooled.estimate, q.mean(0))
    np.testing.assert_allclose(pooled.std_error, np.sqrt(T))
    np.testing.assert_allclose(pooled.df, 4 * (T / (1.2 * B)) ** 2)
    np.testing.assert_allclose(
        pooled.high - pooled.low, 2 * stats.t.ppf(0.95, pooled.df) * np.sqrt(T)
    )


def test_equal_estimates_have_the_variance_within_tables():
    pooled = pool_estimates([2.0, 2.0], [0.25, 0.25], df_complete=20)
    assert (pooled.estimate, pooled.std_error) == (2.0, 0.5)
    assert pooled.df == pytest.approx(21 / 23 * 20)
    assert np.isinf(pool_estimates([2.0, 2.0], [0.25, 0.25]).df)


def test_few_samples_leave_few_degrees_of_freedom(rng):
    q, u = rng.normal(size=(5, 3)), rng.uniform(size=(5, 3))
    assert (pool_estimates(q, u, 10).df < pool_estimates(q, u).df).all()
    assert (pool_estimates(q, u, 10).df < 10).all()


@pytest.mark.parametrize(
    ("estimates", "variances"), [([1.0], [1.0]), ([1.0, 2], [1.0]), (1.0, 1.0)]
)
def test_invalid_shapes_are_refused(estimates, variances):
    with pytest.raises(ValueError, match="two tables or more"):
        pool_estimates(estimates, variances)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([np.nan, 2.0], [1.0, 1.0]), "finite estimates"),
        (([1.0, 2.0], [np.nan, 1.0]), "finite variances"),
        (([1.0, 2.0], [-1.0, 1.0]), "variances of at least 0"),
        (([1.0, 2.0], [1.0, 1.0], 0), "df_complete must be above 0; got 0"),
        (([1.0, 2.0], [1.0, 1.0], np.nan), "df_complete must be above 0; got nan"),
        (([1.0, 2.0], [1.0, 1.0], "many"), "df_complete must be above 0; got 'many'"),
        (([1.0, 2.0], [1.0, 1.0], 9, 1.0), "coverage must be between 0 and 1; got 1.0"),
        (([1.0, 2.0], [1.0, 1.0], 9, None), "coverage must be between 0 and 1; got None"),
        # Without variance within tables there are no degrees of freedom.
        (([1.0, 2.0], [0.0, 0.0], 9), "interval of a pooled estimate overflows"),
        (([1.7e308, -1.7e308], [1.0, 1.0]), "interval of a pooled estimate overflows"),
    ],
)
def test_invalid_values_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        pool_estimates(*arguments)


@pytest.mark.parametrize("power", [-500, -400, 300, 500])
def test_intervals_have_the_units_of_the_estimates(rng, power):
    q, u = rng.normal(size=(5, 3)), rng.uniform(size=(5, 3))
    pooled = pool_estimates(q, u, 20)
    scaled = pool_estimates(np.ldexp(q, power), np.ldexp(u, 2 * power), 20)
    for name in ("estimate", "std_error", "low", "high"):
        np.testing.assert_allclose(
            getattr(scaled, name), np.ldexp(getattr(pooled, name), power), rtol=1e-12
        )


def test_large_equal_estimates_have_the_variance_within_tables():
    q = np.full((3, 2), 1e200)
    pooled = pool_estimates(q, np.ones((3, 2)))
    assert (pooled.estimate == 1e200).all()
    assert (pooled.std_error == 1).all()
    assert np.isinf(pooled.df).all()
    # Estimates of different magnitudes do not interfere.
    mixed = pool_estimates([[1e300, 1e-300], [3e300, 3e-300]], [[0, 0], [0, 0]])
    np.testing.assert_allclose(mixed.estimate, [2e300, 2e-300])
    np.testing.assert_allclose(mixed.std_error, np.sqrt(3) * np.array([1e300, 1e-300]))


def test_coverage_next_to_one():
    pooled = pool_estimates([0.0, 0.0], [1.0, 1.0], coverage=1 - 2**-53)
    assert pooled.high == pytest.approx(stats.norm.isf(2**-54))


def slope(table):
    """Return the coefficients of the last column on the others, and their variances."""
    design = np.c_[np.ones(len(table)), table[:, :-1]]
    beta, residual, *_ = np.linalg.lstsq(design, table[:, -1], rcond=None)
    inverse = np.linalg.inv(design.T @ design)
    return beta, residual / (len(table) - design.shape[1]) * np.diag(inverse)


def test_pooled_intervals_cover_the_coefficients_of_the_complete_data(rng):
    X = rng.normal(size=(500, 3)) @ [[1, 0.5, 0.2], [0, 1, 0.3], [0, 0, 1]]
    table = np.c_[X, X @ [1, -2, 0.5] + rng.normal(size=500)]
    complete = slope(table)[0]
    X_missing = make_missing(table, fraction=0.2, random_state=0)
    imputer = AutoencoderImputer(max_iter=5, random_state=0).fit(X_missing)
    results = [slope(drawn) for drawn in imputer.sample(X_missing, 20, random_state=0)]
    pooled = pool_estimates(*map(np.array, zip(*results, strict=True)), df_complete=496)
    assert ((pooled.low < complete) & (complete < pooled.high)).all()
    assert (pooled.std_error > np.sqrt(slope(table)[1])).all()
