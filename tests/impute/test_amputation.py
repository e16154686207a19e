import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, spearmanr
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeClassifier

from skae.impute import make_missing
from skae.impute._missing_mechanisms import MECHANISMS


@pytest.fixture
def table(rng):
    z = rng.normal(size=(4000, 6))
    return z @ rng.normal(size=(6, 6)) + rng.normal(size=6)


@pytest.fixture
def independent(rng):
    return rng.normal(size=(20_000, 6))


WITH_COMPLETE_COLUMNS = {  # of six, how many may be incomplete
    "mar": {3},
    "mar_neural": {3},
    "mar_block": {1, 2, 3, 4, 5},
    "mar_two_phase": {4},
}
OF_THE_TABLE = ("mcar_latent_factor", "mcar_cluster", "mcar_panel", "monotone")


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.7])
@pytest.mark.parametrize("mechanism", [m for m in MECHANISMS if m not in OF_THE_TABLE])
def test_the_fraction_of_missing_values(table, mechanism, fraction):
    for seed in range(3):
        X_missing = make_missing(table, mechanism, fraction, random_state=seed)
        missing = np.isnan(X_missing)
        np.testing.assert_array_equal(X_missing[~missing], table[~missing])
        again = make_missing(table, mechanism, fraction, random_state=seed)
        np.testing.assert_array_equal(again, X_missing)
        rates = missing.mean(axis=0)
        if mechanism in WITH_COMPLETE_COLUMNS:
            rates = rates[rates > 0]
            assert len(rates) in WITH_COMPLETE_COLUMNS[mechanism]
        # A row, or a block of three rows, counts once.
        np.testing.assert_allclose(rates, fraction, atol=0.05 if "block" in mechanism else 0.03)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.7])
@pytest.mark.parametrize("mechanism", OF_THE_TABLE)
def test_the_fraction_of_missing_values_of_a_table(table, mechanism, fraction):
    fraction = min(fraction, 0.5) if mechanism == "mcar_panel" else fraction
    X_missing = make_missing(table, mechanism, fraction, random_state=0)
    missing = np.isnan(X_missing)
    np.testing.assert_array_equal(X_missing[~missing], table[~missing])
    assert missing.mean() == pytest.approx(fraction, abs=0.02)
    again = make_missing(table, mechanism, fraction, random_state=0)
    np.testing.assert_array_equal(again, X_missing)


@pytest.mark.parametrize("mechanism", ["mcar", *OF_THE_TABLE])
def test_completely_at_random_is_independent_of_the_values(table, mechanism):
    missing = np.isnan(make_missing(table, mechanism, 0.3, random_state=0))
    some = missing[:, missing.any(axis=0)]
    linked = np.corrcoef(np.c_[some, table, np.abs(table - np.median(table, axis=0))].T)
    assert np.abs(linked[: some.shape[1], some.shape[1] :]).max() < 0.06
    if mechanism == "mcar":
        np.testing.assert_allclose(linked[:6, :6], np.eye(6), atol=0.06)


def test_latent_factors_are_few():
    X = np.zeros((2000, 60))
    missing = np.isnan(make_missing(X, "mcar_latent_factor", 0.4, random_state=0)).astype(float)
    noise = np.sqrt(0.4 * 0.6)
    assert missing.mean(axis=0).std() > 5 * noise / np.sqrt(2000)
    assert missing.mean(axis=1).std() > 2 * noise / np.sqrt(60)
    left = missing - missing.mean(axis=0) - missing.mean(axis=1, keepdims=True) + missing.mean()
    singular = np.linalg.svd(left, compute_uv=False) / (noise * (np.sqrt(2000) + np.sqrt(60)))
    assert singular[0] > 2
    assert singular[8] < 1.1


@pytest.mark.parametrize(("axis", "n_clusters"), [(1, 5), (0, 4)])
def test_rows_and_columns_are_missing_by_clusters(axis, n_clusters):
    X = np.zeros((600, 600))
    missing = np.isnan(make_missing(X, "mcar_cluster", 0.3, random_state=0))
    rates = missing.mean(axis=axis)[:, None]
    noise = 0.3 * 0.7 / 600
    clusters = KMeans(n_clusters, n_init=10, random_state=0).fit(rates)
    assert clusters.inertia_ / 600 < 1.5 * noise
    assert rates.var() > 10 * noise


def test_panels_end_at_uniform_columns(independent):
    missing = np.isnan(make_missing(independent, "mcar_panel", 0.3, random_state=0))
    assert (np.diff(missing.astype(int), axis=1) >= 0).all()
    n_left = (~missing).sum(axis=1)
    shares = np.bincount(n_left, minlength=7) / len(missing)
    np.testing.assert_allclose(shares, [0, *5 * [0.6 / 5], 0.4], atol=0.02)


def test_mar_depends_on_complete_columns_alone(table):
    missing = np.isnan(make_missing(table, "mar", 0.3, random_state=0))
    complete = ~missing.any(axis=0)
    assert complete.sum() == 3
    for j in np.flatnonzero(~complete):
        linked = [abs(spearmanr(missing[:, j], table[:, c])[0]) for c in np.flatnonzero(complete)]
        assert max(linked) > 0.2
        # Given these columns, missingness is independent of the value itself.
        design = np.c_[np.ones(len(table)), table[:, complete]]
        left = [
            y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
            for y in (missing[:, j].astype(float), table[:, j])
        ]
        assert abs(np.corrcoef(left)[0, 1]) < 0.06


def scores(X):
    """Return standardised ranks, as float64."""
    ranks = rankdata(X, axis=0)
    return (ranks - ranks.mean(axis=0)) / ranks.std(axis=0)


def log_odds(missing, given):
    """Return the coefficients of a logistic regression without penalty."""
    return LogisticRegression(C=np.inf).fit(given, missing).coef_[0]


@pytest.mark.parametrize("mechanism", WITH_COMPLETE_COLUMNS)
def test_missing_at_random_depends_on_complete_columns_alone(independent, mechanism):
    missing = np.isnan(make_missing(independent, mechanism, 0.3, random_state=0))
    complete = ~missing.any(axis=0)
    own = independent[:, ~complete]
    linked = np.corrcoef(np.c_[missing[:, ~complete], own, np.abs(own)].T)
    n = own.shape[1]
    assert np.abs(linked[:n, n:]).max() < 0.035
    for j in np.flatnonzero(~complete):
        tree = DecisionTreeClassifier(min_samples_leaf=200, random_state=0)
        area = cross_val_score(tree, independent[:, complete], missing[:, j], scoring="roc_auc")
        assert area.mean() > 0.6


@pytest.mark.parametrize(("mechanism", "std"), [("mar", 1.5), ("mar_two_phase", 2.0)])
def test_log_odds_are_linear_in_complete_columns(table, mechanism, std):
    table = np.tile(table, (5, 1))
    missing = np.isnan(make_missing(table, mechanism, 0.3, random_state=0))
    complete = ~missing.any(axis=0)
    given = scores(table[:, complete])
    for column in missing[:, ~complete].T:
        assert (given @ log_odds(column, given)).std() == pytest.approx(std, rel=0.1)


def test_networks_are_not_linear(independent):
    missing = np.isnan(make_missing(independent, "mar_neural", 0.3, random_state=0))
    complete = ~missing.any(axis=0)
    given = scores(independent[:, complete])
    curved = np.c_[given, np.abs(given), given[:, :1] * given[:, 1:], given[:, 1:2] * given[:, 2:]]
    gains = []
    for column in missing[:, ~complete].T:
        losses = [
            log_loss(column, LogisticRegression(C=np.inf).fit(x, column).predict_proba(x))
            for x in (given, curved)
        ]
        gains.append(losses[0] - losses[1])
    assert max(gains) > 0.005  # 6 needless coefficients would gain 3 / 20,000


def test_blocks_are_missing_together(rng):
    X = rng.normal(size=(3000, 12))
    missing = np.isnan(make_missing(X, "mar_block", 0.5, random_state=0))
    complete = ~missing.any(axis=0)
    changes = (missing[1:] != missing[:-1]).any(axis=1)
    n_blocks = 1000 * (1 - 0.5**2)  # of one or more rows, which two incomplete blocks tell apart
    assert 0.4 * n_blocks < changes.sum() < 1000
    together = (missing[:, 1:] == missing[:, :-1]).all(axis=0)
    assert (~together).sum() <= 3  # four blocks of columns
    assert together.sum() >= 8
    assert complete.any()


def test_sequential_depends_on_observed_values_of_previous_columns(independent):
    missing = np.isnan(make_missing(independent, "mar_sequential", 0.3, random_state=0))
    z = scores(independent)
    for j in range(6):
        for k in range(6):
            seen = ~missing[:, k] if k < j else np.ones(len(z), dtype=bool)
            linked = np.corrcoef(missing[seen, j], z[seen, k])[0, 1]
            assert (linked > 0.15) if k < j else (abs(linked) < 0.03)
            if k < j:
                assert abs(np.corrcoef(missing[~seen, j], z[~seen, k])[0, 1]) < 0.05
    score = np.where(missing[:, :1], 0, z[:, :1])
    assert log_odds(missing[:, 1], score / score.std())[0] == pytest.approx(1.5, abs=0.1)


def test_two_phases_leave_rows_complete_or_not(independent):
    missing = np.isnan(make_missing(independent, "mar_two_phase", 0.3, random_state=0))
    some = missing[:, missing.any(axis=0)]
    assert some.shape[1] == 4
    assert (some.all(axis=1) == some.any(axis=1)).all()


def test_self_masking_has_a_slope_for_each_column(independent):
    z, found = scores(independent), []
    for seed in range(3):
        missing = np.isnan(make_missing(independent, "mnar_self_masking", 0.3, random_state=seed))
        found += [log_odds(missing[:, j], z[:, [j]])[0] for j in range(6)]
    np.testing.assert_allclose(np.abs(np.abs(found) - 1.5), 0.5, atol=0.12)
    assert {-2, -1, 1, 2} == set(np.rint(found))


def test_censoring_removes_one_tail(table):
    is_upper = []
    for seed in range(3):
        missing = np.isnan(make_missing(table, "mnar_censoring", 0.3, random_state=seed))
        for gone, x in zip(missing.T, table.T, strict=True):
            is_upper.append(x[gone].min() > x[~gone].max())
            assert is_upper[-1] or x[gone].max() < x[~gone].min()
            assert gone.sum() == pytest.approx(1200, abs=1)
    assert 0 < np.mean(is_upper) < 1


def test_polarization_removes_the_middle(table):
    missing = np.isnan(make_missing(table, "mnar_polarization", 0.3, random_state=0))
    for gone, x in zip(missing.T, table.T, strict=True):
        below, above = (x < x[gone].min()).sum(), (x > x[gone].max()).sum()
        assert below + above == (~gone).sum() == pytest.approx(2800, abs=1)
        assert abs(below - above) <= 2


@pytest.mark.parametrize(("fraction", "end"), [(0.3, 0.05), (0.04, 0.02)])
def test_soft_polarization_follows_its_formula(fraction, end):
    X = np.arange(400_000.0)[:, None]
    missing = np.isnan(make_missing(X, "mnar_soft_polarization", fraction, random_state=0))[:, 0]
    distance = np.abs(2 * (np.arange(400_000) + 0.5) / 400_000 - 1)
    exponent = (1 - 2 * end) / (1 - end - fraction) - 1
    p = 1 - end - (1 - 2 * end) * distance**exponent
    assert p.mean() == pytest.approx(fraction, abs=1e-3)
    tenths = [a.mean(axis=1) for a in (missing.reshape(40, -1), p.reshape(40, -1))]
    np.testing.assert_allclose(*tenths, atol=0.02)
    assert np.ptp(tenths[1]) > 0.2 * fraction


@pytest.mark.parametrize("mechanism", ["mnar_censoring", "mnar_polarization"])
def test_equal_values_do_not_change_the_fraction(mechanism, rng):
    frame = pd.DataFrame({"kind": pd.Categorical(rng.choice(list("abc"), size=999)), "same": 1.0})
    frame.loc[:99, "same"] = np.nan
    missing = make_missing(frame, mechanism, 0.2, random_state=0).isna().to_numpy()
    assert missing[:, 0].sum() == pytest.approx(0.2 * 999, abs=1)
    assert missing[100:, 1].sum() == pytest.approx(0.2 * 899, abs=1)
    # They are in random order, not in that of the rows.
    where = np.flatnonzero(missing[100:, 1]) / 899
    assert np.ptp(where) > 0.9
    assert np.diff(where).max() < 0.1


def test_mnar_removes_large_values_more_often(table):
    missing = np.isnan(make_missing(table, "mnar", 0.3, random_state=0))
    for j in range(6):
        rank = rankdata(table[:, j])
        z = (rank - rank.mean()) / rank.std()
        odds = [missing[abs(z - at) < 0.3, j].mean() for at in (-1, 1)]
        ratio = odds[1] / (1 - odds[1]) * (1 - odds[0]) / odds[0]
        assert ratio == pytest.approx(np.exp(3.0), rel=0.5)


def test_monotone_rows_end(table):
    missing = np.isnan(make_missing(table, "monotone", 0.4, random_state=0))
    assert (np.diff(missing.astype(int), axis=1) >= 0).all()
    assert not missing[:, 0].any()


def test_frames_keep_their_columns(rng):
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=200),
            "whole": pd.array(rng.integers(5, size=200), dtype="Int64"),
            "kind": pd.Categorical(rng.choice(list("abc"), size=200)),
        },
        index=range(100, 300),
    )
    for mechanism in MECHANISMS:
        X_missing = make_missing(frame, mechanism, 0.4, random_state=1)
        assert (X_missing.dtypes == frame.dtypes).all()
        assert X_missing.index.equals(frame.index)
        assert X_missing.isna().to_numpy().any()
    assert np.isnan(make_missing(np.arange(40).reshape(20, 2), random_state=0)).any()


def test_columns_of_a_frame_are_ranked_by_their_own_order(rng):
    """As those of an array, independently of the other columns."""
    x = rng.normal(scale=20, size=4000)
    plain = np.isnan(make_missing(x[:, None], "mnar", 0.3, random_state=0))[:, 0]
    steps = pd.cut(x, [-np.inf, -10, 10, np.inf], labels=["low", "middle", "high"])
    frame = pd.DataFrame({"x": x, "n": pd.array(np.rint(x), dtype="Int64"), "steps": steps})
    frame["text"], frame["objects"] = "b", frame["n"].astype(object)
    for mechanism in MECHANISMS:
        X_missing = make_missing(
            frame.assign(n=frame["n"].mask(x > 40)), mechanism, 0.3, random_state=0
        )
        assert X_missing["n"][x > 40].isna().all()
    missing = make_missing(frame, "mnar", 0.3, random_state=0).isna()
    quarter = np.searchsorted(np.quantile(x, [0.25, 0.5, 0.75]), x)
    expected = [plain[quarter == q].mean() for q in range(4)]
    for name in ("x", "n", "objects"):
        rates = [missing[name][quarter == q].mean() for q in range(4)]
        np.testing.assert_allclose(rates, expected, atol=0.06)
    by_step = missing["steps"].groupby(np.asarray(steps.codes)).mean()
    assert by_step.is_monotonic_increasing


def test_text_arrays():
    X_missing = make_missing(np.array([["a", "b"]] * 50), random_state=0)
    assert set(X_missing[~pd.isna(X_missing)]) == {"a", "b"}
    assert pd.isna(X_missing).any()


@pytest.mark.parametrize(
    ("columns", "params", "sentence"),
    [
        (3, {"mechanism": "chance"}, "mechanism must be one of"),
        (3, {"fraction": 0}, "fraction must be above 0"),
        (1, {"mechanism": "mar"}, "two columns or more"),
        (0, {}, "a row and a column or more"),
        (2, {"mechanism": "monotone", "fraction": 0.6}, "fraction must be below 0.5"),
        (9, {"mechanism": "mcar_panel", "fraction": 0.6}, "fraction must be at most 0.5"),
        *(
            (1, {"mechanism": name}, "two columns or more")
            for name in ("mar_neural", "mar_block", "mar_sequential", "mar_two_phase", "mcar_panel")
        ),
    ],
)
def test_what_is_not_possible_is_refused(columns, params, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_missing(np.ones((10, columns)), **params)


TABLES = {
    "empty column": lambda X: np.c_[X, np.full(len(X), np.nan)],
    "empty": lambda X: np.full_like(X, np.nan),
    "constant": np.ones_like,
    "one row": lambda X: X[:1],
    "infinite": lambda X: np.where(X > 1, np.inf, X),
    "huge": lambda X: X * 1e307,
    "objects": lambda X: np.array([[1, 10**400, "a", None]] * 5, dtype=object),
}


@pytest.mark.parametrize("fraction", [1e-10, 0.2, 0.7])
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("name", TABLES)
def test_any_table_can_have_missing_cells(name, mechanism, fraction, rng):
    X = TABLES[name](rng.normal(size=(50, 4)))
    fraction = min(fraction, 0.5) if mechanism == "mcar_panel" else fraction
    X_missing = make_missing(X, mechanism, fraction, random_state=0)
    seen = ~pd.isna(X_missing)
    assert X_missing.shape == X.shape
    assert (X_missing[seen] == X[seen]).all()
    assert pd.isna(X_missing)[pd.isna(X)].all()


@pytest.mark.parametrize(
    "mechanism", ["mar", "mar_neural", "mar_sequential", "mnar", "mnar_self_masking"]
)
def test_empty_columns_change_nothing_of_the_others(mechanism, rng):
    X = np.c_[rng.normal(size=(4000, 4)), np.full(4000, np.nan)]
    missing = np.isnan(make_missing(X, mechanism, 0.3, random_state=0))[:, :4]
    rates = missing.mean(axis=0)
    assert rates[rates > 0] == pytest.approx(0.3, abs=0.03)


def test_times_count_by_their_order():
    """The alphabet has '9 days' after '10 days'."""
    days = np.arange(2000)
    for times in (days.astype("m8[D]"), days.astype("M8[D]")):
        for X in (times[:, None], pd.DataFrame({"t": times})):
            missing = pd.isna(np.asarray(make_missing(X, "mnar", 0.3, random_state=0)))[:, 0]
            quarters = missing.reshape(4, 500).mean(axis=1)
            assert (np.diff(quarters) > 0).all()


def test_lists_and_masks():
    mask = np.arange(40).reshape(20, 2) % 5 == 0
    X = np.ma.array(np.arange(40).reshape(20, 2), mask=mask)
    for table in (
        X,
        [
            [pd.NA if m else v for v, m in zip(*r, strict=True)]
            for r in zip(X.data, mask, strict=True)
        ],
    ):
        X_missing = make_missing(table, "mcar", 0.3, random_state=0)
        assert X_missing.dtype == np.float64
        assert np.isnan(X_missing)[mask].all()
        assert not np.isnan(X_missing).all()


def test_integers_that_would_change_are_refused():
    ids = 2**60 + np.arange(20)
    for X in (ids[:, None], pd.DataFrame({"id": ids})):
        with pytest.raises(ValueError, match="Column .* of X holds 1152921504606846977"):
            make_missing(X, "mcar", 0.5, random_state=0)
    X_missing = make_missing(
        pd.DataFrame({"id": ids}).astype("Int64"), "mcar", 0.5, random_state=0
    )["id"]
    assert 0 < X_missing.isna().sum() < 20
    assert (X_missing.dropna() == ids[X_missing.notna()]).all()


def test_frames_of_polars_stay_what_they_are():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {
            "number": [0.5, 1.5, None, 3.5] * 10,
            "whole": [2**60 + 1, None, 3, 4] * 10,
            "text": ["a", "b", None, "c"] * 10,
            "level": polars.Series(["low", "high"] * 20, dtype=polars.Enum(["low", "high"])),
            "time": polars.Series(range(40)).cast(polars.Datetime("ns", "UTC")),
            "nothing": [None] * 40,
        }
    )
    for mechanism in MECHANISMS:
        X_missing = make_missing(frame, mechanism, 0.3, random_state=0)
        assert X_missing.schema == frame.schema
        for name in frame.columns:
            seen = X_missing[name].is_not_null()
            assert X_missing[name].filter(seen).equals(frame[name].filter(seen))
        assert X_missing["time"].null_count() + X_missing["level"].null_count() > 0
