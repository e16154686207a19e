import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import Autoencoder, AutoencoderCompressor
from skae.displays import RateDistortionDisplay

DIGITS = load_digits().data[:300].astype("uint8")
X = DIGITS / 16
INNER = Autoencoder(6, max_iter=2, early_stopping=False, random_state=0)


@pytest.fixture(scope="module")
def models():
    return [AutoencoderCompressor(INNER, rate_weight=weight).fit(X) for weight in (0.01, 0.3, 0.1)]


def data(display, name="AutoencoderCompressor"):
    return np.array(display.lines_[name].get_data())


def points(models, X):
    bits = np.array([model.rate(X).mean() for model in models])
    square = np.array([np.mean((model.reconstruct(X) - X) ** 2) for model in models])
    order = np.argsort(bits)
    return bits[order], square[order]


def test_points_are_those_of_numpy_in_order_of_the_rate(models):
    bits, square = points(models, X)
    for metric, expected, label in (
        ("psnr", -10 * np.log10(square), "PSNR (dB)"),
        ("rmse", np.sqrt(square), "root mean squared error"),
        ("mse", square, "mean squared error"),
    ):
        display = RateDistortionDisplay.from_estimators(models, X, metric=metric)
        np.testing.assert_allclose(data(display), [bits, expected])
        assert display.ax_.get_ylabel() == label
        assert display.ax_.get_xlabel() == "bits per sample"
        assert display.ax_.get_xscale() == "linear"
    display = RateDistortionDisplay.from_estimators(models, X, log_scale=True)
    assert display.ax_.get_xscale() == "log"


def test_peak_of_bytes_is_255_unless_given():
    model = AutoencoderCompressor(INNER, random_state=0).fit(DIGITS)
    square = np.mean((model.reconstruct(DIGITS).astype(float) - DIGITS) ** 2)
    for given, peak in ((None, 255), (16, 16)):
        display = RateDistortionDisplay.from_estimators([model], DIGITS, data_range=given)
        np.testing.assert_allclose(data(display)[1], 10 * np.log10(peak**2 / square))


def test_lines_are_named_by_a_mapping_and_weights_count(models):
    weight = np.repeat([1.0, 0.0], [100, 200])
    lines = {"all": models, "one": models[0]}
    display = RateDistortionDisplay.from_estimators(lines, X, sample_weight=weight, metric="mse")
    np.testing.assert_allclose(data(display, "all"), points(models, X[:100]))
    np.testing.assert_allclose(data(display, "one"), points(models[:1], X[:100]))


def test_missing_values_are_ignored(models):
    X_missing = X.copy()
    X_missing[::3, 20:30] = np.nan
    square = np.nanmean((models[0].reconstruct(X_missing) - X_missing) ** 2)
    display = RateDistortionDisplay.from_estimators(models[:1], X_missing, metric="mse")
    np.testing.assert_allclose(data(display)[1], square)


def test_pipelines_are_measured_in_the_units_of_their_input():
    model = make_pipeline(StandardScaler(), AutoencoderCompressor(INNER, max_error=0.5)).fit(X)
    scaled = model[0].transform(X)
    restored = model[0].inverse_transform(model[1].reconstruct(scaled))
    display = RateDistortionDisplay.from_estimators([model], X, metric="mse")
    expected = model[1].rate(scaled).mean(), np.mean((restored - X) ** 2)
    np.testing.assert_allclose(data(display)[:, 0], expected)


def test_frames_of_numbers_are_measured_and_text_is_refused():
    frame = pd.DataFrame(X[:, 18:22], columns=list("abcd"))
    inner = Autoencoder(2, max_iter=1, early_stopping=False)
    model = AutoencoderCompressor(inner, max_error=0.1, random_state=0).fit(frame)
    display = RateDistortionDisplay.from_estimators([model], frame, metric="rmse")
    square = np.mean((model.reconstruct(frame) - frame).to_numpy() ** 2)
    np.testing.assert_allclose(data(display)[1], np.sqrt(square))
    with pytest.raises(ValueError, match="holds text"):
        RateDistortionDisplay.from_estimators([model], frame.assign(a="text"))


def test_a_lossless_point_is_not_drawn():
    model = AutoencoderCompressor(INNER, max_error=0).fit(DIGITS)
    display = RateDistortionDisplay.from_estimators([model], DIGITS)
    assert data(display)[1] == np.inf
    display.figure_.canvas.draw()


def test_curves_of_other_codecs(models):
    display = RateDistortionDisplay.from_estimators(models, X, color="k")
    other = RateDistortionDisplay({"JPEG": [100, 200]}, {"JPEG": [20, 25]}).plot(display.ax_)
    assert other.ax_ is display.ax_
    assert [text.get_text() for text in other.ax_.get_legend().get_texts()] == [
        "AutoencoderCompressor",
        "JPEG",
    ]
    assert display.lines_["AutoencoderCompressor"].get_color() == "k"
    line = RateDistortionDisplay({"a": [1]}, {"a": [2]}, distortion_name="error").plot()
    assert line.ax_.get_ylabel() == "error"


def test_what_is_refused(models):
    display = RateDistortionDisplay.from_estimators
    with pytest.raises(ValueError, match="metric must be one of"):
        display(models, X, metric="ssim")
    with pytest.raises(ValueError, match="X has values from 0 to 16, .* pass it as data_range"):
        display(models, 16 * X)
    with pytest.raises(ValueError, match="data_range must be positive; got -1"):
        display(models, X, data_range=-1)
    with pytest.raises(TypeError, match="PCA has no method 'rate'"):
        display([PCA(2).fit(X)], X)
