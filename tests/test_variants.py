"""What every variant inherits: files, streams, sparse rows, checkpoints, parameters after a fit."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from skops.io import dumps, get_untrusted_types, loads

import skae
from skae._validation import as_dense

SHORT = {"max_iter": 3, "early_stopping": False, "random_state": 0}
TINY = {"width": 4, "n_layers": 1, "n_heads": 2, "decoder_width": 4}
VARIANTS = [
    skae.SparseAutoencoder(8, **SHORT),
    skae.SparseAutoencoder(8, penalty="kl", **SHORT),
    skae.KSparseAutoencoder(8, n_nonzero_coefs=2, **SHORT),
    skae.SparseAutoencoder(8, sparse_output=True, **SHORT),
    skae.KSparseAutoencoder(8, n_nonzero_coefs=2, group_sizes=(2, 4), **SHORT),
    skae.KSparseAutoencoder(8, n_nonzero_coefs=2, selection="batch", positive_code=True, **SHORT),
    skae.QuantizedAutoencoder(3, mask_ratio=0.2, **SHORT),
    skae.QuantizedAutoencoder(3, n_neighbors=3, **SHORT),
    skae.QuantizedAutoencoder(3, levels=5, quantization="noise", **SHORT),
    skae.DenoisingAutoencoder(noise_level=(0.1, 0.5), **SHORT),
    skae.DenoisingAutoencoder(3, noise="salt_and_pepper", **SHORT),
    skae.ContractiveAutoencoder(3, **SHORT),
    skae.MaskedAutoencoder(3, architecture=skae.FTTransformer(**TINY), **SHORT),
    skae.MaskedAutoencoder(
        3, architecture=skae.ViT(image_shape=(2, 3), **TINY), masking="block", **SHORT
    ),
    skae.Autoencoder(2, architecture=skae.ViT(**TINY), **SHORT),
    skae.VariationalAutoencoder(2, architecture=skae.Conv((2, 4)), **SHORT),
    skae.VariationalAutoencoder(2, variance="feature", warm_up=0.2, **SHORT),
    skae.VariationalAutoencoder(
        2, variance=0.5, objective="iwae", n_draws=2, n_importance_draws=3, **SHORT
    ),
]
every = pytest.mark.parametrize("model", VARIANTS, ids=lambda m: type(m).__name__)


def outputs(model, X):
    return as_dense(model.transform(X)), model.reconstruct(X), model.score_samples(X)


def assert_same(model, other, X):
    for ours, theirs in zip(outputs(model, X), outputs(other, X), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.full
@every
def test_files_hold_all_of_it(model, sheet, tmp_path):
    fitted = clone(model).fit(sheet)
    skae.save(fitted, tmp_path / "model")
    assert_same(fitted, skae.load(tmp_path / "model"), sheet)
    file = dumps(fitted)
    types = get_untrusted_types(data=file)
    assert all(name.startswith("skae.") for name in types)
    assert_same(fitted, loads(file, trusted=types), sheet)


@pytest.mark.full
@every
def test_what_is_loaded_goes_on_as_what_was_saved(model, sheet, tmp_path):
    fitted = clone(model).partial_fit(sheet[:200])
    skae.save(fitted, tmp_path / "model")
    again = skae.load(tmp_path / "model").partial_fit(sheet[200:])
    fitted.partial_fit(sheet[200:])
    assert_same(fitted, again, sheet)
    assert fitted.n_iter_ == 2


@pytest.mark.full
@every
def test_sparse_rows_are_dense_rows(model, sheet):
    X = np.where(np.abs(sheet) < 0.3, 0, sheet)
    dense, rows = clone(model).fit(X), clone(model).fit(sparse.csr_array(X))
    for ours, theirs in zip(outputs(dense, X), outputs(rows, sparse.csr_array(X)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.full
@every
def test_a_checkpoint_goes_on_to_the_same_bits(model, sheet, tmp_path, monkeypatch):
    monkeypatch.setattr("skae.training._checkpoint.INTERVAL", 0)
    whole = clone(model).fit(sheet)
    half = clone(model).set_params(checkpoint=str(tmp_path / "fit"))
    half.fit(sheet)
    assert_same(whole, half, sheet)
    assert_same(whole, clone(half).fit(sheet), sheet)


@every
def test_what_is_set_after_the_fit_waits_for_the_next(model, sheet):
    fitted = clone(model).fit(sheet)
    before = outputs(fitted, sheet)
    other = type(model)().get_params(deep=False)
    fitted.set_params(**{name: other[name] for name in fitted._fit_params})
    for was, now in zip(before, outputs(fitted, sheet), strict=True):
        assert np.array_equal(was, now)


@every
def test_missing_values_are_accepted(model, sheet, rng):
    X_missing = np.where(rng.random(sheet.shape) < 0.2, np.nan, sheet)
    X_missing[0] = np.nan
    fitted = clone(model).fit(X_missing)
    assert all(np.isfinite(output).all() for output in outputs(fitted, X_missing))
    assert fitted.score_samples(X_missing[:1])[0] == 0
