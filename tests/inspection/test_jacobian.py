import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skae import (
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    KSparseAutoencoder,
    LinearAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from skae.inspection import intrinsic_dimension, jacobian, tangent_basis
from tests.tables import curve

PLAIN = {"early_stopping": False, "random_state": 0, "max_iter": 20}
ALL = [
    Autoencoder(3, **PLAIN),
    LinearAutoencoder(3),
    SparseAutoencoder(9, **PLAIN),
    KSparseAutoencoder(9, n_nonzero_coefs=2, **PLAIN),
    KSparseAutoencoder(9, n_nonzero_coefs=2, selection="batch", **PLAIN),
    DenoisingAutoencoder(noise_level=(0.1, 0.5), **PLAIN),
    ContractiveAutoencoder(3, **PLAIN),
    VariationalAutoencoder(3, **PLAIN),
]


@pytest.fixture(scope="module", params=ALL, ids=lambda m: type(m).__name__)
def model(request):
    """Return each variant, fitted to `sheet`."""
    return request.param.fit(curve(np.random.default_rng(0)))


def test_jacobian_is_the_derivative_of_transform(sheet, model):
    step = 1e-6
    J = jacobian(model, sheet[:5])
    for j in range(6):
        ahead, behind = sheet[:5].copy(), sheet[:5].copy()
        ahead[:, j] += step
        behind[:, j] -= step
        slope = (model.transform(ahead) - model.transform(behind)) / (2 * step)
        np.testing.assert_allclose(J[:, :, j], slope, atol=1e-5)


def test_tangents_are_leading_singular_vectors(sheet, model):
    J = jacobian(model, sheet[:20])
    basis = tangent_basis(model, sheet[:20], 2)
    np.testing.assert_allclose(basis @ basis.mT, np.tile(np.eye(2), (20, 1, 1)), atol=1e-5)
    gain = np.linalg.norm(J @ basis.mT, axis=1)
    expected = np.linalg.svd(J, compute_uv=False)[:, :2]
    np.testing.assert_allclose(gain, expected, rtol=1e-4, atol=1e-5)


def test_dimension_is_that_of_the_reconstruction(sheet, model):
    X, step = sheet[:5], 1e-6
    slopes = [
        (model.reconstruct(X + e) - model.reconstruct(X - e)) / (2 * step) for e in step * np.eye(6)
    ]
    squares = np.linalg.svd(np.stack(slopes, axis=2), compute_uv=False) ** 2
    some = squares.sum(1) > 0  # a code may be all 0
    expected = np.zeros(5)
    expected[some] = squares[some].sum(1) ** 2 / (squares[some] ** 2).sum(1)
    assert some.sum() > 2
    np.testing.assert_allclose(intrinsic_dimension(model, X), expected, rtol=1e-2)


def test_units_dtype_and_missing_values(sheet):
    model = Autoencoder(2, **PLAIN).fit(sheet)
    scaled = Autoencoder(2, **PLAIN).fit(10 * sheet)
    np.testing.assert_allclose(
        jacobian(model, sheet), 10 * jacobian(scaled, 10 * sheet), rtol=1e-3, atol=1e-5
    )
    assert jacobian(model, sheet.astype(np.float32)).dtype == np.float32
    X_missing = sheet[:3].copy()
    X_missing[0, 2] = np.nan
    J = jacobian(model, X_missing)
    assert (J[0, :, 2] == 0).all()
    assert (J[1:] != 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_overflow_is_reported_with_the_row_number(sheet, dtype):
    model = Autoencoder(2, hidden_layer_sizes=(5,), **PLAIN).fit(sheet)
    far = sheet[:3].astype(dtype)
    far[1] = np.finfo(dtype).max
    for function in (jacobian, intrinsic_dimension, lambda m, X: tangent_basis(m, X, 1)):
        with pytest.raises(ValueError, match="Row 1 of X is so far from the training rows"):
            function(model, far)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_dimension_does_not_depend_on_the_size_of_the_code(size):
    """In float32 the fourth powers of small or large singular values would overflow or vanish."""
    X = load_digits().data.astype(np.float32)
    model = LinearAutoencoder(3).fit(X)
    with torch.no_grad():
        model.module_.encoder_shortcut.weight *= size
    np.testing.assert_allclose(intrinsic_dimension(model, X[:9]), 3, rtol=1e-4)
    constant = LinearAutoencoder(1).fit(np.diag([1.0, 0.0, 0.0]))
    with torch.no_grad():
        constant.module_.encoder_shortcut.weight *= 0
    assert (intrinsic_dimension(constant, np.eye(3)) == 0).all()


def test_tangents_of_pca_span_its_components():
    X = load_digits().data
    basis = tangent_basis(LinearAutoencoder(5).fit(X), X[:3], 5)
    pca = PCA(5).fit(X)
    for rows in basis:
        np.testing.assert_allclose(rows @ rows.T, np.eye(5), atol=1e-6)
        np.testing.assert_allclose(rows.T @ rows, pca.components_.T @ pca.components_, atol=1e-5)


@pytest.mark.full
def test_tangents_of_a_circle_are_orthogonal_to_the_radius(rng):
    angle = rng.uniform(0, 2 * np.pi, size=500)
    X = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.02 * rng.normal(size=(500, 2))
    contractive = ContractiveAutoencoder(
        2, alpha=0.2, init="random", early_stopping=False, max_iter=20, random_state=0
    ).fit(X)
    along = np.column_stack([-np.sin(angle), np.cos(angle)])
    cosine = np.abs((tangent_basis(contractive, X, 1)[:, 0] * along).sum(1))
    assert np.median(cosine) > 0.9


@pytest.mark.parametrize("k", [1, 4])
def test_dimension_of_pca_is_the_number_of_components(k):
    X = load_digits().data
    dimension = intrinsic_dimension(LinearAutoencoder(k).fit(X), X[:9])
    np.testing.assert_allclose(dimension, k, rtol=1e-5)


@pytest.mark.full
def test_dimension_of_a_surface_and_a_curve(rng):
    X = curve(rng, n=1000, noise=0.01)
    model = DenoisingAutoencoder(
        noise_level=0.1, per_feature=False, max_iter=40, random_state=0
    ).fit(X)
    assert np.median(intrinsic_dimension(model, X)) == pytest.approx(2, abs=0.5)
    line = np.column_stack([X[:, 0], X[:, 0] ** 2, X[:, 0] ** 3, 0.01 * rng.normal(size=1000)])
    model.fit(line)
    assert np.median(intrinsic_dimension(model, line)) == pytest.approx(1, abs=0.3)


def test_invalid_arguments(sheet):
    model = LinearAutoencoder(2).fit(sheet)
    with pytest.raises(ValueError, match="between 1 and 2, .* got 3"):
        tangent_basis(model, sheet, 3)
    with pytest.raises(TypeError, match="got a PCA"):
        jacobian(PCA(2).fit(sheet), sheet)
