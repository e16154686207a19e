"""Codes of the sparse autoencoders as sparse matrices."""

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import MLP, KSparseAutoencoder, SparseAutoencoder
from skae.autoencoders._sparse_codes import linear_decoder
from skae.data._chunks import MAX_CHUNK_SIZE
from skae.extension import check_autoencoder

PLAIN = {"early_stopping": False, "random_state": 0, "max_iter": 3}
MODELS = [
    SparseAutoencoder(20, alpha=0.1, **PLAIN),
    SparseAutoencoder(20, loss="absolute_error", linear_shortcut=True, **PLAIN),
    KSparseAutoencoder(20, n_nonzero_coefs=4, **PLAIN),
    KSparseAutoencoder(20, n_nonzero_coefs=4, selection="batch", positive_code=True, **PLAIN),
    KSparseAutoencoder(20, n_nonzero_coefs=4, architecture=MLP((8,)), **PLAIN),
]
every = pytest.mark.parametrize("model", MODELS, ids=lambda m: repr(m).replace("\n", ""))
# A decoder that is not normalised, or an MLP, is not what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")


@pytest.fixture(scope="module")
def digits():
    return load_digits().data


def both(model, X):
    """Return the same fit with dense and with sparse codes."""
    return clone(model).fit(X), clone(model).set_params(sparse_output=True).fit(X)


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_codes_are_the_dense_ones(digits, model, dtype):
    X = digits.astype(dtype)
    dense, fitted = both(model, X)
    Z, codes = dense.transform(X), fitted.transform(X)
    assert sparse.issparse(codes)
    assert codes.format == "csr"
    assert codes.dtype == dtype
    assert codes.has_canonical_format
    assert np.array_equal(codes.toarray(), Z)
    assert codes.nnz == np.count_nonzero(Z)
    X_hat = fitted.inverse_transform(codes)
    assert X_hat.dtype == dtype
    np.testing.assert_allclose(X_hat, dense.inverse_transform(Z), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(X_hat, fitted.reconstruct(X), rtol=1e-4, atol=1e-3)
    # Sparse codes are decoded, whatever transform returns.
    assert np.array_equal(dense.inverse_transform(codes), X_hat)
    assert np.array_equal(fitted.fit_transform(X).toarray(), Z)


@pytest.mark.parametrize("architecture", [None, MLP((8,), decoder_hidden_layer_sizes=())])
@pytest.mark.parametrize("linear_shortcut", [False, True])
def test_a_single_layer_is_the_linear_map_of_the_decoder(digits, architecture, linear_shortcut):
    model = KSparseAutoencoder(
        20, architecture=architecture, linear_shortcut=linear_shortcut, **PLAIN
    )
    module = model.fit(digits).module_
    weight, bias = linear_decoder(module)
    z = torch.randn(5, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(z @ weight.T + bias, module.decode(z))


def test_hidden_layers_of_a_decoder_have_no_linear_map(digits):
    model = KSparseAutoencoder(20, architecture=MLP((8,)), **PLAIN).fit(digits)
    assert linear_decoder(model.module_) is None


def test_a_loss_with_a_link_decodes_by_it(digits):
    X = digits / 16
    model = KSparseAutoencoder(20, loss="log_loss", sparse_output=True, **PLAIN).fit(X)
    X_hat = model.inverse_transform(model.transform(X))
    np.testing.assert_allclose(X_hat, model.reconstruct(X), rtol=1e-6)
    assert (X_hat > 0).all()
    assert (X_hat < 1).all()


def test_the_interface_is_that_of_scikit_learn(digits):
    model = SparseAutoencoder(20, sparse_output=True, **PLAIN).fit(digits)
    assert isinstance(model.transform(digits[:2]), sparse.csr_matrix)
    with config_context(sparse_interface="sparray"):
        codes = model.transform(digits[:2])
    assert isinstance(codes, sparse.csr_array)
    other = codes.tocsc()  # any format is decoded
    assert np.array_equal(model.inverse_transform(other), model.inverse_transform(codes))


class Counting(KSparseAutoencoder):
    """An autoencoder that records how many entries it encodes and decodes at a time."""

    def _encode(self, module, batch):
        z = super()._encode(module, batch)
        self.encoded.append(z.numel())
        return z

    def _decode(self, module, z):
        self.decoded.append(z.numel())
        return super()._decode(module, z)


@pytest.mark.parametrize("architecture", [None, MLP((4,))])
def test_no_more_than_a_chunk_of_dense_codes_exists_at_a_time(rng, architecture):
    k = 4096
    X = rng.normal(size=(3000, 6)).astype(np.float32)
    model = Counting(k, n_nonzero_coefs=2, sparse_output=True, architecture=architecture, **PLAIN)
    model.encoded, model.decoded = [], []
    model.set_params(max_iter=1).fit(X[:100])
    model.encoded.clear()
    model.decoded.clear()
    codes = model.transform(X)
    assert sum(model.encoded) == 3000 * k
    assert max(model.encoded) <= MAX_CHUNK_SIZE
    assert codes.nnz == 6000
    X_hat = model.inverse_transform(codes)
    assert sum(model.decoded) == (0 if architecture is None else 3000 * k)
    assert max(model.decoded, default=0) <= MAX_CHUNK_SIZE
    np.testing.assert_allclose(X_hat, model.reconstruct(X), rtol=1e-3, atol=1e-4)


def test_pandas_output_is_refused_as_scikit_learn_does(digits):
    model = SparseAutoencoder(20, sparse_output=True, **PLAIN).fit(digits)
    with pytest.raises(ValueError, match="The transformer outputs a scipy sparse matrix"):
        model.set_output(transform="pandas").transform(digits)


def test_in_a_pipeline(digits):
    X, y = load_digits(return_X_y=True)
    model = KSparseAutoencoder(40, sparse_output=True, **PLAIN)
    pipeline = make_pipeline(StandardScaler(), model, RidgeClassifier()).fit(X, y)
    assert pipeline.score(X, y) > 0.8
    assert len(pipeline[:-1].get_feature_names_out()) == 40
    decoded = pipeline[:-1].inverse_transform(pipeline[:-1].transform(X))
    assert decoded.shape == X.shape


def test_the_checks_of_variants_take_sparse_codes():
    check_autoencoder(KSparseAutoencoder(8, n_nonzero_coefs=2, sparse_output=True))


def test_is_kept_in_files(digits, tmp_path):
    model = KSparseAutoencoder(20, sparse_output=True, **PLAIN).fit(digits)
    skae.save(model, tmp_path / "model")
    for again in (skae.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        codes = again.transform(digits)
        assert (codes != model.transform(digits)).nnz == 0


def test_displays_and_metrics_take_sparse_codes(digits):
    from skae.displays import ActivationDisplay
    from skae.metrics import explained_variance

    dense, fitted = both(MODELS[2], digits)
    assert explained_variance(fitted, digits) == pytest.approx(explained_variance(dense, digits))
    ours, theirs = (ActivationDisplay.from_estimator(m, digits) for m in (fitted, dense))
    assert np.array_equal(ours.frequency, theirs.frequency)


def test_what_cannot_be_is_refused(digits):
    with pytest.raises(ValueError, match="none of which is exactly 0.* set sparse_output=False"):
        SparseAutoencoder(penalty="kl", sparse_output=True, **PLAIN).fit(digits)
    model = SparseAutoencoder(20, sparse_output=True, **PLAIN).fit(digits)
    with pytest.raises(ValueError, match="Z has 19 columns"):
        model.inverse_transform(sparse.csr_array((3, 19)))
    with pytest.raises(ValueError, match="Z contains NaN"):
        model.inverse_transform(sparse.csr_array(np.full((1, 20), np.nan)))
    far = np.vstack([digits[:2], np.full((1, 64), 1e308)])
    with pytest.raises(ValueError, match="Row 2 of X is so far from the training rows"):
        SparseAutoencoder(20, sparse_output=True, **PLAIN).fit(digits / 1e4).transform(far)
    with pytest.raises(TypeError, match="Sparse data was passed for Z"):
        skae.Autoencoder(2, **PLAIN).fit(digits).inverse_transform(sparse.csr_array((3, 2)))
