"""What `to_saelens` writes, evaluated as SAELens does, and by it where it is installed."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.base import clone
from sklearn.datasets import load_digits

from skae import MLP, KSparseAutoencoder, SparseAutoencoder

PLAIN = {"early_stopping": False, "random_state": 0, "max_iter": 5}
MODELS = [
    SparseAutoencoder(30, alpha=0.1, **PLAIN),
    SparseAutoencoder(30, penalty="l2", linear_shortcut=True, **PLAIN),
    KSparseAutoencoder(30, n_nonzero_coefs=4, **PLAIN),
    KSparseAutoencoder(30, n_nonzero_coefs=4, positive_code=True, **PLAIN),
    KSparseAutoencoder(30, n_nonzero_coefs=4, positive_code=True, selection="batch", **PLAIN),
]
every = pytest.mark.parametrize("model", MODELS, ids=lambda m: repr(m).replace("\n", ""))
pytestmark = pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")


@pytest.fixture(scope="module")
def X():  # noqa: N802
    return 3 * load_digits().data.astype(np.float32) + 50


def evaluate(folder, X):
    """Return codes and reconstructions by the documented layout of SAELens."""
    config = json.loads((folder / "cfg.json").read_text())
    weights = load_file(folder / "sae_weights.safetensors")
    assert weights["W_enc"].shape == (config["d_in"], config["d_sae"])
    assert weights["W_dec"].shape == (config["d_sae"], config["d_in"])
    assert {value.dtype for value in weights.values()} == {np.dtype(config["dtype"])}
    assert config["normalize_activations"] == "none"
    h = (X - config["apply_b_dec_to_input"] * weights["b_dec"]) @ weights["W_enc"]
    h = h + weights["b_enc"]
    z = np.maximum(h, 0)
    if config["architecture"] in ("topk", "abstopk"):
        assert not config["rescale_acts_by_decoder_norm"]
        size, value = (h, z) if config["architecture"] == "topk" else (np.abs(h), h)
        largest = np.argsort(-size, axis=1)[:, : config["k"]]
        z = np.zeros_like(h)
        np.put_along_axis(z, largest, np.take_along_axis(value, largest, axis=1), axis=1)
    elif config["architecture"] == "jumprelu":
        z = z * (h > weights["threshold"])
    else:
        assert config["architecture"] == "standard"
    return z, z @ weights["W_dec"] + weights["b_dec"]


def assert_same(Z, X_hat, model, X):
    np.testing.assert_allclose(Z, model.transform(X), atol=1e-4)
    np.testing.assert_allclose(X_hat, model.reconstruct(X), atol=1e-3)
    assert X_hat.std() > 1


@every
def test_the_layout_gives_the_same_codes_and_reconstructions(model, X, tmp_path):
    model.fit(X)
    assert model.to_saelens(tmp_path / "new" / "sae") is model
    assert_same(*evaluate(tmp_path / "new" / "sae", X), model, X)
    model.to_saelens(str(tmp_path / "new" / "sae"))  # once more


@every
def test_sae_lens_gives_the_same_codes_and_reconstructions(model, X, tmp_path):
    sae_lens = pytest.importorskip("sae_lens")
    import torch

    model.fit(X).to_saelens(tmp_path)
    sae = sae_lens.SAE.load_from_disk(tmp_path)
    with torch.no_grad():
        x = torch.from_numpy(X)
        assert_same(sae.encode(x).numpy(), sae(x).numpy(), model, X)


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        (SparseAutoencoder(30, penalty="kl"), "choose penalty='l1'"),
        (SparseAutoencoder(30, hidden_layer_sizes=(8,)), "one linear layer each"),
        (SparseAutoencoder(30, architecture=MLP(())), None),
        (KSparseAutoencoder(30, selection="batch"), "set positive_code=True"),
        (KSparseAutoencoder(30, positive_code=True, loss="poisson"), "choose loss="),
    ],
    ids=str,
)
def test_what_it_does_not_have_is_refused(model, remedy, X, tmp_path):
    model.set_params(**PLAIN).fit(X)
    if remedy is None:
        model.to_saelens(tmp_path / "sae")
        return
    with pytest.raises(ValueError, match=f"SAELens has no autoencoders like this .*{remedy}"):
        model.to_saelens(tmp_path / "sae")
    assert not list(tmp_path.iterdir())


def test_weights_beyond_float32_are_refused(X, tmp_path):
    model = KSparseAutoencoder(30, **PLAIN).fit(X.astype(np.float64) * 1e60)
    with pytest.raises(ValueError, match="its weights overflow float32; multiply X by a constant"):
        model.to_saelens(tmp_path / "sae")
    assert not list(tmp_path.iterdir())


def test_offsets_that_float32_cannot_hold_are_refused(X, tmp_path):
    model = KSparseAutoencoder(8, n_nonzero_coefs=2, max_iter=2, random_state=0)
    with pytest.raises(ValueError, match="its offset is too large for float32; subtract"):
        clone(model).fit(X + 1e7).to_saelens(tmp_path)
    clone(model).fit(X + 10).to_saelens(tmp_path)


def test_parameters_that_are_set_after_a_fit_are_not_written(X, tmp_path):
    model = KSparseAutoencoder(30, n_nonzero_coefs=4, **PLAIN).fit(X)
    model.set_params(n_nonzero_coefs=9, positive_code=True).to_saelens(tmp_path)
    assert_same(*evaluate(tmp_path, X), model, X)
