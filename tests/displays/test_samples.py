import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from skae import VariationalAutoencoder
from skae.displays import SampleDisplay

X = load_digits().data[:300] / 16


@pytest.fixture(scope="module")
def vae():
    return VariationalAutoencoder(2, max_iter=20, random_state=0).fit(X)


def images_of(display, size=8, gap=1):
    picture = np.ma.filled(display.image_.get_array(), np.nan)
    rows = [picture[top : top + size] for top in range(0, len(picture), size + gap)]
    return [row[:, left : left + size] for row in rows for left in range(0, row.shape[1], 9)]


def test_images_are_the_means_of_samples(vae):
    display = SampleDisplay.from_estimator(vae, n_samples=6, image_shape=(8, 8), random_state=0)
    drawn = images_of(display)
    expected = vae.sample(6, random_state=0, noise=False)
    assert display.image_.get_array().shape == (17, 26)  # two rows of three
    np.testing.assert_array_equal(np.reshape(drawn, (6, 64)), expected)


def test_noise_is_drawn_on_request(vae):
    display = SampleDisplay.from_estimator(vae, n_samples=3, noise=True, random_state=1)
    np.testing.assert_array_equal(display.X, vae.sample(3, random_state=1))


def test_samples_of_a_pipeline_are_in_the_units_of_its_input(vae):
    pipeline = make_pipeline(StandardScaler(), vae)
    pipeline[0].fit(X * 16)
    display = SampleDisplay.from_estimator(pipeline, n_samples=4, random_state=0)
    z = vae.sample(4, random_state=0, noise=False)
    np.testing.assert_allclose(display.X, pipeline[0].inverse_transform(z))


def test_any_model_that_samples_is_drawn():
    pipeline = make_pipeline(PCA(3), GaussianMixture(2, random_state=0)).fit(X)
    display = SampleDisplay.from_estimator(pipeline, n_samples=5, image_shape=(8, 8))
    codes, _ = pipeline[-1].sample(5)
    assert display.X.shape == (5, 64)
    # The mixture draws the same again, as its random_state is an integer.
    np.testing.assert_allclose(display.X, pipeline[0].inverse_transform(codes))


def test_without_images_samples_are_lines():
    rows = np.arange(12.0).reshape(3, 4)
    display = SampleDisplay(rows)
    display.plot(color="black")
    np.testing.assert_array_equal([line.get_ydata() for line in display.lines_], rows)
    assert display.lines_[0].get_color() == "black"
    assert display.image_ is None


def test_number_of_columns_is_chosen():
    display = SampleDisplay(np.random.default_rng(0).random((5, 4)), image_shape=(2, 2))
    display.plot(n_columns=5)
    assert display.image_.get_array().shape == (2, 14)
    with pytest.raises(ValueError, match="n_columns must be"):
        display.plot(n_columns=0)


def test_what_cannot_be_drawn_is_refused_in_one_sentence(vae):
    with pytest.raises(TypeError, match="PCA has no method 'sample'"):
        SampleDisplay.from_estimator(PCA(2).fit(X))
    with pytest.raises(TypeError, match="Normalizer has no method 'inverse_transform'"):
        SampleDisplay.from_estimator(make_pipeline(Normalizer(), vae))
    with pytest.raises(ValueError, match="n_samples must be"):
        SampleDisplay.from_estimator(vae, n_samples=0)
    with pytest.raises(ValueError, match="does not describe rows of 64 values"):
        SampleDisplay.from_estimator(vae, image_shape=(7, 7))
