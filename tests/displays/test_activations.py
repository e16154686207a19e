import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler

from skae import Conv, KSparseAutoencoder
from skae.displays import ActivationDisplay

X = load_digits().data[:300]


@pytest.fixture(scope="module")
def sparse():
    return KSparseAutoencoder(40, n_nonzero_coefs=4, max_iter=3, random_state=0).fit(X)


def tile(display, row, column):
    """Return an image of the mosaic, 8 x 8 with one pixel between."""
    return np.asarray(display.image_.get_array())[
        9 * row : 9 * row + 8, 9 * column : 9 * column + 8
    ]


def test_frequencies_are_those_of_the_fit(sparse):
    display = ActivationDisplay.from_estimator(sparse, X)
    np.testing.assert_allclose(
        display.line_.get_ydata(), np.sort(sparse.activation_frequency_)[::-1], atol=1e-9
    )
    assert display.line_.get_xdata().tolist() == list(range(1, 41))
    assert display.frequency_ax_ is display.ax_
    assert display.image_ is None


def test_dead_and_dense_units_are_marked_and_counted():
    display = ActivationDisplay([0.0, 0.5, 0.9, 0.6, 0.1, 0.0, 0.0]).plot()
    assert display.dense_points_.get_xydata().tolist() == [[1, 0.9], [2, 0.6]]
    assert display.dead_points_.get_xydata().tolist() == [[5, 0], [6, 0], [7, 0]]
    labels = [text.get_text() for text in display.frequency_ax_.get_legend().texts]
    assert labels == ["7 units", "2 dense", "3 dead"]


def test_atoms_are_the_columns_of_a_linear_decoder(sparse):
    display = ActivationDisplay.from_estimator(sparse, X, image_shape=(8, 8), n_atoms=9)
    order = np.argsort(-(sparse.transform(X) != 0).mean(axis=0), kind="stable")[:9]
    np.testing.assert_array_equal(display.units, order)
    offset = sparse.inverse_transform(np.zeros((1, 40)))
    columns = sparse.inverse_transform(np.eye(40)) - offset
    codes = sparse.transform(X[:20])
    np.testing.assert_allclose(codes @ columns + offset, sparse.reconstruct(X[:20]), atol=1e-4)
    np.testing.assert_allclose(display.atoms, columns[order], atol=1e-5)
    atom = columns[order[4]].reshape(8, 8)
    np.testing.assert_allclose(tile(display, 1, 1), atom / np.abs(atom).max(), atol=1e-5)


def test_atoms_of_pca_are_its_components():
    pca = PCA(5).fit(X)
    display = ActivationDisplay.from_estimator(pca, X, image_shape=(8, 8))
    np.testing.assert_allclose(display.atoms, pca.components_, atol=1e-9)
    assert display.frequency.tolist() == [1] * 5


def test_atoms_of_a_pipeline_are_in_units_of_x():
    pipeline = make_pipeline(MinMaxScaler(feature_range=(0, 2)), PCA(3)).fit(X)
    display = ActivationDisplay.from_estimator(pipeline, X, image_shape=(8, 8))
    expected = pipeline[-1].components_ / pipeline[0].scale_
    np.testing.assert_allclose(display.atoms, expected, atol=1e-9)


@pytest.mark.parametrize("container", [np.asarray, csr_array])
def test_top_samples_are_those_of_the_largest_entries(sparse, container):
    display = ActivationDisplay.from_estimator(
        sparse, container(X), image_shape=(8, 8), n_atoms=3, n_top_samples=2
    )
    codes = sparse.transform(X)
    for i, unit in enumerate(display.units):
        best = X[codes[:, unit].argmax()]
        np.testing.assert_array_equal(display.top_samples[i, 0], best)
        low, high = display.top_samples.min(), display.top_samples.max()
        expected = 2 * (best - low) / (high - low) - 1
        np.testing.assert_allclose(tile(display, i, 1), expected.reshape(8, 8), atol=1e-6)
    assert np.asarray(display.image_.get_array()).shape == (3 * 9 - 1, 3 * 9 - 1)


def test_samples_are_shown_only_where_a_unit_is_positive():
    identity = FunctionTransformer(lambda X: X, lambda X: X).fit(X)
    rows = np.array([[1.0, 0, 2, 0], [-1, 0, 4, 0], [0, 0, 3, 0]])
    display = ActivationDisplay.from_estimator(identity, rows, image_shape=(2, 2), n_top_samples=2)
    assert display.units.tolist() == [2, 0]  # the others are dead
    assert display.frequency.tolist() == pytest.approx([2 / 3, 0, 1, 0])
    np.testing.assert_array_equal(display.top_samples[0], rows[[1, 2]])
    np.testing.assert_array_equal(display.top_samples[1], [rows[0], [np.nan] * 4])
    negative = ActivationDisplay.from_estimator(
        identity, -rows[:1], image_shape=(2, 2), n_top_samples=1
    )
    assert np.isnan(negative.top_samples).all()
    assert np.asarray(negative.image_.get_array()).shape == (5, 5)
    dead = ActivationDisplay.from_estimator(identity, np.zeros((2, 4)), image_shape=(2, 2))
    assert dead.image_ is None


def test_shape_and_channels_are_those_of_the_architecture():
    images = np.random.default_rng(0).uniform(size=(20, 8 * 8 * 3))
    model = KSparseAutoencoder(
        6,
        architecture=Conv(image_shape=(8, 8, 3), channels=(4,)),
        max_iter=1,
        early_stopping=False,
        random_state=0,
    ).fit(images)
    display = ActivationDisplay.from_estimator(model, images, n_atoms=4)
    assert display.image_shape == (8, 8, 3)
    atom = np.asarray(display.atoms[0], dtype=float)
    expected = (atom / np.abs(atom).max() + 1) / 2
    np.testing.assert_allclose(tile(display, 0, 0)[..., :3], expected.reshape(8, 8, 3), atol=1e-6)


def test_another_picture_on_the_same_axes_replaces_the_first(sparse):
    display = ActivationDisplay.from_estimator(sparse, X, image_shape=(8, 8))
    first = display.frequency_ax_, display.image_ax_
    n_axes = len(display.figure_.axes)
    again = ActivationDisplay.from_estimator(sparse, X, image_shape=(8, 8), ax=display.ax_)
    assert len(again.figure_.axes) == n_axes
    assert not set(first) & set(again.figure_.axes)


def test_bad_input_is_refused(sparse):
    with pytest.raises(TypeError, match="KMeans has no method 'inverse_transform'; pass"):
        ActivationDisplay.from_estimator(
            KMeans(2, n_init=1, random_state=0).fit(X), X, image_shape=(8, 8)
        )
    with pytest.raises(TypeError, match="IsolationForest has no method 'transform'; pass"):
        ActivationDisplay.from_estimator(IsolationForest(n_estimators=2, random_state=0).fit(X), X)
    with pytest.raises(ValueError, match="does not describe rows of 64 values"):
        ActivationDisplay.from_estimator(sparse, X, image_shape=(5, 5))
