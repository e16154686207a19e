import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from skae import Autoencoder, Conv, MaskedAutoencoder, ViT
from skae.displays import ReconstructionDisplay

DIGITS = load_digits().data[:200] / 16
WINE = load_wine(as_frame=True).data
NAN = np.full((8, 8), np.nan)


@pytest.fixture(scope="module")
def pca():
    return PCA(8).fit(DIGITS)


@pytest.fixture(scope="module")
def pipeline():
    return make_pipeline(StandardScaler(), PCA(4)).fit(WINE)


def tile(picture, row, column, size=8, gap=1):
    """Return an image of a mosaic."""
    top, left = row * (size + gap), column * (size + gap)
    return np.ma.filled(picture.get_array(), np.nan)[top : top + size, left : left + size]


def relative_error(x, x_hat):
    return np.linalg.norm(x - x_hat) / np.linalg.norm(x)


def test_images_are_those_of_the_samples_reconstructions_and_residuals(pca):
    display = ReconstructionDisplay.from_estimator(pca, DIGITS, image_shape=(8, 8), n_samples=3)
    x = DIGITS[:3]
    x_hat = pca.inverse_transform(pca.transform(x))
    for i in range(3):
        np.testing.assert_array_equal(tile(display.image_, 0, i).ravel(), x[i])
        np.testing.assert_array_equal(tile(display.image_, 1, i).ravel(), x_hat[i])
        np.testing.assert_array_equal(tile(display.image_, 2, i), NAN)
        np.testing.assert_array_equal(tile(display.residual_image_, 0, i), NAN)
        np.testing.assert_array_equal(tile(display.residual_image_, 2, i).ravel(), (x - x_hat)[i])
    assert display.hidden_image_ is None
    low, high = display.residual_image_.get_clim()
    assert high == -low == np.abs(x - x_hat).max()
    assert display.image_.get_clim() == (0, 1)
    assert display.relative_errors_ == {"PCA": pytest.approx(relative_error(x, x_hat))}


def test_several_estimators_are_below_each_other_with_one_scale_of_residuals(pca):
    models = {"two": PCA(2).fit(DIGITS), "eight": pca}
    display = ReconstructionDisplay.from_estimators(models, DIGITS, image_shape=(8, 8))
    labels = [label.get_text().split("\n")[0] for label in display.ax_.get_yticklabels()]
    assert labels == ["original", "two", "residual", "eight", "residual"]
    x = DIGITS[:8]
    residuals = [x - model.inverse_transform(model.transform(x)) for model in models.values()]
    assert display.residual_image_.get_clim()[1] == np.abs(residuals).max()
    np.testing.assert_array_equal(tile(display.residual_image_, 4, 7).ravel(), residuals[1][7])
    display.plot(residuals=False)
    assert display.residual_image_ is None
    assert len(display.ax_.get_yticks()) == 3


def test_shape_of_images_is_that_of_the_architecture():
    model = Autoencoder(4, architecture=Conv(image_shape=(8, 8), channels=(4,)), max_iter=1)
    model.set_params(random_state=0, early_stopping=False).fit(DIGITS)
    assert ReconstructionDisplay.from_estimator(model, DIGITS).image_shape == (8, 8)


def test_colours_are_drawn_in_the_range_of_the_samples():
    X = np.random.default_rng(0).uniform(0, 255, (6, 2 * 2 * 3))
    display = ReconstructionDisplay(X, {"half": X / 2}, image_shape=(2, 2, 3))
    display.plot()
    colors = np.asarray(display.image_.get_array())[:2, :2]
    span = X.max() - X.min()
    np.testing.assert_allclose(colors[..., :3].ravel(), (X[0] - X.min()) / span)
    residual = display.residual_image_.get_array()[6:8, :2]  # below two rows of images and gaps
    np.testing.assert_allclose(residual, (X[0] / 2).reshape(2, 2, 3).mean(axis=2))


@pytest.fixture(scope="module")
def masked():
    architecture = ViT(image_shape=(8, 8), patch_size=2, width=8, n_layers=1)
    return MaskedAutoencoder(architecture=architecture, max_iter=1, random_state=0).fit(DIGITS)


def test_hidden_cells_of_a_masked_autoencoder_are_marked_and_predicted_from_the_others(masked):
    mask = np.zeros((8, 8), dtype=bool)
    mask[:2, :4] = True
    display = ReconstructionDisplay.from_estimator(masked, DIGITS, mask=mask.ravel())
    x, x_hat = DIGITS[:8], masked.reconstruct(DIGITS[:8], mask=mask.ravel())
    np.testing.assert_array_equal(tile(display.image_, 1, 5).ravel(), x_hat[5])
    np.testing.assert_array_equal(tile(display.hidden_image_, 0, 5)[..., 3] > 0, mask)
    assert not tile(display.hidden_image_, 1, 5)[..., 3].any()
    hidden = mask.ravel()
    expected = relative_error(x[:, hidden], x_hat[:, hidden])
    assert display.relative_errors_["MaskedAutoencoder"] == pytest.approx(expected)
    label = display.ax_.get_yticklabels()[0].get_text()
    assert label == "original\nyellow: hidden"


def test_hidden_cells_are_missing_for_other_estimators_and_within_pipelines(masked):
    mask = np.random.default_rng(0).random(DIGITS.shape) < 0.3
    model = Autoencoder(4, max_iter=1, early_stopping=False, random_state=0).fit(DIGITS)
    scaled = make_pipeline(StandardScaler(), masked)
    scaled[0].fit(DIGITS)
    display = ReconstructionDisplay.from_estimators([model, scaled], DIGITS, mask=mask)
    x = np.where(mask, np.nan, DIGITS)[:8]
    found = display.reconstructions
    np.testing.assert_array_equal(found["Autoencoder"], model.reconstruct(x))
    z = masked.reconstruct(scaled[0].transform(x), mask[:8])
    expected = scaled[0].inverse_transform(z)
    np.testing.assert_array_equal(found["MaskedAutoencoder"], expected)
    np.testing.assert_allclose(expected[~mask[:8]], DIGITS[:8][~mask[:8]], atol=1e-12)


def test_missing_cells_are_opaque_in_samples_and_residuals():
    X = DIGITS[:3].copy()
    X[1, :8] = np.nan
    display = ReconstructionDisplay(X, {"zero": 0 * DIGITS[:3]}, image_shape=(8, 8))
    display.plot()
    for row in (0, 2):
        alpha = tile(display.hidden_image_, row, 1)[..., 3]
        assert alpha[0].tolist() == [1] * 8
        assert not alpha[1:].any()
    assert not tile(display.hidden_image_, 1, 1)[..., 3].any()
    assert display.relative_errors_["zero"] == pytest.approx(1)


def test_tables_are_lines_of_standardised_values(pipeline):
    display = ReconstructionDisplay.from_estimator(pipeline, WINE, n_samples=5)
    z = StandardScaler().fit_transform(WINE)[:5]
    z_hat = pipeline[0].transform(
        pd.DataFrame(pipeline.inverse_transform(pipeline.transform(WINE)), columns=WINE.columns)
    )[:5]
    for i in range(5):
        np.testing.assert_allclose(display.sample_lines_[i].get_ydata(), z[i])
        (line,) = display.reconstruction_lines_["PCA"][i : i + 1]
        np.testing.assert_allclose(line.get_ydata(), z_hat[i], atol=1e-12)
        heights = [bar.get_height() for bar in display.residual_bars_["PCA"][i]]
        np.testing.assert_allclose(heights, (z - z_hat)[i], atol=1e-12)
    assert display.relative_errors_["PCA"] == pytest.approx(relative_error(z, z_hat))
    bottom = display.residual_bars_["PCA"][4].patches[0].axes
    assert bottom.get_xticklabels()[0].get_text() == "alcohol"


def test_tables_are_drawn_in_their_units_on_request(pipeline):
    display = ReconstructionDisplay.from_estimator(pipeline, WINE, standardize=False)
    np.testing.assert_array_equal(display.sample_lines_[7].get_ydata(), WINE.iloc[7])
    assert len(display.sample_lines_) == 8


def test_missing_and_hidden_cells_of_tables_are_spans():
    X, mask = np.arange(8.0).reshape(2, 4), np.zeros((2, 4), dtype=bool)
    X[0, 1], mask[1, 2] = np.nan, True
    display = ReconstructionDisplay(X, {"zero": np.zeros((2, 4))}, mask=mask)
    display.plot(residuals=False)
    panels = [line.axes for line in display.sample_lines_]
    edges = [[patch.get_x() for patch in panel.patches] for panel in panels]
    assert edges == [[0.5], [1.5]]
    assert display.residual_bars_ == {"zero": []}


def test_a_second_picture_of_a_table_takes_the_place_of_the_first(pipeline):
    figure, (ax, other) = plt.subplots(1, 2)
    ReconstructionDisplay.from_estimator(pipeline, WINE, ax=ax)
    n_axes = len(figure.axes)
    ReconstructionDisplay.from_estimator(pipeline, WINE, ax=other)
    ReconstructionDisplay.from_estimator(pipeline, WINE, ax=ax)
    assert len(figure.axes) == 2 * n_axes - 2


@pytest.mark.parametrize("convert", [sparse.csr_array, lambda X: X.tolist(), pd.DataFrame])
def test_tables_of_all_kinds_are_drawn_alike(convert):
    X = convert(DIGITS)
    svd = TruncatedSVD(3, algorithm="arpack", random_state=0).fit(X)
    display = ReconstructionDisplay.from_estimator(svd, X, image_shape=(8, 8))
    np.testing.assert_array_equal(display.X, DIGITS[:8])
    expected = TruncatedSVD(3, algorithm="arpack", random_state=0).fit(DIGITS)
    expected = expected.inverse_transform(expected.transform(DIGITS[:8]))
    np.testing.assert_allclose(display.reconstructions["TruncatedSVD"], expected, atol=1e-9)


def test_what_cannot_be_drawn_is_refused_in_one_sentence(pca):
    draw = ReconstructionDisplay.from_estimator
    with pytest.raises(ValueError, match="does not describe rows of 64 values"):
        draw(pca, DIGITS, image_shape=(8, 7))
    with pytest.raises(ValueError, match=r"mask must be boolean, of shape \(64,\) or \(200, 64\)"):
        draw(pca, DIGITS, mask=np.zeros(64))
    with pytest.raises(ValueError, match="n_samples must be"):
        draw(pca, DIGITS, n_samples=0)
    with pytest.raises(TypeError, match="KMeans has no method 'inverse_transform'"):
        draw(KMeans(2, n_init=1, random_state=0).fit(DIGITS), DIGITS)
    with pytest.raises(TypeError, match="Normalizer has no method 'inverse_transform'"):
        draw(make_pipeline(Normalizer(), pca), DIGITS)
    with pytest.raises(ValueError, match="estimators is empty"):
        ReconstructionDisplay.from_estimators({}, DIGITS)
    figure = plt.figure()
    free = figure.add_axes((0, 0, 1, 1))
    with pytest.raises(ValueError, match="ax was not made by subplots"):
        draw(pca, DIGITS, ax=free)
