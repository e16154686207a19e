import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, FastICA, TruncatedSVD
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import ContractiveAutoencoder
from skae.displays import JacobianDisplay, _jacobian
from skae.inspection import jacobian, tangent_basis

X = load_digits().data[:120]


@pytest.fixture(scope="module")
def contractive():
    return ContractiveAutoencoder(
        6, max_iter=3, init="random", early_stopping=False, random_state=0
    ).fit(X)


def tile(display, column):
    return np.asarray(display.image_.get_array())[:8, 9 * column : 9 * column + 8]


def test_line_and_band_are_of_the_singular_values(contractive):
    display = JacobianDisplay.from_estimator(contractive, X)
    values = np.linalg.svd(jacobian(contractive, X), compute_uv=False)
    np.testing.assert_allclose(display.line_.get_ydata(), np.median(values, axis=0), rtol=1e-6)
    assert display.line_.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
    vertices = display.band_.get_paths()[0].vertices
    for i, (low, high) in enumerate(np.quantile(values, [0.1, 0.9], axis=0).T):
        of_index = vertices[vertices[:, 0] == i + 1, 1]
        np.testing.assert_allclose([of_index.min(), of_index.max()], [low, high], rtol=1e-6)
    assert display.image_ is None
    assert display.spectrum_ax_ is display.ax_


def test_batches_make_no_difference(contractive, monkeypatch):
    whole = JacobianDisplay.from_estimator(contractive, X).singular_values
    monkeypatch.setattr(_jacobian, "MAX_SIZE", 7 * 6 * 64)
    parts = JacobianDisplay.from_estimator(contractive, X).singular_values
    np.testing.assert_allclose(whole, parts, rtol=1e-5)


def test_tangents_are_those_of_the_sample(contractive):
    display = JacobianDisplay.from_estimator(
        contractive, X, image_shape=(8, 8), index=-1, n_tangents=3
    )
    expected = tangent_basis(contractive, X[-1:], 3)[0]
    cosines = (display.tangents * expected).sum(axis=1)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-4)
    np.testing.assert_array_equal(display.sample, X[-1])
    sample = (X[-1] / X[-1].max() * 2 - 1).reshape(8, 8)
    np.testing.assert_allclose(tile(display, 0), sample, atol=1e-6)
    tangent = display.tangents[1].reshape(8, 8)
    np.testing.assert_allclose(tile(display, 2), tangent / np.abs(tangent).max(), atol=1e-6)


@pytest.mark.parametrize("container", [csr_array, pd.DataFrame, np.ndarray.tolist])
def test_samples_in_other_containers_are_drawn_alike(contractive, container):
    display = JacobianDisplay.from_estimator(contractive, container(X), image_shape=(8, 8), index=5)
    whole = np.linalg.svd(jacobian(contractive, X), compute_uv=False)
    np.testing.assert_allclose(display.singular_values, whole, rtol=1e-5)
    np.testing.assert_array_equal(display.sample, X[5])


@pytest.mark.parametrize("whiten", [False, True])
def test_jacobian_of_pca_is_the_slope_of_its_codes(whiten):
    pca = PCA(4, whiten=whiten).fit(X)
    display = JacobianDisplay.from_estimator(pca, X, image_shape=(8, 8))
    slopes = pca.transform(np.eye(64)) - pca.transform(np.zeros((1, 64)))
    expected = np.linalg.svd(slopes, compute_uv=False)
    np.testing.assert_allclose(display.singular_values, np.tile(expected, (120, 1)))
    if whiten:
        cosines = np.abs(display.tangents @ pca.components_[::-1].T)
        np.testing.assert_allclose(cosines, np.eye(4), atol=1e-6)


def test_jacobian_of_a_pipeline_is_that_of_its_last_step():
    pipeline = make_pipeline(StandardScaler(), TruncatedSVD(3, random_state=0)).fit(X)
    display = JacobianDisplay.from_estimator(pipeline, X, image_shape=(8, 8))
    np.testing.assert_allclose(display.singular_values, 1)
    np.testing.assert_allclose(display.sample, pipeline[0].transform(X)[0])


def test_bad_input_is_refused(contractive):
    ica = FastICA(2, whiten="unit-variance", random_state=0).fit(X)
    with pytest.raises(TypeError, match="The Jacobian of FastICA is not known"):
        JacobianDisplay.from_estimator(ica, X)
    with pytest.raises(IndexError, match="X has no sample 120"):
        JacobianDisplay.from_estimator(contractive, X, image_shape=(8, 8), index=120)
    with pytest.raises(ValueError, match="does not describe rows of 64 values"):
        JacobianDisplay.from_estimator(contractive, X, image_shape=(8, 9))
