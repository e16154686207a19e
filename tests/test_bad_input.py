"""Bad input gets one clear sentence that says what, where and what to do, and loses nothing."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skae import MLP, Autoencoder, LinearAutoencoder

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
    fresh = clone(model)
    with pytest.raises(error, match=match) as caught:
        fresh.fit(X)
    assert not [name for name in vars(fresh) if name.endswith("_")], "half-fitted"
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
    gap = with_cell(frame.to_numpy(), pd.NA, object)
    refused(model, pd.DataFrame(gap, columns=frame.columns), "Column 'b' .* pd.NA", TypeError)
    text = np.memmap(tmp_path / "text", dtype="<U3", mode="w+", shape=(9, 3))
    text[:] = [["1", "red", "2"]]
    refused(model, text, "Column 1 of X holds text, such as 'red'; encode it")


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
    refused(model, np.full((9, 3), 0.1), "X is constant: .* pass rows that vary")


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
def test_answers_that_do_not_fit_the_precision_asked_for(model, sheet):
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
        ({"architecture": "mlp"}, "'architecture' parameter of Autoencoder must be an object impl"),
        (
            {"init": "pca", "loss": "log_loss"},
            "init='pca' needs a squared or absolute error .* Use init",
        ),
        ({"init": "pca", "linear_shortcut": False}, "init='pca' needs .* linear_shortcut=True"),
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
