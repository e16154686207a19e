import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import VariationalAutoencoder
from skae.displays import InterpolationDisplay

X = load_digits().data[:300] / 16


@pytest.fixture(scope="module")
def vae():
    return VariationalAutoencoder(2, max_iter=20, random_state=0).fit(X)


def tile(display, row, column):
    picture = np.ma.filled(display.image_.get_array(), np.nan)
    return picture[9 * row : 9 * row + 8, 9 * column : 9 * column + 8].ravel()


def test_strips_run_from_start_to_end_by_each_method(vae):
    display = InterpolationDisplay.from_estimator(vae, X[:2], X[2:4], n_steps=5, image_shape=(8, 8))
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == ["linear", "spherical", "linear", "spherical"]
    for row, (pair, method) in enumerate(
        [(0, "linear"), (0, "spherical"), (1, "linear"), (1, "spherical")]
    ):
        path = vae.interpolate(X[pair], X[2 + pair], 5, method)
        np.testing.assert_array_equal(tile(display, row, 0), X[pair])
        np.testing.assert_array_equal(tile(display, row, 6), X[2 + pair])
        for step in range(5):
            np.testing.assert_array_equal(tile(display, row, 1 + step), path[step])
    columns = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert columns == ["start", "t = 0", "t = 1", "end"]


def test_codes_of_any_estimator_are_interpolated_linearly():
    pca = PCA(5).fit(X)
    display = InterpolationDisplay.from_estimator(pca, X[0], X[1], n_steps=3)
    assert list(display.paths) == ["linear"]
    a, b = pca.inverse_transform(pca.transform(X[:2]))
    np.testing.assert_allclose(display.paths["linear"], [[a, (a + b) / 2, b]])


def test_paths_of_a_pipeline_are_in_the_units_of_its_input(vae):
    pipeline = make_pipeline(StandardScaler(), vae)
    pipeline[0].fit(X * 16)
    a, b = 16 * X[:2]
    display = InterpolationDisplay.from_estimator(pipeline, a, b, method="spherical")
    z = vae.interpolate(*pipeline[0].transform([a, b]), 8, "spherical")
    np.testing.assert_allclose(display.paths["spherical"][0], pipeline[0].inverse_transform(z))


def test_rows_of_data_frames_are_accepted():
    wine = load_wine(as_frame=True).data
    pca = make_pipeline(StandardScaler(), PCA(2)).fit(wine)
    display = InterpolationDisplay.from_estimator(pca, wine.iloc[0], wine.iloc[100])
    both = pca.inverse_transform(pca.transform(wine.iloc[[0, 100]]))
    np.testing.assert_allclose(display.paths["linear"][0, [0, -1]], both)
    assert isinstance(wine, pd.DataFrame)


def test_without_images_paths_are_lines():
    path = np.linspace([0.0, 1.0, 2.0], [2.0, 1.0, 0.0], 4)
    start, end = np.ones((2, 3)), np.zeros((2, 3))
    display = InterpolationDisplay({"linear": [path, -path]}, start, end)
    display.plot()
    lines = display.lines_["linear"]
    np.testing.assert_array_equal([line.get_ydata() for line in lines[1]], -path)
    panel = lines[1][0].axes
    np.testing.assert_array_equal(panel.lines[4].get_ydata(), start[1])
    np.testing.assert_array_equal(panel.lines[5].get_ydata(), end[1])
    colors = {line.get_color() for line in lines[0]}
    assert len(colors) == 4


def test_what_cannot_be_drawn_is_refused_in_one_sentence(vae):
    draw = InterpolationDisplay.from_estimator
    pca = PCA(2).fit(X)
    with pytest.raises(ValueError, match="'spherical' needs an estimator with .*; PCA has none"):
        draw(pca, X[0], X[1], method="spherical")
    with pytest.raises(ValueError, match="method must be 'linear' or 'spherical'; got 'cubic'"):
        draw(vae, X[0], X[1], method=["linear", "cubic"])
    with pytest.raises(ValueError, match="method is empty"):
        draw(vae, X[0], X[1], method=[])
    with pytest.raises(ValueError, match="n_steps must be an integer of at least 2; got 1"):
        draw(vae, X[0], X[1], n_steps=1)
    with pytest.raises(ValueError, match=r"X_start has shape \(2, 64\), but X_end .* \(1, 64\)"):
        draw(vae, X[:2], X[0])
    with pytest.raises(TypeError, match="KMeans has no method 'inverse_transform'"):
        draw(KMeans(2, n_init=1, random_state=0).fit(X), X[0], X[1])
