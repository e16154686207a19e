"""Bad input gets one clear sentence: what is wrong, where, and what to do, and loses nothing."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge

from skae import (
    MLP,
    Autoencoder,
    AutoencoderCompressor,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    AutoencoderSearch,
    LinearAutoencoder,
    PooledEstimator,
    VariationalAutoencoder,
)
from skae.metrics import explained_variance

BOTH = pytest.mark.parametrize(
    "model",
    [Autoencoder(2, max_iter=2, random_state=0), LinearAutoencoder(2, random_state=0)],
    ids=["Autoencoder", "LinearAutoencoder"],
)


def with_cell(X, value, dtype=None):
    X = X.astype(dtype or X.dtype)
    X[3, 1] = value
    return X


def refused(model, X, match, error=ValueError):
    """Assert that fit refuses X with one sentence, and leaves neither new nor former fit hurt."""
    start_fit = clone(model)
    with pytest.raises(error, match=match) as caught:
        start_fit.fit(X)
    assert not [name for name in vars(start_fit) if name.endswith("_")], "half-fitted"
    assert "\n" not in str(caught.value)


@BOTH
@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_infinity(model, sheet, value, dtype):
    X = with_cell(sheet, value, dtype)
    refused(model, X, r"Column 1 of X holds infinity \(row 3\); replace it by NaN")
    refused(model, pd.DataFrame(X, columns=list("abcdef")), "Column 'b' of X holds infinity")
    fitted = clone(model).fit(sheet)
    for method in ("transform", "reconstruct", "score_samples", "score"):
        with pytest.raises(ValueError, match="Column 1 of X holds infinity"):
            getattr(fitted, method)(X)


@BOTH
def test_text(model, sheet):
    refused(model, with_cell(sheet, "red", object), "Column 1 of X holds text, such as 'red'; enc")
    frame = pd.DataFrame(sheet, columns=list("abcdef")).assign(c="blue")
    refused(model, frame, "Column 'c' of X holds text, such as 'blue'; encode it")
    refused(model, frame.astype({"c": "category"}), "Column 'c' of X holds text")


@BOTH
def test_columns_that_are_no_numbers(model, sheet, tmp_path):
    frame = pd.DataFrame(sheet, columns=list("abcdef"))
    dates = frame.assign(c=pd.date_range("2020", periods=len(frame)))
    refused(model, dates, "Column 'c' of X holds times, such as 2020-01-01 .*convert", TypeError)
    refused(model, dates.to_numpy(), "Column 2 of X holds times", TypeError)
    spans = frame.assign(d=pd.to_timedelta(np.arange(len(frame)), unit="s"))
    refused(model, spans, "Column 'd' of X holds times, such as 0 days", TypeError)
    text = np.memmap(tmp_path / "text", dtype="<U3", mode="w+", shape=(9, 3))
    text[:] = [["1", "red", "2"]]
    refused(model, text, "Column 1 of X holds text, such as 'red'; encode it")


SMALL = LinearAutoencoder(1, max_iter=1, random_state=0)


def every_reader():
    """Return for each kind of estimator a function that fits it to rows."""
    pooled = PooledEstimator(Ridge(), AutoencoderImputer(SMALL), n_imputations=2, random_state=0)
    return {
        "autoencoder": clone(SMALL).fit,
        "detector": AutoencoderOutlierDetector(SMALL, random_state=0).fit,
        "imputer": AutoencoderImputer(SMALL, random_state=0).fit,
        "compressor": AutoencoderCompressor(Autoencoder(1, max_iter=1)).fit,
        "search": AutoencoderSearch(SMALL, random_state=0).fit,
        "pooled": lambda X: pooled.fit(X, np.arange(len(X))),
    }


pytestmark = pytest.mark.filterwarnings("ignore:No epoch of:skae.AutoencoderWarning")

EVERYWHERE = pytest.mark.parametrize("reader", every_reader())


def times_of(unit):
    table = np.array([["2020-01-01", "2021-02-03"], ["2020-05-01", "NaT"]], dtype="M8[D]")
    table = table.repeat(20, axis=0)
    return table.astype("M8[ns]") if unit == "M" else table - table[0, 0]


@EVERYWHERE
@pytest.mark.parametrize("unit", ["M", "m"])
@pytest.mark.parametrize(
    "form",
    [
        np.asarray,
        list,
        lambda t: np.ma.array(t, mask=np.isnat(t)),
        pd.DataFrame,
        lambda t: pd.DataFrame(t, columns=["a", "b"])[["b"]],
    ],
    ids=["array", "list", "masked", "frame", "one column"],
)
def test_times_are_never_numbers(reader, unit, form):
    sentence = "Column ('?[01]'?|'b') of X holds (times|datetime64|timedelta64)"
    with pytest.raises(TypeError, match=sentence):
        every_reader()[reader](form(times_of(unit)))


@EVERYWHERE
@pytest.mark.parametrize(
    "value", [np.datetime64("2020"), np.timedelta64(3, "s"), pd.Timestamp(0), pd.Period("2020")]
)
def test_times_among_objects_are_never_numbers(reader, value, sheet):
    """Although numpy makes floats of its own."""
    with pytest.raises(TypeError, match="Column 1 of X holds times"):
        every_reader()[reader](with_cell(sheet, value, object))


MISSING = [None, np.nan, pd.NA, pd.NaT, np.datetime64("NaT"), np.ma.masked]


def same_codes(X, rows):
    model = clone(SMALL)
    np.testing.assert_array_equal(model.fit(X).transform(X), model.fit(rows).transform(rows))


@pytest.mark.parametrize("value", MISSING, ids=repr)
def test_what_is_missing_among_objects(value, sheet):
    sheet = sheet[:60]
    expected = with_cell(sheet, np.nan)
    objects = sheet.astype(object)
    objects[3, 1] = value
    for X in (objects, objects.tolist()):
        same_codes(X, expected)
        filled = AutoencoderImputer(SMALL, random_state=0).fit_transform(X)
        known = ~np.isnan(expected)
        np.testing.assert_array_equal(filled[known], expected[known])


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "?", "O"])
def test_masked_cells_are_missing(dtype, sheet):
    sheet = sheet[:60]
    mask = sheet > 0.5
    values = np.floor(2 * sheet).astype(dtype)
    rows = np.where(mask, np.nan, values.astype(dtype if dtype == "f4" else "f8"))
    X = np.ma.array(values, mask=mask)
    same_codes(X, rows)
    if dtype != "f4":
        same_codes(list(X), rows)
    imputer = AutoencoderImputer(SMALL, random_state=0)
    np.testing.assert_array_equal(imputer.fit_transform(X), imputer.fit_transform(rows))
    model = clone(SMALL).fit(rows)
    assert explained_variance(model, X) == explained_variance(model, rows)


def test_masks_of_what_must_be_known(sheet):
    model = clone(SMALL).fit(sheet)
    with pytest.raises(ValueError, match="sample_weight contains NaN"):
        model.fit(sheet, sample_weight=np.ma.array(np.ones(400), mask=sheet[:, 0] > 0))
    with pytest.raises(ValueError, match="Z contains NaN"):
        model.inverse_transform(np.ma.array([[1.0]], mask=True))


def test_targets(sheet):
    hours = np.arange(400).astype("M8[h]")
    for estimator in (Ridge(), LogisticRegression()):
        pooled = PooledEstimator(estimator, AutoencoderImputer(SMALL))
        for y in (hours, pd.Series(hours), list(hours - hours[0])):
            with pytest.raises(TypeError, match="y holds times"):
                pooled.fit(sheet, y)
        for y in (np.ma.array(np.arange(400) % 2, mask=sheet[:, 0] > 0), [pd.NA, 1] * 200):
            with pytest.raises(ValueError, match="y contains NaN"):
                pooled.fit(sheet, y)


def test_ends_of_a_walk(sheet):
    model = VariationalAutoencoder(1, max_iter=1, random_state=0).fit(sheet[:60])
    a, b = sheet[:2].copy()
    a[2], b[3:] = np.nan, np.nan
    masked = np.ma.array(sheet[0], mask=np.isnan(a))
    objects = [pd.NA if np.isnan(value) else value for value in b]
    walk = model.interpolate(masked, objects, 3)
    np.testing.assert_array_equal(walk, model.interpolate(a, b, 3))
    for end in (sheet[1].astype("M8[s]"), sheet[1].astype("m8[s]")):
        with pytest.raises(TypeError, match="b holds times"):
            model.interpolate(a, end)


@pytest.mark.parametrize(
    ("value", "match", "error"),
    [
        (1j, "Complex data not supported: Column 1 of X holds complex", ValueError),
        ({"a": 1}, r"Column 1 of X holds a value that is not a number: \{'a': 1\}", TypeError),
        (10**400, "Column 1 of X holds a value that is not a number: 1000", ValueError),
        (
            pd.Interval(0, 1),
            "Column 1 of X holds a value that is not a number: Interval",
            TypeError,
        ),
    ],
)
def test_objects_that_are_no_numbers(value, match, error, sheet):
    refused(SMALL, with_cell(sheet, value, object), match, error)


def test_other_containers(sheet):
    records = np.array([(1.0, 2.0)] * 9, dtype=[("a", float), ("b", float)])
    refused(SMALL, records, r"structured array; pass pandas.DataFrame\(X\)")
    same_codes(pd.DataFrame(records.repeat(2)).assign(b=range(18)), np.c_[np.ones(18), range(18)])
    refused(SMALL, sheet + 1j, "Complex data not supported: Column 0 of X")
    refused(
        SMALL,
        sparse.csr_array(sheet + 1j),
        "Complex data not supported: X",
    )
    refused(
        SMALL,
        pd.DataFrame(sheet, columns=list("aabcde")),
        "several .* 'a'",
    )
    same_codes(sheet.astype(object).tolist(), sheet)


@BOTH
def test_wrong_number_or_names_of_features(model, sheet):
    fitted = clone(model).fit(sheet)
    with pytest.raises(ValueError, match="X has 5 features, but .* is expecting 6 features"):
        fitted.transform(sheet[:, :5])
    frame = pd.DataFrame(sheet, columns=list("abcdef"))
    fitted = clone(model).fit(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(frame.rename(columns={"a": "z"}))
    with pytest.raises(ValueError, match="Z has 3 columns, but this .* n_components=2"):
        fitted.inverse_transform(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="Z contains NaN"):
        fitted.inverse_transform(np.full((4, 2), np.nan))


@BOTH
def test_too_little(model, sheet):
    refused(model, np.empty((0, 3)), r"0 sample\(s\)")
    refused(model, np.empty((5, 0)), r"0 feature\(s\)")
    refused(model, sheet[:1], r"1 sample\(s\) .* minimum of 2 is required")
    refused(model, np.full((5, 3), np.nan), "n_samples = 0 with .* an observed value")


@BOTH
def test_nothing_varies(model):
    refused(model, np.full((9, 3), 0.1), "X is constant: .* pass samples that vary")


@BOTH
@pytest.mark.parametrize(("dtype", "large", "small"), [("f4", 1e18, 1e-18), ("f8", 1e155, 1e-155)])
def test_magnitudes_whose_squares_leave_the_range(model, sheet, dtype, large, small):
    refused(model, with_cell(sheet, large, dtype), "Column 1 of X reaches 1e.* overflow float.*div")
    refused(model, (sheet * small).astype(dtype), "vanish in float.*; multiply X by a constant")
    fitted = clone(model).fit(sheet.astype(dtype))
    far = with_cell(sheet, np.finfo(dtype).max, dtype)
    for method in ("score_samples", "score"):
        with pytest.raises(ValueError, match="Row 3 of X is so far from the training rows"):
            getattr(fitted, method)(far)


@BOTH
def test_results_beyond_the_range_of_their_dtype_are_refused(model, sheet):
    fitted = clone(model).fit(sheet * 1e25)
    X = (sheet * 1e25).astype(np.float32)
    assert np.isfinite(fitted.reconstruct(X)).all()
    with pytest.raises(ValueError, match="Row 0 of X is so far .* overflows float32"):
        fitted.score_samples(X)


@BOTH
def test_columns_of_the_same_name(model, sheet):
    frame = pd.DataFrame(with_cell(sheet, np.inf), columns=list("aabbcc"))
    refused(model, frame, r"Column 'a' of X holds infinity \(row 3\)")


def test_log_loss_out_of_its_domain(sheet):
    model = Autoencoder(2, loss="log_loss", max_iter=2)
    refused(
        model, np.abs(sheet) + 1, r"needs values in \[0, 1\], but column 0 of X goes from 1.*MinM"
    )
    frame = pd.DataFrame(sheet, columns=list("abcdef"))
    refused(model, frame, "but column 'a' of X goes from -")
    fitted = model.fit(np.clip(sheet, 0, 1))
    with pytest.raises(ValueError, match="column 2 of X goes from 16 to 16"):
        fitted.score_samples(np.full((3, 6), [0, 1, 16, 1, 1, 1]))


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"n_components": 0}, r"'n_components' parameter of Autoencoder must be an int in the ran"),
        ({"n_components": 2.5}, "'n_components' parameter of Autoencoder must be an int"),
        ({"activation": "swish9"}, "'activation' parameter of Autoencoder must be a str among"),
        ({"architecture": MLP(activation="x")}, "'activation' parameter of MLP must be a str amo"),
        ({"architecture": MLP(hidden_layer_sizes=(3, -1))}, "'hidden_layer_sizes' .* positive int"),
        ({"hidden_layer_sizes": (8, 0)}, "'hidden_layer_sizes' parameter must hold positive integ"),
        ({"hidden_layer_sizes": -1}, "'hidden_layer_sizes' parameter of Autoencoder must be"),
        (
            {"architecture": MLP(), "activation": "relu"},
            "Both architecture and activation are given",
        ),
        ({"architecture": "mlp"}, "'architecture' parameter of Autoencoder must be an instance of"),
        (
            {"init": "pca", "loss": "log_loss"},
            "init='pca' requires a squared or absolute error .* Use init",
        ),
        ({"init": "pca", "linear_shortcut": False}, "init='pca' requires .* linear_shortcut=True"),
        ({"loss": "hinge"}, "'loss' parameter of Autoencoder must be a str among"),
        ({"max_iter": 0}, "'max_iter' parameter of Autoencoder must be an int"),
        ({"validation_fraction": 1.0}, "'validation_fraction' parameter of Autoencoder must be a"),
        ({"learning_rate": 0}, "'learning_rate' parameter of Autoencoder must be a float"),
    ],
)
def test_parameters(parameters, match, sheet):
    refused(Autoencoder(max_iter=2).set_params(**parameters), sheet, match)


def test_n_components_above_the_features(sheet):
    refused(LinearAutoencoder(7), sheet, r"n_components=7 must be at most .* features of X, 6")


def test_early_stopping_needs_rows_to_hold_out(sheet):
    refused(Autoencoder(2, early_stopping=True), sheet[:3], "early_stopping=True needs at least 4")
    model = Autoencoder(2, early_stopping=True, max_iter=9, init="random").fit(sheet[:4])
    assert model.validation_loss_curve_ is not None


@pytest.mark.parametrize("weight", [np.zeros(400), -np.ones(400), np.ones(3)])
def test_weights(sheet, weight):
    with pytest.raises(ValueError, match="[wW]eight"):
        Autoencoder(max_iter=2).fit(sheet, sample_weight=weight)


def test_weights_may_be_of_any_size(sheet):
    model = Autoencoder(2, max_iter=2, random_state=0).fit(sheet)
    weight = np.arange(1.0, 401)
    expected = model.score(sheet, sample_weight=weight)
    for unit in (2.0**1012, 2.0**-1000):
        assert model.score(sheet, sample_weight=unit * weight) == expected


def test_weights_that_are_nothing_beside_others_are_zero(sheet):
    """So that no weight is lost only later, in the precision of training."""
    weight = np.where(np.arange(400) % 20 == 0, 1, 1e-60)
    model = Autoencoder(2, max_iter=3, early_stopping=True, init="random", random_state=0)
    codes = model.fit(sheet, sample_weight=weight).transform(sheet)
    assert np.isfinite(model.validation_loss_curve_).all()
    assert np.array_equal(model.fit(sheet, sample_weight=np.round(weight)).transform(sheet), codes)
