import numpy as np
import pytest

from skae import AutoencoderImputer, make_missing
from skae.impute._nearest_rows import MAX_METRIC_COLUMNS, NearestRows, shrinkage_variance
from skae.tables import ColumnGroups

pytestmark = pytest.mark.as_usual


def fitted(rows, weight=None, group_start=None, **budget):
    known = np.ones(rows.shape, dtype=bool)
    weight = np.ones(len(rows)) if weight is None else weight
    group_start = np.arange(rows.shape[1]) if group_start is None else group_start
    ones = np.ones(rows.shape)
    groups, rng = ColumnGroups(group_start), np.random.RandomState(0)
    return NearestRows().fit(rows, known, weight, ones, groups, rng, **budget)


def test_a_missing_value_is_shrunk_towards_the_documented_mean(rng):
    rows, query = rng.normal(size=(60, 3)), rng.normal(size=(1, 3))
    weight = rng.uniform(0.1, 1, size=60)
    nearest = fitted(rows, weight)
    nearest.shrinkage_variance_[:] = 0.5
    missing = np.array([[True, False, False]])
    m, nu, eps = (
        np.exp(a[0].astype(float)) for a in (nearest.metric_, nearest.power_, nearest.reach_)
    )
    p = weight * (eps + ((query[0, 1:] - rows[:, 1:]) ** 2) @ m[1:]) ** -nu
    s = p @ rows[:, 0] / p.sum()
    expected = query.copy()
    expected[0, 0] += 0.2 / 0.7 * (s - query[0, 0])
    corrected = nearest.correct(query, missing, np.full((1, 3), 0.2), n_refinements=1)
    np.testing.assert_allclose(corrected, expected, rtol=1e-4)


def test_a_row_of_weight_two_is_two_rows(rng):
    rows, query = rng.normal(size=(40, 3)), rng.normal(size=(5, 3))
    nearest, missing = fitted(rows), rng.uniform(size=(5, 3)) < 0.5
    known = np.ones(rows.shape, dtype=bool)
    weight = np.r_[2.0, np.ones(39)]
    once = nearest.store(rows, known, weight).correct(query, missing, np.ones(query.shape))
    twice = np.r_[rows[:1], rows]
    repeated = nearest.store(twice, np.ones(twice.shape, dtype=bool), np.ones(41)).correct(
        query, missing, np.ones(query.shape)
    )
    np.testing.assert_allclose(once, repeated, atol=1e-5)


def test_the_metric_finds_the_columns_that_matter(rng):
    rows = rng.normal(size=(400, 5))
    rows[:, 0] = np.sign(rows[:, 1]) + 0.1 * rng.normal(size=400)
    m = np.exp(fitted(rows).metric_[0])
    assert m[1] > 5 * m[2:].max()


@pytest.mark.full
def test_distances_are_measured_in_the_most_correlated_columns(rng):
    rows = rng.normal(size=(300, 60))
    rows[:, 0] = rows[:, 7] + rows[:, 50] + 0.1 * rng.normal(size=300)
    nearest = fitted(rows, group_start=np.r_[np.arange(58), 58, 58])
    m = np.exp(nearest.metric_)
    assert ((m > 0).sum(axis=1)[:59] == MAX_METRIC_COLUMNS).all()
    assert (m[0, [7, 50]] > 5 * np.median(m[0, m[0] > 0])).all()
    assert not m.diagonal().any()
    assert not m[58, 58:].any()


def test_metrics_are_learned_at_once_as_one_by_one(rng):
    rows = rng.normal(size=(120, 4))
    rows[:, 0] = rows[:, 1] ** 2
    together = fitted(rows)
    apart = fitted(rows, max_chunk_size=1)
    # Of other draws, the first alone.
    np.testing.assert_allclose(apart.metric_[0], together.metric_[0], atol=1e-3)


def test_unknown_values_do_not_affect_the_metric(rng):
    rows, known = rng.normal(size=(100, 3)), np.ones((100, 3), dtype=bool)
    known[::3, 0] = False
    other = rows.copy()
    other[::3, 0] = 1e3
    # What is filled finds the most correlated columns; of two, there is no choice.
    metrics = []
    for table in (rows, other):
        rng_ = np.random.RandomState(0)
        groups = ColumnGroups(np.arange(3))
        nearest = NearestRows().fit(table, known, np.ones(100), 0 * table, groups, rng_)
        metrics.append(nearest.metric_[0])
    np.testing.assert_allclose(*metrics, rtol=1e-5)


def test_known_values_are_unchanged_and_distant_rows_give_finite_values(rng):
    rows = rng.normal(size=(50, 4))
    nearest = fitted(rows)
    query = np.array([[1e30, -1e30, 0.0, 1.0]])
    filled = nearest.correct(query, np.array([[False, False, True, False]]), np.ones((1, 4)))
    assert np.isfinite(filled).all()
    assert (filled[0, [0, 1, 3]] == query[0, [0, 1, 3]]).all()


def test_columns_of_a_category_are_filled_together(rng):
    category = rng.integers(3, size=300)
    rows = np.c_[np.eye(3)[category], category + 0.1 * rng.normal(size=300)]
    nearest = fitted(rows, group_start=np.array([0, 0, 0, 3]))
    nearest.shrinkage_variance_[:] = 0.0
    query = np.c_[np.full((3, 3), 1 / 3), np.arange(3.0)]
    missing = np.tile([True, True, True, False], (3, 1))
    filled = nearest.correct(query, missing, np.ones(query.shape))
    np.testing.assert_allclose(filled[:, :3].sum(1), 1, atol=1e-5)
    assert (filled[:, :3].diagonal() > 0.9).all()
    nearest.shrinkage_variance_[:] = 0.5
    halfway = nearest.correct(query, missing, rng.uniform(size=query.shape))
    np.testing.assert_allclose(halfway[:, :3].sum(1), 1, atol=1e-5)


def test_the_most_likely_shrinkage_variance_is_chosen(rng):
    s, v = rng.normal(size=(2000, 1)), np.ones((2000, 1))
    noise = 0.1 * rng.normal(size=(2000, 1))
    assert 1 / (1 + shrinkage_variance(s, 0.3 * s + noise, v)) == pytest.approx(0.3)
    assert shrinkage_variance(s, 2 * s, v) == 0
    assert shrinkage_variance(s, 0 * s, v) == np.inf
    assert shrinkage_variance(s[:0], s[:0], v[:0]) == 1
    # One cell does not move what is expected.
    assert shrinkage_variance(s[:1], s[:1] + 1, v[:1]) == pytest.approx(1, rel=0.3)


def test_determined_values_are_not_shrunk(rng):
    z = rng.choice([-1.0, 1.0], size=(600, 3)) * rng.choice([1.0, 2.0], size=(600, 1))
    table = np.c_[z, z.sum(1), rng.normal(size=600)]
    X_missing = make_missing(table, fraction=0.3, random_state=0)
    imputer = AutoencoderImputer(max_iter=20, random_state=0).fit(X_missing)
    filled, missing = imputer.transform(X_missing), np.isnan(X_missing)
    imputer._completion.neighbors.shrinkage_variance_[:] = np.inf
    alone = imputer.transform(X_missing)
    exact = missing & (missing[:, :4].sum(1, keepdims=True) == 1)
    exact[:, 4] = False
    assert np.abs(filled - alone)[exact].max() < 1e-2
    assert np.abs(filled - alone)[missing & ~exact].max() > 0.1


def test_rows_that_repeat_are_found(rng):
    kinds = rng.normal(size=(40, 6))
    table = kinds[rng.integers(40, size=600)]
    X_missing = make_missing(table, fraction=0.25, random_state=0)
    imputer = AutoencoderImputer(max_iter=20, random_state=0).fit(X_missing[:400])

    def error():
        error = (imputer.transform(X_missing[400:]) - table[400:])[np.isnan(X_missing[400:])]
        return np.sqrt((error**2).mean())

    together = error()
    imputer._completion.neighbors.shrinkage_variance_[:] = np.inf
    assert together < 0.8 * error()
