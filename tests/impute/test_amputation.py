import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, spearmanr

from skae.impute import make_missing
from skae.impute._amputation import MECHANISMS


@pytest.fixture
def table(rng):
    z = rng.normal(size=(4000, 6))
    return z @ rng.normal(size=(6, 6)) + rng.normal(size=6)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.7])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_fraction_of_missing_values(table, mechanism, fraction):
    X_missing = make_missing(table, mechanism, fraction, random_state=0)
    missing = np.isnan(X_missing)
    np.testing.assert_array_equal(X_missing[~missing], table[~missing])
    may = missing.any(axis=0) if mechanism == "mar" else slice(None)
    assert missing[:, may].mean() == pytest.approx(fraction, abs=0.02)
    again = make_missing(table, mechanism, fraction, random_state=0)
    np.testing.assert_array_equal(again, X_missing)


def test_mcar_depends_on_nothing(table):
    missing = np.isnan(make_missing(table, "mcar", 0.3, random_state=0))
    together = np.corrcoef(np.c_[missing, table].T)[:6]
    assert np.abs(together - np.eye(6, 12)).max() < 0.06


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
    X_missing = make_missing(X, mechanism, fraction, random_state=0)
    seen = ~pd.isna(X_missing)
    assert X_missing.shape == X.shape
    assert (X_missing[seen] == X[seen]).all()
    assert pd.isna(X_missing)[pd.isna(X)].all()


@pytest.mark.parametrize("mechanism", ["mar", "mnar"])
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
