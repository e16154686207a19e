import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, spearmanr

from skae.tasks import make_holes
from skae.tasks._holes import MECHANISMS


@pytest.fixture
def table(rng):
    z = rng.normal(size=(4000, 6))
    return z @ rng.normal(size=(6, 6)) + rng.normal(size=6)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.7])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_share_of_holes_is_what_was_asked_for(table, mechanism, fraction):
    holed = make_holes(table, mechanism, fraction, random_state=0)
    holes = np.isnan(holed)
    np.testing.assert_array_equal(holed[~holes], table[~holes])
    may = holes.any(axis=0) if mechanism == "mar" else slice(None)
    assert holes[:, may].mean() == pytest.approx(fraction, abs=0.02)
    again = make_holes(table, mechanism, fraction, random_state=0)
    np.testing.assert_array_equal(again, holed)


def test_mcar_depends_on_nothing(table):
    holes = np.isnan(make_holes(table, "mcar", 0.3, random_state=0))
    together = np.corrcoef(np.c_[holes, table].T)[:6]
    assert np.abs(together - np.eye(6, 12)).max() < 0.06


def test_mar_depends_on_complete_columns_alone(table):
    holes = np.isnan(make_holes(table, "mar", 0.3, random_state=0))
    complete = ~holes.any(axis=0)
    assert complete.sum() == 3
    for j in np.flatnonzero(~complete):
        linked = [abs(spearmanr(holes[:, j], table[:, c])[0]) for c in np.flatnonzero(complete)]
        assert max(linked) > 0.2
        # Among rows alike in these columns, the value itself says nothing more.
        design = np.c_[np.ones(len(table)), table[:, complete]]
        left = [
            y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
            for y in (holes[:, j].astype(float), table[:, j])
        ]
        assert abs(np.corrcoef(left)[0, 1]) < 0.06


def test_mnar_takes_large_values_rather(table):
    holes = np.isnan(make_holes(table, "mnar", 0.3, random_state=0))
    for j in range(6):
        rank = rankdata(table[:, j])
        z = (rank - rank.mean()) / rank.std()
        odds = [holes[abs(z - at) < 0.3, j].mean() for at in (-1, 1)]
        ratio = odds[1] / (1 - odds[1]) * (1 - odds[0]) / odds[0]
        assert ratio == pytest.approx(np.exp(3.0), rel=0.5)


def test_monotone_rows_end(table):
    holes = np.isnan(make_holes(table, "monotone", 0.4, random_state=0))
    assert (np.diff(holes.astype(int), axis=1) >= 0).all()
    assert not holes[:, 0].any()


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
        holed = make_holes(frame, mechanism, 0.4, random_state=1)
        assert (holed.dtypes == frame.dtypes).all()
        assert holed.index.equals(frame.index)
        assert holed.isna().to_numpy().any()
    assert np.isnan(make_holes(np.arange(40).reshape(20, 2), random_state=0)).any()


def test_columns_of_a_frame_count_by_their_own_order(rng):
    """As those of an array do, whatever stands beside them."""
    x = rng.normal(scale=20, size=4000)
    plain = np.isnan(make_holes(x[:, None], "mnar", 0.3, random_state=0))[:, 0]
    steps = pd.cut(x, [-np.inf, -10, 10, np.inf], labels=["low", "middle", "high"])
    frame = pd.DataFrame({"x": x, "n": pd.array(np.rint(x), dtype="Int64"), "steps": steps})
    frame["text"], frame["objects"] = "b", frame["n"].astype(object)
    for mechanism in MECHANISMS:
        holed = make_holes(frame.assign(n=frame["n"].mask(x > 40)), mechanism, 0.3, random_state=0)
        assert holed["n"][x > 40].isna().all()
    holes = make_holes(frame, "mnar", 0.3, random_state=0).isna()
    quarter = np.searchsorted(np.quantile(x, [0.25, 0.5, 0.75]), x)
    expected = [plain[quarter == q].mean() for q in range(4)]
    for name in ("x", "n", "objects"):
        rates = [holes[name][quarter == q].mean() for q in range(4)]
        np.testing.assert_allclose(rates, expected, atol=0.06)
    by_step = holes["steps"].groupby(np.asarray(steps.codes)).mean()
    assert by_step.is_monotonic_increasing


def test_text_of_an_array_has_holes_too():
    holed = make_holes(np.array([["a", "b"]] * 50), random_state=0)
    assert set(holed[~pd.isna(holed)]) == {"a", "b"}
    assert pd.isna(holed).any()


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
        make_holes(np.ones((10, columns)), **params)
